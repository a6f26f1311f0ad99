//! Counts FUSE requests in virtiofsd's debug log.
//!
//! The lines look like this, one for each request, written before the request is served:
//!
//! ```text
//! [2026-01-31T12:00:00Z DEBUG virtiofsd::server] Received request: opcode=Getattr (3), inode=1, unique=2, pid=0
//! [2026-01-31T12:00:00Z DEBUG virtiofsd::server] Received unknown request: opcode=52, inode=1
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

/// How many requests a log has told of, and how far it was read.
#[derive(Default)]
pub(crate) struct RequestLog {
    read_bytes: u64,
    counts: BTreeMap<String, u64>,
}

impl RequestLog {
    /// Counts what the log file holds beyond what was read before. A line that is not complete yet is left for later.
    pub(crate) fn update(&mut self, log: &Path) -> io::Result<()> {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(self.read_bytes))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                return Ok(());
            }
            self.read_bytes += length as u64;
            if let Some(operation) = operation(&String::from_utf8_lossy(&line)) {
                *self.counts.entry(operation).or_default() += 1;
            }
        }
    }

    pub(crate) fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }
}

/// The operation that a line of the log tells of.
fn operation(line: &str) -> Option<String> {
    if let Some((_, rest)) = line.split_once("Received request: opcode=") {
        return Some(rest.split([' ', '(', ',']).next()?.into());
    }
    let (_, rest) = line.split_once("Received unknown request: opcode=")?;
    Some(format!("opcode {}", rest.split(',').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_are_counted_once_and_only_when_complete() {
        let path = std::env::temp_dir().join(format!("virtio-fs-request-log-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let mut log = RequestLog::default();
        file.write_all(
            b"[T DEBUG virtiofsd::server] Received request: opcode=Init (26), inode=0, unique=2, pid=0\nrest",
        )
        .unwrap();
        log.update(&path).unwrap();
        log.update(&path).unwrap();
        file.write_all(b"\n[T] Received request: opcode=BatchForget (42), inode=0, unique=4, pid=0\n").unwrap();
        file.write_all(b"[T] Received unknown request: opcode=52, inode=1\n[T] Replying OK, header: x\n").unwrap();
        file.write_all(b"[T] Received request: opcode=Init").unwrap();
        log.update(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let expected = [("BatchForget".into(), 1), ("Init".into(), 1), ("opcode 52".into(), 1)];
        assert_eq!(log.counts(), &BTreeMap::from(expected));
    }
}
