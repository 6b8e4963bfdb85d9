// SPDX-License-Identifier: Apache-2.0
//! The interfaces that are served, followed while they come and go and change their addresses.
//!
//! The kernel tells by netlink that something has changed; what there is now is then read anew as a whole, so that a
//! message that gets lost costs a few seconds and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Result;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::sync::watch;
use tracing::{info, warn};

use super::interfaces::{Interface, Wanted};

/// Between two looks that nobody has asked for: messages of the kernel get lost where too many come at once.
const PACE: Duration = Duration::from_secs(10);
/// Before the kernel is listened to again, after that has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the kernel says, and which part of it.
type Message = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr);

/// Addresses that change while the server runs, shared by all who must know them as they are now.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<RwLock<BTreeSet<Ipv4Addr>>>);

impl Addresses {
    /// Whether this is one of them.
    pub fn has(&self, address: Ipv4Addr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }

    /// All of them.
    pub fn all(&self) -> BTreeSet<Ipv4Addr> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// They are these from now on, and no others.
    pub fn set(&self, addresses: BTreeSet<Ipv4Addr>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

impl<const N: usize> From<[Ipv4Addr; N]> for Addresses {
    fn from(addresses: [Ipv4Addr; N]) -> Self {
        Self(Arc::new(RwLock::new(addresses.into())))
    }
}

/// An interface that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is.
    pub interface: Interface,
    /// How often an interface with this index was removed before: one that is made anew at once, with the same index,
    /// is another one all the same, and sockets of the old one hear nothing.
    pub removed: u64,
}

/// What is there of the interfaces that are to be served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Those that are there.
    pub links: Vec<Link>,
    /// Names of those that are not: the settings name them, or they were there before.
    pub absent: BTreeSet<Arc<str>>,
}

impl Here {
    /// The interfaces that are there.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.links.iter().map(|link| &link.interface)
    }
}

/// Follows the interfaces.
pub struct Links {
    wanted: Wanted,
    own: Addresses,
    here: watch::Sender<Arc<Here>>,
    /// How often an interface with this index was removed.
    removed: BTreeMap<u32, u64>,
    /// Names of all that were there once.
    seen: BTreeSet<Arc<str>>,
}

impl Links {
    /// Looks which interfaces are there; where some are `needed`, an error says why there are none.
    pub fn open(wanted: Wanted, needed: bool) -> Result<Self> {
        let mut links = Self {
            wanted,
            own: Addresses::default(),
            here: watch::Sender::default(),
            removed: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        if needed {
            links.wanted.choose_some()?;
        }
        links.look()?;
        Ok(links)
    }

    /// Our addresses on the networks that are served.
    pub fn own(&self) -> Addresses {
        self.own.clone()
    }

    /// What is there, now and whenever that changes.
    pub fn follow(&self) -> watch::Receiver<Arc<Here>> {
        self.here.subscribe()
    }

    /// Follows the interfaces for ever.
    pub async fn run(mut self) -> Result<()> {
        loop {
            if let Err(error) = self.listen().await {
                warn!(%error, "the kernel's word on interfaces cannot be heard; they are looked at now and then");
            }
            tokio::time::sleep(PAUSE).await;
            self.look_again();
        }
    }

    /// Listens to the kernel until that fails.
    async fn listen(&mut self) -> io::Result<()> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
        let (connection, _handle, messages) = new_multicast_connection(&groups)?;
        tokio::select! {
            () = connection => {}
            () = self.hear(messages) => {}
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Looks whenever something is said, and now and then.
    async fn hear(&mut self, mut messages: impl Stream<Item = Message> + Unpin) {
        let mut pace = tokio::time::interval(PACE);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some((message, _)) = message else { return };
                    self.note(&message.payload);
                    // Whatever else the kernel has said by now is seen by the same look.
                    while let Some(Some((message, _))) = messages.next().now_or_never() {
                        self.note(&message.payload);
                    }
                }
                _ = pace.tick() => {}
            }
            self.look_again();
        }
    }

    /// Remembers that an interface was removed: another look may find one like it in its place already.
    fn note(&mut self, said: &NetlinkPayload<RouteNetlinkMessage>) {
        if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) = said
            // A port that leaves a bridge is told in the same words, of the bridge's family.
            && link.header.interface_family == AddressFamily::Unspec
        {
            *self.removed.entry(link.header.index).or_default() += 1;
        }
    }

    fn look_again(&mut self) {
        if let Err(error) = self.look() {
            warn!(error = format!("{error:#}"), "looking at the interfaces");
        }
    }

    /// Reads what is there, and tells those who follow if it has changed.
    fn look(&mut self) -> Result<()> {
        let (interfaces, wanted) = self.wanted.choose()?;
        let there = interfaces.iter().map(|interface| Arc::clone(&interface.name));
        self.seen.extend(there.chain(wanted));
        let present: BTreeSet<&Arc<str>> = interfaces.iter().map(|interface| &interface.name).collect();
        let absent = self
            .seen
            .iter()
            .filter(|name| !present.contains(name))
            .cloned()
            .collect();
        let link = |interface: Interface| Link {
            removed: self.removed.get(&interface.index).copied().unwrap_or(0),
            interface,
        };
        let here = Here {
            links: interfaces.into_iter().map(link).collect(),
            absent,
        };
        // Before anybody speaks from a new one.
        self.own
            .set(here.interfaces().map(|interface| interface.address).collect());
        if **self.here.borrow() != here {
            let names: Vec<String> = here
                .interfaces()
                .map(|at| format!("{} {}", at.name, at.address))
                .collect();
            info!(there = names.join(", "), absent = ?here.absent, "interfaces");
            self.here.send_replace(Arc::new(here));
        }
        Ok(())
    }
}
