//! The thread that maps and unmaps by the front end, one job after the other, and knows what is mapped.

use super::extents::Extents;
use super::past_eof::{Longer, Told};
use super::{Answer, Extent, Mapped, Rules, Shared};
use crate::regions::{PAGE_BYTES, TABLE, WINDOW};
use crate::version_table::Mark;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags, VhostUserSharedMsg};
use vhost::vhost_user::{Backend, Error, VhostUserFrontendReqHandler};
use vm_memory::ByteValued;

/// What the keeper is asked for. Offsets and lengths lie in the window.
pub(super) enum Job {
    Map(u64, Extent),
    Unmap(Vec<(u64, u64)>),
    UnmapAll,
    ShowTable,
    /// Only looks whether the device was reset.
    Look,
}

/// Why a message had no effect.
enum Failure {
    /// The front end said no.
    Refused,
    /// It cannot be talked to any more.
    Broken(io::Error),
}

pub(super) struct Keeper {
    front_end: Backend,
    rules: Rules,
    shared: Arc<Shared>,
    extents: Extents<Mapped>,
    /// Offset and length of what was mapped before a reset, and most likely is no more.
    ghosts: Vec<(u64, u64)>,
    /// Of what may still be mapped until the next reset: the front end did not say.
    doubtful: Vec<Arc<Mark>>,
    is_table_shown: bool,
    /// How many resets `extents` has seen.
    resets: u64,
    broken: bool,
    /// Extents and bytes that the statistics count as live of this window.
    counted: (u64, u64),
}

