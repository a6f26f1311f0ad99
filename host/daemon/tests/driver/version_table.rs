//! Two machines with one directory, whose caches go by the version table of both daemons.

use super::common::{Daemon, Folder};
use super::{mount, without_window};
use std::fs;
use virtio_fs::{CacheMode, VirtioFs};

const NAMES: [&str; 4] = ["a", "b", "d", "d/inner"];

fn lengths(fs: &VirtioFs) -> [u64; 4] {
    NAMES.map(|name| fs.metadata(name).unwrap().len())
}

/// Checks that these names are as they were, and that nobody was asked for it.
fn is_believed(fs: &VirtioFs, names: &[&str]) {
    let before = fs.statistics().all_requests();
    for name in names {
        fs.metadata(name).unwrap();
    }
    assert_eq!(fs.statistics().all_requests(), before, "{names:?}");
}

#[test]
fn what_one_mount_changes_the_other_sees_at_once_and_what_it_does_not_is_not_asked_for() {
    // By time all would be believed for a day, or for no time.
    for cache in ["always", "never"] {
        let outside = Folder::new();
        let table = outside.path().join("table");
        let table = table.to_str().unwrap();
        let first = Daemon::start_on(&["--version-table", table, "--cache", cache], |share| {
            fs::create_dir(share.join("d")).unwrap();
            ["a", "b", "d/inner"].iter().for_each(|name| fs::write(share.join(name), name).unwrap());
        });
        let share = first.share().into_os_string().into_string().unwrap();
        let second = Daemon::start(&["--version-table", table, "--cache", cache, "--shared-dir", &share]);
        let [one, two] = [&first, &second].map(|daemon| mount(daemon, &without_window(CacheMode::Auto)));
        let before = lengths(&two);
        is_believed(&two, &NAMES);

        one.write("a", b"longer").unwrap();
        is_believed(&two, &["b", "d", "d/inner"]);
        assert_eq!((before[0], lengths(&two)[0]), (1, 6), "{cache}");
        is_believed(&two, &NAMES);

        one.rename("d/inner", "d/other").unwrap();
        is_believed(&two, &["a", "b"]);
        assert_eq!([two.exists("d/inner"), two.exists("d/other")].map(Result::unwrap), [false, true], "{cache}");

        one.remove_file("b").unwrap();
        assert!(!two.exists("b").unwrap() && two.exists("a").unwrap(), "{cache}");
        one.write("b", b"new").unwrap();
        assert_eq!(two.metadata("b").unwrap().len(), 3, "{cache}");
        [one, two].into_iter().for_each(|fs| fs.unmount().unwrap());
    }
}
