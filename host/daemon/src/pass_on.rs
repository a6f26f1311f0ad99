//! What file systems around another one have in common.

/// The methods of these names are passed on unchanged, to `self.inner`. Who passes them on imports this, and the types of
/// their arguments.
macro_rules! pass_on {
    ($($name:ident)*) => {
        $(pass_on! { @ $name })*
    };
    (fn $name:ident $(<$generic:ident: $bound:path>)? (&self $(, $argument:ident: $kind:ty)* $(,)?) -> $result:ty;) => {
        fn $name $(<$generic: $bound>)? (&self $(, $argument: $kind)*) -> $result {
            self.inner.$name($($argument),*)
        }
    };
    (@ readlink) => {
        pass_on! { fn readlink(&self, context: Context, nodeid: Self::Inode) -> io::Result<Vec<u8>>; }
    };
    (@ symlink) => {
        pass_on! {
            fn symlink(
                &self, context: Context, target: &CStr, parent: Self::Inode, name: &CStr, extensions: Extensions,
            ) -> io::Result<Entry>;
        }
    };
    (@ mkdir) => {
        pass_on! {
            fn mkdir(
                &self, context: Context, parent: Self::Inode, name: &CStr, mode: u32, umask: u32,
                extensions: Extensions,
            ) -> io::Result<Entry>;
        }
    };
    (@ unlink) => {
        pass_on! { fn unlink(&self, context: Context, parent: Self::Inode, name: &CStr) -> io::Result<()>; }
    };
    (@ rmdir) => {
        pass_on! { fn rmdir(&self, context: Context, parent: Self::Inode, name: &CStr) -> io::Result<()>; }
    };
    (@ rename) => {
        pass_on! {
            fn rename(
                &self, context: Context, old: Self::Inode, old_name: &CStr, new: Self::Inode, new_name: &CStr,
                flags: u32,
            ) -> io::Result<()>;
        }
    };
    (@ open) => {
        pass_on! {
            fn open(
                &self, context: Context, nodeid: Self::Inode, kill_priv: bool, flags: u32,
            ) -> io::Result<(Option<Self::Handle>, OpenOptions)>;
        }
    };
    (@ read) => {
        pass_on! {
            fn read<W: ZeroCopyWriter>(
                &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, writer: W, size: u32, offset: u64,
                lock_owner: Option<u64>, flags: u32,
            ) -> io::Result<usize>;
        }
    };
    (@ write) => {
        pass_on! {
            fn write<R: ZeroCopyReader>(
                &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, reader: R, size: u32, offset: u64,
                lock_owner: Option<u64>, delayed: bool, kill_priv: bool, flags: u32,
            ) -> io::Result<usize>;
        }
    };
    (@ flush) => {
        pass_on! {
            fn flush(
                &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, lock_owner: u64,
            ) -> io::Result<()>;
        }
    };
    (@ fsync) => {
        pass_on! {
            fn fsync(
                &self, context: Context, nodeid: Self::Inode, data_only: bool, handle: Self::Handle,
            ) -> io::Result<()>;
        }
    };
    (@ fallocate) => {
        pass_on! {
            fn fallocate(
                &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, mode: u32, offset: u64,
                length: u64,
            ) -> io::Result<()>;
        }
    };
    (@ release) => {
        pass_on! {
            fn release(
                &self, context: Context, nodeid: Self::Inode, flags: u32, handle: Self::Handle, flush: bool,
                flock_release: bool, lock_owner: Option<u64>,
            ) -> io::Result<()>;
        }
    };
    (@ setxattr) => {
        pass_on! {
            fn setxattr(
                &self, context: Context, nodeid: Self::Inode, name: &CStr, value: &[u8], flags: u32,
                more: SetxattrFlags,
            ) -> io::Result<()>;
        }
    };
    (@ getxattr) => {
        pass_on! {
            fn getxattr(
                &self, context: Context, nodeid: Self::Inode, name: &CStr, size: u32,
            ) -> io::Result<GetxattrReply>;
        }
    };
    (@ listxattr) => {
        pass_on! {
            fn listxattr(
                &self, context: Context, nodeid: Self::Inode, size: u32,
            ) -> io::Result<ListxattrReply>;
        }
    };
    (@ removexattr) => {
        pass_on! { fn removexattr(&self, context: Context, nodeid: Self::Inode, name: &CStr) -> io::Result<()>; }
    };
    (@ opendir) => {
        pass_on! {
            fn opendir(
                &self, context: Context, nodeid: Self::Inode, flags: u32,
            ) -> io::Result<(Option<Self::Handle>, OpenOptions)>;
        }
    };
    (@ readdir) => {
        pass_on! {
            fn readdir(
                &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, size: u32, offset: u64,
            ) -> io::Result<Self::DirIter>;
        }
    };
    (@ fsyncdir) => {
        pass_on! {
            fn fsyncdir(
                &self, context: Context, nodeid: Self::Inode, data_only: bool, handle: Self::Handle,
            ) -> io::Result<()>;
        }
    };
    (@ releasedir) => {
        pass_on! {
            fn releasedir(
                &self, context: Context, nodeid: Self::Inode, flags: u32, handle: Self::Handle,
            ) -> io::Result<()>;
        }
    };
    (@ access) => {
        pass_on! { fn access(&self, context: Context, nodeid: Self::Inode, mask: u32) -> io::Result<()>; }
    };
    (@ lseek) => {
        pass_on! {
            fn lseek(
                &self, context: Context, nodeid: Self::Inode, handle: Self::Handle, offset: u64, whence: u32,
            ) -> io::Result<u64>;
        }
    };
    (@ copyfilerange) => {
        pass_on! {
            fn copyfilerange(
                &self, context: Context, from: Self::Inode, from_handle: Self::Handle, from_offset: u64,
                to: Self::Inode, to_handle: Self::Handle, to_offset: u64, length: u64, flags: u64,
            ) -> io::Result<usize>;
        }
    };
    (@ syncfs) => {
        pass_on! { fn syncfs(&self, context: Context, nodeid: Self::Inode) -> io::Result<()>; }
    };
    (@ getlk) => {
        pass_on! { fn getlk(&self) -> io::Result<()>; }
    };
    (@ setlk) => {
        pass_on! { fn setlk(&self) -> io::Result<()>; }
    };
    (@ setlkw) => {
        pass_on! { fn setlkw(&self) -> io::Result<()>; }
    };
    (@ ioctl) => {
        pass_on! { fn ioctl(&self) -> io::Result<()>; }
    };
    (@ bmap) => {
        pass_on! { fn bmap(&self) -> io::Result<()>; }
    };
    (@ poll) => {
        pass_on! { fn poll(&self) -> io::Result<()>; }
    };
    (@ notify_reply) => {
        pass_on! { fn notify_reply(&self) -> io::Result<()>; }
    };
    (@ tmpfile) => {
        pass_on! { fn tmpfile(&self) -> io::Result<(Entry, Option<Self::Handle>, OpenOptions)>; }
    };
    (@ getattr) => {
        pass_on! {
            fn getattr(
                &self, context: Context, nodeid: Self::Inode, handle: Option<Self::Handle>,
            ) -> io::Result<(Attr, Duration)>;
        }
    };
    (@ statfs) => {
        pass_on! { fn statfs(&self, context: Context, nodeid: Self::Inode) -> io::Result<libc::statvfs64>; }
    };
    (@ setattr) => {
        pass_on! {
            fn setattr(
                &self, context: Context, nodeid: Self::Inode, attr: SetattrIn, handle: Option<Self::Handle>,
                valid: SetattrValid,
            ) -> io::Result<(Attr, Duration)>;
        }
    };
}
pub(crate) use pass_on;
