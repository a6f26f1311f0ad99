//! Tells of the statistics: in a file, or to who connects to a socket (`--stats`).
//!
//! File and socket are opened before the sandbox is entered, from where they could not be reached.

use crate::listener::listen;
use crate::options::StatisticsTarget;
use crate::statistics::Statistics;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a file is written at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long somebody may take to read what there is to tell.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where to tell.
pub(crate) enum Report {
    Nowhere,
    File(ReportFile),
    Socket(UnixListener),
}

/// A file, and what was written to it last.
pub(crate) struct ReportFile {
    file: File,
    written: Mutex<String>,
}

impl Report {
    /// No other thread may run.
    pub(crate) fn open(target: Option<&StatisticsTarget>) -> Result<Self, String> {
        Ok(match target {
            None => Self::Nowhere,
            Some(StatisticsTarget::File(path)) => {
                let file = File::create(path).map_err(|error| format!("--stats: {}: {error}", path.display()))?;
                Self::File(ReportFile { file, written: Mutex::default() })
            }
            Some(StatisticsTarget::Socket(path)) => Self::Socket(listen(path)?),
        })
    }

    /// Starts the thread that tells.
    pub(crate) fn start(self: &Arc<Self>, statistics: Arc<Statistics>) -> io::Result<()> {
        if let Self::Nowhere = **self {
            return Ok(());
        }
        let report = self.clone();
        let builder = std::thread::Builder::new().name("statistics".into());
        builder.spawn(move || report.tell(&statistics)).map(drop)
    }

    fn tell(&self, statistics: &Statistics) {
        loop {
            match self {
                Self::Nowhere => return,
                Self::File(_) => {
                    self.tell_now(statistics);
                    std::thread::sleep(INTERVAL);
                }
                Self::Socket(listener) => match listener.accept() {
                    Ok((mut caller, _)) => {
                        // Who does not listen is none of our business.
                        let _ = caller
                            .set_write_timeout(Some(PATIENCE))
                            .and_then(|()| caller.write_all(statistics.json().as_bytes()));
                    }
                    Err(error) => {
                        log::warn!("nobody is told of the statistics: {error}");
                        std::thread::sleep(INTERVAL);
                    }
                },
            }
        }
    }

    /// Brings the file up to date, if there is one.
    pub(crate) fn tell_now(&self, statistics: &Statistics) {
        if let Self::File(report) = self {
            let text = statistics.json();
            let mut written = report.written.lock().unwrap_or_else(PoisonError::into_inner);
            if written.trim_end() == text.trim_end() {
                return;
            }
            // It never becomes shorter, so that one write does it, and who reads finds the old or the new text, or one
            // without a line feed at its end.
            let text = format!("{:width$}\n", text.trim_end(), width = written.trim_end_matches('\n').len());
            match report.file.write_all_at(text.as_bytes(), 0) {
                Ok(()) => *written = text,
                Err(error) => log::warn!("the statistics cannot be written: {error}"),
            }
        }
    }
}
