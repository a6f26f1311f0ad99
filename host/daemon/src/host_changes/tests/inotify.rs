//! What holds for inotify only.

use super::*;

#[test]
fn a_directory_that_was_not_watched_yet_is_asked_for_again() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    assert!(guest.look_up("one"));
    assert!(!guest.look_up("one") && !guest.look_up("one/file"));
}

#[test]
fn what_was_moved_to_where_nobody_watches_is_not_believed() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ["one", "one/file", "one/other"].iter().for_each(|path| _ = guest.look_up(path));
    let ino = folder.ino("one/file");
    fs::rename(folder.at("one/file"), folder.at("two/away")).unwrap();
    // And what was moved to where it is watched is followed.
    fs::rename(folder.at("one/other"), folder.at("here")).unwrap();
    let begin = Instant::now();
    while guest.count().marks != [ino] {
        assert!(begin.elapsed() < PATIENCE, "it is given up");
    }
    fs::write(folder.at("here"), "more").unwrap();
    assert!(guest.count().keys.contains(&Key::content(folder.ino("here"))));
}

#[test]
fn a_name_that_was_used_anew_counts_for_all_that_had_it() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ["one", "one/file"].iter().for_each(|path| _ = guest.look_up(path));
    let old = folder.ino("one/file");
    let file = File::options().write(true).open(folder.at("one/file")).unwrap();
    fs::write(folder.at("new"), "").unwrap();
    fs::rename(folder.at("new"), folder.at("one/file")).unwrap();
    guest.look_up("one/file");
    assert_ne!(folder.ino("one/file"), old);
    let seen = guest.count();
    assert!(seen.keys.contains(&Key::attributes(old)) && seen.keys.contains(&Key::attributes(folder.ino("one/file"))));
    // It has no name any more.
    file.set_len(0).unwrap();
    assert!(guest.count().keys.contains(&Key::content(old)));
}

#[test]
fn a_new_name_that_is_gone_before_it_was_looked_at_may_have_been_a_link() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ALL.iter().for_each(|path| _ = guest.look_up(path));
    fs::hard_link(folder.at("one/file"), folder.at("two/new")).unwrap();
    fs::remove_file(folder.at("two/new")).unwrap();
    assert_eq!(guest.count().unknown, 1);
    // What replaces something by way of another name is found by the last one.
    fs::write(folder.at("two/new"), "").unwrap();
    fs::rename(folder.at("two/new"), folder.at("one/file")).unwrap();
    assert_eq!(guest.count().unknown, 0);
}

#[test]
fn while_a_directory_cannot_be_watched_nothing_is_believed() {
    let folder = Folder::new();
    fill(&folder);
    let mut guest = Guest::new(&folder);
    guest.refused = Some(Errno::NOSPC);
    assert!(!guest.look_up("one"));
    assert!(!guest.look_up("one/file"));
    assert_eq!((guest.count().unknown, guest.count().unknown), (1, 1));
    guest.inotify.forgotten(folder.ino("one"), 1, &guest.counted);
    assert_eq!(guest.count().unknown, 0);
}

#[test]
fn a_directory_that_is_gone_before_it_could_be_watched_keeps_nothing_from_being_believed() {
    let folder = Folder::new();
    fill(&folder);
    let mut guest = Guest::new(&folder);
    guest.refused = Some(Errno::STALE);
    assert!(!guest.look_up("two"));
    assert_eq!(guest.count().unknown, 0);
    let two = folder.ino("two");
    fs::remove_dir(folder.at("two")).unwrap();
    assert!(guest.count().keys.contains(&Key::attributes(two)));
}

#[test]
fn when_events_were_lost_the_floor_is_raised_and_what_is_not_where_it_was_is_not_believed() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ALL.iter().for_each(|path| _ = guest.look_up(path));
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse::<u32>().unwrap();
    // Two that take turns are not merged.
    let files = ["one/file", "one/other"].map(|name| File::options().write(true).open(folder.at(name)).unwrap());
    for number in 0..=limit {
        rustix::io::pwrite(files[number as usize % 2].as_fd(), b"x", 0).unwrap();
    }
    let ino = folder.ino("one/file");
    fs::rename(folder.at("one/file"), folder.at("two/new")).unwrap();
    let seen = guest.count();
    assert_eq!((seen.unknown, seen.marks), (1, vec![ino]));
    assert_eq!(guest.count().unknown, 0);
    fs::write(folder.at("one/other"), "more").unwrap();
    assert!(guest.count().keys.contains(&Key::content(folder.ino("one/other"))));
}

#[test]
fn a_directory_that_is_forgotten_while_it_is_looked_up_stays_watched() {
    let folder = Folder::new();
    fs::create_dir(folder.at("d")).unwrap();
    let guest = Guest::new(&folder);
    let ino = folder.ino("d");
    guest.look_up("d");
    for round in 0..2000 {
        std::thread::scope(|scope| {
            scope.spawn(|| guest.inotify.forgotten(ino, 1, &guest.counted));
            scope.spawn(|| guest.look_up("d"));
        });
        guest.count();
        fs::write(folder.at("d/new"), "").unwrap();
        let seen = guest.count();
        fs::remove_file(folder.at("d/new")).unwrap();
        assert!(seen.keys.contains(&Key::name(ino, b"new")) || seen.unknown > 0, "in round {round}");
    }
}
