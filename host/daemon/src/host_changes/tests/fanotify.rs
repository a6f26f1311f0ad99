//! What holds for fanotify only.

use super::changes::{Content, Name, keys};
use super::*;

#[test]
fn fanotify_leaves_out_what_this_process_did() {
    let folder = Folder::new();
    fill(&folder);
    let Some(fanotify) = fanotify(&folder) else { return };
    let counted = Counted::default();
    let created = |name: &[u8]| Key::name(folder.ino("two"), name);
    fs::write(folder.at("two/own"), "").unwrap();
    assert!(Command::new("touch").arg(folder.at("two/other")).status().unwrap().success());
    fanotify.count(&counted).unwrap();
    let seen = counted.take();
    assert!(!seen.keys.contains(&created(b"own")) && seen.keys.contains(&created(b"other")));
}

#[test]
fn fanotify_for_one_guest_leaves_out_what_that_does_not_know() {
    let folder = Folder::new();
    fill(&folder);
    if fanotify(&folder).is_none() {
        return;
    }
    let fanotify = Fanotify::begin(&folder.0, false).unwrap();
    ["one", "one/file"].into_iter().for_each(|name| fanotify.known().unwrap().add(found(&folder.0, name)));
    let concerned = [Name("one", "other"), Content("one/file")];
    let expected: HashSet<_> = keys(&folder, &concerned).into_iter().map(|(_, key)| key).collect();
    fs::write(folder.at("one/file"), "more").unwrap();
    fs::write(folder.at("one/folder/inner"), "more").unwrap();
    fs::rename(folder.at("one/other"), folder.at("two/new")).unwrap();
    let counted = Counted::default();
    fanotify.count_others(NOBODY, &counted).unwrap();
    assert_eq!(counted.take().keys, expected);
}

#[test]
fn fanotify_raises_the_floor_when_events_were_lost() {
    let folder = Folder::new();
    fill(&folder);
    let Some(fanotify) = fanotify(&folder) else { return };
    let limit = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events").unwrap().trim().parse::<u32>().unwrap();
    // Events of the same file are merged. Each name is an object of its own.
    for number in 0..=limit.div_ceil(2) {
        let name = folder.at(&format!("two/{number}"));
        symlink("target", &name).unwrap();
        fs::remove_file(&name).unwrap();
    }
    let counted = Counted::default();
    fanotify.count_others(NOBODY, &counted).unwrap();
    assert_eq!(counted.take().unknown, 1);
}
