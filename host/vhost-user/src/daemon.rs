//! A private virtiofsd for tests and benchmarks.

use crate::processes::Processes;
use crate::requests::RequestLog;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long virtiofsd may take until it serves.
const START: Duration = Duration::from_secs(10);
/// virtiofsd says so when its sandbox is made. Its socket is there before that.
const SERVES: &str = "Waiting for vhost-user socket connection";
/// A virtiofsd that has a socket, but says nothing, is taken for one that serves after this time.
const TACITURN: Duration = Duration::from_secs(1);
/// The log counts as settled when it has not grown for this long, and is not waited for longer than `LOG_PATIENCE`.
const LOG_SETTLED: Duration = Duration::from_millis(10);
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// virtiofsd's caching policy: how long it lets the guest believe what it was told (`--cache`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachePolicy {
    /// Names and attributes for a second, data while a file is open.
    #[default]
    Auto,
    /// Everything for a day.
    Always,
    /// Nothing.
    Never,
    /// Names and attributes as with `Always`, data never.
    Metadata,
}

impl CachePolicy {
    fn argument(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
            Self::Metadata => "metadata",
        }
    }
}

/// What keeps virtiofsd within the folder that it serves (`--sandbox`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// A chroot, which only root can make.
    Chroot,
    /// Namespaces of its own, which an ordinary user can make where the system allows it.
    Namespaces,
}

impl Sandbox {
    fn argument(self) -> &'static str {
        match self {
            Self::Chroot => "chroot",
            Self::Namespaces => "namespace",
        }
    }
}

impl Default for Sandbox {
    /// A chroot for root, namespaces for others.
    fn default() -> Self {
        if rustix::process::geteuid().is_root() { Self::Chroot } else { Self::Namespaces }
    }
}

/// How virtiofsd is started.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// The caching policy.
    pub cache: CachePolicy,
    /// Threads that serve requests at the same time; 0: the one that reads the queue serves them, one by one.
    pub thread_pool: usize,
    /// What keeps it within the folder.
    pub sandbox: Sandbox,
    /// Whether virtiofsd logs each request, which [`Daemon::requests`] needs, and which slows it down.
    pub log_requests: bool,
    /// Further arguments, such as `--writeback` or `--xattr`.
    pub arguments: Vec<OsString>,
}

impl Default for DaemonOptions {
    /// `Auto`, no thread pool, the sandbox that this user can have, requests logged.
    fn default() -> Self {
        Self {
            cache: CachePolicy::default(),
            thread_pool: 0,
            sandbox: Sandbox::default(),
            log_requests: true,
            arguments: Vec::new(),
        }
    }
}

/// Why there is no daemon.
#[derive(Debug)]
pub enum DaemonError {
    /// There is no virtiofsd to start, or it cannot be executed.
    NoProgram(String),
    /// The folder for socket and log could not be made.
    NoFolder(io::Error),
    /// It ended before it served. The text says what to do if it has got no sandbox.
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: String,
    },
    /// Its socket did not appear in time.
    Silent {
        /// Its log.
        log: String,
    },
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram(why) => write!(
                f,
                "virtiofsd cannot be started: {why}. Install it (Debian: apt-get install virtiofsd), or set the environment \
                 variable VIRTIOFSD to the command that starts it"
            ),
            Self::NoFolder(error) => write!(f, "no folder for virtiofsd's socket: {error}"),
            Self::Ended { status, log } => {
                write!(f, "virtiofsd ended ({status}) before it served; its log:\n{log}")?;
                if log.contains("entering sandbox") {
                    f.write_str(NO_SANDBOX)?;
                }
                Ok(())
            }
            Self::Silent { log } => write!(f, "virtiofsd does not listen after {START:?}; its log:\n{log}"),
        }
    }
}

impl std::error::Error for DaemonError {}

/// What to do about a virtiofsd that cannot enter its sandbox.
const NO_SANDBOX: &str = "\
This system does not let it make its sandbox. An ordinary user needs user namespaces: the kernel settings are
user.max_user_namespaces (not 0), kernel.unprivileged_userns_clone (1, where it exists), and
kernel.apparmor_restrict_unprivileged_userns (0, where it exists). Root needs CAP_SYS_CHROOT, and CAP_SYS_ADMIN for
namespaces; many containers give neither that nor user namespaces.";

/// A running virtiofsd that serves one folder to one connection at a time, and ends with this value.
///
/// It runs in a [`Sandbox`], never without one, since then it would serve the whole host to a driver that sends
/// absolute names. In namespaces it is two processes; what is done to a `Daemon` is done to both.
pub struct Daemon {
    processes: Mutex<Processes>,
    command: Command,
    requests: Mutex<RequestLog>,
    /// Last, as it is removed when the process is gone.
    folder: Folder,
}

impl Daemon {
    /// Starts a virtiofsd that serves `shared_dir`, and waits until it does.
    ///
    /// The command is taken from the environment variable `VIRTIOFSD`, split at spaces; without it, `virtiofsd` on PATH
    /// or `/usr/libexec/virtiofsd`.
    ///
    /// # Errors
    ///
    /// [`DaemonError`], with virtiofsd's log if it got that far.
    pub fn start(shared_dir: impl AsRef<Path>, options: &DaemonOptions) -> Result<Self, DaemonError> {
        let folder = Folder::new().map_err(DaemonError::NoFolder)?;
        let command = Command::for_options(shared_dir.as_ref(), &folder.socket(), options)?;
        let processes = Mutex::new(Processes::new(command.spawn(&folder.log())?));
        let daemon = Self { processes, command, requests: Mutex::default(), folder };
        daemon.wait_until_it_serves()?;
        Ok(daemon)
    }

