// SPDX-License-Identifier: Apache-2.0
//! Who gets a connection: shares for all together, for one address, and for those who are known, so that strangers cannot
//! take the places of nodes and operators. Knows numbers, no sockets.
//!
//! A place is *busy* while a request is worked on or its answer is sent, and *idle* otherwise: during a TLS handshake,
//! while a head trickles in, between two requests. When strangers have all the places that strangers may have, the
//! one that has been idle longest gives way: whoever means it is idle for milliseconds.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Share;

/// What one listener gives to those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From everybody together.
    pub total: usize,
    /// From one address.
    pub per_address: usize,
    /// Time for a TLS handshake. On a LAN it takes milliseconds, on a 15-year-old Atom a second.
    pub handshake: Duration,
    /// Time from the last answer to the end of the next request's head: also how long an idle connection is kept.
    /// Longer than the pause between two heartbeats, so that a node does not shake hands for each of them.
    pub head: Duration,
    /// The same for connections beyond [`CROWD`], which are worth more to others than to those who do not use them.
    pub crowded_head: Duration,
}

/// Connections from which on idle ones are not kept for long. Each costs 25 KB with TLS: a thousand nodes that keep
/// one for their next heartbeat, besides the one on which they wait for orders, would fill 25 MB for nothing.
const CROWD: usize = 100;

impl From<Share> for Limits {
    fn from(share: Share) -> Self {
        Self {
            total: share.total,
            per_address: share.per_address,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(40),
            crowded_head: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
impl Default for Limits {
    fn default() -> Self {
        Self::from(Share {
            total: 4096,
            per_address: 64,
        })
    }
}

/// Of all places one in so many is kept for those who are more than strangers, and as many again for those who are known.
const RESERVED: usize = 8;

/// Addresses of operators that are remembered: more than a lab has.
const OPERATORS: usize = 64;

/// How well the server knows who connects. The better known, the more places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Standing {
    /// Nobody that the server knows, or nobody yet.
    Stranger,
    /// A machine that has registered and that nobody has approved.
    Registered,
    /// An approved node, an operator, this machine itself.
    Known,
}

impl Standing {
    const ALL: [Self; 3] = [Self::Stranger, Self::Registered, Self::Known];
}

/// Tells who is known.
pub trait Callers: Send + Sync {
    /// Whose key this is, as hex of the SHA-256 of its public half.
    fn by_key(&self, key: &str) -> Standing;
    /// Whose address this is. Asked only where places are scarce.
    fn by_address(&self, address: IpAddr) -> Standing;
}

/// Counts the connections of one listener.
pub struct Gate {
    limits: Limits,
    callers: Arc<dyn Callers>,
    open: Mutex<Open>,
    /// Rises whenever a connection becomes idle.
    turns: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    seats: HashMap<u64, Arc<Seat>>,
    /// By [`Standing`].
    standing: [usize; Standing::ALL.len()],
    by_address: HashMap<IpAddr, usize>,
    /// Addresses from which valid tokens came last.
    operators: VecDeque<IpAddr>,
    next: u64,
}

/// One connection as its gate sees it.
#[derive(Debug)]
struct Seat {
    number: u64,
    address: Option<IpAddr>,
    standing: AtomicU8,
    /// The turn at which it became idle; [`BUSY`] while it is not.
    idle_since: AtomicU64,
    given_up: CancellationToken,
}

/// No turn: a request is being answered.
const BUSY: u64 = u64::MAX;

/// The right to one connection; given back when dropped.
pub(super) struct Admitted {
    place: Place,
    listener: &'static str,
    head: Duration,
}

/// A connection's place, for those who find out more about who is at its other end.
#[derive(Clone)]
pub(super) struct Place {
    gate: Arc<Gate>,
    seat: Arc<Seat>,
}

/// While it lives, a request is being answered.
pub(super) struct Busy(Place);

impl Gate {
    /// A gate with nobody inside.
    pub fn new(limits: Limits, callers: Arc<dyn Callers>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            callers,
            open: Mutex::default(),
            turns: AtomicU64::default(),
        })
    }

    /// Lets one more in, or not. Without an address it is this machine that connects, and counts only in total.
    pub(super) fn admit(self: &Arc<Self>, listener: &'static str, address: Option<IpAddr>) -> Option<Admitted> {
        let address = address.map(neighbourhood);
        let mut open = self.open();
        let is_scarce = open.seats.len() >= self.share(Standing::Stranger);
        let standing = match address {
            None => Standing::Known,
            Some(address) if open.operators.contains(&address) => Standing::Known,
            Some(address) if is_scarce => self.callers.by_address(address),
            Some(_) => Standing::Stranger,
        };
        let from_there = address.map_or(0, |address| open.by_address.get(&address).copied().unwrap_or(0));
        let refused = if from_there >= self.limits.per_address {
            Some("address")
        } else if !self.has_room(&mut open, standing) {
            Some("total")
        } else {
            None
        };
        if let Some(limit) = refused {
            metrics::counter!("gleaner_http_connections_refused_total", "listener" => listener, "limit" => limit)
                .increment(1);
            return None;
        }
        let seat = open.seat(address, standing, self.turn());
        let head = if open.seats.len() > CROWD {
            self.limits.crowded_head
        } else {
            self.limits.head
        };
        drop(open);
        metrics::gauge!("gleaner_http_connections", "listener" => listener).increment(1);
        let gate = Arc::clone(self);
        Some(Admitted {
            place: Place { gate, seat },
            listener,
            head,
        })
    }

