use std::sync::{Arc, Mutex};
use virtio_fs::test_utils::FakeServer;
use virtio_fs::virtio::{DeviceStatus, RingAddresses, SharedMemoryRegion, Transport};
use virtio_fs::*;
use virtio_fs_vhost_user::GuestHal;
struct S {
    status: DeviceStatus,
    rings: [Option<(u16, RingAddresses)>; 2],
    taken: [u16; 2],
    server: FakeServer,
    base: usize,
}
struct T(Mutex<S>);
struct P;
unsafe impl Platform for P {
    fn now(&self) -> Instant {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Instant(std::time::Duration::new(t.tv_sec as u64, t.tv_nsec as u32))
    }
    fn wall_clock(&self) -> Timestamp {
        Timestamp::default()
    }
    fn wait_until(&self, _: Instant, ready: &mut dyn FnMut() -> bool) -> bool {
        assert!(ready());
        true
    }
    fn cpu(&self) -> usize {
        rustix::thread::sched_getcpu()
    }
}
unsafe impl Transport for T {
    fn reset(&self, _: &dyn Platform) -> Result<(), Error> {
        Ok(())
    }
    fn status(&self) -> DeviceStatus {
        self.0.lock().unwrap().status
    }
    fn set_status(&self, s: DeviceStatus) -> Result<(), Error> {
        self.0.lock().unwrap().status = s;
        Ok(())
    }
    fn device_features(&self) -> u64 {
        1 << 32 | 1 << 28 | 1 << 29
    }
    fn set_driver_features(&self, _: u64) {}
    fn config_generation(&self) -> u32 {
        0
    }
    fn read_config(&self, o: usize, out: &mut [u8]) -> Result<(), Error> {
        let mut c = [0; 40];
        c[0] = b'x';
        c[36] = 1;
        out.copy_from_slice(&c[o..o + out.len()]);
        Ok(())
    }
    fn max_queue_size(&self, _: u16) -> u16 {
        1024
    }
    fn enable_queue(&self, q: u16, size: u16, r: RingAddresses) -> Result<(), Error> {
        self.0.lock().unwrap().rings[q as usize] = Some((size, r));
        Ok(())
    }
    fn interrupts(&self) -> bool {
        true
    }
    fn shared_memory(&self, _: u8) -> Option<SharedMemoryRegion> {
        None
    }
    fn notify(&self, q: u16) {
        let mut s = self.0.lock().unwrap();
        let (size, r) = s.rings[q as usize].unwrap();
        let base = s.base;
        let at = |a: u64| (a as usize).wrapping_add(base) as *mut u8;
        unsafe {
            let avail = (at(r.available + 2) as *const u16).read_volatile();
            while s.taken[q as usize] != avail {
                let e = s.taken[q as usize];
                let head = (at(r.available + 4) as *const u16).add((e % size) as usize).read_volatile();
                let d = at(r.descriptors + 16 * head as u64) as *const u64;
                let (mut table, mut n) = (d, 1u32);
                let meta = d.add(1).read_volatile();
                if (meta >> 32) & 4 != 0 {
                    table = at(d.read_volatile()) as *const u64;
                    n = (meta as u32) / 16;
                }
                let mut req: Vec<u8> = vec![];
                let mut w = vec![];
                let op = (at(table.read()) as *const u32).add(1).read();
                if op == 3 {
                    let unique = (at(table.read()) as *const u64).add(1).read();
                    let out = at(table.add(2).read());
                    (out as *mut u32).write(120);
                    (out as *mut i32).add(1).write(0);
                    (out as *mut u64).add(1).write(unique);
                    std::ptr::write_bytes(out.add(16), 0, 104);
                    (out.add(16 + 16 + 60) as *mut u32).write(0o40755);
                    (at(r.used + 4 + 8 * (e % size) as u64) as *mut u32).write(head as u32);
                    (at(r.used + 8 + 8 * (e % size) as u64) as *mut u32).write(120);
                } else {
                    for i in 0..n {
                        let (a, m) = (table.add(2 * i as usize).read(), table.add(2 * i as usize + 1).read());
                        let len = m as u32 as usize;
                        if (m >> 32) & 2 != 0 {
                            w.push((a, len))
                        } else {
                            req.extend_from_slice(std::slice::from_raw_parts(at(a), len))
                        }
                    }
                    let room = w.iter().map(|x| x.1).sum();
                    let reply = s.server.handle(&req, room).unwrap_or_default();
                    let mut rest = &reply[..];
                    for (a, l) in w {
                        let (x, y) = rest.split_at(rest.len().min(l));
                        std::ptr::copy_nonoverlapping(x.as_ptr(), at(a), x.len());
                        rest = y;
                    }
                    (at(r.used + 4 + 8 * (e % size) as u64) as *mut u32).write(head as u32);
                    (at(r.used + 8 + 8 * (e % size) as u64) as *mut u32).write(reply.len() as u32);
                }
                s.taken[q as usize] = e.wrapping_add(1);
                (at(r.used + 2) as *mut u16).write_volatile(e.wrapping_add(1));
                (at(r.used + 4 + 8 * size as u64) as *mut u16).write_volatile(e.wrapping_add(1));
            }
        }
    }
}
fn main() {
    let (a, p) = GuestHal::dma_alloc(1, BufferDirection::Both);
    let base = (p.as_ptr() as usize).wrapping_sub(a as usize);
    let t = T(Mutex::new(S {
        status: DeviceStatus::empty(),
        rings: [None; 2],
        taken: [0; 2],
        server: FakeServer::new(),
        base,
    }));
    let fs = VirtioFs::mount::<GuestHal>(t, Arc::new(P), &MountOptions::default()).unwrap();
    let root = fs.root();
    for _ in 0..5 {
        let s = std::time::Instant::now();
        for _ in 0..500_000 {
            std::hint::black_box(root.getattr().unwrap());
        }
        println!("{:?}", s.elapsed() / 500_000);
    }
}
