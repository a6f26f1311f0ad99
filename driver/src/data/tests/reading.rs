//! What is read is kept, and nothing else.

use super::*;

/// Lengths of files around those of frames and pages.
const LENGTHS: [usize; 9] =
    [1, 4095, 4096, 4097, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, 3 * PAGE_BYTES, 3 * PAGE_BYTES + 5];

#[test]
fn what_was_read_is_read_again_without_requests() {
    for length in LENGTHS {
        for knows_end in [true, false] {
            let content = pattern(length);
            let mut file = File::new(&Arc::new(Pool::new(1 << 20)), &content);
            if knows_end {
                file.data.learn_end(length as u64, || true);
            }
            assert_eq!(file.all(), content);
            assert!(!file.asked().is_empty());
            assert_eq!(file.all(), content);
            let mut buffer = vec![0; length + 1];
            assert_eq!(read_kept(&file.data, &file.readahead, 0, &mut buffer), Some(length), "{length} {knows_end}");
            assert_eq!(file.asked(), [], "{length} {knows_end}");
        }
    }
}

#[test]
fn an_empty_file_of_known_end_is_read_without_requests() {
    let mut file = File::with_end(b"");
    assert_eq!(file.read(0, 10), b"");
    assert_eq!(file.read(7, 10), b"");
    assert_eq!(file.asked(), []);
}

#[test]
fn odd_pieces_of_several_pages_are_what_the_file_has_there() {
    let content = pattern(5 * PAGE_BYTES + 77);
    for budget in [0, PAGE_BYTES, 4 * PAGE_BYTES, 1 << 20] {
        let mut file = File::new(&Arc::new(Pool::new(budget)), &content);
        let mut random = XorShift::new(3);
        for _ in 0..300 {
            let offset = random.below(content.len() + 100);
            let bytes = random.below(2 * PAGE_BYTES + 100);
            let expected = content.get(offset..(offset + bytes).min(content.len())).unwrap_or_default();
            assert_eq!(file.read(offset as u64, bytes), expected, "{offset} {bytes} {budget}");
        }
    }
}

#[test]
fn single_reads_bring_whole_pages_and_nothing_ahead() {
    let mut file = File::with_end(&pattern(64 * PAGE_BYTES));
    for page in [7, 40, 3, 22, 63, 12] {
        assert_eq!(
            file.read(page * PAGE + 4096, 4096),
            pattern(64 * PAGE_BYTES)[page as usize * PAGE_BYTES..][4096..8192]
        );
        assert_eq!(file.asked(), [(page * PAGE, PAGE_BYTES)]);
    }
}

#[test]
fn sequential_reads_ask_for_whole_transfers() {
    let content = pattern(64 * PAGE_BYTES);
    for step in [512, 4096, PAGE_BYTES, 8 * PAGE_BYTES, 64 * PAGE_BYTES] {
        let mut file = File::with_end(&content);
        for at in (0..content.len()).step_by(step) {
            assert_eq!(file.read(at as u64, step), content[at..(at + step).min(content.len())], "{step}");
        }
        let asked = file.asked();
        let transfer = file.transfer_bytes;
        assert!(asked.iter().all(|&(at, bytes)| (at as usize | bytes).is_multiple_of(transfer)), "{asked:?}");
        assert_eq!(asked.iter().map(|&(_, bytes)| bytes).sum::<usize>(), content.len());
        let ahead = asked.iter().map(|&(_, bytes)| bytes).max().unwrap() / transfer;
        assert!(ahead >= 4, "{step}: several transfers are in flight together");
    }
}

#[test]
fn what_stands_behind_a_short_reply_is_not_content() {
    for knows_end in [true, false] {
        let mut file = File::new(&Arc::new(Pool::new(1 << 20)), &pattern(3 * PAGE_BYTES));
        if knows_end {
            file.data.learn_end(3 * PAGE, || true);
        }
        let bytes = PAGE_BYTES + 100;
        let short = file.read_with(0, 3 * PAGE_BYTES, |_, _, buffers, _| {
            buffers.iter_mut().for_each(|buffer| buffer.fill(0x66));
            Ok(Filled { bytes, stopped: None })
        });
        assert_eq!(short, Ok(vec![0x66; bytes]));
        file.asked();
        // The file ends there, as the server said; it grows by zeroes.
        assert_eq!(file.read(0, 3 * PAGE_BYTES), vec![0x66; bytes]);
        file.server.truncate(bytes);
        file.write(bytes + 50, b"x");
        let grown = file.read(PAGE, 200);
        assert_eq!((&grown[..100], &grown[100..150], &grown[150..]), (&[0x66; 100][..], &[0; 50][..], &b"x"[..]));
        assert_eq!(file.asked(), []);
    }
}

