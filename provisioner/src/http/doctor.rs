// SPDX-License-Identifier: Apache-2.0
//! Why machines do not arrive, for programs and the command line.

use axum::extract::State;
use provisioner_api::{Finding, SeenCard};

use super::extract::Json;
use super::problem::Fault;
use super::{Web, blocking, now};

/// What does not work, of the server and of machines on their way: a sentence and an action each.
#[utoipa::path(get, path = "/api/v1/doctor", tag = "operator", responses((status = 200, body = Vec<Finding>)))]
pub(super) async fn findings(State(web): State<Web>) -> Result<Json<Vec<Finding>>, Fault> {
    blocking(&web.app, |app| Ok(app.findings(now()))).await.map(Json)
}

/// The cards that were seen on the wire lately, and how far each start came.
#[utoipa::path(get, path = "/api/v1/sightings", tag = "operator", responses((status = 200, body = Vec<SeenCard>)))]
pub(super) async fn sightings(State(web): State<Web>) -> Result<Json<Vec<SeenCard>>, Fault> {
    blocking(&web.app, |app| Ok(app.seen_cards())).await.map(Json)
}
