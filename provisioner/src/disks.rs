// SPDX-License-Identifier: Apache-2.0
//! Which disk of a machine is written: a rule that fails closed.
//!
//! The wrong disk is the worst thing this program can do. So a disk is chosen once, at approval, from what
//! node-init read, and is named from then on by what does not change from boot to boot.

use provisioner_api::{ContentsState, Disk, DiskRef, Inventory, Transport, same_serial};

use crate::config::size_in_words;

/// How a profile chooses among a machine's disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRule {
    /// Which of the disks that may be written.
    pub choose: Choose,
    /// Bytes at least.
    pub min_size: u64,
}

/// Which of the disks that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choose {
    /// The smallest; the others are data disks.
    Smallest,
    /// The largest.
    Largest,
    /// The only one; several are no answer.
    Only,
    /// The one with this serial number.
    Serial(String),
    /// The one in this place.
    ByPath(String),
}

/// A disk that was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Kernel name at the time of the inventory.
    pub name: String,
    /// What names it from boot to boot.
    pub disk: DiskRef,
    /// Why this one, and what is on it.
    pub why: String,
    /// Nothing is on it.
    pub empty: bool,
}

/// Whether a disk belongs to the machine, and not to whoever plugged it in.
pub fn is_built_in(disk: &Disk) -> bool {
    !disk.removable && disk.transport != Transport::Usb
}

/// Whether the machine looked and found nothing. What is not known, cannot be read, or contradicts itself is not empty.
pub fn is_empty(disk: &Disk) -> bool {
    let contents = &disk.contents;
    contents.state == ContentsState::Empty && contents.table.is_none() && contents.partitions.is_empty()
}

/// What is on a disk, for people. The word "empty" is the state's, never the machine's summary: an old node-init said
/// it of all that it did not know.
pub fn contents_in_words(disk: &Disk) -> &str {
    match (disk.contents.state, disk.contents.summary.trim()) {
        _ if is_empty(disk) => "empty",
        (ContentsState::Unreadable, "" | "empty") => "cannot be read",
        (_, "" | "empty") => "unknown data",
        (_, summary) => summary,
    }
}

/// Chooses by the rule, or says why there is no choice.
pub fn choose(rule: &DiskRule, inventory: &Inventory) -> Result<Choice, String> {
    let obstacles: Vec<(&Disk, Option<String>)> = inventory
        .disks
        .iter()
        .map(|disk| (disk, obstacle(disk, rule.min_size)))
        .collect();
    let usable: Vec<&Disk> = obstacles
        .iter()
        .filter(|(_, why)| why.is_none())
        .map(|(disk, _)| *disk)
        .collect();
    if usable.is_empty() {
        return Err(none_usable(&obstacles));
    }
    let (disk, why) = match &rule.choose {
        Choose::Smallest => (extreme(&usable, std::cmp::Reverse)?, "the smallest disk"),
        Choose::Largest => (extreme(&usable, |size| size)?, "the largest disk"),
        Choose::Only => (only(&usable)?, "the only disk"),
        Choose::Serial(serial) => {
            let named = |disk: &&Disk| disk.serial.as_deref().is_some_and(|s| same_serial(s, serial));
            (
                one(&usable, named, &format!("the serial number {serial}"))?,
                "the disk with the profile's serial number",
            )
        }
        Choose::ByPath(path) => {
            let placed = |disk: &&Disk| disk.by_path.as_deref() == Some(path);
            (
                one(&usable, placed, &format!("the place {path}"))?,
                "the disk in the profile's place",
            )
        }
    };
    chosen(disk, why, inventory)
}

/// Whether an operator who says `name` means this disk: kernel name, serial, wwn or by-path.
pub fn answers_to(disk: &Disk, name: &str) -> bool {
    let plain = name.trim_start_matches("/dev/").trim_start_matches("disk/by-path/");
    let is = |label: &Option<String>| label.as_deref().is_some_and(|label| label.eq_ignore_ascii_case(plain));
    let serial = disk.serial.as_deref().is_some_and(|serial| same_serial(serial, plain));
    disk.name == plain || serial || is(&disk.wwn) || is(&disk.by_path)
}

/// The disk that an operator named by kernel name, serial, wwn or by-path; it must have `min_size` bytes.
pub fn named(name: &str, min_size: u64, inventory: &Inventory) -> Result<Choice, String> {
    let all: Vec<&Disk> = inventory.disks.iter().collect();
    let disk = one(&all, |disk| answers_to(disk, name), &format!("the name {name}"))?;
    if_usable(disk, "the disk that was named", min_size, inventory)
}

/// The disk with this kernel name, which a layout takes as `what`; it must have `min_size` bytes.
pub fn also(name: &str, what: &str, min_size: u64, inventory: &Inventory) -> Result<Choice, String> {
    let disk = inventory.disks.iter().find(|disk| disk.name == name);
    let disk = disk.ok_or_else(|| format!("there is no disk {name}"))?;
    if_usable(disk, what, min_size, inventory)
}

