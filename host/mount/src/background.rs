//! The way to the background.
//!
//! The program starts itself once more, and ends when that process says that the mount is live, or has ended. A fork
//! would need `unsafe`.

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// Tells the second process what it is.
const MARK: &str = "VIRTIO_FS_MOUNT_IN_BACKGROUND";

/// Whether this is the process in the background.
pub(crate) fn is_here() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts the process in the background, and waits until the mount is live or it has ended.
pub(crate) fn start() -> ExitCode {
    match start_and_wait() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("virtio-fs-mount: no process in the background: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_and_wait() -> io::Result<ExitCode> {
    let mut process = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(MARK, "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut word = Vec::new();
    process.stdout.take().expect("it is piped").read_to_end(&mut word)?;
    if !word.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    // It has said on the same standard error why.
    let status = process.wait()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Leaves the terminal, before anything else is started.
pub(crate) fn leave_terminal() -> io::Result<()> {
    Ok(rustix::process::setsid().map(drop)?)
}

/// Says that the mount is live, and lets go of the standard streams; what is logged goes to `log`.
pub(crate) fn mount_is_live(log: Option<&Path>) -> io::Result<()> {
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let open = |path: &Path| {
        let opened = File::options().append(true).create(true).open(path);
        opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let log = log.map(open).transpose()?;
    io::stdout().write_all(b"live")?;
    io::stdout().flush()?;
    dup2_stdin(&nowhere)?;
    dup2_stdout(&nowhere)?;
    dup2_stderr(log.as_ref().unwrap_or(&nowhere))?;
    Ok(())
}
