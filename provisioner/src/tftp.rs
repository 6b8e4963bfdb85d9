// SPDX-License-Identifier: Apache-2.0
//! TFTP at the edge: one socket that hears requests, and a connected one for every transfer.
//!
//! All of it is one thread that waits for all sockets at once: a block is a few microseconds of work, and a thread
//! or a task for each transfer would spend more than that on waking up. It never waits for anything else.

mod connection;
mod scripts;
mod transfers;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use pxe::bootfile::{AUTOEXEC, Server};
use pxe::grub;
use pxe::tftp::{ErrorCode, ReadRequest, error_packet, refused_name};
use tokio::sync::oneshot;
use tracing::debug;

use self::scripts::{Script, Scripts};
use self::transfers::{Admission, Transfers};
use crate::config::Share;
use crate::network::datagram::{self, Received};
use crate::network::{Content, Ended, Fetch, Files, Sightings};

/// Requests that are read before transfers get their turn again.
const REQUESTS: usize = 64;
/// Sockets that are heard in one round.
const ROUND: usize = 256;
/// What the socket of requests is called among those that are waited for; transfers are numbered from 0.
const LISTENER: u64 = u64::MAX;
/// See [`LISTENER`].
const STOP: u64 = u64::MAX - 1;
/// See [`LISTENER`].
const SCRIPTS: u64 = u64::MAX - 2;

/// What the site wants.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Port of the server, 69.
    pub port: u16,
    /// Port of the plain HTTP server, where the scripts are that iPXE asks TFTP for.
    pub http_port: u16,
    /// Transfers at a time.
    pub limits: Share,
}

/// The bound socket, before anything is answered.
pub struct Listener {
    socket: std::net::UdpSocket,
    settings: Settings,
    files: Arc<dyn Files>,
    sightings: Arc<dyn Sightings>,
}

/// Binds the port on all addresses. Needs privileges; wants no runtime.
pub fn bind(settings: &Settings, files: Arc<dyn Files>, sightings: Arc<dyn Sightings>) -> Result<Listener> {
    let port = settings.port;
    let socket = datagram::bind(port)
        .with_context(|| format!("binding UDP port {port} for TFTP; is another TFTP server running here?"))?;
    Ok(Listener {
        socket,
        settings: *settings,
        files,
        sightings,
    })
}

impl Listener {
    /// The port that was bound.
    pub fn port(&self) -> Result<u16> {
        Ok(self.socket.local_addr().context("asking for the TFTP port")?.port())
    }

    /// Answers for ever; dropping the future stops it and all transfers.
    pub async fn run(self) -> Result<()> {
        self.sightings.service("tftp", format!("port {}", self.port()?), true);
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let stop = Arc::new(EventFd::from_flags(flags).context("making the bell of the TFTP thread")?);
        let (ended, end) = oneshot::channel();
        let bell = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("tftp".into()).spawn(move || {
            // Nobody hears it only when the future was dropped, which is why it ended.
            let _ = ended.send(self.serve(&bell));
        });
        let thread = Some(thread.context("starting the TFTP thread")?);
        let _running = Running { stop, thread };
        end.await.context("the TFTP thread crashed")?
    }

