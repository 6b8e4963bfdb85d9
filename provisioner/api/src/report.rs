// SPDX-License-Identifier: Apache-2.0
//! What an installed node offers, as libvirt and the system tell it.

use serde::{Deserialize, Serialize};

/// What a node offers. It is ready when every check holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComputeReport {
    /// What it serves as; empty where it was told by a controller from before there were roles.
    #[serde(default)]
    pub role: String,
    /// What runs guests; nothing where its role has none, or nothing answers.
    #[serde(default)]
    pub hypervisor: Option<Hypervisor>,
    /// CPU model that libvirt gives guests (`host-model`): `Skylake-Client-IBRS`; empty where there are none.
    pub cpu_model: String,
    /// x86-64 micro-architecture level as a baseline for guests that move: `x86-64-v2`.
    pub cpu_baseline: String,
    /// Threads for guests.
    pub threads: u32,
    /// Bytes of RAM.
    pub memory: u64,
    /// Where guests' disks live.
    pub storage: Option<StoragePool>,
    /// How guests reach the network.
    pub network: NetworkReport,
    /// Everything that `Ready` means, a line each.
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub checks: Vec<Check>,
}

impl ComputeReport {
    /// Whether every check holds.
    pub fn ready(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.passed)
    }
}

/// What runs guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hypervisor {
    /// libvirt's name for it: `QEMU`.
    pub name: String,
    /// Its version: `10.0.2`.
    pub version: String,
    /// libvirt's version.
    pub libvirt: String,
    /// `kvm` or `qemu` (software virtualization).
    pub virtualization: String,
}

/// A libvirt storage pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoragePool {
    /// Name.
    pub name: String,
    /// Folder.
    pub path: String,
    /// Bytes.
    pub capacity: u64,
    /// Bytes.
    pub available: u64,
}

/// How a node and its guests reach the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NetworkReport {
    /// The bridge that guests plug into, where there is one.
    pub bridge: Option<String>,
    /// The card under it.
    pub card: String,
    /// The node's address with its prefix: `10.77.0.21/24`.
    pub address: String,
}

/// One thing that must hold for a node to be ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// Name: `libvirt`, `network`, `clock`, `storage`, `capsule`, or one of its role's.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was seen, in words.
    pub detail: String,
}
