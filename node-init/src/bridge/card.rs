// SPDX-License-Identifier: Apache-2.0
//! Which card carries the way to the controller: found by that way, never by a name that may change at the next boot.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;

use nix::ifaddrs::getifaddrs;

/// The card under the node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Kernel name, good until the next boot.
    pub name: String,
    /// Its own hardware address, lower case with colons.
    pub mac: String,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
}

/// The interface, address and prefix by which packets to the controller leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Kernel name: the card, or the bridge over it.
    pub interface: String,
    /// The node's address.
    pub address: IpAddr,
    /// Length of its prefix.
    pub prefix: u8,
}

/// Why no card can be told.
#[derive(Debug, thiserror::Error)]
pub enum NoCard {
    /// The kernel knows no way to the controller.
    #[error("there is no way to the controller")]
    NoWay(#[source] io::Error),
    /// An access point takes frames of its own station only, so nothing behind a bridge could be heard.
    #[error("{0} is a wireless card, which cannot carry a bridge; plug in a cable")]
    Wireless(String),
    /// A tunnel, a bond, or something else that is no hardware.
    #[error("{0} has no single network card under it")]
    NotACard(String),
    /// The address cannot be read.
    #[error("the hardware address of {0} cannot be read")]
    NoAddress(String, #[source] io::Error),
}

/// Asks the kernel by which way it would send to `controller` (`HOST:PORT`); no packet leaves.
pub fn way_to(controller: &str) -> Result<Way, NoCard> {
    let target = resolve(controller).map_err(NoCard::NoWay)?;
    let any: SocketAddr = if target.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let local = UdpSocket::bind(any)
        .and_then(|socket| socket.connect(target).and_then(|()| socket.local_addr()))
        .map_err(NoCard::NoWay)?
        .ip();
    let interfaces = getifaddrs().map_err(|e| NoCard::NoWay(e.into()))?;
    for interface in interfaces {
        let address = interface.address.as_ref().and_then(ip_of);
        if address == Some(local) {
            let prefix = interface.netmask.as_ref().and_then(ip_of).map_or(0, prefix_length);
            return Ok(Way {
                interface: interface.interface_name,
                address: local,
                prefix,
            });
        }
    }
    Err(NoCard::NoWay(io::Error::other(format!(
        "no interface has the address {local}"
    ))))
}

fn resolve(controller: &str) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("{controller} has no address"));
    controller.to_socket_addrs()?.next().ok_or_else(none)
}

fn ip_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

/// Ones at the start of a netmask.
fn prefix_length(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => u32::from(mask).leading_ones(),
        IpAddr::V6(mask) => u128::from(mask).leading_ones(),
    };
    u8::try_from(ones).unwrap_or(u8::MAX)
}

/// The card that is `interface`, or that is the one port of hardware of the bridge `interface`, as `sys`
/// (`/sys` outside tests) shows it.
pub fn under(sys: &Path, interface: &str) -> Result<Card, NoCard> {
    let class = sys.join("class/net");
    let bridge = class
        .join(interface)
        .join("bridge")
        .exists()
        .then(|| interface.to_owned());
    let name = match &bridge {
        None => interface.to_owned(),
        Some(bridge) => {
            let ports = names(&class.join(bridge).join("brif"));
            let mut cards = ports
                .into_iter()
                .filter(|port| class.join(port).join("device").exists());
            match (cards.next(), cards.next()) {
                (Some(card), None) => card,
                _ => return Err(NoCard::NotACard(bridge.clone())),
            }
        }
    };
    let folder = class.join(&name);
    if folder.join("wireless").exists() || folder.join("phy80211").exists() {
        return Err(NoCard::Wireless(name));
    }
    if !folder.join("device").exists() {
        return Err(NoCard::NotACard(name));
    }
    let mac = fs::read_to_string(folder.join("address")).map_err(|e| NoCard::NoAddress(name.clone(), e))?;
    Ok(Card {
        mac: mac.trim().to_ascii_lowercase(),
        name,
        bridge,
    })
}

/// The address of the card under the way to the controller: the one that the machine boots from, where nobody wrote
/// down which that was.
pub fn booted(root: &Path, controller: &str) -> Option<String> {
    let way = way_to(controller).ok()?;
    under(&root.join("sys"), &way.interface).ok().map(|card| card.mac)
}

/// The card with this hardware address; a bridge over it has the same one and is not meant.
pub fn by_mac(sys: &Path, mac: &str) -> Option<String> {
    let class = sys.join("class/net");
    names(&class).into_iter().find(|name| {
        let folder = class.join(name);
        let same = fs::read_to_string(folder.join("address")).is_ok_and(|a| a.trim().eq_ignore_ascii_case(mac));
        same && folder.join("device").exists()
    })
}

/// Sorted, so that two looks at the same machine give the same answer.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MAC: &str = "52:54:00:77:00:01";

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = sys.path().join("class/net").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        sys
    }

    #[test]
    fn a_card_is_itself_and_the_one_card_of_its_bridge() {
        let sys = machine(&[
            ("enp1s0/address", "52:54:00:77:00:01\n"),
            ("enp1s0/device/x", ""),
            ("br0/address", "52:54:00:77:00:01\n"),
            ("br0/bridge/stp_state", "0\n"),
            ("br0/brif/enp1s0", ""),
            ("br0/brif/vnet0", ""),
            ("vnet0/address", "fe:54:00:00:00:01\n"),
        ]);
        let card = Card {
            name: "enp1s0".into(),
            mac: MAC.into(),
            bridge: None,
        };
        assert_eq!(under(sys.path(), "enp1s0").unwrap(), card);
        assert_eq!(
            under(sys.path(), "br0").unwrap(),
            Card {
                bridge: Some("br0".into()),
                ..card
            }
        );
        assert_eq!(by_mac(sys.path(), MAC).as_deref(), Some("enp1s0"));
    }

    #[test]
    fn wireless_cards_tunnels_and_bridges_over_two_cards_are_left_alone() {
        let sys = machine(&[
            ("wlp2s0/address", MAC),
            ("wlp2s0/device/x", ""),
            ("wlp2s0/wireless/x", ""),
            ("wg0/address", MAC),
            ("br0/bridge/x", ""),
            ("br0/brif/eth0", ""),
            ("br0/brif/eth1", ""),
            ("eth0/device/x", ""),
            ("eth1/device/x", ""),
        ]);
        assert!(matches!(under(sys.path(), "wlp2s0"), Err(NoCard::Wireless(_))));
        assert!(matches!(under(sys.path(), "wg0"), Err(NoCard::NotACard(_))));
        assert!(matches!(under(sys.path(), "br0"), Err(NoCard::NotACard(_))));
        assert_eq!(by_mac(sys.path(), "00:00:00:00:00:00"), None);
    }

    #[test]
    fn the_way_to_oneself_is_the_loopback_which_is_no_card() {
        let way = way_to("127.0.0.1:8443").unwrap();
        assert_eq!((way.interface.as_str(), way.prefix), ("lo", 8));
        assert!(under(Path::new("/sys"), &way.interface).is_err());
    }

    #[test]
    fn prefixes_are_counted_in_ones() {
        assert_eq!(prefix_length("255.255.254.0".parse().unwrap()), 23);
        assert_eq!(prefix_length("ffff:ffff:ffff:ffff::".parse().unwrap()), 64);
    }
}
