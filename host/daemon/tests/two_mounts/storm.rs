//! A guest that changes one file of a thousand again and again costs others nothing but for that file.

use super::number;
use super::share::{Share, mount};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use virtio_fs::fs::OpenOptions;
use virtio_fs::{Dax, MountOptions, VirtioFs};
use virtio_fs_version_table::Key;

const FILES: usize = 1000;

fn path(number: usize) -> String {
    format!("d/{number:03}")
}

/// What a look at a path concerns.
fn keys(share: &Share, number: usize) -> [Key; 3] {
    let directory = fs::metadata(share.at("d")).unwrap().ino();
    let file = fs::metadata(share.at(path(number))).unwrap().ino();
    [Key::name(directory, format!("{number:03}").as_bytes()), Key::attributes(file), Key::content(file)]
}

/// What a look at any of the files concerns.
fn common_keys(share: &Share) -> [Key; 3] {
    let [root, directory] = ["", "d"].map(|path| fs::metadata(share.at(path)).unwrap().ino());
    [Key::name(root, b"d"), Key::attributes(root), Key::attributes(directory)]
}

/// For each file, whether a write to the file `hot` makes what is kept of it look old.
fn collisions(share: &Share, hot: usize, log2_slots: u32) -> Vec<bool> {
    let slot = |key: &Key| key.hash() >> (64 - log2_slots);
    let changed: Vec<_> = keys(share, hot)[1..].iter().map(slot).collect();
    let is_changed = |keys: &[Key]| keys.iter().any(|key| changed.contains(&slot(key)));
    let is_common = is_changed(&common_keys(share));
    (0..FILES).map(|number| is_common || is_changed(&keys(share, number))).collect()
}

fn look(vfs: &VirtioFs, number: usize) {
    assert_eq!(vfs.metadata(path(number)).unwrap().len(), 8);
    assert_eq!(vfs.read(path(number)).unwrap().len(), 8);
}

/// One mount writes to a file without a pause; another one reads that, so many times, and all others.
fn storm(size: &str, log2_slots: u32, checks: u64) {
    let share = Share::new(&["--host-changes", "none", "--cache", "always", "--version-table-size", size]);
    fs::create_dir(share.at("d")).unwrap();
    (0..FILES).for_each(|number| fs::write(share.at(path(number)), 0_u64.to_le_bytes()).unwrap());
    // The first that has as few slots in common with others as any.
    let met = |hot: &usize| collisions(&share, *hot, log2_slots).iter().filter(|is_met| **is_met).count();
    let hot = (0..FILES).min_by_key(met).unwrap();
    let is_met = collisions(&share, hot, log2_slots);
    let daemons = [share.serve(), share.serve()];
    let options = MountOptions { dax: Dax::Never, ..MountOptions::default() };
    let [writer, reader] = [0, 1].map(|at| mount(&daemons[at], &options));
    (0..FILES).for_each(|number| look(&reader, number));

    let (written, ends) = (AtomicU64::new(0), AtomicBool::new(false));
    let (mut looks, mut asked, mut idle) = ([0; 2], [0; 2], 0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(&writer, path(hot)).unwrap();
            for count in 1.. {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                file.write_all_at(0, &u64::to_le_bytes(count)).unwrap();
                written.store(count, Ordering::Release);
            }
            file.close().unwrap();
        });
        let mut next = 0;
        let mut last = 0;
        for _ in 0..checks {
            let at_least = written.load(Ordering::Acquire);
            let found = u64::from_le_bytes(reader.read(path(hot)).unwrap().try_into().unwrap());
            assert!(found >= at_least, "{found} is read when {at_least} was written");
            idle += u64::from(found == last);
            last = found;
            for _ in 0..3 {
                next = (next + 1) % FILES;
                if next != hot {
                    let before = reader.statistics().all_requests();
                    look(&reader, next);
                    looks[usize::from(is_met[next])] += 1;
                    asked[usize::from(is_met[next])] += reader.statistics().all_requests() - before;
                }
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    let changes = written.load(Ordering::Relaxed);
    let [met, unmet] = [true, false].map(|wanted| is_met.iter().filter(|is_met| **is_met == wanted).count());
    println!("2^{log2_slots} slots, {changes} changes in {:?}, {checks} checks", began.elapsed());
    println!("{unmet} files cost {} messages in {} looks", asked[0], looks[0]);
    println!("{} that share a slot with the changed one {} in {}", met - 1, asked[1], looks[1]);
    assert!(changes > checks / 100 && idle < checks, "nothing was changed meanwhile");
    assert_eq!(asked[0], 0, "what nobody has changed was asked for");
    // Its name or its attributes; and OPEN, READ, RELEASE.
    assert!(asked[1] <= 4 * looks[1], "{} messages for {} looks", asked[1], looks[1]);
    // The file itself, and those with one of its two slots among their three: in the mean 6 of 1,000 in 1,000 slots.
    assert!(met - 1 <= 6 * FILES / (1 << log2_slots), "{met} of {FILES} files meet in 2^{log2_slots} slots");
    [writer, reader].into_iter().for_each(|fs| fs.unmount().unwrap());
}

#[test]
fn a_file_that_is_changed_all_the_time_is_never_read_stale_and_no_other_is_asked_for() {
    storm("516K", 16, number("VIRTIO_FS_TABLE_ROUNDS", 100_000));
}

#[test]
fn in_few_slots_only_what_shares_one_with_the_changed_file_is_asked_for() {
    storm("8K", 9, number("VIRTIO_FS_TABLE_ROUNDS", 100_000) / 10);
}
