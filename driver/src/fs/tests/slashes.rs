//! What a path ends in: a slash, a dot, a link, nothing. The tables are what Linux answers on a tree of its own.

use super::*;
use crate::vnode::RenameFlags;

fn tree(server: &mut FakeServer) {
    server.file("f", "").file("g", "").dir("d").dir("e").file("full/x", "");
    server.symlink("lf", "f").symlink("ld", "d").symlink("dangling", "nowhere").symlink("loop", "loop");
}

const LOOKING: &str = "\
path        opendir    write      truncate   chmod      lchown     readlink   link_from
f           ENOTDIR    ok         ok         ok         ok         EINVAL     ok
f/          ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR
f/.         ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR
f/x         ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR
d           ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
d/          ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
d/.         ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
d/..        ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
d/none      ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
d/none/     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
full        ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
lf          ENOTDIR    ok         ok         ok         ok         ok         ok
lf/         ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR
ld          ok         EISDIR     EISDIR     ok         ok         ok         ok
ld/         ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
ld/.        ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
dangling    ENOENT     ENOENT     ENOENT     ENOENT     ok         ok         ok
dangling/   ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
dangling/x  ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
none        ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
none/       ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
none/x      ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
loop        ELOOP      ELOOP      ELOOP      ELOOP      ok         ok         ok
loop/       ELOOP      ELOOP      ELOOP      ELOOP      ELOOP      ELOOP      ELOOP
/           ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
.           ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
..          ok         EISDIR     EISDIR     ok         ok         EINVAL     EPERM
''          ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
";

const MAKING: &str = "\
path        create     create_new mkdir      mknod      symlink    link_to
f           ok         EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
f/          EISDIR     EISDIR     EEXIST     EEXIST     EEXIST     EEXIST
f/.         ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR
f/x         ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR    ENOTDIR
d           EISDIR     EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
d/          EISDIR     EISDIR     EEXIST     EEXIST     EEXIST     EEXIST
d/.         EISDIR     EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
d/..        EISDIR     EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
d/none      ok         ok         ok         ok         ok         ok
d/none/     EISDIR     EISDIR     ok         ENOENT     ENOENT     ENOENT
full        EISDIR     EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
lf          ok         EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
lf/         EISDIR     EISDIR     EEXIST     EEXIST     EEXIST     EEXIST
ld          EISDIR     EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
ld/         EISDIR     EISDIR     EEXIST     EEXIST     EEXIST     EEXIST
ld/.        EISDIR     EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
dangling    ok         EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
dangling/   EISDIR     EISDIR     EEXIST     EEXIST     EEXIST     EEXIST
dangling/x  ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
none        ok         ok         ok         ok         ok         ok
none/       EISDIR     EISDIR     ok         ENOENT     ENOENT     ENOENT
none/x      ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
loop        ELOOP      EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
loop/       EISDIR     EISDIR     EEXIST     EEXIST     EEXIST     EEXIST
/           EISDIR     EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
.           EISDIR     EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
..          EISDIR     EEXIST     EEXIST     EEXIST     EEXIST     EEXIST
''          ENOENT     ENOENT     ENOENT     ENOENT     ENOENT     ENOENT
";

