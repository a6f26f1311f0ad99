//! Which pages of guest memory are in use: a bitmap with first fit from below.
//!
//! First fit hands out neighbouring pages to the pieces of one buffer, so that the driver can merge them into one
//! descriptor. One page costs a few word operations; a long run costs at most one pass over the bitmap, which for
//! 256 MiB has 1,024 words.

/// The allocator's books. It knows page numbers only, no addresses.
pub(super) struct Pages {
    /// One bit for each page: set while the page is in use, for ever if it was leaked.
    used: Vec<u64>,
    /// For each page in use, the generation in which it was taken.
    born: Vec<u32>,
    /// No word before this one has a clear bit.
    first_free_word: usize,
    total_pages: usize,
    free_pages: usize,
    leaked_pages: usize,
    /// Counts the calls of [`abandon_all`](Self::abandon_all).
    generation: u32,
}

/// What became of pages that their owner gave back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Freed {
    /// They can be taken again.
    Reusable,
    /// They were in use when memory was abandoned, and are never taken again.
    Leaked,
}

/// The pages that were given back were not in use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotInUse;

impl Pages {
    pub(super) fn new(total_pages: usize) -> Self {
        let mut pages = Self {
            used: vec![0; total_pages.div_ceil(64)],
            born: vec![0; total_pages],
            first_free_word: 0,
            total_pages,
            free_pages: total_pages,
            leaked_pages: 0,
            generation: 0,
        };
        // The last word's bits beyond the end are never free.
        let beyond = pages.used.len() * 64 - total_pages;
        if beyond > 0 {
            pages.set_bits(total_pages, beyond, true);
        }
        pages
    }

    pub(super) fn total_pages(&self) -> usize {
        self.total_pages
    }

    pub(super) fn free_pages(&self) -> usize {
        self.free_pages
    }

    pub(super) fn leaked_pages(&self) -> usize {
        self.leaked_pages
    }

    /// Takes `count` neighbouring pages and returns the first one's number, or `None` if there is no such run.
    pub(super) fn take(&mut self, count: usize) -> Option<usize> {
        if count == 0 || count > self.free_pages {
            return None;
        }
        let start = self.find(count)?;
        self.set_bits(start, count, true);
        self.born[start..start + count].fill(self.generation);
        self.free_pages -= count;
        Some(start)
    }

    /// Gives back what one [`take`](Self::take) returned.
    pub(super) fn give_back(&mut self, start: usize, count: usize) -> Result<Freed, NotInUse> {
        let end = start.checked_add(count).ok_or(NotInUse)?;
        if count == 0 || end > self.total_pages || !self.all_used(start, count) {
            return Err(NotInUse);
        }
        if self.is_abandoned(start) {
            self.leaked_pages += count;
            return Ok(Freed::Leaked);
        }
        self.set_bits(start, count, false);
        self.first_free_word = self.first_free_word.min(start / 64);
        self.free_pages += count;
        Ok(Freed::Reusable)
    }

    /// From now on, pages that are in use at this moment are not taken again when they are given back.
    pub(super) fn abandon_all(&mut self) {
        self.generation += 1;
    }

    /// Whether a page in use was in use when memory was last abandoned.
    pub(super) fn is_abandoned(&self, page: usize) -> bool {
        self.born[page] < self.generation
    }

    fn find(&mut self, count: usize) -> Option<usize> {
        while *self.used.get(self.first_free_word)? == u64::MAX {
            self.first_free_word += 1;
        }
        // The run of free pages that ends where the scan is.
        let mut run_start = 0;
        let mut run_length = 0;
        for (index, &word) in self.used.iter().enumerate().skip(self.first_free_word) {
            let mut bit = 0;
            while bit < 64 {
                let rest = word >> bit;
                let free = (rest.trailing_zeros() as usize).min(64 - bit);
                if free > 0 {
                    if run_length == 0 {
                        run_start = index * 64 + bit;
                    }
                    run_length += free;
                    if run_length >= count {
                        return Some(run_start);
                    }
                    bit += free;
                } else {
                    run_length = 0;
                    bit += rest.trailing_ones() as usize;
                }
            }
        }
        None
    }

