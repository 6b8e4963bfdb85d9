// SPDX-License-Identifier: Apache-2.0
//! What starts have taught: which loader gets a machine as far as a boot script, which way its own disk starts.
//!
//! Firmware cannot be asked. So a rung of the ladder is tried, and what the machine does next is the answer: a loader
//! that was fetched and then fell silent costs one power cycle, and the next start gets the next rung. What worked is
//! remembered by card, and serves as the first guess for cards of the same maker. Survives restarts: the registry
//! keeps what [`Memory::take_changed`] hands out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use pxe::Mac;
use pxe::bootfile::{self, Loader};
use pxe::client::{Client, Firmware};
use pxe::ipxe::Way;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Cards remembered; five times what a large lab has.
const CARDS: usize = 5000;
/// Silences in a row that take away what a loader or a way has proven before: one may be a pulled plug.
const PATIENCE: u8 = 2;

/// What one thing after the other is tried on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Climb {
    /// What worked last.
    pub worked: Option<String>,
    /// What was tried since and led nowhere.
    pub fell: Vec<String>,
    /// What is being tried: the machine has it, and has not been heard since.
    pub trying: Option<String>,
    /// How often in a row the one that works did not.
    pub strikes: u8,
}

impl Climb {
    /// The machine has `rung` now.
    pub fn takes(&mut self, rung: &str) {
        if self.trying.as_deref() != Some(rung) {
            self.trying = Some(rung.to_owned());
        }
    }

    /// It came out where it should.
    pub fn arrives(&mut self) {
        if let Some(rung) = self.trying.take() {
            self.worked = Some(rung);
            self.fell.clear();
            self.strikes = 0;
        }
    }

    /// It starts anew: what it tried has led nowhere. Returns what that was, where it is given up.
    pub fn starts_again(&mut self) -> Option<String> {
        let rung = self.trying.take()?;
        if self.worked.as_ref() == Some(&rung) {
            self.strikes += 1;
            if self.strikes < PATIENCE {
                return None;
            }
            self.worked = None;
            self.strikes = 0;
        }
        if self.fell.contains(&rung) {
            // All have had their turn: the next round begins.
            self.fell.clear();
        }
        self.fell.push(rung.clone());
        Some(rung)
    }
}

/// What the starts of one card have taught.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lessons {
    /// About loaders.
    pub loader: Climb,
    /// About ways to the machine's own disk.
    pub disk: Climb,
    /// The firmware that was last seen to start it, one word.
    pub firmware: String,
    /// Maker and model of the machine, once node-init has told.
    pub model: String,
}

/// All lessons.
#[derive(Debug, Default)]
pub struct Memory {
    kept: Mutex<Kept>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    cards: HashMap<Mac, Lessons>,
    /// How many cards of a kind each loader works on.
    kinds: HashMap<Likeness, BTreeMap<Loader, u32>>,
    unsaved: HashSet<Mac>,
}

/// What makes two cards alike: the maker's half of the address, the machine's model where it is known, the firmware.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Likeness {
    maker: [u8; 3],
    model: String,
    firmware: String,
}

impl Memory {
    /// What was remembered before this start of the server.
    pub fn new(lessons: impl IntoIterator<Item = (Mac, Lessons)>) -> Self {
        let memory = Self::default();
        let mut kept = memory.lock();
        for (mac, lessons) in lessons {
            kept.count(mac, &lessons, true);
            kept.cards.insert(mac, lessons);
        }
        drop(kept);
        memory
    }

    /// The loader to try on a client now, of those that `exists` knows: the one that worked, on it or on most of its
    /// kind, else the first of its ladder that has not fallen silent; `None` where nothing speaks against the first.
    pub fn suits(&self, client: &Client, exists: impl Fn(&str) -> bool) -> Option<Loader> {
        let kept = self.lock();
        let lessons = kept.cards.get(&client.mac);
        kept.suits(client, lessons, exists)
    }

    /// The loader that the next start of a client gets if the one that it has now leads nowhere; `None` where all of
    /// its ladder have had their turn.
    pub fn after_this(&self, client: &Client, exists: impl Fn(&str) -> bool) -> Option<Loader> {
        let kept = self.lock();
        let mut lessons = kept.cards.get(&client.mac).cloned().unwrap_or_default();
        lessons.loader.starts_again();
        kept.suits(client, Some(&lessons), exists)
    }

    /// What the starts of a card have taught.
    pub fn of(&self, mac: Mac) -> Option<Lessons> {
        self.lock().cards.get(&mac).cloned()
    }

    /// In which order ways to the own disk are tried on a machine with these cards.
    pub fn ways(&self, mac: Mac, all: &[Way]) -> Vec<Way> {
        let kept = self.lock();
        let mut ways = all.to_vec();
        if let Some(Lessons { disk, .. }) = kept.cards.get(&mac) {
            let fell = |way: &Way| disk.fell.iter().any(|word| word == way.word());
            let worked = |way: &Way| disk.worked.as_deref() == Some(way.word());
            // Stable: within each of the three the order stays.
            ways.sort_by_key(|way| (!worked(way), fell(way)));
        }
        ways
    }

