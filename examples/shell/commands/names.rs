//! `mv`, `rm`, `mkdir`, `rmdir`, `ln`.

use crate::Shell;
use crate::arguments::{Options, exactly, some};
use crate::failure::{At, Failure, Outcome};
use alloc::vec::Vec;
use virtio_fs::{Errno, RenameFlags};

pub(super) fn mv(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, words) = Options::take(words, "nx")?;
    let (to, from) = words.split_last().filter(|(_, from)| !from.is_empty()).ok_or(Failure::Usage)?;
    let flags = match (options.has(b'n'), options.has(b'x')) {
        (false, false) => RenameFlags::empty(),
        (true, false) => RenameFlags::NOREPLACE,
        (false, true) => RenameFlags::EXCHANGE,
        (true, true) => return Err(Failure::Usage),
    };
    // What is exchanged goes where the other was.
    let into = flags != RenameFlags::EXCHANGE && shell.goes_into_directory(to, from.len())?;
    shell.for_each(from, |shell, from| {
        let target = shell.target(from, to, into);
        shell.fs.rename_with(shell.path(from), target, flags).at(from)
    })
}

pub(super) fn rm(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, paths) = Options::take(words, "rf")?;
    shell.for_each(some(paths)?, |shell, word| {
        let path = shell.path(word);
        let is_dir = || shell.fs.symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let result =
            if options.has(b'r') && is_dir() { shell.fs.remove_dir_all(&path) } else { shell.fs.remove_file(&path) };
        match result {
            Err(error) if options.has(b'f') && error.errno() == Errno::ENOENT => Ok(()),
            result => result.at(word),
        }
    })
}

pub(super) fn mkdir(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, paths) = Options::take(words, "p")?;
    shell.for_each(some(paths)?, |shell, word| {
        let path = shell.path(word);
        if options.has(b'p') { shell.fs.create_dir_all(path) } else { shell.fs.create_dir(path) }.at(word)
    })
}

pub(super) fn rmdir(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    shell.for_each(some(words)?, |shell, word| shell.fs.remove_dir(shell.path(word)).at(word))
}

pub(super) fn ln(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, words) = Options::take(words, "s")?;
    let [target, link] = exactly(words)?;
    let into = shell.goes_into_directory(link, 1)?;
    let path = shell.target(target, link, into);
    if options.has(b's') {
        shell.fs.symlink(target, path).at(link)
    } else {
        shell.fs.hard_link(shell.path(target), path).at(link)
    }
}
