// SPDX-License-Identifier: Apache-2.0
//! DHCP at the edge: sockets, the clock, the lease log.
//!
//! A task a segment: it drains what has arrived, asks [`answer`](answer::answer) about each packet, and sends what
//! promises nothing. Promises go to [`commit`], which makes them durable before it sends them.

mod answer;
mod arp;
mod beside;
mod card;
mod check;
mod commit;
mod encore;
mod networks;
mod outbox;
mod ping;
mod socket;
mod whose;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pxe::Mac;
use pxe::dhcp::{Heard, probe};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tracing::{debug, debug_span, info, warn};

use self::answer::{Around, Lines, Now, Segment, tell};
use self::card::CardSocket;
use self::commit::{Committer, Promises};
use self::outbox::Outbox;
use crate::clock::Reading;
use crate::config::{Dhcp, Reservation, Subnet};
use crate::leases::Log;
use crate::network::{Files, Interface, Sightings};

/// Port of DHCP clients.
const CLIENT_PORT: u16 = 68;
/// Port of relays.
const SERVER_PORT: u16 = 67;
/// Packets that are answered in one round, before anything else gets its turn.
const ROUND: usize = 128;

/// What the site wants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The interfaces to serve, and how.
    pub segments: Vec<(Interface, Dhcp)>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The domain that they are in.
    pub domain: String,
    /// Our addresses at which they are answered.
    pub servers: Vec<Ipv4Addr>,
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
    /// Hears firmware that asks again beside another server; `None` where another program keeps the port to itself.
    pxe: Option<std::net::UdpSocket>,
    card: Option<CardSocket>,
    whose: whose::Opened,
    clock: Clock,
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

/// Binds sockets on every interface and reads the lease log. Needs privileges; wants no runtime.
pub fn bind(settings: &Settings, files: Arc<dyn Files>, sightings: Arc<dyn Sightings>) -> Result<Listener> {
    let today = Reading::take();
    let log = Log::open(&settings.leases, &today)?;
    let clock = Clock::start(&today);
    let segments = networks::segments(settings, &log, clock.unix)?;
    Ok(Listener {
        segments: segments
            .into_iter()
            .map(|segment| bind_segment(settings, segment, clock))
            .collect::<Result<_>>()?,
        log,
        files,
        sightings,
    })
}

fn bind_segment(settings: &Settings, mut segment: Segment, clock: Clock) -> Result<Bound> {
    let name = &segment.interface.name.clone();
    let server = socket::bind(name, settings.port, false).with_context(|| {
        format!(
            "binding UDP port {} on {name}; is another DHCP server running here?",
            settings.port
        )
    })?;
    let client = socket::bind(name, CLIENT_PORT, true).map_err(|error| taken(CLIENT_PORT, &error));
    let pxe = socket::bind(name, settings.pxe_port, false).map_err(|error| {
        let taken = taken(settings.pxe_port, &error);
        format!("{taken}, where UEFI machines ask what to boot that have their address from another server")
    });
    if client.is_err() {
        segment.watch.deafen();
    }
    let troubles = [client.as_ref().err(), pxe.as_ref().err()];
    segment.troubles = troubles.into_iter().flatten().cloned().collect();
    if !segment.troubles.is_empty() {
        segment
            .troubles
            .push("stop that program, then restart the provisioner".into());
    }
    let (client, pxe) = (client.ok(), pxe.ok());
    let card = CardSocket::open(segment.interface.index)
        .inspect_err(|error| warn!(%name, %error, "cannot send to single cards, so all answers are broadcast"))
        .ok();
    let whose = whose::Opened::for_segment(&mut segment);
    Ok(Bound {
        segment,
        server,
        client,
        pxe,
        card,
        whose,
        clock,
    })
}

