//! Against a back end that has what virtiofsd lacks: several request queues, shared memory regions.

mod common;
mod fake_backend;
mod many_cpus;

use fake_backend::FakeBackend;
use many_cpus::{CPU, ManyCpus};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;
use vhost::vhost_user::VhostUserFrontendReqHandler;
use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags};
use virtio_fs::test_utils::FakeServer;
use virtio_fs::virtio::{Config, DeviceOptions, DeviceStatus, SharedMemoryRegion, Transport};
use virtio_fs::{Error, Hal, MountOptions, VirtioFs};
use virtio_fs_vhost_user::{ConnectOptions, GuestHal, NativePlatform, VhostUserTransport, connect, connect_with};

fn connect_queues(backend: &FakeBackend, request_queues: u16) -> (VhostUserTransport, Arc<NativePlatform>) {
    let options = ConnectOptions { request_queues, ..ConnectOptions::default() };
    connect_with(backend.socket(), "fake", options).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_device_has_as_many_request_queues_as_are_wanted_and_offered() {
    let backend = FakeBackend::start(4, &[], FakeServer::new());
    for (wanted, given) in [(1, 1), (3, 3), (4, 4), (5, 4), (u16::MAX, 4)] {
        let (transport, _) = connect_queues(&backend, wanted);
        assert_eq!(Config::read(&transport).unwrap().request_queues, u32::from(given));
        assert_eq!(transport.max_queue_size(given), 1024);
        assert_eq!(transport.max_queue_size(given + 1), 0);
    }
}

#[test]
fn every_request_queue_serves_the_threads_of_its_cpu() {
    const QUEUES: usize = 4;
    const THREADS: usize = 8;
    const READS: u64 = 500;
    let mut server = FakeServer::new();
    server.file("file", [7; 100]);
    let backend = FakeBackend::start(QUEUES, &[], server);
    let (transport, platform) = connect_queues(&backend, QUEUES as u16);
    let fs = VirtioFs::mount::<GuestHal>(transport, Arc::new(ManyCpus(platform)), &common::uncached()).unwrap();
    let file = fs.open("file").unwrap();
    let before = backend.requests();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let file = &file;
            scope.spawn(move || {
                CPU.set(thread);
                let mut buffer = [0; 200];
                for _ in 0..READS {
                    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 100);
                    assert_eq!(buffer[..100], [7; 100]);
                }
            });
        }
    });
    let counts: Vec<_> = backend.requests().iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(counts, [READS * (THREADS / QUEUES) as u64; QUEUES]);
    drop(file);
    fs.unmount().unwrap();
    assert_eq!(backend.server().violations(), [""; 0]);
}

#[test]
fn a_mount_takes_no_more_queues_than_its_options_say() {
    let backend = FakeBackend::start(4, &[], FakeServer::new());
    let (transport, platform) = connect_queues(&backend, 4);
    let device = DeviceOptions { request_queues: 2, ..DeviceOptions::default() };
    let options = MountOptions { device, ..common::uncached() };
    let fs = VirtioFs::mount::<GuestHal>(transport, Arc::new(ManyCpus(platform)), &options).unwrap();
    for cpu in 0..8 {
        CPU.set(cpu);
        fs.root().getattr().unwrap();
    }
    let requests = backend.requests();
    assert!(requests[0] >= 4 && requests[1] == 4 && requests[2..] == [0, 0], "{requests:?}");
    fs.unmount().unwrap();
}

const PAGE: u64 = 4096;

