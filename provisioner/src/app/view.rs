// SPDX-License-Identifier: Apache-2.0
//! Nodes and the server as people see them: what is stored and what is only known now, side by side.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use provisioner_api::{Approve, DiskRef, FirmwareType, Inventory, NodeDetail, NodeSummary, StatusReport};

use super::{App, AppError};
use crate::approval;
use crate::disks::{self, Choice};
use crate::dns::Host;
use crate::events;
use crate::lifecycle::State;
use crate::presence::Seen;
use crate::registry::Node;

/// Heartbeats after which a node is out of its pools: the next one is due, the one before never came. One that is only
/// late by the time of its way does not make a node come and go.
const HEARTBEATS_MISSED: u128 = 2;

/// Nodes on a page: two large rooms. A browser shows them quickly, and a flood of strangers makes it no longer.
pub const ON_A_PAGE: usize = 500;

/// Failed nodes that are named one by one in a report.
const FAILED: usize = 20;

impl App {
    /// All nodes, by name.
    pub fn nodes(&self, now: i64) -> Vec<NodeSummary> {
        let mut nodes: Vec<NodeSummary> = self
            .registry
            .nodes()
            .iter()
            .map(|node| self.summarise(node, now))
            .collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes
    }

    /// At most `limit` nodes, by name, those behind `after` in that order.
    pub fn nodes_after(&self, after: Option<&str>, limit: usize, now: i64) -> Vec<NodeSummary> {
        let mut nodes = self.registry.nodes();
        nodes.retain(|node| after.is_none_or(|after| node.name.as_str() > after));
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.iter().take(limit).map(|node| self.summarise(node, now)).collect()
    }

    /// The nodes that a page has room for, by name, those that somebody approved first; and how many found none.
    pub fn nodes_for_a_page(&self, now: i64) -> (Vec<NodeSummary>, usize) {
        let mut nodes = self.registry.nodes();
        let unwanted =
            |node: &Arc<Node>| matches!(node.state, State::Enrolled | State::Rejected { .. } | State::Retired);
        nodes.sort_by_cached_key(|node| (unwanted(node), node.name.clone()));
        let more = nodes.len().saturating_sub(ON_A_PAGE);
        nodes.truncate(ON_A_PAGE);
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        (nodes.iter().map(|node| self.summarise(node, now)).collect(), more)
    }

    /// One line of the list.
    pub fn summary(&self, node: &str, now: i64) -> Result<NodeSummary, AppError> {
        Ok(self.summarise(&*self.find(node)?, now))
    }

    /// One node, whole. Reads the database.
    pub fn node(&self, node: &str, now: i64) -> Result<NodeDetail, AppError> {
        self.node_if(node, &Approve::default(), now)
    }

    /// One node, whole, with the disks that would be written if that was asked. Reads the database.
    pub fn node_if(&self, node: &str, asked: &Approve, now: i64) -> Result<NodeDetail, AppError> {
        let node = self.find(node)?;
        let inventory = self.registry.inventory(&node.id)?;
        let disks = self.disks(&node, &inventory, asked);
        Ok(NodeDetail {
            summary: self.summarise(&node, now),
            disk: disks.first,
            second_disk: disks.second,
            disk_reason: disks.why,
            compute: self.registry.report(&node.id)?,
            load: self.presence.of(&node.id).and_then(|seen| seen.load),
            profile: node.state.plan().map(|plan| plan.profile.clone()),
            capsule: node.capsule,
            installer_log: self.registry.installer_log(&node.id)?,
            installs: node.installs,
            inventory,
        })
    }

    /// How the server is.
    pub fn status(&self, now: i64) -> StatusReport {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut nodes = BTreeMap::new();
        let mut lost = 0_u64;
        let mut failed = Vec::new();
        for node in self.registry.nodes() {
            *nodes.entry(node.state.word().to_owned()).or_insert(0) += 1;
            let serves = matches!(node.state, State::Ready { .. } | State::Draining { .. });
            if serves && self.liveness(&node, self.presence.of(&node.id).as_ref(), now) == "lost" {
                lost += 1;
            }
            if let State::Failed { cause, .. } = &node.state {
                failed.push(format!("{} failed: {cause}", node.name));
            }
        }
        let mut warnings = self.asset_warnings();
        warnings.extend(
            services
                .iter()
                .filter(|s| !s.ok)
                .map(|s| format!("{}: {}", s.name, s.detail)),
        );
        let found = self.server_findings(now);
        warnings.extend(
            found
                .iter()
                .map(|finding| format!("{}; {}", finding.says, finding.action)),
        );
        if lost > 0 {
            warnings.push(format!(
                "{lost} {} lost",
                if lost == 1 { "node is" } else { "nodes are" }
            ));
        }
        let more = failed.len().saturating_sub(FAILED);
        failed.truncate(FAILED);
        warnings.extend(failed);
        if more > 0 {
            warnings.push(format!("{more} more nodes failed; see: provisioner node list"));
        }
        StatusReport {
            version: env!("CARGO_PKG_VERSION").into(),
            site: self.config.site.clone(),
            uptime: u64::try_from((now - self.presence.started()) / 1000).unwrap_or(0),
            services,
            nodes,
            warnings,
            findings: self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            windows: self
                .windows(now)
                .unwrap_or_default()
                .into_iter()
                .filter(|window| window.open)
                .collect(),
        }
    }

