// SPDX-License-Identifier: Apache-2.0
//! DHCP at the edge: sockets, the clock, the lease log.
//!
//! A task a segment ([`serve`]): it drains what has arrived, asks [`answer`](answer::answer) about each packet, and sends
//! what promises nothing. Promises go to [`commit`], which makes them durable before it sends them. [`follow`] begins and
//! ends these tasks as interfaces come and go.

mod answer;
mod arp;
mod beside;
mod bound;
mod card;
mod check;
mod commit;
mod encore;
mod follow;
mod networks;
mod outbox;
mod ping;
mod serve;
mod socket;
mod whose;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use tokio::sync::watch;

use self::answer::Now;
use self::bound::Bound;
use crate::clock::Reading;
use crate::config::{Dhcp, DhcpMode, Reservation, Subnet};
use crate::leases::Log;
use crate::network::{Addresses, Files, Here, Interface, Link, Links, Sightings};

/// Port of DHCP clients.
const CLIENT_PORT: u16 = 68;
/// Port of relays.
const SERVER_PORT: u16 = 67;

/// What the site wants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to serve an interface.
    pub general: Dhcp,
    /// The same for interfaces that differ, by their names.
    pub sections: BTreeMap<String, Dhcp>,
    /// Networks behind relays.
    pub subnets: Vec<Subnet>,
    /// Addresses that belong to certain cards.
    pub reservations: Vec<Reservation>,
    /// Names that we answer; `None` where another server does.
    pub names: Option<Names>,
    /// Whether to announce ourselves as a time server.
    pub ntp: bool,
    /// Port of the server, 67.
    pub port: u16,
    /// Port of the PXE boot server, 4011.
    pub pxe_port: u16,
    /// Port of the plain HTTP server, for boot scripts and loaders.
    pub http_port: u16,
    /// File that remembers leases.
    pub leases: PathBuf,
}

/// Names that this server answers by DNS.
#[derive(Clone, Debug)]
pub struct Names {
    /// The domain that they are in.
    pub domain: String,
    /// Our addresses at which they are answered.
    pub servers: Addresses,
}

/// The bound sockets, before anything is answered.
pub struct Listener {
    settings: Settings,
    segments: Vec<(Link, Bound)>,
    here: watch::Receiver<Arc<Here>>,
    own: Addresses,
    clock: Clock,
    log: Log,
    files: Arc<dyn Files>,
    sightings: Arc<dyn Sightings>,
}

/// Counts time from the server's start. Leases last as long as their clients count, whatever becomes of the wall clock:
/// a PC whose battery is empty finds out the date while it serves.
#[derive(Clone, Copy, Debug)]
struct Clock {
    started: Instant,
    /// Seconds since 1970 at the start.
    unix: u64,
}

impl Clock {
    fn start(today: &Reading) -> Self {
        Self {
            started: Instant::now(),
            unix: u64::try_from(today.now / 1000).unwrap_or(0),
        }
    }

    fn now(self) -> Now {
        let running = self.started.elapsed();
        Now {
            unix: self.unix + running.as_secs(),
            running,
        }
    }
}

impl Settings {
    /// How an interface is served; `None` where it is not.
    fn of(&self, interface: &Interface) -> Option<&Dhcp> {
        self.by_name(&interface.name)
    }

    /// See [`Settings::of`].
    fn by_name(&self, interface: &str) -> Option<&Dhcp> {
        let dhcp = self.sections.get(interface).unwrap_or(&self.general);
        (dhcp.mode != DhcpMode::Off).then_some(dhcp)
    }
}

/// Binds sockets on every interface that is there and reads the lease log. Needs privileges; wants no runtime.
pub fn bind(
    mut settings: Settings,
    links: &Links,
    files: Arc<dyn Files>,
    sightings: Arc<dyn Sightings>,
) -> Result<Listener> {
    let today = Reading::take();
    let log = Log::open(&settings.leases, &today)?;
    let (here, own, clock) = (links.follow(), links.own(), Clock::start(&today));
    let now: Arc<Here> = here.borrow().clone();
    networks::check(&mut settings, &now)?;
    let leases: Vec<_> = log.leases().collect();
    let mut segments = Vec::new();
    for link in &now.links {
        if let Some(dhcp) = settings.of(&link.interface) {
            let segment = networks::segment(&settings, dhcp, &link.interface, &own, &leases, clock.now());
            segments.push((link.clone(), bound::bind(&settings, segment)?));
        }
    }
    Ok(Listener {
        settings,
        segments,
        here,
        own,
        clock,
        log,
        files,
        sightings,
    })
}

impl Listener {
    /// Answers for ever; dropping the future stops it, and loses nothing that was promised to a client.
    pub async fn run(self) -> Result<()> {
        follow::run(self).await
    }
}
