// SPDX-License-Identifier: Apache-2.0
//! Offers wait for a moment in which whoever has their address already can say so. Pure: the caller sends the questions,
//! hears the answers and knows the time.
//!
//! RFC 2131, 2.2: "the allocating server SHOULD probe the reused address before allocating the address, e.g., with an
//! ICMP echo request". It is asked by ARP, which nothing on the cable leaves unanswered, and by that echo where a router
//! is between; and only once a minute: a machine that boots asks for its address three times.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use pxe::Mac;
use pxe::dhcp::Request;

use super::answer::Outgoing;
use crate::network::Advice;

/// Time for an answer: a cable takes a millisecond, a campus some, a card that sleeps a tenth of a second. Firmware waits
/// for seconds.
const LISTEN: Duration = Duration::from_millis(300);
/// For how long nobody's silence counts: as long as an offer is kept.
const CLEAR: Duration = Duration::from_mins(1);
/// Offers that wait, and addresses that are known to be free: a thousand machines that are switched on at once. What is
/// more is offered unchecked.
const CROWD: usize = 1024;
/// Addresses for which one card answers, within [`CLEAR`], before it is a router that answers for all (proxy ARP) and
/// says nothing about who uses them.
const ALIASES: usize = 8;

/// Addresses that are tried for one question: somebody who claims them all at once must not keep us busy. The client
/// asks again, and those that are taken rest by then.
const ROUNDS: u32 = 8;

/// The offers of a segment that wait.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Whether anything is checked at all.
    pub(super) enabled: bool,
    waiting: VecDeque<Waiting>,
    questions: Vec<Ipv4Addr>,
    /// Addresses that nobody answered for, and when.
    clear: HashMap<Ipv4Addr, Duration>,
    /// Who answers for what, lately.
    claims: HashMap<Mac, HashSet<Ipv4Addr>>,
    forget_claims: Duration,
    /// How many addresses were found taken for the question that is being answered.
    round: u32,
}

/// Somebody says that an address is his.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) address: Ipv4Addr,
    /// His card; cannot be seen behind a relay.
    pub(super) by: Option<Mac>,
}

/// An offer that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    due: Duration,
    /// What it offers.
    pub(super) address: Ipv4Addr,
    /// Who asked.
    pub(super) request: Request,
    /// What was known of it.
    pub(super) advice: Advice,
    offer: Outgoing,
    round: u32,
}

