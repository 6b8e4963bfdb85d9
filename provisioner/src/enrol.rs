// SPDX-License-Identifier: Apache-2.0
//! Whether a machine that nobody knows may come in: the policy of its segment, and the windows that are open. Pure.
//!
//! Coming in means to start the RAM environment, be examined and wait for approval; nothing is written to a disk. On a
//! segment that is ours alone every machine may; beside another DHCP server it is asked, and goes on to its own disk,
//! unless a window is open or somebody presses a key.

use std::net::Ipv4Addr;

use pxe::Mac;

use crate::config::{Enrolment, Place, Unknown};
use crate::network::{Company, SegmentNow, is_in};

/// Milliseconds for which a place in a window is kept for a machine that has read its script: it is examined and calls
/// within a few minutes, or has been switched off.
pub const HOLD: i64 = 30 * 60_000;

/// What unknown machines of a segment get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// They come in.
    Enrol,
    /// A menu that goes on to their own disk.
    Ask,
    /// Nothing.
    Ignore,
}

/// A permit for a batch of unknown machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its number, never given twice.
    pub id: i64,
    /// When it was opened, Unix milliseconds.
    pub opened: i64,
    /// When it closes by itself.
    pub until: i64,
    /// Machines that it lets in at most.
    pub max: u32,
    /// Whom it is for.
    pub whom: Whom,
    /// What its nodes are labelled with.
    pub tags: Vec<String>,
    /// What its nodes become where their approval does not say otherwise.
    pub profile: Option<String>,
    /// Who opened it.
    pub by: String,
    /// When somebody closed it before its time.
    pub closed: Option<i64>,
}

/// Which machines a window is for; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// How the card's address begins: `00:1b:21`.
    pub mac_prefix: Option<String>,
    /// The relay that the machine asks through.
    pub relay: Option<Ipv4Addr>,
    /// The switch port, as the relay names it (option 82, circuit).
    pub port: Option<String>,
}

/// An unknown machine, as far as packets show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The card that it starts with.
    pub mac: Option<Mac>,
    /// The relay that it asks through.
    pub relay: Option<Ipv4Addr>,
    /// The switch port, as the relay names it.
    pub port: Option<String>,
}

/// What an unknown machine may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Come in.
    Enrol,
    /// Come in, if there is a place left in this window.
    Through(i64),
    /// Choose: its own disk after a while, or come in.
    Ask,
    /// Go on to its own disk.
    Ignore,
}

/// What holds on a segment: what the site has pinned, else what is right there.
pub fn policy(enrolment: &Enrolment, address: Option<Ipv4Addr>, segment: Option<&SegmentNow>) -> Policy {
    let fits = |place: &Place| match place {
        Place::Interface(name) => segment.is_some_and(|segment| *segment.interface == **name),
        Place::Network(network, prefix) => address.is_some_and(|address| is_in(address, (*network, *prefix))),
    };
    // A network says more than the interface by which its relay comes.
    let mut pinned: Vec<_> = enrolment.segments.iter().filter(|(place, _)| fits(place)).collect();
    pinned.sort_by_key(|(place, _)| matches!(place, Place::Interface(_)));
    match pinned.first().map_or(enrolment.unknown, |(_, unknown)| *unknown) {
        Unknown::Enrol => Policy::Enrol,
        Unknown::Ask => Policy::Ask,
        Unknown::Ignore => Policy::Ignore,
        Unknown::Auto => by_company(segment),
    }
}

/// Where nobody else answers DHCP the segment is ours; where that is not known it is treated as somebody's, unless we
/// were told to lease there whoever else does.
fn by_company(segment: Option<&SegmentNow>) -> Policy {
    let ours = segment.is_some_and(|segment| match segment.company {
        Company::Alone => true,
        Company::Unknown => segment.serves,
        Company::Beside(_) => false,
    });
    // Without a segment DHCP is off: whoever comes was sent by somebody else's server, or by a boot stick.
    if ours { Policy::Enrol } else { Policy::Ask }
}

/// What an unknown machine may do. `invited` says that a person pressed a key in its menu, or that it has a place
/// already; `taken` how many places of a window are gone.
pub fn admit(
    policy: Policy,
    stranger: &Stranger,
    invited: bool,
    windows: &[Window],
    taken: impl Fn(i64) -> u32,
    now: i64,
) -> Admission {
    match policy {
        Policy::Ignore => return Admission::Ignore,
        Policy::Ask if invited => return Admission::Enrol,
        Policy::Enrol | Policy::Ask => {}
    }
    // Where everybody comes in, a window still says what they become.
    let window = windows
        .iter()
        .find(|window| window.is_open(now) && window.is_for(stranger) && taken(window.id) < window.max);
    match (window, policy) {
        (Some(window), _) => Admission::Through(window.id),
        (None, Policy::Enrol) => Admission::Enrol,
        (None, _) => Admission::Ask,
    }
}

impl Window {
    /// Whether it is open. Its last moment is the one before `until`.
    pub fn is_open(&self, now: i64) -> bool {
        self.closed.is_none() && (self.opened..self.until).contains(&now)
    }

    /// Whether it is for this machine.
    pub fn is_for(&self, stranger: &Stranger) -> bool {
        let Whom {
            mac_prefix,
            relay,
            port,
        } = &self.whom;
        let card = stranger.mac.map(|mac| mac.to_string());
        mac_prefix
            .as_ref()
            .is_none_or(|prefix| card.is_some_and(|card| card.starts_with(prefix.as_str())))
            && relay.is_none_or(|relay| stranger.relay == Some(relay))
            && port.as_ref().is_none_or(|port| stranger.port.as_ref() == Some(port))
    }
}

/// The switch port in a relay's option 82: its circuit (RFC 3046, 2.0), as text where it is text, else in hex.
pub fn port(relay_agent: &[u8]) -> Option<String> {
    const CIRCUIT: u8 = 1;
    const LONGEST: usize = 64;
    let mut rest = relay_agent;
    while let [code, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *code == CIRCUIT {
            let value = &value[..value.len().min(LONGEST)];
            let text = std::str::from_utf8(value)
                .ok()
                .filter(|text| !text.contains(provisioner_api::text::is_invisible));
            return Some(text.map_or_else(|| hex::encode(value), str::to_owned));
        }
        rest = &tail[value.len()..];
    }
    None
}

#[cfg(test)]
mod tests;
