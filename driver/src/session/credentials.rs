//! On whose behalf requests are sent.

use alloc::vec::Vec;

/// On whose behalf requests are sent, and what goes into the inodes they make.
///
/// Those of a mount are in [`MountOptions`](crate::MountOptions); a [`Node`](crate::vnode::Node) can be had on behalf of
/// others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user; 0 may do everything.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
    /// The other groups of the user.
    pub groups: Vec<u32>,
    /// The process; 0 if there are none.
    pub pid: u32,
    /// Permission bits that new inodes do not get.
    pub umask: u16,
    /// What a security module wants new inodes to be labelled with. Servers that know no
    /// [`SECURITY_CTX`](crate::InitFlags::SECURITY_CTX) are not told.
    pub security_context: Option<SecurityContext>,
}

/// A security label, which the server keeps as an extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityContext {
    /// The attribute's name, such as `security.selinux`.
    pub name: Vec<u8>,
    /// The attribute's value.
    pub value: Vec<u8>,
}

impl Credentials {
    /// For requests of the driver itself.
    pub(crate) const DRIVER: Self =
        Self { uid: 0, gid: 0, groups: Vec::new(), pid: 0, umask: 0, security_context: None };

    /// Whether this user may do everything.
    pub(crate) fn is_privileged(&self) -> bool {
        self.uid == 0
    }

    /// Whether this user is in the group.
    pub(crate) fn is_member_of(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}
