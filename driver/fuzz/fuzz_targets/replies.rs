//! What a server may reply: see `virtio_fs::fuzzing::replies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| virtio_fs::fuzzing::replies(data));
