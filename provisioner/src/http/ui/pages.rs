// SPDX-License-Identifier: Apache-2.0
//! The templates and what goes into them: a struct a template, made from what the API says. Pure.

use askama::Template;
use provisioner_api::{
    Check, EnrolmentWindow, EventEntry, Finding, NodeDetail, NodeSummary, ServiceStatus, StatusReport,
};

use super::assets::{self, Urls};
use super::view::{Fact, Group, Moment, Row, Step, facts, steps};
use super::words;
use crate::api_client::segment;
use crate::live::Update;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Machines that do not arrive, on one screen; the rest is a number, and a command that lists them.
const FINDINGS: usize = 12;

/// What stands above the nodes.
#[derive(Debug)]
pub(super) struct Summary {
    tiles: Vec<Tile>,
    warnings: Vec<String>,
    findings: Vec<FindingLine>,
    /// Findings that found no room.
    more: usize,
    windows: Vec<WindowLine>,
    services: Vec<ServiceStatus>,
}

/// What keeps a machine from arriving.
#[derive(Debug)]
struct FindingLine {
    finding: Finding,
    since: Option<Moment>,
}

/// An enrolment window that is open.
#[derive(Debug)]
struct WindowLine {
    window: EnrolmentWindow,
    left: String,
}

/// How many nodes are in a state.
#[derive(Debug)]
struct Tile {
    count: u64,
    label: String,
    class: String,
}

/// Nodes under one heading.
#[derive(Debug)]
pub(super) struct Section {
    id: &'static str,
    title: &'static str,
    hint: &'static str,
    rows: Vec<Row>,
}

#[derive(Debug, Template)]
#[template(path = "status.html")]
struct StatusPage<'a> {
    site: &'a str,
    version: &'static str,
    assets: &'static Urls,
    live: String,
    summary: Summary,
    empty: bool,
    groups: Vec<Section>,
    /// Nodes that found no room.
    more: usize,
}

#[derive(Debug, Template)]
#[template(path = "whole.html")]
struct Whole {
    summary: Summary,
    empty: bool,
    groups: Vec<Section>,
    /// Nodes that found no room.
    more: usize,
}

#[derive(Debug, Template)]
#[template(path = "live.html")]
struct Piece<'a> {
    summary: Summary,
    gone: &'a [String],
    moved: Vec<Row>,
    same: Vec<Row>,
}

#[derive(Debug, Template)]
#[template(path = "node.html")]
struct NodePage<'a> {
    site: &'a str,
    version: &'static str,
    assets: &'static Urls,
    live: String,
    node: NodeView<'a>,
}

#[derive(Debug, Template)]
#[template(path = "node_live.html")]
struct NodePiece<'a> {
    node: NodeView<'a>,
}

#[derive(Debug, Template)]
#[template(path = "missing.html")]
struct Missing<'a> {
    site: &'a str,
    version: &'static str,
    assets: &'static Urls,
    live: String,
    why: &'a str,
}

/// Everything about one node.
#[derive(Debug)]
struct NodeView<'a> {
    row: Row,
    steps: Vec<Step>,
    disk_reason: &'a str,
    checks: &'a [Check],
    facts: Vec<Fact>,
    installer_log: String,
    events: Vec<EventLine<'a>>,
}

/// Something that happened.
#[derive(Debug)]
struct EventLine<'a> {
    at: Moment,
    kind: &'a str,
    detail: &'a str,
    actor: &'a str,
}

/// The page of all nodes.
pub(super) fn status(
    (nodes, more): (&[NodeSummary], usize),
    status: &StatusReport,
    version: u64,
    now: i64,
) -> impl Template {
    StatusPage {
        site: &status.site,
        version: VERSION,
        assets: assets::urls(),
        live: format!("/live?since={version}"),
        summary: Summary::new(status, now),
        empty: nodes.is_empty(),
        groups: sections(nodes, now),
        more,
    }
}

/// The whole content of that page, to put in place of what a browser has.
pub(super) fn whole((nodes, more): (&[NodeSummary], usize), status: &StatusReport, now: i64) -> impl Template {
    Whole {
        summary: Summary::new(status, now),
        empty: nodes.is_empty(),
        groups: sections(nodes, now),
        more,
    }
}

