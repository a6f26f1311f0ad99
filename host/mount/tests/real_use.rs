//! Programs that people use, on the mount.

mod common;

use common::{Mount, run, script, within};
use rustix::fs::{CWD, Dir, RenameFlags};
use rustix::process::{Pid, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn git_clones_commits_packs_and_finds_no_fault() {
    let mount = Mount::new();
    let origin = mount.beside.join("origin");
    script(60, &mount.beside, GIT_ORIGIN);
    let text = script(120, &mount.point, &format!("origin={}\n{GIT_CLONE}", origin.display()));
    assert!(text.ends_with("clean\n"), "{text}");
    // What git left is what the host has.
    script(60, &mount.share, "cd clone && git fsck --full --strict && test -z \"$(git status --porcelain)\"");
    mount.end();
}

const GIT_ORIGIN: &str = r#"
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
git config --global user.name tester; git config --global user.email tester@example.org
git init -q -b main origin; cd origin
for i in $(seq 200); do mkdir -p dir$((i % 10)); head -c $((i * 97)) /dev/urandom >dir$((i % 10))/file$i; done
ln -s dir1 link; chmod +x dir2/file2
git add .; git commit -q -m first
for i in $(seq 20); do echo $i >>log; git add log; git commit -q -m "number $i"; done
"#;

const GIT_CLONE: &str = r#"
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
git config --global user.name tester; git config --global user.email tester@example.org
git clone -q --no-local "$origin" clone; cd clone
git fsck --full --strict
test "$(git rev-parse HEAD)" = "$(git -C "$origin" rev-parse HEAD)"
git checkout -q -b other HEAD~10; git mv dir1 moved; echo more >>log; git commit -q -a -m other
git checkout -q main; git stash list; git gc -q --prune=now; git repack -q -a -d -f
git fsck --full --strict; git checkout -q other; git checkout -q main
test -z "$(git status --porcelain)"; echo clean
"#;

/// Every path below `root` with type, mode, owner, time, length, target, content, and extended attributes.
fn description(root: &Path) -> BTreeMap<String, String> {
    let text = script(
        60,
        root,
        r#"
        find . -mindepth 1 -printf '%P\t%y %m %U:%G %T@ %l\n'
        find . -type f -printf '%P-size\t%s\n'
        find . -type f -exec sha256sum {} + | sed -E 's/^(\S+)  (.*)$/\2-content\t\1/'
        "#,
    );
    let mut description: BTreeMap<String, String> =
        text.lines().map(|line| line.split_once('\t').expect("a tab")).map(|(a, b)| (a.into(), b.into())).collect();
    for path in description.keys().cloned().collect::<Vec<_>>() {
        let mut value = [0; 64];
        if let Ok(bytes) = rustix::fs::getxattr(root.join(&path), "user.note", &mut value) {
            description.insert(format!("{path}-xattr"), String::from_utf8_lossy(&value[..bytes]).into());
        }
    }
    description
}

#[test]
fn tar_brings_a_tree_with_attributes_and_holes_there_and_back() {
    let mount = Mount::new();
    let tree = mount.beside.join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    for number in 0..50_usize {
        let path = tree.join(format!("a/b/file{number}"));
        fs::write(&path, vec![number as u8; number * 1000]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + number as u32 % 8)).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&path, "user.note", format!("number {number}").as_bytes(), flags).unwrap();
    }
    fs::set_permissions(tree.join("a/b/file1"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::hard_link(tree.join("a/b/file2"), tree.join("again")).unwrap();
    symlink("a/b/file3", tree.join("link")).unwrap();
    run(within(5, "mkfifo").arg(tree.join("fifo")));
    let mut sparse = File::create(tree.join("sparse")).unwrap();
    for offset in [3 << 20, 40 << 20] {
        sparse.seek(SeekFrom::Start(offset)).unwrap();
        sparse.write_all(b"data").unwrap();
    }
    sparse.set_len(64 << 20).unwrap();
    drop(sparse);

    let tar = "tar --xattrs --sparse --numeric-owner";
    script(60, &mount.beside, &format!("{tar} -cf there.tar -C tree ."));
    script(60, &mount.point, &format!("mkdir tree; {tar} -xpf {}/there.tar -C tree", mount.beside.display()));
    script(60, &mount.point, &format!("{tar} -cf back.tar -C tree ."));
    script(60, &mount.beside, &format!("mkdir back; {tar} -xpf {}/back.tar -C back", mount.point.display()));

    let expected = description(&tree);
    assert!(expected.len() > 200);
    assert_eq!(description(&mount.point.join("tree")), expected);
    assert_eq!(description(&mount.beside.join("back")), expected);
    for root in [mount.point.join("tree"), mount.beside.join("back")] {
        let metadata = fs::metadata(root.join("sparse")).unwrap();
        assert!(metadata.blocks() * 512 < 1 << 20, "the holes are still holes in {}", root.display());
        assert_eq!(fs::metadata(root.join("again")).unwrap().nlink(), 2);
    }
    mount.end();
}

#[test]
fn sqlite_keeps_its_integrity_under_several_writers() {
    let mount = Mount::new();
    for journal in ["delete", "wal"] {
        let text = script(120, &mount.point, &format!("journal={journal}\n{SQLITE}"));
        assert_eq!(text, "ok\n4000\n", "{journal}");
        let on_the_host = script(60, &mount.share, &format!("sqlite3 {journal}.db 'PRAGMA integrity_check'"));
        assert_eq!(on_the_host, "ok\n", "{journal}");
    }
    mount.end();
}

const SQLITE: &str = r#"
db=$journal.db
sqlite3 $db "PRAGMA journal_mode=$journal; CREATE TABLE t (writer, number, text); CREATE INDEX i ON t (text)" >/dev/null
write() {
	for batch in $(seq 10); do
		echo 'PRAGMA busy_timeout=60000; BEGIN IMMEDIATE;'
		seq 100 | sed "s/.*/INSERT INTO t VALUES ($1, $batch, hex(randomblob(50)));/"
		echo 'COMMIT;'
	done | sqlite3 $db >/dev/null
}
for writer in 1 2 3 4; do write $writer & writers+=($!); done
for writer in "${writers[@]}"; do wait $writer; done
sqlite3 $db 'PRAGMA integrity_check; SELECT count(*) FROM t'
"#;

#[test]
fn eight_threads_work_in_one_directory_and_leave_nothing_behind() {
    const THREADS: usize = 8;
    let mount = Mount::new();
    let point = mount.point.as_path();
    let before = descriptors(mount.daemon());
    let end = Instant::now() + Duration::from_secs(5);
    let rounds: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || work(point, number, end))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(rounds > THREADS * 10, "{rounds} rounds in 5 seconds");
    assert_eq!(fs::read_dir(&mount.share).unwrap().count(), 0);
    assert_forgotten(&mount, before);
    mount.end();
}

