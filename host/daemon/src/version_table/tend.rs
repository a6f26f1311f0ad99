//! The thread that shows guests that the table is tended.

use super::VersionTable;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How often the heartbeat advances.
const INTERVAL: Duration = Duration::from_millis(100);
/// After so many beats it is looked whether the files are still there.
const BEATS: u32 = 10;

/// Counts what comes from elsewhere than from guests, for this long, and tells whether all that had come by the end is
/// counted.
pub(crate) type Watch = Box<dyn FnMut(Duration) -> bool + Send>;

/// Tends the table until the process ends, or somebody takes the table away.
pub(super) fn start(table: Arc<VersionTable>, mut watch: Watch) -> io::Result<()> {
    let tend = move || {
        while !table.is_removed() {
            for _ in 0..BEATS {
                if watch(INTERVAL) {
                    table.table.beat();
                }
            }
        }
        // Others will not find this table, nor guests what they change.
        log::error!("the version table was removed: guests go by time until this daemon is started again");
        table.table.retire();
    };
    std::thread::Builder::new().name("version table".into()).spawn(tend).map(drop)
}
