// SPDX-License-Identifier: Apache-2.0
//! Files for machines: loaders, the RAM environment, node images. Names come from the store, never from the path.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use provisioner_api::RamManifest;
use pxe::bootfile;
use pxe::home::Home;
use serde::Deserialize;

use super::extract::{Path, Query};
use super::files::{self, Stored};
use super::listener::Peer;
use super::problem::{Fault, Kind};
use super::sendfile::FileQueue;
use super::{Web, now};
use crate::app::Fetched;

const BINARY: &str = "application/octet-stream";

/// A loader of the RAM environment, for firmware that fetches over HTTP and for `local-grub.efi`.
#[utoipa::path(get, path = "/loaders/{file}", tag = "files",
    params(
        ("file" = String, Path, description = "File name, `ipxe.efi`"),
        ("home" = Option<String>, Query, description = "What `local-grub.efi` is to look for: `any`, or marks with commas between them")),
    responses((status = 200, description = "The loader", body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn loader(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
    Query(asked): Query<Loader>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let ram = web.app.images.ram().map_err(|why| Fault::new(Kind::NotFound, why))?;
    let content = ram.loaders.get(&name).cloned();
    let content = content.ok_or_else(|| Fault::new(Kind::NotFound, "the RAM environment has no such loader"))?;
    note(&web, &peer, &method, Fetched::Loader(&name));
    let home = asked.home.filter(|_| name == bootfile::LOCAL_GRUB);
    if let Some(home) = home {
        let wrong = || Fault::new(Kind::BadRequest, "home: `any`, or marks with commas between them");
        let home = Home::parse(&home).ok_or_else(wrong)?;
        return Ok(files::send_parts(filled_in(&content, &home), BINARY, &method));
    }
    let path = format!("{}/{name}", RamManifest::LOADERS);
    let hash = ram
        .manifest
        .file(&path)
        .map_or_else(String::new, |file| file.blake3.clone());
    Ok(files::send_memory(
        &Bytes::from_owner(content),
        &hash,
        BINARY,
        &method,
        &headers,
    ))
}

/// How a loader is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Loader {
    home: Option<String>,
}

/// The loader with the line filled in that says what it looks for; one of before there were marks has no such line and
/// stays as it is. The parts share the loader's memory: a thousand machines may ask at once.
fn filled_in(content: &Bytes, home: &Home) -> [Bytes; 3] {
    match Home::place(content) {
        Some(place) => [
            content.slice(..place.start),
            Bytes::from(home.line()),
            content.slice(place.end..),
        ],
        None => [content.clone(), Bytes::new(), Bytes::new()],
    }
}

/// Kernel and initramfs of a RAM environment.
#[utoipa::path(get, path = "/ram/{version}/{file}", tag = "files",
    params(("version" = String, Path, description = "Version"), ("file" = String, Path, description = "`vmlinuz` or `initrd`")),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "One range of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The caller has it already"),
        (status = 416, description = "The range lies outside")))]
pub(super) async fn ram(
    State(web): State<Web>,
    Extension(peer): Extension<Peer>,
    Path((version, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    queue: Option<Extension<FileQueue>>,
) -> Result<Response, Fault> {
    let ram = web
        .app
        .images
        .ram_version(&version)
        .filter(|_| name == RamManifest::KERNEL || name == RamManifest::INITRD);
    let ram = ram.ok_or_else(|| {
        Fault::new(
            Kind::NotFound,
            "there is no such RAM environment, or it has no such file",
        )
    })?;
    usable(ram.problem.as_deref())?;
    let entry = ram
        .manifest
        .file(&name)
        .ok_or_else(|| Fault::new(Kind::NotFound, "the RAM environment has no such file"))?;
    let what = if name == RamManifest::KERNEL {
        Fetched::Kernel
    } else {
        Fetched::Initrd
    };
    note(&web, &peer, &method, what);
    // The list, and each name in it, was checked by the store: it stays inside the folder.
    let (path, hash) = (ram.folder.join(&entry.path), entry.blake3.clone());
    let stored = open(path, Some(hash), BINARY).await?;
    Ok(files::send(stored, &method, &headers, queue.as_deref()))
}

/// A program that an installer puts on the disk of a node to be.
#[utoipa::path(get, path = "/programs/{sha256}/{name}", tag = "files",
    params(("sha256" = String, Path, description = "Its SHA-256, hex"), ("name" = String, Path, description = "`node-init` or `node-init-libvirt`")),
    responses(
        (status = 200, description = "The program", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "One range of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The caller has it already"),
        (status = 416, description = "The range lies outside")))]
