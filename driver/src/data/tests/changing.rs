//! What local changes, and those of others, make of the pages.

use super::*;

#[test]
fn written_bytes_are_read_without_requests() {
    let mut file = File::with_end(&pattern(3 * PAGE_BYTES));
    file.all();
    file.asked();
    file.write(PAGE_BYTES - 3, b"across");
    file.write(3 * PAGE_BYTES - 1, b"!");
    let server = file.server.clone();
    assert_eq!(file.all(), server);
    assert_eq!(file.asked(), []);
}

#[test]
fn what_is_between_the_old_end_and_what_is_written_is_zero() {
    for (length, at) in [(100, 200), (100, 4096), (100, 5000), (PAGE_BYTES, PAGE_BYTES + 1), (10, 5 * PAGE_BYTES + 7)] {
        let mut file = File::with_end(&pattern(length));
        file.all();
        file.write(at, b"behind");
        let server = file.server.clone();
        assert_eq!(file.all(), server, "{length} {at}");
    }
}

#[test]
fn of_two_writes_under_way_together_neither_is_believed() {
    let mut file = File::with_end(&pattern(PAGE_BYTES));
    file.all();
    let (one, other) = (file.data.begin_cut(u64::MAX), file.data.begin_cut(u64::MAX));
    file.data.end_change(other, &Change::Written(5, b"other"), || true);
    file.data.end_change(one, &Change::Written(5, b"first"), || true);
    put(&mut file.server, 5, b"other");
    file.asked();
    assert_eq!(file.all()[5..10], *b"other");
    assert_eq!(file.asked().len(), 1);
    // Who comes after both is believed.
    file.write(5, b"third");
    assert_eq!(file.all()[5..10], *b"third");
    assert_eq!(file.asked(), []);
}

#[test]
fn of_two_writes_under_way_together_neither_is_believed_whichever_was_asked_for_first() {
    let mut file = File::with_end(&pattern(PAGE_BYTES));
    let (one, other) = (file.data.begin_cut(u64::MAX), file.data.begin_cut(u64::MAX));
    put(&mut file.server, 5, b"first");
    file.data.end_change(one, &Change::Written(5, b"first"), || true);
    // What is read now is what the server made of both.
    file.all();
    file.data.end_change(other, &Change::Written(5, b"other"), || true);
    assert_eq!(file.all()[5..10], *b"first");
}

#[test]
fn a_change_made_while_dirty_pages_are_written_is_not_believed() {
    let changes = [Change::Resized(0), Change::Written(0, b"other"), Change::Unknown(0..5)];
    for change in changes {
        let mut file = File::with_end(&[]);
        file.write_later(Some(0), b"dirty").unwrap();
        let batch = file.data.take_dirty(0, 1).unwrap().unwrap();
        let changing = file.data.begin_cut(u64::MAX);
        // The server makes this change first, and then writes.
        file.data.end_change(changing, &change, || true);
        put(&mut file.server, 0, b"dirty");
        file.data.end_batch(batch, Ok(()), || true);
        assert_eq!(file.flush(), []);
        assert_eq!(file.all(), b"dirty", "{change:?}");
    }
}

#[test]
fn nobody_appends_to_pages_while_somebody_appends_at_the_server() {
    let mut file = File::with_end(b"start");
    assert!(file.data.try_begin_append());
    assert!(!file.data.try_begin_append());
    assert_eq!(file.write_later(None, b"end"), Err(Need::Server));
    assert_eq!(file.write_later(Some(0), b"S"), Ok(0), "what is not appended is written");
    file.data.end_append();
    assert_eq!(file.write_later(None, b"end"), Ok(5));
}

#[test]
fn what_was_asked_for_before_a_change_is_not_kept() {
    let changes: [fn(&FileData); 5] = [
        |data| {
            let changing = data.begin_cut(u64::MAX);
            data.end_change(changing, &Change::Written(0, b"new"), || true);
        },
        |data| {
            let changing = data.begin_cut(u64::MAX);
            data.end_change(changing, &Change::Resized(PAGE), || true);
        },
        |data| {
            let changing = data.begin_cut(u64::MAX);
            data.end_change(changing, &Change::Unknown(0..10), || true);
        },
        |data| data.opened(version(8, PAGE_BYTES), false, || true),
        FileData::clear,
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut file = File::with_end(&pattern(PAGE_BYTES));
        file.read_with(0, PAGE_BYTES, |data, _, _, filled| {
            change(data);
            Ok(filled)
        })
        .unwrap();
        assert!(!file.data.has_pages(), "change {at}");
    }
}

#[test]
fn a_file_cut_off_and_made_longer_has_zeroes_there() {
    for (cut, length) in [(0, 10), (100, 200), (100, 2 * PAGE_BYTES), (PAGE_BYTES, 3 * PAGE_BYTES), (5000, 5001)] {
        let mut file = File::with_end(&pattern(3 * PAGE_BYTES));
        file.all();
        for size in [cut, length] {
            let changing = file.data.begin_cut(u64::MAX);
            file.server.resize(size, 0);
            file.data.end_change(changing, &Change::Resized(size as u64), || true);
        }
        let server = file.server.clone();
        assert_eq!(file.all(), server, "{cut} {length}");
    }
}

