// SPDX-License-Identifier: Apache-2.0
//! What the page says about a node, from what the API says about it. Pure: the time is an argument.

use provisioner_api::{
    Disk, FirmwareType, Inventory, Kvm, Nic, NodeDetail, NodeSummary, Progress, SecureBoot, Transport,
};

use super::words;
use crate::api_client::segment;
use crate::events;

/// Under which heading of the page a node stands, in the order of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Group {
    /// Somebody has to do something.
    Attention,
    /// Somebody has to decide.
    Waiting,
    /// It is on its way by itself.
    Working,
    /// It serves.
    Serving,
    /// It is out of the game.
    Away,
}

impl Group {
    /// All of them, in the order of the page.
    pub(super) const ALL: [Self; 5] = [Self::Attention, Self::Waiting, Self::Working, Self::Serving, Self::Away];

    /// The group of a node in this state, with this liveness.
    pub(super) fn of(state: &str, liveness: &str) -> Self {
        match state {
            "failed" => Self::Attention,
            "ready" | "draining" if liveness == "lost" => Self::Attention,
            "ready" | "draining" => Self::Serving,
            "enrolled" => Self::Waiting,
            "rejected" | "retired" => Self::Away,
            _ => Self::Working,
        }
    }

    /// The id of its part of the table.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Waiting => "waiting",
            Self::Working => "working",
            Self::Serving => "serving",
            Self::Away => "away",
        }
    }

    /// Its heading.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Attention => "Needs a hand",
            Self::Waiting => "Waits for approval",
            Self::Working => "Being set up",
            Self::Serving => "Serving",
            Self::Away => "Out of the cluster",
        }
    }

    /// What to do about nodes of this group.
    pub(super) const fn hint(self) -> &'static str {
        match self {
            Self::Attention => "look at the reason, remove the cause, then: sudo provisioner node retry NAME",
            Self::Waiting => "nothing was written to its disks; to take it in: sudo provisioner node approve NAME",
            Self::Working | Self::Serving | Self::Away => "",
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) href: String,
    pub(super) model: String,
    pub(super) state: String,
    pub(super) mark: &'static str,
    pub(super) reason: String,
    pub(super) bar: Option<Bar>,
    pub(super) liveness: &'static str,
    pub(super) seen: Option<Moment>,
    pub(super) address: String,
    pub(super) mac: String,
    pub(super) hardware: String,
    pub(super) warnings: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) group: Group,
}

/// How far something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) stage: &'static str,
    pub(super) permille: u16,
    pub(super) percent: u16,
    /// How far it is, is known; else only what it is at.
    pub(super) known: bool,
    pub(super) detail: String,
}

/// A time, for machines and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) iso: String,
    pub(super) clock: String,
    pub(super) ago: String,
}

impl Moment {
    pub(super) fn new(at: i64, now: i64) -> Self {
        Self {
            iso: words::rfc3339(at),
            clock: words::clock(at),
            ago: words::ago(at, now),
        }
    }
}

impl Row {
    pub(super) fn new(node: &NodeSummary, now: i64) -> Self {
        let group = Group::of(&node.state, &node.liveness);
        Self {
            id: node.id.clone(),
            name: node.name.clone(),
            href: format!("/nodes/{}", segment(&node.name)),
            model: node.model.clone(),
            state: node.state.clone(),
            mark: mark(&node.state),
            reason: node.reason.clone(),
            bar: node.progress.as_ref().filter(|_| group == Group::Working).map(Bar::new),
            liveness: liveness(&node.liveness),
            seen: node.last_seen.map(|at| Moment::new(at, now)),
            address: node.address.clone().unwrap_or_default(),
            mac: node.mac.clone().unwrap_or_default(),
            hardware: hardware(node),
            warnings: node.warnings.clone(),
            tags: node.tags.clone(),
            group,
        }
    }
}

impl Bar {
    fn new(progress: &Progress) -> Self {
        let permille = progress.permille.min(1000);
        Self {
            stage: events::stage(progress.stage),
            known: permille > 0 || !progress.detail.is_empty(),
            permille,
            percent: permille / 10,
            detail: progress.detail.clone(),
        }
    }
}

/// One shape a state, so that a state is told apart without its colour.
fn mark(state: &str) -> &'static str {
    match state {
        "ready" => "\u{2713}",
        "failed" => "\u{2715}",
        "enrolled" => "?",
        "draining" => "\u{25bd}",
        "rejected" | "retired" => "\u{2013}",
        _ => "\u{2192}",
    }
}

fn liveness(word: &str) -> &'static str {
    match word {
        "alive" => "alive",
        "lost" => "lost",
        _ => "",
    }
}

/// Memory and processor in one line; what is not known is left out.
fn hardware(node: &NodeSummary) -> String {
    let mut parts = Vec::new();
    if node.memory > 0 {
        parts.push(words::memory_size(node.memory));
    }
    if node.threads > 0 {
        parts.push(format!(
            "{} {}",
            node.threads,
            if node.threads == 1 { "thread" } else { "threads" }
        ));
    }
    parts.push(firmware(&node.firmware).to_owned());
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

fn firmware(word: &str) -> &str {
    match word {
        "bios" => "BIOS",
        "uefi32" => "UEFI 32-bit",
        "uefi64" => "UEFI",
        other => other,
    }
}

/// A step on a node's way, for its page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) title: &'static str,
    /// `done`, `now` or `todo`.
    pub(super) class: &'static str,
}

