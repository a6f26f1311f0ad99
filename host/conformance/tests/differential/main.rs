//! Each operation of the layers `vnode` and `fs` with good and bad arguments, on the real virtiofsd and by system calls.
//! For root.

mod attributes;
mod files;
mod names;
mod permissions;
mod ranges;
mod rename;
mod set_ids;
mod xattrs;
