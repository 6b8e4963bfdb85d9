// SPDX-License-Identifier: Apache-2.0
//! The network of a [`Spec`](crate::Spec) as templates see it: every device with a name of ours and what it lies on.
//!
//! Cards are `lan0`, `lan1` to us, whatever the kernel calls them; they are found by their hardware address.

use serde::Serialize;

use crate::spec::{Address, BondMode, Network, Uplink};

/// The devices, the lowest first.
#[derive(Debug, Serialize)]
pub(crate) struct Devices<'a> {
    cards: Vec<Card<'a>>,
    /// What the bond is called, if there is one.
    bond: Option<&'static str>,
    mode: Option<BondMode>,
    vlan: Option<Vlan>,
    bridge: Option<&'a str>,
    /// What lies directly on the uplink: the device that has the cards as its ports, or the card.
    uplink: &'static str,
    /// What lies below the bridge.
    below_bridge: String,
    /// The device with the address.
    top: String,
    /// The address that stands for the machine: bond and bridge take it too, so that DHCP knows the machine again.
    mac: &'a str,
    address: Option<Fixed<'a>>,
}

#[derive(Debug, Serialize)]
struct Card<'a> {
    id: String,
    mac: &'a str,
}

#[derive(Debug, Serialize)]
struct Vlan {
    id: u16,
    name: String,
}

#[derive(Debug, Serialize)]
struct Fixed<'a> {
    address: String,
    cidr: String,
    prefix: u8,
    netmask: String,
    gateway: Option<String>,
    dns: Vec<String>,
    search: Vec<&'a str>,
}

/// Names the devices.
pub(crate) fn devices(network: &Network) -> Devices<'_> {
    let cards = network.cards();
    let named = cards.iter().enumerate().map(|(i, mac)| Card {
        id: format!("lan{i}"),
        mac: mac.as_str(),
    });
    let (bond, mode) = match &network.uplink {
        Uplink::Card(_) => (None, None),
        Uplink::Bond { mode, .. } => (Some("bond0"), Some(*mode)),
    };
    let uplink = bond.unwrap_or("lan0");
    let vlan = network.vlan.map(|id| Vlan {
        id,
        name: format!("vlan{id}"),
    });
    let below_bridge = vlan.as_ref().map_or(uplink, |vlan| &vlan.name).to_owned();
    let bridge = network.bridge.as_ref().map(crate::words::DeviceName::as_str);
    Devices {
        cards: named.collect(),
        bond,
        mode,
        bridge,
        uplink,
        top: bridge.unwrap_or(&below_bridge).to_owned(),
        below_bridge,
        vlan,
        mac: cards.first().map_or("", |mac| mac.as_str()),
        address: fixed(&network.address),
    }
}

fn fixed(address: &Address) -> Option<Fixed<'_>> {
    let Address::Static {
        address,
        prefix,
        gateway,
        dns,
        search,
    } = address
    else {
        return None;
    };
    let mask = u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
    Some(Fixed {
        address: address.to_string(),
        cidr: format!("{address}/{prefix}"),
        prefix: *prefix,
        netmask: std::net::Ipv4Addr::from(mask).to_string(),
        gateway: gateway.map(|gateway| gateway.to_string()),
        dns: dns.iter().map(ToString::to_string).collect(),
        search: search.iter().map(crate::words::Host::as_str).collect(),
    })
}
