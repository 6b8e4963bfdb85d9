// SPDX-License-Identifier: Apache-2.0
//! News as server-sent events: pieces of the page for browsers, JSON for programs.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use provisioner_api::NodeSummary;

use super::Web;
use super::problem::{Fault, Kind};
use crate::live::{Heard, Watch, Watcher};

/// A line now and then shows both ends that the other is still there, and ends streams whose reader is gone.
const ALIVE: Duration = Duration::from_secs(15);

/// Nodes as they change: events `node` (a `NodeSummary`), `gone` (an id), `resync` (look at /api/v1/nodes again).
#[utoipa::path(get, path = "/api/v1/events/stream", tag = "operator",
    responses((status = 200, description = "Server-sent events", body = NodeSummary, content_type = "text/event-stream")))]
pub(super) async fn watch(State(web): State<Web>) -> Result<Response, Fault> {
    let watch = begin(&web, Watcher::Operator)?;
    let stop = web.stop.clone();
    // The first event lets a program know that whatever changes from here on reaches it.
    let first = vec![Event::default().event("resync").data("")];
    let stream = stream::unfold((watch, stop, first), |(mut watch, stop, mut queue)| async move {
        loop {
            if let Some(event) = queue.pop() {
                return Some((Ok::<_, Infallible>(event), (watch, stop, queue)));
            }
            let heard = tokio::select! {
                heard = watch.next() => heard,
                () = stop.cancelled() => Heard::Closed,
            };
            queue = match heard {
                Heard::Closed => return None,
                Heard::Missed => vec![Event::default().event("resync").data("")],
                Heard::Update(update) => {
                    let gone = update
                        .gone
                        .iter()
                        .rev()
                        .map(|id| Event::default().event("gone").data(id));
                    let nodes = update.nodes.iter().rev();
                    let nodes =
                        nodes.filter_map(|changed| Event::default().event("node").json_data(&changed.node).ok());
                    // Taken from the end.
                    gone.chain(nodes).collect()
                }
            };
        }
    });
    Ok(Sse::new(stream).keep_alive(keep_alive()).into_response())
}

/// A place among the streams.
pub(super) fn begin(web: &Web, watcher: Watcher) -> Result<Watch, Fault> {
    let full = || {
        Fault::new(
            Kind::TooMany,
            "too many streams are open; close one, or ask now and then instead",
        )
    };
    web.hub.watch(watcher).ok_or_else(full)
}

/// How often an idle stream says that it lives.
pub(super) fn keep_alive() -> KeepAlive {
    KeepAlive::new().interval(ALIVE)
}
