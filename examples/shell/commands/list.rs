//! `ls`, `tree`, `find`, `du`.

use crate::arguments::{Options, exactly};
use crate::failure::{At, Failure, Outcome};
use crate::{Shell, join, text};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use virtio_fs::fs::Metadata;
use virtio_fs::{FileType, NodeId};

pub(super) fn ls(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, paths) = Options::take(words, "laR")?;
    let here = [b".".to_vec()];
    let paths = if paths.is_empty() { &here } else { paths };
    let listing = Listing { long: options.has(b'l'), all: options.has(b'a'), recursive: options.has(b'R') };
    let titled = paths.len() > 1 || listing.recursive;
    shell.for_each(paths, |shell, word| {
        let path = shell.path(word);
        let metadata = shell.fs.symlink_metadata(&path).at(word)?;
        // A link to a directory stands for what is in it, unless the link itself is looked at.
        let is_dir = metadata.is_dir() || !listing.long && shell.fs.metadata(&path).is_ok_and(|target| target.is_dir());
        if is_dir { listing.directory(shell, &path, word, titled) } else { listing.line(shell, &path, word, &metadata) }
    })
}

/// How `ls` lists.
struct Listing {
    long: bool,
    all: bool,
    recursive: bool,
}

impl Listing {
    fn directory(&self, shell: &mut Shell<'_>, path: &[u8], shown: &[u8], titled: bool) -> Outcome {
        if titled {
            shell.print(format_args!("{}:\n", text::name(shown)))?;
        }
        if !self.long && !self.recursive {
            // Nothing but names is needed.
            for name in shell.names(path)? {
                if self.all || !name.starts_with(b".") {
                    shell.print(format_args!("{}\n", text::name(&name)))?;
                }
            }
            return Ok(());
        }
        let mut entries = shell.entries(path)?;
        entries.retain(|(name, _)| self.all || !name.starts_with(b"."));
        for (name, metadata) in &entries {
            self.line(shell, &join(path, name), name, metadata)?;
        }
        if self.recursive {
            for (name, _) in entries.iter().filter(|(_, metadata)| metadata.is_dir()) {
                shell.print(format_args!("\n"))?;
                self.directory(shell, &join(path, name), &join(shown, name), true)?;
            }
        }
        Ok(())
    }

    fn line(&self, shell: &mut Shell<'_>, path: &[u8], shown: &[u8], metadata: &Metadata) -> Outcome {
        let name = text::name(shown);
        if !self.long {
            return shell.print(format_args!("{name}\n"));
        }
        let attr = metadata.attr();
        shell.print(format_args!(
            "{} {:3} {:5} {:5} {:10} {} {name}",
            text::mode(attr.file_type, attr.permissions),
            attr.nlink,
            attr.uid,
            attr.gid,
            attr.size_bytes,
            text::date(attr.modified),
        ))?;
        if metadata.is_symlink() {
            let target = shell.fs.read_link(path).at(path)?;
            shell.print(format_args!(" -> {}", text::name(&target)))?;
        }
        shell.print(format_args!("\n"))
    }
}

pub(super) fn tree(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let here = [b".".to_vec()];
    let [word] = exactly(if words.is_empty() { &here } else { words })?;
    let path = shell.path(word);
    shell.print(format_args!("{}\n", text::name(word)))?;
    let (mut directories, mut others) = (0, 0);
    draw(shell, &path, "", &mut |is_dir| if is_dir { directories += 1 } else { others += 1 })?;
    shell.print(format_args!("{directories} directories, {others} others\n"))
}

fn draw(shell: &mut Shell<'_>, path: &[u8], indent: &str, count: &mut dyn FnMut(bool)) -> Outcome {
    let mut entries = shell.entries(path)?.into_iter().peekable();
    while let Some((name, metadata)) = entries.next() {
        let (branch, below) = if entries.peek().is_some() { ("├── ", "│   ") } else { ("└── ", "    ") };
        let below_path = join(path, &name);
        shell.print(format_args!("{indent}{branch}{}", text::name(&name)))?;
        if metadata.is_symlink() {
            let target = shell.fs.read_link(&below_path).at(&below_path)?;
            shell.print(format_args!(" -> {}", text::name(&target)))?;
        }
        shell.print(format_args!("\n"))?;
        count(metadata.is_dir());
        if metadata.is_dir() {
            draw(shell, &below_path, &[indent, below].concat(), count)?;
        }
    }
    Ok(())
}

