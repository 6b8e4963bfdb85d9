// SPDX-License-Identifier: Apache-2.0
//! `provisioner node …`: machines, for people.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::net::Ipv4Addr;

use anyhow::{Context, bail};
use provisioner_api::{
    ApprovalPlan, Approve as Approval, Confirm, Disk, DiskContents, EventEntry, NodeDetail, NodeSummary, PlannedDisk,
    Reject, SeenCard, Stage,
};

use super::words::{ago, memory, moment, now, plain, table};
use super::{Approve, Node, answer, client, talk};
use crate::api_client::{Client, segment};
use crate::approval;
use crate::config::{Config, size_in_words};
use crate::disks;
use crate::events;

/// Carries out a command.
pub fn run(config: &Config, command: &Node, json: bool) -> anyhow::Result<()> {
    let client = client(config);
    match command {
        Node::List { sightings: true } => seen(&client, json),
        Node::List { sightings: false } => list(&client, json),
        Node::Show { name } => show(&client, name, json),
        Node::Approve(approve) => self::approve(&client, approve, json),
        Node::Reject { name, why } => reject(&client, name, why, json),
        Node::Rebuild { name } => tell(&client, name, "rebuild", json),
        Node::Confirm { name, from } => confirm_start(&client, name, *from, json),
        Node::Retry { name } => tell(&client, name, "retry", json),
        Node::Retire { name } => tell(&client, name, "retire", json),
        Node::Drain { name } => tell(&client, name, "drain", json),
        Node::Undrain { name } => tell(&client, name, "undrain", json),
        Node::Events { name, limit } => list_events(&client, name.as_deref(), *limit, json),
    }
}

fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let nodes: Vec<NodeSummary> = talk(client.parts("/api/v1/nodes", |node: &NodeSummary| &node.name))?;
    answer(&nodes, json, |nodes| nodes_in_words(nodes, now()))
}

fn show(client: &Client, name: &str, json: bool) -> anyhow::Result<()> {
    let node: NodeDetail = talk(client.get(&format!("/api/v1/nodes/{}", segment(name))))?;
    answer(&node, json, |node| node_in_words(node, now()))
}

/// Shows what would be done, asks, and sends what was shown: the server refuses if it is no longer so.
fn approve(client: &Client, approve: &Approve, json: bool) -> anyhow::Result<()> {
    let wish = [
        ("profile", &approve.profile),
        ("name", &approve.rename),
        ("disk", &approve.disk),
    ];
    let path = format!("/api/v1/nodes/{}", segment(&approve.name));
    let plan: ApprovalPlan = talk(client.get(&format!("{path}/plan{}", query(&wish))))?;
    if !approve.yes {
        confirm(&plan)?;
    }
    let approval = Approval {
        profile: approve.profile.clone(),
        name: approve.rename.clone(),
        disk: approve.disk.clone(),
        confirmed: Some(Box::new(plan)),
    };
    let node: NodeDetail = talk(client.post(&format!("{path}/approve"), &approval))?;
    answer(&node, json, now_in_words)
}

fn reject(client: &Client, name: &str, why: &str, json: bool) -> anyhow::Result<()> {
    let path = format!("/api/v1/nodes/{}/reject", segment(name));
    let node: NodeDetail = talk(client.post(&path, &Reject { why: why.into() }))?;
    answer(&node, json, now_in_words)
}

fn confirm_start(client: &Client, name: &str, from: Option<Ipv4Addr>, json: bool) -> anyhow::Result<()> {
    let path = format!("/api/v1/nodes/{}/confirm", segment(name));
    let node: NodeDetail = talk(client.post(&path, &Confirm { from }))?;
    answer(&node, json, now_in_words)
}

/// Gives an order that takes no words.
fn tell(client: &Client, name: &str, verb: &str, json: bool) -> anyhow::Result<()> {
    let path = format!("/api/v1/nodes/{}/{verb}", segment(name));
    let node: NodeDetail = talk(client.post(&path, &serde_json::json!({})))?;
    answer(&node, json, now_in_words)
}

fn list_events(client: &Client, name: Option<&str>, limit: u32, json: bool) -> anyhow::Result<()> {
    let of = name.map(|name| format!("&node={}", segment(name))).unwrap_or_default();
    let events: Vec<EventEntry> = talk(client.get(&format!("/api/v1/events?limit={limit}{of}")))?;
    answer(&events, json, |events| events_in_words(events))
}

fn seen(client: &Client, json: bool) -> anyhow::Result<()> {
    let cards: Vec<SeenCard> = talk(client.get("/api/v1/sightings"))?;
    answer(&cards, json, |cards| cards_in_words(cards, now()))
}

