// SPDX-License-Identifier: Apache-2.0
//! From what the site wants to the networks that are served: pools, reservations, networks behind relays.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use anyhow::{Result, bail, ensure};
use pxe::Mac;
use pxe::dhcp::Network;
use pxe::lease::{Lease, Table};
use pxe::proxy::Dialects;

use super::Settings;
use super::answer::{Now, Segment};
use super::check::Checks;
use super::encore::Encores;
use crate::config::{Dhcp, Reservation, Subnet, addresses};
use crate::network::watch::Watch;
use crate::network::{Addresses, Here, Interface};

/// Largest pool that is chosen without being asked for: a thousand PCs.
const POOL: u32 = 1024;

/// Seconds that a lease of before may have left: a week and, where leases are longer, renewals that come long before.
const LONGEST_LEFT: u64 = 7 * 24 * 3600;

/// The segment of an interface, with the networks behind its relays in it. `leases` are all that were promised.
pub(super) fn segment(
    settings: &Settings,
    dhcp: &Dhcp,
    interface: &Interface,
    own: &Addresses,
    leases: &[Lease],
    now: Now,
) -> Segment {
    let site = Site {
        settings,
        leases,
        server: interface.address,
        now,
    };
    let network = |at: &Interface| (at.address, at.prefix);
    let watch = Watch::new(dhcp.mode, own.clone(), network(interface), now.running);
    let mut segment = site.network(dhcp, interface, watch);
    for subnet in &settings.subnets {
        if subnet.interface.as_deref() != Some(&*interface.name) {
            continue;
        }
        if interface.contains(subnet.network) {
            // It was on another network when the settings were checked.
            segment.troubles.push(itself(subnet));
            continue;
        }
        let place = behind(subnet, interface);
        let watch = Watch::behind_relays(subnet.dhcp.mode, own.clone(), network(&place), now.running);
        let mut relayed = site.network(&subnet.dhcp, &place, watch);
        relayed.relays.clone_from(&subnet.relays);
        segment.relayed.push(relayed);
    }
    segment
}

/// What no packet would ever show. Networks behind relays get the interface by which they reach us. What is about an
/// interface that is not there cannot be checked yet.
pub(super) fn check(settings: &mut Settings, here: &Here) -> Result<()> {
    let served: Vec<(&Interface, &Dhcp)> = here
        .interfaces()
        .filter_map(|interface| Some((interface, settings.of(interface)?)))
        .collect();
    let all_there = here.absent.iter().all(|name| settings.by_name(name).is_none());
    let on_an_interface = |address: Ipv4Addr| served.iter().any(|(other, _)| other.contains(address));
    let mut relayed_by = Vec::new();
    for subnet in &settings.subnets {
        ensure!(!on_an_interface(subnet.network), "{}", itself(subnet));
        relayed_by.push(relays_of(settings, &served, here, subnet)?);
    }
    let segments: Vec<(Interface, Dhcp)> = served
        .iter()
        .map(|(interface, dhcp)| ((*interface).clone(), (*dhcp).clone()))
        .collect();
    let wrong = addresses::wrong(&segments, &settings.subnets, &settings.reservations, all_there);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n  "));
    for (subnet, interface) in settings.subnets.iter_mut().zip(relayed_by) {
        subnet.interface = Some(interface);
    }
    Ok(())
}

fn itself(subnet: &Subnet) -> String {
    format!(
        "subnets {}/{}: this machine is on that network itself; leave it out, and name its interface instead",
        subnet.network, subnet.prefix
    )
}

/// The interface by which a subnet's relays reach us.
fn relays_of(settings: &Settings, served: &[(&Interface, &Dhcp)], here: &Here, subnet: &Subnet) -> Result<String> {
    let at = || format!("subnets {}/{}", subnet.network, subnet.prefix);
    match (&subnet.interface, served) {
        (Some(name), served) => {
            let is_there = served.iter().any(|(interface, _)| *interface.name == **name);
            let is_awaited = here.absent.contains(name.as_str()) && settings.by_name(name).is_some();
            ensure!(is_there || is_awaited, "{}: the interface {name} is not served", at());
            Ok(name.clone())
        }
        (None, [(only, _)]) => Ok(only.name.to_string()),
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

/// What a network is made from.
struct Site<'a> {
    settings: &'a Settings,
    /// All that were promised.
    leases: &'a [Lease],
    /// Our address, wherever the client is.
    server: Ipv4Addr,
    now: Now,
}

impl Site<'_> {
    fn network(&self, dhcp: &Dhcp, interface: &Interface, watch: Watch) -> Segment {
        let Self { settings, server, .. } = *self;
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
        let ours = [interface.address, interface.network(), interface.broadcast(), server];
        let others = dhcp.gateway.iter().chain(&dhcp.dns).copied();
        let kept = reserved.values().map(|reservation| reservation.address);
        let never: Vec<Ipv4Addr> = ours.into_iter().chain(others).chain(kept).collect();
        let mut table = Table::new(pool.0, pool.1, &never);
        let leases = self.leases.iter();
        leases.for_each(|lease| table.restore(believed(*lease, self.now.unix)));
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
                dns: dhcp.dns.clone(),
                domain: String::new(),
                ntp: if settings.ntp { vec![server] } else { vec![] },
            },
            names: settings.names.clone(),
            relays: Vec::new(),
            server: pxe::bootfile::Server {
                address: server,
                http_port: settings.http_port,
            },
            table,
            pool,
            watch,
            lease_time: u32::try_from(dhcp.lease_time.as_secs()).unwrap_or(u32::MAX),
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
