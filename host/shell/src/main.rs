//! The shell of `examples/shell` on this machine's terminal: the same commands over the same driver, against a
//! `virtiofsd` that is started for a directory.

#![forbid(unsafe_code)]

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::error::Error;
use std::ffi::OsStr;
use std::io::{Read, Write, stdin, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use virtio_fs::{Credentials, MountOptions, VirtioFs};
use virtio_fs_shell::{Shell, Terminal};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

const USAGE: &str = "usage: virtio-fs-shell DIRECTORY [-c COMMANDS]
Without COMMANDS the shell reads lines; 'help' lists what it can do. The exit status is that of the last command.";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (directory, commands) = match &arguments[..] {
        [directory] if directory != "-h" && directory != "--help" => (directory, None),
        [directory, option, commands] if option == "-c" => (directory, Some(commands.as_bytes())),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    run(directory, commands).unwrap_or_else(|error| {
        eprintln!("virtio-fs-shell: {error}");
        ExitCode::from(125)
    })
}

fn run(directory: &OsStr, commands: Option<&[u8]>) -> Result<ExitCode, Box<dyn Error>> {
    let arguments = vec!["--xattr".into()];
    let daemon = Daemon::start(
        Path::new(directory),
        &DaemonOptions { log_requests: false, arguments, ..DaemonOptions::default() },
    )?;
    let (transport, platform) = connect(daemon.socket(), "share")?;
    let credentials = Credentials { umask: 0o022, ..Credentials::default() };
    let options = MountOptions { credentials, ..MountOptions::default() };
    let fs = VirtioFs::mount::<GuestHal>(transport, platform.clone(), &options)?;

    let mut terminal = Console::new();
    let mut shell = Shell::new(fs.clone(), platform, &mut terminal);
    let status = match commands {
        Some(commands) => shell.run(commands),
        None => shell.interact(),
    };
    drop(shell);
    fs.unmount()?;
    Ok(ExitCode::from(status))
}

/// Standard input and output. A terminal gives every key as it is pressed.
struct Console {
    /// How the terminal was.
    before: Option<Termios>,
}

impl Console {
    fn new() -> Self {
        let before = tcgetattr(stdin()).ok();
        if let Some(before) = &before {
            let mut modes = before.clone();
            modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
            let _ = tcsetattr(stdin(), OptionalActions::Now, &modes);
        }
        Self { before }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

impl Terminal for Console {
    fn write(&mut self, bytes: &[u8]) {
        // Somebody who does not listen any more misses the rest.
        let _ = stdout().write_all(bytes).and_then(|()| stdout().flush());
    }

    fn read(&mut self) -> Option<u8> {
        let mut byte = [0];
        stdin().read_exact(&mut byte).is_ok().then_some(byte[0])
    }
}
