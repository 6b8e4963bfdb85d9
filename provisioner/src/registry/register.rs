// SPDX-License-Identifier: Apache-2.0
//! A machine introduces itself: which node it is, or that it is a new one.

use std::net::IpAddr;
use std::sync::Arc;

use provisioner_api::{Inventory, Life, Register};
use rusqlite::Connection;

use super::history;
use super::ram_start::{self, Present, TurnedAway, Vouching};
use super::store::{self, Document};
use super::{Entry, Keys, Node, Outline, Registry, RegistryError, Start, apply, begin, windows};
use crate::approval;
use crate::events;
use crate::identity::{Facts, Recognised, Standing, recognise};
use crate::lifecycle::{Event, State};

/// Machines that may wait for approval at once. More than any lab has; a liar's hundred thousand inventions stop
/// here instead of at the end of the disk.
pub const MAX_UNAPPROVED: usize = 5000;

/// Bytes of what those machines say of themselves: five thousand PCs with 6 KB each.
pub const UNAPPROVED_BYTES: usize = 32 << 20;

/// Who may become a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Any machine.
    Open,
    /// One that has a place in a window, or that somebody has let in by a key.
    Guarded,
}

/// A machine that introduces itself.
#[derive(Clone, Copy, Debug)]
pub struct Introduction<'a> {
    /// SHA-256 of the public key of its certificate, hex.
    pub key: &'a str,
    /// The address that it calls from.
    pub from: IpAddr,
    /// What it says.
    pub register: &'a Register,
    /// Whether it may become a node where it is none yet.
    pub door: Door,
}

/// What is known outside of the registry and counts when a machine introduces itself.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Makes a host name of a number.
    pub name: &'a dyn Fn(u64) -> String,
    /// The start that speaks for a node at present.
    pub present: &'a dyn Fn(&Node) -> Present,
}

/// Who the machine is that introduced itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Registration {
    /// This node, as it is now.
    Node(Arc<Node>),
    /// A start in RAM that shows this node's facts and is not let in as it; the node was not changed.
    TurnedAway(Arc<Node>, TurnedAway),
}

