// SPDX-License-Identifier: Apache-2.0
//! What DHCP is to do, and where.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pxe::Mac;

use super::{time, written};
use crate::config::{Dhcp, DhcpMode, OWN_NAMES, Reservation, Subnet, is_host_name};

/// Long enough that a node keeps its address over a lunch break of the server, short enough that strangers'
/// addresses come back the same day.
const LEASE_TIME: Duration = Duration::from_hours(4);

/// Clients renew at half of a lease, and firmware does not renew at all while it loads.
const SHORTEST_LEASE: Duration = Duration::from_mins(2);
/// What is promised for longer is never free again.
const LONGEST_LEASE: Duration = Duration::from_hours(365 * 24);

/// `[dhcp]`, or a section that says only what is different from `general`.
pub(super) fn dhcp(option: &str, written: &written::Dhcp, general: Option<&Dhcp>) -> Result<Dhcp> {
    let bounds = written
        .pool
        .as_deref()
        .map(|text| pool(&format!("{option}.pool"), text))
        .transpose()?;
    let lease_time = general.map_or(LEASE_TIME, |general| general.lease_time);
    let lease_time = time(
        &format!("{option}.lease_time"),
        written.lease_time.as_deref(),
        lease_time,
    )?;
    ensure!(
        (SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease_time),
        "{option}.lease_time: {:?} is not between 2m, in which firmware can load, and a year (8760h)",
        written.lease_time.as_deref().unwrap_or_default()
    );
    for (name, address) in [("gateway", written.gateway)]
        .into_iter()
        .chain(written.dns.iter().flatten().map(|address| ("dns", Some(*address))))
    {
        ensure!(
            address.is_none_or(is_somebodys),
            "{option}.{name}: {} is nobody's address",
            address.unwrap_or(Ipv4Addr::UNSPECIFIED)
        );
    }
    Ok(Dhcp {
        mode: written
            .mode
            .map(mode)
            .or(general.map(|general| general.mode))
            .unwrap_or(DhcpMode::Auto),
        pool: bounds.or(general.and_then(|general| general.pool)),
        lease_time,
        gateway: written.gateway.or(general.and_then(|general| general.gateway)),
        dns: written
            .dns
            .clone()
            .or(general.map(|general| general.dns.clone()))
            .unwrap_or_default(),
        check: written.check.or(general.map(|general| general.check)).unwrap_or(true),
    })
}

/// `[segments.INTERFACE]`
pub(super) fn segments(
    written: &BTreeMap<String, written::Dhcp>,
    general: &Dhcp,
    interfaces: &[String],
) -> Result<BTreeMap<String, Dhcp>> {
    let segment = |(name, written): (&String, &written::Dhcp)| {
        ensure!(
            interfaces.is_empty() || interfaces.contains(name),
            "segments.{name}: {name} is not one of the interfaces to serve; add it there, or leave this section out"
        );
        Ok((name.clone(), dhcp(&format!("segments.{name}"), written, Some(general))?))
    };
    written.iter().map(segment).collect()
}

/// `[[subnets]]`
pub(super) fn subnets(written: &[written::Subnet], general: &Dhcp) -> Result<Vec<Subnet>> {
    let mut subnets: Vec<Subnet> = Vec::new();
    for written in written {
        let subnet = subnet(written, general).with_context(|| format!("subnets {}", written.network))?;
        let twice = subnets
            .iter()
            .find(|other| other.contains(subnet.network) || subnet.contains(other.network));
        ensure!(
            twice.is_none(),
            "subnets {}: overlaps another one of [[subnets]]",
            written.network
        );
        subnets.push(subnet);
    }
    Ok(subnets)
}