    /// Whether there is a place for somebody of this standing: in the share of those who are known no better, and in the
    /// shares that this is a part of.
    fn has_room(&self, open: &mut Open, standing: Standing) -> bool {
        let shares = Standing::ALL.into_iter().filter(|share| *share >= standing);
        shares.into_iter().all(|share| open.make_room(share, self.share(share)))
    }

    /// Places that those of this standing may have, together with those who are known less.
    fn share(&self, standing: Standing) -> usize {
        let reserved = self.limits.total / RESERVED;
        match standing {
            Standing::Stranger => self.limits.total - 2 * reserved,
            Standing::Registered => self.limits.total - reserved,
            Standing::Known => self.limits.total,
        }
    }

    fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Whether one of the `share` places is free, or becomes it, that are for those of this standing and those who are
    /// known less.
    fn make_room(&mut self, standing: Standing, share: usize) -> bool {
        let taken: usize = Standing::ALL
            .iter()
            .zip(self.standing)
            .filter(|(other, _)| **other <= standing)
            .map(|(_, count)| count)
            .sum();
        if taken < share {
            return true;
        }
        let Some(longest_idle) = self.longest_idle(standing) else {
            return false;
        };
        metrics::counter!("gleaner_http_connections_given_up_total").increment(1);
        longest_idle.given_up.cancel();
        self.leave(&longest_idle);
        true
    }

    /// Of those who are not known better than this, one who is known least, and of these the one that was idle longest.
    fn longest_idle(&self, standing: Standing) -> Option<Arc<Seat>> {
        let idle = self.seats.values().filter_map(|seat| {
            let since = seat.idle_since.load(Ordering::Relaxed);
            let is_idle = since != BUSY && seat.standing() <= standing;
            is_idle.then(|| (seat.standing(), since, seat))
        });
        let first = idle.min_by_key(|(standing, since, _)| (*standing, *since));
        first.map(|(.., seat)| Arc::clone(seat))
    }

    fn seat(&mut self, address: Option<IpAddr>, standing: Standing, turn: u64) -> Arc<Seat> {
        let seat = Arc::new(Seat {
            number: self.next,
            address,
            standing: AtomicU8::new(standing as u8),
            idle_since: AtomicU64::new(turn),
            given_up: CancellationToken::new(),
        });
        self.next += 1;
        self.standing[standing as usize] += 1;
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += 1;
        }
        self.seats.insert(seat.number, Arc::clone(&seat));
        seat
    }

    /// Its place is free. One that had to give way has left already.
    fn leave(&mut self, seat: &Seat) {
        if self.seats.remove(&seat.number).is_none() {
            return;
        }
        self.standing[seat.standing() as usize] -= 1;
        if let Some(address) = seat.address
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Seat {
    fn standing(&self) -> Standing {
        let standing = self.standing.load(Ordering::Relaxed);
        Standing::ALL
            .into_iter()
            .find(|other| *other as u8 == standing)
            .unwrap_or(Standing::Stranger)
    }
}

impl Place {
    /// Its other end has shown this key.
    pub(super) fn has_key(&self, key: &str) {
        self.is(self.gate.callers.by_key(key));
    }

    /// Its other end has shown a valid token.
    pub(super) fn is_operators(&self) {
        self.is(Standing::Known);
        let Some(address) = self.seat.address else { return };
        let mut open = self.gate.open();
        if !open.operators.contains(&address) {
            open.operators.push_back(address);
            if open.operators.len() > OPERATORS {
                open.operators.pop_front();
            }
        }
    }

    fn is(&self, standing: Standing) {
        let mut open = self.gate.open();
        let before = self.seat.standing();
        if standing > before && open.seats.contains_key(&self.seat.number) {
            open.standing[before as usize] -= 1;
            open.standing[standing as usize] += 1;
            self.seat.standing.store(standing as u8, Ordering::Relaxed);
        }
    }

    /// A request has arrived.
    pub(super) fn busy(&self) -> Busy {
        self.seat.idle_since.store(BUSY, Ordering::Relaxed);
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.seat.idle_since.store(self.0.gate.turn(), Ordering::Relaxed);
    }
}

impl Admitted {
    /// The place that was given.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Time for a TLS handshake.
    pub(super) fn handshake(&self) -> Duration {
        self.place.gate.limits.handshake
    }

    /// Time for the head of a request.
    pub(super) const fn head(&self) -> Duration {
        self.head
    }

    /// Waits until this connection has to give way to another one.
    pub(super) async fn given_up(&self) {
        self.place.seat.given_up.cancelled().await;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.place.gate.open().leave(&self.place.seat);
        metrics::gauge!("gleaner_http_connections", "listener" => self.listener).decrement(1);
    }
}

/// One machine: an IPv4 address, or the /64 in which an IPv6 host picks as many addresses as it likes.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Callers of whom nobody is known.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Strangers;

#[cfg(test)]
impl Callers for Strangers {
    fn by_key(&self, _: &str) -> Standing {
        Standing::Stranger
    }

    fn by_address(&self, _: IpAddr) -> Standing {
        Standing::Stranger
    }
}

#[cfg(test)]
mod tests;
