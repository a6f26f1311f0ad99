//! A table that is not what it should be costs requests at worst.

use super::*;
use crate::test_utils::XorShift;
use core::sync::atomic::Ordering;

/// Places in the header, in numbers of 8 bytes.
const EPOCH: usize = 4;
const CLOCK: usize = 8;
const FLOOR: usize = 24;
const SLOTS: usize = 512;

fn set(mounted: &Mounted, at: usize, value: u64) {
    mounted.server(|server| server.version_table_words())[at].store(value, Ordering::SeqCst);
}

/// A mount whose server lets things be believed for three seconds.
fn mount_with_time() -> Mounted {
    mount_with(MountOptions::default(), |server| {
        server.add_version_table(LOG2_SLOTS);
        (server.options.entry_ttl, server.options.attr_ttl) = (3 * SECOND, 3 * SECOND);
    })
}

/// Everything is seen as it is, at the next call.
fn is_coherent(mounted: &Mounted) -> bool {
    mounted.stats("d/e/f");
    mounted.server(|server| server.attr_mut("d/e/f").uid += 1);
    let seen = mounted.fs.metadata("d/e/f").unwrap().attr().uid;
    seen == mounted.server(|server| server.attr("d/e/f").uid)
}

#[test]
fn what_is_no_table_is_not_used() {
    let wrong: [(usize, u64); 5] = [(0, 0), (1, 2), (2, 40), (2, 30), (EPOCH, 0)];
    for (at, value) in wrong {
        let mounted = mount_with(MountOptions::default(), |server| {
            server.add_version_table(LOG2_SLOTS).version_table_words()[at].store(value, Ordering::SeqCst);
        });
        assert_eq!(mounted.server(|server| server.opcodes().len()), 1, "nothing but INIT is asked");
        mounted.walk();
        assert_eq!(mounted.stats("d/g"), [opcode::LOOKUP; 2], "{at}: {value}");
        mounted.unmount();
    }
}

#[test]
fn while_nobody_tends_the_table_time_counts_and_nothing_is_believed_once_somebody_does_again() {
    let mounted = mount_with_time();
    assert!(is_coherent(&mounted));
    mounted.server(|server| {
        server.tend_version_table(false);
    });
    mounted.advance(SECOND);
    // What was cached, and what is asked for now.
    assert_eq!(mounted.stats("d/e/f"), NO_REQUESTS);
    assert!(!is_coherent(&mounted));
    mounted.stats("d/g");
    mounted.advance(SECOND);
    assert_eq!(mounted.stats("d/g"), NO_REQUESTS);
    mounted.advance(2 * SECOND);
    assert_eq!(mounted.stats("d/g"), [opcode::LOOKUP; 2]);
    mounted.reads("d/g");
    mounted.server(|server| {
        server.tend_version_table(true);
    });
    mounted.advance(SECOND);
    assert_eq!(mounted.stats("d/g"), [opcode::LOOKUP; 2], "nobody may have counted what changed");
    mounted.reads("d/g");
    assert!(is_coherent(&mounted));
    mounted.advance(3 * SECOND);
    assert_eq!(mounted.stats("d/g"), NO_REQUESTS);
    assert_eq!(mounted.reads("d/g").1, NO_REQUESTS);
    mounted.unmount();
}

#[test]
fn the_heartbeat_is_looked_at_once_a_second() {
    let mounted = mount_with_time();
    mounted.stats("d/g");
    mounted.server(|server| {
        server.tend_version_table(false);
    });
    for _ in 0..9 {
        mounted.advance(SECOND / 10);
        assert!(is_coherent(&mounted), "nobody has noticed");
    }
    mounted.advance(SECOND / 10);
    assert!(!is_coherent(&mounted));
    mounted.unmount();
}