    fn serve(&self, stop: &EventFd) -> Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("making the TFTP thread's ear")?;
        wait_for(&epoll, &self.socket, LISTENER).context("listening for TFTP requests")?;
        wait_for(&epoll, stop, STOP).context("listening for the end of TFTP")?;
        let scripts = Scripts::start(Arc::clone(&self.files))?;
        wait_for(&epoll, scripts.bell(), SCRIPTS).context("listening for boot scripts")?;
        let started = Instant::now();
        let mut transfers = Transfers::new(epoll, self.settings.limits, &*self.sightings);
        let mut events = vec![EpollEvent::empty(); ROUND];
        let mut buffer = vec![0; 2048];
        loop {
            let ready = match transfers.wait(&mut events, started.elapsed()) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error).context("waiting for TFTP packets"),
            };
            let now = started.elapsed();
            for event in &events[..ready] {
                match event.data() {
                    STOP => return Ok(()),
                    LISTENER => {
                        for _ in 0..REQUESTS {
                            let Ok(received) = datagram::receive(&self.socket, &mut buffer) else {
                                // No more, or an ICMP error of an earlier answer: what waits behind it is heard next.
                                break;
                            };
                            self.request(&buffer[..received.length], received, &scripts, &mut transfers, now);
                        }
                    }
                    SCRIPTS => {
                        while let Some(Script { request, from, content }) = scripts.next() {
                            self.answer(request, from, content, &mut transfers, now);
                        }
                    }
                    transfer => transfers.heard(transfer, now),
                }
            }
            transfers.tick(now);
        }
    }

    /// Understands a request, and answers it or has its answer made.
    fn request(&self, packet: &[u8], from: Received, scripts: &Scripts, transfers: &mut Transfers<'_>, now: Duration) {
        let request = match ReadRequest::parse(packet) {
            Ok(request) => request,
            Err(bad) => {
                debug!(peer = %from.peer, %bad, "refused");
                if let Some(file) = refused_name(packet) {
                    self.tell_refused(file, bad.to_string(), from);
                }
                return self.refuse(bad.word(), bad.answer(), from);
            }
        };
        if Scripts::is_one(&request) {
            return scripts.ask(request, from);
        }
        let content = request.path().and_then(|path| self.content(path, from.local));
        self.answer(request, from, content, transfers, now);
    }

    /// Starts a transfer, or says why not.
    fn answer(
        &self,
        request: ReadRequest,
        from: Received,
        content: Option<Content>,
        transfers: &mut Transfers<'_>,
        now: Duration,
    ) {
        let Received { peer, local, .. } = from;
        let Some(content) = content else {
            // Loaders ask for files that they can do without; that is no event.
            debug!(%peer, file = %request.file.escape_debug(), "there is no such file");
            self.sightings.fetched(Fetch {
                peer: *peer.ip(),
                file: request.file,
                bytes: 0,
                failure: Some("there is no such file".into()),
                ended: Ended::Absent,
            });
            let answer = error_packet(ErrorCode::NotFound, "there is no such file");
            return self.refuse("not-found", Some(answer), from);
        };
        match transfers.admit(peer, &request.file, now) {
            Admission::Granted => transfers.start(local, peer, request, content, now),
            Admission::SameAgain => {}
            Admission::Full => {
                let why = "too many transfers, try again";
                let answer = error_packet(ErrorCode::Undefined, why);
                self.tell_refused(request.file, why.into(), from);
                self.refuse("busy", Some(answer), from);
            }
        }
    }

    /// Scripts that are the same for all are made here; everything else is a file.
    fn content(&self, path: &str, local: Ipv4Addr) -> Option<Content> {
        let text = if path == AUTOEXEC {
            // iPXE under UEFI asks for it before it asks DHCP: ours finds the server for as long as it takes.
            let server = Server {
                address: local,
                http_port: self.settings.http_port,
            };
            pxe::ipxe::autoexec(&server)
        } else if grub::FIRST.strip_prefix('/') == Some(path) {
            grub::first()
        } else {
            return self.files.get(path);
        };
        Some(text.into_bytes().into())
    }

    /// A machine that is refused what it boots from must not look like one that never asked.
    fn tell_refused(&self, file: String, why: String, from: Received) {
        self.sightings.fetched(Fetch {
            peer: *from.peer.ip(),
            file,
            bytes: 0,
            failure: Some(why),
            ended: Ended::Refused,
        });
    }

    fn refuse(&self, why: &'static str, answer: Option<Vec<u8>>, from: Received) {
        metrics::counter!("gleaner_tftp_refused_total", "why" => why).increment(1);
        if let Some(packet) = answer {
            // An error packet that is lost is as good as none: the client asks again, or gives up.
            let _ = datagram::send(&self.socket, &packet, from.local, from.peer);
        }
    }
}

/// The thread; it ends with this.
struct Running {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The counter behind it is full only if it rang already.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but its bell. A crash of it is told by the channel that it leaves.
            let _ = thread.join();
        }
    }
}

/// Adds a socket to those that are waited for.
fn wait_for(epoll: &Epoll, socket: impl AsFd, name: u64) -> nix::Result<()> {
    epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, name))
}

/// Who a transfer is with.
type Peer = SocketAddrV4;
