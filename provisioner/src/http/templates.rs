// SPDX-License-Identifier: Apache-2.0
//! Templates of answer files, for the command line on this machine alone: a site's own may hold anything.

use axum::extract::State;
use provisioner_api::{TemplateAnswer, TemplateList, TemplateTrial};

use super::extract::{Json, Strict};
use super::problem::Fault;
use super::{Web, blocking};

/// The templates in force.
#[utoipa::path(get, path = "/api/v1/templates", tag = "control", responses((status = 200, body = TemplateList)))]
pub(super) async fn templates(State(web): State<Web>) -> Result<Json<TemplateList>, Fault> {
    blocking(&web.app, |app| Ok(app.list_templates())).await.map(Json)
}

/// What a machine would get, secrets left out.
#[utoipa::path(post, path = "/api/v1/templates/render", tag = "control", request_body = TemplateTrial,
    responses((status = 200, body = TemplateAnswer)))]
pub(super) async fn render_templates(
    State(web): State<Web>,
    Strict(trial): Strict<TemplateTrial>,
) -> Result<Json<TemplateAnswer>, Fault> {
    blocking(&web.app, move |app| app.render_templates(&trial))
        .await
        .map(Json)
}

/// What the site's templates change in what a machine gets, as unified diffs.
#[utoipa::path(post, path = "/api/v1/templates/diff", tag = "control", request_body = TemplateTrial,
    responses((status = 200, body = TemplateAnswer)))]
pub(super) async fn diff_templates(
    State(web): State<Web>,
    Strict(trial): Strict<TemplateTrial>,
) -> Result<Json<TemplateAnswer>, Fault> {
    blocking(&web.app, move |app| app.diff_templates(&trial))
        .await
        .map(Json)
}