impl Registry {
    /// The node that this machine is; a new one if it is none that is known. A start that was not heard of before is
    /// an event.
    pub fn register(
        &self,
        who: &Introduction<'_>,
        around: &Around<'_>,
        now: i64,
    ) -> Result<Registration, RegistryError> {
        let (key, register) = (who.key, who.register);
        let facts = Facts::of(&register.inventory);
        let mut db = self.db();
        let by_key = self.by_key(key);
        let joining = joins_with(register).filter(|_| by_key.is_none());
        let known = match (by_key, joining) {
            (Some((node, _)), _) => {
                has_key(&node, key, register.life)?;
                Some(node)
            }
            (None, Some(_)) => None,
            (None, None) => {
                let seems = self.recognise(register.life, &facts)?;
                if let Some(node) = &seems
                    && let Err(why) = ram_start::admit(node, key, who.from, (around.present)(node))
                {
                    return Ok(Registration::TurnedAway(Arc::clone(node), why));
                }
                seems
            }
        };
        let transaction = begin(&mut db)?;
        let mut node = match (known, joining) {
            (Some(node), _) => Node::clone(&node),
            (None, None) => self.enrol(&transaction, who, around.name, now)?,
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
        if register.life == Life::Ram
            && let Some(told) = approval::outdated(&node.state, &register.inventory)
        {
            let void = &Event::ApprovalVoid;
            apply::apply_telling(&transaction, &mut node, void, &told, events::PROVISIONER, now)?;
        }
        let is_another = node.keys.ram.as_deref() != Some(key);
        take_key(&mut node, who);
        if start(&mut node, register) {
            apply::apply_to(
                &transaction,
                &mut node,
                &Event::Started(register.life),
                &node_actor(),
                now,
            )?;
        }
        if is_another && node.capsule && matches!(node.state, State::Failed { .. }) {
            // A capsule is kept for this node, and this start may be anybody's: it began before the order to install the
            // node again, so it is not the one that the order is for.
            node.life = None;
        }
        store::save_node(&transaction, &node)?;
        node.weight = store::save(&transaction, Document::Inventory, &node.id, &register.inventory)?;
        self.has_room(&node)?;
        transaction.commit()?;
        Ok(Registration::Node(self.publish(node)))
    }

    /// Whether what a machine that waits for approval says of itself can be kept beside what the others said.
    fn has_room(&self, node: &Node) -> Result<(), RegistryError> {
        if node.state != State::Enrolled {
            return Ok(());
        }
        let others = |other: &&Arc<Node>| other.state == State::Enrolled && other.id != node.id;
        let kept: usize = self.read(|index| index.all().filter(others).map(|other| other.weight).sum());
        if kept + node.weight > UNAPPROVED_BYTES {
            return Err(RegistryError::TooMuch);
        }
        Ok(())
    }

    /// The node whose facts these are.
    fn recognise(&self, life: Life, facts: &Facts) -> Result<Option<Arc<Node>>, RegistryError> {
        // Comparing a thousand nodes takes a while: not under the lock that every boot script needs.
        let nodes = self.nodes();
        let seems = match recognise(facts, nodes.iter().map(|node| node.known())) {
            Recognised::As(id) => self.node(id),
            Recognised::Like(_) | Recognised::New => None,
        };
        match (life, seems) {
            // Facts can be read off a machine's label; an installed system has a key, and only that counts.
            (Life::Installed, Some(node)) => Err(RegistryError::UnknownKey(node.name.clone())),
            (_, seems) => Ok(seems),
        }
    }

    /// The approved node that a machine has so much in common with that no rule may decide that it is another one.
    pub fn resembled(&self, machine: &Node) -> Option<Arc<Node>> {
        let nodes = self.nodes();
        let approved = nodes.iter().filter(|node| node.standing() != Standing::Unapproved);
        match recognise(&machine.facts, approved.map(|node| node.known())) {
            Recognised::As(id) | Recognised::Like(id) => self.node(id),
            Recognised::New => None,
        }
    }

    /// Whether registering makes no new node of this machine, whichever life it says that it is in: it is known, or it
    /// brings the secret of one that is.
    pub fn recognises(&self, key: &str, register: &Register) -> bool {
        self.by_key(key).is_some()
            || joins_with(register).is_some()
            || !matches!(self.recognise(register.life, &Facts::of(&register.inventory)), Ok(None))
    }

    fn enrol(
        &self,
        db: &Connection,
        who: &Introduction<'_>,
        name: &dyn Fn(u64) -> String,
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
        let let_in = windows::settle(db, &cards(&who.register.inventory), &id, now)?;
        if let_in.is_none() && who.door == Door::Guarded {
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
            ram_from: None,
            vouches: false,
            vouching: Vouching::default(),
            installed: None,
            keys: Keys::default(),
            installs: 0,
            capsule: false,
            facts: Facts::default(),
            outline: Outline::default(),
            weight: 0,
            tags: brought.tags,
            profile: brought.profile,
            mark: None,
        };
        let entry = Entry {
            kind: "enrolled",
            detail: format!("registered as {}", node.name),
            actor: node_actor(),
        };
        history::write_down(db, Some(&node.id), &entry, now)?;
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

/// Whether this life may speak with a key that is the node's: every start in RAM has a key of its own, and a key of a
/// start in RAM is an installed system's only after that start has written the system.
fn has_key(node: &Node, key: &str, life: Life) -> Result<(), RegistryError> {
    let is = |known: &Option<String>| known.as_deref() == Some(key);
    let fits = match life {
        Life::Ram => is(&node.keys.ram),
        Life::Installed => is(&node.keys.written) || is(&node.keys.home),
    };
    if fits { Ok(()) } else { Err(RegistryError::WrongLife) }
}

/// A start in RAM brings a fresh key; an installed system keeps the one that was written to its disk.
fn take_key(node: &mut Node, who: &Introduction<'_>) {
    let key = who.key;
    match who.register.life {
        Life::Ram => {
            node.keys.ram = Some(key.to_owned());
            node.ram_from = Some(who.from);
        }
        Life::Installed => {
            if node.keys.ram.as_deref() == Some(key) {
                node.keys.ram = None;
            }
            node.vouches = who.register.vouches;
            let is_home = node.keys.home.as_deref() == Some(key);
            if is_home
                && node.vouches
                && node.vouching == Vouching::Facts
                && matches!(node.state, State::Approved { .. })
            {
                // It was not heard when it was to be installed again, and is there all the same.
                node.vouching = Vouching::Wanted;
            }
            // A capsule has given the written system the key of the one before.
            node.keys.written = (!is_home).then(|| key.to_owned());
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
