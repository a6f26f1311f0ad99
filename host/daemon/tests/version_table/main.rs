//! The metadata version table, as a guest sees it.

#[path = "../common/mod.rs"]
mod common;

mod changes;
mod failures;
mod host;
mod host_storm;
mod look;
mod mappings;
mod presence;
mod requests;
mod sharing;
