//! A life that changes nothing.

use super::*;

pub(super) const LIFE: Life = Life {
    opcodes: &[
        opcode::INIT,
        opcode::LOOKUP,
        opcode::GETATTR,
        opcode::STATX,
        opcode::READLINK,
        opcode::OPEN,
        opcode::READ,
        opcode::RELEASE,
        opcode::OPENDIR,
        opcode::READDIRPLUS,
        opcode::READDIR,
        opcode::RELEASEDIR,
        opcode::STATFS,
    ],
    tree,
    use_all,
};

pub(super) fn tree(server: &mut FakeServer) {
    server.options.minor = 45;
    server.options.statx = true;
    server.options.destroy_replies = true;
    // The room for replies and the buffers are small, so that thousands of rounds take no time.
    server.options.max_pages = 1;
    server.file("d/f", "content of the file").dir("d/e").symlink("l", "d").symlink("d/m", "/l/f");
}

/// Uses the mount in every way, and goes on after errors. Gives how many of its steps went well.
fn use_all(fs: &VirtioFs) -> usize {
    let mut good = 0;
    let mut note = |is_good: bool| good += usize::from(is_good);
    note(fs.metadata("/").is_ok());
    note(fs.metadata("l/m").is_ok());
    note(fs.read("d/f").is_ok());
    note(fs.read_link("l").is_ok());
    note(fs.statvfs("/").is_ok());
    note(fs.root().statx().is_ok());
    for path in ["/", "l"] {
        let entries = fs.read_dir(path).into_iter().flatten().take(STEPS_MAX);
        entries.flatten().for_each(|entry| {
            note(entry.metadata().is_ok());
            note(entry.file_type().is_ok());
        });
    }
    if let Ok(mut file) = fs.open("d/f") {
        note(file.seek(SeekFrom::End(-3)).is_ok());
        note(file.read(&mut [0; 10]).is_ok());
    }
    fs.maintain();
    good
}
