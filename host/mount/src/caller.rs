//! On whose behalf a request is.

use fuser::Request;
use std::fs;
use std::sync::Arc;
use virtio_fs::Credentials;

/// The credentials of the process that made `request`, which creates something under `umask`.
pub(crate) fn credentials(request: &Request, umask: u32) -> Arc<Credentials> {
    let (uid, gid, pid) = (request.uid(), request.gid(), request.pid());
    // Groups give root nothing that it has not got.
    let groups = if uid == 0 { Vec::new() } else { supplementary_groups(pid) };
    Arc::new(Credentials { uid, gid, groups, pid, umask: (umask & 0o777) as u16, ..Credentials::default() })
}

/// FUSE requests carry one group. The others are looked up, as libfuse does; the thread waits for the answer, so its
/// number still means it. There are none for a process that cannot be seen from here.
fn supplementary_groups(thread: u32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{thread}/task/{thread}/status")).unwrap_or_default();
    groups_in(&status)
}

fn groups_in(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    line.unwrap_or_default().split_whitespace().filter_map(|group| group.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_from_the_status_of_a_process() {
        assert_eq!(groups_in("Name:\tx\nGid:\t1\t1\t1\t1\nGroups:\t4 24 1000 \nNStgid:\t7\n"), [4, 24, 1000]);
        assert!(groups_in("Groups:\t\n").is_empty());
        assert!(groups_in("").is_empty());
    }

    #[test]
    fn this_process_has_the_groups_that_the_kernel_says() {
        let own: Vec<u32> = rustix::process::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        assert_eq!(supplementary_groups(std::process::id()), own);
    }
}
