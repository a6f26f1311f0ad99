//! Bytes of a name as printable text.

use std::fmt::Write;

/// Writes `bytes` so that they fit on one line and can be read back: bytes outside `0x21..=0x7e`, and the backslash
/// itself, become `\xHH` with lower-case digits; all others stand for themselves.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            0x21..=0x7e if byte != b'\\' => text.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn printable_bytes_stand_for_themselves() {
        assert_eq!(escape(b"a/B-c_!~"), "a/B-c_!~");
    }

    #[test]
    fn spaces_newlines_and_controls_become_hexadecimal() {
        assert_eq!(escape(b"a b\nc\x00\x1f\x7f"), r"a\x20b\x0ac\x00\x1f\x7f");
    }

    #[test]
    fn the_backslash_is_escaped_so_that_the_text_can_be_read_back() {
        assert_eq!(escape(br"\x41"), r"\x5cx41");
    }

    #[test]
    fn bytes_that_are_not_ascii_are_escaped_one_by_one() {
        assert_eq!(escape("ü".as_bytes()), r"\xc3\xbc");
        assert_eq!(escape(&[0xff, 0x80]), r"\xff\x80");
    }

    #[test]
    fn every_byte_gives_a_text_of_its_own() {
        let mut texts: Vec<String> = (0..=255).map(|byte| escape(&[byte])).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 256);
        assert!(texts.iter().all(|text| text.bytes().all(|byte| (0x21..=0x7e).contains(&byte))));
    }
}
