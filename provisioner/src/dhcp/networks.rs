// SPDX-License-Identifier: Apache-2.0
//! From what the site wants to the networks that are served: pools, reservations, networks behind relays.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use pxe::Mac;
use pxe::dhcp::Network;
use pxe::lease::{Lease, Table};
use pxe::proxy::Dialects;

use super::Settings;
use super::answer::Segment;
use super::check::Checks;
use super::encore::Encores;
use crate::config::{Dhcp, Reservation, Subnet};
use crate::leases::Log;
use crate::network::Interface;
use crate::network::watch::Watch;

/// Largest pool that is chosen without being asked for: a thousand PCs.
const POOL: u32 = 1024;
/// Shortest lease. Clients renew at half of it, and firmware does not renew at all while it loads.
const SHORTEST_LEASE: u64 = 120;

/// Seconds that a lease of before may have left: a week and, where leases are longer, renewals that come long before.
const LONGEST_LEFT: u64 = 7 * 24 * 3600;

/// A segment an interface, with the networks behind relays in it. `unix` is the time, seconds since 1970.
pub(super) fn segments(settings: &Settings, log: &Log, unix: u64) -> Result<Vec<Segment>> {
    check(settings)?;
    let ours: Vec<Ipv4Addr> = settings
        .segments
        .iter()
        .map(|(interface, _)| interface.address)
        .collect();
    let mut segments = Vec::new();
    for (interface, dhcp) in &settings.segments {
        let watch = Watch::new(dhcp.mode, &ours, Duration::ZERO);
        let mut segment = network(settings, dhcp, interface, interface.address, watch, log, unix);
        for subnet in &settings.subnets {
            if relays_of(settings, subnet)? == interface {
                let watch = Watch::behind_relays(subnet.dhcp.mode, &ours);
                let place = behind(subnet, interface);
                let network = network(settings, &subnet.dhcp, &place, interface.address, watch, log, unix);
                segment.relayed.push(network);
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// What no packet would ever show.
fn check(settings: &Settings) -> Result<()> {
    let on_an_interface = |address: Ipv4Addr| settings.segments.iter().any(|(other, _)| other.contains(address));
    for (first, last) in settings.segments.iter().filter_map(|(_, dhcp)| dhcp.pool) {
        let fits = |(interface, _): &(Interface, Dhcp)| interface.contains(first) && interface.contains(last);
        ensure!(
            settings.segments.iter().any(fits),
            "the DHCP pool {first} to {last} is on no network of the served interfaces; move it, or leave it out"
        );
    }
    for subnet in &settings.subnets {
        ensure!(
            !on_an_interface(subnet.network),
            "subnets {}/{}: this machine is on that network itself; leave it out, and name its interface instead",
            subnet.network,
            subnet.prefix
        );
        relays_of(settings, subnet)?;
    }
    for Reservation { mac, address, .. } in &settings.reservations {
        ensure!(
            on_an_interface(*address) || settings.subnets.iter().any(|subnet| subnet.contains(*address)),
            "reservations: {address} for {mac} is on no network that is served"
        );
    }
    Ok(())
}

/// The interface by which a subnet's relays reach us.
fn relays_of<'a>(settings: &'a Settings, subnet: &Subnet) -> Result<&'a Interface> {
    let at = || format!("subnets {}/{}", subnet.network, subnet.prefix);
    match (&subnet.interface, settings.segments.as_slice()) {
        (Some(name), segments) => segments
            .iter()
            .map(|(interface, _)| interface)
            .find(|interface| *interface.name == **name)
            .with_context(|| format!("{}: the interface {name} is not served", at())),
        (None, [(only, _)]) => Ok(only),
        (None, _) => bail!("{}: say by which interface its relays reach this machine", at()),
    }
}

/// What an interface of ours would be on a network behind relays.
fn behind(subnet: &Subnet, interface: &Interface) -> Interface {
    Interface {
        name: format!("{}/{} behind {}", subnet.network, subnet.prefix, interface.name).into(),
        index: interface.index,
        address: subnet.network,
        prefix: subnet.prefix,
        mac: None,
    }
}

/// A network; `server` is our address, wherever the client is.
fn network(
    settings: &Settings,
    dhcp: &Dhcp,
    interface: &Interface,
    server: Ipv4Addr,
    watch: Watch,
    log: &Log,
    unix: u64,
) -> Segment {
    let pool = dhcp
        .pool
        .filter(|(first, _)| interface.contains(*first))
        .unwrap_or_else(|| default_pool(interface));
    let reserved: HashMap<Mac, Reservation> = settings
        .reservations
        .iter()
        .filter(|reservation| interface.contains(reservation.address))
        .map(|reservation| (reservation.mac, reservation.clone()))
        .collect();
    let ours = [interface.address, interface.broadcast(), server];
    let others = dhcp.gateway.iter().chain(&dhcp.dns).copied();
    let kept = reserved.values().map(|reservation| reservation.address);
    let never: Vec<Ipv4Addr> = ours.into_iter().chain(others).chain(kept).collect();
    let mut table = Table::new(pool.0, pool.1, &never);
    log.leases().for_each(|lease| table.restore(believed(lease, unix)));
    let names = settings.names.as_ref().filter(|names| names.servers.contains(&server));
    let mut probe: [u8; 6] = rand::random();
    // A locally administered address of one card (IEEE 802): no maker has given it to anybody.
    probe[0] = (probe[0] | 2) & !1;
    Segment {
        interface: interface.clone(),
        network: Network {
            server,
            mask: interface.mask(),
            broadcast: interface.broadcast(),
            gateway: dhcp.gateway.filter(|gateway| interface.contains(*gateway)),
            // Another server's addresses where the site names some; else ours, where we answer.
            dns: match names {
                Some(_) if dhcp.dns.is_empty() => vec![server],
                _ => dhcp.dns.clone(),
            },
            domain: names.map(|names| names.domain.clone()).unwrap_or_default(),
            ntp: if settings.ntp { vec![server] } else { vec![] },
        },
        server: pxe::bootfile::Server {
            address: server,
            http_port: settings.http_port,
        },
        table,
        pool,
        watch,
        lease_time: u32::try_from(dhcp.lease_time.as_secs().max(SHORTEST_LEASE)).unwrap_or(u32::MAX),
        probe: Mac(probe),
        reserved,
        dialects: Dialects::default(),
        encores: Encores::default(),
        checks: Checks::new(dhcp.check),
        relayed: Vec::new(),
        promises: Vec::new(),
        troubles: Vec::new(),
        noticed: BTreeMap::new(),
    }
}

/// What was promised while the clock was years ahead must not hold an address for years.
fn believed(lease: Lease, unix: u64) -> Lease {
    let until = lease.until.min(unix + LONGEST_LEFT);
    Lease { until, ..lease }
}

/// The upper half of a network, at most [`POOL`] addresses: people number by hand from below.
fn default_pool(interface: &Interface) -> (Ipv4Addr, Ipv4Addr) {
    let broadcast = u32::from(interface.broadcast());
    let size = broadcast - (u32::from(interface.address) & u32::from(interface.mask()));
    let last = broadcast.saturating_sub(1);
    let first = last.saturating_sub((size / 2).min(POOL).saturating_sub(1));
    (Ipv4Addr::from(first), Ipv4Addr::from(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(address: [u8; 4], prefix: u8) -> Interface {
        Interface {
            name: "br0".into(),
            index: 2,
            address: address.into(),
            prefix,
            mac: None,
        }
    }

    #[test]
    fn the_pool_is_the_upper_half_of_the_network_and_not_larger_than_it_makes_sense() {
        let pool = |address, prefix| default_pool(&interface(address, prefix));
        assert_eq!(
            pool([10, 77, 0, 1], 24),
            ([10, 77, 0, 128].into(), [10, 77, 0, 254].into())
        );
        assert_eq!(
            pool([10, 77, 0, 1], 16),
            ([10, 77, 251, 255].into(), [10, 77, 255, 254].into())
        );
        assert_eq!(pool([10, 77, 0, 1], 29), ([10, 77, 0, 4].into(), [10, 77, 0, 6].into()));
        let (first, last) = pool([10, 77, 0, 1], 32);
        assert!(first <= last || Table::new(first, last, &[]).usage() == (0, 0));
    }

    #[test]
    fn a_clock_that_was_years_ahead_holds_no_address_for_years() {
        let lease = |until| Lease {
            address: Ipv4Addr::new(10, 77, 0, 130),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            until,
            known: false,
        };
        let now = 1_800_000_000;
        assert_eq!(believed(lease(now + 3600), now), lease(now + 3600));
        assert_eq!(believed(lease(now * 2), now), lease(now + LONGEST_LEFT));
    }
}
