// SPDX-License-Identifier: Apache-2.0
//! Other servers: a question that makes them speak, and what they say.

use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::Message as Borrowed;
use dhcproto::v4::{Flags, MAGIC, Message, Opcode, OptionCode};
use dhcproto::{Encodable as _, Encoder};

use super::{HEADER, LINK_SELECTION, Options, Unusable, hardware_address};
use crate::Mac;

/// A reply that some server sent to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Who sent it, by its own word (option 54).
    pub server: Ipv4Addr,
    /// Whom it answers; `None` where that is no Ethernet card.
    pub client: Option<Mac>,
    /// Transaction.
    pub xid: u32,
    /// Whether it gives, or takes away, addresses: a server that only adds boot information does not.
    pub leases: bool,
    /// Whether it is an offer: the packet in which a server says all that it says.
    pub offers: bool,
    /// Whether it calls itself a PXE server (option 60): UEFI then asks it, and nobody else, what to boot.
    pub pxe: bool,
}

impl Heard {
    /// Reads a server's packet.
    pub fn parse(packet: &[u8]) -> Result<Self, Unusable> {
        let message = Borrowed::new(packet).map_err(|_| Unusable::Short)?;
        if message.opcode() != Opcode::BootReply {
            return Err(Unusable::NotARequest);
        }
        if packet[HEADER - 4..HEADER] != MAGIC {
            return Err(Unusable::NotDhcp);
        }
        let options = Options::of(packet);
        // OFFER, ACK, NAK.
        let (Some(2 | 5 | 6), Some(server)) = (options.message_type, options.server) else {
            return Err(Unusable::MessageType);
        };
        let leases = options.message_type == Some(6) || !message.yiaddr().is_unspecified();
        Ok(Self {
            server,
            client: hardware_address(&message),
            xid: message.xid(),
            leases,
            offers: options.message_type == Some(2),
            pxe: options.vendor_class.starts_with(b"PXEClient"),
        })
    }
}

/// Seconds that the question claims to have been asked for already: the second server of a pair leaves clients to the
/// first for a while (RFC 2131, table 1 gives servers this number), and relays may do the same (RFC 1542, 4.1.1).
const WAITED: u16 = 30;

/// A DISCOVER from a card that does not exist, answered by broadcast: every server that leases addresses here
/// shows itself, and nobody's address is touched.
pub fn probe(mac: Mac, xid: u32) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, none, none, none, none, &mac.0);
    message.set_flags(Flags::default().set_broadcast()).set_secs(WAITED);
    packet(&message, &[])
}

/// The same as a relay at `relay` passes it on to one server, for a client on the network of `link`. The answer comes
/// to the relay, at the server port.
pub fn relayed_probe(mac: Mac, xid: u32, relay: Ipv4Addr, link: Ipv4Addr) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, none, none, none, relay, &mac.0);
    message.set_hops(1).set_secs(WAITED);
    // RFC 3527: the client's network, which is not the relay's.
    let [a, b, c, d] = link.octets();
    packet(&message, &[82, 6, LINK_SELECTION, 4, a, b, c, d])
}

/// A question with these options behind those of every question.
fn packet(message: &Message, options: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(300);
    // The fixed part has nothing that could fail to encode.
    let _ = message.encode(&mut Encoder::new(&mut bytes));
    bytes.extend([u8::from(OptionCode::MessageType), 1, 1]);
    // Some servers say of option 60 only to those who ask that they have it.
    bytes.extend([u8::from(OptionCode::ParameterRequestList), 4, 1, 3, 6, 60]);
    bytes.extend(options);
    bytes.push(u8::from(OptionCode::End));
    bytes.resize(300, 0);
    bytes
}
