//! The line editor: bytes of a terminal in, lines out. It knows no terminal: what is to be shown is given back.

use alloc::vec::Vec;

/// How many lines are remembered.
const HISTORY_LINES: usize = 100;
/// The longest line, in bytes. What is typed beyond is dropped.
const LINE_MAX_BYTES: usize = 4096;

/// What typing led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The line goes on.
    Typing,
    /// A line is complete.
    Line(Vec<u8>),
    /// The line was given up (`^C`).
    Abandoned,
    /// Nobody will type any more (`^D` on an empty line).
    End,
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Byte(u8),
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    Delete,
    Unknown,
}

/// Where in an escape sequence the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// After ESC.
    Started,
    /// After `ESC [` or `ESC O`, with the number so far.
    Sequence(u8),
}

/// A line that is being typed, and the lines before it.
///
/// Keys: arrows, Home, End, Delete, Backspace; `^A` start, `^E` end, `^B` left, `^F` right, `^P` older, `^N` newer,
/// `^U` erases to the start, `^K` to the end, `^W` a word, `^L` shows the line again, `^C` gives it up, `^D` erases
/// the next character or, on an empty line, ends the input.
pub(crate) struct Editor {
    prompt: Vec<u8>,
    line: Vec<u8>,
    /// Before which byte of the line typing goes on; the start of a character, or the end.
    cursor: usize,
    history: Vec<Vec<u8>>,
    /// Which line of the history is shown; its length means the new line.
    shown: usize,
    /// The new line, while another is shown.
    kept: Vec<u8>,
    escape: Escape,
    /// The last byte was a carriage return, whose line feed means nothing more.
    returned: bool,
}

impl Editor {
    pub(crate) fn new() -> Self {
        Self {
            prompt: Vec::new(),
            line: Vec::new(),
            cursor: 0,
            history: Vec::new(),
            shown: 0,
            kept: Vec::new(),
            escape: Escape::None,
            returned: false,
        }
    }

    /// Begins a line. Gives what to show.
    pub(crate) fn begin(&mut self, prompt: &[u8]) -> Vec<u8> {
        self.prompt = prompt.to_vec();
        self.line.clear();
        self.cursor = 0;
        self.shown = self.history.len();
        prompt.to_vec()
    }

    /// Takes a byte from the terminal. Gives what to show, and what it led to.
    pub(crate) fn take(&mut self, byte: u8) -> (Vec<u8>, Event) {
        let after_return = core::mem::replace(&mut self.returned, byte == b'\r');
        if after_return && byte == b'\n' {
            return (Vec::new(), Event::Typing);
        }
        match self.key(byte) {
            Some(key) => self.press(key),
            None => (Vec::new(), Event::Typing),
        }
    }

    /// Puts escape sequences together.
    fn key(&mut self, byte: u8) -> Option<Key> {
        let (escape, key) = match (self.escape, byte) {
            (_, 0x1b) => (Escape::Started, None),
            (Escape::None, _) => (Escape::None, Some(Key::Byte(byte))),
            (Escape::Started, b'[' | b'O') => (Escape::Sequence(0), None),
            (Escape::Started, _) => (Escape::None, Some(Key::Unknown)),
            (Escape::Sequence(number), b'0'..=b'9') => {
                (Escape::Sequence(number.saturating_mul(10).saturating_add(byte - b'0')), None)
            }
            // A second number says which other keys were held.
            (Escape::Sequence(_), b';') => (Escape::Sequence(0), None),
            (Escape::Sequence(number), _) => {
                let key = match (byte, number) {
                    (b'A', _) => Key::Up,
                    (b'B', _) => Key::Down,
                    (b'C', _) => Key::Right,
                    (b'D', _) => Key::Left,
                    (b'H', _) | (b'~', 1 | 7) => Key::Home,
                    (b'F', _) | (b'~', 4 | 8) => Key::End,
                    (b'~', 3) => Key::Delete,
                    _ => Key::Unknown,
                };
                (Escape::None, Some(key))
            }
        };
        self.escape = escape;
        key
    }

