//! What a device may write into the rings: see `virtio_fs::fuzzing::rings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| virtio_fs::fuzzing::rings(data));
