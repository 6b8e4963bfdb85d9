// SPDX-License-Identifier: Apache-2.0
//! DNS at the edge: names of nodes and pools are answered here, everything else is asked for elsewhere.
//!
//! The wire format is hickory's; what a name of this site means is [`zone`]'s. Only those whose networks are served
//! are answered: nobody's flood is made larger here (RFC 5358).

mod answer;
mod chain;
mod elsewhere;
mod follow;
mod question;
mod tcp;
mod under_way;
mod zone;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hickory_resolver::proto::rr::Name;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use self::answer::{Answerer, Said};
use self::elsewhere::Elsewhere;
pub(crate) use self::elsewhere::of_this_machine;
use self::follow::Follower;
use self::question::{Over, Question};
pub(crate) use self::zone::CONTROLLER;
pub use self::zone::Host;
use crate::network::{Addresses, Here, Interface, Sightings};
use crate::serve::holder_at;

/// Bytes of a question at most: some hundred, and more with options that clients add.
const LONGEST: usize = 4096;
/// Before a socket that has failed is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Knows the nodes.
pub trait Hosts: Send + Sync + 'static {
    /// All nodes that have a name, as they are now.
    fn hosts(&self) -> Vec<Host>;
}

/// What the site wants.
pub struct Settings {
    /// The site's domain, in lower case, no dot at the end.
    pub domain: String,
    /// Pools that are there even if nobody is in them: the profiles.
    pub pools: Vec<String>,
    /// Who is asked for all other names; those of this machine's own `/etc/resolv.conf` if empty.
    pub forward: Vec<IpAddr>,
    /// Networks behind relays: address and bits.
    pub behind_relays: Vec<(Ipv4Addr, u8)>,
    /// Whether names are answered on the interface of this name.
    pub serves: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Where it is kept at which of our addresses names are answered.
    pub answered: Addresses,
    /// Port of the server, 53.
    pub port: u16,
}

/// The bound sockets, before anything is answered.
pub struct Listener {
    settings: Settings,
    sockets: Sockets,
    here: watch::Receiver<Arc<Here>>,
    hosts: Arc<dyn Hosts>,
    sightings: Arc<dyn Sightings>,
}

/// Where names are answered.
#[derive(Default)]
struct Sockets {
    bound: Vec<Bound>,
    taken: Vec<Taken>,
}

/// An interface and its sockets.
struct Bound {
    interface: Interface,
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

/// An address at which names cannot be answered.
#[derive(PartialEq, Eq)]
struct Taken {
    at: SocketAddrV4,
    /// The program that answers there already, or what else is in the way; `None` where it cannot be seen.
    by: Option<String>,
}

impl Taken {
    fn by(&self) -> &str {
        self.by.as_deref().unwrap_or("another program")
    }
}

/// Binds the port on every interface but those where another program answers there already.
pub fn bind(
    settings: Settings,
    here: watch::Receiver<Arc<Here>>,
    hosts: Arc<dyn Hosts>,
    sightings: Arc<dyn Sightings>,
) -> Result<Listener> {
    let mut bound = Sockets::default();
    let now: Arc<Here> = here.borrow().clone();
    for interface in now.interfaces().filter(|interface| (settings.serves)(&interface.name)) {
        bound
            .open(interface, settings.port)
            .with_context(|| format!("binding port {}:{} for DNS", interface.address, settings.port))?;
    }
    settings.answered.set(bound.addresses());
    Ok(Listener {
        settings,
        sockets: bound,
        here,
        hosts,
        sightings,
    })
}

impl Sockets {
    /// Binds the port at an interface's address; that another program has it is remembered.
    fn open(&mut self, interface: &Interface, port: u16) -> io::Result<()> {
        let at = SocketAddrV4::new(interface.address, port);
        match listen(at) {
            Ok((udp, tcp)) => self.bound.push(Bound {
                interface: interface.clone(),
                udp,
                tcp,
            }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let by = holder_at("udp", at).or_else(|| holder_at("tcp", at));
                self.taken.push(Taken { at, by });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        self.bound.iter().map(|bound| bound.interface.address).collect()
    }
}

fn listen(at: SocketAddrV4) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
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
    /// Answers for ever; dropping the future stops it.
    pub async fn run(self) -> Result<()> {
        let Self {
            settings,
            sockets,
            here,
            hosts,
            sightings,
        } = self;
        let answered = settings.answered.clone();
        let serves = Arc::clone(&settings.serves);
        let (domain, port) = (settings.domain.clone(), settings.port);
        let desk = Arc::new(Desk {
            elsewhere: Elsewhere::new(settings.forward.clone(), answered.clone()),
            answerer: Answerer::new(settings, hosts),
        });
        let keeps_up = Arc::clone(&desk);
        let _keeping_up = AbortOnDropHandle::new(tokio::spawn(async move { keeps_up.elsewhere.keep_up().await }));
        let follower = Follower {
            domain,
            port,
            serves,
            answered,
            desk,
            sightings,
            limits: tcp::Doors::new(),
            running: Vec::new(),
            taken: Vec::new(),
        };
        follower.run(sockets, here).await
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