    fn press(&mut self, key: Key) -> (Vec<u8>, Event) {
        const fn control(letter: u8) -> u8 {
            letter & 0x1f
        }
        const A: u8 = control(b'A');
        const B: u8 = control(b'B');
        const C: u8 = control(b'C');
        const D: u8 = control(b'D');
        const E: u8 = control(b'E');
        const F: u8 = control(b'F');
        const K: u8 = control(b'K');
        const L: u8 = control(b'L');
        const N: u8 = control(b'N');
        const P: u8 = control(b'P');
        const U: u8 = control(b'U');
        const W: u8 = control(b'W');
        match key {
            Key::Byte(b'\r' | b'\n') => return self.finish(),
            Key::Byte(C) => return (b"^C\n".to_vec(), Event::Abandoned),
            Key::Byte(D) if self.line.is_empty() => return (b"\n".to_vec(), Event::End),
            Key::Byte(D) | Key::Delete => self.erase(self.cursor, self.next()),
            Key::Byte(0x08 | 0x7f) => self.erase(self.previous(), self.cursor),
            Key::Byte(A) | Key::Home => self.cursor = 0,
            Key::Byte(E) | Key::End => self.cursor = self.line.len(),
            Key::Byte(B) | Key::Left => self.cursor = self.previous(),
            Key::Byte(F) | Key::Right => self.cursor = self.next(),
            Key::Byte(P) | Key::Up => self.show(self.shown.saturating_sub(1)),
            Key::Byte(N) | Key::Down => self.show((self.shown + 1).min(self.history.len())),
            Key::Byte(U) => self.erase(0, self.cursor),
            Key::Byte(K) => self.erase(self.cursor, self.line.len()),
            Key::Byte(W) => self.erase(self.word_start(), self.cursor),
            Key::Byte(L) => {}
            Key::Byte(byte) if byte >= b' ' => return (self.insert(byte), Event::Typing),
            Key::Byte(_) | Key::Unknown => return (Vec::new(), Event::Typing),
        }
        (self.redraw(), Event::Typing)
    }

    fn insert(&mut self, byte: u8) -> Vec<u8> {
        if self.line.len() >= LINE_MAX_BYTES {
            return Vec::new();
        }
        self.line.insert(self.cursor, byte);
        self.cursor += 1;
        if self.cursor == self.line.len() { [byte].to_vec() } else { self.redraw() }
    }

