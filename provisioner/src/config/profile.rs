// SPDX-License-Identifier: Apache-2.0
//! What a node becomes: an image that node-init writes, a system that its own installer installs, or a distribution's
//! ready-made image, which is both.

use kickstart::Os;
use kickstart::spec::{BondMode, Layout, Repository, Swap, User};
use kickstart::words::{Command, DeviceName, Host, KernelArgument, Keyboard, Locale, PackageName, TimeZone, Url};

use serde::Deserialize;

use crate::disks::DiskRule;

/// What a node becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Where its system comes from.
    pub source: Source,
    /// Which disk.
    pub disk: DiskRule,
    /// Kernel arguments to add.
    pub kernel_args: String,
    /// Keys that may log in as root, `authorized_keys` lines.
    pub ssh_keys: Vec<String>,
    /// Time zone.
    pub timezone: String,
    /// Bridge for guests; `None` leaves the network alone.
    pub bridge: Option<String>,
    /// What the node serves as.
    pub role: String,
    /// Time servers besides the provisioner.
    pub ntp: Vec<String>,
}

/// Where a system comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An image of the store.
    Image(Image),
    /// The distribution's own installer.
    Installer(Box<Installer>),
    /// A distribution's ready-made image of the store, and what its cloud-init is to make of it.
    CloudImage(Image, Box<Installer>),
}

/// An image of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its version; the newest if absent.
    pub version: Option<String>,
    /// Bytes of the root partition; the rest of the disk if absent.
    pub root_size: Option<u64>,
}

/// What an installer, or the cloud-init of a ready-made image, makes of every machine of a profile; what is each
/// machine's own, [`crate::install`] adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installer {
    /// The operating system.
    pub os: &'static Os,
    /// Where its packages come from.
    pub mirror: Url,
    /// Where its security updates are, where they are a source of their own.
    pub security: Option<Url>,
    /// Through what they are fetched, where not through this server's cache.
    pub proxy: Option<Url>,
    /// Language of its messages.
    pub locale: Locale,
    /// Layout of its keyboard.
    pub keyboard: Keyboard,
    /// Time zone of its clock.
    pub timezone: TimeZone,
    /// What is made of the disk.
    pub layout: Layout,
    /// Where memory goes that is not needed now.
    pub swap: Swap,
    /// Where its machines' addresses come from.
    pub address: Addressing,
    /// How all their cards with a cable are one; `None` for the card that they boot from alone.
    pub bond: Option<BondMode>,
    /// The tagged network that its machines are in.
    pub vlan: Option<u16>,
    /// Bridge for guests.
    pub bridge: Option<DeviceName>,
    /// Who logs in, beside root with the profile's keys.
    pub users: Vec<User>,
    /// Time servers besides the provisioner.
    pub ntp: Vec<Host>,
    /// Packages beside the role's.
    pub packages: Vec<PackageName>,
    /// Arguments of the installed system's kernel.
    pub kernel_arguments: Vec<KernelArgument>,
    /// Package sources beside the distribution's.
    pub repositories: Vec<Repository>,
    /// Run in the installer, before anything is written.
    pub early_commands: Vec<Command>,
    /// Run in the installed system, last.
    pub late_commands: Vec<Command>,
}

/// Where the addresses of machines come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Addressing {
    /// Whatever they are given at every start.
    #[default]
    #[serde(rename = "dhcp")]
    Dhcp,
    /// The one that is reserved for their card, written into them.
    #[serde(rename = "static")]
    Reserved,
}

impl Profile {
    /// The image, where it is one.
    pub fn image(&self) -> Option<&Image> {
        match &self.source {
            Source::Image(image) | Source::CloudImage(image, _) => Some(image),
            Source::Installer(_) => None,
        }
    }

    /// What is to be made of the system, where it is not node-init that does.
    pub fn installer(&self) -> Option<&Installer> {
        match &self.source {
            Source::Image(_) => None,
            Source::Installer(installer) | Source::CloudImage(_, installer) => Some(installer),
        }
    }

    /// What puts the system on a disk, as a plan keeps it.
    pub fn system(&self) -> crate::lifecycle::System {
        match &self.source {
            Source::Image(_) => crate::lifecycle::System::Image,
            Source::Installer(installer) => crate::lifecycle::System::Installer(installer.os.name.to_owned()),
            Source::CloudImage(_, installer) => crate::lifecycle::System::CloudImage(installer.os.name.to_owned()),
        }
    }
}
