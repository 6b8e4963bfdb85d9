// SPDX-License-Identifier: Apache-2.0
//! Cards that were seen on the wire lately. A sighting is a hint for people: it makes no node and changes none.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Cards kept. A lab has a few hundred; a liar who invents hundred thousand pushes out only his own and old ones.
const KEPT: usize = 1024;

/// The latest sightings.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    cards: HashMap<String, Card>,
    /// Cards in the order of their first sighting.
    order: VecDeque<String>,
}

/// What was seen of one card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// Unix milliseconds of the last sighting.
    pub at: i64,
    /// Interface of the server.
    pub interface: String,
    /// What it is and what it was told, for a person.
    pub what: String,
    /// How often.
    pub times: u64,
}

impl Sightings {
    /// A card was seen.
    pub fn note(&self, mac: &str, interface: &str, what: &str, now: i64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.cards.contains_key(mac) {
            if kept.order.len() >= KEPT
                && let Some(oldest) = kept.order.pop_front()
            {
                kept.cards.remove(&oldest);
            }
            kept.order.push_back(mac.to_owned());
        }
        let card = kept.cards.entry(mac.to_owned()).or_default();
        card.at = now;
        interface.clone_into(&mut card.interface);
        what.clone_into(&mut card.what);
        card.times += 1;
    }

    /// What was seen of a card.
    pub fn of(&self, mac: &str) -> Option<Card> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cards
            .get(mac)
            .cloned()
    }

    /// Cards kept.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cards.len()
    }

    /// Whether no card was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_cards_leave_a_bounded_trace() {
        let sightings = Sightings::default();
        for number in 0..100_000 {
            sightings.note(&format!("card {number}"), "eth0", "", number);
        }
        assert_eq!(sightings.len(), KEPT);
        assert!(sightings.of("card 0").is_none());
        assert_eq!(sightings.of("card 99999").map(|card| card.at), Some(99_999));
    }
}