fn if_usable(disk: &Disk, why: &str, min_size: u64, inventory: &Inventory) -> Result<Choice, String> {
    match obstacle(disk, min_size) {
        Some(obstacle) => Err(format!("{} cannot be used: {obstacle}", disk.name)),
        None => chosen(disk, why, inventory),
    }
}

/// The disk in an inventory that a reference names.
pub fn find<'a>(disk: &DiskRef, inventory: &'a Inventory) -> Option<&'a Disk> {
    let mut found = inventory.disks.iter().filter(|candidate| disk.names(candidate));
    let first = found.next()?;
    // Two disks that answer to one name are as good as none.
    found.next().is_none().then_some(first)
}

/// Why a disk may not be written, if so.
fn obstacle(disk: &Disk, min_size: u64) -> Option<String> {
    let failing = disk.health.as_ref().filter(|health| !health.passed);
    if disk.removable {
        Some("it is removable".into())
    } else if disk.transport == Transport::Usb {
        Some("it is attached by USB".into())
    } else if disk.read_only {
        Some("it cannot be written".into())
    } else if disk.in_use {
        Some("it is in use".into())
    } else if let Some(health) = failing {
        Some(format!("it is failing ({})", health.summary))
    } else if disk.wwn.is_none() && disk.serial.is_none() && disk.by_path.is_none() {
        Some("it has neither serial number nor fixed place, so that nothing names it for certain".into())
    } else if disk.size < min_size {
        Some(format!(
            "it is too small: it has {}, and {} are needed",
            size_in_words(disk.size),
            size_in_words(min_size)
        ))
    } else {
        None
    }
}

fn none_usable(obstacles: &[(&Disk, Option<String>)]) -> String {
    if obstacles.is_empty() {
        return "the machine has no disk that its kernel can see; plug one in".into();
    }
    let each = obstacles
        .iter()
        .map(|(disk, why)| format!("{}: {}", disk.name, why.as_deref().unwrap_or("usable")));
    format!("no disk can be used ({})", each.collect::<Vec<_>>().join("; "))
}

/// The disk whose size is largest by `key`; equal sizes are no answer.
fn extreme<'a, K: Ord>(usable: &[&'a Disk], key: impl Fn(u64) -> K) -> Result<&'a Disk, String> {
    let best = usable.iter().map(|disk| key(disk.size)).max();
    let equal: Vec<&Disk> = usable
        .iter()
        .filter(|disk| Some(key(disk.size)) == best)
        .copied()
        .collect();
    match equal.as_slice() {
        [disk] => Ok(disk),
        several => Err(format!("{} have the same size; name one with --disk", names(several))),
    }
}

fn only<'a>(usable: &[&'a Disk]) -> Result<&'a Disk, String> {
    match usable {
        [disk] => Ok(disk),
        several => Err(format!(
            "there are several disks ({}); name one with --disk",
            names(several)
        )),
    }
}

fn one<'a>(disks: &[&'a Disk], is: impl Fn(&&Disk) -> bool, wanted: &str) -> Result<&'a Disk, String> {
    let found: Vec<&Disk> = disks.iter().filter(|disk| is(disk)).copied().collect();
    match found.as_slice() {
        [disk] => Ok(disk),
        [] => Err(format!(
            "no disk that can be used has {wanted}; there are: {}",
            names(disks)
        )),
        several => Err(format!("several disks have {wanted}: {}", names(several))),
    }
}

fn names(disks: &[&Disk]) -> String {
    if disks.is_empty() {
        return "none".into();
    }
    let each = disks.iter().map(|disk| {
        let serial = disk
            .serial
            .as_deref()
            .map(|serial| format!(" {serial}"))
            .unwrap_or_default();
        format!("{}{serial} {}", disk.name, size_in_words(disk.size))
    });
    each.collect::<Vec<_>>().join(", ")
}

fn chosen(disk: &Disk, why: &str, inventory: &Inventory) -> Result<Choice, String> {
    let reference = reference(disk, inventory).ok_or_else(|| {
        format!(
            "{} cannot be told from another disk of this machine with the same labels",
            disk.name
        )
    })?;
    let contents = contents_in_words(disk);
    Ok(Choice {
        name: disk.name.clone(),
        disk: reference,
        why: format!("{why}: {}, {contents}", names(&[disk])),
        empty: is_empty(disk),
    })
}

/// The least that names the disk for certain: a disk keeps its labels when it is plugged into another port, so its
/// place is taken only where the labels do not suffice.
fn reference(disk: &Disk, inventory: &Inventory) -> Option<DiskRef> {
    let labels = DiskRef {
        wwn: disk.wwn.clone(),
        serial: disk.serial.clone(),
        by_path: None,
        size: disk.size,
    };
    let placed = DiskRef {
        by_path: disk.by_path.clone(),
        ..labels.clone()
    };
    [labels, placed]
        .into_iter()
        .find(|reference| find(reference, inventory).is_some())
}

#[cfg(test)]
mod tests;
