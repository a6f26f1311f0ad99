//! The thread that shows guests that the table is tended.

use super::VersionTable;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How often the heartbeat advances.
const INTERVAL: Duration = Duration::from_millis(100);

/// Counts what comes from elsewhere than from guests, for this long, and tells whether all that had come by the end is
/// counted.
pub(crate) type Watch = Box<dyn FnMut(Duration) -> bool + Send>;

/// Tends the table until the process ends.
pub(super) fn start(table: Arc<VersionTable>, mut watch: Watch) -> io::Result<()> {
    let tend = move || {
        loop {
            if watch(INTERVAL) {
                table.table.beat();
            }
        }
    };
    std::thread::Builder::new().name("version table".into()).spawn(tend).map(drop)
}
