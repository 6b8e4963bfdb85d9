// SPDX-License-Identifier: Apache-2.0
//! DHCP at the edge: sockets, the clock, the lease log.
//!
//! A task a segment: it drains what has arrived, asks [`answer`](answer::answer) about each packet, and sends what
//! promises nothing. Promises go to [`commit`], which makes them durable before it sends them.

mod answer;
mod card;
mod commit;
mod outbox;
mod socket;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use pxe::Mac;
use pxe::dhcp::{Heard, Network, probe};
use pxe::lease::Table;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tracing::{debug, debug_span, info, warn};

use self::answer::{Around, Lines, Now, Segment, tell};
use self::card::CardSocket;
use self::commit::{Committer, Promises};
use self::outbox::Outbox;
use crate::config::DhcpMode;
use crate::leases::Log;
use crate::network::watch::Watch;
use crate::network::{Files, Interface, Sightings};

/// Port of DHCP clients.
const CLIENT_PORT: u16 = 68;
/// Port of relays.
const SERVER_PORT: u16 = 67;
/// Packets that are answered in one round, before anything else gets its turn.
const ROUND: usize = 128;
/// Largest pool that is chosen without being asked for: a thousand PCs.
const POOL: u32 = 1024;
/// Shortest lease. Clients renew at half of it, and firmware does not renew at all while it loads.
const SHORTEST_LEASE: u64 = 120;

/// What the site wants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to behave beside other servers.
    pub mode: DhcpMode,
    /// First and last address to lease; the upper half of the interface's network if absent.
    pub pool: Option<(Ipv4Addr, Ipv4Addr)>,
    /// How long a lease lasts.
    pub lease_time: Duration,
    /// Gateway to announce; none if absent.
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers to announce; none if empty.
    pub dns: Vec<Ipv4Addr>,
    /// Whether to announce ourselves as a time server.
    pub ntp: bool,
    /// Port of the server, 67.
    pub port: u16,
    /// Port of the plain HTTP server, for boot scripts and loaders.
    pub http_port: u16,
    /// File that remembers leases.
    pub leases: PathBuf,
}

/// The bound sockets, before anything is answered.
pub struct Listener {
    segments: Vec<Bound>,
    log: Log,
    files: Arc<dyn Files>,
    sightings: Arc<dyn Sightings>,
}

/// A segment and its sockets.
struct Bound {
    segment: Segment,
    server: std::net::UdpSocket,
    /// Hears what other servers tell their clients; `None` where another program keeps the port to itself.
    client: Option<std::net::UdpSocket>,
    card: Option<CardSocket>,
    started: Instant,
}

/// Binds a socket on every interface and reads the lease log. Needs privileges; wants no runtime.
pub fn bind(
    settings: &Settings,
    interfaces: &[Interface],
    files: Arc<dyn Files>,
    sightings: Arc<dyn Sightings>,
) -> Result<Listener> {
    let log = Log::open(&settings.leases)?;
    let mut segments = Vec::new();
    for interface in interfaces {
        segments.push(bind_segment(settings, interface, &log)?);
    }
    if let Some((first, last)) = settings.pool {
        let fits = |bound: &Bound| bound.segment.interface.contains(first) && bound.segment.interface.contains(last);
        if first > last || !segments.iter().any(fits) {
            bail!(
                "the DHCP pool {first} to {last} is on no network of the served interfaces; move it, or leave it out"
            );
        }
    }
    Ok(Listener {
        segments,
        log,
        files,
        sightings,
    })
}

fn bind_segment(settings: &Settings, interface: &Interface, log: &Log) -> Result<Bound> {
    let name = &interface.name;
    let server = socket::bind(name, settings.port, false).with_context(|| {
        format!(
            "binding UDP port {} on {name}; is another DHCP server running here?",
            settings.port
        )
    })?;
    let client = socket::bind(name, CLIENT_PORT, true)
        .inspect_err(|error| warn!(%name, %error, "cannot listen to other DHCP servers' answers"))
        .ok();
    let card = CardSocket::open(interface.index)
        .inspect_err(|error| warn!(%name, %error, "cannot send to single cards, so all answers are broadcast"))
        .ok();
    let started = Instant::now();
    Ok(Bound {
        segment: segment(settings, interface, log),
        server,
        client,
        card,
        started,
    })
}

