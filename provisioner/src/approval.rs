// SPDX-License-Identifier: Apache-2.0
//! What an approval is for: whether what was confirmed is still so, and what no rule may decide.
//!
//! Pure: the app asks it within the transaction that approves, the registry when a machine registers again.

use std::sync::Arc;

use provisioner_api::{ApprovalPlan, Disk, DiskContents, DiskRef, Inventory, PlannedDisk};

use crate::config::size_in_words;
use crate::disks::{self, contents_in_words, is_built_in, is_empty};
use crate::identity::is_placeholder;
use crate::lifecycle::{Plan, State};
use crate::registry::Node;

/// Digest of all by which a machine and its disks are known, and of what the disks hold.
pub fn facts(inventory: &Inventory) -> String {
    let cards: Vec<&str> = inventory.nics.iter().map(|nic| nic.mac.as_str()).collect();
    let disks: Vec<_> = inventory
        .disks
        .iter()
        .map(|disk| {
            (
                &disk.name,
                &disk.wwn,
                &disk.serial,
                &disk.by_path,
                disk.size,
                &disk.contents,
            )
        })
        .collect();
    digest(&(&inventory.smbios, cards, disks))
}

/// Digest of what the disks of a plan hold; nothing where one of them is not there.
pub fn contents(plan: &Plan, inventory: &Inventory) -> Option<String> {
    let disks = [Some(&plan.disk), plan.second.as_ref()].into_iter().flatten();
    let contents: Vec<&DiskContents> = disks
        .map(|disk| disks::find(disk, inventory).map(|disk| &disk.contents))
        .collect::<Option<_>>()?;
    Some(digest(&contents))
}

fn digest(of: &impl serde::Serialize) -> String {
    // Strings, numbers and lists: JSON refuses none of them.
    let text = serde_json::to_vec(of).unwrap_or_default();
    blake3::hash(&text).to_hex().to_string()
}

/// Why an approval does not hold any more, now that the machine says this of itself. Only until its disks are wiped:
/// from then on they hold what we put there. A disk that is gone is for the machine's own check to tell.
pub fn outdated(state: &State, inventory: &Inventory) -> Option<String> {
    let (State::Approved { plan, .. } | State::Checking { plan, .. }) = state else {
        return None;
    };
    let confirmed = plan.confirmed.contents.as_ref()?;
    let now = contents(plan, inventory)?;
    (now != *confirmed).then(|| {
        let disks = [Some(&plan.disk), plan.second.as_ref()].into_iter().flatten();
        let found = disks.filter_map(|disk| disks::find(disk, inventory));
        let words: Vec<String> = found
            .map(|disk| format!("{}: {}", disk.name, contents_in_words(disk)))
            .collect();
        format!(
            "what is on its disk is not what was confirmed ({}); it has to be approved again",
            words.join(" and ")
        )
    })
}

/// What differs between a plan as it was confirmed and as it is now, in words.
pub fn changes(confirmed: &ApprovalPlan, now: &ApprovalPlan) -> Vec<String> {
    let mut changes = Vec::new();
    let mut differ = |what: &str, was: &str, is: &str| {
        if was != is {
            changes.push(format!("{what} was {was} and is {is}"));
        }
    };
    differ("the node", &confirmed.node_id, &now.node_id);
    differ("its name", &confirmed.node, &now.node);
    differ("its new name", &confirmed.name, &now.name);
    differ("the profile", &confirmed.profile, &now.profile);
    differ("the system", &system(confirmed), &system(now));
    let count = confirmed.disks.len().max(now.disks.len());
    for number in 0..count {
        let [was, is] = [confirmed, now].map(|plan| plan.disks.get(number).map_or("none".into(), disk));
        differ("a disk", &was, &is);
    }
    if changes.is_empty() && confirmed != now {
        changes.push("its hardware, or what is on its disks, is not what was shown".into());
    }
    changes
}

/// The system of a plan, in words.
pub fn system(plan: &ApprovalPlan) -> String {
    let system = &plan.system;
    let version = system.version.as_deref().unwrap_or("(none on the server yet)");
    match system.by.as_str() {
        "installer" => format!("{} by its installer, medium {version}", system.name),
        _ => format!("the image {} {version}", system.name),
    }
}