fn subnet(written: &written::Subnet, general: &Dhcp) -> Result<Subnet> {
    let (network, prefix) = network(&written.network).context("network: not like \"198.51.100.0/24\"")?;
    let differs = written::Dhcp {
        mode: written.mode,
        pool: written.pool.clone(),
        lease_time: written.lease_time.clone(),
        gateway: written.gateway,
        dns: written.dns.clone(),
        check: written.check,
    };
    let own = Dhcp {
        pool: None,
        gateway: None,
        ..general.clone()
    };
    let subnet = Subnet {
        network,
        prefix,
        interface: written.interface.clone(),
        relays: written.relays.clone(),
        dhcp: dhcp("this subnet", &differs, Some(&own))?,
    };
    let inside = |address: &Ipv4Addr| subnet.contains(*address);
    let bounds = subnet.dhcp.pool.map(|(first, last)| [first, last]);
    ensure!(
        bounds.iter().flatten().all(inside),
        "pool: must be on the network itself"
    );
    ensure!(
        subnet.dhcp.gateway.iter().all(inside),
        "gateway: must be on the network itself"
    );
    let nobody = |relay: &&Ipv4Addr| {
        relay.is_unspecified() || relay.is_broadcast() || relay.is_multicast() || relay.is_loopback()
    };
    if let Some(relay) = subnet.relays.iter().find(nobody) {
        bail!("relays: {relay} is no address that a relay can have");
    }
    Ok(subnet)
}

/// `[[reservations]]`
pub(super) fn reservations(written: Vec<written::Reservation>) -> Result<Vec<Reservation>> {
    let (mut macs, mut addresses, mut names) = (HashSet::new(), HashSet::new(), HashSet::new());
    let reservation = |written: written::Reservation| {
        let mac: Mac = written
            .mac
            .parse()
            .with_context(|| format!("reservations: {:?} is not like \"52:54:00:12:34:56\"", written.mac))?;
        let address = written.address;
        ensure!(
            mac.is_card(),
            "reservations: {mac} is no card's address: it is all zeros, or a group's (the first byte is odd)"
        );
        ensure!(macs.insert(mac), "reservations: {mac} has two addresses");
        ensure!(
            is_somebodys(address),
            "reservations: {address} for {mac} is an address that no machine can have"
        );
        ensure!(
            addresses.insert(address),
            "reservations: {address} belongs to two cards"
        );
        if let Some(name) = &written.name {
            ensure!(
                is_host_name(name),
                "reservations: {name:?} is not a host name (lower case letters, digits, dashes)"
            );
            ensure!(
                !OWN_NAMES.contains(&name.as_str()),
                "reservations: {name} is a name of this server's own; call the machine at {address} something else"
            );
            ensure!(
                names.insert(name.clone()),
                "reservations: two cards have the name {name}"
            );
        }
        Ok(Reservation {
            mac,
            address,
            name: written.name,
        })
    };
    written.into_iter().map(reservation).collect()
}

/// Whether a machine can have an address, on whatever network: neither `0.…` nor the loopback's, a group's or above.
fn is_somebodys(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (1..224).contains(&first) && !address.is_loopback()
}

fn mode(written: written::Mode) -> DhcpMode {
    match written {
        written::Mode::Auto => DhcpMode::Auto,
        written::Mode::Full => DhcpMode::Full,
        written::Mode::Proxy => DhcpMode::Proxy,
        written::Mode::Off => DhcpMode::Off,
    }
}

fn pool(option: &str, text: &str) -> Result<(Ipv4Addr, Ipv4Addr)> {
    let bounds = text.split_once('-').and_then(|(first, last)| {
        let bounds: (Ipv4Addr, Ipv4Addr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (bounds.0 <= bounds.1).then_some(bounds)
    });
    bounds.with_context(|| format!("{option}: {text:?} is not like \"192.0.2.100-192.0.2.200\""))
}

/// `198.51.100.0/24`; nothing may be set in the part of the hosts.
pub(super) fn network(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (Ipv4Addr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    ((1..=30).contains(&prefix) && u32::from(address) & hosts == 0).then_some((address, prefix))
}
