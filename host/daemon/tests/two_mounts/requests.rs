//! How many requests programs' habits cost with a version table, though nothing may be believed for any time. The rows
//! are printed with `-- --nocapture`.

use super::share::{Share, mount};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use virtio_fs::fs::OpenOptions;
use virtio_fs::{CacheOptions, Coherence, Credentials, Dax, Errno, MountOptions, Permissions, VirtioFs};

const FILES: usize = 500;
const DEEP: &str = "deep/a/b/c/d/e/f/g/leaf";

type Sent = BTreeMap<&'static str, u64>;

/// Nothing is believed for any time, so that a second or a day later makes no difference.
fn by_table() -> CacheOptions {
    let none = Some(Duration::ZERO);
    CacheOptions { entry_timeout: none, attr_timeout: none, negative_timeout: none, ..CacheOptions::default() }
}

/// Everything is believed for longer than this takes.
fn by_time() -> CacheOptions {
    let long = Some(Duration::from_secs(600));
    let coherence = Coherence::Ttl;
    CacheOptions {
        entry_timeout: long,
        attr_timeout: long,
        negative_timeout: long,
        coherence,
        ..CacheOptions::default()
    }
}

fn options(cache: CacheOptions) -> MountOptions {
    MountOptions { cache, dax: Dax::Never, ..MountOptions::default() }
}

fn small(number: usize) -> String {
    format!("small/{number:03}")
}

fn make_share() -> Share {
    let share = Share::new(&["--host-changes", "none"]);
    fs::create_dir_all(share.at(DEEP).parent().unwrap()).unwrap();
    fs::write(share.at(DEEP), "leaf").unwrap();
    fs::create_dir(share.at("small")).unwrap();
    (0..FILES).for_each(|number| fs::write(share.at(small(number)), vec![1; 1024 + 14 * number]).unwrap());
    fs::create_dir(share.at("dir1k")).unwrap();
    (0..1000).for_each(|number| fs::write(share.at(format!("dir1k/{number:04}")), "").unwrap());
    fs::write(share.at("big"), vec![1; 4 << 20]).unwrap();
    share
}

/// What `work` costs.
fn sent(vfs: &VirtioFs, work: impl FnOnce(&VirtioFs)) -> Sent {
    let before = vfs.statistics();
    work(vfs);
    vfs.maintain();
    let after = vfs.statistics();
    let sent = after.requests().map(|(name, count)| (name, count - before.requests_of(name)));
    sent.filter(|(_, count)| *count > 0).collect()
}

fn read_through(vfs: &VirtioFs, path: &str) -> usize {
    let mut file = vfs.open(path).unwrap();
    let (mut piece, mut length) = (vec![0; 4096], 0);
    loop {
        match file.read(&mut piece).unwrap() {
            0 => break,
            bytes => length += bytes,
        }
    }
    file.close().unwrap();
    length
}

fn list_and_stat(vfs: &VirtioFs) {
    let names: Vec<_> = vfs.read_dir("dir1k").unwrap().map(|entry| entry.unwrap().file_name().to_vec()).collect();
    assert_eq!(names.len(), 1000);
    names.iter().for_each(|name| assert_eq!(vfs.metadata([b"dir1k/", &name[..]].concat()).unwrap().len(), 0));
}

/// Asserts that nothing else is sent, and no more often.
fn expect(workload: &str, sent: &Sent, most: &[(&str, u64)]) {
    println!("{workload}: {sent:?}");
    let limit = |name: &str| most.iter().find(|(other, _)| *other == name).map_or(0, |(_, count)| *count);
    assert!(
        sent.iter().all(|(name, count)| *count <= limit(name)),
        "{workload}: {sent:?}, where there should be {most:?}"
    );
}

#[test]
fn what_nobody_changes_is_asked_for_once_whatever_the_time() {
    const ALL: u64 = FILES as u64;
    let share = make_share();
    let daemon = share.serve();
    let new = || mount(&daemon, &options(by_table()));

    let stat = |vfs: &VirtioFs| assert_eq!(vfs.metadata(DEEP).unwrap().len(), 4);
    let vfs = new();
    expect("stat-hot, first", &sent(&vfs, stat), &[("LOOKUP", 9), ("GETATTR", 1)]);
    expect("stat-hot: 10,000 stat", &sent(&vfs, |vfs| (0..10_000).for_each(|_| stat(vfs))), &[]);
    vfs.unmount().unwrap();

    let missing = |vfs: &VirtioFs| assert_eq!(vfs.metadata("missing").unwrap_err().errno(), Errno::ENOENT);
    let vfs = new();
    let costs = sent(&vfs, |vfs| (0..10_000).for_each(|_| missing(vfs)));
    expect("stat-missing-hot: 10,000 stat of a missing name", &costs, &[("LOOKUP", 1), ("GETATTR", 1)]);
    vfs.unmount().unwrap();

    let stat_all = |vfs: &VirtioFs| (0..FILES).for_each(|number| assert!(vfs.exists(small(number)).unwrap()));
    let vfs = new();
    expect("stat-500", &sent(&vfs, stat_all), &[("LOOKUP", ALL + 1), ("GETATTR", 1)]);
    expect("stat-500 again", &sent(&vfs, stat_all), &[]);
    vfs.unmount().unwrap();

    let read_all = |vfs: &VirtioFs| {
        (0..FILES).for_each(|number| assert_eq!(read_through(vfs, &small(number)), 1024 + 14 * number));
    };
    let vfs = new();
    let first = [("LOOKUP", ALL + 1), ("GETATTR", 1), ("OPEN", ALL), ("READ", ALL), ("RELEASE", ALL)];
    expect("small-read-500", &sent(&vfs, read_all), &first);
    expect("small-read-500 again", &sent(&vfs, read_all), &[]);
    vfs.unmount().unwrap();

    let vfs = new();
    let first = [("LOOKUP", 2), ("GETATTR", 1), ("OPENDIR", 1), ("READDIRPLUS", 4), ("READDIR", 4), ("RELEASEDIR", 1)];
    let costs = sent(&vfs, list_and_stat);
    println!("ls-l-1k, all listed first: {costs:?}");
    assert!(costs.keys().all(|name| first.iter().any(|(other, _)| other == name) || *name == "BATCH_FORGET"));
    expect("ls-l-1k again", &sent(&vfs, list_and_stat), &[]);
    vfs.unmount().unwrap();

    let read = |vfs: &VirtioFs| assert_eq!(read_through(vfs, "big"), 4 << 20);
    let vfs = new();
    let first = [("LOOKUP", 1), ("GETATTR", 1), ("OPEN", 1), ("READ", 5), ("RELEASE", 1)];
    expect("seq-read 4 MiB", &sent(&vfs, read), &first);
    expect("seq-read again", &sent(&vfs, read), &[]);
    vfs.unmount().unwrap();
}

