//! Each operation of the layers `vnode` and `fs` with good and bad arguments, on the real virtiofsd and by system
//! calls. For root.

mod acls;
mod attributes;
mod files;
mod more;
mod names;
mod permissions;
mod ranges;
mod read_only;
mod rename;
mod security_contexts;
mod server_permissions;
mod set_ids;
mod submounts;
mod xattrs;