/// A file whose pages are full of 1, 2, 3 and so on.
fn file(pages: u64) -> File {
    let file = File::from(rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    for page in 0..pages {
        file.write_all_at(&[page as u8 + 1; PAGE as usize], page * PAGE).unwrap();
    }
    file
}

fn part(shmid: u8, page: u64, pages: u64, file_page: u64) -> VhostUserMMap {
    VhostUserMMap {
        shmid,
        fd_offset: file_page * PAGE,
        shm_offset: page * PAGE,
        len: pages * PAGE,
        flags: VhostUserMMapFlags::WRITABLE.bits(),
        ..VhostUserMMap::default()
    }
}

/// The first byte of each page, as a driver sees it.
fn seen(region: SharedMemoryRegion) -> Vec<u8> {
    (0..region.length_bytes / PAGE)
        .map(|page| {
            // SAFETY: inside the region, whose transport lives.
            unsafe { GuestHal::mmio_phys_to_virt(region.address + page * PAGE, 1).read_volatile() }
        })
        .collect()
}

#[test]
fn what_the_back_end_maps_is_in_the_region_until_it_is_unmapped_or_the_device_is_reset() {
    let backend = FakeBackend::start(1, &[8 * PAGE, 0, 2 * PAGE], FakeServer::new());
    let (transport, platform) = connect(backend.socket(), "fake").unwrap();
    let [window, table] = [0, 2].map(|id| transport.shared_memory(id).unwrap());
    assert_eq!((window.length_bytes, table.length_bytes), (8 * PAGE, 2 * PAGE));
    assert_eq!((transport.shared_memory(1), transport.shared_memory(3)), (None, None));
    let (channel, file) = (backend.channel(), file(8));

    channel.shmem_map(&part(0, 2, 3, 4), &file).unwrap();
    channel.shmem_map(&part(2, 1, 1, 0), &file).unwrap();
    assert_eq!((seen(window), seen(table)), (vec![0, 0, 5, 6, 7, 0, 0, 0], vec![0, 1]));
    // SAFETY: inside the region, whose transport lives.
    unsafe { GuestHal::mmio_phys_to_virt(window.address + 2 * PAGE, 1).write_volatile(99) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, 4 * PAGE).unwrap();
    assert_eq!(byte, [99]);

    for wrong in [part(0, 4, 1, 0), part(0, 7, 2, 0), part(1, 0, 1, 0), part(0, 0, 1, 8)] {
        assert!(channel.shmem_map(&wrong, &file).is_err(), "{wrong:?}");
    }
    assert!(channel.shmem_unmap(&part(0, 2, 1, 0)).is_err(), "not what was mapped");
    channel.shmem_unmap(&part(0, 2, 3, 0)).unwrap();
    channel.shmem_map(&part(0, 0, 1, 1), &file).unwrap();
    assert_eq!((seen(window), seen(table)), (vec![2, 0, 0, 0, 0, 0, 0, 0], vec![0, 1]));

    transport.reset(&*platform).unwrap();
    assert_eq!((seen(window), seen(table)), (vec![0; 8], vec![0; 2]));
    channel.shmem_map(&part(0, 0, 8, 0), &file).unwrap();
    assert_eq!(seen(window), [1, 2, 3, 4, 99, 6, 7, 8], "the channel outlives the reset");
    drop(transport);
    assert!(channel.shmem_unmap(&part(0, 0, 8, 0)).is_err(), "and not the transport");
}

#[test]
fn a_back_end_that_comes_back_fills_the_same_regions_and_one_with_others_is_refused() {
    let backend = FakeBackend::start(1, &[4 * PAGE], FakeServer::new());
    let (transport, platform) = connect(backend.socket(), "fake").unwrap();
    let window = transport.shared_memory(0).unwrap();
    let begin_anew = |regions: &[u64]| {
        backend.hang_up(regions);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !transport.status().contains(DeviceStatus::DEVICE_NEEDS_RESET) {
            assert!(std::time::Instant::now() < deadline, "the end was not noticed");
            std::thread::sleep(Duration::from_millis(1));
        }
        transport.reset(&*platform).unwrap();
        transport.set_status(DeviceStatus::ACKNOWLEDGE)
    };
    backend.channel().shmem_map(&part(0, 1, 1, 0), &file(1)).unwrap();
    assert_eq!(begin_anew(&[4 * PAGE]), Ok(()));
    assert_eq!((transport.shared_memory(0), seen(window)), (Some(window), vec![0; 4]));
    backend.channel().shmem_map(&part(0, 2, 1, 0), &file(1)).unwrap();
    assert_eq!(seen(window), [0, 0, 1, 0]);
    assert!(matches!(begin_anew(&[8 * PAGE]), Err(Error::Device(_))));
    assert_eq!(seen(window), [0; 4]);
}

/// Maps are asked for in the middle of a request, whose thread sleeps.
#[test]
fn maps_are_carried_out_while_requests_are_in_flight() {
    let backend = FakeBackend::start(1, &[8 * PAGE], FakeServer::new());
    let (transport, platform) = connect(backend.socket(), "fake").unwrap();
    let window = transport.shared_memory(0).unwrap();
    let fs = VirtioFs::mount::<GuestHal>(transport, platform, &MountOptions::default()).unwrap();
    let (channel, file) = (backend.channel(), file(8));
    let server = backend.server();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fs.root().getattr().unwrap());
        for round in 0..200 {
            channel.shmem_map(&part(0, round % 8, 1, round % 7), &file).unwrap();
            assert_eq!(u64::from(seen(window)[(round % 8) as usize]), round % 7 + 1);
            channel.shmem_unmap(&part(0, round % 8, 1, 0)).unwrap();
        }
        assert!(!waiting.is_finished());
        drop(server);
    });
    fs.unmount().unwrap();
}
