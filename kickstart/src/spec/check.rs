// SPDX-License-Identifier: Apache-2.0
//! Whether the fields of a specification agree with each other; every one that does not is named.

use std::collections::BTreeSet;

use super::{
    Address, Checked, DiskRule, Format, HIGHEST_VLAN, Invalid, LARGEST_SWAP_GB, Layout, MOST_CARDS, Network,
    SMALLEST_DISK_GB, Spec, Storage, Swap, Uplink,
};
use crate::words::{FilePath, Mac};

impl Spec {
    /// Holds the fields against each other.
    pub fn check(self) -> Result<Checked, Vec<Invalid>> {
        let mut wrong = Wrong(Vec::new());
        self.storage.check(&mut wrong);
        self.network.check(&mut wrong);
        wrong.twice("users", self.users.iter().map(|user| user.name.as_str()));
        for (i, user) in self.users.iter().enumerate() {
            if user.keys.is_empty() {
                wrong.say(
                    format!("users[{i}].keys"),
                    "none given, and there are no passwords; give at least one key",
                );
            }
        }
        wrong.twice(
            "repositories",
            self.repositories.iter().map(|repository| repository.name.as_str()),
        );
        for (i, repository) in self.repositories.iter().enumerate() {
            if matches!(&repository.format, Format::Deb { components, .. } if components.is_empty()) {
                wrong.say(
                    format!("repositories[{i}].format.deb.components"),
                    "none given; give at least one, such as main",
                );
            }
            if repository.format == Format::Rpm && repository.name.as_str() == "main" {
                wrong.say(
                    format!("repositories[{i}].name"),
                    "main given, which is the section of dnf's own settings; give it another name",
                );
            }
        }
        wrong.twice("role.files", self.role.files.iter().map(|file| file.path.as_str()));
        if wrong.0.is_empty() {
            Ok(Checked(self))
        } else {
            Err(wrong.0)
        }
    }
}

struct Wrong(Vec<Invalid>);

impl Wrong {
    fn say(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push(Invalid {
            field: field.into(),
            why: why.into(),
        });
    }

    fn twice<'a>(&mut self, field: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (i, name) in names.enumerate() {
            if !seen.insert(name) {
                self.say(
                    format!("{field}[{i}]"),
                    format!("{name} is given twice; each may stand there once"),
                );
            }
        }
    }
}

impl Storage {
    fn check(&self, wrong: &mut Wrong) {
        self.disk.check("storage.disk", wrong);
        match &self.layout {
            Layout::Whole | Layout::Lvm => {}
            Layout::Raid1 { second } => self.disk.check_other(second, "storage.layout.second", wrong),
            Layout::DataPartition { root_gb, mount } => {
                let disk = if let DiskRule::SmallestAbove(gb) = self.disk {
                    gb
                } else {
                    u32::MAX
                };
                if !(SMALLEST_DISK_GB..disk).contains(root_gb) {
                    let right =
                        format!("{root_gb} given; at least {SMALLEST_DISK_GB}, and less than the disk has at least");
                    wrong.say("storage.layout.root_gb", right);
                }
                check_mount(mount, wrong);
            }
            Layout::DataDisk { disk, mount } => {
                self.disk.check_other(disk, "storage.layout.disk", wrong);
                check_mount(mount, wrong);
            }
        }
        if let Swap::Plain(gb) | Swap::Encrypted(gb) = self.swap
            && !(1..=LARGEST_SWAP_GB).contains(&gb)
        {
            wrong.say(
                "storage.swap",
                format!("{gb} GB given; 1 to {LARGEST_SWAP_GB}, or none"),
            );
        }
    }
}

impl DiskRule {
    fn check(&self, field: &str, wrong: &mut Wrong) {
        if let Self::SmallestAbove(gb) = self
            && *gb < SMALLEST_DISK_GB
        {
            let right = format!("{gb} GB given; no system fits below {SMALLEST_DISK_GB}");
            wrong.say(format!("{field}.smallest-above"), right);
        }
    }

    fn check_other(&self, other: &Self, field: &str, wrong: &mut Wrong) {
        other.check(field, wrong);
        // Two rules of one kind for the smallest name two disks; two equal names are one.
        if self == other && !matches!(self, Self::SmallestAbove(_)) {
            wrong.say(field, "this is the first disk again; name another");
        }
    }
}

/// Data is for these to hold; the system itself would not find its own files below another mount.
const MOUNTS: [&str; 6] = ["/data", "/home", "/srv", "/opt", "/mnt", "/var/lib"];

fn check_mount(mount: &FilePath, wrong: &mut Wrong) {
    let mount = mount.as_str();
    let below = |folder: &str| {
        mount
            .strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if !MOUNTS.iter().any(|folder| below(folder)) || mount == "/var/lib" {
        wrong.say(
            "storage.layout.mount",
            format!("{mount} given; {} or a folder below one of them", MOUNTS.join(", ")),
        );
    }
}

impl Network {
    fn check(&self, wrong: &mut Wrong) {
        if let Uplink::Bond { cards, .. } = &self.uplink {
            if !(2..=MOST_CARDS).contains(&cards.len()) {
                wrong.say(
                    "network.uplink.bond.cards",
                    format!("{} given; a bond is 2 to {MOST_CARDS}", cards.len()),
                );
            }
            wrong.twice("network.uplink.bond.cards", cards.iter().map(Mac::as_str));
        }
        if let Some(vlan) = self.vlan
            && !(1..=HIGHEST_VLAN).contains(&vlan)
        {
            wrong.say("network.vlan", format!("{vlan} given; 1 to {HIGHEST_VLAN}"));
        }
        if let Address::Static {
            address,
            prefix,
            gateway,
            ..
        } = &self.address
        {
            if !(8..=30).contains(prefix) {
                wrong.say("network.address.static.prefix", format!("{prefix} given; 8 to 30"));
                return;
            }
            let mask = u32::MAX << (32 - u32::from(*prefix));
            let host = u32::from(*address);
            if host & !mask == 0 || host | mask == u32::MAX || address.is_loopback() || address.is_multicast() {
                wrong.say(
                    "network.address.static.address",
                    format!("{address} given; an address of a host in its network"),
                );
            }
            if let Some(gateway) = gateway
                && (host & mask != u32::from(*gateway) & mask || address == gateway)
            {
                let right = format!("{gateway} given; another address in the network of {address}/{prefix}");
                wrong.say("network.address.static.gateway", right);
            }
        }
    }
}
