//! What keeps the daemon within the directory it serves, as virtiofsd does it: sandbox, capabilities, open files. And
//! the file system in it.

use crate::counted_fs::CountedFs;
use crate::dax_rule::DaxRule;
use crate::files::{Files, Tree};
use crate::host_changes::HostChanges;
use crate::options::Options;
use crate::version_table::{VersionTable, Watch};
use crate::watched_fs::WatchedFs;
use std::collections::BTreeSet;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use virtiofsd::filesystem::FileSystem;
use virtiofsd::passthrough::read_only::PassthroughFsRo;
use virtiofsd::passthrough::{CachePolicy, Config, InodeFileHandlesMode, PassthroughFs};
use virtiofsd::sandbox::Sandbox;

/// Descriptors that are not for the guest's inodes and files: those of guest memory, of queues, of live mappings.
const OWN_DESCRIPTORS: u64 = 700;

/// What virtiofsd keeps of root's capabilities.
const CAPABILITIES: [&str; 8] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID", "MKNOD", "SETFCAP"];

/// What is served.
pub(crate) struct Served {
    pub(crate) files: Box<dyn Files>,
    /// What is to be done between two beats of the table, if there is one.
    pub(crate) watch: Option<Watch>,
}

/// Raises the limit of open files, enters the sandbox, gives up capabilities, and makes the file system. With
/// namespaces the process that returns is a child of the one that called, which waits for it and ends as it ends.
///
/// No other thread may run. `window` tells the file system whether a front end has a window; what guests and the
/// host change is counted in `table`.
pub(crate) fn enter(
    options: &Options,
    listener: &UnixListener,
    window: Arc<AtomicBool>,
    table: Option<(Arc<VersionTable>, HostChanges)>,
) -> Result<Served, String> {
    if !Path::new(&options.shared_dir).is_dir() {
        return Err(format!("--shared-dir: {} is no directory", options.shared_dir));
    }
    let open_files = virtiofsd::limits::setup_rlimit_nofile(options.rlimit_nofile);
    let open_files = open_files.map_err(|error| format!("the limit of open files: {error}"))?;
    let own = OWN_DESCRIPTORS + options.window.map_or(0, |_| options.max_maps as u64);
    let of_guest = open_files.checked_sub(own).filter(|number| *number > 0);
    let guest_fd_limit =
        of_guest.ok_or_else(|| format!("only {open_files} files may be open; {own} are needed beside the guest's"))?;

    let mut sandbox = Sandbox::new(options.shared_dir.clone(), options.sandbox, Vec::new(), Vec::new());
    let mountinfo_prefix =
        sandbox.get_mountinfo_prefix().map_err(|error| format!("{}: {error}", options.shared_dir))?;
    // It wants the listener to close it in the process that only waits.
    let clone = listener.try_clone().map_err(|error| error.to_string())?;
    sandbox.enter(clone.into()).map_err(|error| format!("error entering sandbox: {error}"))?;

    let timeout = Duration::from_secs(match options.cache {
        CachePolicy::Never => 0,
        CachePolicy::Auto => 1,
        CachePolicy::Always | CachePolicy::Metadata => 86400,
    });
    let config = Config {
        entry_timeout: timeout,
        attr_timeout: timeout,
        cache_policy: options.cache.clone(),
        root_dir: sandbox.get_root_dir(),
        mountinfo_prefix,
        xattr: options.xattr,
        proc_sfd_rawfd: sandbox.get_proc_self_fd(),
        proc_mountinfo_rawfd: sandbox.get_mountinfo_fd(),
        announce_submounts: options.announce_submounts,
        inode_file_handles: options.inode_file_handles,
        readdirplus: options.readdirplus && !matches!(options.cache, CachePolicy::Never),
        writeback: options.writeback,
        allow_direct_io: options.allow_direct_io,
        killpriv_v2: options.killpriv_v2,
        security_label: options.security_label,
        posix_acl: options.posix_acl,
        clean_noatime: true,
        guest_fd_limit,
        ..Config::default()
    };
    // An ordinary user has no capabilities to give up, but those in the namespace, which virtiofsd gives up as well.
    if rustix::process::geteuid().is_root() {
        give_up_capabilities(options)?;
    }
    let no_files = |error| format!("{} cannot be served: {error}", options.shared_dir);
    let (dax, readonly) = (options.dax.clone(), options.readonly);
    Ok(match (readonly, table) {
        (true, None) => unwatched(Tree::new(PassthroughFsRo::new(config).map_err(no_files)?, dax, window)),
        (false, None) => unwatched(Tree::new(PassthroughFs::new(config).map_err(no_files)?, dax, window)),
        (true, Some(table)) => watched(PassthroughFsRo::new(config).map_err(no_files)?, table, readonly, dax, window),
        (false, Some(table)) => watched(PassthroughFs::new(config).map_err(no_files)?, table, readonly, dax, window),
    })
}

fn unwatched(files: impl Files + 'static) -> Served {
    Served { files: Box::new(files), watch: None }
}

/// Changes are counted: those that guests make, and those of the host.
fn watched<F: FileSystem + Send + Sync + 'static>(
    file_system: F,
    (table, changes): (Arc<VersionTable>, HostChanges),
    readonly: bool,
    dax: DaxRule,
    window: Arc<AtomicBool>,
) -> Served {
    let counted = CountedFs::new(file_system, table.clone(), readonly);
    let watched = WatchedFs::new(counted, changes, table);
    let watch = Some(watched.watch());
    Served { files: Box::new(Tree::new(watched, dax, window)), watch }
}

fn give_up_capabilities(options: &Options) -> Result<(), String> {
    let mut kept: BTreeSet<String> = CAPABILITIES.into_iter().map(String::from).collect();
    if options.inode_file_handles != InodeFileHandlesMode::Never {
        kept.insert("DAC_READ_SEARCH".into());
    }
    change_capabilities(&mut kept, options.modcaps.as_deref().unwrap_or_default())?;
    capng::clear(capng::Set::BOTH);
    let names = kept.iter().map(String::as_str).collect();
    let both = capng::Type::PERMITTED | capng::Type::EFFECTIVE;
    capng::updatev(capng::Action::ADD, both, names)
        .and_then(|()| capng::apply(capng::Set::BOTH))
        .map_err(|error| format!("capabilities cannot be given up: {error}"))
}

/// Applies the list of `--modcaps`.
fn change_capabilities(kept: &mut BTreeSet<String>, list: &str) -> Result<(), String> {
    for word in list.split(':').filter(|word| !word.is_empty()) {
        let wrong = || format!("--modcaps: `{word}` is no capability behind a + or -");
        let (sign, name) = word.split_at_checked(1).ok_or_else(wrong)?;
        let name = name.to_uppercase();
        capng::name_to_capability(&name).map_err(|_| wrong())?;
        match sign {
            "+" => kept.insert(name),
            "-" => kept.remove(&name),
            _ => return Err(wrong()),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_added_and_removed_and_unknown_ones_are_named() {
        let changed = |list| {
            let mut kept = BTreeSet::from(["CHOWN".into(), "MKNOD".into()]);
            change_capabilities(&mut kept, list).map(|()| kept.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(changed(""), Ok("CHOWN MKNOD".into()));
        assert_eq!(changed("+sys_admin:-chown"), Ok("MKNOD SYS_ADMIN".into()));
        for wrong in ["chown", "+nothing", "*chown", "+", "é"] {
            let error = changed(wrong).expect_err(wrong);
            assert!(error.contains(wrong), "{error}");
        }
    }
}
