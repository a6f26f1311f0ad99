//! What a mount changes: anything, anywhere.

use super::found::ORDINARY;
use super::held::{HeldDirectory, HeldFile};
use super::world::{NAMES, World};
use std::fs;
use std::path::Path;
use virtio_fs::fs::{FileTimes, OpenOptions};
use virtio_fs::vnode::Node;
use virtio_fs::{AllocateFlags, Errno, Error, FileType, OpenFlags, RenameFlags, SetTime, Timestamp, XattrFlags};

/// How much a mount holds open.
const HELD: usize = 3;

/// A step as it is told of, the paths that it concerns, and whether it was done.
type Step = (String, Vec<String>);

impl World {
    /// Any but the root, at which nothing could be made.
    fn path(&mut self) -> String {
        let at = 1 + self.random.below(self.paths.len() - 1);
        self.paths[at].clone()
    }

    /// Mostly one where there is something.
    fn existing(&mut self) -> String {
        self.path_where(|path| fs::symlink_metadata(path).is_ok())
    }

    /// Mostly one that leads to a file.
    fn file(&mut self) -> String {
        self.path_where(|path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file()))
    }

    /// Mostly one where something can be made.
    fn vacant(&mut self) -> String {
        let is_vacant = |path: &Path| path.parent().is_some_and(Path::is_dir) && fs::symlink_metadata(path).is_err();
        self.path_where(is_vacant)
    }

    fn path_where(&mut self, is_right: impl Fn(&Path) -> bool) -> String {
        for _ in 0..20 {
            let path = self.path();
            if is_right(&self.share.at(&path)) {
                return path;
            }
        }
        self.path()
    }

    fn content(&mut self) -> Vec<u8> {
        let length = self.random.below(self.length);
        let byte = self.random.below(256) as u8;
        (0..length).map(|at| byte.wrapping_add((at >> 10) as u8)).collect()
    }

    fn place(&mut self) -> u64 {
        let place = self.random.below(self.length) as u64;
        // Whole blocks are needed for some things.
        if self.random.below(2) == 0 { place & !4095 } else { place }
    }

    /// Which of the open files, if one of them can be written to.
    fn writable(&mut self, number: usize) -> Option<usize> {
        let files = &self.sides[number].files;
        let writable: Vec<_> = (0..files.len()).filter(|at| files[*at].is_writable).collect();
        (!writable.is_empty()).then(|| writable[self.random.below(writable.len())])
    }

    /// Changes something through a mount.
    pub(crate) fn change(&mut self, number: usize) -> Step {
        match self.random.below(20) {
            0..=3 => self.make(number),
            4..=6 => self.take_away(number),
            7..=9 => self.move_something(number),
            10..=11 => self.hold(number),
            12..=15 if !self.sides[number].reads_only => self.write(number),
            16 => self.in_directory(number),
            _ => self.set(number),
        }
    }

    fn make(&mut self, number: usize) -> Step {
        let (path, other, content) = (self.vacant(), self.existing(), self.content());
        let target = ["a", "b", "c/a", "a/b/c", "nowhere"][self.random.below(5)];
        let is_there = fs::symlink_metadata(self.share.at(&path)).is_ok();
        let fs = &self.sides[number].fs;
        let (what, result) = match self.random.below(8) {
            0 if !self.sides[number].reads_only => {
                (format!("{} bytes to {path}", content.len()), fs.write(&path, content))
            }
            0..=2 => ("a directory".into(), fs.create_dir(&path)),
            3 => {
                let kinds = [FileType::Fifo, FileType::Socket, FileType::CharDevice, FileType::Regular];
                let kind = kinds[self.random.below(4)];
                (format!("a node {kind:?}"), fs.mknod(&path, kind, 0o640, 0x0103))
            }
            4 => (format!("a link to {target}"), fs.symlink(target, &path)),
            5 | 6 => (format!("a name of {other}"), fs.hard_link(&other, &path)),
            _ if self.sides[number].reads_only => ("a directory".into(), fs.create_dir(&path)),
            _ => {
                let create = OpenOptions::new().write(true).create_new(true).open(fs, &path);
                ("a file".into(), create.and_then(|file| file.write_all_at(0, &content).and(file.close())))
            }
        };
        if result == Err(Error::Refused(Errno::EEXIST)) && !is_there && self.is_alone {
            self.fail(number, &format!("{path}, to be made, is believed to be there"));
        }
        (format!("{path} is made: {what}: {result:?}"), vec![path, other])
    }

    fn take_away(&mut self, number: usize) -> Step {
        let path = self.existing();
        let is_there = fs::symlink_metadata(self.share.at(&path)).is_ok();
        let fs = &self.sides[number].fs;
        let result = match self.random.below(6) {
            0 => fs.remove_dir(&path),
            1 if self.random.below(4) == 0 => fs.remove_dir_all(&path),
            _ => match fs.remove_file(&path) {
                Err(error) if error.errno() == Errno::EISDIR => fs.remove_dir(&path),
                result => result,
            },
        };
        let is_missing = result.is_err_and(|error| error.errno() == Errno::ENOENT);
        if self.is_alone && (is_there && is_missing || !is_there && result.is_ok()) {
            self.fail(number, &format!("{path}, to be removed, is there: {is_there}, but {result:?}"));
        }
        (format!("{path} is removed: {result:?}"), vec![path])
    }

    fn move_something(&mut self, number: usize) -> Step {
        let from = self.existing();
        let to = if self.random.below(2) == 0 { self.existing() } else { self.vacant() };
        let flags = match self.random.below(6) {
            0 => RenameFlags::NOREPLACE,
            1 | 2 => RenameFlags::EXCHANGE,
            3 if self.random.below(4) == 0 => RenameFlags::WHITEOUT,
            _ => RenameFlags::empty(),
        };
        let result = self.sides[number].fs.rename_with(&from, &to, flags);
        (format!("{from} is moved to {to}, {flags:?}: {result:?}"), vec![from, to])
    }

    /// Opens something, or closes it.
    fn hold(&mut self, number: usize) -> Step {
        let side = &mut self.sides[number];
        if side.files.len() == HELD {
            drop(side.files.remove(self.random.below(HELD)));
            return ("a file is closed".into(), vec![]);
        }
        if side.directories.len() == HELD {
            drop(side.directories.remove(self.random.below(HELD)));
            return ("a directory is let go".into(), vec![]);
        }
        if self.random.below(3) == 0 {
            let path = self.existing();
            let host = self.share.at(&path);
            let node = self.sides[number].fs.node(&path);
            if let Ok(node) = &node
                && node.file_type() == FileType::Directory
            {
                self.sides[number].directories.extend(HeldDirectory::new(node.clone(), &host));
            }
            return (format!("{path} is kept: {:?}", node.map(|node| node.file_type())), vec![path]);
        }
        let path = self.file();
        let host = self.share.at(&path);
        if !self.sides[number].holds_files || fs::metadata(&host).is_ok_and(|metadata| !metadata.is_file()) {
            return (format!("{path} is not opened"), vec![path]);
        }
        let mut options = OpenOptions::new();
        let how = if self.sides[number].reads_only { 0 } else { self.random.below(6) };
        let (how, rights) = match how {
            0 | 1 => (options.read(true), (true, false)),
            2 => (options.read(true).write(true), (true, true)),
            3 => (options.read(true).write(true).truncate(true), (true, true)),
            4 => (options.read(true).append(true).create(true), (true, true)),
            _ => (options.write(true).create(true), (false, true)),
        };
        let file = how.open(&self.sides[number].fs, &path);
        let what = format!("{path} is opened, {how:?}: {:?}", file.as_ref().map(|_| ()));
        if let Ok(file) = file {
            self.sides[number].files.extend(HeldFile::new(file, &host, rights));
        }
        (what, vec![path])
    }

    /// Changes a file's content.
    fn write(&mut self, number: usize) -> Step {
        let (path, content, at, length) = (self.file(), self.content(), self.place(), self.place());
        let from = self.random.below(HELD);
        let how = self.random.below(9);
        let held = self.writable(number);
        let side = &self.sides[number];
        if fs::metadata(self.share.at(&path)).is_ok_and(|metadata| !metadata.is_file()) {
            return (format!("{path} is no file"), vec![path]);
        }
        let flags = [
            AllocateFlags::empty(),
            AllocateFlags::KEEP_SIZE,
            AllocateFlags::KEEP_SIZE | AllocateFlags::PUNCH_HOLE,
            AllocateFlags::ZERO_RANGE,
            AllocateFlags::COLLAPSE_RANGE,
            AllocateFlags::INSERT_RANGE,
        ][self.random.below(6)];
        let open = |options: &mut OpenOptions| options.open(&side.fs, &path);
        let (what, result) = match (how, held) {
            (0, _) => ("appended".into(), {
                open(OpenOptions::new().append(true)).and_then(|mut file| file.write_all(&content).and(file.close()))
            }),
            (1, _) => ("cut".into(), open(OpenOptions::new().write(true).truncate(true)).and_then(|file| file.close())),
            (2, _) => (format!("resized to {length}"), side.fs.truncate(&path, length)),
            (3, _) | (_, None) => (format!("written at {at}"), {
                open(OpenOptions::new().write(true)).and_then(|file| file.write_all_at(at, &content).and(file.close()))
            }),
            (4, Some(held)) => (format!("open and resized to {length}"), side.files[held].file.set_len(length)),
            (5, Some(held)) => {
                let result = side.files[held].file.allocate(at, length, flags);
                (format!("open and {flags:?} at {at}, {length}"), result)
            }
            (6, Some(held)) => match side.files.get(from) {
                Some(from) if from.is_readable => {
                    let result = from.file.copy_range(length, &side.files[held].file, at, 5000).map(drop);
                    (format!("copied from {length} to {at}"), result)
                }
                _ => ("not copied".into(), Ok(())),
            },
            (_, Some(held)) => {
                let result = side.files[held].file.write_all_at(at, &content);
                (format!("open and written at {at}, {} bytes", content.len()), result)
            }
        };
        (format!("{path} is {what}: {result:?}"), vec![path])
    }

    /// Changes names in a directory that is kept, wherever it is.
    fn in_directory(&mut self, number: usize) -> Step {
        let [one, other] = [0; 2].map(|_| NAMES[self.random.below(3)]);
        let (at, to) = (self.random.below(HELD), self.random.below(HELD));
        let how = self.random.below(6);
        let directories = &self.sides[number].directories;
        let (Some(directory), Some(to)) = (directories.get(at), directories.get(to)) else {
            return ("nothing".into(), vec![]);
        };
        let (directory, to): (&Node, &Node) = (&directory.node, &to.node);
        let (what, result) = match how {
            0 => ("made", directory.mkdir(one, 0o755).map(drop)),
            1 => ("taken away", directory.unlink(one)),
            2 => ("taken away, a directory", directory.rmdir(one)),
            3 if !self.sides[number].reads_only => {
                ("a file", directory.create(one, OpenFlags::READ_WRITE | OpenFlags::CREATE, 0o644).map(drop))
            }
            4 => ("exchanged", directory.rename(one, to, other, RenameFlags::EXCHANGE)),
            _ => ("moved", directory.rename(one, to, other, RenameFlags::empty())),
        };
        (format!("{one} in a directory is {what} ({other}): {result:?}"), self.paths.clone())
    }

    /// Changes attributes.
    fn set(&mut self, number: usize) -> Step {
        let path = self.existing();
        let held = self.random.below(HELD);
        let how = self.random.below(8);
        let [owner, group] = [0; 2].map(|_| [None, Some(0), Some(ORDINARY)][self.random.below(3)]);
        let permissions =
            [0o755, 0o700, 0o777, 0o644, 0o600, 0o4755, 0o2755, 0o1777, 0o000, 0o711][self.random.below(10)];
        // The host must be able to look there, whoever this is.
        let permissions = permissions | if rustix::process::geteuid().is_root() { 0 } else { 0o700 };
        let now = self.random.next_u64();
        let time = match now % 3 {
            0 => None,
            1 => Some(SetTime::Now),
            _ => {
                Some(SetTime::At(Timestamp { seconds: (now >> 40) as i64, nanoseconds: (now % 1_000_000_000) as u32 }))
            }
        };
        let side = &self.sides[number];
        let fs = &side.fs;
        let times = FileTimes { accessed: None, modified: time };
        let (what, result) = match how {
            0 | 1 => (format!("{permissions:o}"), fs.set_permissions(&path, permissions)),
            2 => (format!("{owner:?}.{group:?}"), fs.set_symlink_owner(&path, owner, group)),
            3 => (format!("{times:?}"), fs.set_symlink_times(&path, times)),
            4 => ("an attribute".into(), fs.set_xattr(&path, "user.a", now.to_le_bytes(), XattrFlags::empty())),
            5 => ("no attribute".into(), fs.remove_xattr(&path, "user.a")),
            _ => match side.files.get(held) {
                Some(held) if how == 6 => (format!("open, {permissions:o}"), held.file.set_permissions(permissions)),
                Some(held) => (format!("open, {times:?}"), held.file.set_times(times)),
                None => {
                    fs.drop_caches();
                    ("nothing, but caches are dropped".into(), Ok(()))
                }
            },
        };
        if matches!(how, 4 | 5) && self.is_alone {
            let host = self.share.at(&path);
            for (number, side) in self.sides.iter().enumerate().filter(|(_, side)| !side.is_ordinary) {
                let mut value = [0; 8];
                let should_be = rustix::fs::getxattr(&host, "user.a", &mut value).map(|bytes| value[..bytes].to_vec());
                let is = side.fs.get_xattr(&path, "user.a");
                if is.as_ref().ok() != should_be.as_ref().ok() {
                    self.fail(number, &format!("the attribute of {path} is {is:?} where there is {should_be:?}"));
                }
            }
        }
        (format!("{path} is set: {what}: {result:?}"), vec![path])
    }
}
