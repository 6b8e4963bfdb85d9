// SPDX-License-Identifier: Apache-2.0
//! What an approval does: shown before it, and sent back with it.

use serde::{Deserialize, Serialize};

use crate::{DiskContents, DiskRef};

/// Approves a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Approve {
    /// Profile; the default one if absent.
    pub profile: Option<String>,
    /// New name; the given one stays if absent.
    #[cfg_attr(
        feature = "openapi",
        schema(max_length = 63, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: Option<String>,
    /// Disk by kernel name, serial, wwn or by-path; the profile's rule chooses if absent.
    pub disk: Option<String>,
    /// The plan as it was shown (`GET /api/v1/nodes/{name}/plan`), unchanged. If it is not so any more, the approval is
    /// refused. May be absent only where every disk of the machine is empty.
    pub confirmed: Option<Box<ApprovalPlan>>,
}

/// All that an approval would do and destroy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApprovalPlan {
    /// The node's id.
    pub node_id: String,
    /// The node's name now.
    pub node: String,
    /// The name that it will have.
    pub name: String,
    /// What it becomes.
    pub profile: String,
    /// What is put on its disk.
    pub system: PlannedSystem,
    /// The disks that are overwritten: the system's, and then the second one of the layout if it has one.
    pub disks: Vec<PlannedDisk>,
    /// Digest of the facts by which the machine is known and of all its disks: another one means that the machine has
    /// registered with other hardware or contents meanwhile.
    pub facts: String,
}

/// What is put on a node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PlannedSystem {
    /// `image`, `cloud-image` or `installer`.
    pub by: String,
    /// Name of the image, or of the operating system that the installer installs.
    pub name: String,
    /// Version of the image, or id of the installer's medium; absent while the server has none.
    pub version: Option<String>,
}

/// A disk that is overwritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PlannedDisk {
    /// Kernel name when the machine registered.
    pub name: String,
    /// What names it from boot to boot.
    pub disk: DiskRef,
    /// Maker's name for its model.
    pub model: Option<String>,
    /// Why it was chosen.
    pub why: String,
    /// What is on it and is lost, in words.
    pub holds: String,
    /// The same as it was found.
    pub contents: DiskContents,
    /// Whether it was found to be empty.
    pub empty: bool,
    /// The other node whose system it holds.
    pub system_of: Option<String>,
}
