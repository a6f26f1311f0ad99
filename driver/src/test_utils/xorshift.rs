//! Numbers that look random and are the same in every run.

/// A xorshift generator of 64 bits: good enough to make test data, for nothing else.
#[derive(Clone, Debug)]
pub struct XorShift(u64);

impl XorShift {
    /// A generator; each `seed` but 0, which stands for 1, begins another sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number, brought below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 => 0,
            // The remainder is below `bound`, a usize.
            _ => ((self.next_u64() >> 16) % bound as u64) as usize,
        }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.next_u64() >> 32) as u8;
        }
    }
}
