//! FUSE_INTERRUPT: the caller gives up on a request in flight. Has no reply; goes on the high-priority queue.

use crate::wire::{Opcode, Operation, Unique};
use zerocopy::{Immutable, IntoBytes};

/// FUSE_INTERRUPT of a request. The reply to that request comes all the same; it is EINTR if the server gave up on it.
/// The server may see the interrupt before the request, or after its end: then nothing happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupt {
    pub(crate) unique: Unique,
}

/// `fuse_interrupt_in`.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct InterruptArgs {
    unique: u64,
}

impl Operation for Interrupt {
    const OPCODE: Opcode = Opcode(36);
    type Args = InterruptArgs;
    type Reply = ();

    fn args(&self) -> InterruptArgs {
        InterruptArgs { unique: self.unique.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::golden;

    #[test]
    fn a_request_has_the_bytes_of_fuse_h() {
        #[rustfmt::skip]
        let golden = [
            8, 0, 0, 0, 0, 0, 0, 1,     // unique
        ];
        assert_eq!(golden::request(36, &Interrupt { unique: Unique(8 | 1 << 56) }), golden);
    }
}
