//! Data of a request that lies in several buffers, which stand for one.

use core::{iter, mem};

/// What a request carries: slices whose bytes follow each other.
///
/// The first and the last may be parts of a caller's slices, so a list is cut without memory for another one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Payload<'a> {
    first: &'a [u8],
    middle: &'a [&'a [u8]],
    last: &'a [u8],
    bytes: usize,
}

/// Room for the data of a reply, which fills its slices in order. Cut as a [`Payload`] is.
#[derive(Debug, Default)]
pub(crate) struct Room<'a, 'b> {
    first: &'a mut [u8],
    middle: &'a mut [&'b mut [u8]],
    last: &'a mut [u8],
    bytes: usize,
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(slice: &'a [u8]) -> Self {
        Self { first: slice, bytes: slice.len(), ..Self::default() }
    }
}

impl<'a> From<&'a [&'a [u8]]> for Payload<'a> {
    fn from(slices: &'a [&'a [u8]]) -> Self {
        // The same slice may be there more than once.
        let bytes = slices.iter().fold(0, |bytes: usize, slice| bytes.saturating_add(slice.len()));
        Self { middle: slices, bytes, ..Self::default() }
    }
}

impl<'a> Payload<'a> {
    /// The length, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// The slices that are not empty.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &'a [u8]> {
        let slices = iter::once(self.first).chain(self.middle.iter().copied()).chain(iter::once(self.last));
        slices.filter(|slice| !slice.is_empty())
    }

    /// Takes the first `bytes` off, or all if there are no more.
    pub(crate) fn take(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let first = mem::take(&mut self.first);
        if bytes <= first.len() {
            let (taken, rest) = first.split_at(bytes);
            self.first = rest;
            return taken.into();
        }
        let (count, left) = fitting(self.middle.iter().map(|slice| slice.len()), bytes - first.len());
        let (middle, rest) = self.middle.split_at(count);
        let last;
        if let Some((cut, rest)) = rest.split_first() {
            self.middle = rest;
            (last, self.first) = cut.split_at(left);
        } else {
            self.middle = rest;
            (last, self.last) = self.last.split_at(left);
        }
        Self { first, middle, last, bytes }
    }
}

impl<'a> From<&'a mut [u8]> for Room<'a, '_> {
    fn from(slice: &'a mut [u8]) -> Self {
        let bytes = slice.len();
        Self { first: slice, bytes, ..Self::default() }
    }
}

impl<'a, 'b> From<&'a mut [&'b mut [u8]]> for Room<'a, 'b> {
    fn from(slices: &'a mut [&'b mut [u8]]) -> Self {
        // No two of them share memory, of which there is less than a `usize` counts.
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        Self { middle: slices, bytes, ..Self::default() }
    }
}

impl Room<'_, '_> {
    /// The length, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// The slices that are not empty.
    pub(crate) fn slices(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let middle = self.middle.iter_mut().map(|slice| &mut **slice);
        let slices = iter::once(&mut *self.first).chain(middle).chain(iter::once(&mut *self.last));
        slices.filter(|slice| !slice.is_empty())
    }

    /// Takes the first `bytes` off, or all if there are no more.
    pub(crate) fn take(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let first = mem::take(&mut self.first);
        if bytes <= first.len() {
            let (taken, rest) = first.split_at_mut(bytes);
            self.first = rest;
            return taken.into();
        }
        let (count, left) = fitting(self.middle.iter().map(|slice| slice.len()), bytes - first.len());
        let (middle, rest) = mem::take(&mut self.middle).split_at_mut(count);
        let last;
        if let Some((cut, rest)) = rest.split_first_mut() {
            self.middle = rest;
            (last, self.first) = cut.split_at_mut(left);
        } else {
            (last, self.last) = mem::take(&mut self.last).split_at_mut(left);
        }
        Self { first, middle, last, bytes }
    }
}

