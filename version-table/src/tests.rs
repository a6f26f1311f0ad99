extern crate alloc;

use super::*;
use crate::atomic::{AtomicU64, Ordering};
use alloc::vec::Vec;
use core::num::NonZeroU64;

const EPOCH: NonZeroU64 = NonZeroU64::new(7).unwrap();
const HERE: Key = Key::attributes(1);

fn memory(words: usize) -> Vec<AtomicU64> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

fn table() -> Table<Vec<AtomicU64>> {
    Table::create(memory(words_for(9)), 9, Flags::FANOTIFY, EPOCH).unwrap()
}

fn never(_: &dyn Fn()) {
    panic!("nothing is marked");
}

#[test]
fn a_table_is_found_where_one_was_made() {
    let words = memory(words_for(10) + 5);
    let made = Table::create(&words[..], 10, Flags::INOTIFY, EPOCH).unwrap();
    made.beat();
    let found = Table::open(&words[..]).unwrap();
    assert_eq!((found.log2_slots(), found.epoch(), found.heartbeat()), (10, 7, 1));
    assert!(found.flags().intersects(Flags::INOTIFY) && !found.flags().intersects(Flags::FANOTIFY));
    assert_eq!(words[0].load(Ordering::Relaxed).to_le_bytes(), *b"VFSVERT1");
    assert_eq!(found.slot(HERE), HERE.slot(10));
}

#[test]
fn what_is_no_table_is_not_taken_for_one() {
    for length in [0, 1, 511, 512, words_for(9) - 1] {
        assert_eq!(Table::open(&table_words()[..length]).unwrap_err(), Unfit::TooSmall, "{length}");
    }
    let wrong = [
        (0, 0, Unfit::Magic),
        (0, u64::from_le_bytes(*b"VFSVERT2"), Unfit::Magic),
        (1, 0, Unfit::Layout),
        (1, 2, Unfit::Layout),
        (2, 8, Unfit::Header),
        (2, 33, Unfit::Header),
        (2, u64::MAX, Unfit::Header),
        (2, 1 << 32 | 9, Unfit::Header),
        (2, 10, Unfit::TooSmall),
        (2, 32, Unfit::TooSmall),
        (4, 0, Unfit::Header),
    ];
    for (at, value, why) in wrong {
        let words = table_words();
        words[at].store(value, Ordering::Relaxed);
        assert_eq!(Table::open(&words[..]).unwrap_err(), why, "{at}: {value:#x}");
    }
    assert_eq!(Table::create(memory(words_for(9)), 8, Flags::empty(), EPOCH).unwrap_err(), Unfit::Header);
    assert_eq!(Table::create(memory(words_for(9)), 10, Flags::empty(), EPOCH).unwrap_err(), Unfit::TooSmall);
}

fn table_words() -> Vec<AtomicU64> {
    let words = memory(words_for(9));
    Table::create(&words[..], 9, Flags::empty(), EPOCH).unwrap();
    words
}

#[test]
fn what_was_asked_for_before_a_change_is_not_valid_after_it_and_all_else_is() {
    let table = table();
    let (here, other) = (table.slot(HERE), table.slot(Key::content(1)));
    let before = table.sample().clock;
    assert!(table.is_valid(here, before));
    assert_eq!(table.publish(&[HERE], never), 1);
    assert!(!table.is_valid(here, before));
    assert!(table.is_valid(other, before));
    assert!(table.is_valid(here, table.sample().clock));
    assert_eq!(table.raise_floor(), 2);
    assert!(!table.is_valid(other, 1));
    assert!(table.is_valid(other, 2) && table.is_valid(here, 2));
    table.retire();
    assert!(!table.is_valid(here, u64::MAX - 1));
}

#[test]
fn nothing_is_valid_while_it_is_mapped_for_writing() {
    let table = table();
    let slot = table.slot(HERE);
    table.mark(slot);
    assert!(!table.is_valid(slot, 0) && !table.is_valid(slot, u64::MAX));
    assert_eq!(table.version(slot), MARKED);
    let mut is_locked = false;
    assert_eq!(table.publish(&[Key::content(5), HERE], |again| (is_locked, _) = (true, again())), 1);
    assert!(is_locked && table.version(slot) == MARKED);
    table.unmark(slot);
    assert_eq!(table.version(slot), 2, "larger than any before");
    assert!(table.sample().is_settled);
}

#[test]
fn a_change_that_finds_a_mark_is_not_lost_when_the_mark_is_taken_away() {
    let table = table();
    let slot = table.slot(HERE);
    table.mark(slot);
    // The mark goes after this change has its number, and before it gets the lock.
    let number = table.publish(&[HERE], |again| {
        table.unmark(slot);
        table.publish(&[HERE], never);
        again();
    });
    assert!(table.version(slot) >= number);
    table.mark(slot);
    table.word(table::at::CLOCK).store(100, Ordering::Relaxed);
    let number = table.publish(&[HERE], |again| {
        // As if another server, whose number was smaller, had unmarked it.
        table.version_word(slot).store(50, Ordering::Relaxed);
        again();
    });
    assert_eq!(table.version(slot), number);
}

#[test]
fn an_own_change_is_stamped_only_if_nobody_else_changed_anything() {
    let table = table();
    let sample = table.sample();
    assert_eq!(table.stamp_after_own(sample, 0), Some(0));
    table.publish(&[HERE], never);
    assert_eq!(table.stamp_after_own(sample, 1), Some(1));
    assert!(table.is_valid(table.slot(HERE), 1));
    table.publish(&[], never);
    assert_eq!(table.stamp_after_own(sample, 1), None, "somebody else may have changed it");
    assert_eq!(table.stamp_after_own(sample, 2), Some(2), "unless that was us, too");
    // Another server has a number and has yet to raise its slots.
    table.word(table::at::CLOCK).fetch_add(1, Ordering::Relaxed);
    let sample = table.sample();
    assert!(!sample.is_settled);
    table.publish(&[HERE], never);
    assert_eq!(table.stamp_after_own(sample, 1), None);
    let last = Sample { clock: u64::MAX, is_settled: true };
    assert_eq!(table.stamp_after_own(last, 1), None);
}
