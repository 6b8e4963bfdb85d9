// SPDX-License-Identifier: Apache-2.0
//! The web edge: every path that the server answers, and on which of its three listeners.
//!
//! | listener | who speaks there | what is offered |
//! |---|---|---|
//! | plain HTTP | firmware, iPXE, node-init for images, people with a browser | boot, files, page, about |
//! | HTTPS | nodes (client certificate), programs (bearer token) | node, operator, about |
//! | control socket | the command line on this machine | operator, import, about |
//!
//! Handlers translate: a request becomes a question to [`App`], its answer becomes a response. They decide
//! nothing. A GET changes no node's state.

pub(crate) mod boot;
mod bounds;
mod described;
mod doctor;
mod enrol;
mod extract;
mod files;
pub mod gate;
mod grub;
mod host;
mod images;
mod install;
pub mod listener;
mod media;
mod meta;
mod node;
mod observe;
pub mod openapi;
mod operator;
mod packages;
mod problem;
mod range;
mod sendfile;
mod stream;
mod templates;
mod ui;

use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Router, middleware};
use provisioner_api::ServiceStatus;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use problem::{Fault, Kind};

use crate::app::{App, AppError};
use crate::live::{self, Hub};
use gate::{Gate, Limits};
use listener::Listener;

/// Bodies are a few hundred bytes; those that may be larger say so at their route.
const BODY: usize = 64 * 1024;
/// How far a node is, and that it lives: words of a line.
const SMALL_BODY: usize = 8 * 1024;
/// An inventory of a server with 64 disks of four partitions each and 32 cards has some 80 KB; a report of
/// checks, each with its words, may be as long.
const INVENTORY: usize = 256 * 1024;
/// A capsule carries files of roles, a template trial the site's templates.
const LARGE_BODY: usize = 1024 * 1024;

/// Threads for plain HTTP. Files are sent by the kernel: two threads fill ten gigabits a second.
const BOOT_THREADS: usize = 2;
/// Threads that read from the disk for them.
const BOOT_DISK_THREADS: usize = 4;

/// What every handler may ask.
#[derive(Clone, Debug)]
pub struct Web {
    /// The server.
    pub app: Arc<App>,
    /// News for the page and for programs that watch.
    pub hub: Arc<Hub>,
    /// Port of the TLS listener, for boot scripts; what the kernel chose where the configuration says 0.
    pub api_port: u16,
    /// Set when the server stops: long polls and streams end.
    pub stop: CancellationToken,
    pages: Arc<ui::Pages>,
}

/// The bound sockets.
#[derive(Debug)]
pub struct Sockets {
    /// Plain HTTP.
    pub http: TcpListener,
    /// The API.
    pub api: TcpListener,
    /// The control socket.
    pub control: UnixListener,
}

/// Answers on all listeners until `stop`, then lets requests under way finish.
pub async fn run(app: Arc<App>, sockets: Sockets, stop: CancellationToken) -> anyhow::Result<()> {
    crate::metrics::install();
    let Sockets { http, api, control } = sockets;
    let api_port = api.local_addr()?.port();
    let hub = Arc::new(Hub::new(app.presence.started(), live::PACE));
    let web = Web {
        app: app.clone(),
        hub: hub.clone(),
        api_port: *app.bound_api.get_or_init(|| api_port),
        stop: stop.clone(),
        pages: Arc::default(),
    };
    for (name, socket) in [("http", &http), ("api", &api)] {
        app.report(ServiceStatus {
            name: name.into(),
            detail: socket.local_addr()?.to_string(),
            ok: true,
        });
    }
    let mut tls = (*app.key.tls).clone();
    // What is spoken inside is for the listener to say.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let limits = Limits::from(app.config.limits.http);
    let gate = || Gate::new(limits, app.clone());
    let serve = |listener, router| listener::serve(listener, router, gate(), stop.clone());
    let boots = Boots::start()?;
    tokio::join!(
        boots.run(http.into_std()?, plain(web.clone()), gate(), stop.clone()),
        serve(Listener::Tls(api, Arc::new(tls)), tls_router(web.clone())),
        serve(Listener::Control(control), self::control(web)),
        hub.run(app.clone(), now, stop.clone()),
    );
    Ok(())
}

/// The threads of plain HTTP. Machines whose firmware has its script are under way; so they do not stand in line
/// behind a thousand TLS handshakes of those that are.
struct Boots(Option<Runtime>);

impl Boots {
    fn start() -> anyhow::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get().min(BOOT_THREADS));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("http")
            .worker_threads(threads)
            .max_blocking_threads(BOOT_DISK_THREADS)
            .enable_all()
            .build()
            .context("starting the threads of plain HTTP")?;
        Ok(Self(Some(runtime)))
    }

    async fn run(&self, socket: std::net::TcpListener, router: Router, gate: Arc<Gate>, stop: CancellationToken) {
        let Some(runtime) = &self.0 else { return };
        let serving = runtime.spawn(async move {
            match TcpListener::from_std(socket) {
                Ok(socket) => listener::serve(Listener::Plain(socket), router, gate, stop).await,
                Err(error) => tracing::error!(%error, "plain HTTP cannot be served"),
            }
        });
        // It ends when the server stops; a panic in it was told by the thread that had it.
        let _ = serving.await;
    }
}