/// Makes, changes, lists and removes files next to those of the other threads, until `end`.
fn work(folder: &Path, number: usize, end: Instant) -> usize {
    let mut rounds = 0;
    while Instant::now() < end {
        let own = folder.join(format!("dir{number}"));
        fs::create_dir(&own).unwrap();
        let (file, renamed) = (own.join("file"), folder.join(format!("file{number}")));
        let content = vec![(number + rounds) as u8; 10_000 * (1 + rounds % 30)];
        fs::write(&file, &content).unwrap();
        fs::rename(&file, &renamed).unwrap();
        let mut open = File::options().read(true).append(true).open(&renamed).unwrap();
        open.write_all(b"the end").unwrap();
        assert!(fs::read_dir(folder).unwrap().all(|entry| entry.is_ok()));
        fs::remove_file(&renamed).unwrap();
        let mut back = Vec::new();
        open.seek(SeekFrom::Start(0)).unwrap();
        open.read_to_end(&mut back).unwrap();
        assert!(back.starts_with(&content) && back.ends_with(b"the end") && back.len() == content.len() + 7);
        drop(open);
        fs::remove_dir(&own).unwrap();
        rounds += 1;
    }
    rounds
}

/// The daemon has about as many descriptors as before: each inode that the driver holds costs it one.
fn assert_forgotten(mount: &Mount, before: usize) {
    let daemon = mount.daemon();
    assert!(common::until(|| descriptors(daemon) < before + 20), "{before} became {}", descriptors(daemon));
}

fn descriptors(process: Pid) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).unwrap().count()
}

#[test]
fn a_large_directory_is_listed_whole_again_and_again() {
    let mount = Mount::new();
    let before = descriptors(mount.daemon());
    let names: BTreeSet<_> = (0..5000).map(|number| format!("a name of some length {number}")).collect();
    names.iter().for_each(|name| fs::write(mount.share.join(name), "").unwrap());
    let listed = |command: &str| -> Vec<String> {
        script(60, &mount.point, command).lines().map(|line| line.to_owned()).collect()
    };
    let plain = listed("ls -U");
    assert_eq!(plain.len(), names.len(), "each name once");
    assert_eq!(plain.into_iter().collect::<BTreeSet<_>>(), names);
    // With the attributes of each; the numbers of both ways agree.
    let mut by_name = listed("find . -type f -printf '%i %p\\n'");
    let mut by_inode = listed("ls -U | xargs -d '\\n' stat -c '%i ./%n'");
    by_name.sort();
    by_inode.sort();
    assert_eq!(by_name, by_inode);
    assert_eq!(by_name.len(), names.len());
    let mut dir = Dir::new(File::open(&mount.point).unwrap()).unwrap();
    for _ in 0..2 {
        assert_eq!(dir.by_ref().map(Result::unwrap).count(), names.len() + 2, "with `.` and `..`");
        dir.rewind();
    }
    drop(dir);
    assert!(descriptors(mount.daemon()) > names.len(), "one for each inode that is known");
    script(60, &mount.point, "find . -type f -delete");
    assert_forgotten(&mount, before);
    mount.end();
}

