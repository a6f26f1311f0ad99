//! Two directories, and the scripts that run in both.

mod faulty;

pub use faulty::{FaultyStep, Tally};

use crate::cache::{caches, maps, mount_options, opens_late, writes_back};
use crate::facts::{Outcome, Value};
use crate::folder::{Folder, renew};
use crate::guest::Guest;
use crate::host::Host;
use crate::step::{Layer, Op, Side, Slot, Step};
use crate::thread::expect_root;
use crate::tree::{self, difference};
use rustix::fs::OFlags;
use rustix::mount::{MountFlags, mount, mount_remount};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use virtio_fs::test_utils::FaultInjector;
use virtio_fs::{CacheMode, Errno, MountOptions, VirtioFs};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

/// How a [`World`] is made.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// Further arguments of virtiofsd.
    pub arguments: Vec<&'static str>,
    /// How the driver mounts.
    pub mount: MountOptions,
    /// The directories are where temporary files are, and not in memory.
    pub on_disk: bool,
    /// What is between the driver and the daemon, for scripts in which [requests go wrong](World::run_faulty).
    pub faults: Option<FaultInjector>,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self { arguments: Vec::new(), mount: mount_options(), on_disk: false, faults: None }
    }
}

/// What a world in memory has room for, in bytes.
const MEMORY: usize = 256 << 20;

/// A served directory with a mount of it, and a plain one. Both are empty before each script.
///
/// # Panics
///
/// When it is dropped, if there were differences: it tells all of them.
pub struct World {
    // In the order in which they have to go.
    guest: Guest,
    daemon: Daemon,
    served_host: Host,
    plain_host: Host,
    served: PathBuf,
    plain: PathBuf,
    _home: Folder,
    plain_read_only: bool,
    /// What is read of one directory and not of the other makes a difference: see [`are_alike`].
    reading_tells: bool,
    faults: Option<FaultInjector>,
    /// How many descriptors the daemon had open when no file was and nothing was cached.
    idle_descriptors: Option<usize>,
    differences: Vec<String>,
    scripts: usize,
}

