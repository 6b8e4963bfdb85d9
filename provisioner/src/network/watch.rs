// SPDX-License-Identifier: Apache-2.0
//! Who else answers DHCP on a segment, and what that means for us.
//!
//! Pure: the caller brings packets and the time (counted from any fixed moment) and sends the probes. Two servers
//! that give out addresses of one network give some of them twice, so beside another one we give out none.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use pxe::Mac;
use pxe::dhcp::Heard;

use super::{Addresses, Company, is_in};
use crate::config::DhcpMode;

/// How long a segment is listened to before the first answer. dnsmasq and ISC's server ping an address for up to
/// 3 s before they offer it; PXE firmware asks for a minute.
const SENSE: Duration = Duration::from_millis(4500);
/// Time between the probes of that first while: one may get lost.
const PROBE_FIRST: Duration = Duration::from_secs(1);
/// Time between probes from then on.
const PROBE_LATER: Duration = Duration::from_mins(1);
/// Time between probes while machines ask: a server that was plugged in shows itself with the first machine.
const PROBE_BUSY: Duration = Duration::from_secs(10);
/// Silence after which another server is named in place of the first one, where both answer: what people read must not
/// change with every packet.
const SETTLED: Duration = Duration::from_secs(90);
/// Named servers that are remembered: whoever invents more is asked about these, and the rest has to wait.
const NAMED: usize = 8;
/// Silence after which another server counts as gone: home routers restart in three minutes.
const GONE: Duration = Duration::from_mins(10);

/// What the watch has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Nothing yet: the first while has not passed.
    Sensing {
        /// When it has.
        until: Duration,
    },
    /// Nobody else answers.
    Alone,
    /// Somebody else does.
    Beside {
        /// Who, by its own word.
        server: Ipv4Addr,
        /// When it was last heard.
        heard: Duration,
    },
}

/// What is to be done for machines that ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// They get addresses, and what to boot.
    Lease,
    /// They get their addresses from somebody else, and from us what to boot.
    Proxy,
    /// Nothing.
    Silent,
}

/// A change that a person should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The segment is ours.
    Alone,
    /// Another server answers.
    Beside(Ipv4Addr),
    /// A client says that this server answers. It is looked for; nothing else changes.
    Named(Named),
    /// The other server calls itself a PXE server, so that UEFI does not ask us.
    ClaimsPxe(Ipv4Addr),
}

/// A server that a client named as its choice (option 54).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The server.
    pub server: Ipv4Addr,
    /// The client's card, by its own word.
    pub by: Mac,
}

/// A packet of another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// What it says.
    pub heard: Heard,
    /// The address that it came from.
    pub from: Ipv4Addr,
}

/// Where another server's packets come from.
#[derive(Clone, Copy, Debug)]
struct Source {
    from: Ipv4Addr,
    /// The card there, by ARP.
    card: Option<Mac>,
    /// Whether ARP was asked.
    asked: bool,
}

/// What is known of one segment.
#[derive(Clone, Debug)]
pub struct Watch {
    mode: DhcpMode,
    /// Our addresses, on all segments: two interfaces in one switch hear each other.
    ours: Addresses,
    /// The segment's network: any address of it, and the bits of its part.
    network: (Ipv4Addr, u8),
    stance: Stance,
    /// When any other server was heard last.
    last_heard: Duration,
    /// Where the other server's packets come from.
    source: Option<Source>,
    /// The servers that clients have named and that were not heard since, and when they were named first.
    named: VecDeque<(Named, Duration)>,
    /// The server that calls itself a PXE server with its leases.
    claims_pxe: Option<Ipv4Addr>,
    /// Whether it can be asked who else is there.
    probes: bool,
    last_probe: Duration,
    next_probe: Duration,
    /// Whether we leased until another server appeared.
    interrupted: bool,
    /// Whether other servers cannot be heard: then nobody knows whether we are alone.
    deaf: bool,
}

impl Watch {
    /// Begins to watch a network. `ours` are the server's own addresses.
    pub fn new(mode: DhcpMode, ours: Addresses, network: (Ipv4Addr, u8), now: Duration) -> Self {
        Self {
            mode,
            ours,
            network,
            stance: Stance::Sensing { until: now + SENSE },
            last_heard: now,
            source: None,
            named: VecDeque::new(),
            claims_pxe: None,
            probes: mode != DhcpMode::Off,
            last_probe: now,
            next_probe: now,
            interrupted: false,
            deaf: false,
        }
    }

    /// A network behind relays: a question to all does not get there, but relays pass on whom clients choose, and that
    /// server can be asked by itself.
    pub fn behind_relays(mode: DhcpMode, ours: Addresses, network: (Ipv4Addr, u8), now: Duration) -> Self {
        Self {
            stance: Stance::Alone,
            probes: false,
            ..Self::new(mode, ours, network, now)
        }
    }

