// SPDX-License-Identifier: Apache-2.0
//! Serves one segment: packets in, answers out.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pxe::Mac;
use pxe::dhcp::{Heard, probe};
use tokio::net::UdpSocket;
use tracing::{debug, debug_span, info};

use super::answer::{self, Around, Lines, Segment, tell};
use super::bound::Bound;
use super::commit::{Committer, Promises};
use super::outbox::Outbox;
use super::{Clock, SERVER_PORT, beside};
use crate::network::watch::Spoken;
use crate::network::{Files, Sightings};

/// Packets that are answered in one round, before anything else gets its turn.
const ROUND: usize = 128;

/// What all segments share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) committer: Committer,
    pub(super) files: Arc<dyn Files>,
    pub(super) sightings: Arc<dyn Sightings>,
    pub(super) lines: Arc<Lines>,
}

/// Serves one segment for ever.
pub(super) async fn serve(bound: Bound, clock: Clock, shared: Shared) -> Result<()> {
    let Bound {
        mut segment,
        server,
        client,
        pxe,
        card,
        whose,
    } = bound;
    let Shared {
        committer,
        files,
        sightings,
        lines,
    } = shared;
    let out = server.try_clone().context("sharing the DHCP socket")?;
    let outbox = Arc::new(Outbox::new(out, card, segment.network.server));
    let server = UdpSocket::from_std(server).context("handing the DHCP socket to the runtime")?;
    let registered = |socket: Option<std::net::UdpSocket>| {
        let socket = socket.map(UdpSocket::from_std).transpose();
        socket.context("handing the DHCP socket to the runtime")
    };
    let (client, pxe) = (registered(client)?, registered(pxe)?);
    let whose = whose
        .register()
        .context("handing the sockets that ask whose an address is to the runtime")?;
    let around = Around {
        files: &*files,
        sightings: &*sightings,
        lines: &lines,
    };
    let mut buffer = vec![0; 2048];
    for network in segment.networks() {
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
                for (question, server) in segment.take_questions(clock.now().running) {
                    outbox.to(&question, (server, SERVER_PORT));
                }
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
                tell(&mut segment, &around, news, clock.now().unix);
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
        // What a server that we asked as a relay does sends to this port.
        if spoken(packet, peer).is_some_and(|spoken| answer::replied(segment, around, &spoken, clock.now())) {
            continue;
        }
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

/// What a server says in a packet.
fn spoken(packet: &[u8], peer: SocketAddr) -> Option<Spoken> {
    let SocketAddr::V4(peer) = peer else { return None };
    let heard = Heard::parse(packet).ok()?;
    Some(Spoken {
        heard,
        from: *peer.ip(),
    })
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
            Ok((length, peer)) => {
                let Some(spoken) = spoken(&buffer[..length], peer) else {
                    continue;
                };
                let heard = spoken.heard;
                // What we broadcast comes back to us.
                if segment.watch.is_ours(heard.server) {
                    continue;
                }
                around.sightings.overheard(&heard);
                let now = clock.now();
                let news = segment.watch.heard(&spoken, now.running);
                tell(segment, around, news, now.unix);
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