/// How many slices of these lengths fit whole into `bytes`, and what is left then.
fn fitting(mut lengths: impl Iterator<Item = usize>, bytes: usize) -> (usize, usize) {
    let mut left = bytes;
    let mut count = 0;
    while let Some(rest) = lengths.next().and_then(|length| left.checked_sub(length)) {
        left = rest;
        count += 1;
    }
    (count, left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const LENGTHS: [&[usize]; 7] =
        [&[], &[5], &[0, 0], &[1, 2, 3], &[0, 4, 0, 0, 3, 0], &[7, 1, 1, 7], &[2, 2, 2, 2, 2, 2]];

    /// Bytes of which no two are alike, and how long they are in all.
    fn content(lengths: &[usize]) -> (Vec<u8>, usize) {
        let bytes = lengths.iter().sum();
        ((1..).take(bytes).collect(), bytes)
    }

    /// Cuts `rest` at two places, and gives the three parts by the bytes in their slices.
    fn cut_twice<T>(
        mut rest: T,
        at: [usize; 2],
        take: fn(&mut T, usize) -> T,
        bytes: fn(&mut T) -> Vec<u8>,
    ) -> [Vec<u8>; 3] {
        let [mut one, mut two] = at.map(|bytes| take(&mut rest, bytes));
        [bytes(&mut one), bytes(&mut two), bytes(&mut rest)]
    }

    /// What [`cut_twice`] gives of one buffer.
    fn expected(content: &[u8], [one, two]: [usize; 2]) -> [Vec<u8>; 3] {
        let (head, rest) = content.split_at(one.min(content.len()));
        let (middle, rest) = rest.split_at(two.min(rest.len()));
        [head.to_vec(), middle.to_vec(), rest.to_vec()]
    }

    fn everywhere(test: impl Fn(&[usize], &[u8], [usize; 2])) {
        for lengths in LENGTHS {
            let (content, bytes) = content(lengths);
            for one in 0..bytes + 2 {
                (0..bytes + 2).for_each(|two| test(lengths, &content, [one, two]));
            }
        }
    }

    #[test]
    fn a_payload_is_cut_anywhere() {
        everywhere(|lengths, content, at| {
            let mut rest = content;
            let slices: Vec<&[u8]> = lengths.iter().map(|&length| rest.split_off(..length).unwrap()).collect();
            let bytes = |payload: &mut Payload<'_>| {
                let bytes: Vec<u8> = payload.slices().flatten().copied().collect();
                assert_eq!(bytes.len(), payload.len());
                bytes
            };
            let parts = cut_twice(Payload::from(&slices[..]), at, Payload::take, bytes);
            assert_eq!(parts, expected(content, at), "{lengths:?} at {at:?}");
            assert_eq!(cut_twice(Payload::from(content), at, Payload::take, bytes), expected(content, at));
        });
    }

    #[test]
    fn room_is_cut_anywhere() {
        everywhere(|lengths, content, at| {
            let mut memory = content.to_vec();
            let mut rest = &mut memory[..];
            let mut slices: Vec<&mut [u8]> =
                lengths.iter().map(|&length| rest.split_off_mut(..length).unwrap()).collect();
            let bytes = |room: &mut Room<'_, '_>| {
                let bytes: Vec<u8> = room.slices().flat_map(|slice| slice.to_vec()).collect();
                assert_eq!(bytes.len(), room.len());
                bytes
            };
            let parts = cut_twice(Room::from(&mut slices[..]), at, Room::take, bytes);
            assert_eq!(parts, expected(content, at), "{lengths:?} at {at:?}");
            assert_eq!(cut_twice(Room::from(&mut memory[..]), at, Room::take, bytes), expected(content, at));
        });
    }

    #[test]
    fn no_slice_that_is_given_out_is_empty() {
        let slices: [&[u8]; 4] = [b"", b"a", b"", b"b"];
        assert_eq!(Payload::from(&slices[..]).slices().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(Room::default().slices().count(), 0);
    }
}
