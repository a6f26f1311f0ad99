//! Reading.

use super::*;
use crate::test_utils::XorShift;

#[test]
fn what_was_read_is_read_again_without_requests() {
    for cache in all_options() {
        for bytes in [0, 1, 4096, PAGE_BYTES - 1, PAGE_BYTES, 5 * PAGE_BYTES + 7] {
            let mounted = with_file(cache.clone(), bytes);
            let file = mounted.fs.open("f").unwrap();
            assert_eq!(read_from(&file, 0), pattern(bytes));
            let (again, sent) = mounted.sent_by(|| read_from(&file, 0));
            assert_eq!((again, sent), (pattern(bytes), vec![]), "{bytes} {cache:?}");
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn sequential_reads_send_whole_transfers_several_in_flight() {
    let bytes = 8 << 20;
    for budget in [1 << 20, 16 << 20] {
        for step in [4 << 10, 64 << 10, 1 << 20] {
            let mounted = with_file(CacheOptions { max_data_bytes: budget, ..options(CacheMode::Auto) }, bytes);
            let transfer = mounted.fs.negotiated().max_transfer_bytes;
            assert_eq!(transfer, 64 << 10);
            let mut file = mounted.fs.open("f").unwrap();
            let mut buffer = vec![0; step];
            let mut content = Vec::new();
            loop {
                let read = file.read(&mut buffer).unwrap();
                content.extend_from_slice(&buffer[..read]);
                if read == 0 {
                    break;
                }
            }
            assert!(content == pattern(bytes), "{step} {budget}");
            assert_eq!(mounted.count(opcode::READ), bytes / transfer, "{step} {budget}");
            assert!(mounted.channel.most_in_flight() >= 4, "{step} {budget}");
            assert!(mounted.cached_bytes() <= budget as u64);
            drop(file);
            mounted.unmount();
        }
    }
}

#[test]
fn single_small_reads_bring_one_page_each() {
    let mounted = with_file(options(CacheMode::Auto), 100 * PAGE_BYTES);
    let file = mounted.fs.open("f").unwrap();
    let mut buffer = vec![0; 4096];
    let mut random = XorShift::new(7);
    let mut seen = vec![0];
    for _ in 0..50 {
        let page = random.below(100) as u64;
        if seen.contains(&page) || seen.contains(&(page - 1)) {
            continue;
        }
        seen.push(page);
        let (read, sent) = mounted.sent_by(|| file.read_at(page * PAGE + 4096, &mut buffer));
        assert_eq!(read, Ok(4096));
        assert_eq!(buffer, pattern(100 * PAGE_BYTES)[page as usize * PAGE_BYTES + 4096..][..4096]);
        assert_eq!(sent.last(), Some(&opcode::READ));
        assert_eq!(mounted.sent_u32(opcode::READ, 56), PAGE_BYTES as u32);
    }
    assert_eq!(mounted.count(opcode::READ), seen.len() - 1);
    drop(file);
    mounted.unmount();
}

#[test]
fn an_error_in_the_middle_is_met_by_the_next_read_and_leaves_nothing_wrong() {
    let mounted = mount(options(CacheMode::Auto), |server| {
        // READs of one page.
        server.options.max_pages = 4;
        server.file("f", pattern(6 * PAGE_BYTES));
        server.fault(opcode::READ, 2, Fault::Refuse(Errno::EIO));
    });
    let file = mounted.fs.open("f").unwrap();
    let mut buffer = vec![0; 6 * PAGE_BYTES];
    assert_eq!(file.read_at(0, &mut buffer), Ok(2 * PAGE_BYTES));
    assert_eq!(buffer[..2 * PAGE_BYTES], pattern(2 * PAGE_BYTES));
    mounted.server(|server| {
        server.fault(opcode::READ, 0, Fault::Refuse(Errno::EIO));
    });
    assert_eq!(file.read_at(2 * PAGE, &mut buffer), Err(Error::Refused(Errno::EIO)));
    let (kept, sent) = mounted.sent_by(|| file.read_at(0, &mut buffer[..2 * PAGE_BYTES]));
    assert_eq!((kept, sent), (Ok(2 * PAGE_BYTES), vec![]));
    assert_eq!(read_from(&file, 0), pattern(6 * PAGE_BYTES));
    drop(file);
    mounted.unmount();
}

#[test]
fn transfers_shorter_than_a_page_leave_nothing_wrong_behind_an_error() {
    let mounted = mount(options(CacheMode::Auto), |server| {
        server.options.max_pages = 1;
        server.file("f", pattern(3 * PAGE_BYTES));
        server.fault(opcode::READ, 5, Fault::Refuse(Errno::EIO));
    });
    let file = mounted.fs.open("f").unwrap();
    let mut buffer = vec![0; 3 * PAGE_BYTES];
    assert_eq!(file.read_at(0, &mut buffer), Ok(5 * 4096));
    assert_eq!(read_from(&file, 0), pattern(3 * PAGE_BYTES));
    drop(file);
    mounted.unmount();
}

#[test]
fn reads_of_more_than_half_the_budget_are_not_kept() {
    let cache = CacheOptions { max_data_bytes: 8 * PAGE_BYTES, ..options(CacheMode::Auto) };
    let mounted = with_file(cache, 16 * PAGE_BYTES);
    let file = mounted.fs.open("f").unwrap();
    let mut buffer = vec![0; 6 * PAGE_BYTES];
    assert_eq!(file.read_at(3 * PAGE + 5, &mut buffer), Ok(buffer.len()));
    assert_eq!(buffer, pattern(16 * PAGE_BYTES)[3 * PAGE_BYTES + 5..][..buffer.len()]);
    assert_eq!(mounted.cached_bytes(), 0);
    drop(file);
    mounted.unmount();
}

#[test]
fn memory_of_files_that_nobody_needs_is_given_back() {
    let mounted = mount(CacheOptions { max_entries: 4, ..options(CacheMode::Auto) }, |server| {
        for at in 0..20 {
            server.file(format!("f{at}"), pattern(PAGE_BYTES));
        }
    });
    for at in 0..20 {
        mounted.fs.read(format!("f{at}")).unwrap();
    }
    assert!(mounted.cached_bytes() <= 4 * PAGE);
    mounted.fs.drop_caches();
    assert_eq!(mounted.cached_bytes(), 0);
    mounted.unmount();
}

#[test]
fn threads_that_read_one_file_together_read_what_it_holds() {
    let cache = CacheOptions { max_data_bytes: 8 * PAGE_BYTES, ..options(CacheMode::Auto) };
    let mounted = with_file(cache, 32 * PAGE_BYTES);
    let content = pattern(32 * PAGE_BYTES);
    std::thread::scope(|scope| {
        for seed in 1..4 {
            let (fs, content) = (&mounted.fs, &content);
            scope.spawn(move || {
                let file = fs.open("f").unwrap();
                let mut random = XorShift::new(seed);
                for _ in 0..200 {
                    let (offset, bytes) = (random.below(content.len()), random.below(30_000) + 1);
                    let mut buffer = vec![0; bytes];
                    let read = file.read_at(offset as u64, &mut buffer).unwrap();
                    assert!(read > 0);
                    assert_eq!(buffer[..read], content[offset..offset + read]);
                }
            });
        }
    });
    assert!(mounted.cached_bytes() <= 8 * PAGE);
    mounted.unmount();
}

#[test]
fn without_a_cache_each_read_is_a_request() {
    let mounted = with_file(options(CacheMode::None), 100);
    let file = mounted.fs.open("f").unwrap();
    let mut buffer = [0; 10];
    for _ in 0..2 {
        assert_eq!(mounted.sends(|_| file.read_at(0, &mut buffer)), [opcode::READ]);
    }
    drop(file);
    assert_eq!(mounted.cached_bytes(), 0);
    mounted.unmount();
}
