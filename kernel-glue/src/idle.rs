//! What a kernel does when it has nothing to do.

use virtio_fs::{Platform, VirtioFs};

/// Waits until `poll` gives something. Meanwhile the mount does what is due, such as writing what was written some time ago
/// ([`VirtioFs::maintain`]).
pub fn idle_until<T>(fs: &VirtioFs, platform: &dyn Platform, mut poll: impl FnMut() -> Option<T>) -> T {
    let mut due = fs.maintain();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        if due.is_some_and(|due| platform.now() >= due) {
            due = fs.maintain();
        }
        // There are no interrupts yet that would end a halt.
        core::hint::spin_loop();
    }
}
