// SPDX-License-Identifier: Apache-2.0
//! What nginx is told: pure, from the site's wishes and a few facts of this machine.
//!
//! It is a proxy for plain HTTP that knows a list of hosts. Why nginx, and what else was tried: docs/admin.md.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use askama::Template;

use super::sources::{self, Origin};
use super::{LITTLE, Places, wanted};
use crate::config::Config;
use crate::network::mask;

/// Bytes of a piece of a package. Who waits for somebody else's download gets the first after one piece, and apt gives up
/// after 30 seconds of silence: with this a line of 1.2 Mbit/s is fast enough. Smaller ones cost a distant source one
/// round trip each.
const PIECE: u64 = 4 << 20;
/// Files that are kept, by bytes of the cache: most packages are smaller than this.
const BYTES_A_FILE: u64 = 256 << 10;
/// nginx keeps 8,000 names in a megabyte (its documentation of `proxy_cache_path`).
const NAMES_A_MB: u64 = 8000;
/// Megabytes for names that are always there.
const LEAST_MB: u64 = 2;
/// Bytes of the disk that are left to others; the cache shrinks for them.
const SPARE: u64 = 4 * LITTLE;

/// What differs between machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether nginx is started as root: it would become somebody else, who may not write.
    pub root: bool,
    /// The networks that are served: an address in each, and the bits of the network's part.
    pub networks: Vec<(Ipv4Addr, u8)>,
    /// Who knows the addresses of sources.
    pub resolvers: Vec<IpAddr>,
    /// The certificates of those who vouch for sources with TLS; `None` where this machine has none.
    pub authorities: Option<PathBuf>,
}

#[derive(Template)]
#[template(path = "nginx.conf", escape = "none")]
struct File<'a> {
    root: bool,
    run: String,
    files: String,
    wanted: String,
    full: String,
    format: &'static str,
    keys_mb: u64,
    size: u64,
    spare: u64,
    origins: Vec<Origin>,
    offline: bool,
    resolvers: Vec<String>,
    authorities: Option<String>,
    networks: Vec<String>,
    port: u16,
    piece: u64,
    upstream: &'static str,
    missing: &'a str,
    missing_status: u16,
}

/// nginx's configuration.
pub fn render(config: &Config, facts: &Facts) -> Result<String> {
    let wishes = &config.packages;
    let places = Places::of(&wishes.folder);
    let origins = sources::origins(&sources::of(config));
    let secure = origins.iter().any(|origin| origin.base.starts_with("https:"));
    ensure!(
        !secure || wishes.offline || facts.authorities.is_some(),
        "a source of packages is asked by TLS, and this machine has no certificates to check it against; install \
         ca-certificates"
    );
    ensure!(
        !facts.networks.is_empty(),
        "no network is served, so nobody may use the package cache"
    );
    let file = File {
        root: facts.root,
        run: places.run().display().to_string(),
        files: places.files().display().to_string(),
        wanted: places.wanted().display().to_string(),
        full: places.full().display().to_string(),
        format: wanted::FORMAT,
        keys_mb: (wishes.size / BYTES_A_FILE / NAMES_A_MB).max(LEAST_MB),
        size: wishes.size,
        spare: SPARE,
        origins,
        offline: wishes.offline,
        resolvers: facts.resolvers.iter().map(in_brackets).collect(),
        authorities: facts.authorities.as_ref().map(|path| path.display().to_string()),
        networks: facts
            .networks
            .iter()
            .map(|(address, prefix)| network(*address, *prefix))
            .collect(),
        port: config.ports.packages,
        piece: PIECE,
        upstream: if wishes.offline {
            "http://nobody$request_uri"
        } else {
            "$origin$request_uri"
        },
        missing_status: if wishes.offline {
            wanted::NOT_KEPT
        } else {
            wanted::NO_ANSWER
        },
        missing: if wishes.offline {
            "not in the package cache, which asks nobody else (packages.offline)"
        } else {
            "not in the package cache, and its source did not answer"
        },
    };
    file.render().context("writing nginx's configuration")
}

fn network(address: Ipv4Addr, prefix: u8) -> String {
    format!("{}/{prefix}", address & mask(prefix))
}

/// nginx takes a colon for the begin of a port.
fn in_brackets(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
#[path = "nginx/tests.rs"]
mod tests;
