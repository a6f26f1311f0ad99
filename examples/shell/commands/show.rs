//! `stat`, `cat`, `head`, `hexdump`, `sha256sum`, `readlink`, `echo`.

use super::walk::read_bytes;
use crate::arguments::{Options, exactly, some};
use crate::failure::{At, Failure, Outcome};
use crate::{Shell, text};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use sha2::{Digest, Sha256};

/// How much is read at a time: several requests, which are in flight together.
const STEP_BYTES: usize = 4 << 20;

pub(super) fn stat(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    shell.for_each(some(words)?, |shell, word| {
        let metadata = shell.fs.symlink_metadata(shell.path(word)).at(word)?;
        let attr = metadata.attr();
        shell.print(format_args!("  file: {}\n", text::name(word)))?;
        shell.print(format_args!("  type: {}\n", text::file_type(attr.file_type)))?;
        shell.print(format_args!("  size: {} bytes, {} blocks of 512\n", attr.size_bytes, attr.blocks))?;
        let mode = text::mode(attr.file_type, attr.permissions);
        shell.print(format_args!("  mode: {:04o} {mode}\n", attr.permissions))?;
        shell.print(format_args!(" owner: uid {}, gid {}\n", attr.uid, attr.gid))?;
        shell.print(format_args!(" inode: {}, links: {}\n", attr.ino, attr.nlink))?;
        for (what, time) in [("access", attr.accessed), ("modify", attr.modified), ("change", attr.changed)] {
            shell.print(format_args!("{what}: {}.{:09}\n", text::date(time), time.nanoseconds))?;
        }
        Ok(())
    })
}

impl Shell<'_> {
    /// Reads up to `limit` bytes of a file from `offset` on, and hands them on piece by piece.
    fn read_file(
        &mut self,
        word: &[u8],
        mut offset: u64,
        limit: u64,
        hand_on: &mut dyn FnMut(&mut Self, &[u8]) -> Outcome,
    ) -> Outcome {
        let file = self.fs.open(self.path(word)).at(word)?;
        let size_bytes = file.metadata().at(word)?.len();
        let mut buffer = Vec::new();
        let end = offset.saturating_add(limit);
        while offset < end {
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let room = read_bytes(offset, size_bytes, STEP_BYTES.min(left));
            buffer.resize(room.max(buffer.len()), 0);
            match file.read_at(offset, &mut buffer[..room]).at(word)? {
                0 => break,
                bytes => {
                    hand_on(self, &buffer[..bytes])?;
                    offset += bytes as u64;
                }
            }
        }
        file.close().at(word)
    }
}

pub(super) fn cat(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    shell.for_each(some(words)?, |shell, word| shell.read_file(word, 0, u64::MAX, &mut Shell::write))
}

pub(super) fn head(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, files) = Options::take(words, "c:")?;
    let limit = options.size(b'c')?.ok_or(Failure::Usage)?;
    shell.for_each(some(files)?, |shell, word| shell.read_file(word, 0, limit, &mut Shell::write))
}

pub(super) fn hexdump(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, words) = Options::take(words, "s:n:")?;
    let [word] = exactly(words)?;
    let mut offset = options.size(b's')?.unwrap_or(0);
    let limit = options.size(b'n')?.unwrap_or(u64::MAX);
    // Pieces end where they like; lines have 16 bytes.
    let mut line = Vec::new();
    shell.read_file(word, offset, limit, &mut |shell, bytes| {
        for &byte in bytes {
            line.push(byte);
            if line.len() == 16 {
                dump(shell, offset, &line)?;
                offset += 16;
                line.clear();
            }
        }
        Ok(())
    })?;
    if !line.is_empty() {
        dump(shell, offset, &line)?;
        offset += line.len() as u64;
    }
    shell.print(format_args!("{offset:08x}\n"))
}

fn dump(shell: &mut Shell<'_>, offset: u64, bytes: &[u8]) -> Outcome {
    let (mut hexadecimal, mut printable) = (String::new(), String::new());
    for (place, &byte) in bytes.iter().enumerate() {
        let gap = if place == 8 { "  " } else { " " };
        // Writing to a String does not fail.
        let _ = write!(hexadecimal, "{gap}{byte:02x}");
        printable.push(if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' });
    }
    shell.print(format_args!("{offset:08x} {hexadecimal:49}  |{printable}|\n"))
}

pub(super) fn sha256sum(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    shell.for_each(some(words)?, |shell, word| {
        let mut sha256 = Sha256::new();
        shell.read_file(word, 0, u64::MAX, &mut |_, bytes| {
            sha256.update(bytes);
            Ok(())
        })?;
        for byte in core::mem::take(&mut sha256).finalize() {
            shell.print(format_args!("{byte:02x}"))?;
        }
        shell.print(format_args!("  {}\n", text::name(word)))
    })
}

pub(super) fn readlink(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    shell.for_each(some(words)?, |shell, word| {
        let target = shell.fs.read_link(shell.path(word)).at(word)?;
        shell.print(format_args!("{}\n", text::name(&target)))
    })
}

pub(super) fn echo(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    shell.write(&words.join(&b' '))?;
    shell.write(b"\n")
}
