// SPDX-License-Identifier: Apache-2.0
//! The operator API: what people and programs ask, on the control socket without, over TLS with a token.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use hyper::body::Body as _;
use provisioner_api::{
    ApprovalPlan, Approve, Confirm, EventEntry, ImageSummary, Import, ImportLine, NewToken, NodeDetail, NodeSummary,
    Reject, StatusReport, Token, TokenSummary,
};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::extract::{Json, Path, Query, Strict};
use super::gate::Place;
use super::problem::{Fault, Kind};
use super::{Web, blocking, now};
use crate::app::{App, AppError, Command};
use crate::images::Imported;

/// Events in one answer: enough for a screen, few enough to be quick.
const EVENTS: u32 = 100;
/// Events in one answer at most.
const MOST_EVENTS: u32 = 1000;
/// Letters of a node's name.
const LONGEST_NAME: usize = 63;
/// Nodes in one answer.
const NODES: u32 = 500;
/// Nodes in one answer at most.
const MOST_NODES: u32 = 1000;
/// Progress lines that may wait for a slow reader; more are left out, the newest says it all.
const LINES: usize = 8;
/// Bytes between two progress lines: some ten a second from a fast disk.
const STEP: u64 = 16 * 1024 * 1024;

/// Who asks, for the list of events: `operator` on the control socket, `token NAME` over TLS.
#[derive(Clone, Debug)]
pub(super) struct Actor(pub(super) String);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Actor {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Fault> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_else(|| Self("operator".into())))
    }
}

/// Lets only callers with a valid token through.
pub(super) async fn need_token(State(web): State<Web>, mut request: Request, next: Next) -> Result<Response, Fault> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    // RFC 9110 section 11.1: the scheme is case-insensitive.
    let secret = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, secret)| secret.trim().to_owned());
    let Some(secret) = secret else {
        return Err(Fault::new(
            Kind::Unauthorized,
            "send `Authorization: Bearer TOKEN`; make one with: provisioner token create NAME",
        ));
    };
    // Subscribed before the token is looked up: no revocation is missed in between.
    let revocations = web.app.revocations.subscribe();
    let looked_up = secret.clone();
    let name = blocking(&web.app, move |app| Ok(app.check_token(&looked_up))).await?;
    let Some(name) = name else {
        metrics::counter!("gleaner_tokens_refused_total").increment(1);
        return Err(Fault::new(Kind::Unauthorized, "this token is not valid (any more)"));
    };
    if let Some(place) = request.extensions().get::<Place>() {
        place.is_operators();
    }
    request.extensions_mut().insert(Actor(format!("token {name}")));
    let response = next.run(request).await;
    if response.body().size_hint().exact().is_some() {
        return Ok(response);
    }
    Ok(response.map(|body| while_valid(body, web.app.clone(), secret, revocations)))
}

/// A stream that ends when its token is revoked.
fn while_valid(body: Body, app: Arc<App>, secret: String, mut revocations: watch::Receiver<u64>) -> Body {
    let revoked = async move {
        while revocations.changed().await.is_ok() {
            let secret = secret.clone();
            let still = blocking(&app, move |app| Ok(app.check_token(&secret))).await;
            // What cannot be looked up is not valid.
            if !matches!(still, Ok(Some(_))) {
                break;
            }
        }
    };
    Body::from_stream(body.into_data_stream().take_until(Box::pin(revoked)))
}

/// How the server is.
#[utoipa::path(get, path = "/api/v1/status", tag = "operator", responses((status = 200, body = StatusReport)))]
pub(super) async fn status(State(web): State<Web>) -> Result<Json<StatusReport>, Fault> {
    blocking(&web.app, |app| Ok(app.status(now()))).await.map(Json)
}

/// Which part of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Only those behind this name: the last one of the part before.
    #[param(max_length = 63)]
    after: Option<String>,
    /// How many at most; 500 if absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Nodes by name, a part of the list at a time: as long as an answer has as many as were asked for, ask again with the
/// last name as `after`.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "operator", params(Part),
    responses((status = 200, body = Vec<NodeSummary>)))]
pub(super) async fn nodes(State(web): State<Web>, Query(part): Query<Part>) -> Result<Json<Vec<NodeSummary>>, Fault> {
    let limit = within("limit", part.limit.unwrap_or(NODES), MOST_NODES)?;
    if part
        .after
        .as_ref()
        .is_some_and(|after| after.chars().count() > LONGEST_NAME)
    {
        return Err(Fault::new(Kind::Unprocessable, "after: no name is so long"));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    blocking(&web.app, move |app| {
        Ok(app.nodes_after(part.after.as_deref(), limit, now()))
    })
    .await
    .map(Json)
}

/// A number of things that are asked for, from one to the most that are given.
fn within(name: &str, asked: u32, most: u32) -> Result<u32, Fault> {
    if (1..=most).contains(&asked) {
        return Ok(asked);
    }
    Err(Fault::new(Kind::Unprocessable, format!("{name}: from 1 to {most}")))
}

/// One node, whole.
#[utoipa::path(get, path = "/api/v1/nodes/{name}", tag = "operator",
    params(("name" = String, Path, description = "Name or id"),
        ("profile" = Option<String>, Query, description = "Show the disks that approval for this profile would overwrite"),
        ("disk" = Option<String>, Query, description = "The same for approval with this disk")),
    responses((status = 200, body = NodeDetail)))]