    fn all_used(&self, start: usize, count: usize) -> bool {
        masks(start, count).all(|(word, mask)| self.used[word] & mask == mask)
    }

    fn set_bits(&mut self, start: usize, count: usize, used: bool) {
        for (word, mask) in masks(start, count) {
            if used {
                self.used[word] |= mask;
            } else {
                self.used[word] &= !mask;
            }
        }
    }
}

/// The words that hold the bits `start .. start + count`, each with a mask of these bits.
fn masks(start: usize, count: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = start + count;
    (start / 64..end.div_ceil(64)).map(move |word| {
        let low = start.max(word * 64) - word * 64;
        let high = end.min(word * 64 + 64) - word * 64;
        (word, (u64::MAX >> (64 - (high - low))) << low)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_pages_are_neighbours_and_exhaustion_is_none() {
        let mut pages = Pages::new(130);
        for expected in 0..130 {
            assert_eq!(pages.take(1), Some(expected));
        }
        assert_eq!(pages.take(1), None);
        assert_eq!(pages.free_pages(), 0);
        assert_eq!(pages.give_back(64, 1), Ok(Freed::Reusable));
        assert_eq!(pages.take(1), Some(64));
    }

    #[test]
    fn a_run_skips_gaps_that_are_too_short() {
        let mut pages = Pages::new(256);
        assert_eq!(pages.take(200), Some(0));
        pages.give_back(10, 5).unwrap();
        pages.give_back(60, 70).unwrap();
        assert_eq!(pages.take(6), Some(60), "the gap of 5 is too short");
        assert_eq!(pages.take(65), None, "neither 64 nor 56 pages are enough");
        assert_eq!(pages.take(64), Some(66), "across two words");
        assert_eq!(pages.take(5), Some(10));
        assert_eq!(pages.take(56), Some(200));
        assert_eq!(pages.free_pages(), 0);
    }

    #[test]
    fn giving_back_what_is_not_in_use_is_refused() {
        let mut pages = Pages::new(64);
        let start = pages.take(4).unwrap();
        assert_eq!(pages.give_back(start, 5), Err(NotInUse));
        assert_eq!(pages.give_back(start, 4), Ok(Freed::Reusable));
        assert_eq!(pages.give_back(start, 4), Err(NotInUse));
        assert_eq!(pages.give_back(63, 2), Err(NotInUse));
        assert_eq!(pages.give_back(usize::MAX, 2), Err(NotInUse));
        assert_eq!(pages.take(65), None);
        assert_eq!(pages.take(0), None);
    }

    #[test]
    fn abandoned_pages_are_never_taken_again_and_younger_ones_are() {
        let mut pages = Pages::new(8);
        let old = pages.take(3).unwrap();
        pages.abandon_all();
        let young = pages.take(2).unwrap();
        assert!(pages.is_abandoned(old) && !pages.is_abandoned(young));
        assert_eq!(pages.give_back(old, 3), Ok(Freed::Leaked));
        assert_eq!(pages.give_back(young, 2), Ok(Freed::Reusable));
        assert_eq!((pages.free_pages(), pages.leaked_pages()), (5, 3));
        assert_eq!(pages.take(5), Some(3));
        assert_eq!(pages.take(1), None);
    }

    /// Many takes and returns in a fixed pseudo-random order against the simplest model: one `bool` for each page.
    #[test]
    fn agrees_with_a_model() {
        let mut pages = Pages::new(200);
        let mut model = [false; 200];
        let mut held = Vec::new();
        let mut random = 12345_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let pick = (random >> 33) as usize;
            if pick.is_multiple_of(2) && !held.is_empty() {
                let (start, count): (usize, usize) = held.swap_remove(pick % held.len());
                assert_eq!(pages.give_back(start, count), Ok(Freed::Reusable));
                model[start..start + count].fill(false);
            } else {
                let count = (pick >> 8) % 90 + 1;
                let expected = model.windows(count).position(|run| !run.contains(&true));
                assert_eq!(pages.take(count), expected);
                if let Some(start) = expected {
                    model[start..start + count].fill(true);
                    held.push((start, count));
                }
            }
            assert_eq!(pages.free_pages(), model.iter().filter(|used| !**used).count());
        }
    }
}