/// The way from seen to serving, and where on it the node is; empty where it is on no way.
pub(super) fn steps(node: &NodeSummary) -> Vec<Step> {
    const WAY: [(&str, &[&str]); 6] = [
        ("Seen", &["enrolled"]),
        ("Approved", &["approved"]),
        ("Checked", &["checking"]),
        ("Cleared", &["wiping"]),
        ("Installed", &["installing"]),
        ("Serving", &["ready", "draining"]),
    ];
    let Some(here) = WAY.iter().position(|(_, states)| states.contains(&node.state.as_str())) else {
        return Vec::new();
    };
    let arrived = here + 1 == WAY.len();
    let class = |place: usize| match place.cmp(&here) {
        std::cmp::Ordering::Less => "done",
        std::cmp::Ordering::Equal if arrived => "done",
        std::cmp::Ordering::Equal => "now",
        std::cmp::Ordering::Greater => "todo",
    };
    WAY.iter()
        .enumerate()
        .map(|(place, (title, _))| Step {
            title,
            class: class(place),
        })
        .collect()
}

/// A label and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) value: String,
}

/// What the machine is made of, in the order in which a technician asks.
pub(super) fn facts(node: &NodeDetail) -> Vec<Fact> {
    let inventory = &node.inventory;
    let smbios = &inventory.smbios;
    let rows = [
        ("Model", node.summary.model.clone()),
        ("Serial number", smbios.system_serial.clone().unwrap_or_default()),
        ("Asset tag", smbios.asset_tag.clone().unwrap_or_default()),
        ("Processor", processor(inventory)),
        ("Virtualization", virtualization(inventory)),
        (
            "Memory",
            if inventory.memory > 0 {
                words::memory_size(inventory.memory)
            } else {
                String::new()
            },
        ),
        ("Firmware", firmware_line(inventory)),
        (
            "BIOS",
            joined([&smbios.bios_vendor, &smbios.bios_version, &smbios.bios_date]),
        ),
        ("TPM", inventory.tpm.clone().unwrap_or_else(|| "none".into())),
        ("Clock", rtc(inventory)),
        ("Address", node.summary.address.clone().unwrap_or_default()),
        ("Started from", node.summary.mac.clone().unwrap_or_default()),
        ("Profile", node.profile.clone().unwrap_or_default()),
        ("Installed", times(node.installs)),
        (
            "Identity capsule",
            if node.capsule {
                "kept: a rebuild keeps its name and keys".into()
            } else {
                "none yet".into()
            },
        ),
    ];
    rows.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| Fact { label, value })
        .collect()
}

fn processor(inventory: &Inventory) -> String {
    let cpu = &inventory.cpu;
    if cpu.model.is_empty() {
        return String::new();
    }
    let width = if cpu.bits64 { "64-bit" } else { "32-bit" };
    format!(
        "{}, {} cores, {} threads, {width}, level x86-64-v{}",
        cpu.model, cpu.cores, cpu.threads, cpu.level
    )
}

fn virtualization(inventory: &Inventory) -> String {
    match &inventory.cpu.kvm {
        Kvm::Usable => "KVM usable".into(),
        Kvm::Unusable { why } => format!("software only: {why}"),
    }
}

fn firmware_line(inventory: &Inventory) -> String {
    let kind = match inventory.firmware {
        FirmwareType::Bios => "BIOS",
        FirmwareType::Uefi32 => "UEFI 32-bit",
        FirmwareType::Uefi64 => "UEFI 64-bit",
    };
    match inventory.secure_boot {
        SecureBoot::On => format!("{kind}, Secure Boot on"),
        SecureBoot::Off => format!("{kind}, Secure Boot off"),
        SecureBoot::Unsupported => kind.into(),
    }
}

fn rtc(inventory: &Inventory) -> String {
    let battery = if inventory.rtc.battery_suspect {
        "; its battery is probably empty"
    } else {
        ""
    };
    match inventory.rtc.offset {
        None => String::new(),
        Some(0) => format!("right{battery}"),
        Some(offset) if offset > 0 => format!("was {} ahead{battery}", words::span(offset.unsigned_abs())),
        Some(offset) => format!("was {} behind{battery}", words::span(offset.unsigned_abs())),
    }
}

fn times(count: u32) -> String {
    match count {
        0 => "never".into(),
        1 => "once".into(),
        n => format!("{n} times"),
    }
}

fn joined(parts: [&Option<String>; 3]) -> String {
    parts
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" · ")
}

/// A disk of the node's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiskLine {
    pub(super) name: String,
    pub(super) what: String,
    pub(super) serial: String,
    pub(super) contents: String,
    pub(super) partitions: Vec<String>,
    pub(super) health: String,
    pub(super) healthy: bool,
    /// `will be written`, `was chosen`; empty for the other disks.
    pub(super) chosen: &'static str,
}

