// SPDX-License-Identifier: Apache-2.0
//! One span and three figures a request. Labels are routes, never paths: a stranger cannot make new ones.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::listener::{Channel, Peer};

/// Wraps every request.
pub(super) async fn request(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", |path| known(path.as_str()));
    let method = method(request.method());
    let peer = request.extensions().get::<Peer>();
    let listener = match peer.map(|peer| peer.channel) {
        Some(Channel::Tls) => "api",
        Some(Channel::Control) => "control",
        Some(Channel::Plain) | None => "http",
    };
    let from = peer.and_then(|peer| peer.address);
    let span = tracing::info_span!(
        "request",
        listener,
        method,
        route,
        from = from.map(tracing::field::display)
    );
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = begun.elapsed();
    let status = response.status();
    let labels = [("listener", listener), ("method", method), ("route", route)];
    metrics::histogram!("gleaner_http_request_seconds", &labels).record(took.as_secs_f64());
    let class = match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    let labels = [
        ("listener", listener),
        ("method", method),
        ("route", route),
        ("status", class),
    ];
    metrics::counter!("gleaner_http_requests_total", &labels).increment(1);
    span.in_scope(|| tracing::debug!(status = status.as_u16(), took_us = took.as_micros(), "answered"));
    // A browser must not take a boot script or a problem for a page.
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Methods that have a name here; a stranger's `FROBNICATE-000017` is `other`.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// The route as a `'static` word: there are as many as there are routes, and each is kept once.
fn known(route: &str) -> &'static str {
    use std::collections::HashSet;
    use std::sync::{LazyLock, PoisonError, RwLock};
    static ROUTES: LazyLock<RwLock<HashSet<&'static str>>> = LazyLock::new(RwLock::default);
    if let Some(known) = ROUTES.read().unwrap_or_else(PoisonError::into_inner).get(route) {
        return known;
    }
    let mut routes = ROUTES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = routes.get(route) {
        return known;
    }
    let kept: &'static str = Box::leak(route.to_owned().into_boxed_str());
    routes.insert(kept);
    kept
}
