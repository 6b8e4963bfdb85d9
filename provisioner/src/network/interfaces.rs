// SPDX-License-Identifier: Apache-2.0
//! Which interfaces are served.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::LinkAddr;
use pxe::Mac;

/// An interface with an IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Kernel name.
    pub name: Arc<str>,
    /// Kernel index.
    pub index: u32,
    /// Its first address.
    pub address: Ipv4Addr,
    /// Bits of the network part.
    pub prefix: u8,
    /// Hardware address.
    pub mac: Option<Mac>,
}

/// How names of interfaces begin behind which guests and containers of this machine live. A PC is never there, and
/// a hypervisor's own DHCP server often is.
const GUESTS: [&str; 16] = [
    "docker", "br-", "virbr", "vnet", "veth", "tap", "tun", "wg", "cni", "flannel", "cali", "lxcbr", "lxdbr",
    "incusbr", "podman", "vmnet",
];

/// The mask of a network whose part of an address has so many bits.
pub fn mask(prefix: u8) -> Ipv4Addr {
    let host_bits = 32 - u32::from(prefix.min(32));
    Ipv4Addr::from(u32::MAX.checked_shl(host_bits).unwrap_or(0))
}

/// Whether an address is on a network, which is given by any address of it and the bits of its part.
pub fn is_in(address: Ipv4Addr, (network, prefix): (Ipv4Addr, u8)) -> bool {
    (u32::from(address) ^ u32::from(network)) & u32::from(mask(prefix)) == 0
}

impl Interface {
    /// Whether `address` is on this interface's network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        is_in(address, (self.address, self.prefix))
    }

    /// Network mask.
    pub fn mask(&self) -> Ipv4Addr {
        mask(self.prefix)
    }

    /// The network's own address, which is nobody's.
    pub fn network(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & u32::from(self.mask()))
    }

    /// The address that reaches everybody on this network.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !u32::from(self.mask()))
    }
}

/// Which interfaces are to be served.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// These; if there are none, all that look like a network of PCs.
    pub named: Vec<String>,
    /// Beside those that look like one, these: they have settings of their own.
    pub mentioned: Vec<String>,
}

impl Wanted {
    /// Those that are there, and the names of all that the settings name.
    pub(super) fn choose(&self) -> Result<(Vec<Interface>, impl Iterator<Item = Arc<str>>)> {
        let all = self.named.is_empty();
        let mut found = present()?;
        found.retain(|name, _| {
            self.named.contains(name)
                || all && (self.mentioned.contains(name) || !GUESTS.iter().any(|guest| name.starts_with(guest)))
        });
        let named = if all { &self.mentioned } else { &self.named };
        Ok((
            found.into_values().collect(),
            named.iter().map(|name| name.as_str().into()),
        ))
    }

    /// Fails where none of them is there, with what to do.
    pub(super) fn choose_some(&self) -> Result<()> {
        let (found, mut named) = self.choose()?;
        match named.next() {
            _ if !found.is_empty() => Ok(()),
            Some(name) => {
                bail!("the interface {name} is not up, or has no IPv4 address; give it a fixed one, or name another")
            }
            None => bail!("no interface is up with an IPv4 address; give the one that the PCs are on a fixed address"),
        }
    }
}

/// The interfaces named in `wanted`, each of which must be there and have an address; all that look like a network
/// of PCs if `wanted` is empty, and those that are `mentioned` elsewhere, whatever they look like.
pub fn interfaces(wanted: &[String], mentioned: &[&str]) -> Result<Vec<Interface>> {
    let mut found = present()?;
    if wanted.is_empty() {
        if let Some(absent) = mentioned.iter().find(|name| !found.contains_key(**name)) {
            bail!(
                "the interface {absent} of [segments] is not up, or has no IPv4 address; give it a fixed one, or leave \
                 its section out"
            );
        }
        found.retain(|name, _| {
            mentioned.contains(&name.as_str()) || !GUESTS.iter().any(|guest| name.starts_with(guest))
        });
        if found.is_empty() {
            bail!("no interface is up with an IPv4 address; give the one that the PCs are on a fixed address");
        }
        return Ok(found.into_values().collect());
    }
    wanted
        .iter()
        .map(|name| {
            found.remove(name).with_context(|| {
                format!("the interface {name} is not up, or has no IPv4 address; give it a fixed one, or name another")
            })
        })
        .collect()
}

/// Every interface but the loopback that is up and has an IPv4 address, by name.
fn present() -> Result<BTreeMap<String, Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    let mut macs: BTreeMap<String, Mac> = BTreeMap::new();
    for entry in getifaddrs().context("listing the network interfaces")? {
        let (Some(address), flags) = (entry.address, entry.flags) else {
            continue;
        };
        if let Some(mac) = address.as_link_addr().and_then(LinkAddr::addr) {
            macs.insert(entry.interface_name.clone(), Mac(mac));
        }
        let serves = flags.contains(InterfaceFlags::IFF_UP)
            && !flags.intersects(InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_POINTOPOINT);
        let (Some(ip), Some(mask), true) = (
            address.as_sockaddr_in(),
            entry.netmask.as_ref().and_then(|mask| mask.as_sockaddr_in()),
            serves,
        ) else {
            continue;
        };
        let name = entry.interface_name;
        let Ok(index) = if_nametoindex(name.as_str()) else {
            continue;
        };
        let prefix = u8::try_from(u32::from(mask.ip()).leading_ones()).unwrap_or(32);
        found.entry(name.clone()).or_insert_with(|| Interface {
            name: name.into(),
            index,
            address: ip.ip(),
            prefix,
            mac: None,
        });
    }
    for (name, interface) in &mut found {
        interface.mac = macs.get(name).copied();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(prefix: u8) -> Interface {
        let address = Ipv4Addr::new(10, 77, 3, 1);
        Interface {
            name: "br0".into(),
            index: 2,
            address,
            prefix,
            mac: None,
        }
    }

    #[test]
    fn masks_are_right_at_both_ends() {
        assert_eq!(interface(24).mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(interface(32).mask(), Ipv4Addr::BROADCAST);
        assert_eq!(interface(0).mask(), Ipv4Addr::UNSPECIFIED);
        assert_eq!(interface(16).broadcast(), Ipv4Addr::new(10, 77, 255, 255));
        assert!(interface(24).contains(Ipv4Addr::new(10, 77, 3, 200)));
        assert!(!interface(24).contains(Ipv4Addr::new(10, 77, 4, 1)));
    }
}
