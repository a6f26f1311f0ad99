//! Random steps.

use proptest::prelude::*;
use proptest::sample::select;
use virtio_fs_conformance::step::flag::*;
use virtio_fs_conformance::step::*;
use virtio_fs_conformance::{Op, ROOT, User, maps};

/// Users with a umask, as there are.
pub(crate) const OWNER: User = virtio_fs_conformance::OWNER.with_umask(0o022);
pub(crate) const MEMBER: User = virtio_fs_conformance::MEMBER.with_umask(0o007);

/// What is there at first.
pub(crate) fn setting() -> [Step; 6] {
    [
        chmod("/", 0o777),
        mkdir("d", 0o777),
        mkdir("d/e", 0o755),
        chown("d", Some(1000), Some(1000)),
        mkdir("t", 0o1777),
        chown("t", None, Some(2000)),
    ]
    .map(Step::on_host)
}

/// Files that are open at first, for scripts in which opening fails often; of one something is kept.
pub(crate) fn open_files() -> [Step; 5] {
    [
        create(0, "a", O_RDWR, 0o644),
        write(0, 0, [7; 20_000]),
        read(0, 0, 20_000),
        create(1, "d/a", O_RDWR | O_APPEND, 0o600),
        create(2, "b", O_RDWR, 0o666),
    ]
}

/// Files that are open at first, and that a driver with a window has mapped, since it has met them twice; one of them is open
/// past that, too.
pub(crate) fn mapped_files() -> Vec<Step> {
    let file = |slot, path| {
        let whole = (0..90_000_usize).map(|at| (at ^ at >> 8) as u8).collect::<Vec<_>>();
        let read_twice = [read(slot, 100, 9000), read(slot, 5000, 9000), write(slot, 8000, [7; 5000])];
        [create(slot, path, O_RDWR, 0o644), write(slot, 0, whole)].into_iter().chain(read_twice)
    };
    let others = [open(2, "a", O_RDWR | O_DIRECT), open(3, "d/a", O_RDWR | O_APPEND)];
    file(0, "a").chain(file(1, "d/a")).chain(others).collect()
}

/// So much larger are large files, of which a window has room for a few pieces.
const LARGER: u64 = 64;

/// The same step, in a file that is so much larger.
pub(crate) fn enlarge(mut step: Step) -> Step {
    match &mut step.op {
        Op::Read { offset, length, .. } | Op::MapRead { offset, length, .. } => {
            *offset *= LARGER;
            *length *= 8;
        }
        Op::Write { offset, data, .. } => {
            *offset *= LARGER;
            // What files are full of at first.
            data.0 = data.0.repeat(if data.0.len() > 10_000 { LARGER as usize } else { 1 });
        }
        Op::MapWrite { offset, .. } | Op::SeekData { offset, .. } | Op::SeekHole { offset, .. } => *offset *= LARGER,
        Op::MapAdd { offset, .. } => *offset *= LARGER,
        Op::Ftruncate { size, .. } | Op::Truncate { size, .. } => *size *= LARGER,
        Op::Allocate { offset, length, .. } | Op::Map { offset, length, .. } => {
            *offset *= LARGER;
            *length *= LARGER;
        }
        Op::CopyRange { offset, to_offset, length, .. } => {
            *offset *= LARGER;
            *to_offset *= LARGER;
            *length *= LARGER;
        }
        _ => {}
    }
    step
}

/// Few paths, so that steps meet.
fn path() -> impl Strategy<Value = &'static str> + Clone {
    select(vec!["a", "b", "c", "d/a", "d/b", "d/e/a", "t/a", "t/b", "d", "d/e", "t", "d/e/f", "a/b"])
}

fn slot() -> impl Strategy<Value = Slot> + Clone {
    0..4_u8
}

/// Places in a file, many of them where blocks and other ranges begin.
fn place() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![0..100_u64, 0..70_000_u64, (0..17_u64).prop_map(|page| page << 12)]
}

/// No set-id bits: the driver takes them away before a change of the content, also if nothing comes of it.
fn permissions() -> impl Strategy<Value = u16> + Clone {
    select(vec![0o644, 0o600, 0o755, 0o777, 0o700, 0o640, 0o660, 0o444, 0o000, 0o1777])
}

