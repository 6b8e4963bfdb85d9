// SPDX-License-Identifier: Apache-2.0
//! TFTP at the edge: one socket that hears requests, and a connected one for every transfer.

mod transfer;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use pxe::bootfile::{AUTOEXEC, Server};
use pxe::tftp::{ErrorCode, ReadRequest, error_packet};
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{Instrument as _, debug, info_span};

use crate::network::datagram::{self, Received};
use crate::network::{Fetch, Files, Sightings};

/// Transfers at a time. A thousand PCs that are switched on together fetch in turns; each tries again.
const TRANSFERS: usize = 1024;
/// Transfers at a time for one address: UEFI keeps its question for the size open while it fetches, and a ROM that
/// was restarted leaves an old one behind.
const TRANSFERS_EACH: usize = 8;
/// A request that comes again from the same port within this time is the same one, sent twice. Later it is a new
/// start: ROMs take the same ports at every start.
const SAME_REQUEST: Duration = Duration::from_secs(3);

/// The bound socket, before anything is answered.
pub struct Listener {
    socket: std::net::UdpSocket,
    http_port: u16,
    files: Arc<dyn Files>,
    sightings: Arc<dyn Sightings>,
}

/// Binds the port (69) on all addresses. Needs privileges; wants no runtime. `http_port` is where the scripts are
/// that iPXE asks TFTP for.
pub fn bind(port: u16, http_port: u16, files: Arc<dyn Files>, sightings: Arc<dyn Sightings>) -> Result<Listener> {
    let socket = datagram::bind(port)
        .with_context(|| format!("binding UDP port {port} for TFTP; is another TFTP server running here?"))?;
    Ok(Listener {
        socket,
        http_port,
        files,
        sightings,
    })
}

/// A transfer that is under way.
struct Active {
    file: String,
    since: Instant,
    abort: AbortHandle,
}

/// All transfers that are under way, by the client's address and port.
#[derive(Default)]
struct Transfers {
    tasks: JoinSet<(SocketAddrV4, Fetch)>,
    active: HashMap<SocketAddrV4, Active>,
}

impl Listener {
    /// The port that was bound.
    pub fn port(&self) -> Result<u16> {
        Ok(self.socket.local_addr().context("asking for the TFTP port")?.port())
    }

    /// Answers for ever; dropping the future stops it and all transfers.
    pub async fn run(self) -> Result<()> {
        let Self {
            socket,
            http_port,
            files,
            sightings,
        } = self;
        let socket = UdpSocket::from_std(socket).context("handing the TFTP socket to the runtime")?;
        let mut transfers = Transfers::default();
        let mut buffer = vec![0; 2048];
        sightings.service("tftp", format!("port {}", socket.local_addr()?.port()), true);
        loop {
            tokio::select! {
                received = receive(&socket, &mut buffer) => {
                    let received = received.context("waiting for TFTP requests")?;
                    let serve = Serve { files: &*files, http_port, socket: &socket };
                    serve.request(&buffer[..received.length], received, &mut transfers);
                }
                Some(ended) = transfers.tasks.join_next() => {
                    // One that was replaced by a new start is aborted: nothing arrived that counts.
                    if let Ok((peer, fetch)) = ended {
                        transfers.active.remove(&peer);
                        report(&*sightings, fetch);
                    }
                }
            }
            metrics::gauge!("gleaner_tftp_transfers").set(count(transfers.tasks.len()));
        }
    }
}

/// What a request is answered from.
struct Serve<'a> {
    files: &'a dyn Files,
    http_port: u16,
    socket: &'a UdpSocket,
}

impl Serve<'_> {
    /// Starts a transfer, or says why not.
    fn request(&self, packet: &[u8], from: Received, transfers: &mut Transfers) {
        let Received { peer, local, .. } = from;
        let request = match ReadRequest::parse(packet) {
            Ok(request) => request,
            Err(bad) => {
                metrics::counter!("gleaner_tftp_refused_total", "why" => bad.word()).increment(1);
                debug!(%peer, %bad, "refused");
                return self.refuse(bad.answer(), from);
            }
        };
        let Some(content) = request.plain_name().and_then(|name| self.content(name, local)) else {
            metrics::counter!("gleaner_tftp_refused_total", "why" => "not-found").increment(1);
            // Loaders ask for files that they can do without; that is no event.
            debug!(%peer, file = %request.file.escape_debug(), "there is no such file");
            return self.refuse(Some(error_packet(ErrorCode::NotFound, "there is no such file")), from);
        };
        if !transfers.admit(peer, &request.file) {
            return;
        }
        if transfers.is_full(*peer.ip()) {
            metrics::counter!("gleaner_tftp_refused_total", "why" => "busy").increment(1);
            return self.refuse(
                Some(error_packet(ErrorCode::Undefined, "too many transfers, try again")),
                from,
            );
        }
        metrics::counter!("gleaner_tftp_requests_total").increment(1);
        let file = request.file.clone();
        let span = info_span!("tftp", %peer, %file);
        let transfer = transfer::run(local, peer, request, content);
        let abort = transfers
            .tasks
            .spawn(async move { (peer, transfer.await) }.instrument(span));
        transfers.active.insert(
            peer,
            Active {
                file,
                since: Instant::now(),
                abort,
            },
        );
    }

    /// iPXE under UEFI asks for a script before it asks DHCP: ours finds the server for as long as it takes.
    fn content(&self, name: &str, local: Ipv4Addr) -> Option<Bytes> {
        if name == AUTOEXEC {
            let server = Server {
                address: local,
                http_port: self.http_port,
            };
            return Some(pxe::ipxe::autoexec(&server).into());
        }
        self.files.get(name)
    }

    fn refuse(&self, answer: Option<Vec<u8>>, from: Received) {
        if let Some(packet) = answer {
            // An error packet that is lost is as good as none: the client asks again, or gives up.
            let _ = datagram::send(self.socket, &packet, from.local, from.peer);
        }
    }
}

impl Transfers {
    /// Whether this request starts a transfer. One that comes again does not; one that comes much later from the
    /// same port does, and ends the old one.
    fn admit(&mut self, peer: SocketAddrV4, file: &str) -> bool {
        if let Some(active) = self.active.get(&peer) {
            if active.file == file && active.since.elapsed() < SAME_REQUEST {
                return false;
            }
            active.abort.abort();
            self.active.remove(&peer);
        }
        true
    }

    fn is_full(&self, peer: Ipv4Addr) -> bool {
        self.tasks.len() >= TRANSFERS
            || self.active.keys().filter(|other| *other.ip() == peer).count() >= TRANSFERS_EACH
    }
}

async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<Received> {
    loop {
        socket.readable().await?;
        match socket.try_io(tokio::io::Interest::READABLE, || datagram::receive(socket, buffer)) {
            Ok(received) => return Ok(received),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // An ICMP error of an earlier answer, or a packet without addresses: on to the next one.
            Err(error) => debug!(%error, "no packet"),
        }
    }
}

fn report(sightings: &dyn Sightings, fetch: Fetch) {
    metrics::counter!("gleaner_tftp_bytes_total").increment(fetch.bytes);
    let result = if fetch.failure.is_none() { "whole" } else { "broken" };
    metrics::counter!("gleaner_tftp_transfers_total", "result" => result).increment(1);
    match &fetch.failure {
        None => debug!(peer = %fetch.peer, file = %fetch.file, bytes = fetch.bytes, "fetched"),
        Some(why) => debug!(peer = %fetch.peer, file = %fetch.file, bytes = fetch.bytes, %why, "broken off"),
    }
    sightings.fetched(fetch);
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
