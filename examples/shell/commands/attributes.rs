//! `touch`, `chmod`, `chown`, `truncate`, `fallocate`, `xattr`.

use crate::arguments::{Options, exactly, mode, owner, some};
use crate::failure::{At, Failure, Outcome};
use crate::{Shell, text};
use alloc::vec::Vec;
use virtio_fs::fs::{FileTimes, OpenOptions};
use virtio_fs::{AllocateFlags, Errno, SetTime, XattrFlags};

pub(super) fn touch(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    shell.for_each(some(words)?, |shell, word| {
        let path = shell.path(word);
        let now = FileTimes { accessed: Some(SetTime::Now), modified: Some(SetTime::Now) };
        match shell.fs.set_times(&path, now) {
            Err(error) if error.errno() == Errno::ENOENT => {
                let file = OpenOptions::new().write(true).create(true).open(&shell.fs, &path).at(word)?;
                file.close().at(word)
            }
            result => result.at(word),
        }
    })
}

pub(super) fn chmod(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (word, paths) = words.split_first().ok_or(Failure::Usage)?;
    let permissions = mode(word)?;
    shell.for_each(some(paths)?, |shell, word| shell.fs.set_permissions(shell.path(word), permissions).at(word))
}

pub(super) fn chown(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, words) = Options::take(words, "h")?;
    let (word, paths) = words.split_first().ok_or(Failure::Usage)?;
    let (user, group) = owner(word)?;
    shell.for_each(some(paths)?, |shell, word| {
        let path = shell.path(word);
        match options.has(b'h') {
            true => shell.fs.set_symlink_owner(path, user, group),
            false => shell.fs.set_owner(path, user, group),
        }
        .at(word)
    })
}

pub(super) fn truncate(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, files) = Options::take(words, "s:")?;
    let size_bytes = options.size(b's')?.ok_or(Failure::Usage)?;
    shell.for_each(some(files)?, |shell, word| {
        let file = OpenOptions::new().write(true).create(true).open(&shell.fs, shell.path(word)).at(word)?;
        file.set_len(size_bytes).at(word)?;
        file.close().at(word)
    })
}

pub(super) fn fallocate(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, words) = Options::take(words, "kpzo:l:")?;
    let [word] = exactly(words)?;
    let offset = options.size(b'o')?.unwrap_or(0);
    let length = options.size(b'l')?.ok_or(Failure::Usage)?;
    let mut flags = AllocateFlags::empty();
    flags.set(AllocateFlags::KEEP_SIZE, options.has(b'k'));
    flags.set(AllocateFlags::ZERO_RANGE, options.has(b'z'));
    if options.has(b'p') {
        flags |= AllocateFlags::PUNCH_HOLE | AllocateFlags::KEEP_SIZE;
    }
    let file = OpenOptions::new().write(true).create(true).open(&shell.fs, shell.path(word)).at(word)?;
    file.allocate(offset, length, flags).at(word)?;
    file.close().at(word)
}

pub(super) fn xattr(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (action, words) = words.split_first().ok_or(Failure::Usage)?;
    match &action[..] {
        b"get" => {
            let [word, name] = exactly(words)?;
            let value = shell.fs.get_xattr(shell.path(word), name).at(word)?;
            shell.print(format_args!("{}\n", text::name(&value)))
        }
        b"set" => {
            let [word, name, value] = exactly(words)?;
            shell.fs.set_xattr(shell.path(word), name, value, XattrFlags::empty()).at(word)
        }
        b"list" => {
            let [word] = exactly(words)?;
            let mut names = shell.fs.list_xattr(shell.path(word)).at(word)?;
            names.sort();
            names.iter().try_for_each(|name| shell.print(format_args!("{}\n", text::name(name))))
        }
        b"rm" => {
            let [word, name] = exactly(words)?;
            shell.fs.remove_xattr(shell.path(word), name).at(word)
        }
        _ => Err(Failure::Usage),
    }
}