fn time() -> impl Strategy<Value = Time> + Clone {
    prop_oneof![
        Just(Time::Now),
        Just(Time::Omit),
        (-1_000_000..1_000_000_000_i64, 0..1_000_000_000_u32)
            .prop_map(|(seconds, nanoseconds)| Time::At(seconds, nanoseconds)),
    ]
}

fn data() -> impl Strategy<Value = Vec<u8>> + Clone {
    let length = prop_oneof![0..20_usize, 0..9000_usize];
    (any::<u8>(), length).prop_map(|(seed, length)| (0..length).map(|at| seed ^ (at ^ at >> 8) as u8).collect())
}

/// Someone among `users`, but mostly user 0, and sometimes the host.
fn by(users: &'static [User], step: impl Strategy<Value = Step>) -> impl Strategy<Value = Step> {
    (step, select(users), 0..8_u8).prop_map(|(step, user, host)| if host == 0 { step.on_host() } else { step.by(user) })
}

fn opening() -> impl Strategy<Value = Step> {
    let access = select(vec![O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR]);
    let extra = select(vec![0, 0, 0, O_APPEND, O_DIRECT, O_TRUNC, O_EXCL, O_NOFOLLOW]);
    // By the layer `fs`, who truncates writes.
    let flags = (access, extra).prop_map(|(access, extra)| access | extra);
    prop_oneof![
        2 => (slot(), path(), flags.clone(), permissions()).prop_map(|(slot, path, flags, bits)| {
            // Who makes a file writes it, by the layer `fs`.
            let flags = if flags & (O_WRONLY | O_RDWR) == 0 { flags | O_RDWR } else { flags };
            // virtiofsd takes O_DIRECT out of OPEN, not of CREATE, and a disk then wants whole blocks.
            create(slot, path, flags & !O_DIRECT, bits)
        }),
        1 => (slot(), path(), flags).prop_map(|(slot, path, flags)| open(slot, path, flags & !O_EXCL)),
    ]
}

/// Done to open files.
fn use_of_file() -> impl Strategy<Value = Step> {
    let modes = select(vec![
        0,
        FALLOC_KEEP_SIZE,
        FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE,
        FALLOC_ZERO_RANGE,
        FALLOC_COLLAPSE_RANGE,
        FALLOC_INSERT_RANGE,
    ]);
    prop_oneof![
        6 => (slot(), place(), data()).prop_map(|(slot, offset, data)| write(slot, offset, data)),
        4 => (slot(), place(), 0..20_000_usize).prop_map(|(slot, offset, length)| read(slot, offset, length)),
        2 => (slot(), place()).prop_map(|(slot, size)| ftruncate(slot, size)),
        1 => slot().prop_map(fstat),
        1 => slot().prop_map(close),
        1 => (slot(), any::<bool>()).prop_map(|(slot, data_only)| fsync(slot, data_only)),
        2 => (slot(), place(), place(), modes).prop_map(|(slot, offset, length, mode)| allocate(slot, offset, length, mode)),
        2 => (slot(), place(), slot(), place(), place())
            .prop_map(|(slot, offset, to, to_offset, length)| copy_range(slot, offset, to, to_offset, length)),
        1 => (slot(), place()).prop_map(|(slot, offset)| seek_data(slot, offset)),
        1 => (slot(), place()).prop_map(|(slot, offset)| seek_hole(slot, offset)),
        1 => (slot(), permissions()).prop_map(|(slot, bits)| fchmod(slot, bits)),
        1 => (slot(), time(), time()).prop_map(|(slot, accessed, modified)| fset_times(slot, accessed, modified)),
    ]
}

fn change_of_names() -> impl Strategy<Value = Step> {
    let target = select(vec!["a", "b", "../a", "d", "e", "/d/b", "nowhere", "."]);
    let flags = select(vec![0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE]);
    prop_oneof![
        2 => (path(), permissions(), select(vec![0, 0, 0o2000])).prop_map(|(path, bits, set_gid)| mkdir(path, bits | set_gid)),
        2 => path().prop_map(rmdir),
        2 => path().prop_map(file),
        3 => path().prop_map(unlink),
        4 => (path(), path(), flags).prop_map(|(from, to, flags)| rename_with(from, to, flags)),
        2 => (path(), path()).prop_map(|(original, path)| link(original, path)),
        2 => (target, path()).prop_map(|(target, path)| symlink(target, path)),
    ]
}