type Workload = (&'static str, fn(&VirtioFs));

/// What programs change, and look at between their changes.
const WORKLOADS: [Workload; 12] = [
    ("mkdir", |vfs| vfs.create_dir_all("new/deep/er").unwrap()),
    ("create-500", |vfs| {
        for number in 0..FILES {
            let mut file = vfs.create(format!("new/{number}")).unwrap();
            file.write_all(&[1; 4096]).unwrap();
            file.close().unwrap();
        }
    }),
    ("read them", |vfs| {
        (0..FILES).for_each(|number| assert_eq!(vfs.read(format!("new/{number}")).unwrap(), [1; 4096]));
    }),
    ("write-500", |vfs| {
        for number in 0..FILES {
            let file = OpenOptions::new().write(true).open(vfs, format!("new/{number}")).unwrap();
            file.write_all_at(100, &[2; 100]).unwrap();
            file.close().unwrap();
        }
    }),
    ("append-500", |vfs| {
        for number in 0..FILES {
            let mut file = OpenOptions::new().append(true).open(vfs, format!("new/{number}")).unwrap();
            file.write_all(&[3; 100]).unwrap();
            file.close().unwrap();
        }
    }),
    ("read and stat them", |vfs| {
        for number in 0..FILES {
            assert_eq!(vfs.metadata(format!("new/{number}")).unwrap().len(), 4196);
            assert_eq!(vfs.read(format!("new/{number}")).unwrap().len(), 4196);
        }
    }),
    ("replace-500: write another, rename it", |vfs| {
        for number in 0..FILES {
            vfs.write("new/other", b"replaced").unwrap();
            vfs.rename("new/other", format!("new/{number}")).unwrap();
        }
    }),
    ("chmod-500 and stat", |vfs| {
        for number in 0..FILES {
            vfs.set_permissions(format!("new/{number}"), 0o640).unwrap();
            assert_eq!(vfs.metadata(format!("new/{number}")).unwrap().permissions(), 0o640);
        }
    }),
    ("rename-500 and look for both names", |vfs| {
        for number in 0..FILES {
            vfs.rename(format!("new/{number}"), format!("new/deep/{number}")).unwrap();
            assert!(vfs.exists(format!("new/deep/{number}")).unwrap() && !vfs.exists(format!("new/{number}")).unwrap());
        }
    }),
    ("link-500", |vfs| {
        for number in 0..FILES {
            vfs.hard_link(format!("new/deep/{number}"), format!("new/deep/er/{number}")).unwrap();
        }
    }),
    ("rm -r", |vfs| vfs.remove_dir_all("new").unwrap()),
    ("and look whether it is gone", |vfs| assert!(!vfs.exists("new").unwrap())),
];

/// What has a slot in common with something that was changed is asked for once more. In a workload 500 names are looked
/// at, by three keys at most, and 500 changes raise six slots each at most: in 2^20 slots 4 names in the mean.
const MEETINGS: u64 = 16;

/// The only guest pays no more for what it changes than one that believes everything for a long time.
#[test]
fn own_changes_cost_no_more_than_without_a_table() {
    let is_root = rustix::process::geteuid().is_root();
    for uid in [0, 1000].into_iter().filter(|uid| *uid == 0 || is_root) {
        for writeback in [false, true] {
            let share = Share::new(&["--host-changes", "none", "--version-table-size", "9M"]);
            if uid != 0 {
                std::os::unix::fs::chown(share.path(), Some(uid), Some(uid)).unwrap();
            }
            let daemon = share.serve();
            let credentials = Credentials { uid, gid: uid, ..Credentials::default() };
            let [time, table] = [by_time(), by_table()].map(|cache| {
                let options = options(CacheOptions { writeback, ..cache });
                let options =
                    MountOptions { credentials: credentials.clone(), permissions: Permissions::Driver, ..options };
                let vfs = mount(&daemon, &options);
                let costs = WORKLOADS.map(|(_, work)| sent(&vfs, work));
                vfs.unmount().unwrap();
                costs
            });
            let mut dearer = Vec::new();
            for ((workload, _), (time, table)) in WORKLOADS.iter().zip(time.iter().zip(&table)) {
                let all = |sent: &Sent| sent.values().sum::<u64>();
                println!(
                    "user {uid}, writeback {writeback}, {workload}: {} {table:?}; by time {} {time:?}",
                    all(table),
                    all(time)
                );
                if all(table) > all(time) + MEETINGS {
                    dearer.push(workload);
                }
            }
            assert!(dearer.is_empty(), "user {uid}, writeback {writeback}: {dearer:?} cost more with the table");
        }
    }
}
