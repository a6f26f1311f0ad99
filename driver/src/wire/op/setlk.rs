//! FUSE_SETLK: sets or gives up a lock; `EAGAIN` if another is in the way.

use super::getlk::LkArgs;
use crate::wire::{FileHandle, Lock, LockOwner, Opcode, Operation};

/// FUSE_SETLK of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setlk {
    pub(crate) fh: FileHandle,
    pub(crate) owner: LockOwner,
    pub(crate) lock: Lock,
    /// The lock is that of `flock`, on the whole file, and not a POSIX lock.
    pub(crate) flock: bool,
}

impl Operation for Setlk {
    const OPCODE: Opcode = Opcode(32);
    const OPTIONAL: bool = true;
    type Args = LkArgs;
    type Reply = ();

    fn args(&self) -> LkArgs {
        LkArgs::new(self.fh, self.owner, &self.lock, self.flock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;
    use crate::wire::op::getlk::Getlk;
    use crate::wire::op::getlk::tests::{GOLDEN, LK_FLAGS_AT, getlk};

    #[test]
    fn a_request_is_that_of_getlk_with_the_kind_of_lock() {
        let Getlk { fh, owner, lock } = getlk();
        assert_eq!(golden::request(32, &Setlk { fh, owner, lock, flock: false }), GOLDEN);
        let flock = golden::patched(&GOLDEN, LK_FLAGS_AT, &[1]);
        assert_eq!(golden::request(32, &Setlk { fh, owner, lock, flock: true }), flock);
    }
}
