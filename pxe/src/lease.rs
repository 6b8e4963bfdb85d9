// SPDX-License-Identifier: Apache-2.0
//! Which address belongs to whom: the arithmetic of one pool.
//!
//! A client is its card. Firmware, loader and system of one machine send different client identifiers (option 61)
//! and would take three addresses where they share one, as they should; so that option decides nothing here.
//!
//! `now` and all times are seconds since 1970. Memory is a fixed number of bytes an address, whoever asks.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use crate::Mac;

/// Seconds for which an offer is kept: firmware takes up to 15 to choose, and tries again within 60.
const OFFER: u64 = 60;
/// Seconds after which an unconfirmed offer may go to somebody else when addresses run short. UEFI collects offers
/// for 4 before it chooses.
const OFFER_AT_LEAST: u64 = 8;
/// Seconds for which a declined address rests: whoever uses it has been found by then, or is gone.
const REST: u64 = 3600;
/// One in this many addresses is kept for known machines, and at most as many rest: nobody on the wire can take
/// all addresses, however many cards he invents.
const SHARE: usize = 4;
/// Largest pool: what a /16 holds. More addresses only cost memory.
pub const LARGEST: usize = 65_536;

/// An address and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The card.
    pub mac: Mac,
    /// Until when.
    pub until: u64,
    /// Whether the card belonged to a known machine when it got the address.
    pub known: bool,
}

/// Why a client cannot have the address that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not one of ours to give.
    #[error("that address is not in the pool of this network")]
    NotInPool,
    /// It is somebody else's.
    #[error("that address is in use")]
    Taken,
    /// Another address is kept for this client.
    #[error("another address is reserved for this client")]
    Reserved,
    /// What is left is for known machines.
    #[error("no address is left for unknown machines")]
    Full,
}

/// All addresses of a pool and whose they are.
#[derive(Clone, Debug)]
pub struct Table {
    first: u32,
    slots: Vec<Slot>,
    /// The slot that a card has or had last.
    by_mac: HashMap<Mac, u32>,
    /// Free slots, by when they were last used: the one unused for the longest time is given first.
    free: BTreeSet<(u64, u32)>,
    /// Slots that are held, by when that ends.
    held: BTreeSet<(u64, u32)>,
    /// Offers that nobody has confirmed, by when they were made.
    offers: BTreeSet<(u64, u32)>,
    /// Slots that rest, by when that ends.
    resting: BTreeSet<(u64, u32)>,
    /// Slots held by unknown machines.
    strangers: usize,
    /// Addresses that can be given at all.
    capacity: usize,
}

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Never given, or by nobody to be remembered.
    Free { used: u64 },
    /// Free, but its last holder would get it again.
    Was { mac: Mac, used: u64 },
    /// Offered, not confirmed.
    Offered { mac: Mac, known: bool, at: u64 },
    /// Given.
    Bound { mac: Mac, known: bool, until: u64 },
    /// Declined: somebody uses it who did not get it from us.
    Resting { until: u64 },
    /// Never to be given: the server's own.
    Ours,
}