/// What changed on that page.
pub(super) fn update(update: &Update) -> impl Template {
    let (mut moved, mut same) = (Vec::new(), Vec::new());
    for changed in &update.nodes {
        let row = Row::new(&changed.public, update.taken);
        let before = changed.was.as_ref().map(|(state, liveness)| Group::of(state, liveness));
        // A browser that never had the row gets it; one that had it under another heading has it moved.
        if before == Some(row.group) {
            same.push(row);
        } else {
            moved.push(row);
        }
    }
    Piece {
        summary: Summary::new(&update.status, update.taken),
        gone: &update.gone,
        moved,
        same,
    }
}

/// The page of one node.
pub(super) fn node<'a>(
    site: &'a str,
    node: &'a NodeDetail,
    events: &'a [EventEntry],
    version: u64,
    now: i64,
) -> impl Template {
    NodePage {
        site,
        version: VERSION,
        assets: assets::urls(),
        live: format!("/live?since={version}&node={}", segment(&node.summary.id)),
        node: NodeView::new(node, events, now),
    }
}

/// The content of that page.
pub(super) fn node_piece<'a>(node: &'a NodeDetail, events: &'a [EventEntry], now: i64) -> impl Template {
    NodePiece {
        node: NodeView::new(node, events, now),
    }
}

/// The page of a node that does not exist.
pub(super) fn missing<'a>(site: &'a str, why: &'a str) -> impl Template {
    Missing {
        site,
        version: VERSION,
        assets: assets::urls(),
        live: String::new(),
        why,
    }
}

fn sections(nodes: &[NodeSummary], now: i64) -> Vec<Section> {
    let mut sections = Group::ALL.map(|group| Section {
        id: group.id(),
        title: group.title(),
        hint: group.hint(),
        rows: Vec::new(),
    });
    for node in nodes {
        let row = Row::new(node, now);
        sections[row.group as usize].rows.push(row);
    }
    sections.into()
}

impl Summary {
    fn new(status: &StatusReport, now: i64) -> Self {
        // In the order of a node's life; states that a newer server may add come last.
        const ORDER: [&str; 10] = [
            "failed",
            "enrolled",
            "approved",
            "checking",
            "wiping",
            "installing",
            "ready",
            "draining",
            "rejected",
            "retired",
        ];
        let place = |state: &str| ORDER.iter().position(|known| *known == state).unwrap_or(ORDER.len());
        let mut counts: Vec<_> = status.nodes.iter().filter(|(_, count)| **count > 0).collect();
        counts.sort_by_key(|(state, _)| place(state));
        let tile = |(state, count): (&String, &u64)| Tile {
            count: *count,
            label: state.clone(),
            class: state.clone(),
        };
        let line = |finding: &Finding| FindingLine {
            finding: finding.clone(),
            since: finding.since.map(|since| Moment::new(since, now)),
        };
        let window = |window: &EnrolmentWindow| WindowLine {
            window: window.clone(),
            left: words::span((window.until - now).max(0).unsigned_abs() / 1000),
        };
        Self {
            tiles: counts.into_iter().map(tile).collect(),
            warnings: status.warnings.clone(),
            findings: status.findings.iter().take(FINDINGS).map(line).collect(),
            more: status.findings.len().saturating_sub(FINDINGS),
            windows: status.windows.iter().map(window).collect(),
            services: status.services.clone(),
        }
    }
}

impl<'a> NodeView<'a> {
    fn new(node: &'a NodeDetail, events: &'a [EventEntry], now: i64) -> Self {
        let line = |event: &'a EventEntry| EventLine {
            at: Moment::new(event.at, now),
            kind: &event.kind,
            detail: &event.detail,
            actor: &event.actor,
        };
        Self {
            row: Row::new(&node.summary, now),
            steps: steps(&node.summary),
            disk_reason: &node.disk_reason,
            checks: node.compute.as_ref().map_or(&[], |report| report.checks.as_slice()),
            facts: facts(node),
            installer_log: node.installer_log.join("\n"),
            // The newest on top.
            events: events.iter().rev().map(line).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
