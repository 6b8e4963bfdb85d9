// SPDX-License-Identifier: Apache-2.0
//! The only caller of [`lifecycle::step`]: load, step, store state and event, one transaction.

use std::sync::Arc;

use provisioner_api::{Event as Reported, FailCause, Inventory, Life, NodeEvent};
use rusqlite::Connection;

use super::history;
use super::store::{self, Document};
use super::{Entry, Keys, Node, Registry, RegistryError, Vouching, begin, installations, secrets};
use crate::events;
use crate::lifecycle::{self, Event, Plan, State};

/// What somebody, or a rule, allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What the node becomes, and on which disk.
    pub plan: Plan,
    /// Its new name.
    pub name: Option<String>,
    /// Who.
    pub actor: String,
}

impl Registry {
    /// Applies an event that did not come from the node itself, by `actor`.
    pub fn apply(&self, id: &str, event: &Event, actor: &str, now: i64) -> Result<Arc<Node>, RegistryError> {
        self.change(id, |db, node| apply_to(db, node, event, actor, now))
    }

    /// Approves where `decide` says so, of the node and its inventory as they are within the transaction: what it has
    /// looked at is what is approved.
    pub fn approve<E: From<RegistryError>>(
        &self,
        id: &str,
        now: i64,
        decide: impl FnOnce(&Node, &Inventory) -> Result<Option<Approval>, E>,
    ) -> Result<Arc<Node>, E> {
        self.change(id, |db, node| {
            let inventory = store::load(db, Document::Inventory, id)?;
            let inventory = inventory.ok_or_else(|| RegistryError::NoNode(id.to_owned()))?;
            let Some(Approval { plan, name, actor }) = decide(node, &inventory)? else {
                return Ok(());
            };
            if let Some(name) = name.filter(|name| *name != node.name) {
                if self.find(&name).is_some() {
                    return Err(RegistryError::NameTaken(name).into());
                }
                node.name = name;
            }
            Ok(apply_to(db, node, &Event::Approve(Box::new(plan)), &actor, now)?)
        })
    }

    /// Applies what a node reported from one of its lives. An event of an earlier start, or one that was heard
    /// before, is acknowledged and changes nothing: the answer says whether it was news.
    pub fn hear(&self, id: &str, life: Life, event: &NodeEvent, now: i64) -> Result<bool, RegistryError> {
        let mut news = false;
        self.change(id, |db, node| {
            let start = match life {
                Life::Ram => node.ram.as_mut(),
                Life::Installed => node.installed.as_mut(),
            };
            let Some(start) = start.filter(|start| start.boot_id == event.boot_id && start.seen < event.sequence)
            else {
                return Ok(());
            };
            start.seen = event.sequence;
            news = true;
            heard(db, node, life, &event.event, now)
        })?;
        Ok(news)
    }

    /// Applies what a distribution's installer tells of itself, in the words `told`.
    pub fn apply_installers(&self, id: &str, event: &Event, told: &str, now: i64) -> Result<Arc<Node>, RegistryError> {
        self.change(id, |db, node| {
            apply_telling(db, node, event, told, events::INSTALLER, now)
        })
    }

    /// The installer of a node stopped; `log` is how its log ended.
    pub fn installer_failed(
        &self,
        id: &str,
        cause: FailCause,
        log: &[String],
        now: i64,
    ) -> Result<Arc<Node>, RegistryError> {
        self.change(id, |db, node| {
            store::save(db, Document::InstallerLog, id, &log)?;
            apply_to(db, node, &Event::Failed(cause), events::INSTALLER, now)
        })
    }

    /// Writes down a silence or its end.
    pub fn change_note(&self, id: &str, note: &str) -> Result<Arc<Node>, RegistryError> {
        self.change(id, |_, node| {
            note.clone_into(&mut node.note);
            Ok(())
        })
    }

    /// Loads, changes, stores, and lets readers see it only then.
    pub(super) fn change<E: From<RegistryError>>(
        &self,
        id: &str,
        change: impl FnOnce(&Connection, &mut Node) -> Result<(), E>,
    ) -> Result<Arc<Node>, E> {
        let mut db = self.db();
        // Looked up with the writer held: nobody else changes it until we are done.
        let known = self.node(id).ok_or_else(|| RegistryError::NoNode(id.to_owned()))?;
        let mut node = Node::clone(&known);
        let transaction = begin(&mut db)?;
        change(&transaction, &mut node)?;
        if node == *known {
            transaction.commit().map_err(RegistryError::from)?;
            return Ok(known);
        }
        store::save_node(&transaction, &node)?;
        transaction.commit().map_err(RegistryError::from)?;
        Ok(self.publish(node))
    }
}

/// Steps the node and writes the event down; the caller saves the node.
pub(super) fn apply_to(
    db: &Connection,
    node: &mut Node,
    event: &Event,
    actor: &str,
    now: i64,
) -> Result<(), RegistryError> {
    apply_telling(db, node, event, "", actor, now)
}