pub(super) fn find(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let is_path = words.first().is_some_and(|word| !word.starts_with(b"-"));
    let (start, mut conditions) = if is_path { (&words[0][..], &words[1..]) } else { (&b"."[..], words) };
    let (mut pattern, mut kind) = (None, None);
    while let Some((word, rest)) = conditions.split_first() {
        let (value, rest) = rest.split_first().ok_or(Failure::Usage)?;
        match &word[..] {
            b"-name" => pattern = Some(&value[..]),
            b"-type" => kind = Some(type_of_letter(value)?),
            _ => return Err(Failure::Usage),
        }
        conditions = rest;
    }
    let path = shell.path(start);
    let metadata = shell.fs.symlink_metadata(&path).at(start)?;
    let wanted = |name: &[u8], metadata: &Metadata| {
        pattern.is_none_or(|pattern| text::matches(pattern, name))
            && kind.is_none_or(|kind| metadata.file_type() == kind)
    };
    find_below(shell, &path, start, crate::last_name(start), &metadata, &wanted)
}

fn find_below(
    shell: &mut Shell<'_>,
    path: &[u8],
    shown: &[u8],
    name: &[u8],
    metadata: &Metadata,
    wanted: &dyn Fn(&[u8], &Metadata) -> bool,
) -> Outcome {
    if wanted(name, metadata) {
        shell.print(format_args!("{}\n", text::name(shown)))?;
    }
    if metadata.is_dir() {
        for (name, metadata) in shell.entries(path)? {
            find_below(shell, &join(path, &name), &join(shown, &name), &name, &metadata, wanted)?;
        }
    }
    Ok(())
}

fn type_of_letter(letter: &[u8]) -> Outcome<FileType> {
    Ok(match letter {
        b"f" => FileType::Regular,
        b"d" => FileType::Directory,
        b"l" => FileType::Symlink,
        b"p" => FileType::Fifo,
        b"s" => FileType::Socket,
        b"b" => FileType::BlockDevice,
        b"c" => FileType::CharDevice,
        _ => return Err(Failure::Usage),
    })
}

pub(super) fn du(shell: &mut Shell<'_>, words: &[Vec<u8>]) -> Outcome {
    let (options, paths) = Options::take(words, "s")?;
    let here = [b".".to_vec()];
    let paths = if paths.is_empty() { &here } else { paths };
    let mut usage = Usage { only_sum: options.has(b's'), counted: BTreeSet::new() };
    shell.for_each(paths, |shell, word| {
        let path = shell.path(word);
        let metadata = shell.fs.symlink_metadata(&path).at(word)?;
        let blocks = usage.of(shell, &path, word, &metadata)?;
        if usage.only_sum || !metadata.is_dir() {
            shell.print(format_args!("{:10} {}\n", blocks / 2, text::name(word)))?;
        }
        Ok(())
    })
}

/// How `du` counts.
struct Usage {
    only_sum: bool,
    /// What has several names and was counted already.
    counted: BTreeSet<(NodeId, u64)>,
}

impl Usage {
    /// The blocks of 512 bytes that something takes.
    fn of(&mut self, shell: &mut Shell<'_>, path: &[u8], shown: &[u8], metadata: &Metadata) -> Outcome<u64> {
        let attr = metadata.attr();
        if !metadata.is_dir() {
            let is_new = attr.nlink == 1 || self.counted.insert((metadata.device(), attr.ino));
            return Ok(if is_new { attr.blocks } else { 0 });
        }
        let mut blocks = attr.blocks;
        for (name, metadata) in shell.entries(path)? {
            blocks += self.of(shell, &join(path, &name), &join(shown, &name), &metadata)?;
        }
        if !self.only_sum {
            let shown: String = text::name(shown);
            shell.print(format_args!("{:10} {shown}\n", blocks / 2))?;
        }
        Ok(blocks)
    }
}
