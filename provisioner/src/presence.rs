// SPDX-License-Identifier: Apache-2.0
//! What is known of nodes only while the server runs: who was heard when and from where, how far it is, how busy,
//! and who waits for orders.
//!
//! Losing it loses nothing: every node says it again within a heartbeat.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provisioner_api::{Load, Progress};
use tokio::sync::Notify;

/// Everything of this kind.
#[derive(Debug)]
pub struct Presence {
    started: AtomicI64,
    /// The newest time that anybody told: for callers that have no clock at hand and need none to the second.
    now: AtomicI64,
    nodes: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    seen: Seen,
    waiter: Arc<Notify>,
}

/// What is known of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Unix milliseconds of its last word; 0 before the first.
    pub at: i64,
    /// Address that it called from.
    pub from: Option<IpAddr>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// How busy it is.
    pub load: Option<Load>,
    /// Whether it has said that it goes down, and nothing since.
    pub leaving: bool,
    /// Whether its silence was written down as an event.
    pub lost: bool,
    /// When it was written down last that its system was on none of its disks; 0 before the first time.
    pub not_found: i64,
}

impl Presence {
    /// Nobody was heard yet.
    pub fn new(now: i64) -> Self {
        Self {
            started: AtomicI64::new(now),
            now: AtomicI64::new(now),
            nodes: Mutex::default(),
        }
    }

    /// When the server started to listen: a silence begins here at the earliest.
    pub fn started(&self) -> i64 {
        self.started.load(Ordering::Relaxed)
    }

    /// The time has come this far.
    pub fn tick(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// What is known of a node.
    pub fn of(&self, node: &str) -> Option<Seen> {
        self.lock().get(node).map(|entry| entry.seen.clone())
    }

    /// Changes what is known of a node.
    pub fn update<T>(&self, node: &str, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut entry(&mut self.lock(), node).seen)
    }

    /// The node said something.
    pub fn heard(&self, node: &str, from: IpAddr, now: i64) {
        self.tick(now);
        self.update(node, |seen| {
            seen.at = now;
            seen.from = Some(from);
            seen.leaving = false;
        });
    }

    /// The node waits on an open connection.
    pub fn still_there(&self, node: &str) {
        let now = self.now.load(Ordering::Relaxed);
        self.update(node, |seen| seen.at = now);
    }

    /// The clock was set by so many milliseconds: everybody was heard as long ago as before.
    pub fn shift(&self, by: i64) {
        self.started.fetch_add(by, Ordering::Relaxed);
        self.now.fetch_add(by, Ordering::Relaxed);
        for entry in self.lock().values_mut().filter(|entry| entry.seen.at != 0) {
            entry.seen.at = entry.seen.at.saturating_add(by);
        }
    }

    /// What a node waits on for news of its orders.
    pub fn waiter(&self, node: &str) -> Arc<Notify> {
        Arc::clone(&entry(&mut self.lock(), node).waiter)
    }

    /// How many wait for news of a node.
    #[cfg(test)]
    pub(crate) fn waiting(&self, node: &str) -> usize {
        Arc::strong_count(&entry(&mut self.lock(), node).waiter) - 1
    }

    /// The orders of a node may have changed.
    pub fn wake(&self, node: &str) {
        if let Some(entry) = self.lock().get(node) {
            entry.waiter.notify_waiters();
        }
    }

    /// The orders of all nodes may have changed.
    pub fn wake_all(&self) {
        self.lock().values().for_each(|entry| entry.waiter.notify_waiters());
    }

    /// The node is no longer one.
    pub fn forget(&self, node: &str) {
        self.lock().remove(node);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // Every change is a plain assignment: a panic elsewhere leaves no half-made entry behind.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry<'a>(nodes: &'a mut HashMap<String, Entry>, node: &str) -> &'a mut Entry {
    if !nodes.contains_key(node) {
        nodes.insert(node.to_owned(), Entry::default());
    }
    nodes.entry(node.to_owned()).or_default()
}
