//! What files contain.

/// Numbers that follow from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// So many bytes, in which no two pages are alike.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    let mut random = Random::new(bytes as u64);
    let page: Vec<u8> = (0..512).flat_map(|_| random.next().to_ne_bytes()).collect();
    let mut content = page.repeat(bytes.div_ceil(page.len()));
    for (number, page) in (1_u64..).zip(content.chunks_mut(page.len())) {
        // At its beginning and at its end.
        page[..8].copy_from_slice(&number.to_ne_bytes());
        page[4088..].copy_from_slice(&(!number).to_ne_bytes());
    }
    content.truncate(bytes);
    content
}
