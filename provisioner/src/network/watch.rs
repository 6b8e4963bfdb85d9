// SPDX-License-Identifier: Apache-2.0
//! Who else answers DHCP on a segment, and what that means for us.
//!
//! Pure: the caller brings packets and the time (counted from any fixed moment) and sends the probes. Two servers
//! that give out addresses of one network give some of them twice, so beside another one we give out none.

use std::net::Ipv4Addr;
use std::time::Duration;

use pxe::dhcp::Heard;

use super::Company;
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
    /// The other server calls itself a PXE server, so that UEFI does not ask us.
    ClaimsPxe(Ipv4Addr),
}

/// What is known of one segment.
#[derive(Clone, Debug)]
pub struct Watch {
    mode: DhcpMode,
    /// Our addresses, on all segments: two interfaces in one switch hear each other.
    ours: Vec<Ipv4Addr>,
    stance: Stance,
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
    /// Begins to watch. `ours` are the server's own addresses.
    pub fn new(mode: DhcpMode, ours: &[Ipv4Addr], now: Duration) -> Self {
        Self {
            mode,
            ours: ours.to_vec(),
            stance: Stance::Sensing { until: now + SENSE },
            claims_pxe: None,
            probes: mode != DhcpMode::Off,
            last_probe: now,
            next_probe: now,
            interrupted: false,
            deaf: false,
        }
    }

