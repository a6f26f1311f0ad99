//! What a mount sent so far.

use super::Request;
use crate::wire::{Init, Interrupt, Operation};
use core::sync::atomic::{AtomicU64, Ordering};

/// One more than the largest opcode that is counted.
const OPCODES: usize = 64;

/// What a mount sent and received since it was mounted. Costs a few atomic additions for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    requests: [u64; OPCODES],
    /// Bytes of data in requests: what WRITEs carried, values of extended attributes, lists of inodes to forget.
    pub sent_bytes: u64,
    /// Bytes of data in replies: what READs brought, directory entries, targets of links.
    pub received_bytes: u64,
    /// What was rung to tell the device of requests: one ring may stand for several of them, or for none if the device
    /// was still looking.
    pub doorbells: u64,
    /// The most requests that one call had in flight.
    pub most_in_flight: u64,
    /// How many names are cached, and how many bytes of memory pages of files take, at the moment.
    pub cached_names: u64,
    /// See [`Self::cached_names`].
    pub cached_bytes: u64,
    /// How much of that the server has yet to get, but for what is on its way.
    pub dirty_bytes: u64,
    /// How many ranges of files are mapped in the DAX window, and how many bytes of it they take, at the moment.
    pub mappings: u64,
    /// See [`Self::mappings`].
    pub mapped_bytes: u64,
    /// How many names of paths were found without a request.
    pub name_hits: u64,
    /// How many reads of files needed no request.
    pub data_hits: u64,
}

impl Statistics {
    /// How many requests were sent, by the name of the operation, such as `LOOKUP`; those that are not 0.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().map(|&(opcode, name)| (name, self.requests[opcode])).filter(|&(_, count)| count != 0)
    }

    /// How many requests of the operation with this name were sent.
    pub fn requests_of(&self, name: &str) -> u64 {
        self.requests().find(|&(other, _)| other == name).map_or(0, |(_, count)| count)
    }

    /// How many requests were sent, of all operations.
    pub fn all_requests(&self) -> u64 {
        self.requests.iter().sum()
    }
}

/// What the channel knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) doorbells: u64,
    /// INTERRUPTs, which the channel sends itself.
    pub(crate) interrupts: u64,
    pub(crate) most_in_flight: u64,
}

/// The session's counters.
pub(super) struct Counters {
    requests: [AtomicU64; OPCODES],
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn new() -> Self {
        let requests = [const { AtomicU64::new(0) }; OPCODES];
        // The one that was sent before there was a session.
        requests[Init::OPCODE.0 as usize].store(1, Ordering::Relaxed);
        Self { requests, sent_bytes: AtomicU64::new(0), received_bytes: AtomicU64::new(0) }
    }

    /// Counts a request that is about to be sent.
    pub(super) fn sent(&self, request: &Request<'_, '_>) {
        if let Some(counter) = self.requests.get(request.opcode() as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.sent_bytes.fetch_add(request.payload().len() as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, data_bytes: usize) {
        self.received_bytes.fetch_add(data_bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn read(&self, traffic: Traffic) -> Statistics {
        let mut requests = self.requests.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        requests[Interrupt::OPCODE.0 as usize] = traffic.interrupts;
        Statistics {
            requests,
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            doorbells: traffic.doorbells,
            most_in_flight: traffic.most_in_flight,
            cached_names: 0,
            cached_bytes: 0,
            dirty_bytes: 0,
            mappings: 0,
            mapped_bytes: 0,
            name_hits: 0,
            data_hits: 0,
        }
    }
}

/// The operations by their opcodes (`enum fuse_opcode`).
const NAMES: [(usize, &str); 47] = [
    (1, "LOOKUP"),
    (2, "FORGET"),
    (3, "GETATTR"),
    (4, "SETATTR"),
    (5, "READLINK"),
    (6, "SYMLINK"),
    (8, "MKNOD"),
    (9, "MKDIR"),
    (10, "UNLINK"),
    (11, "RMDIR"),
    (12, "RENAME"),
    (13, "LINK"),
    (14, "OPEN"),
    (15, "READ"),
    (16, "WRITE"),
    (17, "STATFS"),
    (18, "RELEASE"),
    (20, "FSYNC"),
    (21, "SETXATTR"),
    (22, "GETXATTR"),
    (23, "LISTXATTR"),
    (24, "REMOVEXATTR"),
    (25, "FLUSH"),
    (26, "INIT"),
    (27, "OPENDIR"),
    (28, "READDIR"),
    (29, "RELEASEDIR"),
    (30, "FSYNCDIR"),
    (31, "GETLK"),
    (32, "SETLK"),
    (33, "SETLKW"),
    (34, "ACCESS"),
    (35, "CREATE"),
    (36, "INTERRUPT"),
    (38, "DESTROY"),
    (42, "BATCH_FORGET"),
    (43, "FALLOCATE"),
    (44, "READDIRPLUS"),
    (45, "RENAME2"),
    (46, "LSEEK"),
    (47, "COPY_FILE_RANGE"),
    (48, "SETUPMAPPING"),
    (49, "REMOVEMAPPING"),
    (50, "SYNCFS"),
    (51, "TMPFILE"),
    (52, "STATX"),
    (53, "COPY_FILE_RANGE_64"),
];

#[cfg(test)]
mod tests {
    use super::{NAMES, OPCODES};
    use crate::test_utils::{Mounted, opcode};
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn requests_are_counted_by_operation_and_data_by_direction() {
        let mounted = Mounted::new(|server| {
            server.file("f", vec![7; 5000]);
        });
        let (_, sent) = mounted.sent_by(|| mounted.fs.read("f").unwrap());
        assert_eq!(sent, [opcode::LOOKUP, opcode::OPEN, opcode::READ, opcode::RELEASE]);
        let statistics = mounted.fs.statistics();
        let counted: Vec<_> = statistics.requests().collect();
        assert_eq!(counted, [("LOOKUP", 1), ("OPEN", 1), ("READ", 1), ("RELEASE", 1), ("INIT", 1)]);
        assert_eq!(statistics.requests_of("READ"), 1);
        assert_eq!(statistics.all_requests(), 5);
        assert_eq!((statistics.sent_bytes, statistics.received_bytes), (0, 5000));
        mounted.unmount();
    }

    #[test]
    fn an_operation_that_the_server_lacks_is_counted_only_when_it_is_sent() {
        let mounted = Mounted::new(|server| {
            server.options.open = false;
            server.file("f", "content");
        });
        for _ in 0..2 {
            mounted.fs.read("f").unwrap();
        }
        assert_eq!(mounted.count(opcode::OPEN), 1);
        assert_eq!(mounted.fs.statistics().requests_of("OPEN"), 1);
        mounted.unmount();
    }

    #[test]
    fn every_operation_has_one_name_and_a_counter() {
        for (place, &(opcode, name)) in NAMES.iter().enumerate() {
            assert!(opcode < OPCODES);
            assert_eq!(opcode::name(opcode as u32), name);
            assert!(NAMES[..place].iter().all(|&(earlier, other)| earlier < opcode && other != name));
        }
        let known = (0..OPCODES).filter(|&opcode| opcode::name(opcode as u32) != opcode::name(u32::MAX));
        assert!(known.eq(NAMES.iter().map(|&(opcode, _)| opcode)), "an operation is not counted");
    }
}
