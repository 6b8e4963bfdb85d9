// SPDX-License-Identifier: Apache-2.0
//! The configuration as people write it: every option may be absent, sizes and times are words.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use kickstart::spec::{BondMode, Layout, Repository, Swap, User};
use kickstart::words::{Command, Keyboard, Locale, PackageName, Url};
use provisioner_api::FirmwareType;
use serde::Deserialize;

use super::Addressing;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    pub(super) site: Option<String>,
    pub(super) interfaces: Option<Vec<String>>,
    pub(super) ntp: Option<bool>,
    pub(super) ram_kernel_args: Option<String>,
    pub(super) default_profile: Option<String>,
    pub(super) roles: Option<PathBuf>,
    pub(super) templates: Option<PathBuf>,
    pub(super) paths: Paths,
    pub(super) dhcp: Dhcp,
    pub(super) dns: Dns,
    pub(super) segments: BTreeMap<String, Dhcp>,
    pub(super) subnets: Vec<Subnet>,
    pub(super) reservations: Vec<Reservation>,
    pub(super) ports: Ports,
    pub(super) http: Http,
    pub(super) limits: Limits,
    pub(super) nodes: Nodes,
    pub(super) profiles: BTreeMap<String, Profile>,
    pub(super) auto_approve: Vec<Rule>,
    pub(super) enrolment: Enrolment,
    pub(super) packages: Packages,
    pub(super) log: Log,
}

/// `[paths]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Paths {
    pub(super) config: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
    pub(super) run: Option<PathBuf>,
}

/// `[dhcp]`, `[segments.INTERFACE]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dhcp {
    pub(super) mode: Option<Mode>,
    pub(super) pool: Option<String>,
    pub(super) lease_time: Option<String>,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) dns: Option<Vec<Ipv4Addr>>,
    pub(super) check: Option<bool>,
}

/// `[dns]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dns {
    pub(super) serve: Option<bool>,
    pub(super) domain: Option<String>,
    pub(super) forward: Option<Vec<IpAddr>>,
}

/// `[[subnets]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subnet {
    pub(super) network: String,
    pub(super) interface: Option<String>,
    #[serde(default)]
    pub(super) relays: Vec<Ipv4Addr>,
    pub(super) mode: Option<Mode>,
    pub(super) pool: Option<String>,
    pub(super) lease_time: Option<String>,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) dns: Option<Vec<Ipv4Addr>>,
    pub(super) check: Option<bool>,
}

/// `[[reservations]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reservation {
    pub(super) mac: String,
    pub(super) address: Ipv4Addr,
    pub(super) name: Option<String>,
}

/// `dhcp.mode`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Auto,
    Full,
    Proxy,
    Off,
}

/// `[ports]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ports {
    pub(super) dhcp: Option<u16>,
    pub(super) pxe: Option<u16>,
    pub(super) tftp: Option<u16>,
    pub(super) ntp: Option<u16>,
    pub(super) dns: Option<u16>,
    pub(super) http: Option<u16>,
    pub(super) api: Option<u16>,
    pub(super) packages: Option<u16>,
}

/// `[http]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    pub(super) names: Vec<String>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) tftp_transfers: Option<usize>,
    pub(super) tftp_transfers_per_address: Option<usize>,
    pub(super) http_connections: Option<usize>,
    pub(super) http_connections_per_address: Option<usize>,
}

/// `[nodes]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Nodes {
    pub(super) name: Option<String>,
    pub(super) heartbeat: Option<String>,
    pub(super) lost_after: Option<String>,
    pub(super) first_boot_timeout: Option<String>,
    pub(super) installer_timeout: Option<String>,
}

/// `[profiles.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Profile {
    pub(super) image: Option<String>,
    pub(super) installer: Option<String>,
    pub(super) version: Option<String>,
    pub(super) disk: Option<String>,
    pub(super) disk_min: Option<String>,
    pub(super) root_size: Option<String>,
    pub(super) kernel_args: Option<String>,
    pub(super) ssh_keys: Option<Vec<String>>,
    pub(super) timezone: Option<String>,
    pub(super) bridge: Option<String>,
    pub(super) role: Option<String>,
    pub(super) ntp: Option<Vec<String>>,
    pub(super) system: Option<System>,
}

/// `[profiles.NAME.system]`: what kickstart's own types understand.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct System {
    pub(super) mirror: Option<Url>,
    pub(super) security: Option<String>,
    pub(super) proxy: Option<Url>,
    pub(super) locale: Option<Locale>,
    pub(super) keyboard: Option<Keyboard>,
    pub(super) layout: Option<Layout>,
    pub(super) swap: Option<Swap>,
    pub(super) address: Option<Addressing>,
    pub(super) bond: Option<BondMode>,
    pub(super) vlan: Option<u16>,
    pub(super) packages: Vec<PackageName>,
    pub(super) users: Vec<User>,
    pub(super) repositories: Vec<Repository>,
    pub(super) early_commands: Vec<Command>,
    pub(super) late_commands: Vec<Command>,
}

/// `[[auto_approve]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) profile: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) product: Option<String>,
    pub(super) memory_min: Option<String>,
    pub(super) disk_min: Option<String>,
    pub(super) cpu_64bit: Option<bool>,
    pub(super) kvm: Option<bool>,
    pub(super) mac_prefix: Option<String>,
    pub(super) firmware: Option<FirmwareType>,
    pub(super) disks_empty: Option<bool>,
}

/// `[enrolment]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Enrolment {
    pub(super) unknown: Option<Unknown>,
    pub(super) segments: BTreeMap<String, Unknown>,
}

/// `enrolment.unknown`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unknown {
    Auto,
    Enrol,
    Ask,
    Ignore,
}

/// `[packages]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Packages {
    pub(super) cache: Option<PackageCache>,
    pub(super) size: Option<String>,
    pub(super) offline: Option<bool>,
    pub(super) sources: Option<Vec<String>>,
    pub(super) folder: Option<PathBuf>,
}

/// `packages.cache`
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "packages.cache: true, false, or the URL of another cache")]
pub(super) enum PackageCache {
    Here(bool),
    There(String),
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: Option<Format>,
    pub(super) filter: Option<String>,
}

/// `log.format`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Pretty,
    Json,
}
