// SPDX-License-Identifier: Apache-2.0
//! What a client is told, as bytes, and where RFC 2131 sends it.

use std::net::Ipv4Addr;

use dhcproto::v4::{Flags, HType, Message, Opcode, OptionCode, encode_long_opt_bytes};
use dhcproto::{Encodable as _, Encoder};

use super::Request;
use crate::bootfile::Bootfile;
use crate::client::Speaker;

/// RFC 1542, 2.1: a BOOTP message has at least 300 bytes, and relays and ROMs exist that drop shorter ones.
const SHORTEST: usize = 300;
/// Bytes of the field `file`, with a zero at its end.
const FILE_FIELD: usize = 128;
/// TFTP server name and boot file name (RFC 2132, 9.4 and 9.5).
pub(crate) const NAMES: [u8; 2] = [66, 67];
/// iPXE's option space, and in it the flag that says: do not wait for a `ProxyDHCP` server.
const IPXE_OPTIONS: u8 = 175;
/// See [`IPXE_OPTIONS`].
const IPXE_NO_PROXY: [u8; 3] = [0xb0, 1, 1];

/// Kind of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// This address could be yours.
    Offer,
    /// So be it.
    Ack,
    /// Not this address; start again.
    Nak,
}

/// For how long an address is a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Seconds.
    pub lease: u32,
}

/// What is the same for everybody on a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Our address there.
    pub server: Ipv4Addr,
    /// Network mask.
    pub mask: Ipv4Addr,
    /// The address that reaches everybody.
    pub broadcast: Ipv4Addr,
    /// Gateway, where there is one.
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers, where there are any.
    pub dns: Vec<Ipv4Addr>,
    /// Domain in which names without a dot are looked for; empty where there is none.
    pub domain: String,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Kind.
    pub kind: ReplyKind,
    /// The client's address; all zeros in a refusal, and for a client that has one and did not ask.
    pub address: Ipv4Addr,
    /// For how long; `None` where no address is given.
    pub terms: Option<Terms>,
    /// The segment.
    pub network: &'a Network,
    /// What to load next.
    pub boot: &'a Bootfile,
    /// Name that the client is to take; empty where it has none of us.
    pub host_name: &'a str,
    /// Why it is refused, for the client's log; empty otherwise.
    pub message: &'a str,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To a relay, at the server port.
    Relay(Ipv4Addr),
    /// To an address that the client uses, at the client port.
    Address(Ipv4Addr),
    /// To everybody on the segment, at the client port.
    Broadcast,
    /// To the client's card, at an address that it does not know yet: no ARP will find it.
    Card(Ipv4Addr),
}

