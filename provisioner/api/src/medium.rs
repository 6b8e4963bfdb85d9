// SPDX-License-Identifier: Apache-2.0
//! Boot media of the distributions' own installers: what was imported, from what, and how far it is to be trusted.

use serde::{Deserialize, Serialize};

/// How it is known that a medium is what its makers published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Verified {
    /// A signature of the medium, or of the list that has its checksum.
    Signature {
        /// Whose, as the key says.
        by: String,
    },
    /// Its checksum is in the package index whose signature this machine's apt has checked.
    PackageIndex,
    /// The operator gave its checksum.
    Checksum,
    /// It is not known; the operator took it all the same.
    Nothing,
}

/// Takes the files of a medium, which the command line has unpacked into a folder, into the store (control socket only).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MediumImport {
    /// Absolute path of the folder; its files are moved out of it where they can be.
    pub folder: String,
    /// What it installs, as profiles name it: `debian-12`.
    pub os: String,
    /// Its release, as its makers say: `12 (bookworm) 20230607+deb12u5`.
    pub release: String,
    /// Name of the file or folder that it came out of.
    pub source: String,
    /// How it is known to be genuine.
    pub verified: Verified,
}

/// A medium that the provisioner holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MediumSummary {
    /// Hash of its content; its files are at `/media/ID/`.
    pub id: String,
    /// What it installs.
    pub os: String,
    /// Its release, as its makers say.
    pub release: String,
    /// Name of the file or folder that it came out of.
    pub source: String,
    /// Bytes of its files.
    pub size: u64,
    /// How it is known to be genuine.
    pub verified: Verified,
    /// When it was imported, Unix milliseconds.
    pub imported: i64,
    /// Who needs it: `profile NAME`, `node NAME`; nobody's are removed by a prune.
    pub used_by: Vec<String>,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// Removes media (control socket only).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MediumPrune {
    /// Ids of those to remove; one that somebody needs by now is left.
    pub ids: Vec<String>,
}

impl std::fmt::Display for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signature { by } => write!(f, "signed by {by}"),
            Self::PackageIndex => f.write_str("apt's signed index"),
            Self::Checksum => f.write_str("checksum given"),
            Self::Nothing => f.write_str("NOT VERIFIED"),
        }
    }
}
