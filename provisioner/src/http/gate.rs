// SPDX-License-Identifier: Apache-2.0
//! What strangers may use up: connections in total and from one address, and time. Knows numbers, no sockets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

/// Counts the connections of one listener.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The right to one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    gate: Arc<Gate>,
    listener: &'static str,
    address: Option<IpAddr>,
    head: Duration,
}

impl Gate {
    /// A gate with nobody inside.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            open: Mutex::default(),
        })
    }

    /// Lets one more in, or not. Without an address it counts only in total.
    pub(super) fn admit(self: &Arc<Self>, listener: &'static str, address: Option<IpAddr>) -> Option<Admitted> {
        let address = address.map(neighbourhood);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let from_there = address.map_or(0, |address| open.by_address.get(&address).copied().unwrap_or(0));
        let refused = if open.total >= self.limits.total {
            Some("total")
        } else if from_there >= self.limits.per_address {
            Some("address")
        } else {
            None
        };
        if let Some(limit) = refused {
            metrics::counter!("gleaner_http_connections_refused_total", "listener" => listener, "limit" => limit)
                .increment(1);
            return None;
        }
        open.total += 1;
        let head = if open.total > CROWD {
            self.limits.crowded_head
        } else {
            self.limits.head
        };
        if let Some(address) = address {
            open.by_address.insert(address, from_there + 1);
        }
        metrics::gauge!("gleaner_http_connections", "listener" => listener).increment(1);
        Some(Admitted {
            gate: self.clone(),
            listener,
            address,
            head,
        })
    }
}

impl Admitted {
    /// Time for a TLS handshake.
    pub(super) fn handshake(&self) -> Duration {
        self.gate.limits.handshake
    }

    /// Time for the head of a request.
    pub(super) const fn head(&self) -> Duration {
        self.head
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.gate.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(address) = self.address
            && let Some(count) = open.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn gate() -> Arc<Gate> {
        Gate::new(Limits {
            total: 3,
            per_address: 2,
            ..Limits::default()
        })
    }

    fn from(gate: &Arc<Gate>, address: &str) -> Option<Admitted> {
        gate.admit("http", Some(address.parse().unwrap()))
    }

    #[test]
    fn one_address_cannot_take_all_the_places() {
        let gate = gate();
        let held = [from(&gate, "192.0.2.1"), from(&gate, "192.0.2.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(from(&gate, "192.0.2.1").is_none());
        assert!(from(&gate, "192.0.2.2").is_some());
        drop(held);
        assert!(from(&gate, "192.0.2.1").is_some());
    }

    #[test]
    fn all_together_cannot_take_more_than_there_are() {
        let gate = gate();
        let _held: Vec<_> = (1..=3).map(|n| from(&gate, &format!("192.0.2.{n}")).unwrap()).collect();
        assert!(from(&gate, "192.0.2.9").is_none());
        assert!(gate.admit("control", None).is_none());
    }

    #[test]
    fn who_comes_to_a_crowd_may_not_stay_for_nothing() {
        let gate = Gate::new(Limits::default());
        let held: Vec<_> = (0..=CROWD).map(|_| gate.admit("api", None).unwrap()).collect();
        assert_eq!(held[0].head(), Limits::default().head);
        assert_eq!(held[CROWD].head(), Limits::default().crowded_head);
    }

    #[test]
    fn an_ipv6_host_is_one_host_however_many_addresses_it_picks() {
        let gate = gate();
        let _held = [from(&gate, "2001:db8::1").unwrap(), from(&gate, "2001:db8::2").unwrap()];
        assert!(from(&gate, "2001:db8::3").is_none());
        assert!(from(&gate, "2001:db8:0:1::3").is_some());
    }

    #[test]
    fn places_that_were_given_back_leave_nothing_behind() {
        let gate = gate();
        for n in 0..10_000 {
            drop(from(&gate, &format!("10.0.{}.{}", n / 256, n % 256)));
        }
        let open = gate.open.lock().unwrap();
        assert_eq!((open.total, open.by_address.len()), (0, 0));
    }
}
