// SPDX-License-Identifier: Apache-2.0
//! What the site wants: one TOML file in three shapes.
//!
//! `written` is the file as people write it (every option may be absent); `validate` lays it over the defaults and
//! makes a [`Config`] of it: no strings that stand for something else, no `Option` without meaning.
//! Nothing here opens a socket or looks at the network; what a value means is decided where it is used.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kickstart::roles::Roles;
use pxe::argument::Argument;

use crate::network::Interface;
use crate::rules::Rule;

pub mod addresses;
mod mistyped;
mod networks;
mod packages;
mod profile;
mod validate;
mod written;

pub use networks::{Dhcp, DhcpMode, Reservation, Subnet};
pub use packages::{Cache, Packages};
pub use profile::{Addressing, Image, Installer, Profile, Source};
pub use validate::mac_prefix;

/// Where the configuration is looked for when nobody says.
const FILE: &str = "/etc/gleaner/gleaner.toml";

/// Names in the site's domain that no node, card or profile can have: the server's own, and the pool of all nodes.
pub const OWN_NAMES: [&str; 2] = ["controller", "nodes"];

/// The file that lists every option with its default.
pub const EXAMPLE: &str = include_str!("../gleaner.example.toml");

/// Everything the site wants, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Name of the site, shown on machines' screens and the page.
    pub site: String,
    /// Where things lie.
    pub paths: Paths,
    /// Interfaces to serve, by name; empty means every one with an IPv4 address but the loopback.
    pub interfaces: Vec<String>,
    /// DHCP, wherever nothing else is said.
    pub dhcp: Dhcp,
    /// DHCP on interfaces that differ, by their names.
    pub segments: BTreeMap<String, Dhcp>,
    /// Networks behind relays.
    pub subnets: Vec<Subnet>,
    /// Addresses that belong to certain cards.
    pub reservations: Vec<Reservation>,
    /// Ports.
    pub ports: Ports,
    /// Names of nodes; `None` where another server has them.
    pub dns: Option<Dns>,
    /// Whether to answer SNTP where nothing else on this machine does.
    pub ntp: bool,
    /// What strangers may use up.
    pub limits: Limits,
    /// The page and the operator API.
    pub http: Http,
    /// Nodes.
    pub nodes: Nodes,
    /// Kernel arguments of the RAM environment, besides those that node-init needs.
    pub ram_kernel_args: Vec<Argument>,
    /// What nodes can serve as.
    pub roles: Roles,
    /// The site's own templates of answer files.
    pub templates: PathBuf,
    /// What nodes can become, by name.
    pub profiles: BTreeMap<String, Profile>,
    /// The profile of an approval that names none; always one of `profiles`.
    pub default_profile: String,
    /// Rules that approve without a person, in the order of the file; the first that fits decides.
    pub rules: Vec<Rule>,
    /// What unknown machines get.
    pub enrolment: Enrolment,
    /// Through what installers fetch packages.
    pub packages: Packages,
    /// Logging.
    pub log: Log,
}

impl Config {
    /// Reads the file; without one that is named, the usual one if it is there, and defaults if it is not.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let usual = Path::new(FILE);
        let path = file.unwrap_or(usual);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => String::new(),
            Err(error) => return Err(error).with_context(|| format!("reading the configuration {}", path.display())),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self::parse(&text, folder.unwrap_or(Path::new("."))).with_context(|| format!("in {}", path.display()))
    }

    /// Means what a file with this text in this folder says.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let written = toml::from_str(text).map_err(|error| mistyped::explained(&error, text))?;
        validate::validate(written, folder)
    }

    /// Whether any network is served by DHCP.
    pub fn serves_dhcp(&self) -> bool {
        let mut networks = self.segments.values().chain([&self.dhcp]);
        networks.any(|dhcp| dhcp.mode != DhcpMode::Off)
    }

    /// Interfaces that have a section of their own.
    pub fn mentioned(&self) -> Vec<&str> {
        self.segments.keys().map(String::as_str).collect()
    }

    /// Those of these interfaces on which DHCP is not switched off, each with what it is to do.
    pub fn with_dhcp(&self, interfaces: Vec<Interface>) -> Vec<(Interface, Dhcp)> {
        let with = |interface: Interface| {
            let dhcp = self.segment(&interface.name).clone();
            (interface, dhcp)
        };
        let all = interfaces.into_iter().map(with);
        all.filter(|(_, dhcp)| dhcp.mode != DhcpMode::Off).collect()
    }

    /// DHCP on an interface.
    pub fn segment(&self, interface: &str) -> &Dhcp {
        self.segments.get(interface).unwrap_or(&self.dhcp)
    }
}