#[test]
fn pages_go_when_the_attributes_are_others_at_open() {
    let content = pattern(2 * PAGE_BYTES);
    let first = version(1, content.len());
    for (other, keeps) in [(first, true), (version(2, content.len()), false), (version(1, content.len() - 1), false)] {
        let mut file = File::new(&Arc::new(Pool::new(1 << 20)), &content);
        file.data.opened(first, false, || true);
        file.all();
        file.data.opened(other, false, || true);
        assert_eq!(file.data.has_pages(), keeps, "{other:?}");
    }
}

#[test]
fn pages_that_the_server_wants_kept_stay_when_the_attributes_are_others() {
    let content = pattern(2 * PAGE_BYTES);
    let mut file = File::new(&Arc::new(Pool::new(1 << 20)), &content);
    file.data.opened(version(1, content.len()), false, || true);
    file.all();
    file.asked();
    file.data.opened(version(2, content.len()), true, || true);
    assert_eq!(file.all(), content);
    assert_eq!(file.asked(), []);
    // It grew.
    let more = pattern(3 * PAGE_BYTES + 10);
    file.server = more.clone();
    file.data.opened(version(3, more.len()), true, || true);
    assert_eq!(file.all(), more);
    assert_eq!(file.asked(), [(2 * PAGE, PAGE_BYTES + 4096)]);
}

#[test]
fn a_file_that_shrank_and_keeps_its_pages_has_zeroes_where_it_grows_again() {
    let mut file = File::new(&Arc::new(Pool::new(1 << 20)), &pattern(3 * PAGE_BYTES));
    file.data.opened(version(1, 3 * PAGE_BYTES), false, || true);
    file.all();
    file.server.truncate(100);
    file.data.opened(version(2, 100), true, || true);
    file.write(200, b"behind");
    let server = file.server.clone();
    assert_eq!(file.all(), server);
    file.write(2 * PAGE_BYTES, b"far behind");
    let server = file.server.clone();
    assert_eq!(file.all(), server);
}

#[test]
fn dirty_pages_outlive_a_change_that_moves_the_end() {
    // Somebody writes into a page while the server makes the file longer.
    let mut file = File::with_end(&pattern(100));
    file.all();
    let changing = file.data.begin_cut(u64::MAX);
    put(&mut file.server, 299, &[0]);
    file.write_later(Some(50), b"dirty").unwrap();
    file.data.end_change(changing, &Change::Unknown(0..300), || true);
    let mut expected = pattern(100);
    expected[50..55].copy_from_slice(b"dirty");
    assert_eq!(file.read(0, 100), expected);
    file.flush();
    assert_eq!(file.server[..100], expected);
    assert_eq!(file.all().len(), 300);
}

#[test]
fn dirty_pages_are_read_and_written_once() {
    let mut file = File::with_end(&pattern(2 * PAGE_BYTES));
    file.write_later(Some(PAGE + 10), b"dirty").unwrap();
    assert_eq!(file.asked(), [(PAGE, PAGE_BYTES)], "the rest of the page");
    file.write_later(Some(0), &[5; PAGE_BYTES]).unwrap();
    file.write_later(None, b"the end").unwrap();
    assert_eq!(file.asked(), [], "what is written as a whole is not read");
    assert_eq!(file.server, pattern(2 * PAGE_BYTES));
    let content = file.read(0, 4 * PAGE_BYTES);
    assert_eq!(file.asked(), []);
    assert_eq!(file.flush(), [(0, PAGE_BYTES), (PAGE + 10, 5), (2 * PAGE, 7)]);
    assert_eq!(file.server, content);
    assert_eq!(file.flush(), []);
    assert!(!file.data.is_unwritten());
}

#[test]
fn dirty_pages_outlive_what_others_say_of_the_file() {
    let mut file = File::with_end(&pattern(PAGE_BYTES));
    file.write_later(Some(5), b"dirty").unwrap();
    file.data.opened(version(9, 3), false, || true);
    file.data.seen(version(9, 3), || true);
    file.data.clear();
    assert!(!file.data.pool.shrink_to(0));
    assert_eq!(file.read(5, 5), b"dirty");
    assert_eq!(file.data.eof(), Some(PAGE));
}

#[test]
fn a_page_may_be_written_to_while_it_is_on_its_way_to_the_server() {
    let mut file = File::with_end(b"");
    file.write_later(Some(0), b"first").unwrap();
    let batch = file.data.take_dirty(0, 64).unwrap().unwrap();
    file.write_later(Some(0), b"S").unwrap();
    assert_eq!(batch.pages().iter().map(Leaving::bytes).collect::<Vec<_>>(), [b"first"]);
    file.data.end_batch(batch, Ok(()), || true);
    assert!(file.data.is_unwritten());
    assert_eq!(file.flush(), [(0, 1)]);
    assert_eq!(file.read(0, 10), b"Sirst");
}

#[test]
fn why_a_page_could_not_be_written_is_told_to_who_was_there() {
    let mut file = File::with_end(b"");
    let before = file.data.failures();
    file.write_later(Some(0), b"lost").unwrap();
    let batch = file.data.take_dirty(0, 64).unwrap().unwrap();
    file.data.end_batch(batch, Err(EIO), || true);
    assert_eq!(file.data.failed_since(before), Some((before + 1, EIO)));
    assert_eq!(file.data.failed_since(before + 1), None);
    assert_eq!(file.read(0, 10), b"lost");
    assert_eq!(file.flush(), [], "it is clean");
}
