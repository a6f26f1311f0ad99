//! The window in front of a front end made by hand: messages as bytes, answered as the test says.

use super::*;
use crate::regions::TABLE;
use crate::version_table::{self, Size, Target};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;
use virtio_fs_version_table::Flags;

const PAGE: u64 = 4096;
/// Nothing takes this long but what hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A front end that tells of each message, and answers it when the test has said how.
struct FrontEnd {
    messages: Receiver<String>,
    answers: SyncSender<u64>,
}

impl FrontEnd {
    /// `size_of` is a file whose size is told with each map.
    fn start(barrier: bool, size_of: Option<Arc<File>>) -> (Self, Backend) {
        let (mut socket, other) = UnixStream::pair().unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let (heard, messages) = mpsc::channel();
        let (answers, to_say) = mpsc::sync_channel::<u64>(100);
        std::thread::spawn(move || {
            let mut header = [0; 12];
            // Until the other end, or the test, is gone. A descriptor that comes along is closed by the kernel.
            while socket.read_exact(&mut header).is_ok() {
                let [request, flags, size] = std::array::from_fn(|place| word(&header, place));
                let mut body = vec![0; size as usize];
                socket.read_exact(&mut body).unwrap();
                assert_eq!(flags & 8, 8, "an answer is needed");
                let page = |place: usize| u64::from_le_bytes(body[8 * place..][..8].try_into().unwrap()) / PAGE;
                let region = if body.first() == Some(&TABLE) { " of the table" } else { "" };
                let text = match request {
                    9 => format!("map {}+{} from {} {}", page(2), page(3), page(1), body[32]) + region,
                    10 => format!("unmap {}+{}", page(2), page(3)) + region,
                    7 => "barrier".into(),
                    other => panic!("message {other}"),
                };
                let size = size_of.as_ref().map(|file| format!(" of {}", file.metadata().unwrap().len()));
                let _ = heard.send(text + &size.unwrap_or_default());
                let Ok(answer) = to_say.recv() else { return };
                let _ = socket.write_all(&[&header[..4], &[5, 0, 0, 0, 8, 0, 0, 0], &answer.to_le_bytes()].concat());
            }
        });
        let back_end = Backend::from_stream(other);
        back_end.set_reply_ack_flag(true);
        back_end.set_shmem_flag(true);
        back_end.set_shared_object_flag(barrier);
        (Self { messages, answers }, back_end)
    }

    /// Answers that much.
    fn will_say(&self, answers: &[u64]) {
        answers.iter().for_each(|answer| self.answers.send(*answer).unwrap());
    }

    fn hears(&self) -> String {
        self.messages.recv_timeout(PATIENCE).expect("no message came")
    }

    /// What has come until now.
    fn has_heard(&self) -> Vec<String> {
        self.messages.try_iter().collect()
    }
}

fn word(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes(bytes[4 * place..][..4].try_into().unwrap())
}

fn file(pages: u64) -> Arc<File> {
    let file = File::from(rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    file.set_len(pages * PAGE).unwrap();
    Arc::new(file)
}

fn rules(max_maps: usize) -> Rules {
    Rules { max_maps, past_eof: None, statistics: Arc::default(), table: None }
}

fn open(barrier: bool) -> (FrontEnd, Window) {
    let (front_end, channel) = FrontEnd::start(barrier, None);
    (front_end, Window::open(channel, rules(100)).unwrap())
}

/// The part of a file from a page on.
fn part(file: &Arc<File>, page: u64, pages: u64) -> Extent {
    Extent {
        length: pages * PAGE,
        file: Mapped { file: file.clone(), mark: None },
        file_offset: page * PAGE,
        writable: true,
    }
}

fn live(rules: &Rules) -> (u64, u64) {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    (of(&rules.statistics.maps_live), of(&rules.statistics.bytes_live))
}

/// Waits until something holds, since the keeper goes on after who waited for it was let go.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn maps_are_followed_by_a_barrier_and_replacements_keep_the_remainders() {
    let (front_end, window) = open(true);
    let (first, second) = (file(10), file(10));
    front_end.will_say(&[0; 20]);
    window.map(0, part(&first, 4, 3)).unwrap();
    assert_eq!(front_end.has_heard(), ["map 0+3 from 4 1", "barrier"]);
    window.map(PAGE, Extent { writable: false, ..part(&second, 0, 1) }).unwrap();
    let expected = ["unmap 0+3", "map 1+1 from 0 0", "map 0+1 from 4 1", "map 2+1 from 6 1", "barrier"];
    assert_eq!(front_end.has_heard(), expected);
    window.unmap(vec![(PAGE, PAGE), (5 * PAGE, PAGE)]).unwrap();
    assert_eq!(front_end.has_heard(), ["unmap 1+1"], "who takes away waits for no processor");
    window.unmap_all().unwrap();
    assert_eq!(front_end.has_heard(), ["unmap 0+1", "unmap 2+1"]);
}

