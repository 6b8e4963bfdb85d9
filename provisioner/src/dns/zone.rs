// SPDX-License-Identifier: Apache-2.0
//! What a name means here: a pure function of the question and of the nodes as they are now. Knows no packet, no
//! socket and no clock.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::config::OWN_NAMES;

/// What the controller is called in the site's domain.
pub(crate) const CONTROLLER: &str = OWN_NAMES[0];
/// The pool of all nodes.
pub(super) const NODES: &str = OWN_NAMES[1];
/// Where addresses are names (RFC 1035, 3.5).
const REVERSE: &str = ".in-addr.arpa";
/// Addresses of a pool in one answer. They fit into 512 bytes, which is all that old resolvers take over UDP
/// (RFC 1035, 4.2.1), and every node has its turn.
const MOST: usize = 16;

/// A node as names need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The pools that it belongs to, besides that of all nodes: its profile and its tags.
    pub pools: Vec<String>,
    /// Where it was heard from last; `None` before its first word.
    pub address: Option<Ipv4Addr>,
    /// When that was; of two nodes with one address the later one has it.
    pub heard: i64,
    /// Whether it takes work: it is ready, and not one heartbeat of it is missing.
    pub serving: bool,
}

/// All names of the site, each found at once however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    names: HashMap<String, Option<Ipv4Addr>>,
    owners: HashMap<Ipv4Addr, String>,
    pools: HashMap<String, Vec<Ipv4Addr>>,
}

/// What a question is answered from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone<'a> {
    /// The site's domain, in lower case, no dot at the end.
    pub(super) domain: &'a str,
    /// Our address in the asker's network.
    pub(super) server: Ipv4Addr,
    /// The nodes.
    pub(super) table: &'a Table,
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The domain itself.
    Domain,
    /// The controller or a node; a node that has not been heard yet has no address.
    Host(Option<Ipv4Addr>),
    /// A pool, under its name in lower case, with the nodes that serve.
    Pool(&'a str, &'a [Ipv4Addr]),
    /// The name of who has this address.
    Pointer(&'a str),
    /// There is no such name, and nobody else could know it.
    Nothing,
    /// Somebody else knows.
    Elsewhere,
}

impl Table {
    /// The names of these nodes; `pools` are those that are there even if nobody is in them.
    pub(super) fn new(hosts: &[Host], pools: &[String]) -> Self {
        let mut last: HashMap<Ipv4Addr, &Host> = HashMap::new();
        for host in hosts {
            if let Some(address) = host.address
                && last.get(&address).is_none_or(|other| other.heard < host.heard)
            {
                last.insert(address, host);
            }
        }
        let mut table = Self::default();
        for pool in pools.iter().map(String::as_str).chain([NODES]) {
            table.pools.entry(pool.to_ascii_lowercase()).or_default();
        }
        for host in hosts {
            let owned = |address: &Ipv4Addr| last.get(address).is_some_and(|owner| owner.name == host.name);
            let address = host.address.filter(owned);
            table.names.insert(host.name.to_ascii_lowercase(), address);
            for pool in host.pools.iter().map(String::as_str).chain([NODES]) {
                let members = table.pools.entry(pool.to_ascii_lowercase()).or_default();
                members.extend(address.filter(|_| host.serving));
            }
        }
        // In one order, whatever the nodes came in: only then does everybody have a turn.
        for members in table.pools.values_mut() {
            members.sort_unstable();
            members.dedup();
        }
        table.owners = last
            .into_iter()
            .map(|(address, host)| (address, host.name.to_ascii_lowercase()))
            .collect();
        table
    }

    /// Whether it is the address of a node.
    pub(super) fn knows(&self, address: Ipv4Addr) -> bool {
        self.owners.contains_key(&address)
    }
}

impl<'a> Zone<'a> {
    /// What `name` means; lower case, no dot at the end.
    pub(super) fn meaning(&self, name: &str) -> Meaning<'a> {
        if name == self.domain {
            return Meaning::Domain;
        }
        if let Some(label) = name.strip_suffix(self.domain).and_then(|rest| rest.strip_suffix('.')) {
            return self.label(label);
        }
        let address = name.strip_suffix(REVERSE).and_then(address);
        let owner = address.and_then(|address| self.owner(address));
        owner.map_or(Meaning::Elsewhere, Meaning::Pointer)
    }

    /// A node's name goes before a pool's: it is what people gave it.
    fn label(&self, label: &str) -> Meaning<'a> {
        if label == CONTROLLER {
            return Meaning::Host(Some(self.server));
        }
        if let Some(address) = self.table.names.get(label) {
            return Meaning::Host(*address);
        }
        match self.table.pools.get_key_value(label) {
            Some((pool, members)) => Meaning::Pool(pool, members),
            None => Meaning::Nothing,
        }
    }

    fn owner(&self, address: Ipv4Addr) -> Option<&'a str> {
        if address == self.server {
            return Some(CONTROLLER);
        }
        self.table.owners.get(&address).map(String::as_str)
    }
}

/// Those of a pool that an answer names at its `turn`.
pub(super) fn turn(members: &[Ipv4Addr], turn: usize) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let first = turn.checked_rem(members.len()).unwrap_or(0);
    let (before, after) = members.split_at(first);
    after.iter().chain(before).copied().take(MOST)
}

/// `21.0.77.10` is 10.77.0.21.
fn address(reversed: &str) -> Option<Ipv4Addr> {
    let mut octets: [u8; 4] = reversed.parse::<Ipv4Addr>().ok()?.octets();
    octets.reverse();
    Some(octets.into())
}

#[cfg(test)]
mod tests;
