// SPDX-License-Identifier: Apache-2.0
//! What a node says of itself while it lives.

use serde::{Deserialize, Serialize};

use crate::Inventory;

/// Which of its two lives node-init is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    /// Started from the network; nothing of it survives a power cut.
    Ram,
    /// Started from the disk that Gleaner wrote.
    Installed,
}

/// A machine introduces itself; its TLS client certificate carries the key that it will be known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Register {
    /// The kernel's random id of this boot: what tells a repeated message from a new start.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 128, pattern = "^[ -~]+$"))]
    pub boot_id: String,
    /// Which life speaks.
    pub life: Life,
    /// Version of node-init.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 128, pattern = "^[ -~]+$"))]
    pub version: String,
    /// What the machine is made of.
    pub inventory: Inventory,
    /// What an installer left on the disk for the system's first start: whose key the one of this certificate is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// An installed system says: the next start in RAM can read its key off the disk, and be vouched for by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vouches: bool,
}

/// An installed system's key, which speaks on this connection, vouches for a start in RAM of the same machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Vouch {
    /// SHA-256 of the `SubjectPublicKeyInfo` of that start's key, hex.
    pub key: String,
}

/// A secret that makes a key a node's, once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Join(pub String);

/// A secret must not reach a log by way of `{:?}`.
impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Join(…)")
    }
}

/// What an installed node knows of itself from its first start on, as it lies on its disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfig {
    /// `HOST:PORT` of the controller's API.
    pub controller: String,
    /// SHA-256 of the controller's `SubjectPublicKeyInfo`, hex.
    pub pin: String,
    /// Host name.
    pub name: String,
}

impl NodeConfig {
    /// Where it lies.
    pub const FILE: &'static str = "/etc/node-init/config.json";
    /// Where the join secret of a system lies that has not joined yet; readable for root alone.
    pub const JOIN_FILE: &'static str = "/etc/node-init/join";
}

/// The controller's answer: who this machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Registered {
    /// The node's id, for ever.
    pub node_id: String,
    /// The name people call it by; also its host name.
    pub name: String,
    /// The controller's name for its site, shown on the machine's screen.
    pub site: String,
    /// This start in RAM has to be vouched for by the key on the machine's disk, and to introduce itself again then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vouch: bool,
}

/// The controller's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Time {
    /// Unix milliseconds.
    pub unix_ms: i64,
}

/// A sign of life of an installed node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    /// Which boot it comes from.
    pub boot_id: String,
    /// How busy the node is.
    pub load: Load,
}

/// How busy a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Load {
    /// Share of all processors in use since the last heartbeat, 0 to 1.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 1))]
    pub cpu: f32,
    /// Load average of one minute.
    pub load1: f64,
    /// Bytes of RAM in use.
    pub memory_used: u64,
    /// Bytes of RAM.
    pub memory_total: u64,
    /// Bytes used of the root file system.
    pub disk_used: u64,
    /// Bytes of the root file system.
    pub disk_total: u64,
    /// Bytes received and sent since boot by all cards.
    pub net_received: u64,
    /// Bytes sent since boot by all cards.
    pub net_sent: u64,
    /// Running guests.
    pub guests: u32,
    /// Seconds since boot.
    pub uptime: u64,
    /// Seconds that the node's clock is ahead of the controller's, as chrony measures; `None` before it is in step.
    pub clock_offset: Option<f64>,
}
