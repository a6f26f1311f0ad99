//! How many requests programs' habits cost, beside what the client of Linux 6.12 sends for the same: a table, printed with
//! `cargo test -p virtio-fs-conformance --test requests -- --nocapture`. No row may cost more than its aim.
//!
//! Requests are counted by the driver, and by virtiofsd, which have to agree. For root.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use virtio_fs::fs::OpenOptions;
use virtio_fs::{CacheOptions, Errno, MountOptions, VirtioFs};
use virtio_fs_conformance::{Folder, expect_root};
use virtio_fs_vhost_user::{Daemon, DaemonOptions, GuestHal, connect};

const MIB: usize = 1 << 20;
/// How long virtiofsd's word is good by default.
const TTL: Duration = Duration::from_secs(1);
const LONG: Option<Duration> = Some(Duration::from_secs(600));
const FILES: u64 = 500;
const DEEP: &str = "deep/a/b/c/d/e/f/g/leaf";

/// The mode `Auto` with room for all of the share.
fn auto() -> CacheOptions {
    CacheOptions { max_data_bytes: 128 * MIB, ..CacheOptions::default() }
}

/// What is shared.
fn make_share(root: &Path) {
    let big: Vec<u8> = (0..64 * MIB as u64).map(|at| (at ^ at >> 8 ^ at >> 16) as u8).collect();
    fs::write(root.join("big"), big).unwrap();
    fs::create_dir_all(root.join(DEEP).parent().unwrap()).unwrap();
    fs::write(root.join(DEEP), "leaf").unwrap();
    fs::create_dir(root.join("small")).unwrap();
    for number in 0..FILES {
        fs::write(root.join(small(number)), vec![number as u8; small_bytes(number)]).unwrap();
    }
    for (name, files) in [("dir1k", 1000), ("dir10k", 10_000)] {
        fs::create_dir(root.join(name)).unwrap();
        for number in 0..files {
            fs::write(root.join(format!("{name}/{number:05}")), "").unwrap();
        }
    }
}

fn small(number: u64) -> String {
    format!("small/{number:03}")
}

/// 1 to 8 KiB.
fn small_bytes(number: u64) -> usize {
    (1024 + number * 7168 / (FILES - 1)) as usize
}

/// The share, mounted.
struct Guest {
    fs: VirtioFs,
    daemon: Daemon,
}

/// What was sent meanwhile.
struct Sent {
    requests: BTreeMap<&'static str, u64>,
    elapsed: Duration,
}

impl Guest {
    fn new(share: &Folder, cache: CacheOptions) -> Self {
        Self::with_arguments(share, cache, &[])
    }

    /// As [`Self::new`], with further arguments of virtiofsd.
    fn with_arguments(share: &Folder, cache: CacheOptions, arguments: &[&str]) -> Self {
        let options =
            DaemonOptions { arguments: arguments.iter().map(Into::into).collect(), ..DaemonOptions::default() };
        let daemon = Daemon::start(share.path(), &options).unwrap_or_else(|error| panic!("{error}"));
        let (transport, platform) = connect(daemon.socket(), "test").unwrap_or_else(|error| panic!("{error}"));
        let options = MountOptions { cache, ..MountOptions::default() };
        let fs = VirtioFs::mount::<GuestHal>(transport, platform, &options).expect("a mount");
        Self { fs, daemon }
    }

    /// What `work` costs.
    fn count(&self, work: impl FnOnce(&VirtioFs)) -> Sent {
        let before = self.fs.statistics();
        let start = Instant::now();
        work(&self.fs);
        self.fs.maintain();
        let elapsed = start.elapsed();
        let after = self.fs.statistics();
        self.expect_same_at_daemon();
        let sent = after.requests().map(|(name, count)| (name, count - before.requests_of(name)));
        Sent { requests: sent.filter(|&(_, count)| count > 0).collect(), elapsed }
    }

    /// The daemon has got what the driver says that it has sent.
    fn expect_same_at_daemon(&self) {
        let sent: BTreeMap<String, u64> = self
            .fs
            .statistics()
            .requests()
            .map(|(name, count)| (name.replace('_', "").to_lowercase(), count))
            .collect();
        let got = || self.daemon.requests().iter().map(|(name, &count)| (name.to_lowercase(), count)).collect();
        let mut received: BTreeMap<String, u64> = got();
        let patience = Instant::now() + Duration::from_secs(10);
        // What is not waited for takes its time.
        while received != sent && Instant::now() < patience {
            received = got();
        }
        assert_eq!(received, sent, "what the daemon got, and what the driver counted");
    }
}

