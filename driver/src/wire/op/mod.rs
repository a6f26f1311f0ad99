//! The FUSE operations, one file each.

mod batch_forget;
mod destroy;
mod forget;
mod getattr;
pub(crate) mod init;
mod lookup;
mod open;
mod opendir;
mod read;
mod readdir;
mod readdirplus;
mod readlink;
mod release;
mod releasedir;
pub(crate) mod statfs;
mod statx;

pub(crate) use batch_forget::{BatchForget, ForgetOne};
pub(crate) use destroy::Destroy;
pub(crate) use forget::Forget;
pub(crate) use getattr::Getattr;
pub(crate) use init::{Init, InitReply};
pub(crate) use lookup::Lookup;
pub(crate) use open::{Open, Opened};
pub(crate) use opendir::Opendir;
pub(crate) use read::{Read, ReadArgs};
pub(crate) use readdir::Readdir;
pub(crate) use readdirplus::Readdirplus;
pub(crate) use readlink::Readlink;
pub(crate) use release::Release;
pub(crate) use releasedir::Releasedir;
pub(crate) use statfs::Statfs;
pub(crate) use statx::Statx;
