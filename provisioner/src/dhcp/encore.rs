// SPDX-License-Identifier: Apache-2.0
//! Proxy offers are said twice: at once, and again when the server that leases has made its own.
//!
//! Some firmware takes only what comes before the offer with the address, some only what comes after it, and iPXE goes on
//! without us when one packet is lost. Offers to single cards cannot be heard, so time stands in for them.

use std::collections::VecDeque;
use std::time::Duration;

use super::answer::Outgoing;

/// Between the two. Home routers offer within this time; firmware waits for seconds for more offers, iPXE for two.
const LATER: Duration = Duration::from_millis(400);
/// Offers that may wait: a thousand machines that are switched on at once.
const WAITING: usize = 1024;

/// Offers that will be said again.
#[derive(Debug, Default)]
pub(super) struct Encores(VecDeque<Encore>);

#[derive(Debug)]
struct Encore {
    due: Duration,
    xid: u32,
    offer: Outgoing,
}

impl Encores {
    /// Says this offer again later. A client that asks again begins anew.
    pub(super) fn add(&mut self, xid: u32, offer: Outgoing, now: Duration) {
        self.0.retain(|encore| encore.xid != xid);
        if self.0.len() >= WAITING {
            self.0.pop_front();
        }
        let due = now + LATER;
        self.0.push_back(Encore { due, xid, offer });
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.front().map(|encore| encore.due)
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Outgoing> {
        let due = self.next().is_some_and(|due| due <= now);
        due.then(|| self.0.pop_front()).flatten().map(|encore| encore.offer)
    }

    /// The server that leases has made its offer in this transaction.
    pub(super) fn take_heard(&mut self, xid: u32) -> Option<Outgoing> {
        let at = self.0.iter().position(|encore| encore.xid == xid)?;
        self.0.remove(at).map(|encore| encore.offer)
    }
}

#[cfg(test)]
mod tests {
    use pxe::Mac;
    use pxe::dhcp::Destination;

    use super::*;

    fn offer(n: u8) -> Outgoing {
        Outgoing {
            bytes: vec![n],
            destination: Destination::Broadcast,
            mac: Mac([2, 0, 0, 0, 0, n]),
            kind: "proxy",
        }
    }

    #[test]
    fn an_offer_is_said_once_more_and_only_once() {
        let mut encores = Encores::default();
        encores.add(7, offer(1), Duration::ZERO);
        assert_eq!(encores.take_due(Duration::ZERO), None);
        assert_eq!(encores.next(), Some(LATER));
        assert_eq!(encores.take_due(LATER), Some(offer(1)));
        assert_eq!((encores.take_due(LATER * 2), encores.next()), (None, None));
    }

    #[test]
    fn the_other_servers_offer_is_followed_at_once() {
        let mut encores = Encores::default();
        encores.add(7, offer(1), Duration::ZERO);
        encores.add(8, offer(2), Duration::ZERO);
        assert_eq!(encores.take_heard(9), None);
        assert_eq!(encores.take_heard(8), Some(offer(2)));
        assert_eq!((encores.take_heard(8), encores.take_due(LATER)), (None, Some(offer(1))));
    }

    #[test]
    fn a_crowd_is_answered_and_not_remembered_for_ever() {
        let mut encores = Encores::default();
        for xid in 0..100_000 {
            encores.add(xid, offer(1), Duration::ZERO);
            encores.add(xid, offer(1), Duration::ZERO);
        }
        assert_eq!(encores.0.len(), WAITING);
    }
}
