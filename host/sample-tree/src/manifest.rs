//! The list of a directory tree, one line per entry, that host and guest must agree on.
//!
//! The first line is the directory itself; then, depth first, each entry below it: an entry's line comes before the
//! lines of what it contains, and the entries of one directory are sorted by the bytes of their names. Symbolic links
//! are listed, not followed. A line ends in one newline (`0x0a`) and has seven fields with one space between them:
//!
//! ```text
//! <type> <mode> <size> <mtime> <nlink> <sha256> <path>[ -> <target>]
//! ```
//!
//! | field | meaning |
//! |---|---|
//! | `type` | `f` regular file, `d` directory, `l` symbolic link, `p` fifo, `s` socket, `b` block device, `c` character device |
//! | `mode` | the twelve permission bits (set-user-id, set-group-id and sticky among them), four octal digits |
//! | `size` | `st_size` as `lstat` gives it, for every type, decimal, in bytes |
//! | `mtime` | seconds since 1970 rounded down (so negative before it), decimal, a dot, nanoseconds as nine digits: half a second before 1970 is `-1.500000000` |
//! | `nlink` | `st_nlink`, decimal |
//! | `sha256` | SHA-256 of the content of a regular file as 64 lower-case hexadecimal digits; `-` for every other type |
//! | `path` | relative to the directory, components separated by `/`, no leading `./`; `.` for the directory itself |
//! | `target` | only for symbolic links: ` -> ` and the target's bytes |
//!
//! `path` and `target` are escaped as by `escape_ascii` of Rust's byte slices: `\t`, `\r`, `\n`, `\'`, `\"`, `\\`, and
//! `\xHH` for other bytes that are not printable ASCII. So a list is lines of text whatever the names are.
//!
//! ```text
//! d 0755 4096 1700000000.000000000 3 - .
//! f 0644 21 1700000001.001000003 1 6a09…(64 digits) hello.txt
//! l 0777 9 1700000002.002000006 1 - my link -> hello.txt
//! ```

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The bits of `st_mode` that hold the type, and their values (`stat(2)`, inode(7)).
const TYPE_MASK: u32 = 0o170_000;

/// Writes the list of `root` and everything below it.
pub(crate) fn write(root: &Path, out: &mut impl Write) -> io::Result<()> {
    let metadata = about(root, fs::symlink_metadata(root))?;
    entry(root, b"", &metadata, out)
}

/// Writes the line of one entry and, for a directory, the lines of everything below it. `name` is the path relative to
/// the root, empty for the root itself.
fn entry(path: &Path, name: &[u8], metadata: &Metadata, out: &mut impl Write) -> io::Result<()> {
    let kind = kind(metadata.mode());
    let hash = if kind == 'f' { about(path, hash(path))? } else { "-".to_owned() };
    let shown = if name.is_empty() { b"." } else { name };
    write!(
        out,
        "{kind} {:04o} {} {}.{:09} {} {hash} {}",
        metadata.mode() & 0o7777,
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.nlink(),
        shown.escape_ascii(),
    )?;
    if kind == 'l' {
        let target = about(path, fs::read_link(path))?;
        write!(out, " -> {}", target.as_os_str().as_bytes().escape_ascii())?;
    }
    writeln!(out)?;
    if kind == 'd' {
        for child in about(path, sorted_names(path))? {
            let child_path = path.join(&child);
            let mut child_name = name.to_vec();
            if !child_name.is_empty() {
                child_name.push(b'/');
            }
            child_name.extend_from_slice(child.as_bytes());
            let metadata = about(&child_path, fs::symlink_metadata(&child_path))?;
            entry(&child_path, &child_name, &metadata, out)?;
        }
    }
    Ok(())
}

/// The names in a directory, sorted by their bytes.
fn sorted_names(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name());
    }
    Ok(sort(names))
}

fn sort(names: Vec<OsString>) -> Vec<OsString> {
    let mut bytes: Vec<Vec<u8>> = names.into_iter().map(OsString::into_vec).collect();
    bytes.sort();
    bytes.into_iter().map(OsString::from_vec).collect()
}

/// The letter of a file type.
fn kind(mode: u32) -> char {
    match mode & TYPE_MASK {
        0o100_000 => 'f',
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o060_000 => 'b',
        0o020_000 => 'c',
        _ => '?',
    }
}

/// SHA-256 of a file's content, read piece by piece.
fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Adds the path to an error, which alone does not say what could not be read.
pub(crate) fn about<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::test_folder::TemporaryFolder;

    fn lines(root: &Path) -> Vec<String> {
        let mut text = Vec::new();
        write(root, &mut text).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    fn paths(lines: &[String]) -> Vec<&str> {
        lines.iter().map(|line| line.splitn(7, ' ').nth(6).unwrap()).collect()
    }

    #[test]
    fn names_are_sorted_by_bytes_not_by_letters_or_length() {
        let names = ["b", "a b", "a", "B", "a-b", "a/"].map(OsString::from).to_vec();
        let mut with_invalid = names;
        with_invalid.push(OsString::from_vec(vec![0xff]));
        with_invalid.push(OsString::from("ü"));
        let sorted: Vec<Vec<u8>> = sort(with_invalid).into_iter().map(OsString::into_vec).collect();
        let expected: [&[u8]; 8] = [b"B", b"a", b"a b", b"a-b", b"a/", b"b", "ü".as_bytes(), b"\xff"];
        assert_eq!(sorted, expected);
    }

    #[test]
    fn a_directory_comes_before_its_content_and_siblings_after_it() {
        let folder = TemporaryFolder::new("order");
        // Sorted as whole paths "a-b" and "a.b" would come between "a" and "a/c".
        for directory in ["a", "a/c", "a-b"] {
            fs::create_dir(folder.0.join(directory)).unwrap();
        }
        for file in ["a/z", "a/c/x", "a.b", "A"] {
            fs::write(folder.0.join(file), "").unwrap();
        }
        assert_eq!(paths(&lines(&folder.0)), [".", "A", "a", "a/c", "a/c/x", "a/z", "a-b", "a.b"]);
    }

    #[test]
    fn a_regular_file_has_its_mode_size_time_links_and_hash() {
        let folder = TemporaryFolder::new("file");
        let path = folder.0.join("a file");
        fs::write(&path, "abc").unwrap();
        fs::hard_link(&path, folder.0.join("again")).unwrap();
        let file = File::open(&path).unwrap();
        file.set_modified(UNIX_EPOCH - Duration::from_millis(500)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
        assert_eq!(
            lines(&folder.0)[1],
            "f 4751 3 -1.500000000 2 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad a file"
        );
    }

    #[test]
    fn links_show_their_target_and_are_not_followed() {
        let folder = TemporaryFolder::new("links");
        symlink(".", folder.0.join("loop")).unwrap();
        symlink("no where\\", folder.0.join("dangling")).unwrap();
        let lines = lines(&folder.0);
        assert_eq!(paths(&lines), [".", r"dangling -> no where\\", "loop -> ."]);
        assert!(lines[1].starts_with("l 0777 9 "));
        assert_eq!(lines[1].split(' ').nth(5), Some("-"));
    }

    #[test]
    fn a_path_that_cannot_be_read_is_named() {
        let error = write(Path::new("/no such folder"), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("/no such folder: "), "{error}");
    }
}
