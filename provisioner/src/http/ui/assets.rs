// SPDX-License-Identifier: Apache-2.0
//! The page's script, style and picture, embedded; their URLs carry a hash, so that browsers may keep them.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;

use crate::http::extract::Path;
use crate::http::files;
use crate::http::problem::{Fault, Kind};

/// A file that the page loads.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static [u8],
    hash: String,
}

/// URLs of the assets, for the templates.
#[derive(Debug)]
pub(super) struct Urls {
    pub(super) css: String,
    pub(super) htmx: String,
    pub(super) sse: String,
    pub(super) logo: String,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    let javascript = "text/javascript; charset=utf-8";
    [
        new(
            "gleaner.css",
            "text/css; charset=utf-8",
            include_bytes!("../../../assets/gleaner.css"),
        ),
        new("htmx.min.js", javascript, include_bytes!("../../../assets/htmx.min.js")),
        new(
            "hx-sse.min.js",
            javascript,
            include_bytes!("../../../assets/hx-sse.min.js"),
        ),
        new(
            "gleaner.svg",
            "image/svg+xml",
            include_bytes!("../../../assets/gleaner.svg"),
        ),
    ]
});

static URLS: LazyLock<Urls> = LazyLock::new(|| {
    let [css, htmx, sse, logo] = ASSETS
        .each_ref()
        .map(|asset| format!("/assets/{}?v={}", asset.name, asset.hash));
    Urls { css, htmx, sse, logo }
});

fn new(name: &'static str, content_type: &'static str, content: &'static [u8]) -> Asset {
    // 16 hex digits tell versions apart; nobody gains by a collision.
    let hash = blake3::hash(content).to_hex()[..16].to_owned();
    Asset {
        name,
        content_type,
        content,
        hash,
    }
}

/// Where the assets are.
pub(super) fn urls() -> &'static Urls {
    &URLS
}

/// Script, style and picture of the page.
#[utoipa::path(get, path = "/assets/{file}", tag = "page",
    params(("file" = String, Path, description = "File name")),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream")))]
pub(in crate::http) async fn asset(
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let asset = asset.ok_or_else(|| Fault::new(Kind::NotFound, "the page has no such file"))?;
    let mut response = files::send_memory(
        &Bytes::from_static(asset.content),
        &asset.hash,
        asset.content_type,
        &method,
        &headers,
    );
    // Asked for by its hash, this is what it will be for ever (RFC 8246).
    if query.as_deref().and_then(|query| query.strip_prefix("v=")) == Some(asset.hash.as_str()) {
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    Ok(response)
}
