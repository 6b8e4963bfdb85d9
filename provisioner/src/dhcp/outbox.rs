// SPDX-License-Identifier: Apache-2.0
//! Answers on their way out of one segment.

use std::net::{Ipv4Addr, UdpSocket};

use pxe::dhcp::Destination;
use tracing::debug;

use super::answer::Outgoing;
use super::card::CardSocket;
use super::{CLIENT_PORT, SERVER_PORT};

/// What a segment's answers are sent with, by whoever has them ready.
pub(super) struct Outbox {
    server: UdpSocket,
    card: Option<CardSocket>,
    /// Our address on the segment.
    from: Ipv4Addr,
}

impl Outbox {
    /// Sends through `server`, and through `card` to clients that have no address yet.
    pub(super) fn new(server: UdpSocket, card: Option<CardSocket>, from: Ipv4Addr) -> Self {
        Self { server, card, from }
    }

    /// Sends an answer to where RFC 2131 wants it.
    pub(super) fn send(&self, answer: &Outgoing) {
        debug!(mac = %answer.mac, kind = answer.kind, to = ?answer.destination, "answered");
        match answer.destination {
            Destination::Relay(relay) => self.to(&answer.bytes, (relay, SERVER_PORT)),
            Destination::Address(address) => self.to(&answer.bytes, (address, CLIENT_PORT)),
            Destination::Broadcast => self.to(&answer.bytes, (Ipv4Addr::BROADCAST, CLIENT_PORT)),
            Destination::Card(address) => {
                let from = (self.from, SERVER_PORT);
                let card = self.card.as_ref();
                let sent = card.map(|card| card.send(&answer.bytes, from, address, answer.mac));
                if !matches!(sent, Some(Ok(()))) {
                    // Clients that did not ask for a broadcast mostly take one all the same.
                    self.to(&answer.bytes, (Ipv4Addr::BROADCAST, CLIENT_PORT));
                }
            }
        }
    }

    /// Sends without waiting: a full queue costs this packet, and the client asks again.
    pub(super) fn to(&self, bytes: &[u8], target: (Ipv4Addr, u16)) {
        if let Err(error) = self.server.send_to(bytes, target) {
            metrics::counter!("gleaner_dhcp_unsent_total").increment(1);
            debug!(?target, %error, "could not send");
        }
    }
}