pub(super) async fn node(
    State(web): State<Web>,
    Path(name): Path<String>,
    Query(asked): Query<Approve>,
) -> Result<Json<NodeDetail>, Fault> {
    blocking(&web.app, move |app| app.node_if(&name, &asked, now()))
        .await
        .map(Json)
}

/// All that approval would do and destroy. What is to be approved is sent back with it as `confirmed`.
#[utoipa::path(get, path = "/api/v1/nodes/{name}/plan", tag = "operator",
    params(("name" = String, Path, description = "Name or id"),
        ("profile" = Option<String>, Query, description = "For this profile; the default one if absent"),
        ("disk" = Option<String>, Query, description = "With this disk; the profile's rule chooses if absent"),
        ("name" = Option<provisioner_api::limits::Word>, Query, description = "Under this name; the given one stays if absent")),
    responses((status = 200, body = ApprovalPlan)))]
pub(super) async fn plan(
    State(web): State<Web>,
    Path(name): Path<String>,
    Query(asked): Query<Approve>,
) -> Result<Json<ApprovalPlan>, Fault> {
    blocking(&web.app, move |app| app.approval_plan(&name, &asked))
        .await
        .map(Json)
}

/// Allows the node's disk to be written. Refused (409) where the machine, the profile or the image is not what
/// `confirmed` shows.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/approve", tag = "operator", request_body = Approve,
    params(("name" = String, Path, description = "Name or id")), responses((status = 200, body = NodeDetail)))]
pub(super) async fn approve(
    State(web): State<Web>,
    Path(name): Path<String>,
    Actor(actor): Actor,
    Strict(approve): Strict<Approve>,
) -> Result<Json<NodeDetail>, Fault> {
    blocking(&web.app, move |app| app.approve(&name, &approve, &actor, now()))
        .await
        .map(Json)
}

/// Turns the node away.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/reject", tag = "operator", request_body = Reject,
    params(("name" = String, Path, description = "Name or id")), responses((status = 200, body = NodeDetail)))]
pub(super) async fn reject(
    State(web): State<Web>,
    Path(name): Path<String>,
    Actor(actor): Actor,
    Strict(reject): Strict<Reject>,
) -> Result<Json<NodeDetail>, Fault> {
    blocking(&web.app, move |app| app.reject(&name, &reject, &actor, now()))
        .await
        .map(Json)
}

/// Says that a start in RAM that nothing vouched for is the machine of this node, which is to be installed again.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/confirm", tag = "operator", request_body = Confirm,
    params(("name" = String, Path, description = "Name or id")), responses((status = 200, body = NodeDetail)))]
pub(super) async fn confirm(
    State(web): State<Web>,
    Path(name): Path<String>,
    Actor(actor): Actor,
    Json(confirm): Json<Confirm>,
) -> Result<Json<NodeDetail>, Fault> {
    blocking(&web.app, move |app| app.confirm(&name, &confirm, &actor, now()))
        .await
        .map(Json)
}

/// Wipes and installs the node again, as the same node.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/rebuild", tag = "operator",
    params(("name" = String, Path, description = "Name or id")), responses((status = 200, body = NodeDetail)))]
pub(super) async fn rebuild(web: State<Web>, name: Path<String>, actor: Actor) -> Result<Json<NodeDetail>, Fault> {
    command(web, name, actor, Command::Rebuild).await
}

/// Tries again after a failure.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/retry", tag = "operator",
    params(("name" = String, Path, description = "Name or id")), responses((status = 200, body = NodeDetail)))]
pub(super) async fn retry(web: State<Web>, name: Path<String>, actor: Actor) -> Result<Json<NodeDetail>, Fault> {
    command(web, name, actor, Command::Retry).await
}

/// Takes the node out of the cluster.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/retire", tag = "operator",
    params(("name" = String, Path, description = "Name or id")), responses((status = 200, body = NodeDetail)))]
pub(super) async fn retire(web: State<Web>, name: Path<String>, actor: Actor) -> Result<Json<NodeDetail>, Fault> {
    command(web, name, actor, Command::Retire).await
}

/// Gives the node no new work.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/drain", tag = "operator",
    params(("name" = String, Path, description = "Name or id")), responses((status = 200, body = NodeDetail)))]
pub(super) async fn drain(web: State<Web>, name: Path<String>, actor: Actor) -> Result<Json<NodeDetail>, Fault> {
    command(web, name, actor, Command::Drain).await
}

/// Gives the node work again.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/undrain", tag = "operator",
    params(("name" = String, Path, description = "Name or id")), responses((status = 200, body = NodeDetail)))]
pub(super) async fn undrain(web: State<Web>, name: Path<String>, actor: Actor) -> Result<Json<NodeDetail>, Fault> {
    command(web, name, actor, Command::Undrain).await
}

