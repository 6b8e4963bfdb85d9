// SPDX-License-Identifier: Apache-2.0
//! The networks that this machine stands in: which interfaces are served, and what the edges tell the core.
//!
//! The edges (DHCP, TFTP, NTP) know sockets; the core knows nodes. Between them is only [`Sightings`]: what was
//! seen on the wire goes up, one question ("is this card ours?") comes down.

use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use pxe::Mac;
use pxe::bootfile::Loader;
use pxe::client::Client;
use pxe::dhcp::{Heard, Kind};
use pxe::grub;

pub(crate) mod datagram;
mod interfaces;
pub mod links;
pub mod neighbours;
pub mod watch;

pub use interfaces::{Interface, Wanted, interfaces, is_in, mask};
pub use links::{Addresses, Here, Link, Links};

/// What the core hears from the edges. Called from the receive loops: answer from memory, never wait.
pub trait Sightings: Send + Sync + 'static {
    /// Whether this card belongs to a node. Known machines are served first when addresses run short.
    fn is_known(&self, mac: Mac) -> bool;

    /// A card asks for something; called once a packet, before it is answered. It is only a sighting: it makes no node
    /// and changes none. Returns what is known of its kind.
    fn asked(&self, _asked: &Asked<'_>) -> Advice {
        Advice::default()
    }

    /// What a card was answered.
    fn seen(&self, sighting: Sighting);

    /// A transfer by TFTP has begun, or goes on: told at its start and then about once a second.
    fn fetching(&self, progress: &FetchProgress<'_>);

    /// What another server was heard to answer.
    fn overheard(&self, _heard: &Heard) {}

    /// A transfer by TFTP ended, or was refused.
    fn fetched(&self, fetch: Fetch);

    /// How a segment is now; called when that changes, and at start.
    fn segment(&self, _segment: SegmentNow) {}

    /// A segment is not served any more: its interface is gone.
    fn segment_gone(&self, _interface: &Arc<str>) {}

    /// How a service is now; `detail` is one line for a person.
    fn service(&self, name: &'static str, detail: String, ok: bool);

    /// Something happened that a person should know.
    fn notice(&self, notice: Notice);
}

/// A card asks for something by DHCP.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who, as far as the packet tells.
    pub client: &'a Client,
    /// On which interface.
    pub interface: &'a Arc<str>,
    /// For what.
    pub kind: Kind,
    /// Transaction: the same question, sent twice, has the same.
    pub xid: u32,
    /// Seconds since it began to ask, by its own word.
    pub secs: u16,
    /// The address that it has or takes, from whichever server.
    pub address: Option<Ipv4Addr>,
    /// The server whose offer it takes.
    pub chosen: Option<Ipv4Addr>,
    /// The relay that passed it on.
    pub relay: Option<Ipv4Addr>,
    /// What the relay says of where it came from (option 82), raw.
    pub relay_agent: &'a [u8],
    /// A relay whose network is none that we serve: the packet is not answered.
    pub stranded: Option<Ipv4Addr>,
}

/// What the core knows of a client that is to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// The loader that suits it, by what its earlier starts or those of its like have taught.
    pub loader: Option<Loader>,
    /// It is none of ours: it gets no loader, and goes on to its own disk.
    pub leave: bool,
}

/// A segment as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentNow {
    /// Its interface.
    pub interface: Arc<str>,
    /// Our address on it; the network's own where it lies behind relays.
    pub address: Ipv4Addr,
    /// Bits of its network part.
    pub prefix: u8,
    /// Who else answers DHCP there.
    pub company: Company,
    /// Whether machines get a loader from us there.
    pub serves: bool,
    /// Whether addresses were leased there until another server appeared.
    pub interrupted: bool,
    /// Whether it lies behind relays: no interface of ours is on it.
    pub relayed: bool,
    /// Our address as its machines reach it.
    pub server: Ipv4Addr,
}

impl SegmentNow {
    /// Whether an address is on it.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        is_in(address, (self.address, self.prefix))
    }
}

/// Who else answers DHCP on a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Not known yet.
    Unknown,
    /// Nobody.
    Alone,
    /// This server.
    Beside(Ipv4Addr),
}

/// How a packet was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// With the offer of an address.
    Offer,
    /// With an address.
    Ack,
    /// With settings for the address that it says that it has.
    Settings,
    /// With boot information beside another server's address.
    Proxy,
    /// With a refusal.
    Nak,
    /// Not at all: no address is left.
    NoAddress,
}

/// What a card that asked for something by DHCP was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who, as far as the packet tells.
    pub client: Client,
    /// On which interface.
    pub interface: Arc<str>,
    /// How it was answered.
    pub answered: Answered,
    /// The address that it was offered, was given, or already had.
    pub address: Option<Ipv4Addr>,
    /// What it was told to load, for a person; empty for a system.
    pub told: String,
}

/// A transfer by TFTP that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchProgress<'a> {
    /// Who asked.
    pub peer: Ipv4Addr,
    /// For what.
    pub file: &'a str,
    /// Bytes that arrived for sure; 0 at the start.
    pub arrived: u64,
    /// Bytes of the file.
    pub size: u64,
}

/// A transfer by TFTP that ended, or that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Who asked.
    pub peer: Ipv4Addr,
    /// For what.
    pub file: String,
    /// Bytes that arrived for sure.
    pub bytes: u64,
    /// Why it ended before the file did, in words; `None` when all of it arrived.
    pub failure: Option<String>,
    /// How it ended, for programs.
    pub ended: Ended,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All of it arrived.
    Whole,
    /// The client only asked how large the file is: UEFI does before it fetches.
    SizeOnly,
    /// It broke off.
    Broken,
    /// There is no such file.
    Absent,
    /// The request was refused before a file was looked for.
    Refused,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Short word for the list of events: `dhcp-beside`, `dhcp-named`, `dhcp-alone`, `pool-exhausted`, `no-loader`, `leases-unsaved`.
    pub kind: &'static str,
    /// In words: what happened, why, what to do.
    pub detail: String,
}

/// What firmware and loaders may fetch: loaders, kernel and initramfs of the RAM environment, and scripts.
pub trait Files: Send + Sync + 'static {
    /// The file of this name. Names come from the network; anything but an exact name is `None`. Called from the
    /// receive loops: opening a file is fine, reading it is not.
    fn get(&self, name: &str) -> Option<Content>;

    /// Whether there is a file of this name, without opening it: asked about every packet.
    fn has(&self, name: &str) -> bool;

    /// The boot script of a machine whose GRUB asks for it, from one address at another, which is ours. May wait for
    /// the disk: never called from a receive loop.
    fn script(&self, _asked: &grub::Asked<'_>, _from: Ipv4Addr, _at: Ipv4Addr) -> Option<String> {
        None
    }
}

/// What is in a file that firmware fetches.
#[derive(Clone, Debug)]
pub enum Content {
    /// It lies in memory, as loaders do.
    Memory(Bytes),
    /// It lies on the disk, as kernels do.
    Disk {
        /// Open for reading.
        file: Arc<File>,
        /// Bytes.
        size: u64,
    },
}

impl Content {
    /// Bytes of it.
    pub fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Disk { size, .. } => *size,
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(bytes.into())
    }
}