const MOVING: &str = "\
path        unlink       rmdir        move_from    move_to      dir_to       noreplace    exchange     exchange_dir
f           ok           ENOTDIR      ok           ok           ENOTDIR      EEXIST       ok           ok
f/          ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      EEXIST       ENOTDIR      ENOTDIR
f/.         ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR
f/x         ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR
d           EISDIR       ok           ok           EISDIR       ok           EEXIST       ok           ok
d/          EISDIR       ok           ok           ENOTDIR      ok           EEXIST       ok           ok
d/.         EISDIR       EINVAL       EBUSY        EBUSY        EBUSY        EEXIST       EBUSY        EBUSY
d/..        EISDIR       ENOTEMPTY    EBUSY        EBUSY        EBUSY        EEXIST       EBUSY        EBUSY
d/none      ENOENT       ENOENT       ENOENT       ok           ok           ok           ENOENT       ENOENT
d/none/     ENOENT       ENOENT       ENOENT       ENOTDIR      ok           ENOTDIR      ENOENT       ENOENT
full        EISDIR       ENOTEMPTY    ok           EISDIR       ENOTEMPTY    EEXIST       ok           ok
lf          ok           ENOTDIR      ok           ok           ENOTDIR      EEXIST       ok           ok
lf/         ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      EEXIST       ENOTDIR      ENOTDIR
ld          ok           ENOTDIR      ok           ok           ENOTDIR      EEXIST       ok           ok
ld/         ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      EEXIST       ENOTDIR      ENOTDIR
ld/.        EISDIR       EINVAL       EBUSY        EBUSY        EBUSY        EEXIST       EBUSY        EBUSY
dangling    ok           ENOTDIR      ok           ok           ENOTDIR      EEXIST       ok           ok
dangling/   ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      EEXIST       ENOTDIR      ENOTDIR
dangling/x  ENOENT       ENOENT       ENOENT       ENOENT       ENOENT       ENOENT       ENOENT       ENOENT
none        ENOENT       ENOENT       ENOENT       ok           ok           ok           ENOENT       ENOENT
none/       ENOENT       ENOENT       ENOENT       ENOTDIR      ok           ENOTDIR      ENOENT       ENOENT
none/x      ENOENT       ENOENT       ENOENT       ENOENT       ENOENT       ENOENT       ENOENT       ENOENT
loop        ok           ENOTDIR      ok           ok           ENOTDIR      EEXIST       ok           ok
loop/       ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      ENOTDIR      EEXIST       ENOTDIR      ENOTDIR
/           EISDIR       EBUSY        EBUSY        EBUSY        EBUSY        EEXIST       EBUSY        EBUSY
.           EISDIR       EINVAL       EBUSY        EBUSY        EBUSY        EEXIST       EBUSY        EBUSY
..          EISDIR       ENOTEMPTY    EBUSY        EBUSY        EBUSY        EEXIST       EBUSY        EBUSY
''          ENOENT       ENOENT       ENOENT       ENOENT       ENOENT       ENOENT       ENOENT       ENOENT
";

fn run(fs: &VirtioFs, operation: &str, path: &str) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    let options = options.write(true);
    match operation {
        "opendir" => fs.read_dir(path).map(drop),
        "write" => options.open(fs, path).map(drop),
        "truncate" => fs.truncate(path, 0),
        "chmod" => fs.set_permissions(path, 0o600),
        "lchown" => fs.set_symlink_owner(path, Some(0), Some(0)),
        "readlink" => fs.read_link(path).map(drop),
        "link_from" => fs.hard_link(path, "new"),
        "create" => options.create(true).open(fs, path).map(drop),
        "create_new" => options.create_new(true).open(fs, path).map(drop),
        "mkdir" => fs.create_dir(path),
        "mknod" => fs.mknod(path, FileType::Fifo, 0o600, 0),
        "symlink" => fs.symlink("t", path),
        "link_to" => fs.hard_link("g", path),
        "unlink" => fs.remove_file(path),
        "rmdir" => fs.remove_dir(path),
        "move_from" => fs.rename(path, "new"),
        "move_to" => fs.rename("g", path),
        "dir_to" => fs.rename("e", path),
        "noreplace" => fs.rename_with("g", path, RenameFlags::NOREPLACE),
        "exchange" => fs.rename_with("g", path, RenameFlags::EXCHANGE),
        "exchange_dir" => fs.rename_with("full", path, RenameFlags::EXCHANGE),
        other => panic!("{other}"),
    }
}

/// Runs each operation of a table with each of its paths, on a tree of its own.
fn check(table: &str) {
    let mut lines = table.lines();
    let operations: Vec<_> = lines.next().unwrap().split_whitespace().skip(1).collect();
    let mut wrong = Vec::new();
    for line in lines {
        let mut cells = line.split_whitespace();
        let path = cells.next().unwrap();
        let path = if path == "''" { "" } else { path };
        for (operation, expected) in operations.iter().zip(cells) {
            let mounted = Mounted::new(tree);
            let got = match run(&mounted.fs, operation, path) {
                Ok(()) => "ok".to_string(),
                Err(error) => format!("{:?}", error.errno()),
            };
            if got != expected {
                wrong.push(format!("{operation} {path:?}: {got}, not {expected}"));
            }
            mounted.unmount();
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn what_a_path_ends_in_decides_what_is_found() {
    check(LOOKING);
}

#[test]
fn what_a_path_ends_in_decides_what_is_made() {
    check(MAKING);
}

#[test]
fn what_a_path_ends_in_decides_what_is_moved_and_removed() {
    check(MOVING);
}
