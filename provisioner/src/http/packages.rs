// SPDX-License-Identifier: Apache-2.0
//! The package cache, for programs and the command line.

use axum::extract::State;
use provisioner_api::PackagesReport;

use super::extract::Json;
use super::problem::Fault;
use super::{Web, blocking, now};

/// How the package cache is, what may be fetched through it, and what was wanted and not to be had.
#[utoipa::path(get, path = "/api/v1/packages", tag = "operator", responses((status = 200, body = PackagesReport)))]
pub(super) async fn report(State(web): State<Web>) -> Result<Json<PackagesReport>, Fault> {
    blocking(&web.app, |app| Ok(app.packages_report(now()))).await.map(Json)
}
