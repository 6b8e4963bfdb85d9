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
use pxe::client::Client;

pub(crate) mod datagram;
mod interfaces;
pub mod watch;

pub use interfaces::{Interface, interfaces};

/// What the core hears from the edges. Called from the receive loops: answer from memory, never wait.
pub trait Sightings: Send + Sync + 'static {
    /// Whether this card belongs to a node. Known machines are served first when addresses run short.
    fn is_known(&self, mac: Mac) -> bool;

    /// A card asked for something. It is only a sighting: it makes no node and changes none.
    fn seen(&self, sighting: Sighting);

    /// A transfer by TFTP has begun, or goes on: told at its start and then about once a second.
    fn fetching(&self, progress: &FetchProgress<'_>);

    /// A transfer by TFTP ended.
    fn fetched(&self, fetch: Fetch);

    /// How a service is now; `detail` is one line for a person.
    fn service(&self, name: &'static str, detail: String, ok: bool);

    /// Something happened that a person should know.
    fn notice(&self, notice: Notice);
}

/// A card that asked for something by DHCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who, as far as the packet tells.
    pub client: Client,
    /// On which interface.
    pub interface: Arc<str>,
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

/// A transfer by TFTP that ended.
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
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Short word for the list of events: `dhcp-beside`, `dhcp-alone`, `pool-exhausted`, `no-loader`, `leases-unsaved`.
    pub kind: &'static str,
    /// In words: what happened, why, what to do.
    pub detail: String,
}

/// The files that firmware may fetch: the loaders of the RAM environment.
pub trait Files: Send + Sync + 'static {
    /// The file of this name. Names come from the network; anything but an exact name is `None`. Called from the
    /// receive loops: opening a file is fine, reading it is not.
    fn get(&self, name: &str) -> Option<Content>;

    /// Whether there is a file of this name, without opening it: asked about every packet.
    fn has(&self, name: &str) -> bool;
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