impl DiskLine {
    pub(super) fn new(disk: &Disk, node: &NodeDetail) -> Self {
        let kind = if disk.rotational { "hard disk" } else { "solid state" };
        let mut what = vec![
            words::disk_size(disk.size),
            kind.to_owned(),
            transport(disk.transport).to_owned(),
        ];
        what.extend(disk.model.clone());
        for (said, word) in [
            (disk.removable, "removable"),
            (disk.read_only, "read-only"),
            (disk.in_use, "in use"),
        ] {
            if said {
                what.push(word.into());
            }
        }
        let partition = |p: &provisioner_api::DiskPartition| {
            let mut words = vec![format!("{}: {}", p.number, words::disk_size(p.size)), p.kind.clone()];
            words.extend(p.filesystem.clone());
            words.extend(p.label.clone().map(|label| format!("“{label}”")));
            words.retain(|word| !word.is_empty());
            words.join(", ")
        };
        let is = |chosen: &Option<String>| chosen.as_ref() == Some(&disk.name);
        Self {
            name: disk.name.clone(),
            what: what.join(" · "),
            serial: disk.serial.clone().unwrap_or_default(),
            contents: crate::disks::contents_in_words(disk).into(),
            partitions: disk.contents.partitions.iter().map(partition).collect(),
            health: disk.health.as_ref().map(|h| h.summary.clone()).unwrap_or_default(),
            healthy: disk.health.as_ref().is_none_or(|h| h.passed),
            chosen: match (is(&node.disk), is(&node.second_disk), node.profile.is_some()) {
                (false, false, _) => "",
                (_, _, false) => "approval would overwrite this disk",
                (true, _, true) => "the system's disk",
                (false, true, true) => "the layout's second disk",
            },
        }
    }
}

const fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Ata => "SATA or IDE",
        Transport::Nvme => "NVMe",
        Transport::Usb => "USB",
        Transport::Scsi => "SCSI or SAS",
        Transport::Virtio => "virtio",
        Transport::Mmc => "MMC",
        Transport::Other => "other bus",
    }
}

/// A card of the node's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NicLine {
    pub(super) name: String,
    pub(super) booted: bool,
    pub(super) usb: bool,
    pub(super) mac: String,
    pub(super) driver: String,
    pub(super) link: String,
    pub(super) port: String,
}

impl NicLine {
    pub(super) fn new(nic: &Nic) -> Self {
        let link = match (nic.link, nic.speed) {
            (false, _) => "no cable".to_owned(),
            (true, None) => "up".to_owned(),
            (true, Some(speed)) => format!("up, {speed} Mbit/s"),
        };
        let port = nic
            .switch_port
            .as_ref()
            .map(|far| format!("{} {}", far.system.as_deref().unwrap_or(&far.chassis), far.port));
        Self {
            name: nic.name.clone(),
            booted: nic.booted,
            usb: nic.usb,
            mac: nic.mac.clone(),
            driver: nic.driver.clone().unwrap_or_default(),
            link,
            port: port.unwrap_or_default(),
        }
    }
}

/// What an installed node offers, and how busy it is.
pub(super) fn offers(node: &NodeDetail) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |label, value: String| facts.push(Fact { label, value });
    if let Some(report) = &node.compute {
        if !report.role.is_empty() {
            fact("Role", report.role.clone());
        }
        if let Some(hypervisor) = &report.hypervisor {
            let way = if hypervisor.virtualization == "kvm" {
                "KVM"
            } else {
                "software virtualization"
            };
            fact(
                "Guests run on",
                format!(
                    "{} {} with {way}, libvirt {}",
                    hypervisor.name, hypervisor.version, hypervisor.libvirt
                ),
            );
            fact(
                "Processor for guests",
                format!(
                    "{} threads, {} (baseline {})",
                    report.threads, report.cpu_model, report.cpu_baseline
                ),
            );
            fact("Memory for guests", words::memory_size(report.memory));
        }
        if let Some(pool) = &report.storage {
            let (free, all) = (words::disk_size(pool.available), words::disk_size(pool.capacity));
            fact(
                "Storage",
                format!("{free} free of {all} in {} ({})", pool.path, pool.name),
            );
        }
        let network = &report.network;
        let bridge = network
            .bridge
            .as_deref()
            .map_or_else(String::new, |bridge| format!("bridge {bridge} on "));
        fact("Network", format!("{bridge}{}, {}", network.card, network.address));
    }
    if let Some(load) = &node.load {
        fact("Running guests", load.guests.to_string());
        fact(
            "Load",
            format!(
                "{:.0} % of the processor, load average {:.2}",
                load.cpu.clamp(0.0, 1.0) * 100.0,
                load.load1
            ),
        );
        fact(
            "Memory in use",
            format!(
                "{} of {}",
                words::memory_size(load.memory_used),
                words::memory_size(load.memory_total)
            ),
        );
        fact("Up for", words::span(load.uptime));
    }
    facts
}
