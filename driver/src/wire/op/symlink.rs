//! FUSE_SYMLINK: makes a symbolic link.

use super::Readlink;
use crate::wire::{Entry, Name, Opcode, Operation};
use crate::{Errno, Error};
use alloc::vec::Vec;

/// FUSE_SYMLINK of `name` in the directory that the request names. The target follows as payload, because it may be as
/// long as a path, and extensions follow the target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symlink<'a> {
    pub(crate) name: Name<'a>,
}

impl Symlink<'_> {
    /// Appends `target` and its NUL byte to `payload`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the target is empty; `ENAMETOOLONG` if it is longer than 4095 bytes; `EINVAL` if it contains a NUL
    /// byte; [`Error::NoMemory`].
    pub(crate) fn push_target(payload: &mut Vec<u8>, target: &[u8]) -> Result<(), Error> {
        match target {
            [] => return Err(Error::Invalid(Errno::ENOENT)),
            _ if target.len() > Readlink::MAX_BYTES => return Err(Error::Invalid(Errno::ENAMETOOLONG)),
            _ if target.contains(&0) => return Err(Error::Invalid(Errno::EINVAL)),
            _ => {}
        }
        payload.try_reserve(target.len() + 1).map_err(|_| Error::NoMemory)?;
        payload.extend_from_slice(target);
        payload.push(0);
        Ok(())
    }
}

impl Operation for Symlink<'_> {
    const OPCODE: Opcode = Opcode(6);
    const OPTIONAL: bool = true;
    const TAKES_SPACE: bool = true;
    type Args = ();
    type Reply = Entry;

    fn args(&self) {}

    fn names(&self) -> [&[u8]; 2] {
        [self.name.bytes(), &[]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_is_the_name_before_the_target() {
        let symlink = Symlink { name: Name::new(b"link").unwrap() };
        assert_eq!(golden::request(6, &symlink), b"link\0");
        let mut payload = Vec::new();
        Symlink::push_target(&mut payload, b"../a b").unwrap();
        assert_eq!(payload, b"../a b\0");
    }

    #[test]
    fn the_longest_target_is_one_byte_shorter_than_a_path() {
        let mut payload = Vec::new();
        assert!(Symlink::push_target(&mut payload, &[b'x'; 4095]).is_ok());
        assert_eq!(payload.len(), 4096);
    }

    #[test]
    fn a_target_that_cannot_be_is_the_callers_mistake() {
        for (target, errno) in
            [(&b""[..], Errno::ENOENT), (&[b'x'; 4096], Errno::ENAMETOOLONG), (b"a\0b", Errno::EINVAL)]
        {
            let mut payload = Vec::new();
            assert_eq!(Symlink::push_target(&mut payload, target), Err(Error::Invalid(errno)));
            assert!(payload.is_empty());
        }
    }

    #[test]
    fn a_reply_is_an_entry() {
        assert_eq!(golden::reply::<Symlink<'_>>(&golden::entry_bytes()), Ok(golden::entry()));
    }
}
