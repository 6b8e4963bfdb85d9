// SPDX-License-Identifier: Apache-2.0
//! Starts in RAM that show a node's facts and are not let in as that node.

use std::net::IpAddr;
use std::time::Duration;

use provisioner_api::{Confirm, Finding, Life, NodeDetail, Orders, Registered, Vouch};
use tracing::{info, warn};

use super::{App, AppError, Caller};
use crate::events;
use crate::orders;
use crate::registry::{Entry, Node, Present, TurnedAway, Vouching};
use crate::visitors::Visitor;

/// Milliseconds of silence after which a start cannot be alive: in RAM it asks for orders at least every 40 seconds, and
/// two questions may be lost.
const GONE: i64 = 90_000;

/// Hex digits of a SHA-256.
const KEY_LETTERS: usize = 64;

/// What the screen of such a machine calls it: it is told nothing of the node whose facts it shows.
const NAME: &str = "this machine";

/// How long its question for orders waits for news at most: whether it may come in is looked at again then.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl App {
    /// The start that speaks for a node at present.
    pub(super) fn present(&self, node: &Node, now: i64) -> Present {
        let seen = self.presence.of(&node.id).unwrap_or_default();
        // Nobody could be heard before the server listened.
        let silence = now - seen.at.max(self.presence.started());
        Present {
            from: seen.from.or(node.ram_from),
            gone: seen.leaving || silence > GONE,
        }
    }

    /// A start in RAM was not let in as the node whose facts it shows. Writes.
    pub(super) fn turn_away(
        &self,
        (key, from): (&str, IpAddr),
        node: &Node,
        why: TurnedAway,
        now: i64,
    ) -> Result<Registered, AppError> {
        let visitor = Visitor {
            node: node.id.clone(),
            from,
            why,
            at: now,
            heard: now,
        };
        if self.visitors.came(key, visitor) {
            warn!(node = node.name, %from, %why, "a start in RAM shows its facts and was turned away");
            let detail = format!("something with its cards, labels or disks started in RAM from {from}: {why}");
            let entry = Entry::new("turned-away", detail, events::PROVISIONER);
            self.registry.write_down(Some(&node.id), &entry, now)?;
        }
        Ok(Registered {
            node_id: String::new(),
            name: NAME.into(),
            site: self.config.site.clone(),
            vouch: why == TurnedAway::Unproven,
        })
    }

    /// The key of an installed system vouches for the start in RAM with another key: both are on one machine. Writes.
    pub fn vouch(&self, caller: &Caller, vouch: &Vouch, now: i64) -> Result<(), AppError> {
        if caller.life != Life::Installed {
            return Err(AppError::Forbidden(
                "only the key of an installed system can vouch for a start in RAM".into(),
            ));
        }
        let is_key = vouch.key.len() == KEY_LETTERS && vouch.key.bytes().all(|letter| letter.is_ascii_hexdigit());
        if !is_key {
            return Err(AppError::Invalid("key must be 64 hex digits".into()));
        }
        let entry = Entry::new(
            "vouched",
            "the key on its disk vouches for the start in RAM that is to install it",
            events::NODE,
        );
        self.registry
            .vouch(&caller.node, &vouch.key.to_lowercase(), &entry, now)?;
        Ok(())
    }

    /// A person says that a start in RAM that nothing vouched for is the node's machine. Writes.
    pub fn confirm(&self, node: &str, confirm: &Confirm, actor: &str, now: i64) -> Result<NodeDetail, AppError> {
        let node = self.find(node)?;
        let mut waiting = self.visitors.waiting(&node.id, now);
        waiting.retain(|(_, visitor)| confirm.from.is_none_or(|from| from == visitor.from));
        let mut addresses: Vec<String> = waiting.iter().map(|(_, visitor)| visitor.from.to_string()).collect();
        addresses.dedup();
        let (key, visitor) = match (waiting.pop(), addresses.len()) {
            (Some(newest), 1) => newest,
            (Some(_), _) => {
                return Err(AppError::Refused(format!(
                    "several machines say that they are {0}, at {1}: find out which one it is, then: \
                     provisioner node confirm {0} --from ADDRESS",
                    node.name,
                    addresses.join(" and ")
                )));
            }
            (None, _) => {
                return Err(AppError::Refused(format!(
                    "no start in RAM waits to be confirmed as {0}; start {0} from the network first",
                    node.name
                )));
            }
        };
        let from = visitor.from;
        let entry = Entry::new(
            "confirmed",
            format!("the start in RAM from {from} is its machine"),
            actor,
        );
        self.registry.vouch(&node.id, &key, &entry, now)?;
        info!(node = node.name, actor, %from, "confirmed");
        self.visitors.leaves(&key);
        self.changed(&node.id);
        self.node(&node.id, now)
    }

    /// Whether a start with this key was turned away: what it tells is heard and means nothing.
    pub fn is_visitor(&self, key: &str) -> bool {
        self.visitors.of(key).is_some()
    }

    /// The order of a start that was turned away; `None` where there is none with this key, or where it may come in by now
    /// and has to introduce itself again.
    pub fn visitor_orders(&self, key: &str, now: i64) -> Option<Orders> {
        let visitor = self.visitors.of(key)?;
        if self.may_come_again(key, &visitor, now) {
            self.visitors.leaves(key);
            return None;
        }
        self.visitors.heard(key, now);
        Some(orders::for_visitor(visitor.why))
    }

    /// The same once it is not `seen` any more, or after `wait`.
    pub async fn next_visitor_orders(
        &self,
        key: &str,
        seen: Option<u64>,
        wait: Duration,
        now: fn() -> i64,
    ) -> Option<Orders> {
        let orders = self.visitor_orders(key, now())?;
        if seen != Some(orders.revision) {
            return Some(orders);
        }
        tokio::time::sleep(wait.min(LOOK_AGAIN)).await;
        self.visitor_orders(key, now())
    }

    /// Whether what kept it out is over.
    fn may_come_again(&self, key: &str, visitor: &Visitor, now: i64) -> bool {
        let Some(node) = self.registry.node(&visitor.node) else {
            return true;
        };
        match visitor.why {
            // It is sent away, whatever becomes of the node: what was ordered meanwhile is for a start of later.
            TurnedAway::Installed | TurnedAway::NotWanted => false,
            TurnedAway::Occupied => self.present(&node, now).gone,
            TurnedAway::Unproven => match &node.vouching {
                Vouching::For(start) => start == key,
                Vouching::Wanted => false,
                Vouching::Facts => true,
            },
        }
    }

    /// Whether the installed system of a node that is to be installed again is there to vouch for the start in RAM: a
    /// node that is not known to be lost may be alive.
    pub(super) fn can_vouch(&self, node: &Node, now: i64) -> bool {
        let is_lost = self.liveness(node, self.presence.of(&node.id).as_ref(), now) == "lost";
        node.vouches && node.life == Some(Life::Installed) && !is_lost
    }

    /// What people are told of starts that were turned away.
    pub(super) fn visitor_findings(&self, now: i64) -> Vec<Finding> {
        let finding = |visitor: Visitor| {
            let node = self.registry.node(&visitor.node)?;
            let (from, name) = (visitor.from, &node.name);
            let action = match visitor.why {
                TurnedAway::Installed => format!(
                    "if that is {name} itself, somebody chose the network in its boot menu: it is sent to its disk; \
                     if {name} was running then, find the machine with this address: it imitates a node"
                ),
                TurnedAway::NotWanted => {
                    format!("approve {name} if it is to come back: provisioner node approve {name}")
                }
                TurnedAway::Unproven => format!(
                    "if {name} was just told to install itself again and its disk was replaced or is broken: look at its \
                     screen for this address, then: provisioner node confirm {name} --from {from}; \
                     else find the machine with this address: it imitates a node"
                ),
                TurnedAway::Occupied => format!(
                    "find the machine with this address: it imitates {name}, or two machines have the same labels and cards"
                ),
            };
            let is_waiting = visitor.why == TurnedAway::Unproven;
            Some(Finding {
                about: name.clone(),
                symptom: "turned-away".into(),
                says: format!(
                    "something with the facts of {name} started in RAM from {from}: {}",
                    visitor.why
                ),
                action,
                grave: is_waiting,
                since: Some(visitor.at),
            })
        };
        self.visitors.shown(now).into_iter().filter_map(finding).collect()
    }
}
