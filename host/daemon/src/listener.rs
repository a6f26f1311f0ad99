//! The sockets that the daemon listens to.

use rustix::fs::Mode;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Listens at a path, in place of a socket that nobody listens to any more. Only this user may connect.
///
/// No other thread may run, since the umask is changed for a moment.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, String> {
    let refused = |error: io::Error| format!("cannot listen at {}: {error}", path.display());
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(format!("cannot listen at {}: something else is there", path.display()));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(format!("cannot listen at {}: another process does", path.display()));
        }
        Ok(_) => fs::remove_file(path).map_err(refused)?,
    }
    let umask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let listener = UnixListener::bind(path);
    rustix::process::umask(umask);
    listener.map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
        let folder = std::env::temp_dir().join(format!("virtio-fs-daemon-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (socket, file) = (folder.join("socket"), folder.join("file"));
        fs::write(&file, "kept").unwrap();
        let first = listen(&socket).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(listen(&socket).unwrap_err().contains("another process"));
        drop(first);
        assert!(listen(&socket).is_ok());
        assert!(listen(&file).unwrap_err().contains("something else"));
        assert_eq!(fs::read(&file).unwrap(), b"kept");
        assert!(listen(&folder.join("missing/socket")).unwrap_err().contains("No such file"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
