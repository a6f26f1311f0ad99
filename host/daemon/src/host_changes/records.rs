//! What can be read from a fanotify group (fanotify(7)): events, each with records that name inodes.

/// An inode, as its file system names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle<'a> {
    pub(super) kind: i32,
    pub(super) bytes: &'a [u8],
}

/// A directory, and a name in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) directory: Handle<'a>,
    pub(super) name: &'a [u8],
}

/// An event. Several of the same objects may have become one: then all their bits are in `mask`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) mask: u64,
    /// Who did it, as numbered for who reads: 0 if that one has no number there.
    pub(super) pid: i32,
    /// The object itself. A directory of which an event tells is `place` instead, with the name `.`.
    pub(super) object: Option<Handle<'a>>,
    pub(super) place: Option<Place<'a>>,
    /// From where something was renamed, and to where.
    pub(super) old_place: Option<Place<'a>>,
    pub(super) new_place: Option<Place<'a>>,
}

/// The length of `fanotify_event_metadata`.
const METADATA: usize = 24;
/// Where a record (`fanotify_event_info_fid`) has its `file_handle`, and that has its bytes.
const RECORD_HANDLE: usize = 12;
const HANDLE_BYTES: usize = 8;

/// Takes the first event off `bytes`. `None` if there is none, or it is not as it should be.
pub(super) fn take<'a>(bytes: &mut &'a [u8]) -> Option<Event<'a>> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let (event, rest) = bytes.split_at_checked(length)?;
    let (metadata, _) = event.split_at_checked(METADATA)?;
    if metadata[4] != libc::FANOTIFY_METADATA_VERSION {
        return None;
    }
    let mut records = event.get(usize::from(u16_at(metadata, 6)?)..)?;
    let mask = u64::from_ne_bytes(metadata[8..16].try_into().ok()?);
    let mut told = Event { mask, pid: u32_at(metadata, 20)?.cast_signed(), ..Event::default() };
    while !records.is_empty() {
        let length = Some(usize::from(u16_at(records, 2)?)).filter(|length| *length > 0)?;
        let (record, rest) = records.split_at_checked(length)?;
        records = rest;
        match record[0] {
            libc::FAN_EVENT_INFO_TYPE_FID => told.object = Some(handle(record)?.0),
            libc::FAN_EVENT_INFO_TYPE_DFID_NAME => told.place = Some(place(record)?),
            libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => told.old_place = Some(place(record)?),
            libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => told.new_place = Some(place(record)?),
            // A directory whose child has no name any more; nothing that is not told otherwise.
            _ => {}
        }
    }
    *bytes = rest;
    Some(told)
}

/// The handle of a record, and what follows it.
fn handle(record: &[u8]) -> Option<(Handle<'_>, &[u8])> {
    let handle = record.get(RECORD_HANDLE..)?;
    let length = usize::try_from(u32_at(handle, 0)?).ok()?;
    let kind = u32_at(handle, 4)?.cast_signed();
    let (bytes, rest) = handle.get(HANDLE_BYTES..)?.split_at_checked(length)?;
    Some((Handle { kind, bytes }, rest))
}

fn place(record: &[u8]) -> Option<Place<'_>> {
    let (directory, rest) = handle(record)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(Place { directory, name: &rest[..end] })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.18 tells, on ext4, that process 5 has made the file 0x33, named `a`, in the directory 0x22.
    #[rustfmt::skip]
    const CREATED: [u8; 84] = [
        84, 0, 0, 0, 3, 0, 24, 0, // length, version, length of the metadata
        0, 1, 0, 0, 0, 0, 0, 0, // FAN_CREATE
        0xff, 0xff, 0xff, 0xff, 5, 0, 0, 0, // no descriptor, process
        2, 0, 32, 0, 1, 2, 3, 4, 5, 6, 7, 8, // DFID_NAME, length, file system
        8, 0, 0, 0, 1, 0, 0, 0, // length of the handle, kind
        0x22, 0, 0, 0, 9, 9, 9, 9, b'a', 0, 0, 0,
        1, 0, 28, 0, 1, 2, 3, 4, 5, 6, 7, 8, // FID
        8, 0, 0, 0, 1, 0, 0, 0,
        0x33, 0, 0, 0, 8, 8, 8, 8,
    ];

    #[test]
    #[cfg(target_endian = "little")]
    fn an_event_tells_who_did_what_where_and_to_what() {
        let two = [CREATED, CREATED].concat();
        let mut bytes = &two[..];
        let event = take(&mut bytes).unwrap();
        assert_eq!((event.mask, event.pid), (libc::FAN_CREATE, 5));
        let directory = Handle { kind: 1, bytes: &[0x22, 0, 0, 0, 9, 9, 9, 9] };
        assert_eq!(event.place, Some(Place { directory, name: b"a" }));
        assert_eq!(event.object, Some(Handle { kind: 1, bytes: &[0x33, 0, 0, 0, 8, 8, 8, 8] }));
        assert_eq!((event.old_place, event.new_place), (None, None));
        assert_eq!(take(&mut bytes), Some(event));
        assert_eq!(take(&mut bytes), None);
    }

    #[test]
    fn what_is_cut_short_or_wrong_is_no_event() {
        for length in 0..CREATED.len() {
            assert_eq!(take(&mut &CREATED[..length]), None, "{length}");
        }
        let wrong = [
            ("version", 4, 2),
            ("length", 0, 23),
            ("length of the metadata", 6, 85),
            ("length of a record", 26, 0),
            ("length of a record", 26, 61),
            ("length of the second record", 58, 29),
            ("length of a handle", 36, 21),
            ("a name without end", 36, 12),
        ];
        for (what, at, value) in wrong {
            let mut bytes = CREATED;
            bytes[at] = value;
            assert_eq!(take(&mut &bytes[..]), None, "{what}");
        }
    }
}