impl World {
    /// A world whose virtiofsd has these further arguments.
    pub fn new(arguments: &[&'static str]) -> Self {
        Self::with_options(&WorldOptions { arguments: arguments.to_vec(), ..WorldOptions::default() })
    }

    /// As [`Self::new`], where temporary files are, and not in memory.
    pub fn on_disk(arguments: &[&'static str]) -> Self {
        Self::with_options(&WorldOptions { arguments: arguments.to_vec(), on_disk: true, ..WorldOptions::default() })
    }

    /// A world of its own kind.
    pub fn with_options(options: &WorldOptions) -> Self {
        Self::prepared(options, |_| {})
    }

    /// A world with directories that are `prepared` before virtiofsd starts.
    pub fn prepared(options: &WorldOptions, prepare: impl Fn(&Path)) -> Self {
        expect_root();
        let home = if options.on_disk { Folder::new() } else { Folder::in_memory(MEMORY) };
        let [served, plain] = ["served", "plain"].map(|name| {
            let path = home.path().join(name);
            std::fs::create_dir(&path).expect("a new folder for the test");
            renew(&path);
            prepare(&path);
            path
        });
        let daemon_options = DaemonOptions {
            arguments: options.arguments.iter().map(Into::into).collect(),
            log_requests: false,
            ..DaemonOptions::default()
        };
        let daemon = Daemon::start(&served, &daemon_options).unwrap_or_else(|error| panic!("{error}"));
        let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
        let fs = match &options.faults {
            None => VirtioFs::mount::<GuestHal>(transport, platform, &options.mount),
            Some(faults) => faults.mount::<GuestHal>(transport, platform, &options.mount),
        };
        let fs = fs.expect("a mount");
        Self {
            guest: Guest::new(fs),
            daemon,
            served_host: Host::new(&served),
            plain_host: Host::new(&plain),
            served,
            plain,
            _home: home,
            plain_read_only: false,
            reading_tells: options.on_disk && options.mount.cache.mode != CacheMode::None,
            faults: options.faults.clone(),
            idle_descriptors: None,
            differences: Vec::new(),
            scripts: 0,
        }
    }

    /// Makes the plain directory a file system of its own that is read-only, but for what is done on the host.
    pub fn make_plain_read_only(&mut self) {
        mount("tmpfs", &self.plain, "tmpfs", MountFlags::empty(), c"size=16m,mode=755").expect("a tmpfs");
        self.plain_read_only = true;
    }

    /// The mount.
    pub fn fs(&self) -> &VirtioFs {
        &self.guest.fs
    }

    /// The daemon.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The directory that is served.
    pub fn served(&self) -> &Path {
        &self.served
    }

    /// The directory that is not.
    pub fn plain(&self) -> &Path {
        &self.plain
    }

    /// Runs a script in both layers, and notes differences. What is done on the host has to succeed.
    pub fn check(&mut self, behaviour: &str, script: Vec<Step>) {
        self.check_at(Layer::Vnode, behaviour, script.clone());
        self.check_at(Layer::Fs, behaviour, script);
    }

    /// As [`Self::check`], in one layer.
    pub fn check_at(&mut self, layer: Layer, behaviour: &str, script: Vec<Step>) {
        if let Err(difference) = self.run_all(layer, &script, true) {
            self.differences.push(format!("{behaviour} ({layer:?})\n{difference}"));
        }
        self.scripts += 1;
    }

    /// Runs a script in emptied directories.
    ///
    /// # Errors
    ///
    /// The script up to the first difference, and the difference.
    pub fn run(&mut self, layer: Layer, script: &[Step]) -> Result<(), String> {
        self.run_all(layer, script, false)
    }

    fn run_all(&mut self, layer: Layer, script: &[Step], prepared: bool) -> Result<(), String> {
        self.empty();
        let mut opened = BTreeMap::new();
        let mut host_acted = false;
        for (number, step) in script.iter().enumerate() {
            if !is_possible(&step.op, &opened) {
                continue;
            }
            let (is, should_be) = self.step(layer, step, &mut opened);
            host_acted |= step.side == Side::Host;
            // What the host removes may be gone for a server that was not asked to open it yet.
            if host_acted && opens_late() && is == Err(Errno::ESTALE) {
                continue;
            }
            if !are_alike(&step.op, &is, &should_be, self.reading_tells)
                || prepared && step.side == Side::Host && is.is_err()
            {
                let mut told = String::new();
                for step in &script[..=number] {
                    writeln!(told, "    {step}").expect("a string");
                }
                return Err(format!("{told}    is        {is:?}\n    should be {should_be:?}"));
            }
        }
        self.close_all();
        match difference(&tree::read(&self.served), &tree::read(&self.plain)) {
            None => Ok(()),
            Some(difference) => {
                let script: String = script.iter().map(|step| format!("    {step}\n")).collect();
                Err(format!("{script}    the trees differ: {difference}"))
            }
        }
    }

    /// What a step gives on the mount, and what it should.
    fn step(&mut self, layer: Layer, step: &Step, opened: &mut BTreeMap<Slot, Side>) -> (Outcome, Outcome) {
        let Step { op, user, side, .. } = step;
        let create_flags = create_flags(layer, *side);
        let side = op.slot().and_then(|slot| opened.get(&slot).copied()).unwrap_or(*side);
        let (is, should_be) = match side {
            Side::Mount => {
                let is = self.guest.run(layer, user, op);
                let should_be = match step.expected_at(layer) {
                    Some(outcome) => outcome.clone(),
                    None => {
                        self.remount_plain(MountFlags::RDONLY);
                        let outcome = self.plain_host.run(&step.compared_with.unwrap_or(*user), op, create_flags);
                        self.remount_plain(MountFlags::empty());
                        outcome
                    }
                };
                (is, should_be)
            }
            Side::Host => {
                // What the driver has cached is written first, and not believed afterwards.
                self.guest.fs.drop_caches();
                let is = self.served_host.run(user, op, create_flags);
                self.guest.fs.drop_caches();
                (is, self.plain_host.run(user, op, create_flags))
            }
        };
        match op {
            Op::Open { slot, .. } if is.is_ok() && should_be.is_ok() => drop(opened.insert(*slot, side)),
            Op::Map { mapping, .. } if is.is_ok() && should_be.is_ok() => drop(opened.insert(*mapping, side)),
            Op::Close { slot } | Op::Unmap { mapping: slot } | Op::Map { mapping: slot, .. } => {
                opened.remove(slot);
            }
            _ => {}
        }
        (is, should_be)
    }

    fn remount_plain(&self, flags: MountFlags) {
        if self.plain_read_only {
            mount_remount(&self.plain, flags, "").expect("a file system that is not in use");
        }
    }

    fn empty(&mut self) {
        self.close_all();
        renew(&self.served);
        renew(&self.plain);
        self.guest.fs.drop_caches();
        // The daemon keeps what was removed until it is told that nobody knows it any more.
        self.guest.fs.maintain();
    }

    fn close_all(&mut self) {
        self.guest.close_all();
        self.served_host.close_all();
        self.plain_host.close_all();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.differences.is_empty() && !std::thread::panicking() {
            let differences = self.differences.join("\n\n");
            panic!("{} of {} scripts differ:\n\n{differences}\n", self.differences.len(), self.scripts);
        }
    }
}

/// How files are opened by system calls that the step makes, besides its own flags.
fn create_flags(layer: Layer, side: Side) -> OFlags {
    match layer {
        // Inodes know no path that ends in a link to what does not exist.
        Layer::Vnode if side == Side::Mount => OFlags::NOFOLLOW,
        _ => OFlags::empty(),
    }
}

/// Whether something can be done by those who have these files open: one that could not be opened is nobody's, and two
/// files are copied where both are open.
fn is_possible(op: &Op, opened: &BTreeMap<Slot, Side>) -> bool {
    let side = |slot| opened.get(&slot);
    match *op {
        Op::CopyRange { slot, to, .. } => side(slot).is_some() && side(slot) == side(to),
        ref op => op.slot().is_none_or(|slot| side(slot).is_some()),
    }
}

/// Whether the mount may answer what the plain directory does not.
fn are_alike(op: &Op, is: &Outcome, should_be: &Outcome, reading_tells: bool) -> bool {
    match (op, is, should_be) {
        // Whether the user may move a directory, and whether it can be moved there: POSIX does not say what comes
        // first.
        (
            Op::Rename { .. },
            Err(Errno::EACCES | Errno::EPERM),
            Err(Errno::ENOTDIR | Errno::EISDIR | Errno::ENOTEMPTY | Errno::EINVAL),
        ) => true,
        // Nor which of two paths is followed first.
        (Op::Rename { .. }, Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP), Err(Errno::EACCES)) => true,
        // Nor whether what is missing or another file system is the first reason: a driver that caches looks the name up.
        (Op::Rename { .. }, Err(Errno::ENOENT), Err(Errno::EXDEV)) if caches() => true,
        // A window is full of what programs have mapped.
        (Op::Map { .. }, Err(Errno::ENOMEM), Ok(_)) => true,
        // The driver opens no directories as files, whoever asks.
        (Op::Open { .. }, Err(Errno::EISDIR), Err(Errno::EACCES)) => true,
        // Linux lets nobody open what is somebody else's in a sticky directory, before it looks what that is.
        (Op::Open { .. }, Err(Errno::ELOOP), Err(Errno::EACCES)) => true,
        // On a disk, blocks that are allocated and were never written are data once they were read: and a cache reads more,
        // or does not read at all.
        (Op::SeekData { .. } | Op::SeekHole { .. }, Ok(_) | Err(Errno::ENXIO), Ok(_) | Err(Errno::ENXIO))
            if reading_tells =>
        {
            true
        }
        // Pages that are written later are written whole, holes and all, and what is looked at in memory has a page: there is
        // more data, and fewer holes.
        (Op::SeekData { .. }, Ok(Value::Number(is)), Ok(Value::Number(should_be))) if fills_holes() => is <= should_be,
        (Op::SeekHole { .. }, Ok(Value::Number(is)), Ok(Value::Number(should_be))) if fills_holes() => is >= should_be,
        (Op::SeekData { .. }, Ok(Value::Number(_)), Err(Errno::ENXIO)) if fills_holes() => true,
        _ => is == should_be,
    }
}

/// Whether more of a file takes room than was written.
fn fills_holes() -> bool {
    writes_back() || maps()
}
