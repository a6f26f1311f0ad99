//! Faults that are put in on purpose, for tests of what a driver does about them (`--inject`).
//!
//! A fault is said as `OPERATION[,after=N][,times=N]:ACTION`.

use crate::opcodes;
use rustix::io::Errno;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What happens instead of, or before, the request's being served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    /// It is served after this time.
    Delay(Duration),
    /// It is not served, but answered with this error.
    Error(Errno),
    /// It is not served and never answered.
    Drop,
    /// The daemon ends at once, as if it had been killed.
    Kill,
}

/// One fault, and how many requests it has seen.
#[derive(Debug)]
pub(crate) struct Fault {
    /// `None`: any operation.
    opcode: Option<u32>,
    after: u64,
    times: u64,
    action: Action,
    seen: AtomicU64,
}

impl Fault {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (which, action) = text.split_once(':').ok_or("a fault is OPERATION[,after=N][,times=N]:ACTION")?;
        let mut words = which.split(',');
        let opcode = match words.next().unwrap_or_default() {
            "any" => None,
            name => Some(opcodes::number(name).ok_or_else(|| format!("there is no operation `{name}`"))?),
        };
        let mut fault = Self { opcode, after: 0, times: u64::MAX, action: action_of(action)?, seen: AtomicU64::new(0) };
        for word in words {
            let place = match word.split_once('=') {
                Some(("after", number)) => (&mut fault.after, number),
                Some(("times", number)) => (&mut fault.times, number),
                _ => return Err(format!("`{word}` is neither after=N nor times=N")),
            };
            *place.0 = place.1.parse().map_err(|_| format!("`{}` is no number", place.1))?;
        }
        Ok(fault)
    }

    /// What it does to this request.
    fn strikes(&self, opcode: u32) -> Option<Action> {
        if self.opcode.is_some_and(|wanted| wanted != opcode) {
            return None;
        }
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        (number >= self.after && number - self.after < self.times).then_some(self.action)
    }
}

/// What happens to a request: the first fault that strikes.
pub(crate) fn strike(faults: &[Fault], opcode: u32) -> Option<Action> {
    // Each of them counts the request.
    faults.iter().filter_map(|fault| fault.strikes(opcode)).fold(None, |first, action| first.or(Some(action)))
}

fn action_of(text: &str) -> Result<Action, String> {
    match text.split_once('=') {
        None if text == "drop" => Ok(Action::Drop),
        None if text == "kill" => Ok(Action::Kill),
        Some(("delay", milliseconds)) => {
            let number = milliseconds.parse().map_err(|_| format!("`{milliseconds}` is no number of milliseconds"))?;
            Ok(Action::Delay(Duration::from_millis(number)))
        }
        Some(("error", name)) => Ok(Action::Error(errno(name).ok_or_else(|| format!("`{name}` is no error"))?)),
        _ => Err(format!("`{text}` is none of delay=MILLISECONDS, error=ERRNO, drop and kill")),
    }
}

/// An error by its name, or by its number.
fn errno(name: &str) -> Option<Errno> {
    let known = [
        ("EACCES", Errno::ACCESS),
        ("EAGAIN", Errno::AGAIN),
        ("EBADF", Errno::BADF),
        ("EBUSY", Errno::BUSY),
        ("EEXIST", Errno::EXIST),
        ("EINTR", Errno::INTR),
        ("EINVAL", Errno::INVAL),
        ("EIO", Errno::IO),
        ("ENODEV", Errno::NODEV),
        ("ENOENT", Errno::NOENT),
        ("ENOMEM", Errno::NOMEM),
        ("ENOSPC", Errno::NOSPC),
        ("ENOSYS", Errno::NOSYS),
        ("ENXIO", Errno::NXIO),
        ("EPERM", Errno::PERM),
        ("EROFS", Errno::ROFS),
        ("ESTALE", Errno::STALE),
    ];
    let by_name = known.iter().find(|(known, _)| *known == name).map(|(_, errno)| *errno);
    // Linux has none above 511 that a FUSE client would believe.
    by_name.or_else(|| name.parse().ok().filter(|number| (1..512).contains(number)).map(Errno::from_raw_os_error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_its_operation_after_so_many_so_many_times() {
        let faults = [Fault::parse("read,after=1,times=2:error=ENOSPC").unwrap(), Fault::parse("any:drop").unwrap()];
        let strikes: Vec<_> = [15, 1, 15, 15, 15].iter().map(|opcode| strike(&faults, *opcode)).collect();
        let error = Some(Action::Error(Errno::NOSPC));
        assert_eq!(strikes, [Some(Action::Drop), Some(Action::Drop), error, error, Some(Action::Drop)]);
        assert_eq!(strike(&[], 15), None);
    }

    #[test]
    fn each_action_is_understood_and_what_is_wrong_is_named() {
        let action = |text| Fault::parse(text).map(|fault| fault.action);
        assert_eq!(action("init:delay=20"), Ok(Action::Delay(Duration::from_millis(20))));
        assert_eq!(action("init:kill"), Ok(Action::Kill));
        assert_eq!(action("init:error=5"), Ok(Action::Error(Errno::IO)));
        for (text, named) in [
            ("read", "OPERATION"),
            ("reed:drop", "reed"),
            ("read:error=EWRONG", "EWRONG"),
            ("read:error=0", "`0`"),
            ("read:error=512", "512"),
            ("read:delay=1s", "1s"),
            ("read:explode", "explode"),
            ("read:drop=1", "drop=1"),
            ("read,times=x:drop", "`x`"),
            ("read,before=1:drop", "before=1"),
        ] {
            let error = action(text).expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