#[test]
fn what_remains_after_a_removal_is_mapped_again_before_the_barrier() {
    let (front_end, window) = open(true);
    front_end.will_say(&[0; 10]);
    window.map(0, part(&file(3), 0, 3)).unwrap();
    front_end.has_heard();
    window.unmap(vec![(0, 2 * PAGE)]).unwrap();
    assert_eq!(front_end.has_heard(), ["unmap 0+3", "map 2+1 from 2 1", "barrier"]);
}

#[test]
fn a_refused_barrier_is_one_and_a_front_end_without_shared_objects_needs_none() {
    let (front_end, window) = open(true);
    front_end.will_say(&[0, 1]);
    assert_eq!(window.map(0, part(&file(1), 0, 1)), Ok(()));
    let (front_end, window) = open(false);
    front_end.will_say(&[0]);
    assert_eq!(window.map(0, part(&file(1), 0, 1)), Ok(()));
    assert_eq!(front_end.has_heard(), ["map 0+1 from 0 1"]);
}

#[test]
fn a_refused_map_is_not_live_and_what_was_around_it_is_again() {
    let (front_end, channel) = FrontEnd::start(false, None);
    let rules = rules(100);
    let window = Window::open(channel, rules.clone()).unwrap();
    let file = file(4);
    front_end.will_say(&[0, 0, 1, 0, 0]);
    window.map(0, part(&file, 0, 3)).unwrap();
    assert_eq!(window.map(PAGE, part(&file, 3, 1)), Err(Errno::IO));
    assert_eq!(live(&rules), (2, 2 * PAGE));
    front_end.has_heard();
    front_end.will_say(&[0]);
    window.map(PAGE, part(&file, 3, 1)).unwrap();
    assert_eq!(front_end.has_heard(), ["map 1+1 from 3 1"], "nothing was in the way");
    front_end.will_say(&[1, 0]);
    window.map(PAGE, part(&file, 0, 1)).unwrap();
    assert_eq!(front_end.has_heard(), ["unmap 1+1", "map 1+1 from 0 1"], "what cannot be unmapped is not there");
}

#[test]
fn there_are_no_more_extents_than_allowed() {
    let (front_end, channel) = FrontEnd::start(false, None);
    let window = Window::open(channel, rules(2)).unwrap();
    let file = file(8);
    front_end.will_say(&[0; 10]);
    window.map(0, part(&file, 0, 1)).unwrap();
    window.map(PAGE, part(&file, 0, 3)).unwrap();
    assert_eq!(window.map(4 * PAGE, part(&file, 0, 1)), Err(Errno::NOSPC));
    assert_eq!(window.map(2 * PAGE, part(&file, 0, 1)), Err(Errno::NOSPC), "it would become four");
    assert_eq!(window.unmap(vec![(2 * PAGE, PAGE)]), Err(Errno::NOSPC), "it would become three");
    front_end.has_heard();
    window.map(0, part(&file, 1, 1)).unwrap();
    assert_eq!(front_end.has_heard(), ["unmap 0+1", "map 0+1 from 1 1"]);
}

#[test]
fn a_file_that_is_too_short_is_not_mapped_and_nothing_is_unmapped_for_it() {
    let (front_end, window) = open(false);
    let file = file(2);
    front_end.will_say(&[0; 3]);
    window.map(0, part(&file, 0, 2)).unwrap();
    front_end.has_heard();
    file.set_len(2 * PAGE - 1).unwrap();
    assert_eq!(window.map(0, part(&file, 1, 1)), Err(Errno::NXIO));
    assert_eq!(front_end.has_heard(), [""; 0]);
}

