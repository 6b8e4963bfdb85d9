// SPDX-License-Identifier: Apache-2.0
//! What operators ask and hear: the same for the command line, the page and programs.

use serde::{Deserialize, Serialize};

use crate::{ComputeReport, Inventory, Load, Progress};

/// A node in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeSummary {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// State in the life cycle, lower case: `enrolled`, `installing`, `ready`.
    pub state: String,
    /// What it waits for or what went wrong, in words; empty when all is well.
    pub reason: String,
    /// How far it is, where something is under way.
    pub progress: Option<Progress>,
    /// `alive`, `lost`, or `unknown` before the first heartbeat.
    pub liveness: String,
    /// Unix milliseconds of the last word from it.
    pub last_seen: Option<i64>,
    /// Maker and model.
    pub model: String,
    /// Address that it last called from.
    pub address: Option<String>,
    /// Hardware address of the card that it booted from.
    pub mac: Option<String>,
    /// `bios`, `uefi32`, `uefi64`.
    pub firmware: String,
    /// Threads.
    pub threads: u32,
    /// Bytes of RAM.
    pub memory: u64,
    /// Warnings for a person: "RTC battery is empty", "disk sda is failing".
    pub warnings: Vec<String>,
    /// Labels of the enrolment window that it came in through.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A node, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: NodeSummary,
    /// What the machine is made of.
    pub inventory: Inventory,
    /// The disk that approval would choose, or has chosen, by kernel name; `None` with the reason in `disk_reason`.
    pub disk: Option<String>,
    /// The disk that the layout of its profile takes beside that one: overwritten too.
    #[serde(default)]
    pub second_disk: Option<String>,
    /// Why these disks and what is on them, or why none.
    pub disk_reason: String,
    /// What it offers, once installed.
    pub compute: Option<ComputeReport>,
    /// How busy it is.
    pub load: Option<Load>,
    /// Profile it was approved for.
    pub profile: Option<String>,
    /// Whether the provisioner keeps its identity capsule.
    pub capsule: bool,
    /// How the log of its last distribution's installer ended that stopped, a line each.
    #[serde(default)]
    pub installer_log: Vec<String>,
    /// How often it was installed.
    pub installs: u32,
}

/// A person says that a start in RAM is the machine of a node that is to be installed again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Confirm {
    /// The address of the start; needed where several wait.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = Ipv4))]
    pub from: Option<std::net::Ipv4Addr>,
}

/// Something that happened to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventEntry {
    /// Rising number.
    pub id: i64,
    /// Unix milliseconds.
    pub at: i64,
    /// Node, where it was one.
    pub node: Option<String>,
    /// Short word: `enrolled`, `approved`, `written`, `failed`, `lost`, `back`.
    pub kind: String,
    /// In words.
    pub detail: String,
    /// Who did it: `rule NAME`, `operator`, `node`, `provisioner`.
    pub actor: String,
}

/// Rejects a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Reject {
    /// Why, for its screen.
    pub why: String,
}

/// An image that the provisioner holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageSummary {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Bytes of disk it needs.
    pub disk_size: u64,
    /// Bytes on the wire.
    pub data_size: u64,
    /// Seconds since 1970 of its sources.
    pub created: u64,
    /// The key that signed it, and whether it is trusted now.
    pub signed_by: String,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// How the provisioner itself is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatusReport {
    /// Version.
    pub version: String,
    /// Name of the site.
    pub site: String,
    /// Seconds since start.
    pub uptime: u64,
    /// Each service and where it listens.
    pub services: Vec<ServiceStatus>,
    /// Nodes by state.
    pub nodes: std::collections::BTreeMap<String, u64>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// What keeps machines from arriving.
    #[serde(default)]
    pub findings: Vec<crate::Finding>,
    /// Enrolment windows that are open.
    #[serde(default)]
    pub windows: Vec<crate::EnrolmentWindow>,
}

/// One service of the provisioner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceStatus {
    /// `dhcp`, `tftp`, `dns`, `http`, `api`, `ntp`.
    pub name: String,
    /// Address and mode: `br0 10.77.0.1, full, 10.77.0.128–10.77.0.254`.
    pub detail: String,
    /// Whether it works.
    pub ok: bool,
}

/// Takes an image or a RAM environment from a folder of the server into its store (control socket only).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Absolute path of the folder on the server's own disk.
    pub folder: String,
}

/// One line of the answer to [`Import`], JSON and a line feed; the last line is `done` or `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ImportLine {
    /// How far it is.
    Progress {
        /// Bytes copied and verified.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// It is in the store and can be used.
    Done {
        /// `image` or `ram`.
        what: String,
        /// Name; `ram` for a RAM environment.
        name: String,
        /// Version.
        version: String,
    },
    /// It was refused; the store is as it was.
    Failed {
        /// Why, and what to do.
        problem: crate::Problem,
    },
}

/// Asks for a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for; names it in the list and in the events that it causes.
    #[cfg_attr(
        feature = "openapi",
        schema(max_length = 63, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// A token in a list: everything but the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenSummary {
    /// Name.
    pub name: String,
    /// Unix milliseconds of its making.
    pub created: i64,
}

/// An operator's token, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Token {
    /// The secret.
    pub token: String,
}