    /// What is to be done for machines that ask.
    pub fn manner(&self) -> Manner {
        match (self.mode, self.stance) {
            (DhcpMode::Auto, Stance::Alone) if self.deaf => Manner::Proxy,
            (DhcpMode::Full, _) | (DhcpMode::Auto, Stance::Alone) => Manner::Lease,
            (DhcpMode::Proxy, _) | (DhcpMode::Auto, Stance::Beside { .. }) => Manner::Proxy,
            (DhcpMode::Off, _) | (DhcpMode::Auto, Stance::Sensing { .. }) => Manner::Silent,
        }
    }

    /// Other servers cannot be heard.
    pub fn deafen(&mut self) {
        self.deaf = true;
    }

    /// Whether addresses may be leased now.
    pub fn may_lease(&self) -> bool {
        self.manner() == Manner::Lease
    }

    /// What is known now.
    pub fn stance(&self) -> Stance {
        self.stance
    }

    /// Who else answers.
    pub fn company(&self) -> Company {
        match self.stance {
            Stance::Sensing { .. } => Company::Unknown,
            Stance::Alone => Company::Alone,
            Stance::Beside { server, .. } => Company::Beside(server),
        }
    }

    /// Whether addresses were leased until another server appeared.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Whether this is our own address, on whichever segment.
    pub fn is_ours(&self, server: Ipv4Addr) -> bool {
        self.ours.has(server)
    }

    /// Whether machines on the segment get what they need from us.
    pub fn is_well(&self) -> bool {
        let twice = self.mode == DhcpMode::Full && matches!(self.stance, Stance::Beside { .. });
        !twice && (self.claims_pxe.is_none() || self.manner() != Manner::Proxy)
    }

    /// The segment in words: what we do and why.
    pub fn in_words(&self) -> String {
        let doing = match (self.mode, self.stance) {
            (DhcpMode::Off, _) => "off".into(),
            (DhcpMode::Proxy, Stance::Beside { server, .. }) => {
                format!("telling machines what to boot, as configured; {server} leases the addresses")
            }
            (DhcpMode::Proxy, _) => "telling machines what to boot, as configured; nobody was heard that leases \
                                     addresses"
                .into(),
            (DhcpMode::Full, Stance::Beside { server, .. }) => {
                format!(
                    "leasing although {server} answers DHCP here too: addresses may be given twice, stop one of the two"
                )
            }
            (DhcpMode::Full, _) => "leasing, whoever else does".into(),
            (DhcpMode::Auto, Stance::Sensing { .. }) => "listening for other servers before the first answer".into(),
            (DhcpMode::Auto, Stance::Alone) if self.deaf => "leasing nothing, because other DHCP servers could not be \
                                                             heard; telling machines what to boot (ProxyDHCP)"
                .into(),
            (DhcpMode::Auto, Stance::Alone) => "leasing: nobody else does".into(),
            (DhcpMode::Auto, Stance::Beside { server, .. }) => {
                format!(
                    "leasing nothing, because {server} answers DHCP here; telling machines what to boot (ProxyDHCP)"
                )
            }
        };
        let doing = format!("{doing}{}", self.evidence());
        match self.claims_pxe {
            Some(server) => format!(
                "{doing}; {server} sends option 60 \"PXEClient\" with its leases, so UEFI machines ask it what to boot \
                 and not us: remove option 60 from its server and scope options"
            ),
            None => doing,
        }
    }

    /// Who says that there is another server.
    fn evidence(&self) -> String {
        let beside = matches!(self.stance, Stance::Beside { .. });
        if let Some(Source { from, card, .. }) = self.source.filter(|_| beside) {
            return match card {
                Some(card) => format!(" (heard from {from} at {card})"),
                None => format!(" (heard from {from})"),
            };
        }
        let mut named: Vec<String> = self
            .named
            .iter()
            .map(|(Named { server, by }, _)| format!("{by} says that it chose the DHCP server {server}"))
            .collect();
        named.sort_unstable();
        if named.is_empty() || beside {
            return String::new();
        }
        format!("; {}, which was not heard", named.join(", "))
    }

    /// A server spoke. Its offer shows that it is there; what else it says does so only where it is on this network, and
    /// is a reason to look elsewhere.
    pub fn heard(&mut self, spoken: &Spoken, now: Duration) -> Vec<News> {
        let Spoken { heard, from } = spoken;
        if !heard.leases || self.is_ours(heard.server) || heard.server.is_unspecified() {
            return Vec::new();
        }
        if !heard.offers && !is_in(heard.server, self.network) {
            self.look(now);
            return Vec::new();
        }
        self.named.retain(|(named, _)| named.server != heard.server);
        let mut news: Vec<News> = self.server(heard.server, *from, now).into_iter().collect();
        if heard.offers {
            match self.claims_pxe {
                None if heard.pxe => {
                    self.claims_pxe = Some(heard.server);
                    news.push(News::ClaimsPxe(heard.server));
                }
                Some(server) if server == heard.server && !heard.pxe => self.claims_pxe = None,
                _ => {}
            }
        }
        news
    }

