// SPDX-License-Identifier: Apache-2.0
//! Who else answers DHCP on a segment, and what that means for us.
//!
//! Pure: the caller brings packets and the time (counted from any fixed moment) and sends the probes. Two servers
//! that give out addresses of one network give some of them twice, so beside another one we are quiet.

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

/// A change that a person should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The segment is ours.
    Alone,
    /// Another server answers.
    Beside(Ipv4Addr),
}

/// What is known of one segment.
#[derive(Clone, Debug)]
pub struct Watch {
    mode: DhcpMode,
    ours: Ipv4Addr,
    stance: Stance,
    next_probe: Duration,
}

impl Watch {
    /// Begins to watch. `ours` is the server's own address on the segment.
    pub fn new(mode: DhcpMode, ours: Ipv4Addr, now: Duration) -> Self {
        Self {
            mode,
            ours,
            stance: Stance::Sensing { until: now + SENSE },
            next_probe: now,
        }
    }

    /// Whether addresses may be leased now.
    pub fn may_lease(&self) -> bool {
        match self.mode {
            DhcpMode::Auto => self.stance == Stance::Alone,
            DhcpMode::Full => true,
            // Offers without an address are a dialect of their own (design, section 6); until it is spoken,
            // silence beside another server is the only thing that harms nobody.
            DhcpMode::Proxy | DhcpMode::Off => false,
        }
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

    /// Whether machines on the segment get what they need from us.
    pub fn is_well(&self) -> bool {
        match self.mode {
            DhcpMode::Auto | DhcpMode::Full => !matches!(self.stance, Stance::Beside { .. }),
            DhcpMode::Proxy => false,
            DhcpMode::Off => true,
        }
    }

    /// The segment in words: what we do and why.
    pub fn in_words(&self) -> String {
        match (self.mode, self.stance) {
            (DhcpMode::Off, _) => "off".into(),
            (DhcpMode::Proxy, _) => "quiet: proxy mode is not available yet, set mode to auto or full".into(),
            (DhcpMode::Full, Stance::Beside { server, .. }) => {
                format!(
                    "leasing although {server} answers DHCP here too: addresses may be given twice, stop one of the two"
                )
            }
            (DhcpMode::Full, _) => "leasing, whoever else does".into(),
            (DhcpMode::Auto, Stance::Sensing { .. }) => "listening for other servers before the first answer".into(),
            (DhcpMode::Auto, Stance::Alone) => "leasing: nobody else does".into(),
            (DhcpMode::Auto, Stance::Beside { server, .. }) => {
                format!("quiet: {server} answers DHCP here; switch that off, or put the PCs on a network of their own")
            }
        }
    }

    /// A server spoke.
    pub fn heard(&mut self, heard: &Heard, now: Duration) -> Option<News> {
        if heard.leases {
            self.server(heard.server, now)
        } else {
            None
        }
    }

    /// A client chose this server, so it has heard from it.
    pub fn chosen(&mut self, server: Ipv4Addr, now: Duration) -> Option<News> {
        self.server(server, now)
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
        let probe = self.mode != DhcpMode::Off && now >= self.next_probe;
        if now >= self.next_probe {
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
        if server == self.ours || server.is_unspecified() {
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
        self.stance = stance;
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
        }
    }

    /// A watch that has listened and heard nobody.
    fn alone() -> Watch {
        let mut watch = Watch::new(DhcpMode::Auto, OURS, Duration::ZERO);
        assert_eq!(watch.tick(SENSE).1, Some(News::Alone));
        watch
    }

    #[test]
    fn nothing_is_leased_before_the_segment_was_listened_to() {
        let mut watch = Watch::new(DhcpMode::Auto, OURS, Duration::ZERO);
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
        let mut watch = Watch::new(DhcpMode::Auto, OURS, Duration::ZERO);
        assert_eq!(
            watch.heard(&offer(OTHER), Duration::from_secs(1)),
            Some(News::Beside(OTHER))
        );
        assert_eq!(watch.tick(SENSE).1, None);
        assert!(!watch.may_lease());
        assert!(watch.in_words().contains("10.77.0.254"));
    }

    #[test]
    fn a_server_that_appears_later_stops_leasing_at_once() {
        for appears in [
            Watch::heard as fn(&mut Watch, &Heard, Duration) -> _,
            |watch, heard, now| watch.chosen(heard.server, now),
        ] {
            let mut watch = alone();
            assert_eq!(appears(&mut watch, &offer(OTHER), SENSE), Some(News::Beside(OTHER)));
            assert!(!watch.may_lease());
            assert_eq!(appears(&mut watch, &offer(OTHER), SENSE), None, "said once");
        }
    }

    #[test]
    fn a_server_that_is_silent_for_long_is_gone() {
        let mut watch = alone();
        watch.heard(&offer(OTHER), SENSE);
        assert_eq!(watch.tick(GONE).1, None);
        assert_eq!(watch.tick(SENSE + GONE).1, Some(News::Alone));
        assert!(watch.may_lease());
    }

    #[test]
    fn our_own_answers_and_proxies_are_not_other_servers() {
        let mut watch = alone();
        assert_eq!(watch.heard(&offer(OURS), SENSE), None);
        assert_eq!(
            watch.heard(
                &Heard {
                    leases: false,
                    ..offer(OTHER)
                },
                SENSE
            ),
            None
        );
        assert!(watch.may_lease());
    }

    #[test]
    fn probing_never_ends_and_off_never_probes() {
        let mut watch = alone();
        for _ in 0..100 {
            assert!(watch.tick(watch.next()).0);
        }
        let mut off = Watch::new(DhcpMode::Off, OURS, Duration::ZERO);
        assert!(!off.tick(Duration::ZERO).0 && !off.may_lease());
    }

    #[test]
    fn a_pinned_mode_leases_beside_another_server_and_says_so() {
        let mut watch = Watch::new(DhcpMode::Full, OURS, Duration::ZERO);
        assert!(watch.may_lease());
        assert_eq!(watch.heard(&offer(OTHER), SENSE), Some(News::Beside(OTHER)));
        assert!(watch.may_lease());
        assert!(watch.in_words().contains("twice"));
    }
}
