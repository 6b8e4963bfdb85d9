// SPDX-License-Identifier: Apache-2.0
//! What was seen of each card that boots, step by step: hints for people and for [`crate::doctor`].
//!
//! It makes no node and changes none, and it lives in memory only: what must survive a restart of it is in
//! [`crate::memory`]. Bounded in every direction, because anybody on the cable may write into it. No clock, no socket.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use pxe::Mac;
use pxe::bootfile::Loader;
use pxe::client::{Client, Speaker};
use pxe::dhcp::{Heard, Kind};

use crate::network::{Answered, Asked, Ended, Fetch, Sighting};

mod step;

pub use step::{Seen, Step};

/// Cards kept. A lab has a few hundred; a liar who invents a hundred thousand pushes out only his own and old ones.
const CARDS: usize = 1024;
/// Starts kept of a card: enough to see that something repeats itself.
const ATTEMPTS: usize = 4;
/// Steps kept of a start; a whole one has a dozen.
const STEPS: usize = 32;
/// A step that equals one of this many before it is that one again: questions and answers alternate.
const LOOK_BACK: usize = 4;
/// Silence after which a card that asks again has been started again. PXE firmware asks for a minute in a row.
const PAUSE: i64 = 3 * 60_000;
/// A question that comes again this soon after something was fetched was under way twice: no firmware starts anew in
/// less.
const ECHO: i64 = 3_000;
/// Addresses remembered; cards change theirs now and then.
const ADDRESSES: usize = 4 * CARDS;
/// Letters of a file name that are kept: names come from the network.
const NAME: usize = 100;

/// The journal.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    cards: HashMap<Mac, Card>,
    /// Whose an address was last: transfers and scripts know no card.
    addresses: HashMap<Ipv4Addr, Mac>,
    /// Whom this server gave an address last: no card's own word.
    leased: HashMap<Ipv4Addr, Mac>,
}

/// What was seen of one card.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its address.
    pub mac: Mac,
    /// Interface of the server on which it was seen last.
    pub interface: Arc<str>,
    /// Unix milliseconds of the last sighting.
    pub at: i64,
    /// How often it was seen.
    pub times: u64,
    /// Who spoke last; a system only where nothing that boots ever did.
    pub client: Client,
    /// Its IP address.
    pub address: Option<Ipv4Addr>,
    /// The relay that it asked through last.
    pub relay: Option<Ipv4Addr>,
    /// The switch port that the relay named.
    pub port: Option<String>,
    /// Its starts, oldest first.
    pub attempts: VecDeque<Attempt>,
}

/// One start of a machine, from its first question on.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Who asked first.
    pub client: Client,
    /// Seconds for which it had been asking then, by its own word.
    pub secs: u16,
    /// The loader that it was told to fetch.
    pub told: Option<Loader>,
    /// What was seen, oldest first.
    pub steps: Vec<Seen>,
    xid: u32,
}

/// What a question of firmware means for the start before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// It belongs to the start that is under way.
    No,
    /// A new start began.
    Anew,
}

impl Journal {
    /// A card asks for something.
    pub fn asked(&self, asked: &Asked<'_>, now: i64) -> Began {
        let client = asked.client;
        let boots = client.speaker != Speaker::System || client.quirk.is_some();
        self.with(client.mac, Some(asked), now, |card| {
            card.interface = Arc::clone(asked.interface);
            if boots {
                card.relay = asked.relay;
                card.port = crate::enrol::port(asked.relay_agent);
            }
            if boots || card.attempts.is_empty() {
                card.client = *client;
            }
            if let Some(address) = asked.address {
                card.address = Some(address);
            }
            let began = boots && asked.kind == Kind::Discover && card.is_new_start(asked, now);
            if began {
                card.begin(asked);
            }
            let Some(attempt) = card.attempts.back_mut().filter(|attempt| boots || attempt.is_running()) else {
                return Began::No;
            };
            attempt.note(
                Step::Asked {
                    speaker: client.speaker,
                    kind: asked.kind,
                },
                now,
            );
            if let Some(relay) = asked.stranded {
                attempt.note(Step::Stranded { relay }, now);
            }
            if asked.kind == Kind::Request
                && let Some(server) = asked.chosen
            {
                attempt.note(Step::Chose { server }, now);
            }
            if began { Began::Anew } else { Began::No }
        })
        .unwrap_or(Began::No)
    }

