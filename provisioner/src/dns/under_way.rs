// SPDX-License-Identifier: Apache-2.0
//! Questions under way to other name servers, and who has to give way when there are too many. Knows no packet.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Questions from everybody together. A busy room has a few; without a limit a dead server would hold any number.
const MAX_QUESTIONS: usize = 256;
/// Questions from one address. A browser has some ten.
const MAX_PER_CLIENT: usize = 32;

/// All questions under way, the oldest first.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<VecDeque<Waiting>>);

#[derive(Debug)]
struct Waiting {
    client: Ipv4Addr,
    given_up: CancellationToken,
}

/// The right to wait for one answer; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    under_way: Arc<UnderWay>,
    given_up: CancellationToken,
}

impl UnderWay {
    /// One more question of this client; `None` where it has too many already. Where all together have too many, whoever
    /// has most gives up the oldest: names that are answered take milliseconds, so that only slow ones are ever that old.
    pub(super) fn begin(self: &Arc<Self>, client: Ipv4Addr) -> Option<Turn> {
        let mut waiting = self.waiting();
        if waiting.iter().filter(|other| other.client == client).count() >= MAX_PER_CLIENT {
            return None;
        }
        if waiting.len() >= MAX_QUESTIONS
            && let Some(oldest) = oldest_of_the_busiest(&waiting).and_then(|at| waiting.remove(at))
        {
            oldest.given_up.cancel();
        }
        let given_up = CancellationToken::new();
        waiting.push_back(Waiting {
            client,
            given_up: given_up.clone(),
        });
        Some(Turn {
            under_way: Arc::clone(self),
            given_up,
        })
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the oldest question stands of the client that has most.
fn oldest_of_the_busiest(waiting: &VecDeque<Waiting>) -> Option<usize> {
    let mut counts: HashMap<Ipv4Addr, usize> = HashMap::new();
    for one in waiting {
        *counts.entry(one.client).or_default() += 1;
    }
    let most = counts.values().max()?;
    waiting.iter().position(|one| counts.get(&one.client) == Some(most))
}

impl Turn {
    /// Waits until this question has to give way to a younger one.
    pub(super) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // No other question has this token, and one that was given up is not in the list any more.
        self.given_up.cancel();
        self.under_way
            .waiting()
            .retain(|waiting| !waiting.given_up.is_cancelled());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn client(number: usize) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 0, 0)) + u32::try_from(number).unwrap())
    }

    #[test]
    fn one_client_cannot_take_all_the_places() {
        let under_way = Arc::new(UnderWay::default());
        let greedy: Vec<_> = (0..1000).filter_map(|_| under_way.begin(client(9))).collect();
        assert_eq!(greedy.len(), MAX_PER_CLIENT);
        assert!(under_way.begin(client(1)).is_some());
        drop(greedy);
        assert!(under_way.begin(client(9)).is_some());
        assert!(under_way.waiting().is_empty());
    }

    #[test]
    fn whoever_asks_little_does_not_give_way_to_those_who_ask_much() {
        let under_way = Arc::new(UnderWay::default());
        let first = under_way.begin(client(0)).unwrap();
        let flood: Vec<_> = (0..600)
            .map(|number| under_way.begin(client(1 + number % 20)).unwrap())
            .collect();
        assert!(!first.given_up.is_cancelled());
        assert!(flood[0].given_up.is_cancelled());
        assert_eq!(under_way.waiting().len(), MAX_QUESTIONS);
    }

    #[test]
    fn when_there_are_too_many_the_oldest_gives_way() {
        let under_way = Arc::new(UnderWay::default());
        let slow: Vec<_> = (0..MAX_QUESTIONS)
            .map(|number| under_way.begin(client(number)).unwrap())
            .collect();
        let quick = under_way.begin(client(MAX_QUESTIONS)).unwrap();
        assert!(slow[0].given_up.is_cancelled() && !slow[1].given_up.is_cancelled());
        assert!(!quick.given_up.is_cancelled());
        assert_eq!(under_way.waiting().len(), MAX_QUESTIONS);
        drop(slow);
        assert_eq!(under_way.waiting().len(), 1, "only the quick one is left");
    }
}
