// SPDX-License-Identifier: Apache-2.0
//! What anybody may ask of the server itself: whether it lives, its figures, its API.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Web;
use super::openapi;

/// Whether the server answers.
#[utoipa::path(get, path = "/healthz", tag = "about",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
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
