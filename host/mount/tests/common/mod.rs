//! A mounted folder, and programs that run on it for a limited time.
#![allow(dead_code)] // each test program uses a part

use rustix::fs::statfs;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long starting, unmounting, and what else should take a moment, may take.
pub(crate) const MOMENT: Duration = Duration::from_secs(10);
/// `FUSE_SUPER_MAGIC`.
const FUSE: i64 = 0x6573_5546;

/// A folder that is removed with this value.
///
/// It is a mount that shares with the mount namespaces copied from this one, as the root is on most systems: what is
/// unmounted in it is so for all. Each virtiofsd has a mount namespace of its own, other tests' too.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("virtio-fs-mount-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder for the test");
        let folder = Self(path);
        rustix::mount::mount_bind(&folder.0, &folder.0).expect("root may mount");
        rustix::mount::mount_change(&folder.0, MountPropagationFlags::SHARED).unwrap();
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A new folder in it.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir(&path).expect("a new folder for the test");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder, and where the program under test mounts it. What is left of the mount goes with this value.
pub(crate) struct Mount {
    program: Child,
    /// What the daemon serves.
    pub(crate) share: PathBuf,
    /// Where the driver shows it.
    pub(crate) point: PathBuf,
    /// Beside both, for whatever the test needs.
    pub(crate) beside: PathBuf,
    _folder: Folder,
}

impl Mount {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// Mounts with these options, and waits until the mount is live.
    pub(crate) fn with(options: &[&str]) -> Self {
        Self::by(program(), options)
    }

    /// As [`Self::with`], by this [`program`].
    pub(crate) fn by(program: Command, options: &[&str]) -> Self {
        let folder = Folder::new();
        let share = folder.folder("share");
        Self::in_folder(folder, share, program, options)
    }

    /// As [`Self::by`], of the folder that another one serves, too.
    pub(crate) fn of(share: &Path, program: Command, options: &[&str]) -> Self {
        Self::in_folder(Folder::new(), share.into(), program, options)
    }

    fn in_folder(folder: Folder, share: PathBuf, mut program: Command, options: &[&str]) -> Self {
        let (point, beside) = (folder.folder("point"), folder.folder("beside"));
        let program = program.arg("--foreground").args(options).arg(&share).arg(&point).spawn();
        let mut mount = Self { program: program.unwrap(), share, point, beside, _folder: folder };
        let is_live = until(|| mount.is_live() || mount.program.try_wait().unwrap().is_some());
        assert!(is_live && mount.is_live(), "nothing is mounted");
        mount
    }

    /// Whether the mount point is a mount point, and answers.
    pub(crate) fn is_live(&self) -> bool {
        is_mounted(&self.point) && statfs(&self.point).is_ok_and(|statfs| statfs.f_type == FUSE)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.program), signal).unwrap();
    }

    /// The process that serves: the youngest child of the program.
    pub(crate) fn daemon(&self) -> Pid {
        let pid = self.program.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let youngest = children.split_whitespace().last().expect("the program has a child");
        Pid::from_raw(youngest.parse().unwrap()).unwrap()
    }

    /// How the program ends, which it must do in a moment.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until(|| {
            status = self.program.try_wait().unwrap();
            status.is_some()
        });
        status.expect("the program ends")
    }

    /// Unmounts, and checks that nothing is left.
    pub(crate) fn end(mut self) {
        assert!(self.is_live(), "it is still mounted at the end");
        self.signal(Signal::TERM);
        assert_eq!(self.ended().code(), Some(0));
        assert!(!is_mounted(&self.point));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Without a server nobody waits for an answer any more.
        let _ = self.program.kill();
        let _ = self.program.wait();
        while is_mounted(&self.point) && rustix::mount::unmount(&self.point, UnmountFlags::DETACH).is_ok() {}
    }
}

/// The program that an environment variable names.
pub(crate) fn suite(variable: &str, install: &str) -> PathBuf {
    let path = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} must say where the program is; `cargo install {install}` makes it"));
    let path = PathBuf::from(path);
    assert!(path.is_file(), "{variable}: there is no {}", path.display());
    path
}

/// The program under test.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_virtio-fs-mount"));
    command.stdin(Stdio::null());
    command
}

/// Whether something is mounted there, from the kernel's list: a dead mount is not asked.
pub(crate) fn is_mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = point.to_str().expect("a plain name");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(point))
}

/// Whether something comes true in a moment.
pub(crate) fn until(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > MOMENT {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}

/// A command that is ended after so many seconds.
pub(crate) fn within(seconds: u32, command: impl AsRef<OsStr>) -> Command {
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=5", &seconds.to_string()]).arg(command).stdin(Stdio::null());
    limited
}

/// Runs a command that must succeed: what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// Runs a script of the shell in a folder; it must succeed within so many seconds.
pub(crate) fn script(seconds: u32, folder: &Path, script: &str) -> String {
    run(within(seconds, "bash").args(["-euo", "pipefail", "-c", script]).current_dir(folder))
}