impl Checks {
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            ..Self::default()
        }
    }

    /// Passes an offer on that needs no waiting, or keeps it for a while.
    pub(super) fn pass(
        &mut self,
        request: &Request,
        advice: Advice,
        address: Ipv4Addr,
        offer: Outgoing,
        now: Duration,
    ) -> Option<Outgoing> {
        let is_clear = self.clear.get(&address).is_some_and(|at| now < *at + CLEAR);
        if !self.enabled || is_clear || self.waiting.len() >= CROWD {
            return Some(offer);
        }
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.address == address);
        if let Some(waiting) = waiting {
            // It asks again while it waits: it hears the answer to its last question.
            (waiting.request, waiting.offer) = (request.clone(), offer);
            return None;
        }
        self.questions.push(address);
        self.waiting.push_back(Waiting {
            due: now + LISTEN,
            address,
            request: request.clone(),
            advice,
            offer,
            round: self.round,
        });
        None
    }

    /// The addresses to ask for now.
    pub(super) fn take_questions(&mut self) -> Vec<Ipv4Addr> {
        std::mem::take(&mut self.questions)
    }

    /// When the next offer has waited long enough.
    pub(super) fn next(&self) -> Option<Duration> {
        self.waiting.front().map(|waiting| waiting.due)
    }

    /// Takes an offer that has waited: nobody has its address.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Outgoing> {
        if self.next().is_none_or(|due| now < due) {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        if self.clear.len() >= CROWD {
            self.clear.retain(|_, at| now < *at + CLEAR);
        }
        if self.clear.len() < CROWD {
            self.clear.insert(waiting.address, now);
        }
        Some(waiting.offer)
    }

    /// The offer that waits for an address that somebody has, and that must not be made.
    pub(super) fn claimed(&mut self, Claim { address, by }: Claim, now: Duration) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| waiting.address == address)?;
        let client = self.waiting[at].request.client.mac;
        if by.is_some_and(|by| by == client || self.answers_for_all(address, by, now)) {
            return None;
        }
        self.waiting.remove(at)
    }

    /// Whether to look for another address in place of one that is taken. What follows belongs to that search until
    /// [`Checks::searched`].
    pub(super) fn search(&mut self, waiting: &Waiting) -> bool {
        self.round = waiting.round + 1;
        self.round < ROUNDS
    }

    /// The search is over.
    pub(super) fn searched(&mut self) {
        self.round = 0;
    }

    fn answers_for_all(&mut self, address: Ipv4Addr, by: Mac, now: Duration) -> bool {
        if now >= self.forget_claims || self.claims.len() >= CROWD {
            self.claims.clear();
            self.forget_claims = now + CLEAR;
        }
        let addresses = self.claims.entry(by).or_default();
        if addresses.len() <= ALIASES {
            addresses.insert(address);
        }
        addresses.len() > ALIASES
    }

    /// Whether somebody was found to answer for every address.
    pub(super) fn is_blind(&self) -> Option<Mac> {
        let all = self.claims.iter().find(|(_, addresses)| addresses.len() > ALIASES);
        all.map(|(mac, _)| *mac)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pxe::dhcp::{Destination, probe};

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn mac(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([0x52, 0x54, a, b, c, d])
    }

    fn address(n: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x0a4d_0000 + n)
    }

    fn claim(address: Ipv4Addr, by: Mac) -> Claim {
        Claim { address, by: Some(by) }
    }

    /// Card `n` is to be offered address `n`.
    fn pass(checks: &mut Checks, n: u32, xid: u8, now: Duration) -> Option<Outgoing> {
        let request = Request::parse(&probe(mac(n), xid.into())).unwrap();
        let offer = Outgoing {
            bytes: vec![xid],
            destination: Destination::Broadcast,
            mac: mac(n),
            kind: "offer",
        };
        checks.pass(&request, Advice::default(), address(n), offer, now)
    }

    fn due(checks: &mut Checks, now: Duration) -> Vec<u8> {
        std::iter::from_fn(|| checks.take_due(now))
            .map(|offer| offer.bytes[0])
            .collect()
    }

    #[test]
    fn an_offer_waits_once_and_is_then_made_at_once() {
        let mut checks = Checks::new(true);
        assert_eq!(pass(&mut checks, 1, 7, NOW), None);
        assert_eq!(checks.take_questions(), [address(1)]);
        assert_eq!(due(&mut checks, NOW), [0; 0]);
        assert_eq!(checks.next(), Some(NOW + LISTEN));
        // It asks again meanwhile, and is not asked for again.
        assert_eq!(pass(&mut checks, 1, 8, NOW), None);
        assert_eq!(checks.take_questions(), [] as [Ipv4Addr; 0]);
        assert_eq!(due(&mut checks, NOW + LISTEN), [8]);
        assert!(pass(&mut checks, 1, 9, NOW + CLEAR).is_some());
        assert_eq!(
            pass(&mut checks, 1, 10, NOW + LISTEN + CLEAR),
            None,
            "that was a while ago"
        );
    }

    #[test]
    fn an_address_that_somebody_has_is_not_offered() {
        let mut checks = Checks::new(true);
        pass(&mut checks, 1, 7, NOW);
        assert!(checks.claimed(claim(address(2), mac(9)), NOW).is_none(), "not asked");
        assert!(
            checks.claimed(claim(address(1), mac(1)), NOW).is_none(),
            "it has it itself"
        );
        let waiting = checks.claimed(claim(address(1), mac(9)), NOW).unwrap();
        assert_eq!((waiting.address, waiting.request.client.mac), (address(1), mac(1)));
        assert_eq!(due(&mut checks, NOW + LISTEN), [0; 0]);
    }

    #[test]
    fn a_router_that_answers_for_every_address_takes_none() {
        let mut checks = Checks::new(true);
        let router = mac(0xffff);
        let (mut withheld, mut made) = (0, 0);
        for n in 0..100 {
            pass(&mut checks, n, 7, NOW);
            withheld += usize::from(checks.claimed(claim(address(n), router), NOW).is_some());
            made += due(&mut checks, NOW + LISTEN).len();
        }
        assert_eq!((withheld, made), (ALIASES, 100 - ALIASES));
        assert_eq!(checks.is_blind(), Some(router));
    }

    #[test]
    fn a_crowd_is_answered_and_takes_no_more_memory_than_a_lab() {
        let mut checks = Checks::new(true);
        let mut at_once = 0;
        for n in 0..100_000 {
            at_once += usize::from(pass(&mut checks, n, 7, NOW).is_some());
            checks.claimed(claim(address(n / 2), mac(n + 200_000)), NOW);
        }
        assert!(checks.waiting.len() <= CROWD && at_once > 0);
        due(&mut checks, NOW + LISTEN);
        assert!(checks.clear.len() <= CROWD && checks.claims.len() <= CROWD);
    }

    #[test]
    fn where_nothing_is_checked_nothing_waits() {
        let mut checks = Checks::new(false);
        assert!(pass(&mut checks, 1, 7, NOW).is_some());
        assert_eq!((checks.next(), checks.take_questions()), (None, vec![]));
    }
}