impl Drop for Boots {
    fn drop(&mut self) {
        // A runtime may not be waited for in another one.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The routes of plain HTTP.
pub fn plain(web: Web) -> Router {
    let for_people = page_routes()
        .merge(about_routes())
        .layer(middleware::from_fn_with_state(web.clone(), host::need_own_name));
    finish(
        boot_routes()
            .merge(file_routes())
            .merge(for_people)
            .merge(health_routes()),
        web,
    )
}

/// The routes of the TLS listener.
pub fn tls_router(web: Web) -> Router {
    let guarded = operator_routes().layer(middleware::from_fn_with_state(web.clone(), operator::need_token));
    let for_people = guarded
        .merge(about_routes())
        .layer(middleware::from_fn_with_state(web.clone(), host::need_own_name));
    finish(node_routes().merge(for_people).merge(health_routes()), web)
}

/// The routes of the control socket.
pub fn control(web: Web) -> Router {
    let about = about_routes().merge(health_routes());
    finish(operator_routes().merge(control_routes()).merge(about), web)
}

/// What machines fetch before anything runs on them.
fn boot_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(boot::script))
        .routes(routes!(grub::first_script))
        .routes(routes!(grub::script))
        .merge(installer_routes())
}

/// What a distribution's installer asks and tells.
fn installer_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(install::answer))
        .routes(routes!(install::progress))
        .routes(routes!(install::failure))
        .routes(routes!(install::webhook))
}

/// Kernels, initramfs, loaders, images: nothing secret, everything signed or pinned.
fn file_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(images::loader))
        // Debian's shim writes the slash before the name of what it loads next twice.
        .route("/loaders//{file}", get(images::loader))
        .routes(routes!(images::ram))
        .routes(routes!(images::program))
        .routes(routes!(images::image))
        .routes(routes!(media::medium))
}

/// The status page, read-only.
fn page_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(ui::status))
        .routes(routes!(ui::node))
        .routes(routes!(ui::live))
        .routes(routes!(ui::asset))
}

/// What nodes ask; the key of the client certificate says which node.
fn node_routes() -> OpenApiRouter<Web> {
    let limited = |routes, bytes| {
        OpenApiRouter::default()
            .routes(routes)
            .layer(DefaultBodyLimit::max(bytes))
    };
    OpenApiRouter::default()
        .routes(routes!(node::time))
        .merge(limited(routes!(node::register), INVENTORY))
        .routes(routes!(node::orders))
        .merge(limited(routes!(node::event), INVENTORY))
        .merge(limited(routes!(node::progress), SMALL_BODY))
        .merge(limited(routes!(node::heartbeat), SMALL_BODY))
        .merge(limited(routes!(node::vouch), SMALL_BODY))
        .merge(limited(routes!(node::capsule, node::keep_capsule), LARGE_BODY))
}

/// What operators ask.
fn operator_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(operator::status))
        .routes(routes!(operator::nodes))
        .routes(routes!(operator::node))
        .routes(routes!(operator::plan))
        // The plan that was confirmed comes back with it, tables of disks included.
        .merge(
            OpenApiRouter::default()
                .routes(routes!(operator::approve))
                .layer(DefaultBodyLimit::max(LARGE_BODY)),
        )
        .routes(routes!(operator::reject))
        .routes(routes!(operator::confirm))
        .routes(routes!(operator::rebuild))
        .routes(routes!(operator::retry))
        .routes(routes!(operator::retire))
        .routes(routes!(operator::drain))
        .routes(routes!(operator::undrain))
        .routes(routes!(operator::events))
        .routes(routes!(stream::watch))
        .routes(routes!(operator::images))
        .routes(routes!(media::media))
        .routes(routes!(doctor::findings))
        .routes(routes!(packages::report))
        .routes(routes!(doctor::sightings))
        .routes(routes!(enrol::windows, enrol::open))
        .routes(routes!(enrol::close))
        .layer(middleware::from_fn(described::only))
}

/// What only the command line on this machine may ask: it names folders of this machine and hands out tokens.
fn control_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(operator::import))
        .routes(routes!(media::import_medium))
        .routes(routes!(media::prune_media))
        .routes(routes!(templates::templates))
        .merge(
            OpenApiRouter::default()
                .routes(routes!(templates::render_templates))
                .routes(routes!(templates::diff_templates))
                .layer(DefaultBodyLimit::max(LARGE_BODY)),
        )
        .routes(routes!(operator::tokens, operator::create_token))
        .routes(routes!(operator::revoke_token))
        .layer(middleware::from_fn(described::only))
}

/// What anybody may ask of the server itself.
fn about_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default()
        .routes(routes!(meta::metrics))
        .routes(routes!(meta::openapi))
}

/// Whether the server works: whoever watches it may call it what they like.
fn health_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::default().routes(routes!(meta::healthz))
}

/// All routes together, for their description.
fn all_routes() -> OpenApiRouter<Web> {
    boot_routes()
        .merge(file_routes())
        .merge(page_routes())
        .merge(node_routes())
        .merge(operator_routes())
        .merge(control_routes())
        .merge(about_routes())
        .merge(health_routes())
}

/// What holds for every listener.
fn finish(routes: OpenApiRouter<Web>, web: Web) -> Router {
    Router::from(routes)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn(observe::request))
        .with_state(web)
}

/// The time of day, Unix milliseconds: this is the edge, where clocks are read.
fn now() -> i64 {
    crate::clock::now()
}

/// Asks the server something that waits for its disk.
async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    ask: impl FnOnce(&App) -> Result<T, AppError> + Send + 'static,
) -> Result<T, Fault> {
    let app = app.clone();
    match tokio::task::spawn_blocking(move || ask(&app)).await {
        Ok(answer) => answer.map_err(Fault::from),
        Err(error) => Err(Fault::internal(
            &anyhow::Error::new(error).context("waiting for a request's work"),
        )),
    }
}

#[cfg(test)]
mod tests;
