//! One front end after the other.

use crate::bridge::{Gone, Memory};
use crate::device::Device;
use crate::host_changes::HostChanges;
use crate::listener::listen;
use crate::mapping::{Descriptors, Limits};
use crate::options::Options;
use crate::regions::Regions;
use crate::report::Report;
use crate::requests::Requests;
use crate::sandbox::{self, Served};
use crate::statistics::Statistics;
use crate::version_table::{self, Target, VersionTable};
use crate::window::Rules;
use nix::sys::signal::{SigSet, Signal};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use vhost::vhost_user::{Error as VhostError, Listener};
use vhost_user_backend::{Error, VhostUserDaemon};
use vm_memory::GuestMemoryMmap;

/// Serves until a signal ends the daemon, or it cannot.
pub(crate) fn run(options: Options) -> Result<(), String> {
    let report = Arc::new(Report::open(options.stats.as_ref())?);
    let listener = listen(&options.socket)?;
    let has_window = Arc::new(AtomicBool::new(false));
    let counted = options.version_table.as_ref().map(|target| open_table(target, &options)).transpose()?;
    let table = counted.as_ref().map(|(table, _)| table.clone());
    let Served { files, watch } = sandbox::enter(&options, &listener, has_window.clone(), counted)?;

    // From here on there are threads. They inherit the blocked signals.
    let statistics = Arc::new(Statistics::default());
    end_with_signals(report.clone(), statistics.clone())?;
    report.start(statistics.clone()).map_err(|error| format!("no thread for the statistics: {error}"))?;
    if let (Some(table), Some(watch)) = (&table, watch) {
        let started = table.start(watch);
        started.map_err(|error| format!("no thread for the version table: {error}"))?;
    }
    let sizes = options.map_past_eof.then(|| Arc::new(RwLock::new(())));
    let table_bytes = table.as_ref().map(|table| table.bytes());
    let regions = Regions::new(options.window, options.map_alignment, table_bytes);
    let limits = regions.and_then(|regions| regions.window()).map(|window_bytes| Limits {
        window_bytes,
        alignment: options.map_alignment,
        past_eof: options.map_past_eof,
        readonly: options.readonly,
    });
    let rules = Rules {
        max_maps: options.max_maps,
        past_eof: sizes.clone(),
        statistics: statistics.clone(),
        table: table.clone(),
    };
    let requests = Requests {
        files,
        faults: options.faults,
        statistics: statistics.clone(),
        limits,
        descriptors: Descriptors::default(),
        table,
        sizes,
        was_stopped: AtomicBool::new(false),
        window: Default::default(),
    };
    let device = Device::new(requests, &options.tag, options.request_queues, regions, rules, has_window);
    let device = Arc::new(device);
    let mut listener = Listener::from(listener);
    loop {
        serve_one(&device, &mut listener, &statistics)?;
        report.tell_now(&statistics);
    }
}

/// Begins to watch what the host changes, and then makes the table, or joins it: what was not watched before is void then.
fn open_table(target: &Target, options: &Options) -> Result<(Arc<VersionTable>, HostChanges), String> {
    let is_shared = matches!(target, Target::Shared(..));
    let changes = HostChanges::begin(options.host_changes, Path::new(&options.shared_dir), is_shared)
        .map_err(|error| format!("--host-changes: {error}"))?;
    let table = version_table::open(target, changes.flags())?;
    Ok((Arc::new(table), changes))
}

/// Serves one front end from its connection to its end.
fn serve_one(device: &Arc<Device>, listener: &mut Listener, statistics: &Statistics) -> Result<(), String> {
    let memory = Memory::new(GuestMemoryMmap::new());
    let daemon = VhostUserDaemon::new("vhost-user".into(), device.clone(), memory);
    let mut daemon = daemon.map_err(|error| format!("the threads of the queues: {error}"))?;
    // In virtiofsd's words, which scripts wait for.
    log::info!("Waiting for vhost-user socket connection...");
    daemon.start(listener).map_err(|error| format!("no connection can be accepted: {error}"))?;
    log::info!("Client connected, servicing requests");
    statistics.connections.fetch_add(1, Ordering::Relaxed);
    match daemon.wait() {
        Ok(()) | Err(Error::HandleRequest(VhostError::Disconnected | VhostError::PartialMessage)) => {
            log::info!("Client disconnected");
        }
        Err(error) => log::error!("the connection is given up: {error}"),
    }
    device.front_end_is_gone();
    let gone = Gone::wait_for(daemon);
    device.exit_events().close(gone);
    device.clean_up();
    Ok(())
}

/// Ends the process when it is asked to, with the statistics written.
fn end_with_signals(report: Arc<Report>, statistics: Arc<Statistics>) -> Result<(), String> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().map_err(|error| format!("signals cannot be waited for: {error}"))?;
    let wait = move || {
        while let Err(error) = signals.wait() {
            log::debug!("no signal: {error}");
        }
        report.tell_now(&statistics);
        std::process::exit(0);
    };
    let thread = std::thread::Builder::new().name("signals".into()).spawn(wait);
    thread.map(drop).map_err(|error| format!("no thread for signals: {error}"))
}
