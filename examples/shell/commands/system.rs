//! `df`, `sync`, `cd`, `pwd`, `time`, `repeat`, `fsinfo`, `drop`, `help`, `exit`.

use super::COMMANDS;
use crate::arguments::{exactly, number};
use crate::failure::{At, Failure, Outcome};
use crate::{Shell, text};
use alloc::format;
use alloc::vec::Vec;
use virtio_fs::{Errno, Error};

pub(super) fn df(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let [] = exactly(words)?;
    let room = shell.fs.statvfs("/").at(b"/")?;
    let kib = |blocks: u64| u128::from(blocks) * u128::from(room.fragment_size_bytes) / 1024;
    let used = room.blocks.saturating_sub(room.blocks_free);
    shell.print(format_args!("{:>12} {:>12} {:>12} {:>12} {:>12}\n", "KiB", "used", "available", "inodes", "free"))?;
    shell.print(format_args!(
        "{:12} {:12} {:12} {:12} {:12}\n",
        kib(room.blocks),
        kib(used),
        kib(room.blocks_available),
        room.files,
        room.files_free
    ))
}

pub(super) fn sync(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let [] = exactly(words)?;
    shell.fs.sync().at(b"/")
}

pub(super) fn cd(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let root = [b"/".to_vec()];
    let [word] = exactly(if words.is_empty() { &root } else { words })?;
    let path = shell.path(word);
    if !shell.fs.metadata(&path).at(word)?.is_dir() {
        return Err(Error::Invalid(Errno::ENOTDIR)).at(word);
    }
    // As the driver follows paths: `..` leads to where the path came from.
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    shell.directory = [b"/", names.join(&b'/').as_slice()].concat();
    Ok(())
}

pub(super) fn pwd(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let [] = exactly(words)?;
    let directory = text::name(&shell.directory);
    shell.print(format_args!("{directory}\n"))
}

pub(super) fn time(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    if words.is_empty() {
        return Err(Failure::Usage);
    }
    let start = shell.platform.now();
    let result = shell.execute(words);
    let taken = shell.platform.now() - start;
    // That is not the command's output.
    let message = format!("{}.{:03} s\n", taken.as_secs(), taken.subsec_millis());
    shell.terminal.write(message.as_bytes());
    result
}

pub(super) fn repeat(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (count, command) = words.split_first().filter(|(_, command)| !command.is_empty()).ok_or(Failure::Usage)?;
    for _ in 0..number(count)? {
        shell.execute(command)?;
    }
    Ok(())
}

pub(super) fn fsinfo(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let [] = exactly(words)?;
    // Asked for first: what is printed into a file is not counted.
    let statistics = shell.fs.statistics();
    let negotiated = *shell.fs.negotiated();
    let kib = |bytes: usize| bytes >> 10;
    shell.print(format_args!("FUSE 7.{}\nflags: {:?}\n", negotiated.minor, negotiated.flags))?;
    shell.print(format_args!("largest READ: {} KiB\n", kib(negotiated.max_transfer_bytes)))?;
    shell.print(format_args!("largest WRITE: {} KiB\n", kib(negotiated.max_write_bytes)))?;
    shell.print(format_args!("unit of times: {} ns\n", negotiated.time_granularity_ns))?;
    shell.print(format_args!("requests: {}\n", statistics.all_requests()))?;
    for (name, count) in statistics.requests() {
        shell.print(format_args!("  {name}: {count}\n"))?;
    }
    shell.print(format_args!("most in flight: {}\n", statistics.most_in_flight))?;
    shell.print(format_args!("data sent: {} bytes\n", statistics.sent_bytes))?;
    shell.print(format_args!("data received: {} bytes\n", statistics.received_bytes))?;
    shell.print(format_args!("doorbells: {}\n", statistics.doorbells))?;
    shell.print(format_args!("interrupts: none, the driver polls\n"))?;
    shell.print(format_args!("cached: {} names, {} bytes\n", statistics.cached_names, statistics.cached_bytes))?;
    shell.print(format_args!("to be written: {} bytes\n", statistics.dirty_bytes))?;
    shell.print(format_args!("mapped: {} ranges, {} bytes\n", statistics.mappings, statistics.mapped_bytes))?;
    shell.print(format_args!("names found without a request: {}\n", statistics.name_hits))?;
    shell.print(format_args!("reads without a request: {}\n", statistics.data_hits))
}

pub(super) fn drop_caches(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let [] = exactly(words)?;
    let statistics = shell.fs.statistics();
    shell.fs.drop_caches();
    shell.print(format_args!("dropped {} names, {} bytes\n", statistics.cached_names, statistics.cached_bytes))
}

pub(super) fn help(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    if words.len() > 1 {
        return Err(Failure::Usage);
    }
    let wanted = |name: &str| words.first().is_none_or(|word| word == name.as_bytes());
    if !COMMANDS.iter().any(|command| wanted(command.name)) {
        return Err(Failure::Misuse("no such command"));
    }
    for command in COMMANDS.iter().filter(|command| wanted(command.name)) {
        shell.print(format_args!("{} {}\n    {}\n", command.name, command.arguments, command.summary))?;
    }
    Ok(())
}

pub(super) fn exit(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let status = match words {
        [] => u64::from(shell.status),
        [word] => number(word)?,
        _ => return Err(Failure::Usage),
    };
    // Others are the kernel's own, or QEMU cannot tell.
    let status = u8::try_from(status).ok().filter(|&status| status <= 100).ok_or(Failure::Usage)?;
    shell.is_over = true;
    Err(Failure::Status(status))
}
