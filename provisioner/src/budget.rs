// SPDX-License-Identifier: Apache-2.0
//! How often one caller may do what costs the server a write, a line of the log or an event.
//!
//! A bucket of turns for each caller: it holds some for a burst, and is filled steadily. What is not heard now is asked
//! again by its caller after a pause; nothing is lost but time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Callers that are counted at once. One that has all its turns is forgotten first; where all have spent some, a new one
/// has to wait: a flood of made-up addresses must not make room for itself.
const CALLERS: usize = 16_384;

/// Turns of many callers.
#[derive(Debug)]
pub struct Budget<K> {
    burst: u32,
    /// Milliseconds in which one turn comes back.
    pace: i64,
    all: Mutex<All<K>>,
}

#[derive(Debug)]
struct All<K> {
    spent: HashMap<K, Spent>,
    /// When those were last forgotten that have all their turns: it costs a walk, which nobody may cause at will.
    tidied: i64,
}

#[derive(Clone, Copy, Debug)]
struct Spent {
    turns: u32,
    /// Until when what came back is counted.
    at: i64,
}

impl<K: Eq + Hash> Budget<K> {
    /// `burst` turns at once, and one more every `pace` milliseconds.
    pub fn new(burst: u32, pace: i64) -> Self {
        Self {
            burst,
            pace: pace.max(1),
            all: Mutex::new(All {
                spent: HashMap::new(),
                tidied: i64::MIN,
            }),
        }
    }

    /// Takes a turn; whether there was one.
    pub fn take(&self, caller: K, now: i64) -> bool {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.spent.len() >= CALLERS && !all.spent.contains_key(&caller) {
            if now.saturating_sub(all.tidied) >= self.pace || now < all.tidied {
                all.tidied = now;
                all.spent.retain(|_, spent| self.now(*spent, now).turns > 0);
            }
            if all.spent.len() >= CALLERS {
                return false;
            }
        }
        let spent = all.spent.entry(caller).or_insert(Spent { turns: 0, at: now });
        *spent = self.now(*spent, now);
        if spent.turns >= self.burst {
            return false;
        }
        spent.turns += 1;
        true
    }

    /// What is spent once what has come back is counted. A clock that went back gives nothing and takes nothing.
    fn now(&self, spent: Spent, now: i64) -> Spent {
        let back = (now - spent.at).max(0) / self.pace;
        let turns = u32::try_from(back).map_or(0, |back| spent.turns.saturating_sub(back));
        let at = if now < spent.at || turns == 0 {
            now
        } else {
            spent.at + back * self.pace
        };
        Spent { turns, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_heard_and_then_one_each_pace_and_nobody_pays_for_another() {
        let budget = Budget::new(3, 1000);
        let heard = |caller, now| (0..10).filter(|_| budget.take(caller, now)).count();
        assert_eq!(heard(1, 0), 3);
        assert_eq!(heard(1, 999), 0);
        assert_eq!(heard(1, 2000), 2);
        assert_eq!(heard(2, 2000), 3);
        assert_eq!(heard(1, 1_000_000), 3, "no more than a burst is saved up");
    }

    #[test]
    fn a_clock_that_jumps_back_stops_nobody_for_ever() {
        let budget = Budget::new(1, 1000);
        assert!(budget.take(1, 1_000_000_000));
        assert!(!budget.take(1, 0));
        assert!(budget.take(1, 1000));
    }

    #[test]
    fn a_flood_of_callers_takes_no_more_memory_than_is_counted() {
        let budget = Budget::new(1, 1000);
        let heard = (0..10 * CALLERS).filter(|caller| budget.take(*caller, 0)).count();
        assert_eq!(heard, CALLERS);
        assert!(budget.take(usize::MAX, 1000), "in time all are forgotten");
    }
}
