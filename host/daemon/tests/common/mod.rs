//! The daemon as a program, on a folder of its own, and a guest in front of it that is made by hand.
#![allow(dead_code)] // each test program uses a part

pub(crate) mod guest;
// The queue of the tests of the native front end.
#[path = "../../../vhost-user/tests/raw_queue/mod.rs"]
mod raw_queue;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Nothing takes this long but what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A folder that is removed with this value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Its name is short, since a socket's path has at most 107 bytes.
    pub(crate) fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    /// For large files: in memory, where the system has a place for that.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        Self::new_in(&if memory.is_dir() { memory.into() } else { std::env::temp_dir() })
    }

    fn new_in(place: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("virtio-fs-d{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder for the test");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A daemon that serves the folder `share`, and ends with this value.
pub(crate) struct Daemon {
    process: Child,
    /// The process that serves, which may be another one.
    serving: u32,
    folder: Folder,
}

/// The sandbox that this user can have.
pub(crate) fn sandbox() -> &'static str {
    if rustix::process::geteuid().is_root() { "chroot" } else { "namespace" }
}

/// The program, with nothing said: the one that the environment variable VIRTIO_FS_DAEMON names, for users to whom the one
/// that was built is closed.
pub(crate) fn program() -> Command {
    let built = || env!("CARGO_BIN_EXE_virtio-fs-daemon").into();
    let mut command = Command::new(std::env::var_os("VIRTIO_FS_DAEMON").unwrap_or_else(built));
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Daemon {
    /// With an empty folder.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_on(options, |_| {})
    }

    /// With a folder that `fill` fills first.
    pub(crate) fn start_on(options: &[&str], fill: impl FnOnce(&Path)) -> Self {
        let folder = Folder::new();
        fs::create_dir(folder.path().join("share")).unwrap();
        fill(&folder.path().join("share"));
        Self::start_in(folder, options)
    }

    /// In a folder that has a `share` already.
    pub(crate) fn start_in(folder: Folder, options: &[&str]) -> Self {
        let log = File::create(folder.path().join("log")).unwrap();
        let path = |name: &str| folder.path().join(name).into_os_string();
        let mut stats = path("stats");
        stats = [std::ffi::OsString::from("unix:"), std::mem::take(&mut stats)].into_iter().collect();
        let process = program()
            .args(["--sandbox", sandbox()])
            .args([
                "--shared-dir".into(),
                path("share"),
                "--socket-path".into(),
                path("socket"),
                "--stats".into(),
                stats,
            ])
            .args(options)
            .stderr(log)
            .spawn()
            .expect("the daemon");
        let mut daemon = Self { serving: process.id(), process, folder };
        daemon.waits_for_a_front_end(1);
        daemon.serving = daemon.serving();
        daemon
    }

    /// Waits until it has said so often that it waits for a front end.
    pub(crate) fn waits_for_a_front_end(&mut self, times: usize) {
        eventually(&format!("waits for a front end, {times}"), || {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended, {ended:?}: {}", self.log());
            self.log().matches("Waiting for vhost-user socket connection").count() >= times
        });
    }

    pub(crate) fn share(&self) -> PathBuf {
        self.folder.path().join("share")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.share().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The statistics, as the daemon tells them.
    pub(crate) fn stats_text(&self) -> String {
        let mut text = String::new();
        let mut socket = UnixStream::connect(self.folder.path().join("stats")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.read_to_string(&mut text).unwrap();
        text
    }

    /// A number of the statistics: `stat("maps live")`; 0 if it is not there.
    pub(crate) fn stat(&self, path: &str) -> u64 {
        numbers(&self.stats_text()).get(path).copied().unwrap_or(0)
    }

    /// How many descriptors the process has that serves.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.serving())).unwrap().count()
    }

    /// With namespaces the process that was started only waits for its child.
    fn serving(&self) -> u32 {
        let mut process = self.process.id();
        while let Some(child) = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))
            .ok()
            .and_then(|children| children.split(' ').next()?.parse().ok())
        {
            process = child;
        }
        process
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_raw(self.process.id() as i32).unwrap();
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ends(mut self) -> (ExitStatus, Folder) {
        let mut status = None;
        eventually("the daemon ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        // One that only waited for another may end first, and the other one has the socket until it ends.
        eventually("the process that serves ends", || has_ended(self.serving));
        (status.unwrap(), std::mem::replace(&mut self.folder, Folder(PathBuf::new())))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a process is gone, or is there only for somebody to ask how it ended.
fn has_ended(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All numbers of a JSON object without lists, strings and fractions, by their names from outside to inside. Panics where it
/// is no such object.
pub(crate) fn numbers(text: &str) -> BTreeMap<String, u64> {
    let (mut numbers, mut path, mut rest) = (BTreeMap::new(), Vec::new(), text.trim_end());
    rest = rest.strip_prefix('{').expect("an object");
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            rest = after;
            if path.pop().is_none() {
                assert_eq!(rest, "", "something follows the object");
                return numbers;
            }
        } else {
            let (name, after) = rest.strip_prefix('"').and_then(|rest| rest.split_once("\":")).expect("a name");
            path.push(name.to_owned());
            if let Some(after) = after.strip_prefix('{') {
                rest = after;
                continue;
            }
            let end = after.find(|letter: char| !letter.is_ascii_digit()).expect("the object's end");
            let before = numbers.insert(path.join(" "), after[..end].parse().expect("a number"));
            assert_eq!(before, None, "{path:?} is there twice");
            path.pop();
            rest = &after[end..];
        }
        match rest.strip_prefix(',') {
            Some(after) => {
                assert!(after.starts_with('"'), "a comma too many");
                rest = after;
            }
            None => assert!(rest.starts_with('}'), "a comma is missing before {rest}"),
        }
    }
}
