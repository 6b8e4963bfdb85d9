// SPDX-License-Identifier: Apache-2.0
//! What a packet is answered where another server leases the addresses: what to boot, and nothing else.

use std::net::SocketAddrV4;

use pxe::bootfile::Bootfile;
use pxe::client::Speaker;
use pxe::dhcp::{Destination, Kind, Request, Unusable};
use pxe::proxy::{self, Dialect, Proxy};

use super::answer::{Around, Now, Outgoing, Segment, asked, choose, told};
use crate::leases::Record;
use crate::network::watch::Manner;
use crate::network::{Advice, Answered, Sighting};

/// Answers a packet at the DHCP port.
pub(super) fn answer(
    segment: &mut Segment,
    around: &Around<'_>,
    request: &Request,
    advice: Advice,
    now: Now,
) -> Option<Outgoing> {
    let ours = segment.network.server;
    match request.kind {
        Kind::Discover => offer(segment, around, request, advice, now),
        // iPXE asks again at the port that the offer came from.
        Kind::Request if proxy::asks_again(request, ours) && segment.serves(request.ciaddr) => {
            let bytes = ack(segment, around, request, advice, now)?;
            Some(outgoing(
                request,
                bytes,
                Destination::Address(request.ciaddr),
                "proxy-ack",
            ))
        }
        Kind::Request => {
            if request.server.is_some_and(|server| server != ours) {
                segment.dialects.chose(request.client.mac);
            }
            None
        }
        Kind::Release => {
            // What was leased while we were alone is given back.
            if segment.table.release(request.client.mac, request.ciaddr, now.unix) {
                segment.promises.push(Record::Freed(request.ciaddr));
            }
            None
        }
        // Whoever leases answers these: what we said of the network could only contradict it.
        Kind::Inform | Kind::Decline => None,
    }
}

/// Answers a packet at the boot server's port (PXE 2.1, 2.4.5).
pub(super) fn boot_server(
    segment: &mut Segment,
    around: &Around<'_>,
    packet: &[u8],
    peer: SocketAddrV4,
    now: Now,
) -> Result<Option<Vec<u8>>, Unusable> {
    let request = Request::parse(packet)?;
    let Some(segment) = segment.of_address(*peer.ip()) else {
        // Its answer would leave for a network that anybody can write into a packet.
        return Ok(None);
    };
    let asks = matches!(request.kind, Kind::Request | Kind::Inform | Kind::Discover);
    let another = request.server.is_some_and(|server| server != segment.network.server);
    if !asks || another || segment.watch.manner() == Manner::Silent {
        return Ok(None);
    }
    let advice = asked(segment, around, &request, None);
    Ok(ack(segment, around, &request, advice, now))
}

fn offer(segment: &mut Segment, around: &Around<'_>, request: &Request, advice: Advice, now: Now) -> Option<Outgoing> {
    if request.client.speaker == Speaker::Ipxe {
        // The firmware has fetched it, so it understood.
        segment.dialects.understood(&request.client);
    }
    let boot = choose(segment, around, &request.client, advice);
    if boot == Bootfile::Nothing {
        return None;
    }
    let dialect = segment.dialects.choose(&request.client, now.unix);
    sight(segment, around, request, &boot, now);
    let proxy = Proxy {
        server: segment.network.server,
        boot: &boot,
        dialect,
    };
    let offer = outgoing(
        request,
        proxy.offer(request)?,
        proxy::destination(request),
        "proxy-offer",
    );
    if offer.destination == Destination::Broadcast {
        segment.encores.add(request.xid, offer.clone(), now.running);
    }
    Some(offer)
}

fn ack(segment: &mut Segment, around: &Around<'_>, request: &Request, advice: Advice, now: Now) -> Option<Vec<u8>> {
    let boot = choose(segment, around, &request.client, advice);
    if boot == Bootfile::Nothing {
        return None;
    }
    segment.dialects.understood(&request.client);
    sight(segment, around, request, &boot, now);
    let proxy = Proxy {
        server: segment.network.server,
        boot: &boot,
        dialect: Dialect::AskAgain,
    };
    proxy.ack(request)
}

fn sight(segment: &mut Segment, around: &Around<'_>, request: &Request, boot: &Bootfile, now: Now) {
    let told = told(segment, around, request, boot, now.unix);
    around.sightings.seen(Sighting {
        client: request.client,
        interface: segment.interface.name.clone(),
        answered: Answered::Proxy,
        // Who asks again says which address it was given.
        address: Some(request.ciaddr).filter(|address| !address.is_unspecified()),
        told,
    });
}

fn outgoing(request: &Request, bytes: Vec<u8>, destination: Destination, kind: &'static str) -> Outgoing {
    Outgoing {
        bytes,
        destination,
        mac: request.client.mac,
        kind,
    }
}
