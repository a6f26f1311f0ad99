//! From a line of text to commands: words, quotes, redirections, and what stands between commands.

use alloc::vec::Vec;

/// When a command is run, by how the one before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// After `;` or a line end.
    Always,
    /// After `&&`.
    Succeeded,
    /// After `||`.
    Failed,
}

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) when: When,
    /// The command's name and its arguments, without quotes; at least one.
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) redirection: Option<Redirection>,
}

/// Where a command's output goes instead of the terminal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Redirection {
    pub(crate) path: Vec<u8>,
    /// `>>` instead of `>`.
    pub(crate) appends: bool,
}

/// What a text consists of.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(Vec<u8>),
    /// Between commands.
    Next(When),
    /// `>`, or `>>` if true.
    Into(bool),
}

/// Takes a text apart.
///
/// Words end at blanks. `'...'` keeps everything as it is; in `"..."` a backslash quotes `"` and `\`; elsewhere it
/// quotes the character behind it. `#` at the start of a word begins a comment, up to the line's end.
///
/// # Errors
///
/// What is wrong with it, in words. Nothing of a text with a mistake is to be run.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Command>, &'static str> {
    let mut commands = Vec::new();
    let (mut when, mut words, mut redirection) = (When::Always, Vec::new(), None);
    let mut tokens = tokens(text)?.into_iter();
    loop {
        let next = match tokens.next() {
            Some(Token::Word(word)) => {
                words.push(word);
                continue;
            }
            Some(Token::Into(appends)) => match tokens.next() {
                _ if redirection.is_some() => return Err("output goes to one place only"),
                Some(Token::Word(path)) => {
                    redirection = Some(Redirection { path, appends });
                    continue;
                }
                _ => return Err("a file name is missing behind '>'"),
            },
            Some(Token::Next(next)) => Some(next),
            None => None,
        };
        if !words.is_empty() {
            commands.push(Command { when, words, redirection });
            (words, redirection) = (Vec::new(), None);
        } else if redirection.is_some() {
            return Err("a command is missing before '>'");
        } else if when != When::Always || !matches!(next, None | Some(When::Always)) {
            return Err("a command is missing beside '&&' or '||'");
        }
        match next {
            Some(next) => when = next,
            None => return Ok(commands),
        }
    }
}

fn tokens(text: &[u8]) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let doubled = after.first() == Some(&byte);
        let (token, length) = match byte {
            b' ' | b'\t' | b'\r' => (None, 1),
            b'#' => (None, rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())),
            b';' | b'\n' => (Some(Token::Next(When::Always)), 1),
            b'&' if doubled => (Some(Token::Next(When::Succeeded)), 2),
            b'|' if doubled => (Some(Token::Next(When::Failed)), 2),
            b'>' => (Some(Token::Into(doubled)), 1 + usize::from(doubled)),
            b'&' | b'|' | b'<' => return Err("'|', '&' and '<' mean nothing here: quote them"),
            _ => {
                let (word, length) = word(rest)?;
                (Some(Token::Word(word)), length)
            }
        };
        tokens.extend(token);
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// The word at the start of `text`, and its length there.
fn word(text: &[u8]) -> Result<(Vec<u8>, usize), &'static str> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut bytes = text.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (byte, quote) {
            (b'\'' | b'"', None) => quote = Some(byte),
            (_, Some(open)) if open == byte => quote = None,
            (b'\\', None | Some(b'"')) => match bytes.next() {
                Some((_, quoted)) => {
                    if quote.is_some() && !matches!(quoted, b'"' | b'\\') {
                        word.push(b'\\');
                    }
                    word.push(quoted);
                }
                None => return Err("nothing stands behind the last '\\'"),
            },
            (b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>', None) => return Ok((word, at)),
            _ => word.push(byte),
        }
    }
    if quote.is_some() { Err("a quote is not closed") } else { Ok((word, text.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::{format, vec};

    /// The words of the only command.
    fn words(text: &str) -> Vec<String> {
        let commands = parse(text.as_bytes()).unwrap();
        assert_eq!(commands.len(), 1, "{text:?}");
        commands[0].words.iter().map(|word| String::from_utf8(word.clone()).unwrap()).collect()
    }

    /// What a text becomes, in short: `when:word word>path`.
    fn outline(text: &str) -> Vec<String> {
        let show = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let commands = parse(text.as_bytes()).unwrap().into_iter().map(|command| {
            let words: Vec<_> = command.words.iter().map(|word| show(word)).collect();
            let redirection = command.redirection.map_or(String::new(), |redirection| {
                format!("{}{}", if redirection.appends { ">>" } else { ">" }, show(&redirection.path))
            });
            format!("{:?}:{}{redirection}", command.when, words.join(" "))
        });
        commands.collect()
    }

    #[test]
    fn words_end_at_blanks() {
        assert_eq!(words("  ls\t-l  /a "), ["ls", "-l", "/a"]);
    }

    #[test]
    fn quotes_keep_blanks_and_what_would_end_a_word() {
        assert_eq!(words(r#"echo 'a  b' "c;d" e\ f g'h'"i" '>' "#), ["echo", "a  b", "c;d", "e f", "ghi", ">"]);
        assert_eq!(words("touch '' \"\""), ["touch", "", ""]);
    }

    #[test]
    fn backslashes_mean_less_within_quotes() {
        assert_eq!(words(r#"echo "a\"b\\c\d" 'e\f' \#g"#), ["echo", r#"a"b\c\d"#, r"e\f", "#g"]);
    }

    #[test]
    fn a_comment_begins_with_a_word_and_ends_with_the_line() {
        assert_eq!(outline("echo a#b # c; d\nls"), ["Always:echo a#b", "Always:ls"]);
        assert_eq!(outline("# nothing"), vec![""; 0]);
    }

    #[test]
    fn commands_are_separated_and_may_depend_on_the_one_before() {
        assert_eq!(outline("a;b&&c||d\ne;;\n;"), ["Always:a", "Always:b", "Succeeded:c", "Failed:d", "Always:e"]);
    }

    #[test]
    fn output_is_redirected_wherever_that_is_said() {
        assert_eq!(outline("echo hi>f;> g echo"), ["Always:echo hi>f", "Always:echo>g"]);
        assert_eq!(outline("echo hi >>'h i' there"), ["Always:echo hi there>>h i"]);
    }

    #[test]
    fn mistakes_are_told_and_nothing_is_run() {
        for text in [
            "'a",
            "\"a\\\"",
            "a \\",
            "a >",
            "a > ; b",
            "> f",
            "a > f > g",
            "a &",
            "a | b",
            "a < b",
            "&& a",
            "a &&",
            "a && ; b",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