    /// What is missing or wrong with images.
    pub(super) fn asset_warnings(&self) -> Vec<String> {
        let mut warnings = self.images.warnings();
        let profiles = self.config.profiles.values();
        let unfit = profiles.filter_map(|profile| self.is_for_profile(profile.image()?, profile).err());
        warnings.extend(unfit);
        warnings.dedup();
        warnings
    }

    fn summarise(&self, node: &Node, now: i64) -> NodeSummary {
        let seen = self.presence.of(&node.id);
        let outline = &node.outline;
        NodeSummary {
            id: node.id.clone(),
            name: node.name.clone(),
            state: node.state.word().into(),
            reason: node.reason(),
            liveness: self.liveness(node, seen.as_ref(), now).into(),
            last_seen: seen.as_ref().map(|seen| seen.at).filter(|at| *at > 0),
            address: seen
                .as_ref()
                .and_then(|seen| seen.from)
                .map(|address| address.to_string()),
            progress: seen.and_then(|seen| seen.progress),
            model: outline.model.clone(),
            mac: outline.mac.clone(),
            firmware: firmware(outline.firmware).into(),
            threads: outline.threads,
            memory: outline.memory,
            warnings: outline.warnings.clone(),
            tags: node.tags.clone(),
        }
    }

    /// `alive`, `lost`, or `unknown` where silence says nothing: before the first word, and while a machine starts.
    pub(crate) fn liveness(&self, node: &Node, seen: Option<&Seen>, now: i64) -> &'static str {
        let lost_after = i64::try_from(self.config.nodes.lost_after.as_millis()).unwrap_or(i64::MAX);
        let heard = seen.map(|seen| seen.at).filter(|at| *at > 0);
        // Nobody could be heard before the server listened.
        let silent = now - heard.unwrap_or(self.presence.started()) > lost_after;
        let serves = matches!(node.state, State::Ready { .. } | State::Draining { .. });
        let quiet = matches!(
            node.state,
            State::Rejected { .. } | State::Retired | State::Approved { .. } | State::Installing { written: true, .. }
        );
        // Installers say a word now and then; how long they may be silent is for the clock to know.
        let talks = !quiet && node.state.installer().is_none();
        match (silent, heard) {
            (false, Some(_)) => "alive",
            (true, _) if serves => "lost",
            (true, Some(_)) if talks => "lost",
            _ => "unknown",
        }
    }

    /// All nodes that belong here, for their names. One that takes work is ready, and not one heartbeat of it is missing.
    pub(crate) fn hosts(&self, now: i64) -> Vec<Host> {
        let window = self
            .config
            .nodes
            .heartbeat
            .as_millis()
            .saturating_mul(HEARTBEATS_MISSED);
        let window = i64::try_from(window).unwrap_or(i64::MAX);
        let host = |node: &Arc<Node>| {
            let seen = self.presence.of(&node.id).unwrap_or_default();
            let address = seen.from.and_then(|from| match from.to_canonical() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
            let profile = node.state.plan().map(|plan| plan.profile.clone());
            Host {
                name: node.name.clone(),
                pools: profile.into_iter().chain(node.tags.iter().cloned()).collect(),
                address,
                heard: seen.at,
                serving: matches!(node.state, State::Ready { .. }) && now - seen.at <= window,
            }
        };
        let belongs = |node: &&Arc<Node>| !matches!(node.state, State::Rejected { .. } | State::Retired);
        self.registry.nodes().iter().filter(belongs).map(host).collect()
    }

    /// The disks that approval has chosen, or would choose if that was asked.
    fn disks(&self, node: &Node, inventory: &Inventory, asked: &Approve) -> Disks {
        if let Some(plan) = node.state.plan() {
            let name = |disk: &DiskRef| disks::find(disk, inventory).map(|disk| disk.name.clone());
            let chosen = events::disks(plan);
            let first = name(&plan.disk);
            return Disks {
                second: plan.second.as_ref().and_then(name),
                why: match first {
                    Some(_) => format!("chosen at approval: {chosen}"),
                    None => format!("chosen at approval and not there now: {chosen}"),
                },
                first,
            };
        }
        let wanted = asked.profile.as_ref().or(node.profile.as_ref());
        let name = wanted.unwrap_or(&self.config.default_profile);
        let nothing = |why| Disks {
            first: None,
            second: None,
            why,
        };
        let Some(profile) = self.config.profiles.get(name) else {
            return nothing(format!("there is no profile {name}"));
        };
        match self.choose_disks(profile, asked.disk.as_deref(), inventory) {
            Ok((choice, second)) => {
                let nodes = self.registry.nodes();
                let why = |choice: &Choice| {
                    let disk = disks::find(&choice.disk, inventory);
                    let other = disk.and_then(|disk| approval::system_of(disk, &node.id, &nodes));
                    let other = other.map(|node| approval::holds_system(&node.name));
                    format!("{}{}", choice.why, other.unwrap_or_default())
                };
                Disks {
                    why: match &second {
                        Some(second) => format!("{}; {}", why(&choice), why(second)),
                        None => why(&choice),
                    },
                    first: Some(choice.name),
                    second: second.map(|second| second.name),
                }
            }
            Err(why) => nothing(why),
        }
    }
}

/// The disks of a node that are written, by kernel name.
struct Disks {
    first: Option<String>,
    second: Option<String>,
    why: String,
}

fn firmware(firmware: FirmwareType) -> &'static str {
    match firmware {
        FirmwareType::Bios => "bios",
        FirmwareType::Uefi32 => "uefi32",
        FirmwareType::Uefi64 => "uefi64",
    }
}
