//! Setting a device up, as far as it is told of no memory yet.

use super::super::config::Config;
use super::super::queue::{Queue, QueueOptions};
use super::super::transport::{DeviceStatus, Transport};
use super::DeviceOptions;
use crate::Error;
use alloc::vec::Vec;
use bitflags::bitflags;
use virtio_drivers::Hal;

bitflags! {
    /// Virtio feature bits that the driver knows (VIRTIO 1.3 §6).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
        const RING_INDIRECT_DESC = 1 << 28;
        const RING_EVENT_IDX = 1 << 29;
        const VERSION_1 = 1 << 32;
        const ACCESS_PLATFORM = 1 << 33;
    }
}

/// The number of the high-priority queue.
const HIGH_PRIORITY: u16 = 0;
/// The number of the first request queue: the driver does not accept the feature that would put a queue in between.
const FIRST_REQUEST: u16 = 1;
/// How many FORGETs and INTERRUPTs may be on their way.
const POSTS_IN_FLIGHT: u16 = 8;

/// What driver and device agreed on before the device is told of memory.
pub(super) struct Agreed<H: Hal> {
    /// The status reached.
    pub(super) status: DeviceStatus,
    pub(super) high_priority: Queue<H>,
    pub(super) requests: Vec<Queue<H>>,
}

impl<H: Hal> Agreed<H> {
    /// Steps 2 to 7 of VIRTIO 1.3 §3.1.1.
    pub(super) fn negotiate(transport: &dyn Transport, options: &DeviceOptions) -> Result<Self, Error> {
        // 2. and 3. The driver has found the device and knows how to drive it.
        let mut status = DeviceStatus::ACKNOWLEDGE;
        transport.set_status(status)?;
        status |= DeviceStatus::DRIVER;
        transport.set_status(status)?;

        // 4. Accept what both sides know.
        let offered = Features::from_bits_retain(transport.device_features());
        if !offered.contains(Features::VERSION_1) {
            return Err(Error::Protocol("the device is older than virtio 1.0"));
        }
        let features = Features::all() & offered;
        transport.set_driver_features(features.bits());

        // 5. and 6. The device has to agree.
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status)?;
        if !transport.status().contains(DeviceStatus::FEATURES_OK) {
            return Err(Error::Protocol("the device did not accept the features it offers"));
        }

        // 7. Read the configuration, set up the queues.
        let config = Config::read(transport)?;
        log::debug!("device {config:?}, features {features:?}");
        let queue_options = |number, slots| QueueOptions {
            max_size: transport.max_queue_size(number),
            slots,
            max_data_bytes: options.max_request_bytes,
            indirect: features.contains(Features::RING_INDIRECT_DESC),
            event_index: features.contains(Features::RING_EVENT_IDX),
            interrupts: transport.interrupts(),
        };
        let high_priority = Queue::for_posts(HIGH_PRIORITY, &queue_options(HIGH_PRIORITY, POSTS_IN_FLIGHT))?;
        let count = u32::from(options.request_queues.max(1)).min(config.request_queues) as usize;
        let mut requests = Vec::new();
        requests.try_reserve_exact(count).map_err(|_| Error::NoMemory)?;
        for number in (FIRST_REQUEST..=u16::MAX).take(count) {
            requests.push(Queue::for_requests(number, &queue_options(number, options.requests_in_flight))?);
        }
        Ok(Self { status, high_priority, requests })
    }
}
