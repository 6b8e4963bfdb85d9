// SPDX-License-Identifier: Apache-2.0
//! DNS at the edge: names of nodes and pools are answered here, everything else is asked for elsewhere.
//!
//! The wire format is hickory's; what a name of this site means is [`zone`]'s. Only those whose networks are served
//! are answered: nobody's flood is made larger here (RFC 5358).

mod answer;
mod chain;
mod elsewhere;
mod question;
mod tcp;
mod under_way;
mod zone;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hickory_resolver::proto::rr::Name;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tracing::debug;

use self::answer::{Answerer, Said};
use self::elsewhere::Elsewhere;
pub(crate) use self::elsewhere::of_this_machine;
use self::question::{Over, Question};
pub(crate) use self::zone::CONTROLLER;
pub use self::zone::Host;
use crate::network::{Interface, Notice, Sightings};
use crate::serve::holder_at;

/// Bytes of a question at most: some hundred, and more with options that clients add.
const LONGEST: usize = 4096;
/// Before a socket that has failed is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Where another program has the port.
const WHAT_TO_DO: &str = "stop that program there, or set serve = false in [dns]";

/// Knows the nodes.
pub trait Hosts: Send + Sync + 'static {
    /// All nodes that have a name, as they are now.
    fn hosts(&self) -> Vec<Host>;
}

/// What the site wants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The site's domain, in lower case, no dot at the end.
    pub domain: String,
    /// Pools that are there even if nobody is in them: the profiles.
    pub pools: Vec<String>,
    /// Who is asked for all other names; those of this machine's own `/etc/resolv.conf` if empty.
    pub forward: Vec<IpAddr>,
    /// Networks behind relays: address and bits.
    pub behind_relays: Vec<(Ipv4Addr, u8)>,
    /// Port of the server, 53.
    pub port: u16,
}

/// The bound sockets, before anything is answered.
pub struct Listener {
    settings: Settings,
    bound: Vec<Bound>,
    taken: Vec<Taken>,
    hosts: Arc<dyn Hosts>,
    sightings: Arc<dyn Sightings>,
}

/// An interface and its sockets.
struct Bound {
    interface: Interface,
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

/// An address at which another program answers.
struct Taken {
    at: SocketAddrV4,
    by: String,
}

/// Binds the port on every interface but those where another program answers there already.
pub fn bind(
    settings: Settings,
    interfaces: Vec<Interface>,
    hosts: Arc<dyn Hosts>,
    sightings: Arc<dyn Sightings>,
) -> Result<Listener> {
    let (mut bound, mut taken) = (Vec::new(), Vec::new());
    for interface in interfaces {
        let at = SocketAddrV4::new(interface.address, settings.port);
        match sockets(at) {
            Ok((udp, tcp)) => bound.push(Bound { interface, udp, tcp }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let by = holder_at("udp", at).or_else(|| holder_at("tcp", at));
                taken.push(Taken {
                    at,
                    by: by.unwrap_or_else(|| "another program".into()),
                });
            }
            Err(error) => return Err(error).with_context(|| format!("binding port {at} for DNS")),
        }
    }
    Ok(Listener {
        settings,
        bound,
        taken,
        hosts,
        sightings,
    })
}

fn sockets(at: SocketAddrV4) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let udp = std::net::UdpSocket::bind(at)?;
    // With port 0 both get the one that the kernel chose for the first.
    let tcp = std::net::TcpListener::bind(udp.local_addr()?)?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}

/// What all sockets share.
struct Desk {
    answerer: Answerer,
    elsewhere: Elsewhere,
}

impl Desk {
    /// The answer to a packet from `from`, which reached our address `server`; waits only for what others say.
    async fn answer(&self, packet: &[u8], over: Over, from: Ipv4Addr, server: Ipv4Addr) -> Option<Vec<u8>> {
        match self.answerer.answer(packet, over, from, server, Instant::now()) {
            Said::Nothing => None,
            Said::Now(answer) => Some(answer),
            Said::Elsewhere(question) => Some(self.ask_elsewhere(&question, from, server).await),
        }
    }

