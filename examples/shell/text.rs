//! How things are shown: names, modes, dates.

use alloc::format;
use alloc::string::String;
use virtio_fs::{FileType, Timestamp};

/// A name or path. What is no character, or would confuse a terminal, is escaped.
pub(crate) fn name(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// A kind of file, in words.
pub(crate) fn file_type(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Regular => "regular file",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::BlockDevice => "block device",
        FileType::CharDevice => "character device",
    }
}

/// Kind and permissions as `ls -l` shows them, such as `drwxr-xr-x`.
pub(crate) fn mode(file_type: FileType, permissions: u16) -> String {
    let mut shown = String::new();
    shown.push(match file_type {
        FileType::Regular => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::BlockDevice => 'b',
        FileType::CharDevice => 'c',
    });
    // The special bit of each group of three: set-user-id, set-group-id, sticky.
    for (shift, special, with, without) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = permissions >> shift;
        shown.push(if bits & 4 != 0 { 'r' } else { '-' });
        shown.push(if bits & 2 != 0 { 'w' } else { '-' });
        shown.push(match (permissions & special != 0, bits & 1 != 0) {
            (true, true) => with,
            (true, false) => without,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    shown
}

/// A date of UTC, to the second.
pub(crate) fn date(time: Timestamp) -> String {
    let (days, second) = (time.seconds.div_euclid(86_400), time.seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of the Gregorian calendar, so many days after 1970-01-01.
fn civil(days: i64) -> (i64, u8, u8) {
    // Years that begin in March have their leap day at the end; 400 of them have 146,097 days.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months from March on have 153 days, and so have the five from August on.
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

/// Whether `name` is what `pattern` says: `*` stands for any bytes, `?` for one.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the last `*` was, and what it stood for up to there.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, until)) => {
                    star = Some((at, until + 1));
                    (p, n) = (at + 1, until + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are_but_for_what_is_no_text() {
        assert_eq!(name("Grüße.txt".as_bytes()), "Grüße.txt");
        assert_eq!(name(b"a\xff\nb\x1b"), "a\\xff\\nb\\u{1b}");
    }

    #[test]
    fn modes_are_shown_as_ls_does() {
        assert_eq!(mode(FileType::Directory, 0o755), "drwxr-xr-x");
        assert_eq!(mode(FileType::Regular, 0o4640), "-rwSr-----");
        assert_eq!(mode(FileType::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode(FileType::Regular, 0o6711), "-rws--s--x");
    }

    #[test]
    fn dates_follow_the_calendar() {
        let shown = |seconds| date(Timestamp { seconds, nanoseconds: 0 });
        assert_eq!(shown(0), "1970-01-01 00:00:00");
        assert_eq!(shown(-1), "1969-12-31 23:59:59");
        assert_eq!(shown(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(shown(1_700_000_000), "2023-11-14 22:13:20");
        assert_eq!(shown(4_107_542_399), "2100-02-28 23:59:59");
        assert_eq!(shown(4_107_542_400), "2100-03-01 00:00:00");
    }

    #[test]
    fn patterns_are_matched() {
        for (pattern, fits) in
            [("*.txt", true), ("*", true), ("a?c.*", true), ("abc", false), ("*b*t", true), ("", false)]
        {
            assert_eq!(matches(pattern.as_bytes(), b"abc.txt"), fits, "{pattern}");
        }
        assert!(matches(b"**", b"") && !matches(b"?", b""));
    }
}