async fn command(
    State(web): State<Web>,
    Path(name): Path<String>,
    Actor(actor): Actor,
    command: Command,
) -> Result<Json<NodeDetail>, Fault> {
    blocking(&web.app, move |app| app.command(&name, command, &actor, now()))
        .await
        .map(Json)
}

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Of this node only, by name or id.
    node: Option<String>,
    /// Only those with a higher number: the last one that the caller knows.
    after: Option<i64>,
    /// How many at most, the newest; 100 if absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What happened, oldest first.
#[utoipa::path(get, path = "/api/v1/events", tag = "operator", params(Which),
    responses((status = 200, body = Vec<EventEntry>)))]
pub(super) async fn events(State(web): State<Web>, Query(which): Query<Which>) -> Result<Json<Vec<EventEntry>>, Fault> {
    let limit = within("limit", which.limit.unwrap_or(EVENTS), MOST_EVENTS)?;
    blocking(&web.app, move |app| {
        app.events(which.node.as_deref(), which.after, limit)
    })
    .await
    .map(Json)
}

/// The images and what is wrong with them.
#[utoipa::path(get, path = "/api/v1/images", tag = "operator", responses((status = 200, body = Vec<ImageSummary>)))]
pub(super) async fn images(State(web): State<Web>) -> Result<Json<Vec<ImageSummary>>, Fault> {
    blocking(&web.app, |app| Ok(app.images())).await.map(Json)
}

/// Takes an image or a RAM environment from a folder of the server into its store, and tells how far it is: JSON
/// lines, the last one `done` or `failed`. The status is 200 as soon as it begins.
#[utoipa::path(post, path = "/api/v1/images/import", tag = "control", request_body = Import,
    responses((status = 200, description = "Lines of ImportLine", body = ImportLine, content_type = "application/jsonl")))]
pub(super) async fn import(
    State(web): State<Web>,
    Actor(actor): Actor,
    Strict(import): Strict<Import>,
) -> Result<Response, Fault> {
    let folder = std::path::PathBuf::from(import.folder);
    if !folder.is_absolute() {
        return Err(Fault::new(
            Kind::Unprocessable,
            "folder: must be an absolute path of this machine",
        ));
    }
    Ok(tell(&web.app, move |app, progress| {
        Ok(match app.import(&folder, &actor, now(), progress)? {
            Imported::Image { name, version } => ImportLine::Done {
                what: "image".into(),
                name,
                version,
            },
            Imported::Ram { version } => ImportLine::Done {
                what: "ram".into(),
                name: "ram".into(),
                version,
            },
        })
    }))
}

/// Does what takes long, and tells how far it is, a line each; the last line says how it ended.
pub(super) fn tell(
    app: &Arc<App>,
    work: impl FnOnce(&App, &mut dyn FnMut(u64, u64)) -> Result<ImportLine, AppError> + Send + 'static,
) -> Response {
    let (lines, received) = mpsc::channel(LINES);
    let app = app.clone();
    // It goes on when the caller hangs up: half an import would only have to be done again.
    tokio::task::spawn_blocking(move || {
        let mut said = 0;
        let mut progress = |done: u64, total: u64| {
            if done >= said + STEP || (done == total && done > said) {
                said = done;
                let _ = lines.try_send(ImportLine::Progress { done, total });
            }
        };
        let last = work(&app, &mut progress).unwrap_or_else(|error| ImportLine::Failed {
            problem: Fault::from(error).problem(),
        });
        // Whether anybody still reads makes no difference to the import.
        let _ = lines.blocking_send(last);
    });
    let lines = ReceiverStream::new(received).map(|line| {
        let mut text = serde_json::to_vec(&line).map_err(std::io::Error::other)?;
        text.push(b'\n');
        std::io::Result::Ok(Bytes::from(text))
    });
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response()
}
/// The tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "control", responses((status = 200, body = Vec<TokenSummary>)))]
pub(super) async fn tokens(State(web): State<Web>) -> Result<Json<Vec<TokenSummary>>, Fault> {
    let tokens = blocking(&web.app, App::tokens).await?;
    Ok(Json(
        tokens
            .into_iter()
            .map(|(name, created)| TokenSummary { name, created })
            .collect(),
    ))
}

/// Makes a token; this answer is the only place where its secret can be read.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "control", request_body = NewToken,
    responses((status = 200, body = Token)))]
pub(super) async fn create_token(
    State(web): State<Web>,
    Actor(actor): Actor,
    Strict(new): Strict<NewToken>,
) -> Result<Response, Fault> {
    let token = blocking(&web.app, move |app| app.create_token(&new.name, &actor, now())).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Token { token })).into_response())
}

/// Forgets a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "control",
    params(("name" = String, Path, description = "Name")), responses((status = 204, description = "It is not valid any more")))]
pub(super) async fn revoke_token(
    State(web): State<Web>,
    Path(name): Path<String>,
    Actor(actor): Actor,
) -> Result<StatusCode, Fault> {
    blocking(&web.app, move |app| app.revoke_token(&name, &actor, now())).await?;
    Ok(StatusCode::NO_CONTENT)
}