#[test]
fn an_error_behind_the_first_bytes_is_met_by_the_next_read() {
    let content = pattern(4 * PAGE_BYTES);
    let mut file = File::with_end(&content);
    let bytes = 2 * PAGE_BYTES + 10;
    let broken = |_: &FileData, _: &mut Vec<u8>, _: &mut [&mut [u8]], _| Ok(Filled { bytes, stopped: Some(EIO) });
    assert_eq!(file.read_with(0, content.len(), broken), Ok(content[..bytes].to_vec()));
    file.asked();
    assert_eq!(file.read(0, 2 * PAGE_BYTES), content[..2 * PAGE_BYTES], "whole pages are kept");
    assert_eq!(file.asked(), []);
    let broken = |_: &FileData, _: &mut Vec<u8>, _: &mut [&mut [u8]], _| Err(EIO);
    assert_eq!(file.read_with(bytes as u64, 10, broken), Err(EIO));
    assert_eq!(file.all(), content);
}

#[test]
fn an_error_behind_what_was_wanted_is_not_told() {
    let content = pattern(16 * PAGE_BYTES);
    let mut file = File::with_end(&content);
    let broken =
        |_: &FileData, _: &mut Vec<u8>, _: &mut [&mut [u8]], _| Ok(Filled { bytes: PAGE_BYTES, stopped: Some(EIO) });
    assert_eq!(file.read_with(0, 4096, broken), Ok(content[..4096].to_vec()));
    assert_eq!(file.all(), content);
}

#[test]
fn what_would_drive_out_most_of_the_rest_is_not_kept() {
    let content = pattern(16 * PAGE_BYTES);
    let pool = Arc::new(Pool::new(8 * PAGE_BYTES));
    let mut file = File::new(&pool, &content);
    assert_eq!(file.read(0, 5 * PAGE_BYTES), content[..5 * PAGE_BYTES]);
    assert_eq!(pool.used_bytes(), 0);
    assert_eq!(file.read(8 * PAGE, 4 * PAGE_BYTES), content[8 * PAGE_BYTES..12 * PAGE_BYTES]);
    assert_eq!(pool.used_bytes(), 4 * PAGE_BYTES);
}

#[test]
fn a_file_that_grew_is_read_to_its_new_end_once_that_is_found() {
    let mut file = File::with_end(&pattern(100));
    assert_eq!(file.all().len(), 100);
    file.server = pattern(3 * PAGE_BYTES);
    assert_eq!(file.all().len(), 100, "its end is believed");
    file.data.opened(version(1, 3 * PAGE_BYTES), false, || true);
    assert_eq!(file.all(), pattern(3 * PAGE_BYTES));
}

#[test]
fn a_file_that_shrank_ends_where_a_read_finds_it() {
    let content = pattern(4 * PAGE_BYTES);
    let mut file = File::with_end(&content);
    file.read(3 * PAGE, 10);
    file.server.truncate(PAGE_BYTES + 5);
    assert_eq!(file.read(0, 4 * PAGE_BYTES), content[..PAGE_BYTES + 5]);
    assert_eq!(file.data.eof(), Some(PAGE + 5));
    assert_eq!(file.read(3 * PAGE, 10), b"");
}

#[test]
fn a_hole_before_what_the_server_gets_meanwhile_is_read_as_one() {
    for budget in [0, 1 << 20] {
        let mut file = File::new(&Arc::new(Pool::new(budget.max(PAGE_BYTES))), &[]);
        file.data.learn_end(0, || true);
        file.write_later(Some(5 * PAGE), &[7; PAGE_BYTES]).unwrap();
        let flush = |data: &FileData, _: &mut Vec<u8>, _: &mut [&mut [u8]], filled| {
            while let Some(batch) = data.take_dirty(0, 64).unwrap() {
                data.end_batch(batch, Ok(()), || true);
            }
            Ok(filled)
        };
        assert_eq!(file.read_with(PAGE, 2 * PAGE_BYTES, flush), Ok(vec![0; 2 * PAGE_BYTES]), "{budget}");
    }
}
