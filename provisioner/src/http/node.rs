// SPDX-License-Identifier: Apache-2.0
//! The node API: what node-init asks and tells. The key of its client certificate says who it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use provisioner_api::{Capsule, Heartbeat, NodeEvent, Orders, Progress, Register, Registered, Time, Vouch, path};
use serde::Deserialize;

use super::extract::{Json, Query, Report};
use super::listener::Peer;
use super::problem::{Fault, Kind};
use super::{Web, blocking, now};
use crate::app::Caller;

/// How long a node may wait for news in one question. Shorter than what switches and firewalls forget.
const LONGEST_WAIT: u32 = 60;

/// The registered node that asks.
#[derive(Debug)]
pub(super) struct Node(Caller);

impl FromRequestParts<Web> for Node {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Fault> {
        let key = key(parts.extensions.get::<Peer>())?;
        web.app.caller(&key).map(Self).ok_or_else(stranger)
    }
}

/// Who tells something: a registered node, or a start that was turned away, whose words are heard and mean nothing.
#[derive(Debug)]
pub(super) struct Teller(Option<Caller>);

impl FromRequestParts<Web> for Teller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Fault> {
        match Node::from_request_parts(parts, web).await {
            Ok(Node(caller)) => Ok(Self(Some(caller))),
            Err(_) if web.app.is_visitor(&key(parts.extensions.get::<Peer>())?) => Ok(Self(None)),
            Err(fault) => Err(fault),
        }
    }
}

fn stranger() -> Fault {
    Fault::new(
        Kind::Forbidden,
        "no node is registered with this key; register first (a machine that starts from the network does so by itself)",
    )
}

/// The peer's key; a caller without one is nobody.
fn key(peer: Option<&Peer>) -> Result<String, Fault> {
    let key = peer.and_then(|peer| peer.key.as_deref());
    key.map(str::to_owned).ok_or_else(|| {
        Fault::new(
            Kind::Forbidden,
            "this path needs a TLS client certificate: its key says which node asks",
        )
    })
}

/// The address that a peer calls from. Peers of the API are on TCP; without an address it is nobody's.
fn from(peer: &Peer) -> IpAddr {
    peer.address
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip().to_canonical())
}

/// The address at which the peer reached this server.
fn local(peer: &Peer) -> Result<SocketAddr, Fault> {
    let local = peer
        .local
        .map(|local| SocketAddr::new(local.ip().to_canonical(), local.port()));
    local.ok_or_else(|| {
        Fault::new(
            Kind::Internal,
            "the address of this connection is not known; connect again",
        )
    })
}

/// The server's clock; needs neither registration nor certificate.
#[utoipa::path(get, path = path::TIME, tag = "about", responses((status = 200, body = Time)))]
pub(super) async fn time() -> Json<Time> {
    Json(Time { unix_ms: now() })
}

/// A machine introduces itself.
#[utoipa::path(post, path = path::REGISTER, tag = "node", request_body = Register,
    responses((status = 200, description = "Who it is", body = Registered)))]
pub(super) async fn register(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Report(register): Report<Register>,
) -> Result<Json<Registered>, Fault> {
    let (key, from) = (key(Some(&peer))?, from(&peer));
    blocking(&web.app, move |app| app.register(&key, from, &register, now()))
        .await
        .map(Json)
}

/// What a question for orders carries.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Revision of the orders that the node knows; without it the answer comes at once.
    seen: Option<u64>,
    /// Seconds to wait for another revision, at most 60.
    wait: Option<u32>,
}

/// The node's orders: at once when they are not those it has seen, else when they change or the wait is over.
#[utoipa::path(get, path = path::ORDERS, tag = "node", params(Asked),
    responses((status = 200, description = "What to do now", body = Orders)))]