impl Keeper {
    pub(super) fn new(front_end: Backend, rules: Rules, shared: Arc<Shared>) -> Self {
        Self {
            front_end,
            rules,
            shared,
            extents: Extents::default(),
            ghosts: Vec::new(),
            doubtful: Vec::new(),
            is_table_shown: false,
            resets: 0,
            broken: false,
            counted: (0, 0),
        }
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(mut self, jobs: &Receiver<(Job, Answer)>) {
        while let Ok((job, answer)) = jobs.recv() {
            self.see_resets();
            let result = match self.broken {
                false => self.carry_out(job),
                true => {
                    // Its file is closed before it is said to be of no use.
                    drop(job);
                    Err(Errno::IO)
                }
            };
            self.count_live();
            let _ = answer.set(result);
            // Under the lock, so that nobody looks before and sleeps after this.
            drop(self.shared.state());
            self.shared.changed.notify_all();
        }
        self.extents.clear();
        self.count_live();
    }

    fn carry_out(&mut self, job: Job) -> Result<(), Errno> {
        match job {
            Job::Map(offset, extent) => {
                if self.rules.past_eof.is_none() && !reaches(&extent.file, end(&extent)?)? {
                    return Err(Errno::NXIO);
                }
                let result = self.clear(&[(offset, extent.length)], Some((offset, extent)));
                self.barrier()?;
                result
            }
            Job::Unmap(ranges) => {
                let mapped_again = self.rules.statistics.maps_made.load(Relaxed);
                let result = self.clear(&ranges, None);
                // Of what is gone nobody needs to hear in time.
                if self.rules.statistics.maps_made.load(Relaxed) != mapped_again {
                    self.barrier()?;
                }
                result
            }
            Job::UnmapAll => {
                for (offset, length) in self.extents.all() {
                    self.unmap(offset, length)?;
                }
                Ok(())
            }
            Job::ShowTable => self.show_table(),
            Job::Look => Ok(()),
        }
    }

    /// Clears ranges, and maps what then comes there, and what remained of others.
    ///
    /// There is a moment in which the remainders are not mapped: vhost-user has no message that would cut a mapping. The
    /// new extent comes first, so that this moment is the only one in which it can fail for its own reasons, and the
    /// remainders are put back all the same.
    fn clear(&mut self, ranges: &[(u64, u64)], new: Option<(u64, Extent)>) -> Result<(), Errno> {
        let mut result = Ok(());
        for &(start, length) in ranges {
            let clearance = self.extents.clearance(start, length);
            let after = self.extents.count() - clearance.unmap.len() + clearance.remap.len();
            if after + usize::from(new.is_some()) > self.rules.max_maps {
                return Err(Errno::NOSPC);
            }
            for (offset, length) in clearance.unmap {
                self.unmap(offset, length)?;
            }
            if let Some((offset, extent)) = &new {
                result = self.map(*offset, extent.clone());
            }
            for (offset, extent) in clearance.remap {
                // What its file has lost since, which nobody may look at, must not be the new one's failure.
                let Some(extent) = self.still_there(extent)? else { continue };
                if let Err(error) = self.map(offset, extent) {
                    log::error!("what remained of a mapping could not be mapped again: {error}");
                    result = result.and(Err(error));
                }
            }
        }
        result
    }

    /// An extent as far as its file still reaches, in whole pages.
    fn still_there(&self, extent: Extent) -> Result<Option<Extent>, Errno> {
        if self.rules.past_eof.is_some() {
            return Ok(Some(extent));
        }
        let size = u64::try_from(rustix::fs::fstat(&*extent.file)?.st_size).unwrap_or(0);
        let there = size.saturating_sub(extent.file_offset) / PAGE_BYTES * PAGE_BYTES;
        let length = extent.length.min(there);
        Ok((length > 0).then_some(Extent { length, ..extent }))
    }

    /// Maps where nothing is mapped.
    fn map(&mut self, offset: u64, extent: Extent) -> Result<(), Errno> {
        let end = end(&extent)?;
        let (held, file) = (self.rules.past_eof.clone(), extent.file.clone());
        let (_alone, _told, _longer) = match &held {
            Some(sizes) => {
                let alone = sizes.write().unwrap_or_else(PoisonError::into_inner);
                let longer = Longer::reach(&file, end).map_err(|error| errno(&error))?;
                let told = longer.is_some().then(|| Told::of(&file, self.rules.table.clone()));
                // Dropped in the reverse order of this pattern: the file is cut before others may look.
                (Some(alone), told, longer)
            }
            // QEMU refuses a range behind the end, but makes an empty file longer: it must not come to that.
            None if !reaches(&file, end)? => return Err(Errno::NXIO),
            None => (None, None, None),
        };
        let flags = if extent.writable { VhostUserMMapFlags::WRITABLE } else { VhostUserMMapFlags::empty() };
        let message = message(offset, extent.length, extent.file_offset, flags);
        let mut result = failure(self.front_end.shmem_map(&message, &*file));
        let ghosts = self.take_ghosts(offset, extent.length);
        if let (Err(Failure::Refused), false) = (&result, ghosts.is_empty()) {
            // The device was not reset after all.
            for (offset, length) in ghosts {
                self.unmap(offset, length)?;
            }
            result = failure(self.front_end.shmem_map(&message, &*file));
        }
        if self.resets != self.shared.resets.load(SeqCst) {
            // The front end may have mapped it after it had unmapped everything.
            let unmapped = failure(self.front_end.shmem_unmap(&message));
            self.see_resets();
            if let Err(Failure::Broken(_)) = unmapped {
                self.doubtful.extend(extent.file.mark);
            }
            return Err(Errno::IO);
        }
        if let Err(Failure::Broken(_)) = result {
            self.doubtful.extend(extent.file.mark.clone());
        }
        self.heard(&result)?;
        self.rules.statistics.maps_made.fetch_add(1, Relaxed);
        self.extents.insert(offset, extent);
        Ok(())
    }

    fn unmap(&mut self, offset: u64, length: u64) -> Result<(), Errno> {
        let message = message(offset, length, 0, VhostUserMMapFlags::empty());
        let result = failure(self.front_end.shmem_unmap(&message));
        if let Err(Failure::Refused) = result {
            // It has it no more: it may have reset the device and not said so.
            log::debug!("the front end has unmapped {length} bytes at {offset} already");
            self.extents.remove(offset);
            return Ok(());
        }
        self.heard(&result)?;
        self.extents.remove(offset);
        self.rules.statistics.maps_removed.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Makes sure that the guest sees what was mapped.
    ///
    /// QEMU acknowledges a map before its processors see it, and takes up the next message only when they do. So one
    /// more message that is acknowledged, and that has no effect, is waited for.
    fn barrier(&mut self) -> Result<(), Errno> {
        let mut unknown = VhostUserSharedMsg::default();
        // Nobody has announced an object by this name, so that it cannot be removed.
        unknown.as_mut_slice().copy_from_slice(b"virtio-fs window");
        match self.front_end.shared_object_remove(&unknown) {
            // The front end has no shared objects: it is none of QEMU's, and has mapped when it says so.
            Err(error) if vhost_error(&error).is_none() => return Ok(()),
            result => {
                if let broken @ Err(Failure::Broken(_)) = failure(result) {
                    self.heard(&broken)?;
                }
            }
        }
        self.rules.statistics.barriers.fetch_add(1, Relaxed);
        Ok(())
    }

    /// What is said of a message's failure.
    fn heard(&mut self, result: &Result<(), Failure>) -> Result<(), Errno> {
        if let Err(Failure::Broken(error)) = result {
            log::error!("the front end cannot be asked to map any more: {error}");
            self.broken = true;
            self.doubtful.extend(self.extents.files().filter_map(|file| file.mark.clone()));
            self.extents.clear();
        }
        if result.is_ok() { Ok(()) } else { Err(Errno::IO) }
    }

    fn see_resets(&mut self) {
        let resets = self.shared.resets.load(SeqCst);
        if self.resets != resets {
            self.resets = resets;
            self.ghosts.extend(self.extents.all());
            self.extents.clear();
            self.doubtful.clear();
            self.is_table_shown = false;
        }
    }

    /// Maps the version table, unless it is there.
    fn show_table(&mut self) -> Result<(), Errno> {
        let Some(table) = self.rules.table.clone().filter(|_| !self.is_table_shown) else {
            return Ok(());
        };
        // For reading, where the front end makes a difference.
        let message = VhostUserMMap { shmid: TABLE, ..message(0, table.bytes(), 0, VhostUserMMapFlags::empty()) };
        let mut result = failure(self.front_end.shmem_map(&message, table.file()));
        if let Err(Failure::Refused) = result {
            // The device was not reset after all, and it is still there; or there is another reason, which remains.
            let _ = self.front_end.shmem_unmap(&message);
            result = failure(self.front_end.shmem_map(&message, table.file()));
        }
        self.heard(&result)?;
        self.is_table_shown = true;
        self.barrier()
    }

    /// Takes the ghosts away that are in the way of a range.
    fn take_ghosts(&mut self, start: u64, length: u64) -> Vec<(u64, u64)> {
        let is_in_the_way = |ghost: &mut (u64, u64)| ghost.0 < start + length && start < ghost.0 + ghost.1;
        self.ghosts.extract_if(.., is_in_the_way).collect()
    }

    /// The keeper of the window before may still wait for its front end, and have more to count.
    fn count_live(&mut self) {
        let (maps, bytes) = (self.extents.count() as u64, self.extents.bytes());
        let before = std::mem::replace(&mut self.counted, (maps, bytes));
        // Wraps, so that what became less is subtracted.
        self.rules.statistics.maps_live.fetch_add(maps.wrapping_sub(before.0), Relaxed);
        self.rules.statistics.bytes_live.fetch_add(bytes.wrapping_sub(before.1), Relaxed);
    }
}

fn message(offset: u64, length: u64, file_offset: u64, flags: VhostUserMMapFlags) -> VhostUserMMap {
    VhostUserMMap {
        shmid: WINDOW,
        padding: [0; 7],
        fd_offset: file_offset,
        shm_offset: offset,
        len: length,
        flags: flags.bits(),
    }
}

fn end(extent: &Extent) -> Result<u64, Errno> {
    extent.file_offset.checked_add(extent.length).ok_or(Errno::INVAL)
}

/// Whether a file has at least `end` bytes.
fn reaches(file: &File, end: u64) -> Result<bool, Errno> {
    let status = rustix::fs::fstat(file)?;
    Ok(u64::try_from(status.st_size).is_ok_and(|size| size >= end))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn vhost_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn failure(result: io::Result<u64>) -> Result<(), Failure> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match vhost_error(&error) {
            Some(Error::FrontendInternalError) => Err(Failure::Refused),
            _ => Err(Failure::Broken(error)),
        },
    }
}
