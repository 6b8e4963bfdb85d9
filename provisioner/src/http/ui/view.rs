// SPDX-License-Identifier: Apache-2.0
//! What the page says about a node, from what the API says about it. Pure: the time is an argument.

use provisioner_api::{NodeDetail, NodeSummary, Progress};

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

/// What everybody may know of it besides.
pub(super) fn facts(node: &NodeDetail) -> Vec<Fact> {
    let rows = [
        ("Model", node.summary.model.clone()),
        ("Profile", node.profile.clone().unwrap_or_default()),
        ("Installed", times(node.installs)),
    ];
    rows.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| Fact { label, value })
        .collect()
}

fn times(count: u32) -> String {
    match count {
        0 => "never".into(),
        1 => "once".into(),
        n => format!("{n} times"),
    }
}
