//! Which keys each change raises, whatever tells of it.

use super::*;

/// What is done to a folder, and which keys of it that concerns, by paths as they were before.
type Change = (&'static str, fn(&Folder), &'static [Concerned]);

#[derive(Clone, Copy)]
pub(super) enum Concerned {
    Attributes(&'static str),
    Content(&'static str),
    /// Content and attributes of the directory as well.
    Name(&'static str, &'static str),
    Parent(&'static str),
}
pub(super) use Concerned::{Attributes, Content, Name, Parent};

const CHANGES: [Change; 17] = [
    ("create", |at| fs::write(at.at("two/new"), "").unwrap(), &[Name("two", "new")]),
    ("write", |at| fs::write(at.at("one/file"), "more").unwrap(), &[Content("one/file")]),
    ("append", |at| append(&at.at("one/file")), &[Content("one/file")]),
    (
        "truncate",
        |at| File::options().write(true).open(at.at("one/file")).unwrap().set_len(1).unwrap(),
        &[Content("one/file")],
    ),
    (
        "chmod",
        |at| fs::set_permissions(at.at("one/file"), fs::Permissions::from_mode(0o600)).unwrap(),
        &[Attributes("one/file")],
    ),
    (
        "chmod of a directory",
        |at| fs::set_permissions(at.at("one/folder"), fs::Permissions::from_mode(0o700)).unwrap(),
        &[Attributes("one/folder")],
    ),
    (
        "setxattr",
        |at| rustix::fs::setxattr(at.at("one/file"), "user.test", b"1", XattrFlags::empty()).unwrap(),
        &[Attributes("one/file")],
    ),
    (
        "rename within a directory",
        |at| fs::rename(at.at("one/file"), at.at("one/new")).unwrap(),
        &[Name("one", "file"), Name("one", "new"), Attributes("one/file")],
    ),
    (
        "rename to another directory",
        |at| fs::rename(at.at("one/file"), at.at("two/new")).unwrap(),
        &[Name("one", "file"), Name("two", "new"), Attributes("one/file")],
    ),
    (
        "rename over another file",
        |at| fs::rename(at.at("one/file"), at.at("one/other")).unwrap(),
        &[Name("one", "file"), Name("one", "other"), Attributes("one/file"), Attributes("one/other")],
    ),
    (
        "rename of a directory to another one",
        |at| fs::rename(at.at("one/folder"), at.at("two/new")).unwrap(),
        &[Name("one", "folder"), Name("two", "new"), Attributes("one/folder"), Parent("one/folder")],
    ),
    (
        "exchange",
        |at| {
            let cwd = rustix::fs::CWD;
            rustix::fs::renameat_with(cwd, at.at("one/folder"), cwd, at.at("two"), RenameFlags::EXCHANGE).unwrap();
        },
        &[Name("one", "folder"), Name(".", "two"), Parent("one/folder"), Parent("two")],
    ),
    ("unlink", |at| fs::remove_file(at.at("one/file")).unwrap(), &[Name("one", "file"), Attributes("one/file")]),
    ("rmdir", |at| fs::remove_dir(at.at("two")).unwrap(), &[Name(".", "two"), Content("two")]),
    (
        "rename over a directory",
        |at| fs::rename(at.at("one/folder"), at.at("two")).unwrap(),
        &[Name("one", "folder"), Name(".", "two"), Content("two"), Parent("one/folder")],
    ),
    ("symlink", |at| symlink("target", at.at("two/new")).unwrap(), &[Name("two", "new")]),
    (
        "mkdir, and a file in it",
        |at| {
            fs::create_dir(at.at("two/new")).unwrap();
            fs::write(at.at("two/new/file"), "").unwrap();
        },
        &[Name("two", "new")],
    ),
];

fn append(path: &Path) {
    use std::io::Write;
    File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

/// The keys, with the folder as it is.
pub(super) fn keys(folder: &Folder, concerned: &[Concerned]) -> Vec<(String, Key)> {
    let mut keys = Vec::new();
    let mut add = |what: String, key| keys.push((what, key));
    for what in concerned {
        match what {
            Attributes(path) => add(format!("attributes of {path}"), Key::attributes(folder.ino(path))),
            Content(path) => {
                add(format!("content of {path}"), Key::content(folder.ino(path)));
                add(format!("attributes of {path}"), Key::attributes(folder.ino(path)));
            }
            Name(path, name) => {
                add(format!("{name} in {path}"), Key::name(folder.ino(path), name.as_bytes()));
                add(format!("content of {path}"), Key::content(folder.ino(path)));
                add(format!("attributes of {path}"), Key::attributes(folder.ino(path)));
            }
            Parent(path) => {
                add(format!(".. in {path}"), Key::name(folder.ino(path), b".."));
                add(format!("content of {path}"), Key::content(folder.ino(path)));
            }
        }
    }
    keys
}

fn check(what: &str, way: &str, expected: &[(String, Key)], seen: &Seen) {
    let missing: Vec<_> = expected.iter().filter(|(_, key)| !seen.keys.contains(key)).map(|(name, _)| name).collect();
    assert!(missing.is_empty(), "{way}: {what}: not raised: {missing:?}");
    assert_eq!(seen.unknown, 0, "{way}: {what}: all is known");
}

#[test]
fn fanotify_raises_the_keys_of_each_change() {
    for (what, change, concerned) in CHANGES {
        let folder = Folder::new();
        fill(&folder);
        let Some(fanotify) = fanotify(&folder) else { return };
        let expected = keys(&folder, concerned);
        change(&folder);
        let counted = Counted::default();
        fanotify.count_others(NOBODY, &counted).unwrap();
        check(what, "fanotify", &expected, &counted.take());
    }
    println!("fanotify was tried");
}

#[test]
fn inotify_raises_the_keys_of_each_change() {
    for (what, change, concerned) in CHANGES {
        let folder = Folder::new();
        fill(&folder);
        let guest = Guest::new(&folder);
        ALL.iter().for_each(|path| _ = guest.look_up(path));
        let expected = keys(&folder, concerned);
        change(&folder);
        let seen = guest.count();
        check(what, "inotify", &expected, &seen);
        assert_eq!(seen.marks, [0; 0], "{what}");
    }
}

#[test]
fn links_are_told_and_with_inotify_what_has_several_is_not_believed() {
    let folder = Folder::new();
    fill(&folder);
    let concerned = [Name("two", "new"), Attributes("one/file")];
    let expected = keys(&folder, &concerned);
    let guest = Guest::new(&folder);
    ALL.iter().for_each(|path| _ = guest.look_up(path));
    let fanotify = fanotify(&folder);
    fs::hard_link(folder.at("one/file"), folder.at("two/new")).unwrap();
    if let Some(fanotify) = fanotify {
        let counted = Counted::default();
        fanotify.count_others(NOBODY, &counted).unwrap();
        check("link", "fanotify", &expected, &counted.take());
    }
    let seen = guest.count();
    check("link", "inotify", &expected, &seen);
    let ino = folder.ino("one/file");
    assert_eq!(seen.marks, [ino]);
    guest.inotify.forgotten(ino, 1, &guest.counted);
    assert_eq!(guest.count().marks, [0; 0]);
    guest.look_up("two/new");
    assert_eq!(guest.count().marks, [ino], "it has two when it is handed out");
    guest.inotify.session_ends(&guest.counted);
    assert_eq!(guest.counted.take().marks, [0; 0]);
}

#[test]
fn reading_raises_nothing_and_neither_does_what_nobody_was_told_of() {
    let folder = Folder::new();
    fill(&folder);
    let guest = Guest::new(&folder);
    ["one", "one/file"].iter().for_each(|path| _ = guest.look_up(path));
    let fanotify = fanotify(&folder);
    fs::read(folder.at("one/file")).unwrap();
    fs::read_dir(folder.at("one")).unwrap().count();
    let of_file = [Key::attributes(folder.ino("one/file")), Key::content(folder.ino("one/file"))];
    if let Some(fanotify) = fanotify {
        let counted = Counted::default();
        fanotify.count_others(NOBODY, &counted).unwrap();
        assert!(of_file.iter().all(|key| !counted.take().keys.contains(key)));
    }
    fs::write(folder.at("one/other"), "more").unwrap();
    fs::write(folder.at("two/new"), "more").unwrap();
    let seen = guest.count();
    assert_eq!((seen.keys, seen.unknown), (HashSet::new(), 0));
}
