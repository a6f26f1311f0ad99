//! The device and its queues against a fake device that keeps the rules, and one that breaks them.

mod arming;
mod detached;
mod hostile;
mod interrupted;
mod service;
mod slices;
mod startup;
mod stopping;
mod waking;

use super::fake::{Build, DeviceMemory, FakeDevice, FakeTransport, Fault, PagedHal, PlainHal, allocations};
use super::{Device, DeviceOptions};
use crate::session::{Channel, Credentials, Filled, ReadFrom, Request, Session};
use crate::virtio::DeviceStatus;
use crate::wire::{
    BatchForget, FileHandle, Forget, Getattr, InHeader, Init, InitFlags, InitReply, Interrupt, NodeId, Opcode,
    OpenFlags, Operation, OutHeader, Read, Release, Unique,
};
use crate::{Errno, Error, Platform};
use core::time::Duration;
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Some open file.
const FROM: ReadFrom = ReadFrom { nodeid: NodeId(2), fh: FileHandle(1), flags: OpenFlags::empty() };

/// The byte at `offset` of every file.
fn byte_at(offset: u64) -> u8 {
    (offset ^ offset >> 8 ^ offset >> 16) as u8
}

fn reply(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let len = (OutHeader::BYTES + body.len()) as u32;
    [OutHeader { len, error, unique }.as_bytes(), body].concat()
}

/// Answers READ with the bytes asked for, GETATTR with the attributes of a file, INIT and RELEASE, and FORGET with
/// nothing.
fn answer(request: &[u8], room: usize) -> Option<Vec<u8>> {
    let (header, args) = InHeader::read_from_prefix(request).unwrap();
    assert_eq!(header.len as usize, request.len());
    let number = |at: usize| u64::read_from_bytes(&args[at..at + 8]).unwrap();
    Some(match Opcode(header.opcode) {
        Forget::OPCODE | BatchForget::OPCODE | Interrupt::OPCODE => return None,
        Read::OPCODE => {
            let size = number(16) as u32;
            assert_eq!(room, OutHeader::BYTES + size as usize);
            let data: Vec<u8> = (number(8)..).take(size as usize).map(byte_at).collect();
            reply(header.unique, 0, &data)
        }
        Getattr::OPCODE => {
            let mut body = [0; 104];
            // mode: a regular file.
            body[16 + 60..16 + 64].copy_from_slice(&0o100_644_u32.to_ne_bytes());
            reply(header.unique, 0, &body)
        }
        Init::OPCODE => {
            let init = InitReply {
                major: 7,
                minor: 38,
                flags: InitFlags::MAX_PAGES.bits() as u32,
                max_write: 1 << 20,
                max_pages: 256,
                ..InitReply::new_zeroed()
            };
            reply(header.unique, 0, init.as_bytes())
        }
        Release::OPCODE => reply(header.unique, 0, &[]),
        _ => reply(header.unique, -38, &[]),
    })
}

fn header<O: Operation>(unique: u64) -> InHeader {
    InHeader::new(O::OPCODE, NodeId(2), Unique(unique))
}

fn start<M: DeviceMemory>(fake: &Arc<FakeDevice<M>>, options: &DeviceOptions) -> Result<Device<M>, Error> {
    Device::new(Box::new(FakeTransport(fake.clone())), fake.clone(), options)
}

fn device<M: DeviceMemory>(build: Build) -> (Arc<FakeDevice<M>>, Device<M>) {
    let fake = FakeDevice::new(build, Box::new(answer));
    let device = start(&fake, &DeviceOptions::default()).unwrap();
    (fake, device)
}

/// Reads `buffer` from `offset` on in requests of `unit` bytes, and checks what comes.
fn read_and_check(device: &dyn Channel, offset: u64, buffer: &mut [u8], unit: usize) -> Vec<Result<usize, Error>> {
    buffer.fill(0xee);
    let count = buffer.len().div_ceil(unit);
    let mut results = std::vec![Err(Error::Invalid(Errno::EAGAIN)); count];
    let mut requests = buffer.chunks_mut(unit).enumerate().map(|(place, chunk)| {
        let at = offset + (place * unit) as u64;
        let read = Read { fh: FileHandle(1), offset: at, size_bytes: chunk.len() as u32, flags: OpenFlags::empty() };
        Request::new(header::<Read>(2 + 2 * place as u64), &read, &[], chunk)
    });
    device.exchange(&mut requests, &mut |place, reply| results[place] = reply.map(|reply| reply.data_bytes));
    for (place, (chunk, result)) in buffer.chunks(unit).zip(&results).enumerate() {
        if let Ok(bytes) = result {
            assert_eq!(*bytes, chunk.len());
            let expected = (offset + (place * unit) as u64..).map(byte_at);
            assert!(chunk.iter().copied().zip(expected).all(|(a, b)| a == b), "wrong bytes in request {place}");
        }
    }
    results
}

/// One GETATTR.
fn getattr(device: &dyn Channel) -> Result<(), Error> {
    let mut result = Err(Error::Invalid(Errno::EAGAIN));
    let request = Request::new(header::<Getattr>(2), &Getattr { fh: None }, &[], &mut []);
    device.exchange(&mut core::iter::once(request), &mut |_, reply| result = reply.map(|_| ()));
    result
}

const RELEASE: Release = Release { fh: FileHandle(1), flags: OpenFlags::empty(), flock_owner: None };

/// One RELEASE, with this number, for which nobody waits.
fn release(device: &dyn Channel, unique: u64) -> Result<(), Error> {
    device.send_detached(&Request::new(header::<Release>(unique), &RELEASE, &[], &mut []))
}
