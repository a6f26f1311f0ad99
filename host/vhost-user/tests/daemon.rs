//! Starting virtiofsd where it cannot run says why.

use virtio_fs_vhost_user::{Daemon, DaemonError, DaemonOptions};

#[test]
fn a_daemon_that_ends_at_once_is_reported_with_its_log() {
    let error = Daemon::start("/nonexistent", &DaemonOptions::default()).err().expect("an error");
    assert!(matches!(error, DaemonError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent does not exist"), "{error}");
}
