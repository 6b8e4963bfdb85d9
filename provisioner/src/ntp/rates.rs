// SPDX-License-Identifier: Apache-2.0
//! How often an address may ask for the time.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Questions of one address a second: a room of PCs behind one that starts at once, each asking every other second.
const MOST: u32 = 64;
/// For how long is counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Addresses that are counted: more at once are a flood of made-up ones, of which each asks once.
const ADDRESSES: usize = 4096;

/// Counts questions.
#[derive(Debug, Default)]
pub(super) struct Rates {
    since: Option<Instant>,
    asked: HashMap<Ipv4Addr, u32>,
}

/// Whether a question is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is.
    Heard,
    /// It is the first that is too many.
    Warned,
    /// It is one after that.
    Ignored,
}

impl Rates {
    /// Somebody asks.
    pub(super) fn admit(&mut self, from: Ipv4Addr, now: Instant) -> Turn {
        if self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= WINDOW)
        {
            self.asked.clear();
            self.since = Some(now);
        }
        if self.asked.len() >= ADDRESSES && !self.asked.contains_key(&from) {
            return Turn::Heard;
        }
        let asked = self.asked.entry(from).or_default();
        *asked = asked.saturating_add(1);
        match *asked {
            ..=MOST => Turn::Heard,
            count if count == MOST + 1 => Turn::Warned,
            _ => Turn::Ignored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_is_told_once_and_heard_again_a_second_later() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let flood: Ipv4Addr = [10, 77, 0, 9].into();
        let turns: Vec<Turn> = (0..200).map(|_| rates.admit(flood, start)).collect();
        let count = |turn| turns.iter().filter(|other| **other == turn).count();
        assert_eq!((count(Turn::Heard), count(Turn::Warned)), (MOST as usize, 1));
        assert_eq!(rates.admit([10, 77, 0, 10].into(), start), Turn::Heard);
        assert_eq!(rates.admit(flood, start + WINDOW), Turn::Heard);
    }

    #[test]
    fn made_up_addresses_do_not_fill_the_memory() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        for number in 0..100_000_u32 {
            assert_eq!(rates.admit(number.into(), start), Turn::Heard);
        }
        assert!(rates.asked.len() <= ADDRESSES);
    }
}