fn segment(settings: &Settings, interface: &Interface, log: &Log) -> Segment {
    let (first, last) = settings
        .pool
        .filter(|(first, _)| interface.contains(*first))
        .unwrap_or_else(|| default_pool(interface));
    let ours = [interface.address, interface.broadcast()];
    let others = settings.gateway.iter().chain(&settings.dns).copied();
    let mut table = Table::new(first, last, &ours.into_iter().chain(others).collect::<Vec<_>>());
    log.leases().for_each(|lease| table.restore(lease));
    let network = Network {
        server: interface.address,
        mask: interface.mask(),
        broadcast: interface.broadcast(),
        gateway: settings.gateway.filter(|gateway| interface.contains(*gateway)),
        dns: settings.dns.clone(),
        ntp: if settings.ntp { vec![interface.address] } else { vec![] },
    };
    let mut probe: [u8; 6] = rand::random();
    // A locally administered address of one card (IEEE 802): no maker has given it to anybody.
    probe[0] = (probe[0] | 2) & !1;
    Segment {
        interface: interface.clone(),
        network,
        server: pxe::bootfile::Server {
            address: interface.address,
            http_port: settings.http_port,
        },
        table,
        pool: (first, last),
        watch: Watch::new(settings.mode, interface.address, Duration::ZERO),
        lease_time: u32::try_from(settings.lease_time.as_secs().max(SHORTEST_LEASE)).unwrap_or(u32::MAX),
        probe: Mac(probe),
        promises: Vec::new(),
        noticed: BTreeMap::new(),
    }
}

/// The upper half of the interface's network, at most [`POOL`] addresses: people number by hand from below.
fn default_pool(interface: &Interface) -> (Ipv4Addr, Ipv4Addr) {
    let broadcast = u32::from(interface.broadcast());
    let size = broadcast - (u32::from(interface.address) & u32::from(interface.mask()));
    let last = broadcast.saturating_sub(1);
    let first = last.saturating_sub((size / 2).min(POOL).saturating_sub(1));
    (Ipv4Addr::from(first), Ipv4Addr::from(last))
}

