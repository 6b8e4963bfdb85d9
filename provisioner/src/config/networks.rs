// SPDX-License-Identifier: Apache-2.0
//! What the site wants of DHCP: on every interface, on some, behind relays, for certain cards.

use std::net::Ipv4Addr;
use std::time::Duration;

use pxe::Mac;

use crate::network::is_in;

/// DHCP on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dhcp {
    /// How to behave beside other servers.
    pub mode: DhcpMode,
    /// First and last address to lease; the upper half of the network if absent.
    pub pool: Option<(Ipv4Addr, Ipv4Addr)>,
    /// How long a lease lasts.
    pub lease_time: Duration,
    /// Gateway to announce; none if absent.
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers to announce; none if empty.
    pub dns: Vec<Ipv4Addr>,
    /// Whether an address that answers ARP is left alone, whoever uses it.
    pub check: bool,
}

/// How DHCP behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhcpMode {
    /// Full where nobody else answers, proxy beside another server, decided again for ever.
    Auto,
    /// Leases addresses, whoever else does.
    Full,
    /// Adds boot information to another server's leases.
    Proxy,
    /// Silent.
    Off,
}

impl DhcpMode {
    /// The word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Full => "full",
            Self::Proxy => "proxy",
            Self::Off => "off",
        }
    }
}

/// A network that relays speak for (RFC 1542, 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its first address, which is nobody's.
    pub network: Ipv4Addr,
    /// Bits of the network part.
    pub prefix: u8,
    /// By which interface its relays reach us; the only one that is served if absent.
    pub interface: Option<String>,
    /// Relays that speak for it from an address of another network, a loopback's mostly.
    pub relays: Vec<Ipv4Addr>,
    /// DHCP there. Without a gateway the relay is announced as one.
    pub dhcp: Dhcp,
}

impl Subnet {
    /// Whether `address` is on this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        is_in(address, (self.network, self.prefix))
    }
}

/// An address that is always the same card's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Whose.
    pub mac: Mac,
    /// The address.
    pub address: Ipv4Addr,
    /// Host name to tell the client; none if absent.
    pub name: Option<String>,
}
