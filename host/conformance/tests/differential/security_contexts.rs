//! Security contexts of new inodes, which virtiofsd keeps as extended attributes, whether or not the host has SELinux.

use rustix::fs::{chmod, lgetxattr};
use virtio_fs::{Credentials, FileType, InitFlags, OpenFlags, SecurityContext};
use virtio_fs_conformance::{OWNER, ROOT, World};

const NAME: &str = "security.selinux";
const VALUE: &[u8] = b"system_u:object_r:guest_t:s0\0";

#[test]
fn new_inodes_have_the_security_context_of_who_makes_them() {
    let world = World::new(&["--security-label", "--modcaps=+sys_admin"]);
    assert!(world.fs().negotiated().flags.contains(InitFlags::SECURITY_CTX));
    chmod(world.served(), 0o777.into()).unwrap();
    for user in [ROOT, OWNER] {
        let context = SecurityContext { name: NAME.into(), value: VALUE.into() };
        let makers = [
            ("labelled", Credentials { security_context: Some(context), ..user.credentials() }, Some(VALUE)),
            ("plain", user.credentials(), None),
        ];
        for (what, credentials, expected) in makers {
            let fs = world.fs().with_credentials(credentials);
            let root = fs.root();
            let name = |kind: &str| format!("{what} {kind} of {}", user.uid);
            root.create(name("file"), OpenFlags::WRITE_ONLY, 0o600).unwrap().0.close().unwrap();
            root.mkdir(name("directory"), 0o700).unwrap();
            root.symlink(name("link"), b"nowhere").unwrap();
            root.mknod(name("node"), FileType::Regular, 0o600, 0).unwrap();
            root.mknod(name("fifo"), FileType::Fifo, 0o600, 0).unwrap();
            for kind in ["file", "directory", "link", "node", "fifo"] {
                let mut value = [0; 100];
                let bytes = lgetxattr(world.served().join(name(kind)), NAME, &mut value[..]);
                assert_eq!(bytes.ok().map(|bytes| &value[..bytes]), expected, "{}", name(kind));
            }
        }
    }
}