/// Why a port could not be bound, and who has it.
fn taken(port: u16, error: &io::Error) -> String {
    match crate::serve::holder("udp", port) {
        Some(program) => format!("{program} has UDP port {port}"),
        None => format!("UDP port {port} cannot be bound ({error})"),
    }
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
        pxe,
        card,
        whose,
        clock,
    } = bound;
    let out = server.try_clone().context("sharing the DHCP socket")?;
    let outbox = Arc::new(Outbox::new(out, card, segment.network.server));
    let server = UdpSocket::from_std(server).context("handing the DHCP socket to the runtime")?;
    let shared = |socket: Option<std::net::UdpSocket>| {
        let socket = socket.map(UdpSocket::from_std).transpose();
        socket.context("handing the DHCP socket to the runtime")
    };
    let (client, pxe) = (shared(client)?, shared(pxe)?);
    let whose = whose
        .register()
        .context("handing the sockets that ask whose an address is to the runtime")?;
    let around = Around {
        files: &*files,
        sightings: &*sightings,
        lines: &lines,
    };
    let mut buffer = vec![0; 2048];
    for network in [&segment].into_iter().chain(&segment.relayed) {
        network.report(&around);
        info!(segment = %network.in_words(), "serving DHCP");
    }
    loop {
        whose.ask(&mut segment);
        let due = [segment.encores.next(), segment.next_check()];
        let next = due.into_iter().flatten().fold(segment.watch.next(), Duration::min);
        let wake = tokio::time::Instant::from_std(clock.started + next);
        tokio::select! {
            ready = server.readable() => {
                ready.context("waiting for DHCP packets")?;
                drain(&server, &outbox, &committer, &mut segment, &around, &mut buffer, clock);
            }
            ready = readable(client.as_ref()) => {
                ready.context("waiting for other servers' DHCP packets")?;
                overhear(client.as_ref(), &outbox, &mut segment, &around, &mut buffer, clock);
            }
            ready = readable(pxe.as_ref()) => {
                ready.context("waiting for PXE packets")?;
                answer_again(pxe.as_ref(), &mut segment, &around, &mut buffer, clock);
            }
            claims = whose.heard() => {
                for claim in claims.context("waiting for who uses an address")? {
                    if let Some(answer) = answer::claimed(&mut segment, &around, claim, clock.now()) {
                        outbox.send(&answer);
                    }
                }
            }
            () = tokio::time::sleep_until(wake) => {
                let (wants_probe, news) = segment.watch.tick(clock.now().running);
                if wants_probe {
                    let question = probe(segment.probe, rand::random());
                    outbox.to(&question, (Ipv4Addr::BROADCAST, SERVER_PORT));
                }
                tell(&segment, &around, news);
                segment.report(&around);
                while let Some(answer) = segment.encores.take_due(clock.now().running) {
                    outbox.send(&answer);
                }
                for answer in segment.take_checked(clock.now().running) {
                    outbox.send(&answer);
                }
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

/// Answers everything that has arrived, up to a round; what was promised in it goes out when it is durable.
fn drain(
    server: &UdpSocket,
    outbox: &Arc<Outbox>,
    committer: &Committer,
    segment: &mut Segment,
    around: &Around<'_>,
    buffer: &mut [u8],
    clock: Clock,
) {
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
        match answer::answer(segment, around, packet, clock.now()) {
            Ok(Some(answer)) => {
                metrics::counter!("gleaner_dhcp_answers_total", "kind" => answer.kind).increment(1);
                // RFC 2131, 3.1: the server "commits the binding for the client to persistent storage and responds".
                if segment.promises[before..].iter().all(|record| committer.has(record)) {
                    segment.promises.truncate(before);
                    outbox.send(&answer);
                } else {
                    waiting.push(answer);
                }
            }
            Ok(None) => metrics::counter!("gleaner_dhcp_silences_total").increment(1),
            Err(unusable) => {
                metrics::counter!("gleaner_dhcp_unusable_total", "why" => unusable.word()).increment(1);
                debug!(%unusable, "not answered");
            }
        }
    }
    committer.promise(Promises {
        records: std::mem::take(&mut segment.promises),
        answers: waiting,
        outbox: Arc::clone(outbox),
    });
}

/// One span a packet, with what identifies it; read from the fixed part, whatever comes behind.
fn span(packet: &[u8], peer: SocketAddr, segment: &Segment) -> tracing::Span {
    let at = |range: std::ops::Range<usize>| packet.get(range).unwrap_or_default();
    let mac = <[u8; 6]>::try_from(at(28..34)).map_or(Mac([0; 6]), Mac);
    let xid = <[u8; 4]>::try_from(at(4..8)).map_or(0, u32::from_be_bytes);
    debug_span!("dhcp", %mac, xid = format_args!("{xid:08x}"), %peer, interface = &*segment.interface.name)
}

/// Hears what other servers tell their clients, and says again what goes with it.
fn overhear(
    client: Option<&UdpSocket>,
    outbox: &Outbox,
    segment: &mut Segment,
    around: &Around<'_>,
    buffer: &mut [u8],
    clock: Clock,
) {
    let Some(client) = client else { return };
    for _ in 0..ROUND {
        match client.try_recv_from(buffer) {
            Ok((length, _)) => {
                let Ok(heard) = Heard::parse(&buffer[..length]) else {
                    continue;
                };
                // What we broadcast comes back to us.
                if segment.watch.is_ours(heard.server) {
                    continue;
                }
                around.sightings.overheard(&heard);
                let news = segment.watch.heard(&heard, clock.now().running);
                tell(segment, around, news);
                if heard.leases
                    && let Some(encore) = segment.encores.take_heard(heard.xid)
                {
                    outbox.send(&encore);
                }
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
}

/// Answers firmware that has its address from another server and asks here what to boot.
fn answer_again(pxe: Option<&UdpSocket>, segment: &mut Segment, around: &Around<'_>, buffer: &mut [u8], clock: Clock) {
    let Some(pxe) = pxe else { return };
    for _ in 0..ROUND {
        let (length, peer) = match pxe.try_recv_from(buffer) {
            Ok((length, SocketAddr::V4(peer))) => (length, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Ok(_) | Err(_) => continue,
        };
        let packet = &buffer[..length];
        let _span = span(packet, peer.into(), segment).entered();
        match beside::boot_server(segment, around, packet, peer, clock.now()) {
            Ok(Some(answer)) => {
                metrics::counter!("gleaner_dhcp_answers_total", "kind" => "boot-server").increment(1);
                debug!(to = %peer, "answered as boot server");
                // PXE 2.1, 2.4.5: the answer goes to the port that was asked from.
                if let Err(error) = pxe.try_send_to(&answer, peer.into()) {
                    metrics::counter!("gleaner_dhcp_unsent_total").increment(1);
                    debug!(%peer, %error, "could not send");
                }
            }
            Ok(None) => metrics::counter!("gleaner_dhcp_silences_total").increment(1),
            Err(unusable) => {
                metrics::counter!("gleaner_dhcp_unusable_total", "why" => unusable.word()).increment(1);
                debug!(%unusable, "not answered");
            }
        }
    }
}
