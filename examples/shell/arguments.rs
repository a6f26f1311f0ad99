//! Options and numbers on a command's line.

use crate::failure::{Failure, Outcome};
use alloc::vec::Vec;

/// The options that a command was given.
pub(crate) struct Options<'a> {
    given: Vec<(u8, &'a [u8])>,
}

impl<'a> Options<'a> {
    /// Takes the options from the start of `words`: letters of `known` behind a dash; those that a colon follows there
    /// have a value. `--` ends them. Gives the options and the other words.
    pub(crate) fn take(mut words: &'a [Vec<u8>], known: &str) -> Outcome<(Self, &'a [Vec<u8>])> {
        let mut given = Vec::new();
        while let Some((word, after)) = words.split_first() {
            if word.len() < 2 || word[0] != b'-' {
                break;
            }
            words = after;
            if word == b"--" {
                break;
            }
            let mut letters = &word[1..];
            while let Some((&letter, rest)) = letters.split_first() {
                letters = rest;
                let place = known.bytes().position(|one| one == letter && letter != b':').ok_or(Failure::Usage)?;
                let mut value: &[u8] = &[];
                if known.as_bytes().get(place + 1) == Some(&b':') {
                    // The rest of this word, or the next one.
                    value = core::mem::take(&mut letters);
                    if value.is_empty() {
                        let (next, after) = words.split_first().ok_or(Failure::Usage)?;
                        (value, words) = (next, after);
                    }
                }
                given.push((letter, value));
            }
        }
        Ok((Self { given }, words))
    }

    pub(crate) fn has(&self, letter: u8) -> bool {
        self.value(letter).is_some()
    }

    pub(crate) fn value(&self, letter: u8) -> Option<&'a [u8]> {
        self.given.iter().rev().find(|(one, _)| *one == letter).map(|&(_, value)| value)
    }

    /// The value of an option that is a size.
    pub(crate) fn size(&self, letter: u8) -> Outcome<Option<u64>> {
        self.value(letter).map(size).transpose()
    }
}

/// Words of which there must be as many.
pub(crate) fn exactly<const N: usize>(words: &[Vec<u8>]) -> Outcome<&[Vec<u8>; N]> {
    words.try_into().map_err(|_| Failure::Usage)
}

/// At least one word.
pub(crate) fn some(words: &[Vec<u8>]) -> Outcome<&[Vec<u8>]> {
    if words.is_empty() { Err(Failure::Usage) } else { Ok(words) }
}

/// A decimal number.
pub(crate) fn number(word: &[u8]) -> Outcome<u64> {
    let text = core::str::from_utf8(word).map_err(|_| Failure::Usage)?;
    text.parse().map_err(|_| Failure::Usage)
}

/// A number of bytes, or of KiB, MiB or GiB with a `K`, `M` or `G` behind it.
pub(crate) fn size(word: &[u8]) -> Outcome<u64> {
    let (digits, unit) = match word.split_last() {
        Some((b'K' | b'k', digits)) => (digits, 1 << 10),
        Some((b'M' | b'm', digits)) => (digits, 1 << 20),
        Some((b'G' | b'g', digits)) => (digits, 1 << 30),
        _ => (word, 1),
    };
    number(digits)?.checked_mul(unit).ok_or(Failure::Usage)
}

/// Permission bits, in octal digits.
pub(crate) fn mode(word: &[u8]) -> Outcome<u16> {
    let text = core::str::from_utf8(word).map_err(|_| Failure::Usage)?;
    u16::from_str_radix(text, 8).ok().filter(|&mode| mode <= 0o7777).ok_or(Failure::Usage)
}

/// `UID`, `UID:GID`, `UID:` or `:GID`.
pub(crate) fn owner(word: &[u8]) -> Outcome<(Option<u32>, Option<u32>)> {
    let id = |word: &[u8]| match word {
        [] => Ok(None),
        word => u32::try_from(number(word)?).map(Some).map_err(|_| Failure::Usage),
    };
    let mut parts = word.splitn(2, |&byte| byte == b':');
    let (user, group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match (id(user)?, id(group)?) {
        (None, None) => Err(Failure::Usage),
        owner => Ok(owner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn options_stand_before_the_other_words() {
        let words = words("-la -R a -b");
        let (options, rest) = Options::take(&words, "laR").unwrap();
        assert!(options.has(b'l') && options.has(b'a') && options.has(b'R'));
        assert_eq!(rest, &words[2..]);
    }

    #[test]
    fn an_option_may_have_a_value_with_it_or_behind_it() {
        for text in ["-s4K f", "-s 4K f", "-ks 4K f"] {
            let words = words(text);
            let (options, rest) = Options::take(&words, "s:k").unwrap();
            assert_eq!(options.size(b's').unwrap(), Some(4096));
            assert_eq!(rest, [b"f"]);
        }
    }

    #[test]
    fn two_dashes_end_the_options_and_one_is_a_word() {
        let dashes = words("-- -l");
        assert_eq!(Options::take(&dashes, "l").unwrap().1, [b"-l"]);
        let dash = words("- -l");
        assert_eq!(Options::take(&dash, "l").unwrap().1.len(), 2);
    }

    #[test]
    fn wrong_options_and_numbers_are_refused() {
        assert!(Options::take(&words("-x"), "l").is_err());
        assert!(Options::take(&words("-:"), "s:").is_err());
        assert!(Options::take(&words("-s"), "s:").is_err());
        assert!(size(b"").is_err() && size(b"-1").is_err() && size(b"K").is_err() && size(b"99999999999999G").is_err());
        assert!(mode(b"8").is_err() && mode(b"10000").is_err() && mode(b"u+x").is_err());
        assert!(owner(b":").is_err() && owner(b"a").is_err() && owner(b"1:2:3").is_err());
    }

    #[test]
    fn numbers_are_understood() {
        assert_eq!(size(b"10").unwrap(), 10);
        assert_eq!(size(b"2G").unwrap(), 2 << 30);
        assert_eq!(mode(b"4755").unwrap(), 0o4755);
        assert_eq!(owner(b"1:2").unwrap(), (Some(1), Some(2)));
        assert_eq!(owner(b"1").unwrap(), (Some(1), None));
        assert_eq!(owner(b":2").unwrap(), (None, Some(2)));
    }
}