    /// A card was answered.
    pub fn answered(&self, sighting: &Sighting, now: i64) {
        if let (Answered::Ack, Some(address)) = (sighting.answered, sighting.address) {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.lease(address, sighting.client.mac);
        }
        self.with(sighting.client.mac, None, now, |card| {
            card.times += 1;
            if let Some(address) = sighting.address {
                card.address = Some(address);
            }
            if let Some(attempt) = card.attempts.back_mut() {
                let told = loader(&sighting.told);
                attempt.told = told.or(attempt.told);
                let told = cut(&sighting.told);
                attempt.note(
                    Step::Answered {
                        how: sighting.answered,
                        told,
                    },
                    now,
                );
            }
        });
    }

    /// Another server answered a card.
    pub fn overheard(&self, heard: &Heard, now: i64) {
        let Some(mac) = heard.client else { return };
        self.note(mac, Step::Other { server: heard.server }, now);
    }

    /// A transfer ended; `size` is the file's, where there is one. Returns whose it was and the loader, if it was one
    /// and all of it arrived.
    pub fn fetched(&self, mac: Mac, fetch: &Fetch, size: u64, now: i64) -> Option<Loader> {
        let loader = loader(&fetch.file);
        // Some ROMs start the program instead of acknowledging its last block.
        let whole = fetch.ended == Ended::Whole || (size > 0 && fetch.bytes + LAST_BLOCKS >= size);
        let step = match (loader, fetch.ended) {
            (_, Ended::Refused) => Step::Refused {
                file: cut(&fetch.file),
                why: cut(fetch.failure.as_deref().unwrap_or_default()),
            },
            (_, Ended::SizeOnly) => Step::Size { file: cut(&fetch.file) },
            (Some(loader), _) if size > 0 => Step::Loader { loader, whole },
            (_, Ended::Absent) => Step::Missing { file: cut(&fetch.file) },
            (_, _) => Step::File {
                file: cut(&fetch.file),
                whole,
            },
        };
        self.note(mac, step, now);
        loader.filter(|_| whole && size > 0 && !matches!(fetch.ended, Ended::SizeOnly | Ended::Refused))
    }

    /// Something else was seen of a card that booted already.
    pub fn note(&self, mac: Mac, step: Step, now: i64) {
        self.with(mac, None, now, |card| {
            if let Some(attempt) = card.attempts.back_mut() {
                attempt.note(step, now);
            }
        });
    }

    /// A boot script was asked for by a card that DHCP may never have shown, from an address and an interface's side.
    pub fn script(&self, mac: Mac, address: Ipv4Addr, decision: &'static str, now: i64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.settle(address, mac);
        let Some(card) = kept.cards.get_mut(&mac) else { return };
        card.at = now;
        card.address = Some(address);
        if let Some(attempt) = card.attempts.back_mut() {
            attempt.note(Step::Script { decision }, now);
        }
    }

    /// The card that had this address last.
    pub fn card_at(&self, address: Ipv4Addr) -> Option<Mac> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.addresses.get(&address).copied()
    }

    /// The card that this server gave an address last.
    pub fn leased_to(&self, address: Ipv4Addr) -> Option<Mac> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.leased.get(&address).copied()
    }

    /// What was seen of a card.
    pub fn of(&self, mac: Mac) -> Option<Card> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.cards.get(&mac).cloned()
    }

    /// The clock was set by so many milliseconds: everything was seen as long ago as before.
    pub fn shift(&self, by: i64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for card in kept.cards.values_mut() {
            card.at = card.at.saturating_add(by);
            for seen in card.attempts.iter_mut().flat_map(|attempt| &mut attempt.steps) {
                seen.at = seen.at.saturating_add(by);
                seen.last = seen.last.saturating_add(by);
            }
        }
    }

    /// All cards, the last seen first.
    pub fn cards(&self) -> Vec<Card> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cards: Vec<Card> = kept.cards.values().cloned().collect();
        drop(kept);
        cards.sort_by_key(|card| (std::cmp::Reverse(card.at), card.mac));
        cards
    }

    /// Looks at a card, a new one only where it asks itself.
    fn with<T>(&self, mac: Mac, asked: Option<&Asked<'_>>, now: i64, look: impl FnOnce(&mut Card) -> T) -> Option<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = asked.filter(|_| !kept.cards.contains_key(&mac)) {
            kept.make_room();
            kept.cards.insert(mac, Card::new(asked, now));
        }
        let card = kept.cards.get_mut(&mac)?;
        card.at = now;
        card.times += u64::from(asked.is_some());
        let seen = look(card);
        if let Some(address) = card.address
            && kept.addresses.get(&address) != Some(&mac)
        {
            kept.settle(address, mac);
        }
        Some(seen)
    }
}

/// Cards that are forgotten at a time when there are too many.
const FORGOTTEN: usize = 32;
/// Bytes at the end of a file whose acknowledgement may be missing: the largest block that fits a frame.
const LAST_BLOCKS: u64 = 1468;

