// SPDX-License-Identifier: Apache-2.0
//! Enrolment windows, for the command line and programs.

use axum::extract::State;
use axum::http::StatusCode;
use provisioner_api::{EnrolmentWindow, OpenWindow};

use super::extract::{Json, Path, Strict};
use super::operator::Actor;
use super::problem::{Fault, Kind};
use super::{Web, blocking, now};

/// The enrolment windows that are remembered, the newest first.
#[utoipa::path(get, path = "/api/v1/enrolment", tag = "operator",
    responses((status = 200, body = Vec<EnrolmentWindow>)))]
pub(super) async fn windows(State(web): State<Web>) -> Result<Json<Vec<EnrolmentWindow>>, Fault> {
    blocking(&web.app, |app| app.windows(now())).await.map(Json)
}

/// Opens a window: a permit for a batch of unknown machines.
#[utoipa::path(post, path = "/api/v1/enrolment", tag = "operator", request_body = OpenWindow,
    responses((status = 200, body = EnrolmentWindow)))]
pub(super) async fn open(
    State(web): State<Web>,
    Actor(actor): Actor,
    Strict(open): Strict<OpenWindow>,
) -> Result<Json<EnrolmentWindow>, Fault> {
    blocking(&web.app, move |app| app.open_window(&open, &actor, now()))
        .await
        .map(Json)
}

/// Closes a window before its time.
#[utoipa::path(delete, path = "/api/v1/enrolment/{name}", tag = "operator",
    params(("name" = String, Path, description = "Its number")),
    responses((status = 204, description = "No machine comes in through it any more")))]
pub(super) async fn close(
    State(web): State<Web>,
    Path(name): Path<String>,
    Actor(actor): Actor,
) -> Result<StatusCode, Fault> {
    let id = name.parse().map_err(|_| {
        Fault::new(
            Kind::NotFound,
            "a window is known by its number; see: provisioner enrol list",
        )
    })?;
    blocking(&web.app, move |app| app.close_window(id, &actor, now())).await?;
    Ok(StatusCode::NO_CONTENT)
}
