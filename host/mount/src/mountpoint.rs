//! The place where the kernel shows the mount.

use crate::export::Export;
use crate::options::Options;
use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What `mount` shows as the type, behind `fuse.`.
const SUBTYPE: &str = "virtio-fs-mount";

/// What takes a mount away.
///
/// Root mounts and unmounts by system calls, others by the program `fusermount3`, which `fuser` starts. `fuser` 0.18
/// can do both, but unmounts once more at the end, whatever is mounted there then: an ordinary user can do no harm by
/// that.
pub(crate) enum MountPoint {
    Roots(PathBuf),
    Others(SessionUnmounter, PathBuf),
}

/// Mounts what is exported.
pub(crate) fn mount(
    export: Export,
    source: &Path,
    mountpoint: &Path,
    options: &Options,
) -> io::Result<(Session<Export>, MountPoint)> {
    let is_root = rustix::process::geteuid().is_root();
    // A comma would end the name.
    let source = source.display().to_string().replace(',', "_");
    // Who walks through names that the kernel remembers is not seen by the driver.
    let kernel_checks = !options.kernel_cache.is_zero();
    let mut config = Config::default();
    config.acl = if options.allow_other.unwrap_or(is_root) { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads);
    config.clone_fd = true;
    if is_root {
        let mut data = format!("subtype={SUBTYPE}");
        if config.acl == SessionACL::All {
            data += ",allow_other";
        }
        if kernel_checks {
            data += ",default_permissions";
        }
        let flags = if options.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        let device = mount_as_root(&source, mountpoint, flags, &data)?;
        let session = Session::from_fd(export, device, config.acl, config).inspect_err(|_| detach(mountpoint))?;
        return Ok((session, MountPoint::Roots(mountpoint.into())));
    }
    config.mount_options = vec![MountOption::FSName(source), MountOption::Subtype(SUBTYPE.into())];
    if options.read_only {
        config.mount_options.push(MountOption::RO);
    }
    if kernel_checks {
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    let mut session = Session::new(export, mountpoint, &config)?;
    let unmounter = session.unmount_callable();
    Ok((session, MountPoint::Others(unmounter, mountpoint.into())))
}

/// The device that speaks for a new mount.
fn mount_as_root(source: &str, mountpoint: &Path, flags: MountFlags, data: &str) -> io::Result<OwnedFd> {
    let explained = |error: io::Error| io::Error::new(error.kind(), format!("/dev/fuse: {error}"));
    let device = File::options().read(true).write(true).open("/dev/fuse").map_err(explained)?;
    let (fd, mode) = (device.as_raw_fd(), fs::metadata(mountpoint)?.mode());
    let data = CString::new(format!("fd={fd},rootmode={mode:o},user_id=0,group_id=0,{data}"))?;
    let flags = flags | MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount(source, mountpoint, "fuse", flags, data.as_c_str())?;
    Ok(device.into())
}

impl MountPoint {
    /// Unmounts, and says whether nobody used it. What is in use is taken out of sight, and ends with its last user.
    pub(crate) fn unmount(&mut self) -> bool {
        match self {
            Self::Roots(path) => {
                let result = rustix::mount::unmount(&*path, UnmountFlags::empty());
                if let Err(error) = result {
                    log::warn!("{}: {error}", path.display());
                    detach(path);
                }
                result.is_ok()
            }
            Self::Others(unmounter, path) => {
                if let Err(error) = unmounter.unmount() {
                    log::error!("{}: {error}", path.display());
                }
                // `fusermount3` does not say.
                false
            }
        }
    }
}

fn detach(mountpoint: &Path) {
    if let Err(error) = rustix::mount::unmount(mountpoint, UnmountFlags::DETACH) {
        log::error!("{}: {error}", mountpoint.display());
    }
}
