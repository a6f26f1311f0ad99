//! How much is kept.

use super::*;

/// Budgets in bytes.
const BUDGETS: [usize; 3] = [16 * 4096, 64 * 4096, 1 << 20];

#[test]
fn pages_take_no_more_than_the_budget() {
    for budget in BUDGETS {
        let pool = Arc::new(Pool::new(budget));
        let content = pattern(2 << 20);
        let mut files: Vec<_> = (0..3).map(|_| File::new(&pool, &content)).collect();
        let mut random = XorShift::new(5);
        for round in 0..400 {
            let file = &mut files[round % 3];
            let offset = random.below(content.len());
            let bytes = random.below(50_000);
            let end = content.len().min(offset + bytes);
            assert_eq!(file.read(offset as u64, bytes), content[offset..end]);
            assert!(pool.used_bytes() <= budget, "{} of {budget}", pool.used_bytes());
        }
        assert!(pool.used_bytes() > budget / 2);
        drop(files);
        assert_eq!(pool.used_bytes(), 0);
    }
}

#[test]
fn what_is_used_again_and_again_stays() {
    let pool = Arc::new(Pool::new(8 * PAGE_BYTES));
    let content = pattern(64 * PAGE_BYTES);
    let mut file = File::new(&pool, &content);
    file.data.learn_end(content.len() as u64, || true);
    file.read(9 * PAGE, 100);
    file.asked();
    for page in [30, 20, 40, 10, 50, 12, 42, 32, 22, 52, 14, 44, 34, 24, 54, 60] {
        file.read(page * PAGE + 5, 100);
        assert_eq!(file.asked().len(), 1);
        file.read(9 * PAGE, 100);
        assert_eq!(file.asked(), [], "page 9 is used all the time");
    }
}

#[test]
fn without_a_budget_everything_is_read_and_nothing_kept() {
    let pool = Arc::new(Pool::new(0));
    let content = pattern(3 * PAGE_BYTES + 3);
    let mut file = File::new(&pool, &content);
    for _ in 0..2 {
        assert_eq!(file.all(), content);
        assert!(!file.asked().is_empty());
        assert_eq!(pool.used_bytes(), 0);
    }
    assert_eq!(file.write_later(Some(0), b"x"), Err(Need::Read(0)));
}

#[test]
fn where_dirty_pages_fill_the_budget_others_are_read_and_not_kept() {
    let pool = Arc::new(Pool::new(4 * PAGE_BYTES));
    let content = pattern(8 * PAGE_BYTES);
    let mut file = File::new(&pool, &content);
    file.write_later(Some(0), &[9; 4 * PAGE_BYTES]).unwrap();
    assert!(pool.is_dirty_enough());
    assert_eq!(
        file.read(3 * PAGE, 2 * PAGE_BYTES),
        [&[9; PAGE_BYTES], &content[4 * PAGE_BYTES..5 * PAGE_BYTES]].concat()
    );
    assert_eq!(file.write_later(Some(6 * PAGE), &[7; PAGE_BYTES]), Err(Need::Pages(1)));
    assert_eq!(file.flush(), [(0, 2 * PAGE_BYTES), (2 * PAGE, 2 * PAGE_BYTES)]);
    assert!(!pool.is_dirty_enough());
    file.write_later(Some(6 * PAGE), &[7; PAGE_BYTES]).unwrap();
    assert!(pool.used_bytes() <= 4 * PAGE_BYTES);
}

#[test]
fn pages_give_their_memory_back_when_they_are_told_to() {
    let pool = Arc::new(Pool::new(1 << 20));
    let mut file = File::new(&pool, &pattern(8 * PAGE_BYTES));
    file.all();
    assert_eq!(pool.used_bytes(), 8 * PAGE_BYTES);
    assert!(pool.shrink_to(3 * PAGE_BYTES));
    assert_eq!(pool.used_bytes(), 3 * PAGE_BYTES);
    file.data.clear();
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn a_short_file_takes_what_it_needs() {
    let pool = Arc::new(Pool::new(1 << 20));
    for (length, taken) in [(1, 4096), (4096, 4096), (5000, 8192), (PAGE_BYTES + 1, PAGE_BYTES + 4096)] {
        let mut file = File::new(&pool, &pattern(length));
        file.data.learn_end(length as u64, || true);
        file.all();
        assert_eq!(pool.used_bytes(), taken, "{length}");
    }
}
