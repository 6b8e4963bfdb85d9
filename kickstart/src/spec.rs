// SPDX-License-Identifier: Apache-2.0
//! What one machine shall become: everything that can be installed, and nothing else.
//!
//! A [`Spec`] is read or made field by field from [words](crate::words) that are right by themselves. [`Spec::check`]
//! holds the fields against each other; only what it returns can be rendered.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::words::{
    ByPath, Command, Contents, DeviceName, FilePath, FullName, Host, HostName, KernelArgument, Keyboard, Line, Locale,
    Mac, Name, PackageName, PublicKey, Serial, SshKey, TimeZone, UnitName, Url, UserName,
};

mod check;

/// Gigabytes of a disk that a system needs at least: the smallest that all families install into.
pub const SMALLEST_DISK_GB: u32 = 8;
/// Gigabytes of swap at most: nobody waits for more to be written.
pub const LARGEST_SWAP_GB: u32 = 256;
/// A VLAN's highest number (IEEE 802.1Q; 0 and 4095 are reserved).
pub const HIGHEST_VLAN: u16 = 4094;
/// Cards in a bond at most: as many as a PC has slots.
const MOST_CARDS: usize = 8;

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its name.
    pub hostname: HostName,
    /// What people call it: on its login screen.
    #[serde(default)]
    pub label: Option<Line>,
    /// How it starts.
    pub firmware: Firmware,
    /// What becomes of its disks.
    pub storage: Storage,
    /// How it is connected.
    pub network: Network,
    /// Who logs in, and only by key: no account has a password.
    #[serde(default)]
    pub users: Vec<User>,
    /// Language of its messages.
    pub locale: Locale,
    /// Layout of its keyboard.
    pub keyboard: Keyboard,
    /// Time zone of its clock.
    pub timezone: TimeZone,
    /// Where it gets the time; empty for the distribution's own.
    #[serde(default)]
    pub ntp: Vec<Host>,
    /// Where packages come from; which folder of the distribution it is, docs/families.md says.
    pub mirror: Url,
    /// Where its security updates are, where they are a source of their own; without it such a system gets none.
    #[serde(default)]
    pub security: Option<Url>,
    /// Through what it fetches packages.
    #[serde(default)]
    pub proxy: Option<Url>,
    /// Packages of the distribution, beside the role's.
    #[serde(default)]
    pub packages: Vec<PackageName>,
    /// Further arguments of its kernel.
    #[serde(default)]
    pub kernel_arguments: Vec<KernelArgument>,
    /// Package sources beside the distribution's.
    #[serde(default)]
    pub repositories: Vec<Repository>,
    /// Run in the installer, before anything is written.
    #[serde(default)]
    pub early_commands: Vec<Command>,
    /// Run in the installed system, last.
    #[serde(default)]
    pub late_commands: Vec<Command>,
    /// What it serves as.
    pub role: Role,
}

/// How a machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// From the first sector of its disk.
    Bios,
    /// From the EFI system partition.
    Uefi,
}

/// What becomes of a machine's disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// The disk that the system goes to.
    pub disk: DiskRule,
    /// What is made of it.
    pub layout: Layout,
    /// Where memory goes that is not needed now.
    #[serde(default)]
    pub swap: Swap,
}

/// Which disk. Removable disks and those behind USB never fit; when none fits, or more than one answers to a name,
/// nothing is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum DiskRule {
    /// The smallest of at least so many gigabytes; among equals the one whose name comes first.
    SmallestAbove(u32),
    /// The one with this serial number, upper and lower case alike.
    Serial(Serial),
    /// The one in this place.
    ByPath(ByPath),
}

/// What is made of the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "kind")]
pub enum Layout {
    /// One file system.
    Whole,
    /// One volume group with one file system, so that others can be made later.
    Lvm,
    /// The same on two disks, so that either can die.
    Raid1 {
        /// The other disk; never the first.
        second: DiskRule,
    },
    /// A file system for the system, and one for data in the rest of the disk.
    DataPartition {
        /// Gigabytes of the system's.
        root_gb: u32,
        /// Where the data's is mounted.
        mount: FilePath,
    },
    /// A file system for the system on the one disk, one for data on another.
    DataDisk {
        /// The data's disk; never the first.
        disk: DiskRule,
        /// Where it is mounted.
        mount: FilePath,
    },
}

/// Where memory goes that is not needed now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Swap {
    /// Nowhere.
    #[default]
    None,
    /// Into so many gigabytes, readable for whoever has the disk.
    Plain(u32),
    /// Into so many gigabytes, under a key that is forgotten at every start.
    Encrypted(u32),
}

