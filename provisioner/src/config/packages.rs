// SPDX-License-Identifier: Apache-2.0
//! `[packages]`: through what installers fetch packages.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kickstart::words::{FilePath, Url};

use super::validate::size;
use super::written;

/// Two releases of two distributions, of which nodes install a part; a disk that holds images has as much to spare.
const SIZE: &str = "40 GB";
/// Less would throw away what the next machine asks for: one installation takes half a gigabyte to two.
const LEAST: u64 = 1_000_000_000;
/// Where the cache lies. Not in the state folder: whoever speaks to the world shall not read the server's key.
const FOLDER: &str = "/var/lib/gleaner-packages";

/// Through what installers fetch packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packages {
    /// Whose cache it is.
    pub cache: Cache,
    /// Bytes that ours may take.
    pub size: u64,
    /// Nothing is asked for elsewhere.
    pub offline: bool,
    /// Sources besides those of the profiles.
    pub sources: Vec<Url>,
    /// Where ours lies.
    pub folder: PathBuf,
}

/// Whose cache it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Ours, on this machine.
    Here,
    /// Another one of the site.
    There(Url),
    /// None: installers fetch by themselves.
    Nowhere,
}

impl Packages {
    pub(super) fn validate(written: written::Packages) -> Result<Self> {
        let cache = match written.cache {
            None | Some(written::PackageCache::Here(true)) => Cache::Here,
            Some(written::PackageCache::Here(false)) => Cache::Nowhere,
            Some(written::PackageCache::There(url)) => Cache::There(Url::new(url).context("packages.cache")?),
        };
        let bytes = size("packages.size", written.size.as_deref().unwrap_or(SIZE))?;
        ensure!(
            bytes >= LEAST,
            "packages.size: at least 1 GB, or nothing stays until it is asked for again"
        );
        let offline = written.offline.unwrap_or(false);
        ensure!(
            !offline || cache == Cache::Here,
            "packages.offline: only the cache on this machine (packages.cache = true) can be kept from asking elsewhere"
        );
        let sources = written.sources.unwrap_or_default();
        let sources = sources.into_iter().map(|url| Url::new(url).context("packages.sources"));
        let folder = written.folder.unwrap_or_else(|| FOLDER.into());
        // It becomes a word of another program's configuration.
        FilePath::new(folder.display().to_string()).context("packages.folder")?;
        Ok(Self {
            cache,
            size: bytes,
            offline,
            sources: sources.collect::<Result<_>>()?,
            folder,
        })
    }
}
