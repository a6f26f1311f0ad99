//! Daemons that are killed, the other one's mount, and those that take their place.

use super::common::PATIENCE;
use super::share::{Share, mount};
use rustix::process::Signal;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use virtio_fs::{Dax, Error, MountOptions, VirtioFs};

const FILES: u64 = 20;

fn options() -> MountOptions {
    MountOptions { dax: Dax::Never, ..MountOptions::default() }
}

fn share() -> Share {
    let share = Share::new(&["--host-changes", "none", "--cache", "always"]);
    ["own", "others"].iter().for_each(|name| fs::create_dir(share.at(name)).unwrap());
    for number in 0..FILES {
        ["own", "others"].iter().for_each(|name| fs::write(share.at(format!("{name}/{number}")), "0").unwrap());
    }
    share
}

fn write(vfs: &VirtioFs, directory: &str, round: u64) -> Result<(), Error> {
    vfs.write(format!("{directory}/{}", round % FILES), round.to_string())?;
    vfs.rename(format!("{directory}/{}", (round + 1) % FILES), format!("{directory}/moved"))?;
    vfs.rename(format!("{directory}/moved"), format!("{directory}/{}", (round + 1) % FILES))
}

/// Checks that a mount finds what there is in this directory.
fn expect_truth(share: &Share, vfs: &VirtioFs, directory: &str) {
    let mut names: Vec<_> = vfs.read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().to_vec()).collect();
    let mut there: Vec<_> = fs::read_dir(share.at(directory))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().into_bytes())
        .collect();
    names.sort();
    there.sort();
    assert_eq!(names, there, "{directory}");
    for name in there.into_iter().map(|name| format!("{directory}/{}", String::from_utf8(name).unwrap())) {
        assert_eq!(vfs.read(&name).unwrap(), fs::read(share.at(&name)).unwrap(), "{name}");
    }
}

/// In the middle of a change, and whatever lock it had.
#[test]
fn a_daemon_that_is_killed_holds_no_other_up_and_what_it_lost_is_seen_when_another_joins() {
    for round in 0..10 {
        let share = share();
        let [first, second] = [share.serve(), share.serve()];
        let [one, two] = [&first, &second].map(|daemon| mount(daemon, &options()));
        let began = Instant::now();
        let done = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let acts = (1..).take_while(|count| write(&two, "others", *count).is_ok());
                acts.for_each(|count| done.store(count, Ordering::Relaxed));
            });
            let mut own = 0;
            while done.load(Ordering::Relaxed) < 50 + 7 * round {
                own += 1;
                write(&one, "own", own).unwrap();
                expect_truth(&share, &one, "own");
            }
            second.signal(Signal::KILL);
            for count in own..own + 20 {
                write(&one, "own", count).unwrap();
                expect_truth(&share, &one, "own");
            }
        });
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        assert!(matches!(two.metadata("own/0"), Ok(_) | Err(Error::Device(_))));
        drop(two);
        let third = share.serve();
        let three = mount(&third, &options());
        for vfs in [&one, &three] {
            ["own", "others"].iter().for_each(|directory| expect_truth(&share, vfs, directory));
        }
        // Which names the killed one has left is not known.
        three.write("others/after", "it was killed").unwrap();
        expect_truth(&share, &one, "others");
        [one, three].into_iter().for_each(|vfs| vfs.unmount().unwrap());
    }
}

#[test]
fn a_mount_whose_only_daemon_is_killed_says_so_and_one_that_starts_with_the_same_table_begins_anew() {
    let share = share();
    let first = share.serve();
    let one = mount(&first, &options());
    expect_truth(&share, &one, "own");
    first.signal(Signal::KILL);
    let _ = first.ends();
    let began = Instant::now();
    // Whatever is kept, this is not.
    assert!(matches!(one.write("own/1", "lost"), Err(Error::Device(_))));
    assert!(matches!(one.metadata("others/1"), Err(Error::Device(_))));
    drop(one);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());

    fs::write(share.at("own/2"), "meanwhile").unwrap();
    let [second, third] = [share.serve(), share.serve()];
    let [two, three] = [&second, &third].map(|daemon| mount(daemon, &options()));
    for vfs in [&two, &three] {
        expect_truth(&share, vfs, "own");
    }
    for round in 0..50 {
        write(if round % 2 == 0 { &two } else { &three }, "own", round).unwrap();
        expect_truth(&share, if round % 2 == 0 { &three } else { &two }, "own");
    }
    [two, three].into_iter().for_each(|vfs| vfs.unmount().unwrap());
}