impl Kept {
    /// The address is this card's now.
    fn settle(&mut self, address: Ipv4Addr, mac: Mac) {
        if self.addresses.len() >= ADDRESSES {
            // What is still in use is heard of again.
            let cards = &self.cards;
            self.addresses
                .retain(|address, mac| cards.get(mac).is_some_and(|card| card.address == Some(*address)));
        }
        self.addresses.insert(address, mac);
    }

    /// The address was given to this card, which has no other of ours.
    fn lease(&mut self, address: Ipv4Addr, mac: Mac) {
        if self.leased.get(&address) == Some(&mac) {
            return;
        }
        self.leased.retain(|_, card| *card != mac);
        if self.leased.len() >= ADDRESSES {
            // Whoever is forgotten here asks for its address again.
            self.leased.clear();
        }
        self.leased.insert(address, mac);
    }

    /// Forgets the cards that are least worth remembering: those that never booted, else those that were seen longest
    /// ago. Several at a time: finding one takes as long, and a flood of new cards asks for it with every packet.
    fn make_room(&mut self) {
        if self.cards.len() < CARDS {
            return;
        }
        let worth = |card: &Card| (!card.attempts.is_empty(), card.at, card.mac);
        let mut cards: Vec<_> = self.cards.values().map(worth).collect();
        // There are far more than are forgotten.
        let (least, _, _) = cards.select_nth_unstable(FORGOTTEN);
        for (_, _, mac) in least {
            self.cards.remove(mac);
        }
    }
}

impl Card {
    fn new(asked: &Asked<'_>, now: i64) -> Self {
        Self {
            mac: asked.client.mac,
            interface: Arc::clone(asked.interface),
            at: now,
            times: 0,
            client: *asked.client,
            address: None,
            relay: None,
            port: None,
            attempts: VecDeque::new(),
        }
    }

    fn is_new_start(&self, asked: &Asked<'_>, now: i64) -> bool {
        let Some(last) = self.attempts.back() else { return true };
        let since = now - last.ended();
        if since > PAUSE {
            return true;
        }
        let came_far = match asked.client.speaker {
            // iPXE goes on where the firmware has ended, unless it is the firmware.
            Speaker::Ipxe => last.has(|step| matches!(step, Step::Script { .. })),
            _ => last.has(Step::is_beyond_dhcp),
        };
        came_far && (asked.xid != last.xid || since > ECHO)
    }

    fn begin(&mut self, asked: &Asked<'_>) {
        if self.attempts.len() >= ATTEMPTS {
            self.attempts.pop_front();
        }
        self.attempts.push_back(Attempt {
            client: *asked.client,
            secs: asked.secs,
            told: None,
            steps: Vec::new(),
            xid: asked.xid,
        });
    }

    /// The last start.
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.back()
    }
}

impl Attempt {
    /// Whether a step of this kind was seen.
    pub fn has(&self, is: impl Fn(&Step) -> bool) -> bool {
        self.steps.iter().any(|seen| is(&seen.step))
    }

    /// The last step of a kind.
    pub fn last(&self, is: impl Fn(&Step) -> bool) -> Option<&Seen> {
        self.steps.iter().rev().find(|seen| is(&seen.step))
    }

    /// How often a step of a kind was seen.
    pub fn count(&self, is: impl Fn(&Step) -> bool) -> u32 {
        self.steps
            .iter()
            .filter(|seen| is(&seen.step))
            .map(|seen| seen.times)
            .sum()
    }

    /// When it began.
    pub fn began(&self) -> i64 {
        self.steps.first().map_or(0, |seen| seen.at)
    }

    /// When anything was seen of it last.
    pub fn ended(&self) -> i64 {
        self.steps.iter().map(|seen| seen.last).max().unwrap_or(0)
    }

    /// Whether a system may have been started by it.
    fn is_running(&self) -> bool {
        self.has(|step| matches!(step, Step::Kernel | Step::Initrd))
    }

    fn note(&mut self, step: Step, now: i64) {
        let recent = self.steps.iter_mut().rev().take(LOOK_BACK);
        if let Some(seen) = recent.into_iter().find(|seen| seen.step == step) {
            seen.last = now;
            seen.times = seen.times.saturating_add(1);
        } else if self.steps.len() < STEPS {
            self.steps.push(Seen {
                at: now,
                last: now,
                times: 1,
                step,
            });
        }
    }
}

/// The loader that a path, a URL or a file name ends in.
pub fn loader(name: &str) -> Option<Loader> {
    Loader::from_file(name.rsplit(['/', '\\']).next()?)
}

fn cut(name: &str) -> Box<str> {
    name.chars()
        .filter(|c| !provisioner_api::text::is_invisible(*c))
        .take(NAME)
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