fn change_of_attributes() -> impl Strategy<Value = Step> {
    let owner = prop_oneof![Just(None), select(vec![0, 1000, 1001]).prop_map(Some)];
    let group = prop_oneof![Just(None), select(vec![0, 1000, 2000]).prop_map(Some)];
    let name = select(vec!["user.a", "user.b", "user.c"]);
    prop_oneof![
        (path(), permissions()).prop_map(|(path, bits)| chmod(path, bits)),
        // Without owner and group, Linux takes set-id bits away, and the driver does nothing.
        (path(), owner, group)
            .prop_filter("nobody", |(_, uid, gid)| uid.is_some() || gid.is_some())
            .prop_map(|(path, uid, gid)| lchown(path, uid, gid)),
        // tmpfs leaves the time of a file that was empty and stays so.
        (path(), place()).prop_map(|(path, size)| truncate(path, size.max(1))),
        // Where there is nothing to set, Linux does not look.
        (path(), time(), time())
            .prop_filter("nothing", |(_, accessed, modified)| (accessed, modified) != (&Time::Omit, &Time::Omit))
            .prop_map(|(path, accessed, modified)| set_link_times(path, accessed, modified)),
        (path(), name.clone(), data(), 0..3_u32).prop_map(|(path, name, value, flags)| set_xattr(
            path,
            name,
            &value[..value.len().min(100)],
            flags
        )),
        (path(), name).prop_map(|(path, name)| remove_xattr(path, name)),
    ]
}

fn look() -> impl Strategy<Value = Step> {
    prop_oneof![
        path().prop_map(stat),
        path().prop_map(lstat),
        path().prop_map(readlink),
        path().prop_map(list),
        (path(), 0..8_u32).prop_map(|(path, wanted)| access(path, wanted)),
        path().prop_map(|path| get_xattr(path, "user.a", 999)),
        path().prop_map(|path| list_xattr(path, 999)),
    ]
}

/// Mostly what is in files.
pub(crate) fn content() -> impl Strategy<Value = Step> {
    by(
        &[ROOT],
        prop_oneof![3 => opening(), 12 => use_of_file(), 1 => change_of_names(), 1 => change_of_attributes(), 1 => look()],
    )
}

/// Mappings of open files, and what is done to them.
fn use_of_mapping() -> impl Strategy<Value = Step> {
    let mapping = || 10..12_u8;
    let place = || prop_oneof![0..40_000_u64, (0..5_000_u64).prop_map(|number| number << 3), Just(0)];
    prop_oneof![
        3 => (slot(), mapping(), self::place(), 0..40_000_u64, any::<bool>())
            .prop_map(|(slot, mapping, offset, length, writable)| map(slot, mapping, offset, length, writable)),
        3 => (mapping(), place(), 0..10_000_usize).prop_map(|(mapping, offset, length)| map_read(mapping, offset, length)),
        3 => (mapping(), place(), data()).prop_map(|(mapping, offset, data)| map_write(mapping, offset, data)),
        2 => (mapping(), place(), any::<u64>()).prop_map(|(mapping, offset, more)| map_add(mapping, offset, more)),
        1 => mapping().prop_map(unmap),
    ]
}

/// Almost only what is in files that are open, and mapped where the mount has a window.
pub(crate) fn open_content() -> impl Strategy<Value = Step> {
    let use_of_file =
        if maps() { prop_oneof![2 => use_of_file(), 1 => use_of_mapping()].boxed() } else { use_of_file().boxed() };
    by(&[ROOT], prop_oneof![1 => opening(), 30 => use_of_file, 1 => change_of_names(), 1 => change_of_attributes()])
}

/// Mostly names and attributes.
pub(crate) fn names(users: &'static [User]) -> impl Strategy<Value = Step> {
    by(
        users,
        prop_oneof![1 => opening(), 1 => use_of_file(), 8 => change_of_names(), 3 => change_of_attributes(), 3 => look()],
    )
}

/// All alike.
pub(crate) fn everything(users: &'static [User]) -> impl Strategy<Value = Step> {
    by(
        users,
        prop_oneof![3 => opening(), 4 => use_of_file(), 4 => change_of_names(), 4 => change_of_attributes(), 2 => look()],
    )
}