impl Reply<'_> {
    /// Where this reply to `request` goes.
    pub fn destination(&self, request: &Request) -> Destination {
        // RFC 2131, 4.1: "If the 'giaddr' field in a DHCP message from a client is non-zero, the server sends any
        // return messages to the 'DHCP server' port on the BOOTP relay agent whose address appears in 'giaddr'."
        if !request.giaddr.is_unspecified() {
            return Destination::Relay(request.giaddr);
        }
        // "In all cases, when 'giaddr' is zero, the server broadcasts any DHCPNAK messages to 0xffffffff."
        if self.kind == ReplyKind::Nak {
            return Destination::Broadcast;
        }
        // "If the 'giaddr' field is zero and the 'ciaddr' field is nonzero, then the server unicasts DHCPOFFER and
        // DHCPACK messages to the address in 'ciaddr'."
        if !request.ciaddr.is_unspecified() {
            return Destination::Address(request.ciaddr);
        }
        // "If 'giaddr' is zero and 'ciaddr' is zero, and the broadcast bit is set, then the server broadcasts [...]
        // If the broadcast bit is not set [...] then the server unicasts DHCPOFFER and DHCPACK messages to the
        // client's hardware address and 'yiaddr' address."
        if request.broadcast || self.address.is_unspecified() {
            Destination::Broadcast
        } else {
            Destination::Card(self.address)
        }
    }

    /// The bytes of this reply to `request`.
    pub fn encode(&self, request: &Request) -> Vec<u8> {
        write(&self.header(request), &self.options(request))
    }

    fn header(&self, request: &Request) -> Message {
        let mut flags = request.flags;
        if self.kind == ReplyKind::Nak && !request.giaddr.is_unspecified() {
            // RFC 2131, 4.3.2: "the server MUST set the broadcast bit in the DHCPNAK, so that the relay agent will
            // broadcast the DHCPNAK to the client".
            flags |= 0x8000;
        }
        // RFC 2131, table 3: 'ciaddr' of the request comes back in an ACK only.
        let ciaddr = if self.kind == ReplyKind::Ack {
            request.ciaddr
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        let mut message = header(request, flags);
        message.set_ciaddr(ciaddr).set_yiaddr(self.address);
        match self.boot {
            Bootfile::Tftp(file) => {
                message.set_siaddr(self.network.server).set_fname(file.as_bytes());
            }
            Bootfile::Url(url) => {
                message.set_siaddr(self.network.server);
                if url.len() < FILE_FIELD {
                    message.set_fname(url.as_bytes());
                }
            }
            Bootfile::Nothing | Bootfile::Missing { .. } => {}
        }
        message
    }

    /// In the order in which they go out: some old ROMs look at the first few only.
    fn options(&self, request: &Request) -> Vec<(u8, Vec<u8>)> {
        let server = self.network.server;
        let kind = match self.kind {
            ReplyKind::Offer => 2,
            ReplyKind::Ack => 5,
            ReplyKind::Nak => 6,
        };
        let mut options = vec![(53, vec![kind]), (54, server.octets().to_vec())];
        if self.kind == ReplyKind::Nak {
            options.push((56, self.message.as_bytes().to_vec()));
        } else {
            self.terms_and_network(&mut options);
            self.boot_options(request, &mut options);
            // PXE 2.1, table 2-3: the identifier comes back as it was sent.
            options.push((97, request.machine_id.clone()));
        }
        echoes(request, &mut options);
        options
    }

    fn terms_and_network(&self, options: &mut Vec<(u8, Vec<u8>)>) {
        let addresses = |list: &[Ipv4Addr]| list.iter().flat_map(Ipv4Addr::octets).collect::<Vec<_>>();
        if let Some(Terms { lease }) = self.terms {
            options.push((51, lease.to_be_bytes().to_vec()));
            // RFC 2131, 4.4.5: "T1 defaults to (0.5 * duration_of_lease). T2 defaults to (0.875 * duration)."
            options.push((58, (lease / 2).to_be_bytes().to_vec()));
            options.push((59, (lease - lease / 8).to_be_bytes().to_vec()));
        }
        options.push((1, self.network.mask.octets().to_vec()));
        options.push((28, self.network.broadcast.octets().to_vec()));
        options.push((3, addresses(self.network.gateway.as_slice())));
        options.push((6, addresses(&self.network.dns)));
        options.push((15, self.network.domain.as_bytes().to_vec()));
        options.push((42, addresses(&self.network.ntp)));
        options.push((12, self.host_name.as_bytes().to_vec()));
    }

    fn boot_options(&self, request: &Request, options: &mut Vec<(u8, Vec<u8>)>) {
        let file = match self.boot {
            Bootfile::Tftp(file) => file,
            Bootfile::Url(url) => url.as_str(),
            Bootfile::Nothing | Bootfile::Missing { .. } => return,
        };
        match request.client.speaker {
            // UEFI 2.5, 24.7.3.1: HTTP Boot takes only offers whose vendor class says so.
            Speaker::HttpBoot => options.push((60, b"HTTPClient".to_vec())),
            // Without this, iPXE waits for proxies on every start.
            Speaker::Ipxe => options.push((IPXE_OPTIONS, IPXE_NO_PROXY.to_vec())),
            // No `PXEClient` here: with it, firmware takes us for a PXE server in the sense of PXE 2.1 and looks
            // for a menu and for boot servers. A plain boot file is understood by all of them.
            Speaker::PxeRom | Speaker::System => {}
        }
        // HTTP Boot is not asked whether it wants a file name: some builds of EDK2 leave 67 out of their list.
        let is_url = matches!(self.boot, Bootfile::Url(_));
        if request.wants.has(66) && !is_url {
            options.push((66, self.network.server.to_string().into_bytes()));
        }
        if request.wants.has(67) || is_url {
            options.push((67, file.as_bytes().to_vec()));
        }
    }
}

/// The fixed part of every reply to `request`.
pub(crate) fn header(request: &Request, flags: u16) -> Message {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(request.xid, none, none, none, request.giaddr, &request.client.mac.0);
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_flags(Flags::from(flags));
    message
}

/// What goes back as it came, behind all other options.
pub(crate) fn echoes(request: &Request, options: &mut Vec<(u8, Vec<u8>)>) {
    // RFC 6842, 3: "If the 'client identifier' option is present in a message received from a client, the
    // server MUST return the 'client identifier' option, unaltered, in its response message."
    options.push((61, request.client_id.clone()));
    // RFC 3046, 2.2: the server "SHALL echo the entire contents of the Relay Agent Information option in all
    // replies", as the last one.
    options.push((82, request.relay_agent.clone()));
}

/// A packet of a fixed part and options; empty options are left out.
pub(crate) fn write(header: &Message, options: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(576);
    let mut encoder = Encoder::new(&mut bytes);
    // Encoding fails only where an option is too long for its length byte; long ones are split here, and the
    // fixed part has no options. Should it fail all the same, a short packet is ignored by its reader.
    let _ = header.encode(&mut encoder);
    for (code, value) in options.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = encode_long_opt_bytes(OptionCode::from(*code), value, &mut encoder);
        if NAMES.contains(code) {
            // Old ROMs read these texts up to the next zero byte, not up to their length. The pad option is one
            // (RFC 2132, 3.1).
            let _ = encoder.write_u8(u8::from(OptionCode::Pad));
        }
    }
    bytes.push(u8::from(OptionCode::End));
    if bytes.len() < SHORTEST {
        bytes.resize(SHORTEST, 0);
    }
    bytes
}
