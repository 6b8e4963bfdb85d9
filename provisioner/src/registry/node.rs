// SPDX-License-Identifier: Apache-2.0
//! What the server keeps of a node in memory: enough for lists, boots and orders, and no more.

use std::net::IpAddr;

use provisioner_api::limits::cut;
use provisioner_api::{FirmwareType, Inventory, Life};

use crate::identity::{Facts, Known, Standing, is_placeholder};
use crate::lifecycle::State;
use crate::registry::Vouching;

/// A node, without its large documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its id, for ever.
    pub id: String,
    /// The name people call it by.
    pub name: String,
    /// Where it is in its life.
    pub state: State,
    /// When it came into that state.
    pub since: i64,
    /// When it first registered.
    pub created: i64,
    /// What a person should know beside the state; empty when nothing.
    pub note: String,
    /// Which of its lives registered last.
    pub life: Option<Life>,
    /// Its last start in RAM.
    pub ram: Option<Start>,
    /// The address that its last start in RAM introduced itself from.
    pub ram_from: Option<IpAddr>,
    /// Whether the next start in RAM can read the installed system's key off the disk.
    pub vouches: bool,
    /// What has to speak for the next start in RAM.
    pub vouching: Vouching,
    /// Its last start from disk.
    pub installed: Option<Start>,
    /// What it is known by.
    pub keys: Keys,
    /// How often it became ready by an installation.
    pub installs: u32,
    /// Whether its capsule is kept.
    pub capsule: bool,
    /// What tells it from other machines.
    pub facts: Facts,
    /// What lists show of its inventory.
    pub outline: Outline,
    /// Bytes of its inventory.
    pub weight: usize,
    /// Labels of the window that it came in through.
    pub tags: Vec<String>,
    /// What it becomes where its approval does not say otherwise.
    pub profile: Option<String>,
    /// The mark of the installation on its disk, or of the one under way; `None` where there was none yet when it was
    /// installed.
    pub mark: Option<String>,
}

/// A start of a machine, and how much was heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The kernel's id of the boot.
    pub boot_id: String,
    /// Sequence of the last event that was applied.
    pub seen: u64,
}

/// Keys of a node (SHA-256 of the `SubjectPublicKeyInfo`, hex).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Of its last start in RAM.
    pub ram: Option<String>,
    /// Of the RAM life that wrote the disk: the installed system's, unless a capsule gave it another one.
    pub written: Option<String>,
    /// Of the installed system that came home.
    pub home: Option<String>,
}

/// What lists show of an inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Maker and model.
    pub model: String,
    /// Address of the card that it booted from.
    pub mac: Option<String>,
    /// How it was started.
    pub firmware: FirmwareType,
    /// Threads.
    pub threads: u32,
    /// Bytes of RAM.
    pub memory: u64,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// All by which the machine is known, which is shown to operators only.
    pub identifying: Vec<String>,
}

impl Node {
    /// The start of one of its lives.
    pub fn start(&self, life: Life) -> Option<&Start> {
        match life {
            Life::Ram => self.ram.as_ref(),
            Life::Installed => self.installed.as_ref(),
        }
    }

    /// How much its facts count for others.
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Enrolled | State::Rejected { .. } => Standing::Unapproved,
            State::Retired => Standing::Retired,
            _ => Standing::Approved,
        }
    }

    /// What it is known by.
    pub fn known(&self) -> Known<'_> {
        Known {
            id: &self.id,
            facts: &self.facts,
            standing: self.standing(),
        }
    }

    /// What it waits for or what went wrong, in words; empty when all is well.
    pub fn reason(&self) -> String {
        let reason = match &self.state {
            State::Enrolled => return crate::orders::for_approval(&self.name, &self.note),
            State::Rejected { why } => why.clone(),
            State::Approved { disk_starts, .. } if *disk_starts > 0 => {
                format!("started from its disk {disk_starts} times although the network is wanted")
            }
            State::Approved { .. } => "waiting for the machine to start from the network".into(),
            State::Installing {
                plan,
                begun: true,
                written: true,
                ..
            } if !plan.has_installer() => "waiting for its first start to set it up".into(),
            State::Installing { written: true, .. } => "waiting for the installed system to come home".into(),
            State::Installing { plan, begun: false, .. } if plan.has_installer() => {
                "waiting for its installer to start from the network".into()
            }
            State::Failed { cause, .. } => cause.to_string(),
            State::Checking { attempt, .. } | State::Wiping { attempt, .. } | State::Installing { attempt, .. }
                if attempt.tries > 0 =>
            {
                format!("try {} of {}", attempt.tries + 1, crate::lifecycle::MAX_TRIES)
            }
            _ => String::new(),
        };
        match (reason.is_empty(), self.note.is_empty()) {
            (_, true) => reason,
            (true, false) => self.note.clone(),
            (false, false) => format!("{reason}; {}", self.note),
        }
    }
}

impl Outline {
    /// The outline of an inventory.
    pub fn of(inventory: &Inventory) -> Self {
        let smbios = &inventory.smbios;
        let words = [&smbios.system_manufacturer, &smbios.system_product]
            .into_iter()
            .flatten();
        let model: Vec<&str> = words.map(|word| word.trim()).filter(|word| !word.is_empty()).collect();
        let booted = inventory.nics.iter().find(|nic| nic.booted).or(inventory.nics.first());
        Self {
            model: cut(&model.join(" "), WORDS).into_owned(),
            mac: booted.map(|nic| cut(&nic.mac, WORDS).into_owned()),
            firmware: inventory.firmware,
            threads: inventory.cpu.threads,
            memory: inventory.memory,
            warnings: warnings(inventory),
            identifying: identifying(inventory),
        }
    }
}

fn identifying(inventory: &Inventory) -> Vec<String> {
    let smbios = &inventory.smbios;
    let labels = [
        &smbios.system_uuid,
        &smbios.system_serial,
        &smbios.board_serial,
        &smbios.chassis_serial,
        &smbios.asset_tag,
    ];
    let disks = inventory.disks.iter().flat_map(|disk| [&disk.serial, &disk.wwn]);
    let labels = labels.into_iter().chain(disks).flatten();
    let labels = labels.filter(|label| !is_placeholder(label)).cloned();
    labels.chain(inventory.nics.iter().map(|nic| nic.mac.clone())).collect()
}

/// RAM in a PC that is said to have 512 MB, less what the kernel and firmware keep for themselves.
const LEAST_MEMORY: u64 = 440 << 20;

/// Warnings of a node that lists show: a person has enough to do with so many.
const WARNINGS: usize = 16;
/// Letters of what a machine says of itself in a list.
const WORDS: usize = 200;

fn warnings(inventory: &Inventory) -> Vec<String> {
    let mut warnings = Vec::new();
    if inventory.memory < LEAST_MEMORY {
        warnings.push(format!("only {} MB of RAM", inventory.memory >> 20));
    }
    if inventory.rtc.battery_suspect {
        warnings.push("RTC battery is empty".into());
    }
    if !inventory.cpu.bits64 {
        warnings.push("32-bit processor".into());
    }
    for disk in &inventory.disks {
        if let Some(health) = disk.health.as_ref().filter(|health| !health.passed) {
            let words = format!("disk {} is failing ({})", disk.name, health.summary);
            warnings.push(cut(&words, WORDS).into_owned());
        }
    }
    warnings.truncate(WARNINGS);
    warnings
}
