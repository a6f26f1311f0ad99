//! What the fuzz targets in `driver/fuzz` run. Only there when cargo-fuzz builds the crate.
//!
//! Everything may fail; nothing may panic, hang, or touch memory that is not its own.

use crate::session::{Channel, Request};
use crate::test_utils::{FakeChannel, FakeServer, mount};
use crate::virtio::fake::{Build, DeviceMemory, FakeDevice, FakeTransport, Fault, PlainHal};
use crate::virtio::{Device, DeviceOptions};
use crate::vnode::{
    Access, AllocateFlags, Durability, Lock, LockKind, LockOwner, Node, OpenFlags, RenameFlags, SetAttr, Wait,
    XattrFlags,
};
use crate::wire::{FileHandle, Getattr, InHeader, NodeId, Operation, OutHeader, Read, Release, Unique};
use crate::{CacheMode, FileType, InitFlags, MountOptions, Permissions, VirtioFs};
use std::boxed::Box;
use std::vec::Vec;
use zerocopy::{FromBytes, IntoBytes};

/// The bytes of a fuzz input, one after the other; zeroes when they are used up.
struct Input {
    bytes: std::vec::IntoIter<u8>,
}

impl Input {
    fn new(data: &[u8]) -> Self {
        Self { bytes: data.to_vec().into_iter() }
    }

