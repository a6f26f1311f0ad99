//! Where a table is: in memory of this process, or in a file that several servers share.

use super::locks::{self, Locks};
use super::memory::Memory;
use super::{VersionTable, words_for};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use virtio_fs_version_table::{Flags, LOG2_SLOTS, Table};

/// How many slots a table has, as the logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Size(u32);

impl Size {
    /// 2^16 slots.
    pub(crate) const DEFAULT: Self = Self(16);

    /// As many slots as fit into `bytes` with the header; `None` if there would be too few.
    pub(crate) fn fitting(bytes: u64) -> Option<Self> {
        let fits = |log2: &u32| bytes_of(*log2) <= bytes;
        LOG2_SLOTS.rev().find(fits).map(Self)
    }
}

/// What `--version-table` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// This process alone.
    Private(Size),
    /// Whoever serves by this file. Its size, if it is made.
    Shared(PathBuf, Size),
}

/// How long a table is.
pub(super) fn bytes_of(log2_slots: u32) -> u64 {
    (words_for(log2_slots) * size_of::<u64>()) as u64
}

/// Makes a table, or joins those who serve one. No other thread may run. A new one says `flags` of changes on the host.
///
/// # Errors
///
/// What failed, in words.
pub(crate) fn open(target: &Target, flags: Flags) -> Result<VersionTable, String> {
    match target {
        Target::Private(size) => private(*size, flags).map_err(|error| format!("--version-table: {error}")),
        Target::Shared(path, size) => {
            shared(path, *size, flags).map_err(|error| format!("--version-table: {}: {error}", path.display()))
        }
    }
}

fn private(Size(log2_slots): Size, flags: Flags) -> io::Result<VersionTable> {
    let file = memory_file(bytes_of(log2_slots))?;
    let counts = Memory::map(&memory_file(8 << log2_slots)?, 1 << log2_slots)?;
    let table = create(&file, log2_slots, flags)?;
    Ok(VersionTable { table, file: Arc::new(file), locks: Locks::new(None), counts, is_joined: false })
}

/// A file without a name, which nobody can make longer or shorter.
fn memory_file(bytes: u64) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("version table", flags)?);
    file.set_len(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// The table at a path, with what servers share beside it.
fn shared(path: &Path, size: Size, flags: Flags) -> io::Result<VersionTable> {
    let beside = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    let servers = options().open(beside(".servers"))?;
    locks::start(&servers)?;
    let is_joined = !locks::is_unused(&servers)?;
    let (file, table) = if is_joined {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let table = existing(&file)?;
        (file, table)
    } else {
        retire(path)?;
        let Size(log2_slots) = size;
        // Mappings of servers that were killed are gone with them.
        servers.set_len(0)?;
        reserve(&servers, 8 << log2_slots)?;
        let new = beside(".new");
        // What a server has left that was killed meanwhile.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = options().create_new(true).open(&new)?;
        reserve(&file, bytes_of(log2_slots))?;
        let table = create(&file, log2_slots, flags)?;
        std::fs::rename(new, path)?;
        (file, table)
    };
    let counts = Memory::map(&servers, 1 << table.log2_slots())?;
    locks::started(&servers)?;
    Ok(VersionTable { table, file: Arc::new(file), locks: Locks::new(Some(servers)), counts, is_joined })
}

/// Whether a file has no name any more, so that nobody will find it.
pub(super) fn is_removed(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Makes an empty file as long as this, with room for all of it, where the file system can say: who writes to memory for
/// which there is no room any more ends with SIGBUS.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)?;
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        result => Ok(result?),
    }
}

/// For files that only this user may use.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW);
    options
}

/// Makes everything void that guests have stamped by the table at a path, if there is one. Whatever else is there is
/// left alone, but for an empty file.
fn retire(path: &Path) -> io::Result<()> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if file.metadata()?.len() == 0 => Ok(()),
        Ok(file) => {
            existing(&file)?.retire();
            Ok(())
        }
    }
}

fn create(file: &File, log2_slots: u32, flags: Flags) -> io::Result<Table<Memory>> {
    let memory = Memory::map(file, words_for(log2_slots))?;
    Table::create(memory, log2_slots, flags, epoch()?).map_err(io::Error::other)
}

fn existing(file: &File) -> io::Result<Table<Memory>> {
    let bytes = file.metadata()?.len();
    let words = usize::try_from(bytes / size_of::<u64>() as u64).map_err(io::Error::other)?;
    let table = Table::open(Memory::map(file, words)?).map_err(io::Error::other)?;
    // Guests may be able to write to the header, but not to make the file longer.
    if bytes_of(table.log2_slots()) != bytes {
        return Err(io::Error::other("it does not have as many slots as it says"));
    }
    Ok(table)
}

fn epoch() -> io::Result<NonZeroU64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    // One that is 0 is no less random as another number.
    Ok(NonZeroU64::new(u64::from_ne_bytes(bytes)).unwrap_or(NonZeroU64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_that_of_the_largest_table_that_fits() {
        for (bytes, log2) in [(8191, None), (8192, Some(9)), (12287, Some(9)), (12288, Some(10)), (516 << 10, Some(16))]
        {
            assert_eq!(Size::fitting(bytes), log2.map(Size), "{bytes}");
        }
        assert_eq!((Size::fitting(u64::MAX), Size::fitting(bytes_of(16))), (Some(Size(32)), Some(Size::DEFAULT)));
    }

    #[test]
    fn a_private_table_cannot_be_cut_off_by_who_has_the_file() {
        let table = open(&Target::Private(Size(9)), Flags::empty()).unwrap();
        assert_eq!(table.bytes(), 8192);
        assert_eq!(table.file().set_len(4096).unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(table.file().set_len(16384).unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
}
