// SPDX-License-Identifier: Apache-2.0
//! What anybody may ask of the server itself: whether it lives, its figures, its API.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Web;
use super::openapi;

/// How long a caller waits for a look at the state; a disk that takes longer is told of by the next.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the server can do its work: its services listen, its state can be read and written.
#[utoipa::path(get, path = "/healthz", tag = "about",
    responses(
        (status = 200, description = "It can", body = String, content_type = "text/plain"),
        (status = 503, description = "It cannot; a line for each reason", body = String, content_type = "text/plain")
    ))]
pub(super) async fn healthz(State(web): State<Web>) -> Response {
    let app = Arc::clone(&web.app);
    let look = tokio::task::spawn_blocking(move || app.look_at_state());
    let looked = tokio::time::timeout(PATIENCE, look).await;
    let mut troubles = web.app.troubles_now();
    if !matches!(looked, Ok(Ok(()))) {
        troubles.push("database: its disk does not answer".into());
    }
    if troubles.is_empty() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n").into_response()
    }
}

/// Figures in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "about",
    responses((status = 200, description = "Figures", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(web): State<Web>) -> Response {
    let text = crate::metrics::render(&web.app, super::now());
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "about",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::json()).into_response()
}