    /// What other servers say to a question from `from`, which reached our address `server`.
    async fn ask_elsewhere(&self, question: &Question, from: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
        let ours = |name: &Name| self.answerer.is_ours(name, server, Instant::now());
        self.elsewhere.ask(question, from, ours).await
    }
}

impl Listener {
    /// Our addresses at which names are answered.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.bound.iter().map(|bound| bound.interface.address).collect()
    }

    /// Answers for ever; dropping the future stops it.
    pub async fn run(self) -> Result<()> {
        self.tell();
        let ours = self.addresses();
        let networks = self.bound.iter().map(|bound| bound.interface.clone()).collect();
        let desk = Arc::new(Desk {
            elsewhere: Elsewhere::new(self.settings.forward.clone(), ours),
            answerer: Answerer::new(self.settings, networks, self.hosts),
        });
        let mut tasks = JoinSet::new();
        let doors = tcp::Doors::new();
        for bound in self.bound {
            let server = bound.interface.address;
            let handing = "handing a DNS socket to the runtime";
            let udp = UdpSocket::from_std(bound.udp).context(handing)?;
            let tcp = TcpListener::from_std(bound.tcp).context(handing)?;
            tasks.spawn(packets(udp, server, Arc::clone(&desk)));
            tasks.spawn(tcp::connections(tcp, server, Arc::clone(&desk), Arc::clone(&doors)));
        }
        tasks.spawn(async move { desk.elsewhere.keep_up().await });
        // None of them ends by itself.
        while let Some(ended) = tasks.join_next().await {
            ended.context("a DNS task crashed")?;
        }
        Ok(())
    }

    /// Says where names are answered and where not.
    fn tell(&self) {
        let domain = &self.settings.domain;
        for Taken { at, by } in &self.taken {
            self.sightings.notice(Notice {
                kind: "dns-port-taken",
                detail: format!("{at} is taken by {by}, so names of {domain} are not answered there; {WHAT_TO_DO}"),
            });
        }
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        let taken: Vec<String> = self
            .taken
            .iter()
            .map(|Taken { at, by }| format!("{at} by {by}"))
            .collect();
        let answered = format!("{domain} on {}", addresses.join(", "));
        let taken_by = format!("port taken: {}; {WHAT_TO_DO}", taken.join(", "));
        let detail = match (addresses.is_empty(), taken.is_empty()) {
            (_, true) => answered,
            (true, false) => taken_by,
            (false, false) => format!("{answered}, elsewhere the {taken_by}"),
        };
        self.sightings.service("dns", detail, self.taken.is_empty());
    }
}

/// Answers packets for ever.
async fn packets(socket: UdpSocket, server: Ipv4Addr, desk: Arc<Desk>) {
    let socket = Arc::new(socket);
    let mut waiting = JoinSet::new();
    let mut buffer = [0; LONGEST];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                debug!(%error, "receiving DNS packets");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while waiting.try_join_next().is_some() {}
        metrics::counter!("gleaner_dns_questions_total").increment(1);
        let Some(from) = v4(peer) else { continue };
        match desk
            .answerer
            .answer(&buffer[..length], Over::Udp, from, server, Instant::now())
        {
            Said::Nothing => {}
            Said::Now(answer) => send(&socket, &answer, peer).await,
            // How many of these there are at a time is limited there.
            Said::Elsewhere(question) => {
                let (socket, desk) = (Arc::clone(&socket), Arc::clone(&desk));
                waiting.spawn(
                    async move { send(&socket, &desk.ask_elsewhere(&question, from, server).await, peer).await },
                );
            }
        }
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(answer, peer).await {
        debug!(%peer, %error, "could not send");
    }
}

fn v4(peer: SocketAddr) -> Option<Ipv4Addr> {
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