#[test]
fn a_file_is_long_enough_only_while_it_is_mapped() {
    let file = file(1);
    let (front_end, channel) = FrontEnd::start(false, Some(file.clone()));
    let sizes = Arc::new(RwLock::new(()));
    let rules = Rules { past_eof: Some(sizes.clone()), ..rules(100) };
    let window = Window::open(channel, rules).unwrap();
    front_end.will_say(&[0]);
    // Who serves a request that depends on the size is not disturbed.
    let held = sizes.read().unwrap();
    std::thread::scope(|scope| {
        let mapped = scope.spawn(|| window.map(0, part(&file, 0, 8)));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!((front_end.has_heard(), file.metadata().unwrap().len()), (vec![], PAGE));
        drop(held);
        assert_eq!(mapped.join().unwrap(), Ok(()));
    });
    assert_eq!(front_end.has_heard(), ["map 0+8 from 0 1 of 32768"]);
    assert_eq!(file.metadata().unwrap().len(), PAGE);
}

#[test]
fn who_waits_is_let_go_when_a_queue_stops_and_what_came_of_it_is_known() {
    let (front_end, window) = open(false);
    let file = file(4);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| window.map(0, part(&file, 0, 1)));
        assert_eq!(front_end.hears(), "map 0+1 from 0 1");
        let stop = window.stop_waiting();
        assert_eq!(waits.join().unwrap(), Err(Errno::IO));
        assert_eq!(window.unmap(vec![(0, PAGE)]), Err(Errno::IO), "nobody comes to wait either");
        drop(stop);
        front_end.will_say(&[0; 3]);
        window.map(0, part(&file, 2, 1)).unwrap();
        assert_eq!(front_end.has_heard(), ["unmap 0+1", "map 0+1 from 2 1"]);
    });
}

#[test]
fn a_reset_makes_all_be_forgotten_and_closes_the_files() {
    let (front_end, channel) = FrontEnd::start(false, None);
    let rules = rules(100);
    let window = Window::open(channel, rules.clone()).unwrap();
    let file = file(4);
    front_end.will_say(&[0; 2]);
    window.map(0, part(&file, 0, 1)).unwrap();
    window.forget();
    eventually("the file is closed", || Arc::strong_count(&file) == 1);
    eventually("nothing is live", || live(&rules) == (0, 0));
    front_end.has_heard();
    window.map(0, part(&file, 0, 1)).unwrap();
    assert_eq!(front_end.has_heard(), ["map 0+1 from 0 1"], "nothing was in the way");
}

#[test]
fn what_a_reset_has_left_is_unmapped_when_it_is_in_the_way() {
    let (front_end, window) = open(false);
    let file = file(4);
    front_end.will_say(&[0; 3]);
    (0..3).for_each(|page| window.map(page * PAGE, part(&file, 0, 1)).unwrap());
    front_end.has_heard();
    window.forget();
    // There was no reset.
    front_end.will_say(&[1, 0, 0]);
    window.map(PAGE, part(&file, 3, 1)).unwrap();
    assert_eq!(front_end.has_heard(), ["map 1+1 from 3 1", "unmap 1+1", "map 1+1 from 3 1"]);
    // There was one; and what is mapped has taken its place for good.
    front_end.will_say(&[0, 0, 1]);
    window.map(0, part(&file, 3, 1)).unwrap();
    assert_eq!(window.map(0, part(&file, 2, 1)), Err(Errno::IO));
    assert_eq!(front_end.has_heard(), ["map 0+1 from 3 1", "unmap 0+1", "map 0+1 from 2 1"]);
}

#[test]
fn what_is_mapped_while_the_device_is_reset_is_unmapped() {
    let (front_end, window) = open(false);
    let file = file(4);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| window.map(0, part(&file, 0, 1)));
        assert_eq!(front_end.hears(), "map 0+1 from 0 1");
        // The front end resets first, and maps then.
        window.forget();
        front_end.will_say(&[0, 0]);
        assert_eq!(waits.join().unwrap(), Err(Errno::IO));
        assert_eq!(front_end.hears(), "unmap 0+1");
    });
}

#[test]
fn nobody_waits_for_a_front_end_that_is_gone() {
    let (front_end, window) = open(true);
    let file = file(4);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| window.map(0, part(&file, 0, 1)));
        front_end.hears();
        // It hangs up without an answer.
        drop(front_end);
        assert_eq!(waits.join().unwrap(), Err(Errno::IO));
    });
    assert_eq!(window.map(0, part(&file, 0, 1)), Err(Errno::IO));
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn nobody_waits_for_a_front_end_that_only_closed_its_connection() {
    let (front_end, window) = open(true);
    let file = file(4);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| window.map(0, part(&file, 0, 1)));
        front_end.hears();
        window.close();
        assert_eq!(waits.join().unwrap(), Err(Errno::IO));
        assert_eq!(window.unmap_all(), Err(Errno::IO));
    });
}

