// SPDX-License-Identifier: Apache-2.0
//! Boot media of the distributions' own installers: their files for machines, the list for people, and what the command
//! line on this machine brings in and takes away.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use kickstart::Family;
use provisioner_api::{ImportLine, MediumImport, MediumPrune, MediumSummary};

use super::extract::{Json, Path, Strict};
use super::images::{note, open, usable};
use super::listener::Peer;
use super::operator::{Actor, tell};
use super::problem::{Fault, Kind};
use super::sendfile::FileQueue;
use super::{Web, blocking, files, now};
use crate::app::{App, Fetched};

const BINARY: &str = "application/octet-stream";

/// A file of a medium: kernel, initramfs, and what the installer fetches later.
#[utoipa::path(get, path = "/media/{id}/{*file}", tag = "files",
    params(
        ("id" = String, Path, description = "The medium's id"),
        ("file" = String, Path, description = "Name below it, `casper/vmlinuz`")),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "One range of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The caller has it already"),
        (status = 416, description = "The range lies outside")))]
pub(super) async fn medium(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path((id, place)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    queue: Option<Extension<FileQueue>>,
) -> Result<Response, Fault> {
    let none = || Fault::new(Kind::NotFound, "there is no such medium, or it has no such file");
    let found = web.app.media.get(&id).ok_or_else(none)?;
    let (path, file) = found.file(&place).ok_or_else(none)?;
    usable(found.problem.as_deref())?;
    if let Some(what) = started(found.os.family, &place) {
        note(&web, &peer, &method, what);
    }
    let stored = open(path, Some(file.blake3.clone()), BINARY).await?;
    Ok(files::send(stored, &method, &headers, queue.as_deref()))
}

/// What a machine is about to start when it fetches this file.
fn started(family: Family, place: &str) -> Option<Fetched<'static>> {
    let wanted = crate::media::layout::of(family);
    // Each begins with its kernel and its initramfs.
    match wanted.iter().position(|wanted| wanted.place == place)? {
        0 => Some(Fetched::Kernel),
        1 => Some(Fetched::Initrd),
        _ => None,
    }
}

/// The media, newest first, and who needs them.
#[utoipa::path(get, path = "/api/v1/media", tag = "operator", responses((status = 200, body = Vec<MediumSummary>)))]
pub(super) async fn media(State(web): State<Web>) -> Result<Json<Vec<MediumSummary>>, Fault> {
    blocking(&web.app, |app| Ok(app.list_media())).await.map(Json)
}

/// Takes a medium that the command line has verified and unpacked into a folder of this machine: JSON lines, the last
/// one `done` or `failed`. The status is 200 as soon as it begins.
#[utoipa::path(post, path = "/api/v1/media/import", tag = "control", request_body = MediumImport,
    responses((status = 200, description = "Lines of ImportLine", body = ImportLine, content_type = "application/jsonl")))]
pub(super) async fn import_medium(
    State(web): State<Web>,
    Actor(actor): Actor,
    Strict(import): Strict<MediumImport>,
) -> Result<Response, Fault> {
    if !std::path::Path::new(&import.folder).is_absolute() {
        return Err(Fault::new(
            Kind::Unprocessable,
            "folder: must be an absolute path of this machine",
        ));
    }
    Ok(tell(&web.app, move |app: &App, progress| {
        let medium = app.import_medium(&import, &actor, now(), progress)?;
        Ok(ImportLine::Done {
            what: "medium".into(),
            name: medium.os.name.into(),
            version: medium.id.clone(),
        })
    }))
}

/// Removes media that nobody needs; the answer lists those that were removed.
#[utoipa::path(post, path = "/api/v1/media/prune", tag = "control", request_body = MediumPrune,
    responses((status = 200, body = Vec<MediumSummary>)))]
pub(super) async fn prune_media(
    State(web): State<Web>,
    Actor(actor): Actor,
    Strict(prune): Strict<MediumPrune>,
) -> Result<Json<Vec<MediumSummary>>, Fault> {
    blocking(&web.app, move |app| app.prune_media(&prune.ids, &actor, now()))
        .await
        .map(Json)
}