pub(super) async fn program(
    State(web): State<Web>,
    Path((sha256, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    queue: Option<Extension<FileQueue>>,
) -> Result<Response, Fault> {
    let program = web.app.images.program(&sha256, &name);
    let program = program.ok_or_else(|| Fault::new(Kind::NotFound, "there is no such program"))?;
    let stored = open(program.path, Some(program.sha256), BINARY).await?;
    Ok(files::send(stored, &method, &headers, queue.as_deref()))
}

/// A part of a node image: `manifest.json`, `manifest.json.minisig`, `chunks`.
#[utoipa::path(get, path = "/images/{name}/{version}/{file}", tag = "files",
    params(
        ("name" = String, Path, description = "Name"), ("version" = String, Path, description = "Version"),
        ("file" = String, Path, description = "`manifest.json`, `manifest.json.minisig` or `chunks`")),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "One range of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The caller has it already"),
        (status = 416, description = "The range lies outside")))]
pub(super) async fn image(
    State(web): State<Web>,
    Path((name, version, file)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
    queue: Option<Extension<FileQueue>>,
) -> Result<Response, Fault> {
    let (file, content_type) = match file.as_str() {
        "manifest.json" => ("manifest.json", "application/json"),
        "manifest.json.minisig" => ("manifest.json.minisig", "text/plain"),
        "chunks" => ("chunks", BINARY),
        _ => {
            return Err(Fault::new(
                Kind::NotFound,
                "an image has manifest.json, manifest.json.minisig and chunks",
            ));
        }
    };
    let image = web.app.images.image(&name, &version);
    let image =
        image.ok_or_else(|| Fault::new(Kind::NotFound, "there is no such image; see: provisioner image list"))?;
    usable(image.problem.as_deref())?;
    let stored = open(image.folder.join(file), None, content_type).await?;
    Ok(files::send(stored, &method, &headers, queue.as_deref()))
}

/// Takes note of who fetches what; a question for the size is none.
pub(super) fn note(web: &Web, peer: &Peer, method: &Method, what: Fetched<'_>) {
    if *method == Method::GET
        && let Some(from) = peer.ipv4()
    {
        web.app.fetched_by_http(from, what, now());
    }
}

/// What must not be booted or installed is not given out either.
pub(super) fn usable(problem: Option<&str>) -> Result<(), Fault> {
    problem.map_or(Ok(()), |why| Err(Fault::new(Kind::Conflict, why)))
}

/// Opens a file of a store. Without a content hash the tag is made of what changes when the store puts another
/// file in its place (it writes a new one and renames): inode, size, time.
pub(super) async fn open(path: PathBuf, hash: Option<String>, content_type: &'static str) -> Result<Stored, Fault> {
    let path = Arc::new(path);
    let opened = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || {
            let file = File::open(path.as_path())?;
            let about = file.metadata()?;
            std::io::Result::Ok((file, about))
        })
        .await
    };
    let opened = opened.unwrap_or_else(|gone| Err(std::io::Error::other(gone)));
    let (file, about) = opened.map_err(|error| {
        let context = format!("opening {}", path.display());
        Fault::internal(&anyhow::Error::new(error).context(context))
    })?;
    let hash = hash.unwrap_or_else(|| {
        format!(
            "{:x}-{:x}-{:x}.{:x}",
            about.ino(),
            about.size(),
            about.mtime(),
            about.mtime_nsec()
        )
    });
    Ok(Stored {
        file,
        size: about.len(),
        hash,
        content_type,
    })
}