#[test]
fn rename_swaps_and_spares_what_is_there() {
    let mount = Mount::new();
    let at = |name: &str| mount.point.join(name);
    let rename = |from: &str, to: &str, flags| rustix::fs::renameat_with(CWD, at(from), CWD, at(to), flags);
    fs::write(at("one"), "1").unwrap();
    fs::write(at("two"), "2").unwrap();
    rename("one", "two", RenameFlags::EXCHANGE).unwrap();
    assert_eq!((fs::read(at("one")).unwrap(), fs::read(at("two")).unwrap()), (b"2".to_vec(), b"1".to_vec()));
    assert_eq!(rename("one", "two", RenameFlags::NOREPLACE), Err(rustix::io::Errno::EXIST));
    rename("one", "three", RenameFlags::NOREPLACE).unwrap();
    assert_eq!(fs::read(mount.share.join("three")).unwrap(), b"2");
    mount.end();
}

#[test]
fn a_process_is_seen_with_its_user_groups_and_umask() {
    let mount = Mount::new();
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(&mount.share, 0o1777);
    // The way there is nobody's secret.
    open(mount.point.parent().unwrap(), 0o755);
    let as_nobody = |groups: &str, command: &str| {
        let mut limited = within(10, "setpriv");
        limited.args(["--reuid=65534", "--regid=65534", groups, "bash", "-c", command]).current_dir(&mount.point);
        limited.output().unwrap().status.success()
    };
    fs::write(mount.share.join("grouped"), "secret").unwrap();
    rustix::fs::chown(mount.share.join("grouped"), None, Some(rustix::fs::Gid::from_raw(777))).unwrap();
    open(&mount.share.join("grouped"), 0o640);
    assert!(!as_nobody("--clear-groups", "cat grouped"));
    assert!(as_nobody("--groups=5,777", "cat grouped"));

    assert!(as_nobody("--clear-groups", "umask 027; echo >file; mkdir folder; mkfifo fifo"));
    let made = |name: &str| {
        let metadata = fs::symlink_metadata(mount.share.join(name)).unwrap();
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    };
    assert_eq!(made("file"), (0o640, 65534, 65534));
    assert_eq!(made("folder"), (0o750, 65534, 65534));
    assert_eq!(made("fifo"), (0o640, 65534, 65534));

    fs::copy("/bin/true", mount.share.join("program")).unwrap();
    open(&mount.share.join("program"), 0o711);
    assert!(as_nobody("--clear-groups", "./program"), "who may execute need not be able to read");
    assert!(!as_nobody("--clear-groups", "cat program"));
    // A file stays open for writing when its mode says no.
    assert!(as_nobody("--clear-groups", "perl -e 'open F, \">cut\"; chmod 0, \"cut\"; truncate F, 3 or die'"));
    assert_eq!(fs::metadata(mount.share.join("cut")).unwrap().len(), 3);
    open(&mount.share.join("program"), 0o744);
    assert!(!as_nobody("--clear-groups", "./program"));
    mount.end();
}

#[test]
fn nobody_waits_for_a_daemon_that_is_killed_while_it_is_written_to() {
    let mut mount = Mount::new();
    let (point, daemon) = (mount.point.clone(), mount.daemon());
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let point = point.clone();
            thread::spawn(move || {
                let block = vec![number; 1 << 20];
                let mut file = File::create(point.join(format!("file{number}")))?;
                (0..1_000_000_u64).try_for_each(|at| {
                    file.seek(SeekFrom::Start((at % 16) << 20))?;
                    file.write_all(&block)
                })
            })
        })
        .collect();
    assert!(common::until(|| fs::read_dir(&mount.share).unwrap().count() == 4));
    thread::sleep(Duration::from_millis(300));
    rustix::process::kill_process(daemon, Signal::KILL).unwrap();
    let start = Instant::now();
    for writer in writers {
        assert!(writer.join().unwrap().is_err(), "each writer gets an error");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(mount.ended().code(), Some(1));
}
