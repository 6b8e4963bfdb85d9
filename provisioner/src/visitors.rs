// SPDX-License-Identifier: Apache-2.0
//! Starts in RAM that show a node's facts and were not let in as that node: what they are told, and what people are
//! told of them.
//!
//! In memory only: whoever is forgotten introduces itself again. Bounded, because anybody on the cable can be one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::registry::TurnedAway;

/// Starts kept of one node. The oldest goes first, so that a liar pushes out those with the same facts alone.
const OF_A_NODE: usize = 8;
/// Starts kept in all: a lab has a few at most.
const IN_ALL: usize = 1024;
/// Milliseconds between two events about one node: a liar that comes again and again does not fill the list.
const APART: i64 = 10 * 60_000;
/// Milliseconds since its last question after which a start is not there any more: it asks every few seconds.
const HERE: i64 = 60_000;
/// Milliseconds for which people are told of one that does not come again.
const SHOWN: i64 = 24 * 3_600_000;

/// All of them, by their keys.
#[derive(Debug, Default)]
pub struct Visitors(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    starts: HashMap<String, Visitor>,
    /// When something was last written down about a node.
    told: HashMap<String, i64>,
}

/// One start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Id of the node whose facts it shows.
    pub node: String,
    /// The address that it called from.
    pub from: IpAddr,
    /// Why it was not let in.
    pub why: TurnedAway,
    /// When it came, Unix milliseconds.
    pub at: i64,
    /// When it last asked.
    pub heard: i64,
}

impl Visitors {
    /// Keeps one in mind; whether it is time for an event about its node.
    pub fn came(&self, key: &str, visitor: Visitor) -> bool {
        let mut kept = self.lock();
        let (node, now) = (visitor.node.clone(), visitor.at);
        kept.starts.insert(key.to_owned(), visitor);
        kept.make_room(&node);
        let is_due = kept.told.get(&node).is_none_or(|told| (now - told).abs() >= APART);
        if is_due {
            kept.told.retain(|_, told| (now - *told).abs() < APART);
            kept.told.insert(node, now);
        }
        is_due
    }

    /// The start with this key.
    pub fn of(&self, key: &str) -> Option<Visitor> {
        self.lock().starts.get(key).cloned()
    }

    /// It has asked for its orders.
    pub fn heard(&self, key: &str, now: i64) {
        if let Some(visitor) = self.lock().starts.get_mut(key) {
            visitor.heard = now;
        }
    }

    /// Those that wait to be vouched for as this node, with their keys: at each address the newest, by address.
    pub fn waiting(&self, node: &str, now: i64) -> Vec<(String, Visitor)> {
        let is_one = |visitor: &Visitor| {
            let is_here = (now - visitor.heard).abs() < HERE;
            visitor.node == node && visitor.why == TurnedAway::Unproven && is_here
        };
        let kept = self.lock();
        let starts = kept.starts.iter().filter(|(_, visitor)| is_one(visitor));
        let mut waiting: Vec<_> = starts.map(|(key, visitor)| (key.clone(), visitor.clone())).collect();
        drop(kept);
        waiting.sort_by_key(|(_, visitor)| (visitor.from, visitor.at));
        waiting
    }

    /// It is one no more.
    pub fn leaves(&self, key: &str) {
        self.lock().starts.remove(key);
    }

    /// Those of whom people should hear, the newest of each node and reason.
    pub fn shown(&self, now: i64) -> Vec<Visitor> {
        let mut shown: Vec<Visitor> = self.lock().starts.values().cloned().collect();
        shown.retain(|visitor| now - visitor.at < SHOWN);
        shown.sort_by(|a, b| (&a.node, a.why as u8, b.at).cmp(&(&b.node, b.why as u8, a.at)));
        shown.dedup_by(|next, newest| next.node == newest.node && next.why == newest.why);
        shown
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change is an insertion or a removal: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn make_room(&mut self, node: &str) {
        let of_node = self.starts.values().filter(|visitor| visitor.node == node).count();
        if of_node > OF_A_NODE {
            self.forget_oldest(|visitor| visitor.node == node);
        } else if self.starts.len() > IN_ALL {
            self.forget_oldest(|_| true);
        }
    }

    fn forget_oldest(&mut self, among: impl Fn(&Visitor) -> bool) {
        let starts = self.starts.iter().filter(|(_, visitor)| among(visitor));
        let oldest = starts.min_by_key(|(key, visitor)| (visitor.at, (*key).clone()));
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.starts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(node: &str, at: i64) -> Visitor {
        Visitor {
            node: node.into(),
            from: IpAddr::from([10, 77, 0, 9]),
            why: TurnedAway::Installed,
            at,
            heard: at,
        }
    }

    #[test]
    fn a_liar_with_many_keys_pushes_out_only_those_with_the_same_facts() {
        let visitors = Visitors::default();
        visitors.came("quiet", visitor("node-1", 0));
        for number in 0..5_000 {
            visitors.came(&format!("liar-{number}"), visitor("node-2", number));
        }
        assert!(visitors.of("quiet").is_some());
        assert_eq!(visitors.lock().starts.len(), OF_A_NODE + 1);
        assert!(visitors.of("liar-4999").is_some(), "the newest is kept");
    }

    #[test]
    fn one_that_comes_again_and_again_is_written_down_seldom() {
        let visitors = Visitors::default();
        let written =
            (0..3_600).filter(|second| visitors.came(&format!("key-{second}"), visitor("node-1", second * 1000)));
        assert_eq!(written.count(), 6, "once in ten minutes");
        assert_eq!(visitors.shown(3_600_000).len(), 1);
        assert!(visitors.shown(3_600_000 + SHOWN).is_empty(), "forgotten after a day");
    }
}