    fn is_empty(&self) -> bool {
        self.bytes.len() == 0
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().unwrap_or(0)
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

/// The first half of the input says what is done with a mount, the second half what becomes of the replies.
pub fn replies(data: &[u8]) {
    let (script, tampering) = data.split_at(data.len() / 2);
    let (mut script, mut tampering) = (Input::new(script), Input::new(tampering));
    let mut server = FakeServer::new();
    server.options.minor = 45;
    server.options.statx = true;
    server.options.max_pages = 1;
    server.options.init_flags |= (InitFlags::POSIX_LOCKS | InitFlags::FLOCK_LOCKS | InitFlags::POSIX_ACL).bits();
    server.file("d/f", "content of the file").dir("d/e").symlink("l", "d").symlink("d/m", "/l/f");
    server.set_xattr("d/f", "user.a", "value");
    server.tamper(move |_, reply| tamper(reply, &mut tampering));
    let mut options = MountOptions::default();
    let kind = script.byte();
    options.cache.mode = [CacheMode::None, CacheMode::Auto, CacheMode::Always][usize::from(kind >> 1) % 3];
    options.cache.max_entries = usize::from(kind >> 3);
    if kind & 1 != 0 {
        options.permissions = Permissions::Driver;
        options.credentials.uid = 1000;
    }
    let Ok(fs) = mount(FakeChannel::new(server), &options) else { return };
    for _ in 0..40 {
        if script.is_empty() {
            break;
        }
        use_paths(&fs, script.byte());
        let path = ["d/f", "d", "l", "d/e", "/"][usize::from(script.byte() % 5)];
        if let Ok(node) = fs.node(path) {
            use_node(&fs, &node, script.byte());
        }
    }
    fs.maintain();
    let _ = fs.unmount();
}

/// Cuts a reply short, lengthens it, or changes some of its bytes; or leaves it alone.
fn tamper(reply: &mut Vec<u8>, input: &mut Input) {
    match input.byte() {
        0..=127 => {}
        128..=140 => reply.truncate(input.u16().into()),
        141..=150 => reply.resize(reply.len() + usize::from(input.byte()), 0xa5),
        times => {
            for _ in 0..times % 8 {
                let at = usize::from(input.u16());
                if let Some(byte) = reply.get_mut(at) {
                    *byte = input.byte();
                }
            }
        }
    }
}

fn use_paths(fs: &VirtioFs, what: u8) {
    match what % 12 {
        0 => drop(fs.read("d/f")),
        1 => drop(fs.write("d/new", "some content")),
        2 => drop(
            fs.read_dir("d").map(|entries| entries.take(50).flatten().filter(|entry| entry.metadata().is_ok()).count()),
        ),
        3 => drop(fs.create_dir_all("d/x/y/z")),
        4 => drop(fs.remove_dir_all("d/x")),
        5 => drop(fs.rename("d/f", "d/g")),
        6 => drop(fs.rename_with("d/g", "d/f", RenameFlags::NOREPLACE)),
        7 => drop(fs.copy("l/m", "d/copy")),
        8 => drop(fs.list_xattr("d/f")),
        9 => drop(fs.get_xattr("d/f", "user.a")),
        10 => drop(fs.hard_link("d/f", "d/h")),
        _ => drop(fs.remove_file("d/h")),
    }
}

fn use_node(fs: &VirtioFs, node: &Node, what: u8) {
    match what % 12 {
        0 => drop(node.statx()),
        1 => drop(node.setattr(&SetAttr { permissions: Some(0o640), ..SetAttr::default() })),
        2 => drop(node.access(Access::READ | Access::WRITE)),
        3 => drop(node.readlink()),
        4 => drop(node.statfs()),
        5 => drop(node.mkdir("made", 0o755)),
        6 => drop(node.mknod("fifo", FileType::Fifo, 0o600, 0)),
        7 => drop(node.symlink("link", b"target")),
        8 => drop(node.unlink("link")),
        9 => drop(node.setxattr("user.b", b"b", XattrFlags::CREATE)),
        10 => drop(node.tmpfile(OpenFlags::READ_WRITE, 0o600)),
        _ => {
            let Ok(file) = node.open(OpenFlags::READ_WRITE) else { return };
            let mut buffer = [0; 5000];
            let _ = file.write_at(3, &buffer);
            let _ = file.read_at(0, &mut buffer);
            let _ = file.seek_data(1);
            let _ = file.seek_hole(1);
            let _ = file.allocate(0, 100, AllocateFlags::KEEP_SIZE);
            let lock = Lock { kind: LockKind::Write, start: 0, end: 9, pid: 1 };
            let _ = file.getlk(LockOwner(1), &lock);
            let _ = file.setlk(LockOwner(1), &lock, Wait::No);
            let _ = file.flock(LockKind::Read, Wait::No);
            if let Ok((other, _)) = fs.root().create("other", OpenFlags::READ_WRITE, 0o600) {
                let _ = file.copy_range(0, &other, 0, 10);
                let _ = other.fsync(Durability::Data);
            }
            let _ = file.close();
        }
    }
}

/// The input says what is wrong with the used elements of a device that serves requests in batches, and where it
/// scribbles into its part of the rings.
pub fn rings(data: &[u8]) {
    type Memory = PlainHal<0>;
    let mut input = Input::new(data);
    let mut build = Build::default();
    let kind = input.byte();
    build.features &= !(u64::from(kind & 3) << 28);
    build.reverse = kind & 4 != 0;
    let alive = Memory::alive();
    let fake = FakeDevice::<Memory>::new(build, Box::new(answer));
    let transport = Box::new(FakeTransport(fake.clone()));
    let options = DeviceOptions { requests_in_flight: 4, max_request_bytes: 8192, ..DeviceOptions::default() };
    let Ok(device) = Device::<Memory>::new(transport, fake.clone(), &options) else { return };
    for _ in 0..20 {
        if input.is_empty() {
            break;
        }
        match input.byte() % 8 {
            0 => fake.inject(Fault::UsedId(input.u16().into())),
            1 => fake.inject(Fault::UsedLen(input.u16().into())),
            2 => fake.inject(Fault::UsedIndexAhead(input.u16())),
            3 => fake.inject(Fault::UsedTwice),
            4 => fake.inject(Fault::Swallowed),
            5 => fake.inject(Fault::Scribble { at: input.u16(), byte: input.byte() }),
            _ => {}
        }
        let count = usize::from(input.byte());
        if count & 128 != 0 {
            close(&device);
        }
        exchange(&device, 1 + count % 9);
    }
    drop(device);
    assert_eq!(Memory::alive(), alive, "memory was lost");
}

/// Sends a batch of requests with and without data.
fn exchange(device: &dyn Channel, count: usize) {
    let mut buffers = [[0; 700]; 9];
    let mut requests = buffers.iter_mut().take(count).enumerate().map(|(place, buffer)| {
        let unique = Unique(2 + 2 * place as u64);
        if place % 2 == 0 {
            let header = InHeader::new(Getattr::OPCODE, NodeId(2), unique);
            Request::new(header, &Getattr { fh: None }, &[], &mut [])
        } else {
            let read = Read { fh: FileHandle(1), offset: 0, size_bytes: 700, flags: OpenFlags::READ_ONLY };
            Request::new(InHeader::new(Read::OPCODE, NodeId(2), unique), &read, &[], buffer)
        }
    });
    device.exchange(&mut requests, &mut |_, _| {});
}

/// Sends a request that nobody waits for.
fn close(device: &dyn Channel) {
    let release = Release { fh: FileHandle(1), flags: OpenFlags::READ_ONLY, flock_owner: None };
    let header = InHeader::new(Release::OPCODE, NodeId(2), Unique(100));
    let _ = device.send_detached(&Request::new(header, &release, &[], &mut []));
}

/// Answers with as many bytes as there is room for.
fn answer(request: &[u8], room: usize) -> Option<Vec<u8>> {
    let (header, _) = InHeader::read_from_prefix(request).ok()?;
    let out = OutHeader { len: room as u32, error: 0, unique: header.unique };
    let mut reply = out.as_bytes().to_vec();
    reply.resize(room, 0x5a);
    Some(reply)
}
