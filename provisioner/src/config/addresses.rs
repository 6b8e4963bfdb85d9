// SPDX-License-Identifier: Apache-2.0
//! Whether the addresses of the settings can be given to anybody, on the networks that this machine stands in. Pure.
//!
//! Asked by `check-config` where the interfaces are there, by the server before it starts, and by the doctor for as long as
//! it runs: an interface may have got another address since.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{Config, Dhcp, Place, Reservation, Subnet};
use crate::network::{Interface, is_in, mask};

/// A network and what its addresses are for.
struct Lan<'a> {
    /// How the settings name it.
    name: String,
    /// Any address of it, and the bits of its part.
    network: (Ipv4Addr, u8),
    /// This server's own address there, where it has one.
    own: Option<Ipv4Addr>,
    dhcp: &'a Dhcp,
}

/// What no machine could have, a sentence each; `segments` are the interfaces with DHCP. Where not `all` of them are there
/// yet, an address may be on the network of one that comes later.
pub fn wrong(
    segments: &[(Interface, Dhcp)],
    subnets: &[Subnet],
    reservations: &[Reservation],
    all: bool,
) -> Vec<String> {
    let near = segments.iter().map(|(interface, dhcp)| Lan {
        name: interface.name.to_string(),
        network: (interface.address, interface.prefix),
        own: Some(interface.address),
        dhcp,
    });
    let far = subnets.iter().map(|subnet| Lan {
        name: format!("{}/{}", subnet.network, subnet.prefix),
        network: (subnet.network, subnet.prefix),
        own: None,
        dhcp: &subnet.dhcp,
    });
    let (near, far): (Vec<_>, Vec<_>) = (near.collect(), far.collect());
    let mut wrong = BTreeSet::new();
    wrong.extend(near.iter().filter_map(|lan| pool(lan, &near, all)));
    wrong.extend(near.iter().filter_map(|lan| gateway(lan, &near, all)));
    wrong.extend(far.iter().filter_map(|lan| pool(lan, &far, true)));
    wrong.extend(far.iter().filter_map(|lan| gateway(lan, &far, true)));
    let lans: Vec<&Lan<'_>> = near.iter().chain(&far).collect();
    wrong.extend(reservations.iter().filter_map(|own| reservation(own, &lans, all)));
    wrong.into_iter().collect()
}

/// What is wrong with the configuration on a machine with these interfaces to serve.
pub fn wrong_here(config: &Config, interfaces: Vec<Interface>) -> Vec<String> {
    let mut all = not_served(config, &interfaces);
    if config.serves_dhcp() {
        let segments = config.with_dhcp(interfaces);
        all.extend(wrong(&segments, &config.subnets, &config.reservations, true));
    }
    all
}

/// Segments of `[enrolment.segments]` that are none of the interfaces that are served.
pub fn not_served(config: &Config, interfaces: &[Interface]) -> Vec<String> {
    let named = config.enrolment.segments.iter().filter_map(|(place, _)| match place {
        Place::Interface(name) => Some(name),
        Place::Network(..) => None,
    });
    // One with a section of its own is awaited, and served when it comes.
    let named = named.filter(|name| !config.segments.contains_key(*name));
    let absent = named.filter(|name| !interfaces.iter().any(|interface| *interface.name == ***name));
    let told = absent.map(|name| {
        format!(
            "enrolment.segments: the interface {name} is not served (served are: {}); name one that is, or leave it out",
            names(interfaces)
        )
    });
    told.collect()
}

fn names(interfaces: &[Interface]) -> String {
    let all: Vec<&str> = interfaces.iter().map(|interface| &*interface.name).collect();
    all.join(", ")
}

/// Why an address is none that a machine of the network can have.
fn nobodys(address: Ipv4Addr, lan: &Lan<'_>) -> Option<String> {
    let (_, prefix) = lan.network;
    if lan.own == Some(address) {
        return Some(format!("{address} is this server's own address on {}", lan.name));
    }
    // RFC 3021: a network of two addresses has neither.
    let hosts = !u32::from(mask(prefix));
    if prefix >= 31 {
        return None;
    }
    match u32::from(address) & hosts {
        0 => Some(format!("{address} is the address of the network {} itself", lan.name)),
        host if host == hosts => Some(format!("{address} is the broadcast address of {}", lan.name)),
        _ => None,
    }
}

/// A pool may be written for several interfaces together; it counts where it lies.
fn pool(lan: &Lan<'_>, lans: &[Lan<'_>], all: bool) -> Option<String> {
    let (first, last) = lan.dhcp.pool?;
    let at = |lan: &&Lan<'_>| is_in(first, lan.network) && is_in(last, lan.network);
    let Some(at) = lans.iter().filter(|other| other.dhcp.pool == lan.dhcp.pool).find(at) else {
        return all.then(|| {
            format!(
                "the DHCP pool {first} to {last} is on no network of the served interfaces; move it, or leave it out"
            )
        });
    };
    let ends = [first, last].into_iter().find_map(|end| nobodys(end, at));
    let own = at.own.filter(|own| (first..=last).contains(own));
    let own = own.map(|own| format!("{own} in it is this server's own address on {}", at.name));
    let why = ends.or(own)?;
    Some(format!(
        "the DHCP pool {first} to {last}: {why}; let it begin behind that address or end before it"
    ))
}

fn gateway(lan: &Lan<'_>, lans: &[Lan<'_>], all: bool) -> Option<String> {
    let gateway = lan.dhcp.gateway?;
    let at = |lan: &&Lan<'_>| is_in(gateway, lan.network);
    let Some(at) = lans.iter().filter(|other| other.dhcp.gateway == Some(gateway)).find(at) else {
        return all.then(|| format!(
            "the gateway {gateway} is on no network of the served interfaces, so no machine could reach it; name the router's \
             address on their own network, or leave it out"
        ));
    };
    // This server may be the router itself.
    let why = nobodys(gateway, at).filter(|_| at.own != Some(gateway))?;
    Some(format!("the gateway {gateway}: {why}; name the router's own address"))
}

fn reservation(Reservation { mac, address, .. }: &Reservation, lans: &[&Lan<'_>], all: bool) -> Option<String> {
    let Some(lan) = lans.iter().find(|lan| is_in(*address, lan.network)) else {
        return all.then(|| format!(
            "reservations: {address} for {mac} is on no network that is served; serve its network, or choose another address"
        ));
    };
    let router = (lan.dhcp.gateway == Some(*address)).then(|| format!("{address} is the gateway of {}", lan.name));
    let why = nobodys(*address, lan).or(router)?;
    Some(format!(
        "reservations: {why}, and cannot be {mac}'s; choose another address"
    ))
}

#[cfg(test)]
mod tests;