    /// ARP says whose an address is; whether that tells more about the other server.
    pub fn card_at(&mut self, address: Ipv4Addr, card: Mac) -> bool {
        match &mut self.source {
            Some(source) if source.from == address && source.card != Some(card) => {
                source.card = Some(card);
                true
            }
            _ => false,
        }
    }

    /// The address about which ARP is to be asked, once.
    pub fn take_wanted_card(&mut self) -> Option<Ipv4Addr> {
        let source = self.source.as_mut().filter(|source| !source.asked)?;
        source.asked = true;
        is_in(source.from, self.network).then_some(source.from)
    }

    /// A client says that it chose a server. Anybody can say so of any address: it is a reason to look, and no proof.
    pub fn chosen(&mut self, named: Named, now: Duration) -> Option<News> {
        let Named { server, .. } = named;
        let nobody = server.is_unspecified() || server.is_broadcast() || server.is_multicast() || server.is_loopback();
        if nobody || self.is_ours(server) {
            return None;
        }
        self.look(now);
        if matches!(self.stance, Stance::Beside { server: other, .. } if other == server) {
            return None;
        }
        let known = self.named.iter().any(|(before, _)| before.server == server);
        if known || self.named.len() >= NAMED {
            return None;
        }
        self.named.push_back((named, now));
        Some(News::Named(named))
    }

    /// The server that is to be asked by itself now, because a question to all does not reach its clients.
    pub fn take_question(&mut self, now: Duration) -> Option<Ipv4Addr> {
        if self.probes || self.mode == DhcpMode::Off || now < self.next_probe {
            return None;
        }
        let (named, at) = self.named.pop_front()?;
        self.named.push_back((named, at));
        self.last_probe = now;
        self.next_probe = now + PROBE_FIRST;
        Some(named.server)
    }

    /// Asks who else is there as soon as that does not make a flood of questions out of a flood of packets.
    fn look(&mut self, now: Duration) {
        self.next_probe = self.next_probe.min(now.max(self.last_probe + PROBE_FIRST));
    }

    /// A client asks: others answer it too, out of our hearing, so they are asked again soon.
    pub fn asked(&mut self, now: Duration) {
        if now >= self.last_probe + PROBE_BUSY {
            self.next_probe = self.next_probe.min(now);
        }
    }

    /// When to call [`Watch::tick`] next.
    pub fn next(&self) -> Duration {
        match self.stance {
            Stance::Sensing { until } => self.next_probe.min(until),
            _ => self.next_probe,
        }
    }

    /// Time has passed: whether to send a probe, and what is new.
    pub fn tick(&mut self, now: Duration) -> (bool, Option<News>) {
        let news = match self.stance {
            Stance::Sensing { until } if now >= until => self.becomes(Stance::Alone, News::Alone),
            Stance::Beside { .. } if now >= self.last_heard + GONE => self.becomes(Stance::Alone, News::Alone),
            _ => None,
        };
        if news == Some(News::Alone) {
            (self.claims_pxe, self.source) = (None, None);
        }
        self.named.retain(|(_, at)| now < *at + GONE);
        let probe = self.probes && now >= self.next_probe;
        if probe {
            self.last_probe = now;
            let pause = if matches!(self.stance, Stance::Sensing { .. }) {
                PROBE_FIRST
            } else {
                PROBE_LATER
            };
            self.next_probe = now + pause;
        }
        (probe, news)
    }

    fn server(&mut self, server: Ipv4Addr, from: Ipv4Addr, now: Duration) -> Option<News> {
        self.last_heard = now;
        let stance = Stance::Beside { server, heard: now };
        let news = match self.stance {
            Stance::Beside { server: other, .. } if other == server => {
                self.stance = stance;
                None
            }
            // Two of them: one is as good a reason as two.
            Stance::Beside { heard, .. } if now < heard + SETTLED => return None,
            _ => self.becomes(stance, News::Beside(server)),
        };
        if self.source.is_none_or(|source| source.from != from) {
            self.source = Some(Source {
                from,
                card: None,
                asked: false,
            });
        }
        news
    }

    #[allow(clippy::unnecessary_wraps)] // what every caller returns
    fn becomes(&mut self, stance: Stance, news: News) -> Option<News> {
        let leased = self.interrupted || self.may_lease();
        self.stance = stance;
        self.interrupted = leased && !self.may_lease();
        Some(news)
    }
}

#[cfg(test)]
mod tests;
