// SPDX-License-Identifier: Apache-2.0
//! DHCP on the wire: requests in, replies out.
//!
//! The codec is `dhcproto`'s; this module is the guard around it. It takes options one by one, so that a broken one
//! costs only itself, and keeps as bytes what has to go back as it came.

mod heard;
pub(crate) mod reply;

pub use heard::{Heard, probe, relayed_probe};
pub use reply::{Destination, Network, Reply, ReplyKind, Terms};

use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::{DhcpOptionIterator, Message};
use dhcproto::v4::{HType, MAGIC, Opcode, OptionCode};

use crate::Mac;
use crate::client::{Client, Evidence};

/// Length of the fixed part of a packet with its magic cookie.
const HEADER: usize = 240;
/// Where the fields `sname` and `file` lie, which can hold options (RFC 2132, 9.3).
const SNAME: std::ops::Range<usize> = 44..108;
/// See [`SNAME`].
const FILE: std::ops::Range<usize> = 108..236;
/// Bytes of a host name worth keeping: a label of DNS is no longer.
const HOST_NAME: usize = 63;

/// `PXE_BOOT_ITEM`, inside option 43 (PXE 2.1, table 2-1).
pub(crate) const BOOT_ITEM: u8 = 71;
/// Link selection, inside option 82 (RFC 3527, 3).
const LINK_SELECTION: u8 = 5;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who is there?
    Discover,
    /// This address, please: selecting, after a reboot, renewing or rebinding.
    Request,
    /// Somebody else uses this address.
    Decline,
    /// The address is free again.
    Release,
    /// Only the other settings, please.
    Inform,
}

/// A client's packet, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it wants.
    pub kind: Kind,
    /// Who asks.
    pub client: Client,
    /// Transaction.
    pub xid: u32,
    /// Seconds since the client began to ask (RFC 2131, table 1).
    pub secs: u16,
    /// Whether replies must be broadcast because the client cannot receive anything else yet.
    pub broadcast: bool,
    /// The raw flags, to go back.
    pub flags: u16,
    /// Address that the client has and uses.
    pub ciaddr: Ipv4Addr,
    /// Relay that passed the packet on; all zeros if none.
    pub giaddr: Ipv4Addr,
    /// Option 50, the address it would like.
    pub requested: Option<Ipv4Addr>,
    /// Option 54, the server it has chosen.
    pub server: Option<Ipv4Addr>,
    /// Option 55, what it wants to know.
    pub wants: Wants,
    /// Option 12 as text, whatever bytes it came in.
    pub host_name: Option<String>,
    /// Option 61, to go back as it came (RFC 6842).
    pub client_id: Vec<u8>,
    /// Option 97, to go back as it came (PXE 2.1).
    pub machine_id: Vec<u8>,
    /// Option 43's item 71: the boot server and layer that a PXE client has chosen (PXE 2.1, table 2-1).
    pub boot_item: Option<[u8; 4]>,
    /// Option 82, to go back as it came (RFC 3046).
    pub relay_agent: Vec<u8>,
}

/// The options that a client asks for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants([u64; 4]);

impl Wants {
    fn add(&mut self, code: u8) {
        self.0[usize::from(code >> 6)] |= 1 << (code & 63);
    }

    /// Whether it asks for this one.
    pub fn has(self, code: u8) -> bool {
        self.0[usize::from(code >> 6)] & (1 << (code & 63)) != 0
    }
}

impl std::fmt::Debug for Wants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codes: Vec<_> = (0..=255)
            .filter(|&code| self.has(code))
            .map(|code: u8| code.to_string())
            .collect();
        write!(f, "Wants({})", codes.join(" "))
    }
}

/// Why a packet cannot be answered. It is counted and forgotten; the words are for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Shorter than the fixed part.
    #[error("too short to be DHCP")]
    Short,
    /// A reply, or nothing known.
    #[error("not a request")]
    NotARequest,
    /// BOOTP without DHCP's options.
    #[error("BOOTP without DHCP options")]
    NotDhcp,
    /// No message type, or one that only servers send.
    #[error("no message type that a client sends")]
    MessageType,
    /// Not the address of an Ethernet card.
    #[error("not the hardware address of an Ethernet card")]
    HardwareAddress,
}

impl Unusable {
    /// One word, for a counter's label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::NotARequest => "not-a-request",
            Self::NotDhcp => "not-dhcp",
            Self::MessageType => "message-type",
            Self::HardwareAddress => "hardware-address",
        }
    }
}

impl Request {
    /// Reads a packet.
    pub fn parse(packet: &[u8]) -> Result<Self, Unusable> {
        let message = Message::new(packet).map_err(|_| Unusable::Short)?;
        if message.opcode() != Opcode::BootRequest {
            return Err(Unusable::NotARequest);
        }
        let mac = hardware_address(&message).ok_or(Unusable::HardwareAddress)?;
        if packet[HEADER - 4..HEADER] != MAGIC {
            return Err(Unusable::NotDhcp);
        }
        let options = Options::of(packet);
        let kind = match options.message_type {
            Some(1) => Kind::Discover,
            Some(3) => Kind::Request,
            Some(4) => Kind::Decline,
            Some(7) => Kind::Release,
            Some(8) => Kind::Inform,
            _ => return Err(Unusable::MessageType),
        };
        let flags = u16::from(message.flags());
        Ok(Self {
            kind,
            client: Client::classify(mac, &options.evidence()),
            xid: message.xid(),
            secs: seconds(message.secs()),
            broadcast: flags & 0x8000 != 0,
            flags,
            ciaddr: message.ciaddr(),
            giaddr: message.giaddr(),
            requested: options.requested,
            server: options.server,
            wants: options.wants,
            host_name: options.host_name,
            client_id: options.client_id,
            machine_id: options.machine_id,
            boot_item: item(&options.vendor, BOOT_ITEM).and_then(|item| item.try_into().ok()),
            relay_agent: options.relay_agent,
        })
    }

