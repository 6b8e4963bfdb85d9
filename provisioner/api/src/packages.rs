// SPDX-License-Identifier: Apache-2.0
//! The cache through which installers fetch packages.

use serde::{Deserialize, Serialize};

/// How the package cache is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PackagesReport {
    /// How it is, in words.
    pub detail: String,
    /// Whether installers are served as the site wants it.
    pub ok: bool,
    /// What installers are told to fetch through; `None` where they fetch by themselves. An address of this machine
    /// stands for whichever of its addresses an installer sees.
    pub proxy: Option<String>,
    /// Whether nothing is asked for elsewhere.
    pub offline: bool,
    /// Bytes that it may take.
    pub size: u64,
    /// Bytes free where it lies.
    pub free: Option<u64>,
    /// What may be fetched through it.
    pub sources: Vec<PackageSource>,
    /// What was wanted lately and not to be had, the last first.
    pub missing: Vec<MissingPackage>,
}

/// A source of packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PackageSource {
    /// Its folder.
    pub url: String,
    /// The profiles that install from it, with their systems; none where only the site's configuration names it.
    pub profiles: Vec<String>,
}

/// A file that was wanted and not to be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MissingPackage {
    /// Where it would be.
    pub url: String,
    /// The profiles that install from there, with their systems.
    pub profiles: Vec<String>,
    /// Why it was not to be had.
    pub why: String,
    /// How often it was asked for.
    pub times: u64,
    /// Who asked last.
    pub asked_by: String,
    /// Unix milliseconds of the last time.
    pub last: i64,
}