    /// Kills it, and starts another one on the same socket, as a supervisor does. Log and counts start over.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn restart(&mut self) -> Result<(), DaemonError> {
        self.kill();
        // Otherwise the dead one's socket would be taken for the new one's.
        let _ = fs::remove_file(self.folder.socket());
        *self.processes() = Processes::new(self.command.spawn(&self.folder.log())?);
        self.requests = Mutex::default();
        self.wait_until_it_serves()
    }

    fn wait_until_it_serves(&self) -> Result<(), DaemonError> {
        let start = Instant::now();
        let mut socket_since = None;
        loop {
            // Asked before the log is read, so that nothing is missing there.
            if let Some(status) = self.processes().ended() {
                return Err(DaemonError::Ended { status, log: self.log() });
            }
            if self.folder.socket().exists() {
                let since = *socket_since.get_or_insert_with(Instant::now);
                if self.log().contains(SERVES) || since.elapsed() >= TACITURN {
                    // Its processes are remembered from here on, also if the first one ends before the others.
                    self.processes().look();
                    return Ok(());
                }
            }
            if start.elapsed() >= START {
                return Err(DaemonError::Silent { log: self.log() });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its vhost-user socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.socket()
    }

    /// The id of the process that serves.
    pub fn pid(&self) -> u32 {
        self.processes().youngest()
    }

    /// What it wrote so far to its log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.log()).unwrap_or_default()).into_owned()
    }

    /// How many requests it got since its start, by operation: `Lookup`, `Getattr`, `BatchForget`, as virtiofsd spells
    /// them.
    ///
    /// virtiofsd logs a request before it serves it, so whatever was answered is counted. For requests without a reply
    /// this waits until the log has not grown for 10 ms.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        let start = Instant::now();
        let mut length = self.log_length();
        while start.elapsed() < LOG_PATIENCE {
            std::thread::sleep(LOG_SETTLED);
            let now = self.log_length();
            if now == length {
                break;
            }
            length = now;
        }
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = requests.update(&self.folder.log()) {
            log::error!("virtiofsd's log: {error}");
        }
        requests.counts().clone()
    }

    /// Stops it with SIGSTOP, as a debugger or a machine without memory would: it does not answer any more. Returns
    /// when all threads of all its processes have stopped.
    pub fn pause(&self) {
        self.processes().stop();
    }

    /// Continues it after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.processes().resume();
    }

    /// Kills it with SIGKILL and waits until all its processes are gone. Does nothing if it has ended before.
    pub fn kill(&self) {
        self.processes().kill();
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_length(&self) -> u64 {
        fs::metadata(self.folder.log()).map_or(0, |metadata| metadata.len())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder for socket and log, which only this user can enter.
struct Folder(PathBuf);

impl Folder {
    /// Its name is short, since a socket's path has at most 107 bytes.
    fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("virtio-fs-{}-{number}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result.map(|()| Self(folder)),
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The command that starts virtiofsd, with all its arguments.
struct Command {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Command {
    fn for_options(shared_dir: &Path, socket: &Path, options: &DaemonOptions) -> Result<Self, DaemonError> {
        let mut words = virtiofsd()?.into_iter();
        let program = words.next();
        let program = program.ok_or_else(|| DaemonError::NoProgram("VIRTIOFSD is empty".into()))?;
        let fixed: [OsString; 12] = [
            "--shared-dir".into(),
            shared_dir.into(),
            "--socket-path".into(),
            socket.into(),
            "--sandbox".into(),
            options.sandbox.argument().into(),
            "--cache".into(),
            options.cache.argument().into(),
            "--thread-pool-size".into(),
            options.thread_pool.to_string().into(),
            "--log-level".into(),
            if options.log_requests { "debug" } else { "info" }.into(),
        ];
        let arguments = words.chain(fixed).chain(options.arguments.iter().cloned()).collect();
        Ok(Self { program, arguments })
    }

    fn spawn(&self, log: &Path) -> Result<Child, DaemonError> {
        let output = File::create(log).map_err(DaemonError::NoFolder)?;
        process::Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|error| DaemonError::NoProgram(format!("{}: {error}", self.program.display())))
    }
}

/// The words that start virtiofsd.
fn virtiofsd() -> Result<Vec<OsString>, DaemonError> {
    if let Ok(words) = std::env::var("VIRTIOFSD") {
        return Ok(words.split_whitespace().map(OsString::from).collect());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("virtiofsd"))
        .chain([PathBuf::from("/usr/libexec/virtiofsd")])
        .find(|program| program.is_file())
        .map(|program| vec![program.into()])
        .ok_or_else(|| DaemonError::NoProgram("it is neither on PATH nor /usr/libexec/virtiofsd".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_sandbox_that_cannot_be_made_is_explained_and_other_ends_are_not() {
        let ended = |log: &str| DaemonError::Ended { status: ExitStatus::from_raw(256), log: log.into() }.to_string();
        let text = ended("[T ERROR virtiofsd] Error entering sandbox: Unshare(Os { code: 28 })\n");
        assert!(text.contains("Unshare(Os") && text.contains("user.max_user_namespaces"), "{text}");
        assert!(!ended("/nonexistent does not exist\n").contains("namespaces"));
    }
}