pub(super) async fn orders(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Teller(caller): Teller,
    Query(asked): Query<Asked>,
) -> Result<Json<Orders>, Fault> {
    let local = local(&peer)?;
    let wait = Duration::from_secs(asked.wait.unwrap_or(0).min(LONGEST_WAIT).into());
    let Some(caller) = caller else {
        let key = key(Some(&peer))?;
        return tokio::select! {
            orders = web.app.next_visitor_orders(&key, asked.seen, wait, now) => orders.map(Json).ok_or_else(stranger),
            () = web.stop.cancelled() => web.app.visitor_orders(&key, now()).map(Json).ok_or_else(stranger),
        };
    };
    tokio::select! {
        orders = web.app.next_orders(&caller, local, asked.seen, wait) => orders.map(Json).map_err(Fault::from),
        // An answer that says nothing new lets the node ask again, by then of the server's next life.
        () = web.stop.cancelled() => web.app.orders(&caller, local).map(Json).map_err(Fault::from),
    }
}

/// Something happened to the node. Hearing it twice changes nothing.
#[utoipa::path(post, path = path::EVENTS, tag = "node", request_body = NodeEvent,
    responses((status = 204, description = "It is written down")))]
pub(super) async fn event(
    State(web): State<Web>,
    Teller(caller): Teller,
    Report(event): Report<NodeEvent>,
) -> Result<Response, Fault> {
    if let Some(caller) = caller {
        blocking(&web.app, move |app| app.event(&caller, &event, now())).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// How far the node is, for people to watch.
#[utoipa::path(post, path = path::PROGRESS, tag = "node", request_body = Progress,
    responses((status = 204, description = "Heard")))]
pub(super) async fn progress(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Teller(caller): Teller,
    Report(progress): Report<Progress>,
) -> StatusCode {
    if let Some(caller) = caller {
        web.app.progress(&caller, from(&peer), progress, now());
    }
    StatusCode::NO_CONTENT
}

/// A sign of life.
#[utoipa::path(post, path = path::HEARTBEAT, tag = "node", request_body = Heartbeat,
    responses((status = 204, description = "Heard")))]
pub(super) async fn heartbeat(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Node(caller): Node,
    Report(heartbeat): Report<Heartbeat>,
) -> Result<StatusCode, Fault> {
    let from = from(&peer);
    blocking(&web.app, move |app| app.heartbeat(&caller, from, &heartbeat, now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What makes a rebuilt node the same node: private keys, for this machine only, while it is being installed.
#[utoipa::path(get, path = path::CAPSULE, tag = "node",
    responses((status = 200, description = "The capsule; 404 where none is kept", body = Capsule)))]
pub(super) async fn capsule(State(web): State<Web>, Node(caller): Node) -> Result<Response, Fault> {
    let capsule = blocking(&web.app, move |app| app.capsule(&caller)).await?;
    Ok(([(axum::http::header::CACHE_CONTROL, "no-store")], Json(capsule)).into_response())
}

/// Keeps the capsule of an installed node.
#[utoipa::path(put, path = path::CAPSULE, tag = "node", request_body = Capsule,
    responses((status = 204, description = "It is kept")))]
pub(super) async fn keep_capsule(
    State(web): State<Web>,
    Node(caller): Node,
    Json(capsule): Json<Capsule>,
) -> Result<StatusCode, Fault> {
    blocking(&web.app, move |app| app.keep_capsule(&caller, &capsule, now())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The key of an installed system vouches for a start in RAM of the same machine, which is to install it again.
#[utoipa::path(post, path = path::VOUCH, tag = "node", request_body = Vouch,
    responses((status = 204, description = "That start may introduce itself as this node")))]
pub(super) async fn vouch(
    State(web): State<Web>,
    Node(caller): Node,
    Json(vouch): Json<Vouch>,
) -> Result<StatusCode, Fault> {
    blocking(&web.app, move |app| app.vouch(&caller, &vouch, now())).await?;
    Ok(StatusCode::NO_CONTENT)
}