#[test]
fn another_epoch_or_a_clock_that_runs_backwards_makes_everything_void() {
    for (at, value) in [(EPOCH, 0xabc), (CLOCK, 0)] {
        let mounted = mount_with_time();
        assert!(is_coherent(&mounted));
        set(&mounted, at, value);
        mounted.advance(SECOND);
        assert_eq!(mounted.stats("d/e/f"), [opcode::LOOKUP; 3]);
        assert_eq!(mounted.reads("d/e/f").0, b"content");
        // Slots that are ahead of the clock cost requests until it has come there.
        assert_eq!(mounted.stats("d/e/f").len(), usize::from(at == CLOCK));
        mounted.unmount();
    }
}

#[test]
fn behind_the_floor_nothing_is_believed() {
    let mounted = mount();
    mounted.walk();
    let clock = mounted.server(|server| server.version_table_words())[CLOCK].load(Ordering::SeqCst);
    set(&mounted, CLOCK, clock + 1);
    set(&mounted, FLOOR, clock + 1);
    assert_eq!(mounted.stats("d/e/f"), [opcode::LOOKUP; 3]);
    assert_eq!(mounted.reads("d/e/f").1, [opcode::OPEN, opcode::READ, opcode::RELEASE]);
    assert_eq!(mounted.stats("d/e/f"), NO_REQUESTS);
    // A table that is at its end is never believed again.
    set(&mounted, FLOOR, u64::MAX);
    assert_eq!(mounted.stats("d/e/f"), [opcode::LOOKUP; 3]);
    assert_eq!(mounted.stats("d/e/f"), [opcode::LOOKUP; 3]);
    mounted.unmount();
}

#[test]
fn a_clock_that_is_further_than_any_has_come_tells_nothing() {
    for clock in [1 << 48, u64::MAX - 1, u64::MAX] {
        let mounted = mount();
        set(&mounted, CLOCK, clock);
        mounted.walk();
        assert_eq!(mounted.stats("d/g"), [opcode::LOOKUP; 2]);
        assert_eq!(mounted.reads("d/e/f").0, b"content");
        mounted.fs.write("d/g", b"changed").unwrap();
        assert_eq!(mounted.reads("d/g").0, b"changed");
        mounted.unmount();
    }
}

#[test]
fn random_numbers_in_all_places_cost_requests_and_nothing_else() {
    let mut random = XorShift::new(0x7ab1e);
    for _ in 0..20 {
        let mounted = mount_with_time();
        for step in 0..20 {
            let words = mounted.server(|server| server.version_table_words());
            // Magic, layout and size were checked when it was found: all that is in the header may be looked at.
            for at in 0..1000 {
                let number = random.next_u64();
                let at = if at < SLOTS { at } else { SLOTS + random.next_u64() as usize % (1 << LOG2_SLOTS) };
                words[at].store(number >> (number % 64), Ordering::SeqCst);
            }
            mounted.advance(SECOND / 2);
            mounted.walk();
            mounted.fs.write("d/new", format!("{step}")).unwrap();
            mounted.fs.rename("d/new", "d/newer").unwrap();
            mounted.fs.create_dir("d/made").unwrap();
            mounted.fs.remove_dir("d/made").unwrap();
            mounted.fs.set_permissions("d/g", step).unwrap();
        }
        mounted.fs.remove_file("d/newer").unwrap();
        mounted.unmount();
    }
}

#[test]
fn a_reply_from_before_the_table_stood_still_does_not_tell_where_a_file_ends() {
    let mounted = mount();
    let file = mounted.fs.open("d/e/f").unwrap();
    mounted.server(|server| server.attr_mut("d/e/f").uid += 1);
    let open = |fs: &VirtioFs| fs.open("d/e/f").map(drop);
    let opened = mounted.overtake(opcode::GETATTR, open, |_| {
        for is_tended in [false, true] {
            mounted.server(|server| {
                server.tend_version_table(is_tended);
            });
            mounted.advance(SECOND);
            mounted.stats("d/g");
        }
        mounted.server(|server| {
            server.file("d/e/f", vec![b'b'; 20_000]);
        });
        assert_eq!(file.read_at(0, &mut [0; 10]), Ok(10));
    });
    opened.unwrap();
    assert_eq!(file.read_at(0, &mut [0; 10]), Ok(10));
    drop(file);
    mounted.unmount();
}
