// SPDX-License-Identifier: Apache-2.0
//! Boot scripts for a GRUB that came by the HTTP of its firmware: it asks for everything that way.

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use pxe::grub;

use super::boot::as_script;
use super::listener::Peer;
use super::problem::{Fault, Kind};
use super::{Web, blocking, now};
use crate::app::App;

/// What every GRUB from the network reads first.
#[utoipa::path(get, path = "/grub/grub.cfg", tag = "boot",
    responses((status = 200, description = "A GRUB script", body = String, content_type = "text/plain")))]
pub(super) async fn first_script() -> Response {
    as_script(grub::first())
}

/// What a machine boots, for its GRUB.
#[utoipa::path(get, path = "/boot/grub", operation_id = "grub_script", tag = "boot",
    params(
        ("mac" = Option<String>, Query, description = "Hardware address of the card, `52:54:00:77:00:01`"),
        ("uuid" = Option<String>, Query, description = "SMBIOS UUID, where there is one"),
        ("secure" = Option<String>, Query, description = "`y` where Secure Boot is on"),
        ("choice" = Option<String>, Query, description = "What was chosen in the menu of an unknown machine: `disk` or `enrol`")),
    responses((status = 200, description = "A GRUB script", body = String, content_type = "text/plain")))]
pub(super) async fn script(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
) -> Result<Response, Fault> {
    let (Some(from), Some(at)) = (peer.ipv4(), peer.local_ipv4()) else {
        return Err(Fault::new(
            Kind::BadRequest,
            "boot scripts are given out over IPv4 only",
        ));
    };
    let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    // GRUB asks for the size first, with HEAD: the script has to be the same then.
    let script = move |app: &App| {
        let asked = grub::Asked::parse(&path).unwrap_or_default();
        Ok(crate::grub::script(app, &asked, (from, at), now()))
    };
    blocking(&web.app, script).await.map(as_script)
}
