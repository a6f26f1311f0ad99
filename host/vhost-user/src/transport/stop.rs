//! Bringing the device to a halt: how the memory becomes the driver's again.

use super::{Device, Queue, VhostUserTransport};
use crate::connection::Connection;
use crate::parking::ParkingPlace;
use std::time::{Duration, Instant};
use virtio_fs::Error;

/// How long to wait until memory is let go of after the connection ended: a process that dies takes that long.
const DYING: Duration = Duration::from_millis(500);

/// Before a stop, the daemon is given up to `SETTLING` to be idle for `SETTLED`.
const SETTLING: Duration = Duration::from_millis(100);
const SETTLED: Duration = Duration::from_millis(1);

impl VhostUserTransport {
    /// Stops the daemon's work on guest memory.
    ///
    /// # Errors
    ///
    /// If the daemon did not confirm that; then it may still be at work.
    fn stop(&self, connection: &Connection, device: &mut Device) -> Result<(), Error> {
        if !connection.is_open() {
            return Err(Error::Device(connection.state().describe()));
        }
        self.let_settle(connection, device);
        // 1. No queue is looked at any more. A daemon that serves requests one by one answers after the last one.
        let mut taken = Vec::with_capacity(device.queues.len());
        for queue in &device.queues {
            taken.push((queue, connection.stop_queue(queue.number)?));
        }
        // 2. Requests that were taken from a queue may still be served by a thread pool: wait until all are returned.
        let deadline = Instant::now() + self.options.patience;
        for &(queue, taken) in &taken {
            while self.used_index(queue) != Some(taken) {
                if Instant::now() >= deadline || !connection.is_open() {
                    return Err(Error::Device("the vhost-user daemon did not finish its requests"));
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        // 3. A worker that was woken before step 1 and came too late for it finds no request, but still writes the
        //    queue's event index. Let it do that where nobody looks.
        let mut parked = Vec::with_capacity(taken.len());
        for (queue, taken) in taken {
            let place = ParkingPlace::new(self.memory, queue.size, taken)?;
            connection.place_queue(queue.number, queue.size, place.rings(), self.memory)?;
            parked.push(place);
        }
        device.parked = parked;
        connection.reset_device()
    }

    /// Waits, not for long, until the daemon has seen all kicks and returned all buffers.
    ///
    /// This is for the daemon's sake. Without the event index, the queue thread of virtiofsd 1.13 ends for good if a
    /// kick makes it look at a queue that was stopped in between, and a driver may well send its last FORGETs and
    /// then reset. Requests that never end are not waited for here.
    fn let_settle(&self, connection: &Connection, device: &Device) {
        let deadline = Instant::now() + SETTLING;
        let mut settled_since = None;
        while connection.is_open() && Instant::now() < deadline {
            let busy = device.queues.iter().any(|queue| {
                connection.kick_pending(queue.number) || self.used_index(queue) != self.available_index(queue)
            });
            if busy {
                settled_since = None;
            } else if settled_since.get_or_insert_with(Instant::now).elapsed() >= SETTLED {
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Brings the device to a halt, by whatever means it takes. Afterwards, one of three holds: the daemon confirmed
    /// that it stopped, or nobody has the memory any more, or the memory in use is abandoned.
    pub(super) fn halt(&self, device: &mut Device) {
        if !device.running {
            return;
        }
        device.running = false;
        let connection = self.connection();
        let Err(error) = self.stop(&connection, device) else {
            return;
        };
        connection.close();
        if connection.memory_is_returned(DYING) {
            log::warn!("{error}; it has let go of the memory");
            return;
        }
        log::error!("{error}; the memory in use is abandoned");
        self.memory.abandon();
        device.abandoned = true;
    }

    /// The index of a queue's available ring: how many buffers the driver offered since the start, modulo 2^16.
    fn available_index(&self, queue: &Queue) -> Option<u16> {
        self.memory.read_u16(queue.rings.available.checked_add(2)?)
    }

    /// The index of a queue's used ring: how many buffers the daemon returned since the start, modulo 2^16.
    pub(super) fn used_index(&self, queue: &Queue) -> Option<u16> {
        self.memory.read_u16(queue.rings.used.checked_add(2)?)
    }
}