    /// A network behind relays: nobody there can be asked, but relays pass on whom clients choose.
    pub fn behind_relays(mode: DhcpMode, ours: &[Ipv4Addr]) -> Self {
        Self {
            stance: Stance::Alone,
            probes: false,
            ..Self::new(mode, ours, Duration::ZERO)
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
        self.ours.contains(&server)
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
        match self.claims_pxe {
            Some(server) => format!(
                "{doing}; {server} sends option 60 \"PXEClient\" with its leases, so UEFI machines ask it what to boot \
                 and not us: remove option 60 from its server and scope options"
            ),
            None => doing,
        }
    }

    /// A server spoke.
    pub fn heard(&mut self, heard: &Heard, now: Duration) -> Vec<News> {
        if !heard.leases {
            return Vec::new();
        }
        let mut news: Vec<News> = self.server(heard.server, now).into_iter().collect();
        if !self.is_ours(heard.server) && heard.offers {
            let claims = heard.pxe.then_some(heard.server);
            if claims.is_some() && claims != self.claims_pxe {
                news.push(News::ClaimsPxe(heard.server));
            }
            if claims.is_some() || self.claims_pxe == Some(heard.server) {
                self.claims_pxe = claims;
            }
        }
        news
    }

    /// A client chose this server, so it has heard from it.
    pub fn chosen(&mut self, server: Ipv4Addr, now: Duration) -> Option<News> {
        self.server(server, now)
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
            Stance::Beside { heard, .. } if now >= heard + GONE => self.becomes(Stance::Alone, News::Alone),
            _ => None,
        };
        if news == Some(News::Alone) {
            self.claims_pxe = None;
        }
        let probe = self.probes && now >= self.next_probe;
        if now >= self.next_probe {
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

    fn server(&mut self, server: Ipv4Addr, now: Duration) -> Option<News> {
        if self.is_ours(server) || server.is_unspecified() {
            return None;
        }
        let known = matches!(self.stance, Stance::Beside { server: other, .. } if other == server);
        let stance = Stance::Beside { server, heard: now };
        if known {
            self.stance = stance;
            return None;
        }
        self.becomes(stance, News::Beside(server))
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
mod tests {
    use super::*;

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

    fn offer(server: Ipv4Addr) -> Heard {
        Heard {
            server,
            client: None,
            xid: 1,
            leases: true,
            offers: true,
            pxe: false,
        }
    }

    /// A watch that has listened and heard nobody.
    fn alone() -> Watch {
        let mut watch = Watch::new(DhcpMode::Auto, &[OURS], Duration::ZERO);
        assert_eq!(watch.tick(SENSE).1, Some(News::Alone));
        watch
    }

    #[test]
    fn nothing_is_leased_before_the_segment_was_listened_to() {
        let mut watch = Watch::new(DhcpMode::Auto, &[OURS], Duration::ZERO);
        let mut probes = 0;
        while watch.next() < SENSE {
            assert!(!watch.may_lease());
            let (probe, news) = watch.tick(watch.next());
            probes += u32::from(probe);
            assert_eq!(news, None);
        }
        assert!(probes >= 3, "{probes} probes");
        assert_eq!(watch.tick(SENSE).1, Some(News::Alone));
        assert!(watch.may_lease());
    }

    #[test]
    fn a_server_that_is_there_first_is_left_alone() {
        let mut watch = Watch::new(DhcpMode::Auto, &[OURS], Duration::ZERO);
        assert_eq!(
            watch.heard(&offer(OTHER), Duration::from_secs(1)),
            [News::Beside(OTHER)]
        );
        assert_eq!(watch.tick(SENSE).1, None);
        assert_eq!(watch.manner(), Manner::Proxy);
        assert!(watch.in_words().contains("10.77.0.254") && !watch.is_interrupted());
    }

    #[test]
    fn a_server_that_appears_later_stops_leasing_at_once() {
        for appears in [
            Watch::heard as fn(&mut Watch, &Heard, Duration) -> Vec<News>,
            |watch, heard, now| watch.chosen(heard.server, now).into_iter().collect(),
        ] {
            let mut watch = alone();
            assert_eq!(appears(&mut watch, &offer(OTHER), SENSE), [News::Beside(OTHER)]);
            assert_eq!(watch.manner(), Manner::Proxy);
            assert!(watch.is_interrupted());
            assert_eq!(appears(&mut watch, &offer(OTHER), SENSE), [], "said once");
        }
    }

    #[test]
    fn a_server_that_is_silent_for_long_is_gone() {
        let mut watch = alone();
        watch.heard(&offer(OTHER), SENSE);
        assert_eq!(watch.tick(GONE).1, None);
        assert_eq!(watch.tick(SENSE + GONE).1, Some(News::Alone));
        assert!(watch.may_lease() && !watch.is_interrupted());
    }

    #[test]
    fn who_cannot_hear_others_leases_nothing_unless_told_to() {
        for (mode, manner) in [(DhcpMode::Auto, Manner::Proxy), (DhcpMode::Full, Manner::Lease)] {
            let mut watch = Watch::new(mode, &[OURS], Duration::ZERO);
            watch.deafen();
            watch.tick(SENSE);
            assert_eq!(watch.manner(), manner, "{}", watch.in_words());
        }
    }

    #[test]
    fn our_own_answers_and_proxies_are_not_other_servers() {
        let mut watch = alone();
        assert_eq!(watch.heard(&offer(OURS), SENSE), []);
        assert_eq!(
            watch.heard(
                &Heard {
                    leases: false,
                    ..offer(OTHER)
                },
                SENSE
            ),
            []
        );
        assert!(watch.may_lease());
    }

    #[test]
    fn probing_never_ends_and_off_never_probes() {
        let mut watch = alone();
        for _ in 0..100 {
            assert!(watch.tick(watch.next()).0);
        }
        let mut off = Watch::new(DhcpMode::Off, &[OURS], Duration::ZERO);
        assert!(!off.tick(Duration::ZERO).0 && !off.may_lease());
    }

    #[test]
    fn a_pinned_mode_leases_beside_another_server_and_says_so() {
        let mut watch = Watch::new(DhcpMode::Full, &[OURS], Duration::ZERO);
        assert!(watch.may_lease());
        assert_eq!(watch.heard(&offer(OTHER), SENSE), [News::Beside(OTHER)]);
        assert!(watch.may_lease() && !watch.is_well());
        assert!(watch.in_words().contains("twice"));
    }

    #[test]
    fn while_machines_ask_others_are_asked_every_few_seconds() {
        let mut watch = alone();
        let now = watch.next();
        assert!(watch.tick(now).0);
        watch.asked(now + PROBE_BUSY / 2);
        assert!(!watch.tick(now + PROBE_BUSY / 2).0, "not with every machine");
        let later = now + PROBE_BUSY;
        watch.asked(later);
        assert!(watch.next() <= later && watch.tick(later).0);
        assert_eq!(watch.next(), later + PROBE_LATER);
    }

    #[test]
    fn a_dhcp_server_that_claims_to_be_a_pxe_server_is_told_once_with_what_to_do() {
        let mut watch = alone();
        let windows = Heard {
            pxe: true,
            ..offer(OTHER)
        };
        assert_eq!(
            watch.heard(&windows, SENSE),
            [News::Beside(OTHER), News::ClaimsPxe(OTHER)]
        );
        assert_eq!(watch.heard(&windows, SENSE), []);
        assert!(
            !watch.is_well() && watch.in_words().contains("remove option 60"),
            "{}",
            watch.in_words()
        );
        // Its other packets have no option 60 in any case.
        let ack = Heard {
            offers: false,
            ..offer(OTHER)
        };
        assert_eq!(watch.heard(&ack, SENSE), []);
        assert!(!watch.is_well());
        assert_eq!(watch.heard(&offer(OTHER), SENSE), []);
        assert!(watch.is_well(), "somebody removed it");
    }

    #[test]
    fn behind_a_relay_clients_tell_who_else_is_there() {
        let mut watch = Watch::behind_relays(DhcpMode::Auto, &[OURS]);
        assert_eq!(watch.manner(), Manner::Lease);
        assert_eq!(watch.chosen(OTHER, SENSE), Some(News::Beside(OTHER)));
        assert_eq!(watch.manner(), Manner::Proxy);
        assert!(!watch.tick(SENSE).0, "nobody can be asked");
        assert_eq!(watch.tick(SENSE + GONE).1, Some(News::Alone));
    }
}