/// How a machine is connected: cards, on them perhaps a VLAN, on that perhaps a bridge, on the last of them an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The cards. Names of cards change; these do not.
    pub uplink: Uplink,
    /// The tagged network that it is in.
    #[serde(default)]
    pub vlan: Option<u16>,
    /// A bridge of this name, for guests.
    #[serde(default)]
    pub bridge: Option<DeviceName>,
    /// Its address.
    #[serde(default)]
    pub address: Address,
}

/// The cards that carry a machine's traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Uplink {
    /// One.
    Card(Mac),
    /// Several as one.
    Bond {
        /// Which; the installer works with the first.
        cards: Vec<Mac>,
        /// How.
        mode: BondMode,
    },
}

/// How several cards are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BondMode {
    /// One works, the others wait; any switch will do.
    #[serde(rename = "active-backup")]
    ActiveBackup,
    /// The switch does its part (IEEE 802.1AX).
    #[serde(rename = "802.3ad")]
    Lacp,
    /// All work; any switch will do.
    #[serde(rename = "balance-alb")]
    BalanceAlb,
}

/// A machine's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Address {
    /// Whatever it is given.
    #[default]
    Dhcp,
    /// Always the same. The installer itself still asks DHCP: it started from the network.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// Bits of the network's part.
        prefix: u8,
        /// The way out; none where the network ends at its switch.
        #[serde(default)]
        gateway: Option<Ipv4Addr>,
        /// Who resolves names.
        #[serde(default)]
        dns: Vec<Ipv4Addr>,
        /// Domains that short names are looked up in.
        #[serde(default)]
        search: Vec<Host>,
    },
}

/// Somebody who logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The login.
    pub name: UserName,
    /// What people call them.
    #[serde(default)]
    pub full_name: Option<FullName>,
    /// What lets them in; at least one.
    pub keys: Vec<SshKey>,
    /// May become root.
    #[serde(default)]
    pub admin: bool,
}

/// A package source beside the distribution's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Its name, in the files that it becomes.
    pub name: Name,
    /// Where it is.
    pub url: Url,
    /// What it is made of.
    pub format: Format,
    /// Who signs it. There is no unsigned one.
    pub key: PublicKey,
    /// What is installed from it.
    #[serde(default)]
    pub packages: Vec<PackageName>,
}

/// What a package source is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Format {
    /// Debian packages.
    Deb {
        /// The suite below `dists`.
        suite: Name,
        /// Its components; at least one.
        components: Vec<Name>,
    },
    /// RPM packages, with `repodata` in the folder.
    Rpm,
}

/// What a machine serves as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name.
    pub name: Name,
    /// Packages of the distribution.
    #[serde(default)]
    pub packages: Vec<PackageName>,
    /// Files that are written when the packages are there.
    #[serde(default)]
    pub files: Vec<File>,
    /// Units that are enabled.
    #[serde(default)]
    pub units: Vec<UnitName>,
}

/// A file of the installed system, root's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where it is.
    pub path: FilePath,
    /// Whether it is a program.
    #[serde(default)]
    pub executable: bool,
    /// Whether only root may read it.
    #[serde(default)]
    pub private: bool,
    /// What it holds.
    pub contents: Contents,
}

/// A field that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// Its name, from the outside to the inside: `storage.layout.second`.
    pub field: String,
    /// What is given, and what would be right.
    pub why: String,
}

/// A specification whose fields agree with each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Checked(Spec);

impl Spec {
    /// Reads one, and says which field is wrong.
    pub fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, Invalid> {
        serde_path_to_error::deserialize(from).map_err(|error| Invalid {
            field: error.path().to_string(),
            why: error.into_inner().to_string(),
        })
    }

    /// Packages of the distribution: the machine's own and the role's, each once.
    pub fn all_packages(&self) -> Vec<&PackageName> {
        let mut seen = BTreeSet::new();
        let all = self.packages.iter().chain(&self.role.packages);
        all.filter(|package| seen.insert(package.as_str())).collect()
    }
}

impl Checked {
    /// What was checked.
    pub fn spec(&self) -> &Spec {
        &self.0
    }
}

impl Network {
    /// The cards, the installer's first.
    pub fn cards(&self) -> &[Mac] {
        match &self.uplink {
            Uplink::Card(mac) => std::slice::from_ref(mac),
            Uplink::Bond { cards, .. } => cards,
        }
    }
}
