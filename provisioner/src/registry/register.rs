// SPDX-License-Identifier: Apache-2.0
//! A machine introduces itself: which node it is, or that it is a new one.

use std::sync::Arc;

use provisioner_api::{Inventory, Life, Register};
use rusqlite::Connection;

use super::store::{self, Document};
use super::{Entry, Keys, Node, Outline, Registry, RegistryError, Start, apply, begin, windows};
use crate::events;
use crate::identity::{Facts, recognise};
use crate::lifecycle::{Event, State};

/// Machines that may wait for approval at once. More than any lab has; a liar's hundred thousand inventions stop
/// here instead of at the end of the disk.
pub const MAX_UNAPPROVED: usize = 5000;

/// Who may become a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Any machine.
    Open,
    /// One that has a place in a window, or that somebody has let in by a key.
    Guarded,
}

impl Registry {
    /// The node that the machine with this key is; a new one if it is none that is known. `name` makes a host name of
    /// a number. A start that was not heard of before is an event.
    pub fn register(
        &self,
        key: &str,
        register: &Register,
        name: &dyn Fn(u64) -> String,
        door: Door,
        now: i64,
    ) -> Result<Arc<Node>, RegistryError> {
        let facts = Facts::of(&register.inventory);
        let mut db = self.db();
        let joining = joins_with(register).filter(|_| self.by_key(key).is_none());
        let known = match joining {
            Some(_) => None,
            None => self.recognise(key, register.life, &facts)?,
        };
        let transaction = begin(&mut db)?;
        let mut node = match (known, joining) {
            (Some(node), _) => Node::clone(&node),
            (None, None) => self.enrol(&transaction, register, name, door, now)?,
            (None, Some(secret)) => match self.join(&transaction, secret, &facts, now) {
                Err(RegistryError::NoJoin(refused)) => {
                    self.refused(&transaction, &refused, now)?;
                    transaction.commit()?;
                    return Err(refused.into());
                }
                joined => joined?,
            },
        };
        node.facts = facts;
        node.outline = Outline::of(&register.inventory);
        take_key(&mut node, key, register.life);
        if start(&mut node, register) {
            apply::apply_to(
                &transaction,
                &mut node,
                &Event::Started(register.life),
                &node_actor(),
                now,
            )?;
        }
        store::save_node(&transaction, &node)?;
        store::save(&transaction, Document::Inventory, &node.id, &register.inventory)?;
        transaction.commit()?;
        Ok(self.publish(node))
    }

    fn recognise(&self, key: &str, life: Life, facts: &Facts) -> Result<Option<Arc<Node>>, RegistryError> {
        if let Some((node, _)) = self.by_key(key) {
            return Ok(Some(node));
        }
        // Comparing a thousand nodes takes a while: not under the lock that every boot script needs.
        let nodes = self.nodes();
        let known = nodes.iter().map(|node| (node.id.as_str(), &node.facts));
        let seems = recognise(facts, known).and_then(|id| self.node(id));
        match (life, seems) {
            // Facts can be read off a machine's label; an installed system has a key, and only that counts.
            (Life::Installed, Some(node)) => Err(RegistryError::UnknownKey(node.name.clone())),
            (_, seems) => Ok(seems),
        }
    }

    /// Whether this is a machine that is known already.
    pub fn recognises(&self, key: &str, register: &Register) -> bool {
        !matches!(
            self.recognise(key, register.life, &Facts::of(&register.inventory)),
            Ok(None)
        )
    }

    fn enrol(
        &self,
        db: &Connection,
        register: &Register,
        name: &dyn Fn(u64) -> String,
        door: Door,
        now: i64,
    ) -> Result<Node, RegistryError> {
        let waiting = self.read(|index| index.all().filter(|node| node.state == State::Enrolled).count());
        if waiting >= MAX_UNAPPROVED {
            return Err(RegistryError::TooMany);
        }
        let name = loop {
            let name = name(store::next_number(db)?);
            if self.find(&name).is_none() {
                break name;
            }
        };
        let id = uuid::Uuid::new_v4().to_string();
        let let_in = windows::settle(db, &cards(&register.inventory), &id, now)?;
        if let_in.is_none() && door == Door::Guarded {
            return Err(RegistryError::NotLetIn);
        }
        let brought = let_in.unwrap_or_default();
        let node = Node {
            id,
            name,
            state: State::Enrolled,
            since: now,
            created: now,
            note: String::new(),
            life: None,
            ram: None,
            installed: None,
            keys: Keys::default(),
            installs: 0,
            capsule: false,
            facts: Facts::default(),
            outline: Outline::default(),
            tags: brought.tags,
            profile: brought.profile,
        };
        let entry = Entry {
            kind: "enrolled",
            detail: format!("registered as {}", node.name),
            actor: node_actor(),
        };
        store::write_down(db, Some(&node.id), &entry, now)?;
        Ok(node)
    }
}

/// The secret of an installed system that joins; a life in RAM has none.
fn joins_with(register: &Register) -> Option<&str> {
    let join = register.join.as_ref().filter(|_| register.life == Life::Installed)?;
    Some(&join.0)
}

/// The machine's cards, the one that it booted from first.
fn cards(inventory: &Inventory) -> Vec<String> {
    let mut nics: Vec<_> = inventory.nics.iter().collect();
    nics.sort_by_key(|nic| !nic.booted);
    nics.iter().map(|nic| nic.mac.to_lowercase()).collect()
}

/// Every start in RAM brings a fresh key; an installed system keeps the one that was written to its disk.
fn take_key(node: &mut Node, key: &str, life: Life) {
    match life {
        Life::Ram => node.keys.ram = Some(key.to_owned()),
        Life::Installed => {
            if node.keys.ram.as_deref() == Some(key) {
                node.keys.ram = None;
            }
            // A capsule has given the written system the key of the one before.
            let by_capsule = node.keys.home.as_deref() == Some(key);
            node.keys.written = (!by_capsule).then(|| key.to_owned());
        }
    }
}

/// Takes note of a start; whether it is a new one.
fn start(node: &mut Node, register: &Register) -> bool {
    let life = register.life;
    node.life = Some(life);
    if node.start(life).is_some_and(|start| start.boot_id == register.boot_id) {
        return false;
    }
    let start = Some(Start {
        boot_id: register.boot_id.clone(),
        seen: 0,
    });
    match life {
        Life::Ram => node.ram = start,
        Life::Installed => node.installed = start,
    }
    true
}

fn node_actor() -> String {
    events::NODE.to_owned()
}
