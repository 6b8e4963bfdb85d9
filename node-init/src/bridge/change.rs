// SPDX-License-Identifier: Apache-2.0
//! One change of the network: begun, then confirmed or rolled back, however the power goes.
//!
//! The record [`PENDING`] is written before the first file of networkd and removed after the last one, so at every
//! moment the files on the disk are the old ones, or a record says how to get those back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{CARD_NETWORK, Links, Plan, Store, files};

/// What an unconfirmed change has to undo. The unit before networkd looks for this very path.
const PENDING: &str = "var/lib/node-init/bridge/pending.json";

/// Why earlier changes were undone.
const FAILED: &str = "var/lib/node-init/bridge/failed.json";

/// The daemon undoes what is late itself; the timer is for a daemon that cannot, and gives it this many seconds.
const GRACE: u32 = 10;

/// Pauses after the first, second, … failure: soon after a mishap (a power cut in the middle), rarely where the
/// network will never allow it, such as a switch port that takes one hardware address.
const PAUSES: [Duration; 4] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(6),
];

/// Changes the network of one machine.
pub struct Change<'a> {
    store: &'a dyn Store,
    links: &'a dyn Links,
}

/// What a change is about, and the files as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    bridge: String,
    mac: String,
    before: BTreeMap<String, Option<String>>,
}

/// A change that was undone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// The bridge that was tried; another one is another story.
    pub bridge: String,
    /// How often in a row.
    pub tries: u32,
    /// Why the last time, for a person.
    pub reason: String,
}

impl Pending {
    /// The bridge that was there before, where one was.
    fn bridge_before(&self) -> Option<&str> {
        self.before.values().flatten().find_map(|text| files::bridge_of(text))
    }
}

impl Failure {
    /// How long to leave the network alone.
    pub fn pause(&self) -> Duration {
        let index = usize::try_from(self.tries.saturating_sub(1)).unwrap_or(usize::MAX);
        PAUSES[index.min(PAUSES.len() - 1)]
    }
}

/// How the network came to be what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    /// The files of the plan are there and were confirmed.
    Confirmed,
    /// A change has begun and nobody has confirmed or undone it.
    Unconfirmed,
    /// The plan was never tried, or not since it last changed.
    Untried,
    /// The last try was undone.
    Undone(Failure),
}

/// What [`Change::begin`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The change is applied and wants to be confirmed.
    Applied,
    /// An unconfirmed change is in the way: confirm it or undo it first.
    InTheWay,
}

impl<'a> Change<'a> {
    /// Changes what `store` and `links` hold.
    pub fn new(store: &'a dyn Store, links: &'a dyn Links) -> Self {
        Self { store, links }
    }

    /// Where the machine stands with `plan`.
    pub fn history(&self, plan: &Plan) -> anyhow::Result<History> {
        if self.store.read(PENDING)?.is_some() {
            return Ok(History::Unconfirmed);
        }
        let mut there = true;
        for (path, text) in self.files(plan)? {
            there &= self.store.read(path)?.as_deref() == Some(text.as_str());
        }
        if there {
            return Ok(History::Confirmed);
        }
        Ok(self.failure(plan.bridge())?.map_or(History::Untried, History::Undone))
    }

    /// Writes and applies the plan, with everything in place that undoes it after `confirm_within` seconds.
    /// After an error the caller must [roll back](Self::roll_back).
    pub fn begin(&self, plan: &Plan, confirm_within: u32) -> anyhow::Result<Begun> {
        let guard = self.store.lock()?;
        if self.store.read(PENDING)?.is_some() {
            return Ok(Begun::InTheWay);
        }
        let files = self.files(plan)?;
        let mut before = BTreeMap::new();
        for (path, _) in &files {
            before.insert((*path).to_owned(), self.store.read(path)?);
        }
        let pending = Pending {
            bridge: plan.bridge().into(),
            mac: plan.mac().into(),
            before,
        };
        self.links
            .arm(confirm_within.saturating_add(GRACE))
            .context("arming the timer that undoes the change")?;
        self.store
            .write(PENDING, &serde_json::to_string(&pending)?)
            .context("recording what to undo")?;
        for (path, text) in &files {
            self.store
                .write(path, text)
                .with_context(|| format!("writing /{path}"))?;
        }
        // networkd may take long, and the timer's hand must not have to wait for this one.
        drop(guard);
        self.links.apply(plan.mac()).context("telling systemd-networkd")?;
        Ok(Begun::Applied)
    }

    /// The controller was heard through the bridge: the change is for good. `false`: too late, it was undone.
    pub fn confirm(&self) -> anyhow::Result<bool> {
        let _guard = self.store.lock()?;
        let Some(text) = self.store.read(PENDING)? else {
            return Ok(false);
        };
        // This one removal is the confirmation; a power cut before it undoes the change, one after it does not.
        self.store.remove(PENDING).context("confirming the change")?;
        self.links.disarm();
        self.store.remove(FAILED)?;
        let pending: Option<Pending> = serde_json::from_str(&text).ok();
        if let Some(pending) = &pending
            && let Some(old) = pending.bridge_before().filter(|old| *old != pending.bridge)
        {
            self.links.remove(old);
        }
        Ok(true)
    }

    /// Undoes an unconfirmed change and remembers why. `false`: there was none.
    pub fn roll_back(&self, why: &str) -> anyhow::Result<bool> {
        let _guard = self.store.lock()?;
        let Some(text) = self.store.read(PENDING)? else {
            return Ok(false);
        };
        let pending: Pending = serde_json::from_str(&text).unwrap_or_else(|error| {
            // A record that cannot be read undoes everything of ours: the card's own file is still there.
            tracing::error!(%error, "the record of the change is damaged");
            let before = Plan::paths().into_iter().map(|path| (path.to_owned(), None)).collect();
            Pending {
                bridge: String::new(),
                mac: String::new(),
                before,
            }
        });
        for path in Plan::paths() {
            match pending.before.get(path).and_then(Option::as_deref) {
                Some(text) => self.store.write(path, text)?,
                None => self.store.remove(path)?,
            }
        }
        let tries = self
            .failure(&pending.bridge)?
            .map_or(0, |failure| failure.tries)
            .saturating_add(1);
        let failure = Failure {
            bridge: pending.bridge.clone(),
            tries,
            reason: why.into(),
        };
        let remembered = self.store.write(FAILED, &serde_json::to_string(&failure)?);
        if let Err(error) = remembered {
            // A full disk must not keep the machine off the network.
            tracing::warn!(%error, "cannot remember why the change was undone");
        }
        if !pending.bridge.is_empty() && pending.bridge_before() != Some(&pending.bridge) {
            self.links.remove(&pending.bridge);
        }
        // The files are right whatever networkd says now, and count from the next start on.
        let applied = self.links.restart();
        self.store.remove(PENDING)?;
        self.links.disarm();
        applied.context("telling systemd-networkd to go back")?;
        Ok(true)
    }

    fn files(&self, plan: &Plan) -> anyhow::Result<[(&'static str, String); 3]> {
        Ok(plan.files(self.store.read(CARD_NETWORK)?.as_deref()))
    }

    fn failure(&self, bridge: &str) -> anyhow::Result<Option<Failure>> {
        let text = self.store.read(FAILED)?;
        // What cannot be read cannot hold up the next try.
        let failure: Option<Failure> = text.and_then(|text| serde_json::from_str(&text).ok());
        Ok(failure.filter(|failure| failure.bridge == bridge))
    }
}

#[cfg(test)]
mod tests;
