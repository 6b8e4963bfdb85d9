// SPDX-License-Identifier: Apache-2.0
//! How a machine is connected that an installer installs: which of its cards, and at which address. Pure.

use std::net::Ipv4Addr;

use kickstart::spec::{Address, Network, Uplink};
use kickstart::words::{Host, Mac};
use provisioner_api::{Inventory, Nic};

use super::word;
use crate::config::{Addressing, Installer};
use crate::network::is_in;

/// The networks of a site, as far as an address of its own needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// Those that are known.
    pub lans: Vec<Lan>,
    /// Which addresses are always the same card's: its hardware address, in lower case with colons, and the address.
    pub reserved: Vec<(String, Ipv4Addr)>,
}

/// A network in which machines have addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lan {
    /// What people call it: an interface of this server, or the network behind a relay.
    pub name: String,
    /// An address of it.
    pub address: Ipv4Addr,
    /// Bits of its network part.
    pub prefix: u8,
    /// The way out; none where a network ends at its switch.
    pub gateway: Option<Ipv4Addr>,
    /// Whether this server is beyond that way out.
    pub relayed: bool,
    /// Who resolves names.
    pub dns: Vec<Ipv4Addr>,
    /// The domain that short names are looked up in.
    pub search: Option<String>,
}

impl Networks {
    /// Networks that nobody has (RFC 5737), in which the first card of a [made up](super::made_up) machine has an address.
    pub fn made_up() -> Self {
        Self {
            lans: vec![Lan {
                name: "any".into(),
                address: Ipv4Addr::new(192, 0, 2, 1),
                prefix: 24,
                gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
                relayed: false,
                dns: Vec::new(),
                search: None,
            }],
            reserved: vec![(super::MADE_UP_CARDS[0].into(), Ipv4Addr::new(192, 0, 2, 20))],
        }
    }
}

impl Lan {
    fn contains(&self, address: Ipv4Addr) -> bool {
        is_in(address, (self.address, self.prefix))
    }
}

/// How a machine of this inventory is connected, or the field that stands against it.
pub(super) fn network(installer: &Installer, inventory: &Inventory, networks: &Networks) -> Result<Network, String> {
    let card = booted(inventory).ok_or("network.uplink.card: this machine told of no card")?;
    Ok(Network {
        uplink: uplink(installer, inventory, card)?,
        vlan: installer.vlan,
        bridge: installer.bridge.clone(),
        address: match installer.address {
            Addressing::Dhcp => Address::Dhcp,
            Addressing::Reserved => reserved(&card.mac.to_lowercase(), networks)?,
        },
    })
}

/// The card that the machine booted from: installers name it by its address, and so do we.
fn booted(inventory: &Inventory) -> Option<&Nic> {
    inventory.nics.iter().find(|nic| nic.booted).or(inventory.nics.first())
}

fn uplink(installer: &Installer, inventory: &Inventory, booted: &Nic) -> Result<Uplink, String> {
    let mac = |nic: &Nic| word("network.uplink.card", Mac::new(nic.mac.to_lowercase()));
    let Some(mode) = installer.bond else {
        return mac(booted).map(Uplink::Card);
    };
    // A card that is plugged in by USB may be another machine's tomorrow.
    let others = inventory
        .nics
        .iter()
        .filter(|nic| nic.mac != booted.mac && nic.link && !nic.usb);
    let cards: Vec<Mac> = std::iter::once(booted)
        .chain(others)
        .map(mac)
        .collect::<Result<_, _>>()?;
    if let [only] = cards.as_slice() {
        return Err(format!(
            "network.uplink.bond: only the card {only} of this machine has a cable in it, and a bond needs two; plug in \
             another cable and start it again from the network, or give it a profile without bond"
        ));
    }
    Ok(Uplink::Bond { cards, mode })
}

/// The address that is reserved for a card, with what its network needs.
fn reserved(mac: &str, networks: &Networks) -> Result<Address, String> {
    let found = networks.reserved.iter().find(|(of, _)| of == mac);
    let (_, address) = found.ok_or_else(|| {
        format!(
            "network.address: its profile says static, and no address is reserved for its card {mac}; write one into the \
             settings ([[reservations]] with mac = \"{mac}\" and address) and restart the service"
        )
    })?;
    let around = networks.lans.iter().filter(|lan| lan.contains(*address));
    let lan = around.max_by_key(|lan| lan.prefix).ok_or_else(|| {
        format!(
            "network.address: {address} is reserved for its card {mac} and is on no network that is served here; reserve \
             an address of one that is, or write the network into the settings ([[subnets]])"
        )
    })?;
    let gateway = lan.gateway.filter(|gateway| lan.contains(*gateway));
    if lan.relayed && gateway.is_none() {
        return Err(format!(
            "network.address.static.gateway: machines on {} reach this server by a router only, and the settings name \
             none; write it there as gateway",
            lan.name
        ));
    }
    let search = lan.search.as_deref();
    let search = search.map(|domain| word("network.address.static.search", Host::new(domain)));
    Ok(Address::Static {
        address: *address,
        prefix: lan.prefix,
        gateway,
        dns: lan.dns.clone(),
        search: search.into_iter().collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests;