impl Listener {
    /// Answers for ever; dropping the future stops it, and loses nothing that was promised to a client.
    pub async fn run(self) -> Result<()> {
        let mut tasks = JoinSet::new();
        let lines = Arc::new(Lines::default());
        let committer = Committer::start(self.log, self.sightings.clone())?;
        for bound in self.segments {
            let (files, sightings) = (self.files.clone(), self.sightings.clone());
            tasks.spawn(serve(bound, committer.clone(), files, sightings, lines.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a DHCP task crashed")??;
        }
        Ok(())
    }
}

/// Serves one segment for ever.
async fn serve(
    bound: Bound,
    committer: Committer,
    files: Arc<dyn Files>,
    sightings: Arc<dyn Sightings>,
    lines: Arc<Lines>,
) -> Result<()> {
    let Bound {
        mut segment,
        server,
        client,
        card,
        started,
    } = bound;
    let out = server.try_clone().context("sharing the DHCP socket")?;
    let outbox = Arc::new(Outbox::new(out, card, segment.network.server));
    let server = UdpSocket::from_std(server).context("handing the DHCP socket to the runtime")?;
    let client = client
        .map(UdpSocket::from_std)
        .transpose()
        .context("handing the DHCP socket to the runtime")?;
    let around = Around {
        files: &*files,
        sightings: &*sightings,
        lines: &lines,
    };
    let mut buffer = vec![0; 2048];
    segment.report(&around);
    info!(segment = %segment.in_words(), "serving DHCP");
    loop {
        let wake = tokio::time::Instant::from_std(started + segment.watch.next());
        tokio::select! {
            ready = server.readable() => {
                ready.context("waiting for DHCP packets")?;
                let promises = drain(&server, &outbox, &mut segment, &around, &mut buffer, started);
                committer.promise(promises);
            }
            ready = readable(client.as_ref()) => {
                ready.context("waiting for other servers' DHCP packets")?;
                overhear(client.as_ref(), &mut segment, &around, &mut buffer, started);
            }
            () = tokio::time::sleep_until(wake) => {
                let (wants_probe, news) = segment.watch.tick(started.elapsed());
                if wants_probe {
                    let question = probe(segment.probe, rand::random());
                    outbox.to(&question, (Ipv4Addr::BROADCAST, SERVER_PORT));
                }
                tell(&segment, &around, news);
                segment.report(&around);
            }
        }
    }
}

/// Ready when there is something to read; never where there is no socket.
async fn readable(socket: Option<&UdpSocket>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

/// Answers everything that has arrived, up to a round; returns what was promised in it.
fn drain(
    server: &UdpSocket,
    outbox: &Arc<Outbox>,
    segment: &mut Segment,
    around: &Around<'_>,
    buffer: &mut [u8],
    started: Instant,
) -> Promises {
    let mut waiting = Vec::new();
    for _ in 0..ROUND {
        let (length, peer) = match server.try_recv_from(buffer) {
            Ok(received) => received,
            // An ICMP error of an earlier answer shows up here; it is not about what waits behind it.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        };
        let packet = &buffer[..length];
        let _span = span(packet, peer, segment).entered();
        let before = segment.promises.len();
        match answer::answer(segment, around, packet, now(started)) {
            Ok(Some(answer)) => {
                metrics::counter!("gleaner_dhcp_answers_total", "kind" => answer.kind).increment(1);
                // RFC 2131, 3.1: the server "commits the binding for the client to persistent storage and responds".
                if segment.promises.len() > before {
                    waiting.push(answer);
                } else {
                    outbox.send(&answer);
                }
            }
            Ok(None) => metrics::counter!("gleaner_dhcp_silences_total").increment(1),
            Err(unusable) => {
                metrics::counter!("gleaner_dhcp_unusable_total", "why" => unusable.word()).increment(1);
                debug!(%unusable, "not answered");
            }
        }
    }
    Promises {
        records: std::mem::take(&mut segment.promises),
        answers: waiting,
        outbox: Arc::clone(outbox),
    }
}

/// One span a packet, with what identifies it; read from the fixed part, whatever comes behind.
fn span(packet: &[u8], peer: SocketAddr, segment: &Segment) -> tracing::Span {
    let at = |range: std::ops::Range<usize>| packet.get(range).unwrap_or_default();
    let mac = <[u8; 6]>::try_from(at(28..34)).map_or(Mac([0; 6]), Mac);
    let xid = <[u8; 4]>::try_from(at(4..8)).map_or(0, u32::from_be_bytes);
    debug_span!("dhcp", %mac, xid = format_args!("{xid:08x}"), %peer, interface = &*segment.interface.name)
}

fn now(started: Instant) -> Now {
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Now {
        unix,
        running: started.elapsed(),
    }
}

/// Hears what other servers tell their clients.
fn overhear(
    client: Option<&UdpSocket>,
    segment: &mut Segment,
    around: &Around<'_>,
    buffer: &mut [u8],
    started: Instant,
) {
    let Some(client) = client else { return };
    for _ in 0..ROUND {
        match client.try_recv_from(buffer) {
            Ok((length, _)) => {
                if let Ok(heard) = Heard::parse(&buffer[..length]) {
                    around.sightings.overheard(&heard);
                    let news = segment.watch.heard(&heard, started.elapsed());
                    tell(segment, around, news);
                }
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(address: [u8; 4], prefix: u8) -> Interface {
        Interface {
            name: "br0".into(),
            index: 2,
            address: address.into(),
            prefix,
            mac: None,
        }
    }

    #[test]
    fn the_pool_is_the_upper_half_of_the_network_and_not_larger_than_it_makes_sense() {
        let pool = |address, prefix| default_pool(&interface(address, prefix));
        assert_eq!(
            pool([10, 77, 0, 1], 24),
            ([10, 77, 0, 128].into(), [10, 77, 0, 254].into())
        );
        assert_eq!(
            pool([10, 77, 0, 1], 16),
            ([10, 77, 251, 255].into(), [10, 77, 255, 254].into())
        );
        assert_eq!(pool([10, 77, 0, 1], 29), ([10, 77, 0, 4].into(), [10, 77, 0, 6].into()));
        let (first, last) = pool([10, 77, 0, 1], 32);
        assert!(first <= last || Table::new(first, last, &[]).usage() == (0, 0));
    }
}