impl Table {
    /// The pool from `first` to `last`, both included, without `ours`.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr, ours: &[Ipv4Addr]) -> Self {
        let (first, last) = (u32::from(first), u32::from(last));
        let size = if last < first { 0 } else { (last - first) as usize + 1 }.min(LARGEST);
        let mut table = Self {
            first,
            slots: vec![Slot::Free { used: 0 }; size],
            by_mac: HashMap::new(),
            free: (0..).take(size).map(|index| (0, index)).collect(),
            held: BTreeSet::new(),
            offers: BTreeSet::new(),
            resting: BTreeSet::new(),
            strangers: 0,
            capacity: size,
        };
        for address in ours {
            if let Some(index) = table.index(*address)
                && table.slots[index as usize] != Slot::Ours
            {
                table.put(index, Slot::Ours);
                table.capacity -= 1;
            }
        }
        table
    }

    /// An address to offer to a card: the one it has or had, else the one it wishes, else the one that was unused
    /// for the longest time. `None` when there is none for the likes of it.
    pub fn offer(&mut self, mac: Mac, known: bool, wish: Option<Ipv4Addr>, now: u64) -> Option<Ipv4Addr> {
        self.expire(now);
        let index = match self.by_mac.get(&mac) {
            Some(&index) => match self.slots[index as usize] {
                // What it has, it keeps; confirming is for the request.
                Slot::Bound { .. } => return Some(self.address(index)),
                Slot::Offered { .. } => Some(index),
                _ => self.may_take(known).then_some(index),
            },
            None => self
                .wished(wish)
                .or_else(|| self.longest_unused())
                .filter(|_| self.may_take(known)),
        };
        // All are held, or all that a stranger may hold: the oldest offer that nobody wanted is the first to go.
        let index = index.or_else(|| self.stale_offer(known, now))?;
        self.put(index, Slot::Offered { mac, known, at: now });
        Some(self.address(index))
    }

    /// Gives a card the address that it asks for.
    pub fn bind(&mut self, mac: Mac, known: bool, address: Ipv4Addr, lease: u64, now: u64) -> Result<Lease, Refusal> {
        self.expire(now);
        let index = self.index(address).ok_or(Refusal::NotInPool)?;
        match self.slots[index as usize] {
            Slot::Offered { mac: holder, .. } | Slot::Bound { mac: holder, .. } if holder == mac => {}
            // The server may have lost its memory, and the client may have slept: it can have it back.
            Slot::Free { .. } | Slot::Was { .. } if self.holds(mac) || self.may_take(known) => {}
            Slot::Free { .. } | Slot::Was { .. } => return Err(Refusal::Full),
            _ => return Err(Refusal::Taken),
        }
        let until = now + lease;
        self.put(index, Slot::Bound { mac, known, until });
        Ok(Lease {
            address,
            mac,
            until,
            known,
        })
    }

    /// The client chose another server, so its offer is free.
    pub fn withdraw(&mut self, mac: Mac) {
        if let Some(&index) = self.by_mac.get(&mac)
            && let Slot::Offered { .. } = self.slots[index as usize]
        {
            self.put(index, Slot::Free { used: 0 });
        }
    }

    /// The client gives its address back. `true` if it had it.
    pub fn release(&mut self, mac: Mac, address: Ipv4Addr, now: u64) -> bool {
        let Some(index) = self.held_by(mac, address) else {
            return false;
        };
        self.put(index, Slot::Was { mac, used: now });
        true
    }

    /// The client found somebody else at its address, which is then left alone for a while. `true` if it had it.
    pub fn decline(&mut self, mac: Mac, address: Ipv4Addr, now: u64) -> bool {
        let Some(index) = self.held_by(mac, address) else {
            return false;
        };
        self.put(index, Slot::Resting { until: now + REST });
        if self.resting.len() > (self.capacity / SHARE).max(1)
            && let Some(&(_, oldest)) = self.resting.first()
        {
            self.put(oldest, Slot::Free { used: now });
        }
        true
    }

    /// Takes over what the lease log remembers; of several entries for a card or an address the last one counts.
    pub fn restore(&mut self, lease: Lease) {
        if let Some(index) = self.index(lease.address)
            && self.slots[index as usize] != Slot::Ours
        {
            self.put(
                index,
                Slot::Bound {
                    mac: lease.mac,
                    known: lease.known,
                    until: lease.until,
                },
            );
        }
    }

    /// Whether an address was given to a card, for a time that has not run out when it was looked at last.
    pub fn is_bound(&self, mac: Mac, address: Ipv4Addr) -> bool {
        self.index(address)
            .is_some_and(|index| matches!(self.slots[index as usize], Slot::Bound { mac: holder, .. } if holder == mac))
    }

    /// Every address that is given.
    pub fn leases(&self) -> impl Iterator<Item = Lease> {
        self.held
            .iter()
            .filter_map(|&(_, index)| match self.slots[index as usize] {
                Slot::Bound { mac, known, until } => Some(Lease {
                    address: self.address(index),
                    mac,
                    until,
                    known,
                }),
                _ => None,
            })
    }

    /// Addresses that are given or offered, and all that can be.
    pub fn usage(&self) -> (usize, usize) {
        (self.held.len(), self.capacity)
    }

    /// Whether `address` is one of this pool's.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.index(address).is_some()
    }

    /// Most addresses that unknown machines may hold.
    fn strangers_at_most(&self) -> usize {
        self.capacity - (self.capacity / SHARE)
    }

    fn may_take(&self, known: bool) -> bool {
        known || self.strangers < self.strangers_at_most()
    }

    fn holds(&self, mac: Mac) -> bool {
        self.by_mac
            .get(&mac)
            .is_some_and(|&index| matches!(self.slots[index as usize], Slot::Offered { .. } | Slot::Bound { .. }))
    }

    fn held_by(&self, mac: Mac, address: Ipv4Addr) -> Option<u32> {
        let index = self.index(address)?;
        match self.slots[index as usize] {
            Slot::Offered { mac: holder, .. } | Slot::Bound { mac: holder, .. } if holder == mac => Some(index),
            _ => None,
        }
    }

    fn wished(&self, wish: Option<Ipv4Addr>) -> Option<u32> {
        let index = self.index(wish?)?;
        // Somebody else's last address is his as long as there are others.
        matches!(self.slots[index as usize], Slot::Free { .. }).then_some(index)
    }

    fn longest_unused(&self) -> Option<u32> {
        self.free.first().map(|&(_, index)| index)
    }

    fn stale_offer(&self, known: bool, now: u64) -> Option<u32> {
        self.offers
            .iter()
            .take_while(|(at, _)| at + OFFER_AT_LEAST <= now)
            .map(|&(_, index)| index)
            .find(|&index| known || matches!(self.slots[index as usize], Slot::Offered { known: false, .. }))
    }

    /// Frees what has run out.
    fn expire(&mut self, now: u64) {
        while let Some(index) = self.due(now) {
            let freed = match self.slots[index as usize] {
                Slot::Bound { mac, until, .. } => Slot::Was { mac, used: until },
                _ => Slot::Free { used: 0 },
            };
            self.put(index, freed);
        }
    }

    fn due(&self, now: u64) -> Option<u32> {
        let first = [self.held.first(), self.resting.first()];
        first
            .into_iter()
            .flatten()
            .find(|(until, _)| *until <= now)
            .map(|&(_, index)| index)
    }

    /// The only place that changes a slot: takes the old one out of every list and puts the new one in.
    fn put(&mut self, index: u32, new: Slot) {
        let old = std::mem::replace(&mut self.slots[index as usize], new);
        self.unlist(index, old);
        if let Some(mac) = holder(new)
            && let Some(other) = self.by_mac.insert(mac, index)
            && other != index
        {
            // A card holds one address: what it had before is free.
            let old = std::mem::replace(&mut self.slots[other as usize], Slot::Free { used: 0 });
            self.unlist_but_mac(other, old);
            self.free.insert((0, other));
        }
        match new {
            Slot::Free { used } | Slot::Was { used, .. } => {
                self.free.insert((used, index));
            }
            Slot::Offered { known, at, .. } => {
                self.held.insert((at + OFFER, index));
                self.offers.insert((at, index));
                self.strangers += usize::from(!known);
            }
            Slot::Bound { known, until, .. } => {
                self.held.insert((until, index));
                self.strangers += usize::from(!known);
            }
            Slot::Resting { until } => {
                self.resting.insert((until, index));
            }
            Slot::Ours => {}
        }
    }

    fn unlist(&mut self, index: u32, old: Slot) {
        if let Some(mac) = holder(old) {
            self.by_mac.remove(&mac);
        }
        self.unlist_but_mac(index, old);
    }

    fn unlist_but_mac(&mut self, index: u32, old: Slot) {
        match old {
            Slot::Free { used } | Slot::Was { used, .. } => {
                self.free.remove(&(used, index));
            }
            Slot::Offered { known, at, .. } => {
                self.held.remove(&(at + OFFER, index));
                self.offers.remove(&(at, index));
                self.strangers -= usize::from(!known);
            }
            Slot::Bound { known, until, .. } => {
                self.held.remove(&(until, index));
                self.strangers -= usize::from(!known);
            }
            Slot::Resting { until } => {
                self.resting.remove(&(until, index));
            }
            Slot::Ours => {}
        }
    }

    fn index(&self, address: Ipv4Addr) -> Option<u32> {
        let index = u32::from(address).checked_sub(self.first)?;
        ((index as usize) < self.slots.len()).then_some(index)
    }

    fn address(&self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.first + index)
    }
}

fn holder(slot: Slot) -> Option<Mac> {
    match slot {
        Slot::Was { mac, .. } | Slot::Offered { mac, .. } | Slot::Bound { mac, .. } => Some(mac),
        Slot::Free { .. } | Slot::Resting { .. } | Slot::Ours => None,
    }
}

#[cfg(test)]
mod tests;
