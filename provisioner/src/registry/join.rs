// SPDX-License-Identifier: Apache-2.0
//! A system that node-init did not set up joins: it brings a key that nobody knows, and the secret that says whose key
//! it is.
//!
//! The secret is good once, for its own machine, while that machine's system is about to start for the first time. A
//! refusal changes nothing but the list of events.

use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Entry, Node, Registry, RegistryError, apply, history, installations, secrets};
use crate::events;
use crate::identity::{Facts, Recognised, recognise};
use crate::lifecycle::{Event, State};

/// Milliseconds between two events of refusals: whoever guesses does not fill the list.
const APART: i64 = 60_000;

/// Why a system may not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoJoin {
    /// Nobody's secret.
    #[error(
        "the secret by which this system wants to join is not known: its time is over, or the node came home before or is to be installed again"
    )]
    Unknown,
    /// It was good for another key.
    #[error(
        "the secret by which this system wants to join was used before; rebuild {0} if that was not its own system"
    )]
    Used(String),
    /// Its time is over.
    #[error("the secret by which this system wants to join was given out too long ago; rebuild {0}")]
    Late(String),
    /// Its node is somewhere else in its life.
    #[error("{0} has no system yet that could join: its installer is not that far")]
    Early(String),
    /// A stranger has it.
    #[error(
        "the secret by which this system wants to join is for {0}, and this machine is another one: its cards, labels and disks say so"
    )]
    Stranger(String),
}

impl NoJoin {
    /// The node that it is about.
    fn node(&self) -> Option<&str> {
        match self {
            Self::Unknown => None,
            Self::Used(name) | Self::Late(name) | Self::Early(name) | Self::Stranger(name) => Some(name),
        }
    }
}

/// When refusals were last written down.
#[derive(Debug)]
pub(super) struct Refusals {
    of_nobody: AtomicI64,
    of_a_node: AtomicI64,
}

impl Default for Refusals {
    fn default() -> Self {
        let never = || AtomicI64::new(i64::MIN);
        Self {
            of_nobody: never(),
            of_a_node: never(),
        }
    }
}

impl Refusals {
    /// The clock was set by so many milliseconds.
    pub(super) fn shift(&self, by: i64) {
        for last in [&self.of_nobody, &self.of_a_node] {
            let moved = |last: i64| (last != i64::MIN).then(|| last.saturating_add(by));
            // Nothing was refused yet.
            let _ = last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
        }
    }

    fn is_due(&self, refused: &NoJoin, now: i64) -> bool {
        let last = if refused.node().is_some() {
            &self.of_a_node
        } else {
            &self.of_nobody
        };
        let due = |last: i64| (now >= last.saturating_add(APART)).then_some(now);
        last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}

impl Registry {
    /// The node that joins with this secret, which is used from here on. The caller gives it its key and saves it.
    pub(super) fn join(&self, db: &Connection, secret: &str, facts: &Facts, now: i64) -> Result<Node, RegistryError> {
        let mut statement = db.prepare_cached("SELECT node, until, joined FROM installations WHERE join_hash = ?1")?;
        let row = statement.query_row([secrets::hash(secret)], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        });
        let row: Option<(String, i64, Option<i64>)> = row.optional()?;
        let found = row.and_then(|(id, until, joined)| Some((self.node(&id)?, until, joined)));
        let (node, until, joined) = found.ok_or(NoJoin::Unknown)?;
        let name = node.name.clone();
        if joined.is_some() {
            return Err(NoJoin::Used(name).into());
        }
        if now >= until {
            return Err(NoJoin::Late(name).into());
        }
        if !is_about_to_start(db, &node)? {
            return Err(NoJoin::Early(name).into());
        }
        // Of this one node alone: no other can be better.
        if !matches!(recognise(facts, [node.known()].into_iter()), Recognised::As(_)) {
            return Err(NoJoin::Stranger(name).into());
        }
        let sql = "UPDATE installations SET joined = ?2, secret = '' WHERE node = ?1";
        db.execute(sql, params![node.id, now])?;
        let joined = Entry::new(
            "joined",
            "its installed system has joined with a key of its own",
            events::NODE,
        );
        history::write_down(db, Some(&node.id), &joined, now)?;
        let mut node = Node::clone(&node);
        if matches!(node.state, State::Installing { written: false, .. }) {
            // It runs, so it was written, whatever was heard of that.
            apply::apply_to(db, &mut node, &Event::Written, events::NODE, now)?;
        }
        Ok(node)
    }

    /// Writes down that a system was not let in.
    pub(super) fn refused(&self, db: &Connection, refused: &NoJoin, now: i64) -> Result<(), RegistryError> {
        if !self.refusals.is_due(refused, now) {
            return Ok(());
        }
        let node = refused.node().and_then(|name| self.find(name));
        let entry = Entry::new("join-refused", refused.to_string(), events::NODE);
        history::write_down(db, node.as_ref().map(|node| node.id.as_str()), &entry, now)
    }
}

/// Whether a node's system may start for the first time now: its installer is done, or was at its last step when it was
/// heard last. The word that it is done may have been lost. A ready-made image starts as soon as all of it is on the disk.
fn is_about_to_start(db: &Connection, node: &Node) -> Result<bool, RegistryError> {
    match &node.state {
        State::Installing { plan, written, .. } if plan.has_installer() => {
            Ok(*written || installations::last_step(db, &node.id)?.is_some_and(|at| at >= node.since))
        }
        State::Installing { plan, .. } => Ok(plan.joins()),
        _ => Ok(false),
    }
}
