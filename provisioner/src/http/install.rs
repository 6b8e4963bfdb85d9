// SPDX-License-Identifier: Apache-2.0
//! What a distribution's installer fetches and tells: behind a secret of this one installation, that ends with it.
//! Whoever has no such secret learns nothing here, not even whether there is an installation.

use std::net::{IpAddr, Ipv4Addr};

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pxe::bootfile::Server;

use super::extract::{Path, Told};
use super::listener::Peer;
use super::problem::{Fault, Kind};
use super::{Web, blocking, now};

/// An answer file.
#[utoipa::path(get, path = "/install/{token}/{file}", tag = "boot",
    responses((status = 200, description = "The file; 404 where there is no such installation, or it is over", body = String)))]
pub(super) async fn answer(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path((token, file)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let server = server(&peer)?;
    let from = from(&peer);
    let file = blocking(&web.app, move |app| {
        app.answer_file(&token, &file, (from, server), now())
    })
    .await?;
    let headers = [
        (header::CONTENT_TYPE, file.content_type),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, file.text).into_response())
}

/// An installer has come to a stage.
#[utoipa::path(post, path = "/install/{token}/progress", tag = "boot", request_body = String,
    responses((status = 204, description = "Heard")))]
pub(super) async fn progress(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
    Told(word): Told,
) -> Result<StatusCode, Fault> {
    let from = from(&peer);
    blocking(&web.app, move |app| app.installer_tells(&token, &word, from, now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An installer stopped: its reason in the first line, then how its log ended.
#[utoipa::path(post, path = "/install/{token}/failure", tag = "boot", request_body = String,
    responses((status = 204, description = "Written down")))]
pub(super) async fn failure(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
    Told(told): Told,
) -> Result<StatusCode, Fault> {
    let from = from(&peer);
    blocking(&web.app, move |app| app.installer_failed(&token, &told, from, now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What Subiquity does, in its own JSON.
#[utoipa::path(post, path = "/install/{token}/webhook", tag = "boot", request_body = String,
    responses((status = 204, description = "Heard")))]
pub(super) async fn webhook(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
    Told(told): Told,
) -> Result<StatusCode, Fault> {
    let from = from(&peer);
    let event = serde_json::from_str(&told).unwrap_or(serde_json::Value::Null);
    blocking(&web.app, move |app| app.installer_details(&token, &event, from, now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// This server as the installer reaches it.
fn server(peer: &Peer) -> Result<Server, Fault> {
    let nowhere = || Fault::new(Kind::BadRequest, "answers are given out over TCP and IPv4 only");
    Ok(Server {
        address: peer.local_ipv4().ok_or_else(nowhere)?,
        http_port: peer.local.ok_or_else(nowhere)?.port(),
    })
}

fn from(peer: &Peer) -> IpAddr {
    peer.ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED).into()
}