    fn finish(&mut self) -> (Vec<u8>, Event) {
        let line = core::mem::take(&mut self.line);
        self.cursor = 0;
        let known = self.history.last() == Some(&line);
        if !known && !line.iter().all(u8::is_ascii_whitespace) {
            if self.history.len() == HISTORY_LINES {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        (b"\n".to_vec(), Event::Line(line))
    }

    fn erase(&mut self, from: usize, to: usize) {
        self.line.drain(from..to);
        self.cursor = from;
    }

    /// Shows a line of the history, or the new one.
    fn show(&mut self, place: usize) {
        if self.shown == self.history.len() {
            self.kept = core::mem::take(&mut self.line);
        }
        self.shown = place;
        self.line = self.history.get(place).unwrap_or(&self.kept).clone();
        self.cursor = self.line.len();
    }

    /// Where the character before the cursor starts.
    fn previous(&self) -> usize {
        (0..self.cursor).rev().find(|&at| starts_character(self.line[at])).unwrap_or(0)
    }

    /// Where the character after that at the cursor starts.
    fn next(&self) -> usize {
        let behind = (self.cursor + 1).min(self.line.len());
        (behind..self.line.len()).find(|&at| starts_character(self.line[at])).unwrap_or(self.line.len())
    }

    /// Where the word before the cursor starts.
    fn word_start(&self) -> usize {
        let is_blank = |at: &usize| self.line[*at] == b' ';
        let end = (0..self.cursor).rev().find(|at| !is_blank(at)).map_or(0, |last| last + 1);
        (0..end).rev().find(is_blank).map_or(0, |blank| blank + 1)
    }

    /// The line again: to its start, prompt and text, what was behind it erased, back to the cursor.
    fn redraw(&self) -> Vec<u8> {
        let mut shown = b"\r".to_vec();
        shown.extend_from_slice(&self.prompt);
        shown.extend_from_slice(&self.line);
        shown.extend_from_slice(b"\x1b[K");
        let behind = self.line[self.cursor..].iter().filter(|&&byte| starts_character(byte)).count();
        if behind > 0 {
            shown.extend_from_slice(alloc::format!("\x1b[{behind}D").as_bytes());
        }
        shown
    }
}

/// Whether a byte is not one of those that continue a character of UTF-8.
fn starts_character(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    /// A terminal of one line.
    #[derive(Default)]
    struct Screen {
        line: Vec<char>,
        cursor: usize,
    }

    impl Screen {
        fn show(&mut self, bytes: &[u8]) {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let mut rest = text.as_str();
            while let Some(character) = rest.chars().next() {
                rest = &rest[character.len_utf8()..];
                match character {
                    '\r' => self.cursor = 0,
                    '\n' => *self = Self::default(),
                    '\x1b' => {
                        let end = rest.find(char::is_alphabetic).unwrap();
                        let number = &rest[1..end];
                        match &rest[end..=end] {
                            "K" => self.line.truncate(self.cursor),
                            "D" => self.cursor -= number.parse::<usize>().unwrap(),
                            other => panic!("{other}"),
                        }
                        rest = &rest[end + 1..];
                    }
                    _ => {
                        self.line.truncate(self.line.len().max(self.cursor));
                        if self.cursor < self.line.len() {
                            self.line[self.cursor] = character;
                        } else {
                            self.line.push(character);
                        }
                        self.cursor += 1;
                    }
                }
            }
        }
    }

    /// Types each of `texts` into one editor. Gives the lines, and checks that the screen showed them.
    fn type_all(texts: &[&str]) -> Vec<String> {
        let mut editor = Editor::new();
        let mut lines = Vec::new();
        for text in texts {
            let mut screen = Screen::default();
            screen.show(&editor.begin(b"> "));
            for &byte in text.as_bytes() {
                let shown_before: String = screen.line.iter().skip(2).collect();
                let (shown, event) = editor.take(byte);
                // A character of several bytes is shown when it is whole.
                if byte < 0x80 {
                    screen.show(&shown);
                }
                if let Event::Line(line) = event {
                    let line = String::from_utf8(line).unwrap();
                    if line.is_ascii() {
                        assert_eq!(shown_before, line);
                    }
                    lines.push(line);
                }
            }
        }
        lines
    }

    #[test]
    fn a_line_ends_with_return_and_or_line_feed() {
        assert_eq!(type_all(&["ab\r", "\ncd\r\n", "ef\n", "\n"]), ["ab", "cd", "ef", ""]);
    }

    #[test]
    fn text_is_put_in_and_erased_where_the_cursor_is() {
        assert_eq!(type_all(&["ac\x1b[Db\x1b[Hx\x1b[Fy\n"]), ["xabcy"]);
        assert_eq!(type_all(&["abc\x02\x7f\n", "abc\x01\x04\n", "abc\x1b[D\x1b[D\x1b[3~\n"]), ["ac", "bc", "ac"]);
        assert_eq!(type_all(&["\x7f\x1b[D\x1b[C\x1bOHa\n"]), ["a"]);
    }

    #[test]
    fn parts_of_a_line_are_erased() {
        let lines = type_all(&["ab cd\x15e\n", "ab cd  \x17e\n", "ab cd\x01\x06\x0b\n", "  \x17x\n"]);
        assert_eq!(lines, ["e", "ab e", "a", "x"]);
    }

    #[test]
    fn earlier_lines_come_back_and_the_new_one_is_kept() {
        let lines =
            type_all(&["one\n", "two\n", "\x1b[A\n", "th\x1b[A\x1b[A\x1b[B\x1b[Bree\n", "\x10\x10\x10\x10\x10!\n"]);
        assert_eq!(lines, ["one", "two", "two", "three", "one!"]);
    }

    #[test]
    fn a_line_from_the_history_is_changed_in_a_copy() {
        assert_eq!(type_all(&["ab\n", "\x1b[A\x7fc\n", "\x1b[A\x1b[A\n"]), ["ab", "ac", "ab"]);
    }

    #[test]
    fn the_history_is_bounded_and_has_no_empty_lines() {
        let mut editor = Editor::new();
        for number in 0..HISTORY_LINES + 5 {
            editor.begin(b"");
            for byte in alloc::format!("{number}\n  \n").bytes() {
                editor.take(byte);
            }
        }
        assert_eq!(editor.history.len(), HISTORY_LINES);
        assert_eq!(editor.history[0], b"5");
    }

    #[test]
    fn a_character_of_several_bytes_is_one() {
        assert_eq!(type_all(&["aü世\x1b[D\x7fb\n", "ü\x01\x04\n"]), ["ab世", ""]);
    }

    #[test]
    fn control_c_gives_the_line_up_and_control_d_ends_the_input_on_an_empty_one() {
        let mut editor = Editor::new();
        editor.begin(b"");
        editor.take(b'a');
        assert_eq!(editor.take(3).1, Event::Abandoned);
        editor.begin(b"");
        editor.take(b'a');
        assert_eq!(editor.take(4).1, Event::Typing);
        editor.take(0x7f);
        assert_eq!(editor.take(4).1, Event::End);
    }

    #[test]
    fn a_line_is_bounded() {
        let mut editor = Editor::new();
        for _ in 0..LINE_MAX_BYTES + 10 {
            editor.take(b'a');
        }
        assert_eq!(editor.take(b'\n').1, Event::Line([b'a'; LINE_MAX_BYTES].to_vec()));
    }

    #[test]
    fn keys_that_mean_nothing_do_nothing() {
        assert_eq!(type_all(&["a\x1b[5~\x1b[1;5C\x1bx\x00\x0eb\n"]), ["ab"]);
    }
}