impl Sent {
    fn of(&self, name: &str) -> u64 {
        self.requests.get(name).copied().unwrap_or(0)
    }

    fn all(&self) -> u64 {
        self.requests.values().sum()
    }

    /// How often something may have been asked for that is asked for whenever it is too old.
    fn times(&self) -> u64 {
        1 + (self.elapsed.as_nanos() / TTL.as_nanos()) as u64
    }

    /// Whether nothing was sent but these requests, at most so often.
    fn is_within(&self, most: &[(&str, u64)]) -> bool {
        let limit = |name: &str| most.iter().find(|&&(other, _)| other == name).map_or(0, |&(_, count)| count);
        self.requests.iter().all(|(name, &count)| count <= limit(name))
    }
}

impl Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.requests.is_empty() {
            return f.write_str("nothing");
        }
        for (place, (name, count)) in self.requests.iter().enumerate() {
            write!(f, "{}{count} {name}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// The rows so far, and those that cost too much.
#[derive(Default)]
struct Table {
    text: String,
    missed: Vec<String>,
}

impl Table {
    fn row(&mut self, workload: &str, linux: &str, sent: &Sent, aim: &str, is_met: bool) {
        let row = format!("| {workload} | {linux} | {sent} | {aim} |");
        if !is_met {
            self.missed.push(row.clone());
        }
        writeln!(self.text, "{row}").unwrap();
    }

    /// Prints the table.
    ///
    /// # Panics
    ///
    /// If an aim was missed.
    fn show(self) {
        // Past what the test harness keeps to itself of a test that passes.
        let table = format!("\n| workload | Linux 6.12 sends | ours | aim |\n|---|---|---|---|\n{}\n", self.text);
        std::io::Write::write_all(&mut std::io::stdout(), table.as_bytes()).expect("standard output");
        assert!(self.missed.is_empty(), "more requests than aimed at:\n{}", self.missed.join("\n"));
    }
}

/// Reads a file from start to end, as programs do: in pieces, until there is nothing more. Gives its length.
fn read_through(vfs: &VirtioFs, path: &str, piece_bytes: usize) -> usize {
    let mut file = vfs.open(path).unwrap();
    let mut piece = vec![0; piece_bytes];
    let mut length = 0;
    loop {
        match file.read(&mut piece).unwrap() {
            0 => break,
            bytes => length += bytes,
        }
    }
    file.close().unwrap();
    length
}

fn stat_all_small(vfs: &VirtioFs) {
    for number in 0..FILES {
        assert_eq!(vfs.metadata(small(number)).unwrap().len(), small_bytes(number) as u64);
    }
}

fn read_all_small(vfs: &VirtioFs) {
    for number in 0..FILES {
        assert_eq!(read_through(vfs, &small(number), 4096), small_bytes(number));
    }
}

fn expect_missing(vfs: &VirtioFs, path: &str) {
    assert_eq!(vfs.metadata(path).unwrap_err().errno(), Errno::ENOENT);
}

fn names_and_attributes(table: &mut Table, share: &Folder) {
    let guest = Guest::new(share, auto());
    let sent = guest.count(|vfs| {
        for _ in 0..10_000 {
            assert_eq!(vfs.metadata(DEEP).unwrap().len(), 4);
        }
    });
    let is_met = sent.is_within(&[("LOOKUP", 9 * sent.times()), ("GETATTR", sent.times())]);
    table.row("stat-hot: 10,000 stat of the deep leaf", "9 LOOKUP, 1 GETATTR", &sent, "the same, each TTL", is_met);

    let guest = Guest::new(share, CacheOptions { negative_timeout: LONG, ..auto() });
    let sent = guest.count(|vfs| (0..10_000).for_each(|_| expect_missing(vfs, "missing")));
    let is_met = sent.is_within(&[("LOOKUP", 1)]);
    table.row("stat-missing-hot, with a negative timeout", "10,021 LOOKUP", &sent, "1 LOOKUP", is_met);

    let guest = Guest::new(share, auto());
    for (when, pause) in [("stat-500", Duration::ZERO), ("the same after 1 s", TTL)] {
        std::thread::sleep(pause);
        let sent = guest.count(stat_all_small);
        let is_met = sent.is_within(&[("LOOKUP", FILES + sent.times())]);
        table.row(when, "501 LOOKUP", &sent, "501 LOOKUP", is_met);
    }
}

fn small_files(table: &mut Table, share: &Folder) {
    let linux = "501 LOOKUP, 500 OPEN, 500 READ, 500 FLUSH, 500 RELEASE";
    let guest = Guest::new(share, auto());
    let sent = guest.count(read_all_small);
    let most = [("LOOKUP", FILES + sent.times()), ("OPEN", FILES), ("READ", FILES), ("RELEASE", FILES)];
    table.row("small-read-500: open, read, close", linux, &sent, "no FLUSH", sent.is_within(&most));
    let sent = guest.count(read_all_small);
    // A name that is known leads to a file whose attributes are asked for; one that is not is asked for.
    let check = sent.of("GETATTR") + sent.of("LOOKUP") <= FILES + sent.times();
    let is_met = check && sent.is_within(&[("GETATTR", FILES), ("LOOKUP", u64::MAX)]);
    table.row("the same again at once, unchanged files", linux, &sent, "only the check", is_met);
    std::thread::sleep(TTL);
    let sent = guest.count(read_all_small);
    let is_met = sent.is_within(&[("LOOKUP", FILES + sent.times())]);
    table.row("the same again after 1 s", linux, &sent, "only the check", is_met);
}

fn listings(table: &mut Table, share: &Folder) {
    let listed = |sent: &Sent| sent.of("READDIR") + sent.of("READDIRPLUS");
    let guest = Guest::new(share, auto());
    let sent = guest.count(|vfs| {
        assert_eq!(
            vfs.read_dir("dir10k").unwrap().map(|entry| entry.unwrap().file_name().len()).sum::<usize>(),
            50_000
        );
    });
    let is_met = listed(&sent) <= 10 && sent.all() <= 10 + 4 + 10_000 / 253;
    table.row("readdir-10k", "99 READDIR, 1 READDIRPLUS", &sent, "<= 10 of them", is_met);

    let is_met = |sent: &Sent| listed(sent) <= 4 && sent.all() <= 4 + 3 + 1000 / 253;
    let guest = Guest::new(share, auto());
    let sent = guest.count(|vfs| {
        let sizes = vfs.read_dir("dir1k").unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        assert_eq!(sizes.map(|size| size + 1).sum::<u64>(), 1000);
    });
    table.row("ls-l-1k: each stat while listing", "43 READDIRPLUS", &sent, "<= 4 of them", is_met(&sent));

    let stat = |vfs: &VirtioFs, name: &[u8]| assert_eq!(vfs.metadata([b"dir1k/", name].concat()).unwrap().len(), 0);
    let guest = Guest::new(share, auto());
    let sent = guest.count(|vfs| {
        vfs.read_dir("dir1k").unwrap().for_each(|entry| stat(vfs, entry.unwrap().file_name()));
    });
    table.row("the same, stat by path", "43 READDIRPLUS", &sent, "<= 4 of them", is_met(&sent));

    let list_first = |vfs: &VirtioFs| {
        let entries = vfs.read_dir("dir1k").unwrap().map(|entry| entry.unwrap().file_name().to_vec());
        entries.collect::<Vec<_>>().iter().for_each(|name| stat(vfs, name));
    };
    let guest = Guest::new(share, auto());
    let sent = guest.count(list_first);
    table.row("the same, all listed before", "43 READDIRPLUS", &sent, "(none)", true);
    std::thread::sleep(TTL);
    let sent = guest.count(list_first);
    table.row("the same after 1 s", "43 READDIRPLUS", &sent, "<= 4 of them", is_met(&sent));
}

fn large_files(table: &mut Table, share: &Folder) {
    for (piece_bytes, name) in [(4096, "4 KiB"), (MIB, "1 MiB")] {
        let guest = Guest::new(share, auto());
        let read = |vfs: &VirtioFs| assert_eq!(read_through(vfs, "big", piece_bytes), 64 * MIB);
        let sent = guest.count(read);
        let in_flight = guest.fs.statistics().most_in_flight;
        let times = sent.times();
        let most = [("LOOKUP", times), ("GETATTR", times), ("OPEN", 1), ("READ", 64), ("RELEASE", 1)];
        let workload = format!("seq-read-64M cold, by {name}: {in_flight} in flight");
        table.row(
            &workload,
            "512-515 READ",
            &sent,
            "64 READ, several in flight",
            sent.is_within(&most) && in_flight > 1,
        );
        let sent = guest.count(read);
        let times = sent.times();
        let is_met = sent.is_within(&[("LOOKUP", times), ("GETATTR", 1 + times)]);
        table.row("the same again, unchanged file", "512-515 READ", &sent, "0 READ", is_met);
    }

    let guest = Guest::new(share, auto());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let sent = guest.count(|vfs| {
        let file = vfs.open("big").unwrap();
        let mut page = [0; 4096];
        for _ in 0..4096 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = (random % (64 * MIB as u64)) & !0xfff;
            assert_eq!(file.read_at(at, &mut page).unwrap(), page.len());
            assert_eq!(page[1], ((at + 1) ^ (at >> 8) ^ (at >> 16)) as u8);
        }
    });
    table.row("rand-read-4k x 4,096 cold", "3,583 READ", &sent, "<= 3,583 READ", sent.of("READ") <= 3583);
}

fn writing(table: &mut Table, share: &Folder) {
    let write = |vfs: &VirtioFs, name: &str| {
        let mut file = vfs.create(name).unwrap();
        for number in 0..16 * MIB / 4096 {
            file.write_all(&[number as u8; 4096]).unwrap();
        }
        file.sync_all().unwrap();
        file.close().unwrap();
    };
    let around = [("CREATE", 1), ("FLUSH", 1), ("RELEASE", 1), ("FSYNC", 1)];
    let linux = "4,096 WRITE, 4,096 GETXATTR, 1 FSYNC";
    let (through, collected) = ((4096, "4,096 WRITE, 1 FSYNC"), (16, "16 WRITE, 1 FSYNC"));
    for (writeback, arguments, workload, linux, (writes, aim)) in [
        (false, &[][..], "seq-write-4k 16 MiB, fsync, close", linux, through),
        (true, &[], "the same with writeback", "(not counted)", collected),
        (true, &["--writeback"], "the same, virtiofsd --writeback", "(not counted)", collected),
    ] {
        let guest = Guest::with_arguments(share, CacheOptions { writeback, ..auto() }, arguments);
        let sent = guest.count(|vfs| write(vfs, "new"));
        let is_met = sent.is_within(&[&around[..], &[("WRITE", writes)]].concat());
        table.row(workload, linux, &sent, aim, is_met);
        let content = fs::read(share.path().join("new")).unwrap();
        assert!(content.chunks(4096).enumerate().all(|(number, piece)| piece == [number as u8; 4096]));
        fs::remove_file(share.path().join("new")).unwrap();
    }
}

fn names_that_change(table: &mut Table, share: &Folder) {
    fs::create_dir(share.path().join("new")).unwrap();
    let [first, second] = [|number| format!("new/{number:03}"), |number| format!("new/moved-{number:03}")];
    let guest = Guest::new(share, auto());
    let sent = guest.count(|vfs| {
        for number in 0..FILES {
            let mut file = vfs.create(first(number)).unwrap();
            file.write_all(&[1; 4096]).unwrap();
            file.close().unwrap();
        }
    });
    let made = [("CREATE", FILES), ("WRITE", FILES), ("FLUSH", FILES), ("RELEASE", FILES)];
    let is_met = sent.is_within(&[&made[..], &[("LOOKUP", sent.times())]].concat());
    let linux = "per file LOOKUP, CREATE, GETATTR, WRITE, GETXATTR, FLUSH, RELEASE";
    table.row("create-500: create, write 4 KiB, close", linux, &sent, "per file CREATE, WRITE, FLUSH, RELEASE", is_met);
    drop(guest);

    // What is known stays known for as long as this takes.
    let known = CacheOptions { entry_timeout: LONG, negative_timeout: LONG, ..auto() };
    let rename = |vfs: &VirtioFs, from: fn(u64) -> String, to: fn(u64) -> String| {
        (0..FILES).for_each(|number| vfs.rename(from(number), to(number)).unwrap());
    };
    let stat = |vfs: &VirtioFs, name: fn(u64) -> String| {
        (0..FILES).for_each(|number| assert!(vfs.exists(name(number)).unwrap()));
    };
    let linux = "per file 2 LOOKUP, GETATTR, RENAME";
    let guest = Guest::new(share, known.clone());
    stat(&guest.fs, first);
    (0..FILES).for_each(|number| expect_missing(&guest.fs, &second(number)));
    let sent = guest.count(|vfs| rename(vfs, first, second));
    let is_met = sent.is_within(&[("RENAME", FILES)]);
    table.row("rename-500, both names known", linux, &sent, "per file RENAME", is_met);
    let sent = guest.count(|vfs| rename(vfs, second, first));
    let is_met = sent.is_within(&[("RENAME", FILES)]);
    table.row("and back", linux, &sent, "per file RENAME", is_met);
    drop(guest);

    let guest = Guest::new(share, CacheOptions { entry_timeout: LONG, ..auto() });
    stat(&guest.fs, first);
    let sent = guest.count(|vfs| rename(vfs, first, second));
    let is_met = sent.is_within(&[("RENAME", FILES), ("LOOKUP", FILES)]);
    table.row("rename-500, new name not known", linux, &sent, "per file RENAME, 1 LOOKUP", is_met);
    drop(guest);

    let guest = Guest::new(share, CacheOptions { entry_timeout: LONG, ..auto() });
    let sent = guest.count(|vfs| rename(vfs, second, first));
    let is_met = sent.is_within(&[("RENAME", FILES), ("LOOKUP", 2 * FILES + 1)]);
    table.row("rename-500, no name known", linux, &sent, "per file RENAME, 1 LOOKUP for each name", is_met);
    drop(guest);

    let linux = "per file LOOKUP, GETATTR, UNLINK, FORGET";
    let batches = FILES.div_ceil(253) + 1;
    let guest = Guest::new(share, known);
    (0..FILES / 2).for_each(|number| assert!(guest.fs.exists(first(number)).unwrap()));
    let unlink = |vfs: &VirtioFs, files: std::ops::Range<u64>| {
        files.for_each(|number| vfs.remove_file(first(number)).unwrap());
    };
    let sent = guest.count(|vfs| unlink(vfs, 0..FILES / 2));
    let is_met = sent.is_within(&[("UNLINK", FILES / 2), ("BATCH_FORGET", batches)]);
    table.row("unlink-250, names known", linux, &sent, "per file UNLINK, forgets batched", is_met);
    let sent = guest.count(|vfs| unlink(vfs, FILES / 2..FILES));
    let is_met = sent.is_within(&[("UNLINK", FILES / 2), ("LOOKUP", FILES / 2), ("BATCH_FORGET", batches)]);
    table.row("unlink-250, names not known", linux, &sent, "per file UNLINK, LOOKUP, forgets batched", is_met);
}

#[test]
fn no_workload_costs_more_requests_than_its_aim() {
    expect_root();
    let share = Folder::in_memory(256 * MIB);
    make_share(share.path());
    let mut table = Table::default();
    names_and_attributes(&mut table, &share);
    small_files(&mut table, &share);
    listings(&mut table, &share);
    large_files(&mut table, &share);
    writing(&mut table, &share);
    names_that_change(&mut table, &share);
    table.show();
}

#[test]
fn closing_what_was_only_read_does_not_wait_for_the_daemon() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "content").unwrap();
    let guest = Guest::new(&folder, auto());
    let mut file = OpenOptions::new().read(true).open(&guest.fs, "file").unwrap();
    assert_eq!(file.read(&mut [0; 16]).unwrap(), 7);
    guest.daemon.pause();
    file.close().unwrap();
    assert_eq!(guest.fs.statistics().requests_of("RELEASE"), 1);
    guest.daemon.resume();
    guest.expect_same_at_daemon();
    assert_eq!(guest.fs.statistics().requests_of("FLUSH"), 0);
}
