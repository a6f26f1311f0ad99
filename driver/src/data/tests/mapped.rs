//! Extents of the DAX window, without a server: who asked for them hands them in, when others may have done so meanwhile.

use super::*;
use crate::virtio::SharedMemory;

const MIB: u64 = 1 << 20;
const ALWAYS: Instant = Instant(Duration::MAX);

fn window() -> Arc<Window> {
    Arc::new(Window::new(Arc::new(SharedMemory::owned(32 << 20)), 4096).unwrap())
}

/// A file of 8 MiB that is taken to end there, and a window of 32 MiB.
fn mappable() -> (File, Arc<Window>) {
    let file = File::with_end(&pattern(8 * MIB as usize));
    let window = window();
    assert_eq!(next(&file, &window, 0), Next::FindEnd);
    file.data.end_checked(8 * MIB, ALWAYS);
    (file, window)
}

/// What is to be done for who reads a MiB from here on.
fn next(file: &File, window: &Arc<Window>, offset: u64) -> Next {
    let wanted = Wanted { offset, bytes: MIB, is_sequential: false, is_write: false };
    file.data.next_mapping(window, &wanted, NOW)
}

/// Maps a range in a new place, for reading.
fn map(file: &File, window: &Arc<Window>, offset: u64, length: u64) {
    let place = window.take(length, Reclaim::Unused).unwrap();
    let cuts = file.data.about_to_map(window);
    assert!(file.data.put_extent(window, offset, place, false, cuts));
}

/// The file is cut off after a MiB.
fn cut(file: &mut File) {
    let changing = file.data.begin_cut(MIB);
    file.server.truncate(MIB as usize);
    file.data.end_change(changing, &Change::Resized(MIB), || true);
}

/// How many bytes are copied from what is mapped here.
fn read_mapped(file: &File, offset: u64) -> usize {
    file.data.read_mapped(offset, &mut [0; 10], NOW).unwrap()
}

#[test]
fn an_extent_that_another_one_came_upon_meanwhile_does_not_come_up_again() {
    for (first, second) in [((0, 8), (2, 2)), ((2, 2), (0, 8)), ((0, 4), (2, 4)), ((2, 4), (0, 4)), ((2, 4), (2, 2))] {
        let (mut file, window) = mappable();
        map(&file, &window, first.0 * MIB, first.1 * MIB);
        map(&file, &window, second.0 * MIB, second.1 * MIB);
        assert_eq!(window.mapped(), (1, second.1 * MIB), "{first:?}, {second:?}");
        let seen: Vec<_> = (0..8).map(|at| read_mapped(&file, at * MIB)).collect();
        // What is not mapped is kept in pages.
        for (at, _) in (0..).zip(&seen).filter(|(_, bytes)| **bytes == 0) {
            file.write_later(Some(at * MIB), b"written").unwrap();
        }
        // It is taken away to be mapped for writing.
        let wanted = Wanted { offset: 2 * MIB, bytes: MIB, is_sequential: false, is_write: true };
        assert!(matches!(file.data.next_mapping(&window, &wanted, NOW), Next::Upgrade { .. }));
        for (at, before) in (0..).zip(seen) {
            assert!(read_mapped(&file, at * MIB) <= before, "{first:?}, {second:?}: {at} MiB");
        }
    }
}

#[test]
fn what_was_cut_off_while_a_mapping_was_asked_for_is_not_looked_at_there() {
    for is_flushed in [false, true] {
        let (mut file, window) = mappable();
        let place = window.take(4 * MIB, Reclaim::Unused).unwrap();
        let cuts = file.data.about_to_map(&window);
        cut(&mut file);
        // The file is longer than what is mapped, of which the server does not know yet.
        file.write_later(Some(6 * MIB), b"far").unwrap();
        if is_flushed {
            file.flush();
        }
        assert!(!file.data.put_extent(&window, 0, place, true, cuts));
        file.write_later(Some(7 * MIB), b"far").unwrap();
        assert_eq!((read_mapped(&file, 2 * MIB), window.mapped()), (0, (0, 0)), "{is_flushed}");
    }
}

#[test]
fn what_was_cut_off_while_a_program_asked_for_a_mapping_is_not_looked_at_there() {
    let mut file = File::with_end(&pattern(8 * MIB as usize));
    let window = window();
    file.data.about_to_map(&window);
    cut(&mut file);
    file.write_later(Some(6 * MIB), b"far").unwrap();
    assert!(file.data.pin(&window, &(0..4 * MIB)));
    let looks = |file: &File, end| file.data.while_it_reaches(end, None, || Ok(())).unwrap().is_ok();
    assert!(looks(&file, MIB) && !looks(&file, 2 * MIB));
    file.flush();
    assert!(looks(&file, 2 * MIB));
    file.data.unpin(&(0..4 * MIB));
}

#[test]
fn a_mapping_that_was_cut_off_is_not_looked_at_because_another_one_is_made() {
    let mut file = File::with_end(&pattern(8 * MIB as usize));
    let window = window();
    file.data.about_to_map(&window);
    assert!(file.data.pin(&window, &(0..4 * MIB)));
    cut(&mut file);
    file.data.end_checked(MIB, ALWAYS);
    file.data.about_to_map(&window);
    assert!(file.data.pin(&window, &(0..MIB)));
    file.write_later(Some(6 * MIB), b"far").unwrap();
    let looks = |end| file.data.while_it_reaches(end, None, || Ok(())).unwrap().is_ok();
    assert!(looks(MIB) && !looks(2 * MIB));
    file.data.unpin(&(0..4 * MIB));
    file.data.unpin(&(0..MIB));
}

#[test]
fn nobody_looks_into_a_mapping_when_the_end_is_in_doubt_and_something_is_unwritten() {
    let mut file = File::with_end(&pattern(8 * MIB as usize));
    let window = window();
    file.data.about_to_map(&window);
    assert!(file.data.pin(&window, &(0..4 * MIB)));
    file.write_later(Some(6 * MIB), b"far").unwrap();
    let (first, second) = (file.data.begin_cut(MIB), file.data.begin_cut(u64::MAX));
    file.data.end_change(first, &Change::Resized(MIB), || true);
    file.data.end_change(second, &Change::Unknown(0..10), || true);
    assert!(file.data.while_it_reaches(2 * MIB, None, || Ok(())).unwrap().is_err());
    file.data.unpin(&(0..4 * MIB));
}

/// It may be older than what was stored into the mapping.
#[test]
fn what_a_read_brings_that_was_under_way_when_a_mapping_went_is_not_kept() {
    let mut file = File::with_end(&pattern(8 * MIB as usize));
    let window = window();
    file.data.about_to_map(&window);
    assert!(file.data.pin(&window, &(0..4 * MIB)));
    let unpin = |data: &FileData, _: &mut Vec<u8>, _: &mut [&mut [u8]], filled| {
        data.unpin(&(0..4 * MIB));
        Ok(filled)
    };
    file.read_with(0, 10, unpin).unwrap();
    assert!(!file.data.holds(0));
    map(&file, &window, 0, 2 * MIB);
    let reclaim = |_: &FileData, _: &mut Vec<u8>, _: &mut [&mut [u8]], filled| {
        while window.mapped().0 > 0 {
            window.take(32 << 20, Reclaim::Unused);
        }
        Ok(filled)
    };
    file.read_with(0, 10, reclaim).unwrap();
    assert!(!file.data.holds(0));
    file.read(0, 10);
    assert!(file.data.holds(0));
}
