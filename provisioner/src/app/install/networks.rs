// SPDX-License-Identifier: Apache-2.0
//! The networks in which machines can have addresses of their own, as the settings and the interfaces say.

use std::net::Ipv4Addr;
use std::sync::PoisonError;

use crate::app::App;
use crate::config::{Dhcp, Subnet};
use crate::install::{Lan, Networks};
use crate::network::SegmentNow;

impl App {
    /// The networks and the addresses that are reserved in them.
    pub(in crate::app) fn networks(&self) -> Networks {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let here: Vec<&SegmentNow> = segments.values().filter(|segment| !segment.relayed).collect();
        let near = here.iter().map(|segment| {
            let dhcp = self.config.segment(&segment.interface);
            let name = segment.interface.to_string();
            self.lan(name, (segment.address, segment.prefix), dhcp, Some(segment.address))
        });
        let relayed = self.config.subnets.iter().map(|subnet| {
            let name = format!("{}/{}", subnet.network, subnet.prefix);
            let server = server_of(subnet, &here);
            let lan = self.lan(name, (subnet.network, subnet.prefix), &subnet.dhcp, server);
            Lan { relayed: true, ..lan }
        });
        let reserved = self.config.reservations.iter();
        Networks {
            lans: near.chain(relayed).collect(),
            reserved: reserved
                .map(|reservation| (reservation.mac.to_string(), reservation.address))
                .collect(),
        }
    }

    /// A network with what it is told by DHCP, which `server` of ours answers.
    fn lan(&self, name: String, (address, prefix): (Ipv4Addr, u8), dhcp: &Dhcp, server: Option<Ipv4Addr>) -> Lan {
        let names = self.config.dns.as_ref();
        Lan {
            name,
            address,
            prefix,
            gateway: dhcp.gateway,
            relayed: false,
            // Those that the site names, else ours where we answer.
            dns: match names.and(server) {
                Some(server) if dhcp.dns.is_empty() => vec![server],
                _ => dhcp.dns.clone(),
            },
            search: names.map(|names| names.domain.clone()),
        }
    }
}

/// Our address to which a network's relays speak.
fn server_of(subnet: &Subnet, here: &[&SegmentNow]) -> Option<Ipv4Addr> {
    match (&subnet.interface, here) {
        (Some(name), _) => here
            .iter()
            .find(|segment| *segment.interface == **name)
            .map(|segment| segment.address),
        (None, [only]) => Some(only.address),
        (None, _) => None,
    }
}