impl Paths {
    /// Public keys of those whose images are used: `*.pub`.
    pub fn trusted_keys(&self) -> PathBuf {
        self.config.join("trusted-keys")
    }

    /// Where the command line reaches the running server.
    pub fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }
}

/// Where things lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Folder of the configuration; trusted keys are in its `trusted-keys`.
    pub config: PathBuf,
    /// Database, images, the server's key.
    pub state: PathBuf,
    /// The control socket.
    pub run: PathBuf,
}

/// Names of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The site's domain, in lower case, no dot at the end.
    pub domain: String,
    /// Who is asked for all other names; empty means whom this machine asks.
    pub forward: Vec<IpAddr>,
}

/// Ports; 0 lets the kernel choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// DHCP server, UDP.
    pub dhcp: u16,
    /// PXE boot server, UDP: where firmware asks again beside another DHCP server.
    pub pxe: u16,
    /// TFTP, UDP.
    pub tftp: u16,
    /// SNTP, UDP.
    pub ntp: u16,
    /// DNS, UDP and TCP.
    pub dns: u16,
    /// Plain HTTP: boot scripts, files, the status page.
    pub http: u16,
    /// HTTPS: node and operator API.
    pub api: u16,
    /// The package cache.
    pub packages: u16,
}

/// What strangers may use up, in all and from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transfers by TFTP at a time.
    pub tftp: Share,
    /// Connections by HTTP at a time, of each listener.
    pub http: Share,
}

/// A limit for everybody together and one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Everybody together.
    pub total: usize,
    /// One address.
    pub per_address: usize,
}

/// The page and the operator API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Names and addresses under which people reach the controller besides its own; lower case.
    pub names: Vec<String>,
}

/// How nodes are named and watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// Host name of new nodes; the run of `#` becomes a number with at least as many digits.
    pub name_pattern: String,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Silence after which a node counts as lost.
    pub lost_after: Duration,
    /// Time that an installed system has to come home before it counts as a failure.
    pub first_boot_timeout: Duration,
    /// Time that a distribution's installer may be silent before it counts as a failure.
    pub installer_timeout: Duration,
}

/// What machines get that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// Everywhere else.
    pub unknown: Unknown,
    /// On certain segments.
    pub segments: Vec<(Place, Unknown)>,
}

/// What a machine gets that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It comes in where nobody else answers DHCP, and is asked where somebody does.
    Auto,
    /// It comes in.
    Enrol,
    /// A menu that goes on to its own disk.
    Ask,
    /// Nothing.
    Ignore,
}

/// A segment, as the file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// By the server's interface.
    Interface(String),
    /// By the network behind a relay: its address and the bits of its network part.
    Network(Ipv4Addr, u8),
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// A filter in the notation of `tracing_subscriber`: `info`, `provisioner=debug`.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of words.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// A size as people say it: "500 GB", decimal as on a disk's label.
pub fn size_in_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    for (unit, name) in UNITS {
        if bytes >= unit {
            let tenths = bytes / (unit / 10);
            return match tenths % 10 {
                // "500 GB", but "1.5 TB": past ten a tenth says nothing to a person.
                tenth if tenth > 0 && tenths < 100 => format!("{}.{tenth} {name}", tenths / 10),
                _ => format!("{} {name}", tenths / 10),
            };
        }
    }
    format!("{bytes} bytes")
}

/// Whether a word can be a host name: RFC 1123 section 2.1, lower case, one label.
pub fn is_host_name(word: &str) -> bool {
    let alphabet = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let inside = !word.starts_with('-') && !word.ends_with('-');
    (1..=63).contains(&word.len()) && inside && word.chars().all(alphabet)
}

#[cfg(test)]
mod tests;