/// A disk of a plan and what is on it, in words.
pub fn disk(disk: &PlannedDisk) -> String {
    let model = disk.model.as_deref().unwrap_or("unknown model");
    let name = disk
        .disk
        .serial
        .as_ref()
        .or(disk.disk.wwn.as_ref())
        .or(disk.disk.by_path.as_ref());
    let name = name.map_or("no serial", String::as_str);
    let mut text = format!(
        "{} ({model}, {}, {name}) holds {}",
        disk.name,
        size_in_words(disk.disk.size),
        disk.holds
    );
    if let Some(node) = &disk.system_of {
        text.push_str(&holds_system(node));
    }
    text
}

/// Said of a disk that carries another node's system.
pub fn holds_system(node: &str) -> String {
    format!("; this disk holds {node}'s system")
}

/// What would be destroyed without anybody having confirmed it; nothing where every disk that belongs to the machine
/// is empty and no node's.
pub fn unconfirmed(plan: &ApprovalPlan, inventory: &Inventory) -> Option<String> {
    let lost: Vec<String> = plan
        .disks
        .iter()
        .filter(|disk| !disk.empty || disk.system_of.is_some())
        .map(disk)
        .collect();
    if !lost.is_empty() {
        return Some(lost.join(", and "));
    }
    let other = inventory.disks.iter().filter(|disk| is_built_in(disk));
    let other = other.filter(|disk| !is_empty(disk)).map(|disk| disk.name.as_str());
    let other: Vec<&str> = other.collect();
    (!other.is_empty()).then(|| format!("the machine has disks that are not empty ({})", other.join(", ")))
}

/// The other node whose system a disk carries, going by the disk that was chosen at its approval. A retired node has
/// given its disk up.
pub fn system_of<'a>(disk: &Disk, but: &str, nodes: &'a [Arc<Node>]) -> Option<&'a Node> {
    let nodes = nodes.iter().filter(|node| node.id != but);
    let carries = |node: &&Arc<Node>| {
        node.state.plan().is_some_and(|plan| {
            let chosen = [Some(&plan.disk), plan.second.as_ref()];
            chosen.into_iter().flatten().any(|chosen| same_disk(chosen, disk))
        })
    };
    nodes.into_iter().find(carries).map(Arc::as_ref)
}

fn same_disk(known: &DiskRef, disk: &Disk) -> bool {
    let same = |a: &Option<String>, b: &Option<String>| matches!((label(a.as_deref()), label(b.as_deref())), (Some(a), Some(b)) if a == b);
    same(&known.wwn, &disk.wwn) || same(&known.serial, &disk.serial)
}

/// A label that names one thing, in lower case.
fn label(label: Option<&str>) -> Option<String> {
    let label = label?.trim().to_lowercase();
    (!is_placeholder(&label)).then_some(label)
}

/// Whether a rule may have these disks of a machine wiped, or why a person has to decide: the machine shows a disk with
/// another node's system, or nothing tells for certain which disk would be written.
pub fn by_rule(id: &str, inventory: &Inventory, chosen: &[&DiskRef], nodes: &[Arc<Node>]) -> Result<(), String> {
    for disk in &inventory.disks {
        if let Some(node) = system_of(disk, id, nodes) {
            return Err(format!(
                "the disk {} holds the system of {}, which is not retired; a person has to decide",
                disk.name, node.name
            ));
        }
    }
    for disk in chosen {
        let name = disks::find(disk, inventory).map_or("that it would take", |disk| disk.name.as_str());
        let labels: Vec<String> = [label(disk.wwn.as_deref()), label(disk.serial.as_deref())]
            .into_iter()
            .flatten()
            .collect();
        if labels.is_empty() {
            return Err(format!(
                "the disk {name} has no serial number that is its own; a person has to decide"
            ));
        }
        let known = |node: &&Arc<Node>| {
            node.id != id && node.state != State::Retired && labels.iter().any(|label| node.facts.disks.contains(label))
        };
        if let Some(node) = nodes.iter().find(known) {
            return Err(format!(
                "the disk {name} has the serial number of a disk of {}; a person has to decide",
                node.name
            ));
        }
    }
    Ok(())
}
