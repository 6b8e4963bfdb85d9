// SPDX-License-Identifier: Apache-2.0
//! The server from start to stop, in the order in which it happens.
//!
//! Whatever can go wrong goes wrong here, before the first packet is answered, and all of it is told at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::app::App;
use crate::config::Config;
use crate::doctor::look;
use crate::images::ImageStore;
use crate::media::Media;
use crate::network::Notice;
use crate::privileges::{self, Privileges};
use crate::registry::{Entry, Registry};
use crate::state::{self, Claim};
use crate::templates::{SiteTemplates, trial};
use crate::tls::{self, ServerKey};
use crate::{clock, events, http, monitor};

mod apart;
mod edges;
mod log;
mod memory;
mod taken;
mod wire;

pub(crate) use log::start as start_log;
pub(crate) use taken::{holder, holder_at};

use edges::Edges;
use wire::Wire;

/// Who the server is once everything is bound.
const USER: &str = "gleaner";

/// Threads that wait for the disk. One writes, a few read, one imports an image: more would only wait for each other
/// and hold a stack each.
const BLOCKING_THREADS: usize = 16;

/// How long requests under way may take after the order to stop; systemd waits 90 seconds before it kills.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a thread may take that writes when the server stops; a write takes milliseconds.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Runs the server until it is told to stop.
pub fn run(mut config: Config) -> Result<()> {
    memory::few_heaps();
    log::start(&config.log)?;
    many_files();
    // Whatever the server makes is its own: keys and capsules lie in its state.
    umask(Mode::from_bits_truncate(privileges::OTHERS));
    no_core_files();
    make_folders(&config)?;
    // Before anything is touched: held until the process ends.
    let claim = Claim::take(&config.paths.state)?;
    state::whole(&config.paths.state)?;
    tls::is_private(&config.paths.state)?;
    let wire = Arc::new(Wire::default());
    let edges = Edges::bind(&config, &wire)?;
    give_up_privileges(&config)?;
    // What the kernel chose where the configuration says 0.
    config.ports = edges.ports(&config)?;
    let app = open(config)?;
    let notices = wire.connect(&app);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("starting the runtime")?;
    let ended = runtime.block_on(serve(&app, edges, notices));
    // What is being written gets to its end. An import that still runs is cut short: an unfinished one is removed at the
    // next start.
    runtime.shutdown_timeout(LAST_WRITES);
    put_away(&app);
    drop(claim);
    ended
}

/// Leaves the state on the disk so that the database file alone is whole.
fn put_away(app: &App) {
    if let Err(error) = app.keep_lessons(now()) {
        warn!(%error, "saving what was learnt about loaders");
    }
    match app.registry.checkpoint() {
        Ok(()) => info!("state put away"),
        Err(error) => warn!(%error, "bringing the write-ahead log into the database; it is read at the next start"),
    }
}