    /// Changes what is known of a card; a new one is remembered where `change` has something to say of it.
    pub fn change<T>(&self, mac: Mac, change: impl FnOnce(&mut Lessons) -> T) -> T {
        let mut kept = self.lock();
        let before = kept.cards.get(&mac).cloned();
        let mut after = before.clone().unwrap_or_default();
        let said = change(&mut after);
        if before.as_ref().unwrap_or(&Lessons::default()) != &after {
            if let Some(before) = &before {
                kept.count(mac, before, false);
            } else {
                kept.make_room();
            }
            kept.count(mac, &after, true);
            kept.cards.insert(mac, after);
            kept.unsaved.insert(mac);
            drop(kept);
            self.changed.notify_one();
        }
        said
    }

    /// Waits until there is something to save.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What has changed since the last call; `None` for what is to be forgotten.
    pub fn take_changed(&self) -> Vec<(Mac, Option<Lessons>)> {
        let mut kept = self.lock();
        let unsaved = std::mem::take(&mut kept.unsaved);
        unsaved
            .into_iter()
            .map(|mac| (mac, kept.cards.get(&mac).cloned()))
            .collect()
    }

    /// What could not be saved is tried again with the next change.
    pub fn not_saved(&self, macs: impl IntoIterator<Item = Mac>) {
        self.lock().unsaved.extend(macs);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn suits(&self, client: &Client, lessons: Option<&Lessons>, exists: impl Fn(&str) -> bool) -> Option<Loader> {
        let climb = lessons.map(|lessons| &lessons.loader);
        let model = lessons.map_or("", |lessons| lessons.model.as_str());
        let firmware = client.firmware.unwrap_or(Firmware::Bios);
        let ladder = bootfile::rungs(firmware);
        let good = |rung: &Loader| {
            let fell = climb.is_some_and(|climb| climb.fell.iter().any(|fallen| fallen == rung.file()));
            !fell && ladder.contains(rung) && rung.files().all(&exists)
        };
        let worked = climb.and_then(|climb| Loader::from_file(climb.worked.as_deref()?));
        let guess = || self.guess(client.mac, model, firmware);
        let untried = || {
            let has_fallen = climb.is_some_and(|climb| !climb.fell.is_empty());
            ladder.iter().copied().find(|rung| has_fallen && good(rung))
        };
        worked.filter(good).or_else(|| guess().filter(good)).or_else(untried)
    }

    /// The loader that works on most cards like this one: of the same model if there are any, else of the same maker.
    fn guess(&self, mac: Mac, model: &str, firmware: Firmware) -> Option<Loader> {
        let maker = maker(mac)?;
        let mut likeness = Likeness {
            maker,
            model: model.to_owned(),
            firmware: firmware.word().to_owned(),
        };
        let most = |likeness: &Likeness| {
            let counts = self.kinds.get(likeness)?;
            counts
                .iter()
                .max_by_key(|(_, count)| **count)
                .map(|(loader, _)| *loader)
        };
        if !model.is_empty()
            && let Some(loader) = most(&likeness)
        {
            return Some(loader);
        }
        likeness.model.clear();
        most(&likeness)
    }

    /// Counts a card among those like it, or out of them.
    fn count(&mut self, mac: Mac, lessons: &Lessons, more: bool) {
        let worked = lessons.loader.worked.as_deref().and_then(Loader::from_file);
        let (Some(maker), Some(loader)) = (maker(mac), worked) else {
            return;
        };
        let any = Likeness {
            maker,
            model: String::new(),
            firmware: lessons.firmware.clone(),
        };
        let same = (!lessons.model.is_empty()).then(|| Likeness {
            model: lessons.model.clone(),
            ..any.clone()
        });
        for likeness in [Some(any), same].into_iter().flatten() {
            let counts = self.kinds.entry(likeness).or_default();
            let count = counts.entry(loader).or_default();
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                counts.remove(&loader);
            }
        }
    }

    /// Forgets a card that has proven nothing, else any.
    fn make_room(&mut self) {
        if self.cards.len() < CARDS {
            return;
        }
        let least = self
            .cards
            .iter()
            .min_by_key(|(mac, lessons)| (lessons.loader.worked.is_some(), **mac))
            .map(|(mac, _)| *mac);
        if let Some(mac) = least
            && let Some(lessons) = self.cards.remove(&mac)
        {
            self.count(mac, &lessons, false);
            self.unsaved.insert(mac);
        }
    }
}

/// The maker's half of an address; one that somebody made up (IEEE 802, second lowest bit of the first byte) has no
/// maker.
fn maker(mac: Mac) -> Option<[u8; 3]> {
    let [a, b, c, ..] = mac.0;
    (a & 2 == 0).then_some([a, b, c])
}

#[cfg(test)]
mod tests;
