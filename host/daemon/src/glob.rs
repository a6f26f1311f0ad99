//! Patterns for the names of files: `*` is any sequence of bytes, `?` any one byte, and `\` takes away the meaning of
//! what follows it.

/// A pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Glob(Vec<u8>);

impl Glob {
    /// `None` if the pattern is empty or ends in a `\` that has nothing to escape.
    pub(crate) fn new(pattern: &[u8]) -> Option<Self> {
        let mut rest = pattern.iter();
        while let Some(byte) = rest.next() {
            if *byte == b'\\' {
                rest.next()?;
            }
        }
        (!pattern.is_empty()).then(|| Self(pattern.into()))
    }

    /// Whether the whole name fits. Takes time proportional to the product of both lengths at most.
    pub(crate) fn fits(&self, name: &[u8]) -> bool {
        let (mut pattern, mut rest) = (&self.0[..], name);
        // Where the last `*` was, and from where on it has eaten.
        let mut star: Option<(&[u8], &[u8])> = None;
        loop {
            let matched = match (pattern, rest) {
                ([b'*', after @ ..], _) => {
                    star = Some((after, rest));
                    Some((after, rest))
                }
                ([], []) => return true,
                ([b'?', after @ ..], [_, left @ ..]) => Some((after, left)),
                ([b'\\', wanted, after @ ..], [byte, left @ ..]) if wanted == byte => Some((after, left)),
                ([wanted, after @ ..], [byte, left @ ..]) if wanted == byte && *wanted != b'\\' => Some((after, left)),
                _ => None,
            };
            (pattern, rest) = match (matched, star) {
                (Some(both), _) => both,
                // The last star takes one byte more. Earlier ones need not be tried again: what followed them fitted.
                (None, Some((after, [_, left @ ..]))) => {
                    star = Some((after, left));
                    (after, left)
                }
                (None, _) => return false,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Glob::new(pattern.as_bytes()).unwrap().fits(name.as_bytes())
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "any"),
            ("a?c", "abc"),
            ("*.db", "x.db"),
            ("*.db", ".db"),
            ("a*b*c", "axxbyyc"),
            ("*ab", "aab"),
            ("\\*", "*"),
            ("\\?x", "?x"),
            ("a\\\\b", "a\\b"),
            ("**", "x"),
            ("?*", "x"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "ab"),
            ("a", ""),
            ("?", ""),
            ("*.db", "x.dbx"),
            ("a*b", "a"),
            ("\\*", "x"),
            ("a?c", "ac"),
            ("?*", ""),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        assert_eq!((Glob::new(b""), Glob::new(b"a\\")), (None, None));
    }

    /// The definition, which takes exponential time.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            ([b'*', after @ ..], _) => (0..=name.len()).any(|eaten| by_definition(after, &name[eaten..])),
            ([b'?', after @ ..], [_, left @ ..]) => by_definition(after, left),
            ([wanted, after @ ..], [byte, left @ ..]) => wanted == byte && by_definition(after, left),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn what_fits_is_what_the_definition_says(pattern in "[ab*?]{1,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(fits(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
