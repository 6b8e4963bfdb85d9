// SPDX-License-Identifier: Apache-2.0
//! The status page: what nodes and server look like now, live where the browser can, plain HTML where it cannot.
//!
//! It is open to everybody on the LAN, so it changes nothing, and shows no secret and nothing by which a machine is known. Whatever machines and donors
//! wrote into their labels goes through the templates' escaping and under a policy that runs no script but ours.

mod assets;
mod kept;
mod pages;
mod view;
mod words;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

pub(super) use assets::__path_asset;
pub(super) use assets::asset;

use kept::Kept;

use super::extract::{Path, Query};
use super::listener::Peer;
use super::problem::Fault;
use super::{Web, blocking, now, stream as live_stream};
use crate::app::{AppError, ON_A_PAGE};
use crate::live::{Heard, Update, Watch, Watcher};

/// No script, style, picture or connection but the server's own; no frame around it, no form on it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Ages on the page ("3 min ago") are made by the server: once a minute it makes them anew.
const AGES: Duration = Duration::from_mins(1);
/// Events on a node's page.
const EVENTS: u32 = 60;

/// All nodes.
#[utoipa::path(get, path = "/", tag = "page",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")))]
pub(super) async fn status(State(web): State<Web>) -> Result<Response, Fault> {
    // The version comes first: what changes while the page is made is then sent again, never missed.
    let version = web.hub.version();
    let html = blocking(&web.app, move |app| {
        let time = now();
        let (nodes, more) = app.public_nodes(time);
        render(pages::status((&nodes, more), &app.public_status(time), version, time))
    });
    let html = web.pages.status.get(version, html).await?;
    Ok(html_response(StatusCode::OK, &html))
}

/// One node.
#[utoipa::path(get, path = "/nodes/{name}", tag = "page", params(("name" = String, Path, description = "Name or id")),
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")))]
pub(super) async fn node(State(web): State<Web>, Path(name): Path<String>) -> Result<Response, Fault> {
    let version = web.hub.version();
    let found = blocking(&web.app, move |app| {
        let time = now();
        let (node, events) = match app.public_node(&name, EVENTS, time) {
            Ok(found) => found,
            Err(AppError::NotFound(why)) => {
                return Ok((StatusCode::NOT_FOUND, render(pages::missing(&app.config.site, &why))?));
            }
            Err(other) => return Err(other),
        };
        Ok((
            StatusCode::OK,
            render(pages::node(&app.config.site, &node, &events, version, time))?,
        ))
    });
    let (status, html) = found.await?;
    Ok(html_response(status, &html))
}

/// Which page is watched, and how old it is.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Watched {
    /// Version of the page that the browser has.
    since: Option<u64>,
    /// Id of the node, on its own page.
    node: Option<String>,
}

/// The page as it changes: server-sent events with pieces of HTML for htmx.
#[utoipa::path(get, path = "/live", tag = "page", params(Watched),
    responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream")))]
pub(super) async fn live(
    State(web): State<Web>,
    Query(watched): Query<Watched>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let address = peer.and_then(|Extension(peer)| peer.stranger());
    let watch = live_stream::begin(&web, Watcher::Page(address))?;
    // A browser that connects again says in this header what it has seen.
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.parse().ok());
    let fresh = last.or(watched.since) == Some(web.hub.version());
    let stream = Stream {
        web,
        watch,
        node: watched.node,
        everything: !fresh,
    };
    let events = stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Ok(Sse::new(events).keep_alive(live_stream::keep_alive()).into_response())
}

/// One browser that watches.
struct Stream {
    web: Web,
    watch: Watch,
    node: Option<String>,
    /// The next event is the whole page.
    everything: bool,
}

impl Stream {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.everything {
                self.everything = false;
                if let Some(event) = self.whole().await {
                    return Some(event);
                }
            }
            let heard = tokio::select! {
                heard = self.watch.next() => heard,
                () = tokio::time::sleep(AGES) => Heard::Missed,
                () = self.web.stop.cancelled() => Heard::Closed,
            };
            match heard {
                Heard::Closed => return None,
                Heard::Missed => self.everything = true,
                // More rows than a page has: it is made anew, with what it has room for.
                Heard::Update(update) if self.node.is_none() && update.nodes.len() > ON_A_PAGE => {
                    self.everything = true;
                }
                Heard::Update(update) => match &self.node {
                    None => return Some(event(update.version, &piece(&update))),
                    Some(id) => self.everything = update.nodes.iter().any(|changed| changed.node.id == *id),
                },
            }
        }
    }

    /// Everything that the page shows; nothing if it cannot be read just now.
    async fn whole(&self) -> Option<Event> {
        let version = self.web.hub.version();
        let html = match &self.node {
            None => self.web.pages.whole.get(version, self.whole_status()).await,
            Some(id) => self.whole_node(id.clone()).await.map(Arc::from),
        };
        html.ok().map(|html| event(version, &html))
    }

    async fn whole_status(&self) -> Result<String, Fault> {
        let whole = blocking(&self.web.app, |app| {
            let time = now();
            let (nodes, more) = app.public_nodes(time);
            render(pages::whole((&nodes, more), &app.public_status(time), time))
        });
        whole.await
    }

    async fn whole_node(&self, id: String) -> Result<String, Fault> {
        let whole = blocking(&self.web.app, move |app| {
            let time = now();
            let (node, events) = app.public_node(&id, EVENTS, time)?;
            render(pages::node_piece(&node, &events, time))
        });
        whole.await
    }
}

/// Pages that are kept for a moment.
#[derive(Debug, Default)]
pub(super) struct Pages {
    status: Kept,
    whole: Kept,
}

/// An update as HTML; made once, by the first stream that needs it.
fn piece(update: &Update) -> Arc<str> {
    update
        .page
        .get_or_init(|| render(pages::update(update)).map(Arc::from).unwrap_or_default())
        .clone()
}

fn event(version: u64, html: &str) -> Event {
    Event::default().id(version.to_string()).data(html)
}

fn render(template: impl askama::Template) -> Result<String, AppError> {
    // Fails only if a value's Display does, and none here does.
    template
        .render()
        .map_err(|error| AppError::Internal(anyhow::Error::new(error).context("rendering a page")))
}

fn html_response(status: StatusCode, html: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (status, headers, html.to_owned()).into_response()
}