#[test]
fn a_window_that_ends_late_does_not_count_for_the_next_one() {
    let rules = rules(100);
    let connect = || {
        let (front_end, channel) = FrontEnd::start(false, None);
        (front_end, Window::open(channel, rules.clone()).unwrap())
    };
    let (first_front_end, first) = connect();
    let pages = file(10);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| first.map(0, part(&pages, 0, 1)));
        assert_eq!(first_front_end.hears(), "map 0+1 from 0 1");
        first.close();
        assert_eq!(waiting.join().unwrap(), Err(Errno::IO));
    });
    let ended = Arc::downgrade(&first.shared);
    drop(first);
    let (second_front_end, second) = connect();
    second_front_end.will_say(&[0; 3]);
    second.map(0, part(&pages, 0, 2)).unwrap();
    assert_eq!(live(&rules), (1, 2 * PAGE));
    first_front_end.will_say(&[0; 2]);
    eventually("the first window's thread ends", || ended.strong_count() == 0);
    assert_eq!(live(&rules), (1, 2 * PAGE));
}

fn table() -> Arc<VersionTable> {
    Arc::new(version_table::open(&Target::Private(Size::fitting(8192).unwrap()), Flags::empty()).unwrap())
}

fn open_with(table: &Arc<VersionTable>) -> (FrontEnd, Window) {
    let (front_end, channel) = FrontEnd::start(true, None);
    (front_end, Window::open(channel, Rules { table: Some(table.clone()), ..rules(100) }).unwrap())
}

#[test]
fn the_table_is_shown_once_until_a_reset_and_what_is_left_of_it_then_is_unmapped_first() {
    let (front_end, window) = open_with(&table());
    front_end.will_say(&[0; 2]);
    assert_eq!(window.show_table(), Ok(()));
    assert_eq!(window.show_table(), Ok(()));
    assert_eq!(front_end.has_heard(), ["map 0+2 from 0 0 of the table", "barrier"]);
    window.forget();
    front_end.will_say(&[0; 2]);
    assert_eq!(window.show_table(), Ok(()));
    assert_eq!(front_end.has_heard(), ["map 0+2 from 0 0 of the table", "barrier"]);
    // It was no reset: the front end refuses what is in the way of what it has.
    window.forget();
    front_end.will_say(&[1, 0, 0, 0]);
    assert_eq!(window.show_table(), Ok(()));
    let again = ["map 0+2 from 0 0 of the table", "unmap 0+2 of the table", "map 0+2 from 0 0 of the table", "barrier"];
    assert_eq!(front_end.has_heard(), again);
    window.forget();
    front_end.will_say(&[1; 3]);
    assert_eq!(window.show_table(), Err(Errno::IO));
    // Without a table there is nothing to show.
    assert_eq!(open(true).1.show_table(), Ok(()));
}

#[test]
fn what_may_still_be_mapped_stays_marked_until_a_reset() {
    use std::os::unix::fs::FileExt;
    use virtio_fs_version_table::{Key, MARKED};
    let table = table();
    let is_marked = || {
        let mut version = [0; 8];
        let slot = Key::content(7).hash() >> (64 - 9);
        table.file().read_exact_at(&mut version, 4096 + 8 * slot).unwrap();
        u64::from_le_bytes(version) == MARKED
    };
    let marked = |pages| {
        let extent = part(&file(10), 0, pages);
        Extent { file: Mapped { mark: Some(Arc::new(Mark::new(&table, 7))), ..extent.file }, ..extent }
    };
    // A front end that is not heard any more while it maps, and one while it unmaps.
    for is_mapped in [false, true] {
        let (front_end, window) = open_with(&table);
        if is_mapped {
            front_end.will_say(&[0; 2]);
            assert_eq!(window.map(0, marked(2)), Ok(()));
        }
        std::thread::scope(|scope| {
            let last = scope.spawn(|| match is_mapped {
                false => window.map(0, marked(2)),
                true => window.unmap(vec![(0, 2 * PAGE)]),
            });
            while !front_end.hears().ends_with(if is_mapped { "unmap 0+2" } else { "from 0 1" }) {}
            drop(front_end);
            assert_eq!(last.join().unwrap(), Err(Errno::IO));
        });
        assert!(is_marked());
        window.forget();
        eventually("the mark is gone", || !is_marked());
    }
    // One that refuses has not mapped it.
    let (front_end, window) = open_with(&table);
    front_end.will_say(&[1, 0]);
    assert_eq!(window.map(0, marked(2)), Err(Errno::IO));
    assert!(!is_marked());
}
