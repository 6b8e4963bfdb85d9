// SPDX-License-Identifier: Apache-2.0
//! Starts in RAM that show a node's facts and are not let in as that node.

use std::net::IpAddr;
use std::time::Duration;

use provisioner_api::{Finding, Orders, Registered};
use tracing::warn;

use super::{App, AppError};
use crate::events;
use crate::orders;
use crate::registry::{Entry, Node, Present, TurnedAway};
use crate::visitors::Visitor;

/// Milliseconds of silence after which a start cannot be alive: in RAM it asks for orders at least every 40 seconds, and
/// two questions may be lost.
const GONE: i64 = 90_000;

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
        })
    }

    /// Whether a start with this key was turned away: what it tells is heard and means nothing.
    pub fn is_visitor(&self, key: &str) -> bool {
        self.visitors.of(key).is_some()
    }

    /// The order of a start that was turned away; `None` where there is none with this key, or where it may come in by now
    /// and has to introduce itself again.
    pub fn visitor_orders(&self, key: &str, now: i64) -> Option<Orders> {
        let visitor = self.visitors.of(key)?;
        if visitor.why == TurnedAway::Occupied && self.may_come_again(&visitor, now) {
            self.visitors.leaves(key);
            return None;
        }
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
    fn may_come_again(&self, visitor: &Visitor, now: i64) -> bool {
        self.registry
            .node(&visitor.node)
            .is_none_or(|node| self.present(&node, now).gone)
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
                TurnedAway::Occupied => format!(
                    "find the machine with this address: it imitates {name}, or two machines have the same labels and cards"
                ),
            };
            Some(Finding {
                about: name.clone(),
                symptom: "turned-away".into(),
                says: format!(
                    "something with the facts of {name} started in RAM from {from}: {}",
                    visitor.why
                ),
                action,
                grave: false,
                since: Some(visitor.at),
            })
        };
        self.visitors.shown(now).into_iter().filter_map(finding).collect()
    }
}
