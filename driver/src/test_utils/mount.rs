//! A fake server, mounted.

use super::FakeChannel;
use crate::{Error, MountOptions, VirtioFs};
use alloc::boxed::Box;

/// Mounts a [`FakeServer`](super::FakeServer), or a [`FakeChannel`] to one: what a kernel builds on the driver (its
/// virtual file system, its system calls) can then be tested on the host, without a kernel or a device.
/// `options.device` means nothing here.
///
/// ```
/// use virtio_fs::test_utils::{self, FakeChannel, FakeServer, Leftovers, opcode};
/// use virtio_fs::{Error, MountOptions};
///
/// let mut server = FakeServer::new();
/// server.file("etc/motd", "hello\n").symlink("motd", "etc/motd");
/// let channel = FakeChannel::new(server);
/// let server = channel.server();
///
/// let fs = test_utils::mount(channel, &MountOptions::default())?;
/// assert_eq!(fs.read_to_string("motd")?, "hello\n");
/// assert_eq!(server.lock().count(opcode::READ), 1);
/// fs.unmount()?;
/// // Every file was closed and every inode forgotten before the session ended.
/// assert_eq!(server.lock().left_at_destroy(), [Leftovers::default()]);
/// assert!(server.lock().violations().is_empty());
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// Those of [`VirtioFs::mount`], if the server was told to cause them.
pub fn mount(server: impl Into<FakeChannel>, options: &MountOptions) -> Result<VirtioFs, Error> {
    VirtioFs::mount_channel(Box::new(server.into()), options)
}
