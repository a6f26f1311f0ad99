//! From the daemon to the mount point, and the end.

use crate::background;
use crate::export::Export;
use crate::mountpoint::{self, MountPoint};
use crate::options::Options;
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};
use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;
use virtio_fs::virtio::DeviceOptions;
use virtio_fs::{MountOptions, VirtioFs};
use virtio_fs_vhost_user::{ConnectOptions, Daemon, DaemonOptions, GuestHal, NativePlatform, connect_with};

/// What the device's tag is; nobody sees it.
const TAG: &str = "virtio-fs-mount";

/// How long the kernel may take to end what nobody uses. A mount namespace that was made meanwhile (by another
/// virtiofsd, say) has a copy of every mount, which lives on where nothing propagates between the two.
const PATIENCE: Duration = Duration::from_secs(2);

/// What ends a mount.
pub(crate) enum Event {
    /// Somebody wants it to end.
    Signal(Signal),
    /// The device is lost, and why.
    Lost(&'static str),
    /// It is not mounted any more, and the driver's session ends.
    Ending,
    /// All is over.
    Ended(io::Result<()>),
}

/// Mounts, and returns when it has been unmounted.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    // Before any thread is started, so that all leave the signals to one.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    let (source, mountpoint) = places(options)?;
    if !options.foreground {
        background::leave_terminal()?;
    }
    let (sender, events) = mpsc::channel();

    let daemon = if source.is_dir() { Some(start_daemon(&source, options)?) } else { None };
    let socket = daemon.as_ref().map_or(source.clone(), Daemon::socket);
    let (fs, platform) = mount_driver(&socket, options)?;
    let export = Export::new(fs, platform, options, sender.clone());
    if let Some(daemon) = &daemon {
        watch(daemon, sender.clone())?;
    }
    let (session, mut point) = mountpoint::mount(export, &source, &mountpoint, options)
        .map_err(|error| format!("FUSE does not mount on {}: {error}", mountpoint.display()))?;

    let signalled = sender.clone();
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            let _ = signalled.send(Event::Signal(signal));
        }
    });
    thread::spawn(move || {
        let result = session.run().or_else(|error| match rustix::io::Errno::from_io_error(&error) {
            // A thread that was just about to take a request finds the connection gone.
            Some(rustix::io::Errno::CONNABORTED) => Ok(()),
            _ => Err(error),
        });
        let _ = sender.send(Event::Ended(result));
    });
    log::info!("{} is mounted on {}", source.display(), mountpoint.display());
    if !options.foreground {
        background::mount_is_live(options.log.as_deref()).inspect_err(|_| {
            point.unmount();
        })?;
    }
    wait_for_the_end(&events, &mut point, &mountpoint)
}

/// Source and mount point, without links and relative parts.
fn places(options: &Options) -> Result<(PathBuf, PathBuf), String> {
    let place = |path: &Path| fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()));
    let (source, mountpoint) = (place(&options.source)?, place(&options.mountpoint)?);
    if !mountpoint.is_dir() {
        return Err(format!("{} is no directory to mount on", mountpoint.display()));
    }
    let kind = fs::metadata(&source).map_err(|error| format!("{}: {error}", source.display()))?.file_type();
    if kind.is_dir() && mountpoint.starts_with(&source) {
        return Err(format!(
            "{} is below {}: its daemon would wait for itself",
            mountpoint.display(),
            source.display()
        ));
    }
    if !kind.is_dir() && !kind.is_socket() {
        return Err(format!("{} is neither a directory nor a socket", source.display()));
    }
    if !kind.is_dir() && !options.daemon_arguments.is_empty() {
        return Err(format!("{} is a socket: its daemon has got its arguments already", source.display()));
    }
    Ok((source, mountpoint))
}

fn start_daemon(directory: &Path, options: &Options) -> Result<Daemon, Box<dyn Error>> {
    let mut arguments = vec!["--xattr".into()];
    arguments.extend(options.daemon_arguments.iter().cloned());
    // Its log has no bounds.
    Ok(Daemon::start(directory, &DaemonOptions { log_requests: false, arguments, ..DaemonOptions::default() })?)
}

fn mount_driver(socket: &Path, options: &Options) -> Result<(VirtioFs, Arc<NativePlatform>), Box<dyn Error>> {
    let request_queues = options.request_queues;
    let (transport, platform) =
        connect_with(socket, TAG, ConnectOptions { request_queues, ..ConnectOptions::default() })?;
    let device = DeviceOptions { request_queues, request_timeout: options.request_timeout, ..DeviceOptions::default() };
    let (cache, dax) = (options.cache.clone(), options.dax);
    let (permissions, read_only) = (options.permissions, options.read_only);
    let options = MountOptions { cache, dax, device, permissions, read_only, ..MountOptions::default() };
    Ok((VirtioFs::mount::<GuestHal>(transport, platform.clone(), &options)?, platform))
}

/// Notices the daemon's end while nobody uses the mount.
fn watch(daemon: &Daemon, sender: Sender<Event>) -> io::Result<()> {
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    thread::spawn(move || {
        while rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], None).is_err() {}
        let _ = sender.send(Event::Lost("virtiofsd has ended"));
    });
    Ok(())
}

fn wait_for_the_end(events: &Receiver<Event>, point: &mut MountPoint, mountpoint: &Path) -> Result<(), Box<dyn Error>> {
    let (mut is_asked_to_end, mut is_unused, mut is_ending) = (false, false, false);
    loop {
        let event = if is_unused && !is_ending {
            match events.recv_timeout(PATIENCE) {
                Err(RecvTimeoutError::Timeout) => {
                    log::warn!("{} is ended although another mount namespace has it too", mountpoint.display());
                    return Ok(());
                }
                event => event?,
            }
        } else {
            events.recv()?
        };
        match event {
            Event::Signal(signal) if is_asked_to_end => {
                return Err(format!("{signal}: {} is ended although it is in use", mountpoint.display()).into());
            }
            Event::Signal(signal) => {
                log::info!("{signal}");
                is_asked_to_end = true;
                is_unused = point.unmount();
            }
            // A daemon that is let go of may end.
            Event::Lost(_) if is_ending => {}
            // Whoever waits for an answer gets an error when this process ends.
            Event::Lost(what) => {
                point.unmount();
                return Err(format!("{} is ended: {what}", mountpoint.display()).into());
            }
            Event::Ending => is_ending = true,
            Event::Ended(result) => return Ok(result?),
        }
    }
}