    /// The network that the client is on, where its relay says that it is another than the relay's own
    /// (RFC 3527, link selection).
    pub fn link_selection(&self) -> Option<Ipv4Addr> {
        item(&self.relay_agent, LINK_SELECTION).and_then(address)
    }
}

/// An item of an option that holds options.
fn item(mut rest: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [code, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *code == wanted {
            return Some(value);
        }
        rest = &tail[value.len()..];
    }
    None
}

/// Microsoft's clients, and ROMs made after them, send this field with the lower byte first: nobody asks for hours, so
/// a number that has nothing in its lower byte is one of those.
fn seconds(field: u16) -> u16 {
    if field.to_be_bytes()[1] == 0 {
        field.swap_bytes()
    } else {
        field
    }
}

/// `chaddr`, if it is an Ethernet card's. The length is looked at first: dhcproto panics over one beyond 16.
fn hardware_address(message: &Message<'_>) -> Option<Mac> {
    if message.htype() != HType::Eth || message.hlen() != 6 {
        return None;
    }
    let mac = Mac(message.chaddr().try_into().ok()?);
    mac.is_card().then_some(mac)
}

/// The options that matter to us, each decoded alone.
#[derive(Default)]
struct Options {
    message_type: Option<u8>,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    wants: Wants,
    host_name: Option<String>,
    client_id: Vec<u8>,
    machine_id: Vec<u8>,
    relay_agent: Vec<u8>,
    vendor_class: Vec<u8>,
    user_class: Vec<u8>,
    architectures: Vec<u8>,
    ipxe: Vec<u8>,
    vendor: Vec<u8>,
    overload: u8,
}

impl Options {
    /// Reads the options of a packet that has the fixed part.
    fn of(packet: &[u8]) -> Self {
        let mut options = Self::default();
        options.read(&packet[HEADER..]);
        // RFC 2132, 9.3: "this option is used to indicate that the DHCP 'sname' or 'file' fields are being
        // overloaded by using them to carry DHCP options": 1 is 'file', 2 is 'sname', 3 is both.
        let overload = options.overload;
        if overload & 1 != 0 {
            options.read(&packet[FILE]);
        }
        if overload & 2 != 0 {
            options.read(&packet[SNAME]);
        }
        options
    }

    fn read(&mut self, area: &[u8]) {
        for option in DhcpOptionIterator::new(area) {
            let data = option.data();
            match option.code() {
                OptionCode::MessageType => keep(&mut self.message_type, byte(data)),
                OptionCode::RequestedIpAddress => keep(&mut self.requested, address(data)),
                OptionCode::ServerIdentifier => keep(&mut self.server, address(data)),
                OptionCode::OptionOverload => self.overload = byte(data).unwrap_or(0),
                OptionCode::ParameterRequestList => data.iter().for_each(|&code| self.wants.add(code)),
                OptionCode::Hostname => keep(&mut self.host_name, host_name(data)),
                OptionCode::ClientIdentifier => keep_bytes(&mut self.client_id, data),
                OptionCode::ClientMachineIdentifier => keep_bytes(&mut self.machine_id, data),
                OptionCode::RelayAgentInformation => keep_bytes(&mut self.relay_agent, data),
                OptionCode::VendorExtensions => keep_bytes(&mut self.vendor, data),
                OptionCode::ClassIdentifier => keep_bytes(&mut self.vendor_class, data),
                OptionCode::UserClass => keep_bytes(&mut self.user_class, data),
                OptionCode::ClientSystemArchitecture => keep_bytes(&mut self.architectures, data),
                code if u8::from(code) == 175 => keep_bytes(&mut self.ipxe, data),
                _ => {}
            }
        }
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence {
            vendor_class: &self.vendor_class,
            user_class: &self.user_class,
            architectures: &self.architectures,
            machine_id: &self.machine_id,
            ipxe: &self.ipxe,
        }
    }
}

/// Of an option that comes twice the first counts.
fn keep<T>(place: &mut Option<T>, value: Option<T>) {
    if place.is_none() {
        *place = value;
    }
}

/// See [`keep`].
fn keep_bytes(place: &mut Vec<u8>, value: &[u8]) {
    if place.is_empty() {
        place.extend_from_slice(value);
    }
}

fn byte(data: &[u8]) -> Option<u8> {
    match data {
        [byte] => Some(*byte),
        _ => None,
    }
}

fn address(data: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(data)
        .ok()
        .map(Ipv4Addr::from)
        .filter(|address| !address.is_unspecified())
}

/// Windows and some firmware send host names in the code page of their country, and zeros behind them.
fn host_name(data: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&data[..data.len().min(HOST_NAME)]);
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
