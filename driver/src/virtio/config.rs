//! The device configuration of a virtio-fs device (VIRTIO 1.3 §5.11.4).

use super::transport::Transport;
use crate::Error;

/// The name under which the host offers a directory: up to 36 bytes, by convention UTF-8.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    padded: [u8; Self::MAX_BYTES],
}

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX_BYTES: usize = 36;

    /// The bytes of the tag, without padding. A tag of the greatest length has no terminating NUL.
    pub fn as_bytes(&self) -> &[u8] {
        let length = self.padded.iter().position(|&byte| byte == 0).unwrap_or(Self::MAX_BYTES);
        &self.padded[..length]
    }
}

impl core::fmt::Display for Tag {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl core::fmt::Debug for Tag {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The device configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name of the offered directory.
    pub tag: Tag,
    /// The number of request queues, at least 1; the high-priority queue is not counted.
    pub request_queues: u32,
}

impl Config {
    const REQUEST_QUEUES_OFFSET: usize = Tag::MAX_BYTES;
    /// How often the configuration is read anew because the device changed it meanwhile.
    const ATTEMPTS: usize = 16;

    /// Reads the configuration, anew if the device changed it meanwhile (VIRTIO 1.3 §2.5.1).
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the configuration is cut short, never stands still, or promises no request queue.
    pub fn read(transport: &dyn Transport) -> Result<Self, Error> {
        for _ in 0..Self::ATTEMPTS {
            let generation = transport.config_generation();
            let mut padded = [0; Tag::MAX_BYTES];
            let mut request_queues = [0; 4];
            transport.read_config(0, &mut padded)?;
            transport.read_config(Self::REQUEST_QUEUES_OFFSET, &mut request_queues)?;
            if transport.config_generation() == generation {
                return match u32::from_le_bytes(request_queues) {
                    0 => Err(Error::Protocol("the device has no request queue")),
                    request_queues => Ok(Self { tag: Tag { padded }, request_queues }),
                };
            }
        }
        Err(Error::Protocol("the device's configuration never stands still"))
    }
}
