//! When the device is asked to ring.

use super::*;
use crate::{Instant, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, Weak};

type Memory = PlainHal<60>;

/// A platform on which, while the first caller waits, another one sends a request and gets its reply.
struct Visited {
    fake: Arc<FakeDevice<Memory>>,
    // The device holds its platform.
    device: OnceLock<Weak<Device<Memory>>>,
    visited: AtomicBool,
    is_over: AtomicBool,
}

// SAFETY: `revoke_dma` is left at answering that it did nothing.
unsafe impl Platform for Visited {
    fn now(&self) -> Instant {
        Instant(Duration::ZERO)
    }

    fn wall_clock(&self) -> Timestamp {
        Timestamp::default()
    }

    fn interrupted(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn wait_until(&self, _: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        while !ready() {
            self.fake.work();
            if self.visited.load(Ordering::Relaxed) {
                continue;
            }
            let device = self.device.get().unwrap().upgrade().unwrap();
            assert!(self.fake.would_ring(1), "the first caller waits");
            // The visitor must not visit itself.
            self.visited.store(true, Ordering::Relaxed);
            assert_eq!(getattr(&*device), Ok(()));
            assert!(self.fake.would_ring(1), "it waits still, and the other one took what the device rang for");
            self.is_over.store(true, Ordering::Relaxed);
        }
        true
    }
}

#[test]
fn who_takes_what_the_device_rang_for_asks_for_the_next_ring_if_somebody_waits() {
    let build = Build { interrupts: true, ..Build::default() };
    let fake = FakeDevice::new(build, Box::new(answer));
    let (device, visited, is_over) = (OnceLock::new(), AtomicBool::new(false), AtomicBool::new(false));
    let platform = Arc::new(Visited { fake: fake.clone(), device, visited, is_over });
    let transport = Box::new(FakeTransport(fake.clone()));
    let device = Arc::new(Device::new(transport, platform.clone(), &DeviceOptions::default()).unwrap());
    assert!(platform.device.set(Arc::downgrade(&device)).is_ok());
    fake.inject(Fault::UntilInterrupted { times: 1 });
    assert_eq!(getattr(&*device), Err(Error::Refused(Errno::EINTR)));
}