/// The query string of what was said.
fn query(asked: &[(&str, &Option<String>)]) -> String {
    let asked = asked.iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
    let asked: Vec<String> = asked.map(|(key, value)| format!("{key}={}", segment(value))).collect();
    let question = if asked.is_empty() { "" } else { "?" };
    format!("{question}{}", asked.join("&"))
}

/// Shows what would be lost, and asks, unless there is nothing to lose.
fn confirm(plan: &ApprovalPlan) -> anyhow::Result<()> {
    let lost = plan.disks.iter().filter(|disk| !disk.empty || disk.system_of.is_some());
    let lost: Vec<&PlannedDisk> = lost.collect();
    if lost.is_empty() {
        return Ok(());
    }
    let name = &plan.node;
    if !std::io::stdin().is_terminal() {
        let all: Vec<String> = lost.iter().map(|disk| plain(&approval::disk(disk))).collect();
        bail!(
            "{}: {}; all of it would be lost: add --yes if that is meant",
            plain(name),
            all.join(", and ")
        );
    }
    for disk in &lost {
        println!(
            "{}: {}.\n{}",
            plain(name),
            plain(&approval::disk(disk)),
            partitions_in_words(&disk.contents)
        );
    }
    let system = approval::system(plan);
    println!(
        "{}",
        plain(&format!("It becomes {} ({}), with {system}.", plan.name, plan.profile))
    );
    print!("All of it will be lost. Type the node's name to go on: ");
    std::io::stdout().flush().context("asking")?;
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed).context("reading the answer")?;
    if typed.trim() != name {
        bail!("nothing was changed");
    }
    Ok(())
}

fn nodes_in_words(nodes: &[NodeSummary], now: i64) -> String {
    if nodes.is_empty() {
        return "No machine has registered yet: plug one into the switch and press its power button.".into();
    }
    let rows = nodes.iter().map(|node| {
        vec![
            node.name.clone(),
            state_in_words(node),
            doing(node),
            node.last_seen.map_or_else(|| "never".into(), |then| ago(then, now)),
            node.model.clone(),
            node.threads.to_string(),
            memory(node.memory),
            node.address.clone().unwrap_or_default(),
        ]
    });
    let mut text = table(
        &["NAME", "STATE", "DOING", "SEEN", "MODEL", "CPUS", "RAM", "ADDRESS"],
        rows,
    );
    for node in nodes {
        for warning in &node.warnings {
            let _ = write!(text, "\n{}: {}", node.name, plain(warning));
        }
    }
    text
}

fn cards_in_words(cards: &[SeenCard], now: i64) -> String {
    if cards.is_empty() {
        return "No network card was seen yet.".into();
    }
    let rows = cards.iter().map(|card| {
        let steps = card.starts.last().map_or(&[][..], |start| &start.steps);
        vec![
            card.mac.clone(),
            card.node.clone().unwrap_or_default(),
            card.interface.clone(),
            card.address.clone().unwrap_or_default(),
            card.firmware.clone(),
            ago(card.last_seen, now),
            card.starts.len().to_string(),
            steps
                .last()
                .map_or_else(|| "does not boot".into(), |step| step.what.clone()),
        ]
    });
    table(
        &["CARD", "NODE", "ON", "ADDRESS", "FIRMWARE", "SEEN", "STARTS", "LAST"],
        rows,
    )
}

fn state_in_words(node: &NodeSummary) -> String {
    if node.liveness == "lost" {
        format!("{}, lost", node.state)
    } else {
        node.state.clone()
    }
}

/// How far it is, or what it waits for.
fn doing(node: &NodeSummary) -> String {
    // A node that serves is at nothing that ends.
    match node
        .progress
        .as_ref()
        .filter(|progress| progress.stage != Stage::Serving)
    {
        // Installers tell what they are at, and not how far they are in it.
        Some(progress) if progress.permille == 0 => {
            format!("{} {}", events::stage(progress.stage), plain(&progress.detail))
                .trim()
                .to_owned()
        }
        Some(progress) => format!("{} % {}", progress.permille / 10, plain(&progress.detail)),
        None => plain(&node.reason),
    }
}

fn now_in_words(node: &NodeDetail) -> String {
    let node = &node.summary;
    let why = if node.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", plain(&node.reason))
    };
    format!("{} is {}{why}", node.name, node.state)
}

