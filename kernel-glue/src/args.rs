//! The kernel's command line: words separated by white space, `key=value` or positional.

/// The value of the last `key=value` word with that key: a later word overrides an earlier one.
pub(crate) fn value<'a>(command_line: &'a str, key: &str) -> Option<&'a str> {
    command_line.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The words without `=`, in order.
pub(crate) fn positional(command_line: &str) -> impl Iterator<Item = &str> {
    command_line.split_ascii_whitespace().filter(|word| !word.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_at_white_space_and_may_contain_an_equals_sign() {
        assert_eq!(value("  log=debug\ttag=a=b  c", "tag"), Some("a=b"));
    }

    #[test]
    fn a_key_is_matched_as_a_whole() {
        assert_eq!(value("mytag=1 tag tags=2", "tag"), None);
    }

    #[test]
    fn an_empty_value_is_a_value() {
        assert_eq!(value("tag=", "tag"), Some(""));
    }

    #[test]
    fn the_last_word_of_a_key_counts() {
        assert_eq!(value("log=warn log=trace", "log"), Some("trace"));
    }

    #[test]
    fn positional_words_keep_their_order() {
        assert!(positional("cat log=debug /etc/hostname  -n").eq(["cat", "/etc/hostname", "-n"]));
    }
}