/// Raises the limit of open files as far as it goes without privileges: a shell's usual 1,024 are two connections for
/// each of 500 nodes. Where it may not be raised (systemd's unit sets it), it stays.
pub(crate) fn many_files() {
    if let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && now < most
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// A crash must not leave a copy of the keys on the disk, or hand it to a crash reporter.
fn no_core_files() {
    // Both can only lower what there is. The first does not count where the kernel gives cores to a program.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = nix::sys::prctl::set_dumpable(false);
}

fn make_folders(config: &Config) -> Result<()> {
    for folder in [&config.paths.state, &config.paths.run] {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    set_mode(&config.paths.state, 0o700)?;
    set_mode(&config.paths.run, 0o750)
}

fn set_mode(folder: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("setting the permissions of {}", folder.display()))
}

fn give_up_privileges(config: &Config) -> Result<()> {
    let folders: [&Path; 2] = [&config.paths.state, &config.paths.run];
    match privileges::give_up(USER, &folders, &privileges::SOCKETS).context("giving up privileges")? {
        Privileges::User(user) => info!(user, "privileges given up"),
        Privileges::RootWithoutUser(user) => {
            warn!(
                "there is no user {user}: the server goes on as root, with no capability but those for its sockets; make it with systemd-sysusers"
            );
        }
    }
    Ok(())
}

/// Opens what is on the disk.
fn open(config: Config) -> Result<Arc<App>> {
    let state = config.paths.state.clone();
    let at = || format!("opening the state in {}", state.display());
    let registry = Registry::open(&state).with_context(at)?;
    in_time(&registry).with_context(at)?;
    let images = ImageStore::open(&state, &config.paths.trusted_keys()).with_context(at)?;
    let media = Media::open(&state).with_context(at)?;
    let templates = SiteTemplates::open(&config.templates, &state, trial::apart).with_context(at)?;
    let key = ServerKey::open_or_make(&state)?;
    for warning in images.warnings().into_iter().chain(templates.warning()) {
        warn!(warning);
    }
    info!(
        site = config.site,
        nodes = registry.nodes().len(),
        pin = key.pin,
        "state opened"
    );
    Ok(App::new(config, registry, images, media, templates, key, now()))
}

/// Answers until a signal, or until a part cannot go on.
async fn serve(app: &Arc<App>, edges: Edges, notices: mpsc::Receiver<Notice>) -> Result<()> {
    let stop = CancellationToken::new();
    let mut parts = JoinSet::new();
    let sockets = edges.into_runtime()?;
    parts.spawn(http::run(Arc::clone(app), sockets.web, stop.clone()));
    let mut edges: JoinSet<Result<()>> = sockets.edges.into_iter().collect();
    edges.spawn(monitor::run(Arc::clone(app), stop.clone()));
    edges.spawn(memory::give_back());
    edges.spawn(crate::app::keep_lessons(Arc::clone(app)));
    edges.spawn(crate::packages::watch(Arc::clone(app)));
    edges.spawn(write_down(Arc::clone(app), notices));
    edges.spawn(reload_templates(Arc::clone(app)));
    // Not being run by systemd is no error.
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    info!("serving");
    let outcome = tokio::select! {
        signal = stop_signal() => signal.map(|name| info!(signal = name, "stopping")),
        Some(ended) = edges.join_next() => why_ended(ended),
        Some(ended) = parts.join_next() => why_ended(ended),
    };
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    if let Err(error) = &outcome {
        error!(error = format!("{error:#}"), "stopping because a part cannot go on");
    }
    stop.cancel();
    // No new leases or files; what machines have begun over HTTP may end.
    edges.abort_all();
    let finish = async { while parts.join_next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, finish).await.is_err() {
        warn!("some requests did not end in time and are cut off");
    }
    remove_socket(app);
    outcome
}

/// Brings what was kept in line with the clock of today.
fn in_time(registry: &Registry) -> Result<()> {
    let reading = clock::Reading::take();
    if let Some(by) = registry.resume(&reading)? {
        warn!(by, "this machine's clock was set while the server did not run");
    }
    if reading.now < look::built(reading.now) {
        warn!("this machine's clock is earlier than this program; set it, and look at its battery");
    }
    Ok(())
}

fn why_ended(ended: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    match ended {
        Ok(Ok(())) => bail!("a part of the server has ended by itself"),
        Ok(Err(error)) => Err(error),
        Err(error) => Err(error).context("a part of the server has crashed"),
    }
}

async fn stop_signal() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// Writes down what the edges noticed: they themselves never wait for the disk.
async fn write_down(app: Arc<App>, mut notices: mpsc::Receiver<Notice>) -> Result<()> {
    while let Some(notice) = notices.recv().await {
        let app = Arc::clone(&app);
        let entry = Entry::new(notice.kind, notice.detail, events::PROVISIONER);
        let written = tokio::task::spawn_blocking(move || app.registry.write_down(None, &entry, now())).await;
        if let Ok(Err(error)) = written {
            warn!(%error, "writing down a notice");
        }
    }
    // The sender lives as long as the edges: this is reached when they are gone.
    std::future::pending().await
}

/// Reads the site's templates again whenever it is told to (SIGHUP: `systemctl reload`).
async fn reload_templates(app: Arc<App>) -> Result<()> {
    let mut told = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    while told.recv().await.is_some() {
        let app = Arc::clone(&app);
        // What came of it was told by whoever did it.
        let _ = tokio::task::spawn_blocking(move || app.reload_templates(now())).await;
    }
    std::future::pending().await
}

/// A socket that nobody listens on would tell the command line to try.
fn remove_socket(app: &App) {
    let _ = std::fs::remove_file(app.config.paths.control_socket());
}

/// The present, Unix milliseconds by the server's clock: this is an edge, where clocks are read.
pub(crate) fn now() -> i64 {
    clock::now()
}