fn node_in_words(node: &NodeDetail, now: i64) -> String {
    let summary = &node.summary;
    let cpu = &node.inventory.cpu;
    let kvm = match &cpu.kvm {
        provisioner_api::Kvm::Usable => "KVM usable".into(),
        provisioner_api::Kvm::Unusable { why } => format!("no KVM: {why}"),
    };
    let mut lines = vec![
        ("state", format!("{} {}", state_in_words(summary), doing(summary))),
        ("id", summary.id.clone()),
        ("model", summary.model.clone()),
        (
            "processor",
            format!("{}, {} threads, x86-64-v{}, {kvm}", cpu.model, cpu.threads, cpu.level),
        ),
        ("memory", memory(node.inventory.memory)),
        (
            "firmware",
            format!("{}, Secure Boot {:?}", summary.firmware, node.inventory.secure_boot).to_lowercase(),
        ),
        ("address", summary.address.clone().unwrap_or_else(|| "unknown".into())),
        (
            "seen",
            summary.last_seen.map_or_else(|| "never".into(), |then| ago(then, now)),
        ),
        ("profile", node.profile.clone().unwrap_or_else(|| "none yet".into())),
        ("installs", node.installs.to_string()),
        ("capsule", if node.capsule { "kept" } else { "none yet" }.into()),
    ];
    for nic in &node.inventory.nics {
        lines.push(("card", nic_in_words(nic)));
    }
    for disk in &node.inventory.disks {
        lines.push((
            "disk",
            format!("{}: {}", disk_in_words(disk), disks::contents_in_words(disk)),
        ));
    }
    lines.push((
        "chosen disk",
        format!("{} {}", node.disk.as_deref().unwrap_or("none"), node.disk_reason),
    ));
    lines.extend(node.second_disk.clone().map(|disk| ("second disk", disk)));
    lines.extend(compute_in_words(node));
    lines.extend(node.installer_log.iter().map(|line| ("installer's log", plain(line))));
    lines.extend(summary.warnings.iter().map(|warning| ("warning", warning.clone())));
    table(
        &[&summary.name, ""],
        lines.into_iter().map(|(what, value)| vec![what.to_owned(), value]),
    )
}

fn compute_in_words(node: &NodeDetail) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(compute) = &node.compute {
        if !compute.role.is_empty() {
            lines.push(("role", plain(&compute.role)));
        }
        if let Some(by) = &compute.hypervisor {
            let guests = format!("{} {} ({})", by.name, by.version, by.virtualization);
            lines.push(("offers", format!("{guests}, {}", compute.cpu_baseline)));
        }
        for check in &compute.checks {
            lines.push((
                if check.passed { "ok" } else { "not ok" },
                format!("{}: {}", check.name, check.detail),
            ));
        }
    }
    if let Some(load) = &node.load {
        let used = format!(
            "{} of {} RAM, {} guests",
            memory(load.memory_used),
            memory(load.memory_total),
            load.guests
        );
        lines.push(("load", format!("{:.0} % of its processors, {used}", load.cpu * 100.0)));
    }
    lines
}

fn nic_in_words(nic: &provisioner_api::Nic) -> String {
    let mut words = format!(
        "{} {} {}",
        nic.name,
        nic.mac,
        nic.driver.as_deref().unwrap_or("no driver")
    );
    match (nic.link, nic.speed) {
        (true, Some(speed)) => drop(write!(words, ", {speed} Mbit/s")),
        (true, None) => words.push_str(", link"),
        (false, _) => words.push_str(", no link"),
    }
    if nic.booted {
        words.push_str(", booted from");
    }
    if let Some(port) = &nic.switch_port {
        let _ = write!(
            words,
            ", at {} port {}",
            port.system.as_deref().unwrap_or(&port.chassis),
            port.port
        );
    }
    words
}

fn disk_in_words(disk: &Disk) -> String {
    let model = disk.model.as_deref().unwrap_or("unknown model");
    let serial = disk.serial.as_deref().unwrap_or("no serial");
    plain(&format!(
        "{} ({model}, {}, {serial})",
        disk.name,
        size_in_words(disk.size)
    ))
}

fn partitions_in_words(contents: &DiskContents) -> String {
    let rows = contents.partitions.iter().map(|part| {
        vec![
            part.number.to_string(),
            size_in_words(part.size),
            part.kind.clone(),
            part.filesystem.clone().unwrap_or_default(),
            part.label.clone().unwrap_or_default(),
        ]
    });
    table(&["NR", "SIZE", "KIND", "FILE SYSTEM", "LABEL"], rows)
}

fn events_in_words(events: &[EventEntry]) -> String {
    if events.is_empty() {
        return "Nothing has happened yet.".into();
    }
    let rows = events.iter().map(|event| {
        vec![
            moment(event.at),
            event.node.clone().unwrap_or_default(),
            event.kind.clone(),
            event.detail.clone(),
            event.actor.clone(),
        ]
    });
    table(&["WHEN", "NODE", "WHAT", "", "BY"], rows)
}
