//! The FUSE session: what is negotiated with the server, and the requests in flight.

mod channel;

pub(crate) use channel::{Channel, Expected, Limits, Reply, Request};