/// The same for an event of which more is `told` than the life cycle has to know.
pub(super) fn apply_telling(
    db: &Connection,
    node: &mut Node,
    event: &Event,
    told: &str,
    actor: &str,
    now: i64,
) -> Result<(), RegistryError> {
    let state = lifecycle::step(&node.state, event)?;
    let detail = events::detail(event, told, &state);
    history::write_down(
        db,
        Some(&node.id),
        &Entry {
            kind: events::kind(event),
            detail,
            actor: actor.to_owned(),
        },
        now,
    )?;
    let waiting_in_ram = node.life == Some(Life::Ram)
        && node.state.told_of().is_none()
        && !matches!(event, Event::Started(_) | Event::Overdue);
    installations::follow(db, &node.id, (&node.state, &state), now)?;
    enter(node, event, state, now);
    if waiting_in_ram && matches!(node.state, State::Approved { .. }) {
        // The machine is up and waits for this very approval: no need to start it again.
        return apply_to(db, node, &Event::Started(Life::Ram), actor, now);
    }
    Ok(())
}

fn enter(node: &mut Node, event: &Event, state: State, now: i64) {
    if state == node.state {
        return;
    }
    if matches!((&node.state, &state), (State::Installing { .. }, State::Ready { .. })) {
        node.installs += 1;
    }
    if matches!(state, State::Installing { .. }) && !matches!(node.state, State::Installing { .. }) {
        // One for each installation: what an earlier one left on another disk is not this node's system any more.
        node.mark = Some(secrets::mark());
    }
    if matches!(event, Event::Started(Life::Ram)) {
        // Its installed system is gone from here on; a word of it that is still under way must not count.
        node.installed = None;
    }
    if *event == Event::Begun {
        // Whatever ran in RAM is gone: nobody there waits for anything.
        node.life = None;
    }
    if state == State::Retired {
        // For good: a key that somebody took from its disk opens nothing when the machine is approved again.
        node.keys = Keys::default();
        node.life = None;
    }
    if !matches!(state, State::Approved { .. }) {
        // Whatever was to speak for the start that follows has spoken, or there is none to follow.
        node.vouching = Vouching::Facts;
    }
    node.note.clear();
    node.state = state;
    node.since = now;
}

/// Carries out what a node reported.
fn heard(db: &Connection, node: &mut Node, life: Life, event: &Reported, now: i64) -> Result<(), RegistryError> {
    let tell = |node: &mut Node, event: &Event, told: &str| apply_telling(db, node, event, told, events::NODE, now);
    let apply = |node: &mut Node, event: &Event| tell(node, event, "");
    match (event, life) {
        (Reported::Checked { findings }, Life::Ram) => tell(node, &Event::Checked, &findings.join("; ")),
        (Reported::Wiped { discarded }, Life::Ram) => tell(node, &Event::Wiped, events::wiped(*discarded)),
        (
            Reported::Written {
                bytes,
                milliseconds,
                mark,
            },
            Life::Ram,
        ) => {
            tell(node, &Event::Written, &events::throughput(*bytes, *milliseconds))?;
            if !node.state.plan().is_some_and(Plan::joins) {
                node.keys.written.clone_from(&node.keys.ram);
                // A node-init of before there were marks has put none there; a loader would look for it in vain.
                if *mark != node.mark {
                    node.mark = None;
                }
            }
            Ok(())
        }
        (Reported::CameHome { report }, Life::Installed) => {
            let passed = report.ready();
            let failing = report.checks.iter().filter(|check| !check.passed);
            let failing: Vec<String> = failing
                .map(|check| format!("{}: {}", check.name, check.detail))
                .collect();
            apply(node, &Event::CameHome { passed })?;
            if passed {
                came_home(node);
            } else {
                node.note = format!("not ready ({})", failing.join("; "));
            }
            store::save(db, Document::Report, &node.id, report).map(drop)
        }
        (Reported::Failed { cause }, _) => {
            let before = node.state.clone();
            apply(node, &Event::Failed(cause.clone()))?;
            if node.state == before {
                node.note = cause.to_string();
            }
            Ok(())
        }
        (Reported::Rebooting, _) => write(db, node, "rebooting", String::new(), now),
        (Reported::Note { text }, _) => write(db, node, "note", text.clone(), now),
        (Reported::Checked { .. } | Reported::Wiped { .. } | Reported::Written { .. }, Life::Installed)
        | (Reported::CameHome { .. }, Life::Ram) => Err(RegistryError::WrongLife),
    }
}

/// From here on the system on the disk is known by its key.
fn came_home(node: &mut Node) {
    node.note.clear();
    // The start in RAM that wrote the disk has done its work: nobody speaks for a ready node out of RAM.
    node.keys.ram = None;
    if let Some(written) = node.keys.written.take() {
        node.keys.home = Some(written);
    }
}

fn write(db: &Connection, node: &Node, kind: &'static str, detail: String, now: i64) -> Result<(), RegistryError> {
    history::write_down(
        db,
        Some(&node.id),
        &Entry {
            kind,
            detail,
            actor: events::NODE.to_owned(),
        },
        now,
    )
}
