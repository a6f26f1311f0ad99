//! A mounted server between whose requests threads take turns.

use crate::session::{Channel, Limits, Reply, Request};
use crate::test_utils::{FakeChannel, FakeServer, Mounted};
use crate::virtio::SharedWords;
use crate::wire::Unique;
use crate::{CacheOptions, Error, Instant, MountOptions, Timestamp, VirtioFs};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::iter;
use core::time::Duration;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::sync::{Condvar, Mutex};
use virtio_fs_version_table::{Key, Table};

/// Nothing expires.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A channel to a fake server, in whose requests other threads go on: before they are sent, and before their replies
/// arrive.
struct Wire {
    fake: FakeChannel,
    after_each: Box<dyn Fn(&FakeServer) + Send + Sync>,
    /// The server counts changes there.
    table: Option<Table<SharedWords>>,
    /// To look at it is a step.
    step: AtomicBool,
    rung: Mutex<u64>,
    bell: Condvar,
}

impl Wire {
    /// Lets other threads go on.
    fn step(&self) {
        self.step.load(Ordering::SeqCst);
    }
}

impl Channel for Wire {
    fn limits(&self) -> Limits {
        self.fake.limits()
    }

    fn now(&self) -> Instant {
        self.fake.now()
    }

    fn date(&self) -> Timestamp {
        self.fake.date()
    }

    fn version_table(&self) -> Option<SharedWords> {
        self.fake.version_table()
    }

    /// Sleeps until it is woken: whom nobody wakes sleeps for ever, and the model fails.
    fn wait_until(&self, ready: &mut dyn FnMut() -> bool) {
        loop {
            let before = *self.rung.lock().unwrap();
            if ready() {
                return;
            }
            let mut rung = self.rung.lock().unwrap();
            while *rung == before {
                rung = self.bell.wait(rung).unwrap();
            }
        }
    }

    fn wake(&self) {
        *self.rung.lock().unwrap() += 1;
        self.bell.notify_all();
    }

    fn exchange<'a, 'b>(
        &self,
        requests: &mut dyn Iterator<Item = Request<'a, 'b>>,
        done: &mut dyn FnMut(usize, Result<Reply<'_>, Error>),
    ) {
        let mut paced = iter::from_fn(|| requests.next().inspect(|_| self.step()));
        self.fake.exchange(&mut paced, &mut |place, reply| {
            let due = {
                let server = self.fake.server();
                let mut server = server.lock();
                (self.after_each)(&server);
                server.take_due()
            };
            count(self.table.as_ref(), &due);
            self.step();
            done(place, reply);
        });
    }

    fn post(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.step();
        self.fake.post(request)
    }

    fn send_detached(&self, request: &Request<'_, '_>) -> Result<(), Error> {
        self.step();
        self.fake.send_detached(request)
    }

    fn drain_posts(&self, before: Unique) -> Result<(), Error> {
        self.fake.drain_posts(before)
    }

    fn shut_down(&self) {
        self.fake.shut_down();
    }
}

/// Counts changes in the version table, if there is one, in steps of their own.
fn count(table: Option<&Table<SharedWords>>, due: &[Vec<Key>]) {
    if let Some(table) = table {
        for keys in due {
            table.publish(keys, |again| again());
        }
    }
}

/// Somebody else, who has a server of his own with the same version table, has `change` made and acknowledged.
pub(super) fn change_by_another(mounted: &Mounted, change: impl FnOnce(&mut FakeServer)) {
    let (due, words) = {
        let server = mounted.channel.server();
        let mut server = server.lock();
        let before = server.before();
        change(&mut server);
        server.count_changes(before, true);
        (server.take_due(), server.version_table_memory())
    };
    count(words.and_then(|words| Table::open(words).ok()).as_ref(), &due);
}

/// Mounts the tree that `build` makes. `after_each` sees the server when it has done what a request asks.
pub(super) fn mount(
    cache: CacheOptions,
    build: impl FnOnce(&mut FakeServer),
    after_each: impl Fn(&FakeServer) + Send + Sync + 'static,
) -> Mounted {
    let mut server = FakeServer::new();
    (server.options.entry_ttl, server.options.attr_ttl, server.options.negative_ttl) = (YEAR, YEAR, Some(YEAR));
    build(&mut server);
    let table = server.version_table_memory().map(|words| Table::open(words).expect("the server has made it"));
    let channel = FakeChannel::new(server);
    let wire = Wire {
        fake: channel.clone(),
        after_each: Box::new(after_each),
        table,
        step: AtomicBool::new(false),
        rung: Mutex::new(0),
        bell: Condvar::new(),
    };
    let fs = VirtioFs::mount_channel(Box::new(wire), &MountOptions { cache, ..MountOptions::default() }).unwrap();
    Mounted { fs, channel }
}
