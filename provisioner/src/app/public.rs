// SPDX-License-Identifier: Apache-2.0
//! What anybody on the LAN may read: what people at the bench need, and nothing by which a machine is known.

use provisioner_api::{ComputeReport, EventEntry, Inventory, NodeDetail, NodeSummary, StatusReport};

use super::{App, AppError};
use crate::lifecycle::State;
use crate::public::hide;

impl App {
    /// The nodes that a page has room for, for everybody; and how many found none.
    pub fn public_nodes(&self, now: i64) -> (Vec<NodeSummary>, usize) {
        let (nodes, more) = self.nodes_for_a_page(now);
        (nodes.iter().map(|node| self.public_summary(node)).collect(), more)
    }

    /// One line of the list, for everybody.
    pub fn public_summary(&self, node: &NodeSummary) -> NodeSummary {
        let known = self.known_by(&node.id);
        let mut progress = node.progress.clone();
        if let Some(progress) = &mut progress {
            progress.detail = hide(&progress.detail, &known);
        }
        NodeSummary {
            reason: hide(&node.reason, &known),
            progress,
            warnings: node.warnings.iter().map(|warning| hide(warning, &known)).collect(),
            model: hide(&node.model, &known),
            address: None,
            mac: None,
            ..node.clone()
        }
    }

    /// How the server is, for everybody.
    pub fn public_status(&self, now: i64) -> StatusReport {
        // Only what failed is told of by name, with a cause in the machine's own words.
        let nodes = self.registry.nodes();
        let failed = nodes.iter().filter(|node| matches!(node.state, State::Failed { .. }));
        let known: Vec<String> = failed.flat_map(|node| self.known_by(&node.id)).collect();
        let mut status = self.status(now);
        for warning in &mut status.warnings {
            *warning = hide(warning, &known);
        }
        for finding in &mut status.findings {
            for text in [&mut finding.about, &mut finding.says, &mut finding.action] {
                *text = hide(text, &known);
            }
        }
        for window in &mut status.windows {
            (window.mac_prefix, window.port) = (None, None);
        }
        status
    }

    /// One node and the newest `limit` of its events, for everybody. Reads the database.
    pub fn public_node(&self, node: &str, limit: u32, now: i64) -> Result<(NodeDetail, Vec<EventEntry>), AppError> {
        let whole = self.node(node, now)?;
        let known = self.known_by(&whole.summary.id);
        let mut events = self.events(Some(&whole.summary.id), None, limit)?;
        for event in &mut events {
            event.detail = hide(&event.detail, &known);
            event.actor = hide(&event.actor, &known);
        }
        let checks = |mut report: ComputeReport| {
            for check in &mut report.checks {
                check.detail = hide(&check.detail, &known);
            }
            report
        };
        let node = NodeDetail {
            summary: self.public_summary(&whole.summary),
            inventory: Inventory::default(),
            disk: None,
            second_disk: None,
            disk_reason: hide(&whole.disk_reason, &known),
            compute: whole.compute.map(checks),
            load: None,
            installer_log: whole.installer_log.iter().map(|line| hide(line, &known)).collect(),
            ..whole
        };
        Ok((node, events))
    }

    /// All by which a node is known, as it may stand in texts.
    fn known_by(&self, id: &str) -> Vec<String> {
        let Some(node) = self.registry.node(id) else {
            return Vec::new();
        };
        let mut known = node.outline.identifying.clone();
        if let Some(plan) = node.state.plan() {
            let disks = [Some(&plan.disk), plan.second.as_ref()].into_iter().flatten();
            known.extend(disks.flat_map(|disk| [disk.wwn.clone(), disk.serial.clone()]).flatten());
        }
        let from = self.presence.of(id).and_then(|seen| seen.from);
        known.extend(from.map(|from| from.to_string()));
        known
    }
}
