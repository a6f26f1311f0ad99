//! What the daemon has done since it started, in numbers, and as JSON.

use crate::opcodes;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters. Each is right for itself; together they are no snapshot.
#[derive(Default)]
pub(crate) struct Statistics {
    /// Front ends that connected.
    pub(crate) connections: AtomicU64,
    /// INITs that succeeded.
    pub(crate) sessions: AtomicU64,
    /// Bytes of file content in replies to READ.
    pub(crate) bytes_read: AtomicU64,
    /// Bytes of file content that WRITE has taken.
    pub(crate) bytes_written: AtomicU64,
    /// Faults that were injected.
    pub(crate) injected: AtomicU64,
    /// SHMEM_MAPs that were carried out, those that put remainders back among them.
    pub(crate) maps_made: AtomicU64,
    /// SHMEM_UNMAPs that were carried out.
    pub(crate) maps_removed: AtomicU64,
    /// SETUPMAPPINGs and REMOVEMAPPINGs that were refused, by this daemon or by the front end.
    pub(crate) maps_refused: AtomicU64,
    /// Barriers that followed maps.
    pub(crate) barriers: AtomicU64,
    /// What is mapped now, in extents and bytes.
    pub(crate) maps_live: AtomicU64,
    pub(crate) bytes_live: AtomicU64,
    operations: Operations,
}

/// Messages and error replies by the operation's number.
struct Operations {
    messages: [AtomicU64; opcodes::COUNTED],
    errors: [AtomicU64; opcodes::COUNTED],
}

impl Default for Operations {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self { messages: zeros(), errors: zeros() }
    }
}

impl Statistics {
    pub(crate) fn message(&self, opcode: u32) {
        self.operations.messages[place(opcode)].fetch_add(1, Relaxed);
    }

    pub(crate) fn error(&self, opcode: u32) {
        self.operations.errors[place(opcode)].fetch_add(1, Relaxed);
    }

    /// One object, in one line, with a line feed at its end.
    pub(crate) fn json(&self) -> String {
        let number = |counter: &AtomicU64| counter.load(Relaxed);
        format!(
            "{{\"connections\":{},\"sessions\":{},\"messages\":{},\"errors\":{},\
             \"bytes\":{{\"read\":{},\"written\":{}}},\
             \"maps\":{{\"live\":{},\"live_bytes\":{},\"made\":{},\"removed\":{},\"refused\":{},\"barriers\":{}}},\
             \"injected\":{}}}\n",
            number(&self.connections),
            number(&self.sessions),
            by_operation(&self.operations.messages),
            by_operation(&self.operations.errors),
            number(&self.bytes_read),
            number(&self.bytes_written),
            number(&self.maps_live),
            number(&self.bytes_live),
            number(&self.maps_made),
            number(&self.maps_removed),
            number(&self.maps_refused),
            number(&self.barriers),
            number(&self.injected),
        )
    }
}

/// An opcode comes from the guest and may be anything.
fn place(opcode: u32) -> usize {
    let last = opcodes::COUNTED - 1;
    match opcodes::name(opcode) {
        "other" => last,
        _ => usize::try_from(opcode).map_or(last, |opcode| opcode.min(last)),
    }
}

/// An object with what is not 0. The names need no escapes.
fn by_operation(counters: &[AtomicU64]) -> String {
    let mut text = String::from("{");
    for (opcode, counter) in (0..).zip(counters) {
        let count = counter.load(Relaxed);
        if count > 0 {
            let comma = if text.len() > 1 { "," } else { "" };
            let _ = write!(text, "{comma}\"{}\":{count}", opcodes::name(opcode));
        }
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_json_and_operations_without_a_name_are_together() {
        let statistics = Statistics::default();
        let text = statistics.json();
        assert!(text.contains("\"messages\":{},\"errors\":{}") && text.ends_with("\"injected\":0}\n"), "{text}");
        for opcode in [1, 1, 48, 7, 4096, u32::MAX] {
            statistics.message(opcode);
        }
        statistics.error(1);
        statistics.bytes_live.store(4096, Relaxed);
        let text = statistics.json();
        assert!(text.contains("\"messages\":{\"lookup\":2,\"setupmapping\":1,\"other\":3}"), "{text}");
        assert!(text.contains("\"errors\":{\"lookup\":1}") && text.contains("\"live_bytes\":4096"), "{text}");
        assert_eq!(text.matches('\n').count(), 1);
    }
}
