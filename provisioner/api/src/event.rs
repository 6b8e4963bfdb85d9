// SPDX-License-Identifier: Apache-2.0
//! What happened to a node, in its own words.

use serde::{Deserialize, Serialize};

use crate::ComputeReport;

/// Something that happened, numbered so that hearing it twice changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeEvent {
    /// Which boot it comes from; events of an earlier boot are acknowledged and not applied.
    pub boot_id: String,
    /// Rising within one boot; `(boot_id, sequence)` names the event.
    pub sequence: u64,
    /// What happened.
    pub event: Event,
}

/// What a node can report.
#[allow(clippy::large_enum_variant)] // a handful exist at a time, and a box would show in the wire types
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Event {
    /// The machine and the disk it was told to use are fit.
    Checked {
        /// What was looked at, a line each.
        #[cfg_attr(feature = "openapi", schema(max_items = 64))]
        findings: Vec<String>,
    },
    /// The disk was discarded (where it can be) and its partition tables were cleared. Not an erasure.
    Wiped {
        /// Whether the disk took the discard.
        discarded: bool,
    },
    /// The image is on the disk, set up and flushed, first MiB included; the machine reboots now.
    Written {
        /// Bytes written to the disk.
        bytes: u64,
        /// Milliseconds from first to last byte.
        milliseconds: u64,
        /// The mark that was put on the disk; a node-init of before there were marks says none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mark: Option<String>,
    },
    /// The installed system runs and all its checks hold, or says which do not.
    CameHome {
        /// What the node offers.
        report: ComputeReport,
    },
    /// It cannot go on.
    Failed {
        /// What stands in the way.
        cause: FailCause,
    },
    /// It is going down because it was told to.
    Rebooting,
    /// Something worth an operator's line that changes no state.
    Note {
        /// The line.
        text: String,
    },
}

/// Why a node cannot go on; each says to a person what happened and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "cause")]
pub enum FailCause {
    /// No disk that may be written.
    #[error("no usable disk was found ({found}); plug one in, or name one with --disk")]
    NoDisk {
        /// What there was, a few words.
        found: String,
    },
    /// The disk that was chosen is not there any more.
    #[error("the chosen disk {disk} is not in the machine any more; choose another one")]
    DiskGone {
        /// Serial or path.
        disk: String,
    },
    /// Disk smaller than the image.
    #[error("the disk {disk} is too small: the image needs {}, it has {}", gigabytes(*need), gigabytes(*have))]
    DiskTooSmall {
        /// Serial or path.
        disk: String,
        /// Bytes.
        need: u64,
        /// Bytes.
        have: u64,
    },
    /// The disk says that it is failing, or cannot be read.
    #[error("the disk {disk} is failing ({detail}); replace it")]
    DiskUnhealthy {
        /// Serial or path.
        disk: String,
        /// What was seen.
        detail: String,
    },
    /// Writing failed.
    #[error("writing to the disk {disk} failed at byte {offset} ({detail}); replace the disk or its cable")]
    DiskWrite {
        /// Serial or path.
        disk: String,
        /// Byte.
        offset: u64,
        /// The kernel's word.
        detail: String,
    },
    /// A chunk that is not what the manifest says.
    #[error("the image {image} is corrupt on the server ({detail}); import it again")]
    ImageCorrupt {
        /// Name and version.
        image: String,
        /// Which part.
        detail: String,
    },
    /// Not signed by a key that the controller trusts.
    #[error("the image {image} is not signed by a trusted key ({detail}); sign it, or trust its key")]
    ImageUntrusted {
        /// Name and version.
        image: String,
        /// What was wrong.
        detail: String,
    },
    /// The image could not be fetched, however often it was tried.
    #[error("the image {image} could not be fetched ({detail})")]
    ImageUnavailable {
        /// Name and version.
        image: String,
        /// What was wrong.
        detail: String,
    },
    /// Less RAM than any role needs.
    #[error("the machine has {have_mb} MB of RAM and needs at least {need_mb} MB; add a module")]
    LowMemory {
        /// MB found.
        have_mb: u64,
        /// MB needed.
        need_mb: u64,
    },
    /// The node could not be set up on the written disk, or a check of its role does not hold.
    #[error("setting up the node failed at {step} ({detail})")]
    SetUp {
        /// Which step.
        step: String,
        /// What was wrong.
        detail: String,
    },
    /// The distribution's own installer stopped.
    #[error("the installer of {system} stopped ({detail}); its last lines are kept with the node")]
    Installer {
        /// The operating system.
        system: String,
        /// Its reason.
        detail: String,
    },
    /// Tried as often as makes sense.
    #[error("gave up after {tries} tries; the last one said: {last}")]
    GaveUp {
        /// How often.
        tries: u32,
        /// The last reason.
        last: String,
    },
}

/// How far a node is, for people to watch. Only the newest counts; losing one loses nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Which boot it comes from.
    pub boot_id: String,
    /// What it is at.
    pub stage: Stage,
    /// Share of the stage that is done, in thousandths.
    #[cfg_attr(feature = "openapi", schema(maximum = 1000))]
    pub permille: u16,
    /// A few words: "412 of 980 MB, 61 MB/s".
    pub detail: String,
}

/// What a node can be seen doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Reading what the machine is made of.
    Examining,
    /// Waiting for an order.
    Waiting,
    /// Checking the disk.
    Checking,
    /// Discarding the disk and clearing its tables.
    Wiping,
    /// Starting the distribution's own installer.
    Installer,
    /// The installer writes the partition tables.
    Partitioning,
    /// The installer unpacks packages.
    Packages,
    /// Writing the image.
    Writing,
    /// Giving the system its name, key and network.
    SettingUp,
    /// Going down to come up again.
    Rebooting,
    /// The installed system is bringing its services up.
    FirstBoot,
    /// Setting up the bridge for guests.
    Bridging,
    /// Serving.
    Serving,
}

/// Bytes as the label of a disk says them, to a tenth; the exact number beside it tells a disk that is short by a
/// little from one that is not.
fn gigabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000_000;
    format!("{}.{} GB ({bytes} bytes)", tenths / 10, tenths % 10)
}
