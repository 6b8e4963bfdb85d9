// SPDX-License-Identifier: Apache-2.0
//! DHCP as firmware speaks it, bytes in and bytes out. Written apart from the product's codec on purpose: a mistake
//! that both shared would never be seen.

use std::net::Ipv4Addr;

use super::{Kind, Rom};

/// Bytes of the fixed part with the magic cookie (RFC 2131 section 2, RFC 2132 section 2).
const HEADER: usize = 240;
/// RFC 2132 section 2.
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// RFC 1542 section 2.1: relays may drop what is shorter than a BOOTP packet.
const SHORTEST: usize = 300;

/// Who speaks: the firmware, or the iPXE that it has loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// The firmware's own PXE or HTTP Boot client.
    Firmware,
    /// iPXE, as a card's ROM or loaded over the network.
    Ipxe,
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// Who is there?
    Discover,
    /// That offer, please.
    Request {
        /// The offered address.
        address: Ipv4Addr,
        /// Who offered it (option 54).
        server: Ipv4Addr,
    },
    /// What to boot, please, with an address from somebody else.
    AskAgain,
}

/// A server's packet, as far as firmware looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Option 53: 2 offer, 5 acknowledgement, 6 refusal.
    pub kind: u8,
    /// Transaction.
    pub xid: u32,
    /// The client's new address.
    pub address: Option<Ipv4Addr>,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// Where the boot file is: `siaddr`.
    pub next_server: Option<Ipv4Addr>,
    /// Option 67, else the field `file`; empty if neither.
    pub boot_file: String,
    /// Option 60.
    pub vendor_class: String,
    /// Option 51, seconds.
    pub lease: Option<u32>,
    /// Every option as it came, in order.
    pub options: Vec<(u8, Vec<u8>)>,
}

/// A client's packet.
pub fn packet(rom: &Rom, voice: Voice, xid: u32, say: Say) -> Vec<u8> {
    let mut packet = header(rom.mac, xid, rom.broadcast);
    let mut option = |code: u8, value: &[u8]| {
        packet.push(code);
        // Nothing that firmware sends is longer than an option can be.
        packet.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        packet.extend_from_slice(value);
    };
    match say {
        Say::Discover => option(53, &[1]),
        Say::AskAgain => option(53, &[3]),
        Say::Request { address, server } => {
            option(53, &[3]);
            option(50, &address.octets());
            option(54, &server.octets());
        }
    }
    option(57, &1472_u16.to_be_bytes());
    let number = rom.kind.architecture();
    let class = if rom.kind.is_http() && voice == Voice::Firmware {
        "HTTPClient"
    } else {
        "PXEClient"
    };
    // What a chained iPXE says of its architecture is that of the machine's PXE, not of HTTP Boot.
    let number = match (number, voice) {
        (16, Voice::Ipxe) => 7,
        (15, Voice::Ipxe) => 6,
        _ => number,
    };
    option(60, format!("{class}:Arch:{number:05}:UNDI:003016").as_bytes());
    option(93, &number.to_be_bytes());
    option(94, &[1, 3, 16]);
    if let Some(uuid) = rom.uuid {
        let uuid = if voice == Voice::Ipxe { uuid } else { as_in_smbios(uuid) };
        option(97, &[&[0][..], &uuid].concat());
    }
    if voice == Voice::Ipxe {
        option(77, b"iPXE");
        option(175, &ipxe_features(rom.kind));
    }
    option(
        55,
        &[
            1, 3, 6, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203,
        ],
    );
    packet.push(255);
    packet.resize(packet.len().max(SHORTEST), 0);
    packet
}

/// The fixed part of a client's packet.
pub fn header(mac: [u8; 6], xid: u32, broadcast: bool) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    packet[..4].copy_from_slice(&[1, 1, 6, 0]);
    packet[4..8].copy_from_slice(&xid.to_be_bytes());
    packet[10] = if broadcast { 0x80 } else { 0 };
    packet[28..34].copy_from_slice(&mac);
    packet[HEADER - 4..].copy_from_slice(&MAGIC);
    packet
}

/// Firmware sends the UUID as it lies in SMBIOS, the first three fields little-endian.
fn as_in_smbios(mut uuid: [u8; 16]) -> [u8; 16] {
    uuid[..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    uuid
}

/// iPXE's own options: the card on the bus, and what this build can do (HTTP, bzImage or EFI among them).
fn ipxe_features(kind: Kind) -> Vec<u8> {
    let mut options = vec![0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0x00, 0xeb, 3, 1, 21, 1];
    let starts = if kind.architecture() == 0 { 0x18 } else { 0x24 };
    for feature in [0x17, 0x13, 0x12, 0x19, 0x11, 0x10, starts] {
        options.extend_from_slice(&[feature, 1, 1]);
    }
    options
}

/// Reads a server's packet; `None` if it is none.
pub fn parse(packet: &[u8]) -> Option<Answer> {
    if packet.len() < HEADER || packet[0] != 2 || packet[HEADER - 4..HEADER] != MAGIC {
        return None;
    }
    let address = |at: usize| {
        let octets: [u8; 4] = packet[at..at + 4].try_into().ok()?;
        Some(Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified())
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let mut answer = Answer {
        xid: u32::from_be_bytes(packet[4..8].try_into().ok()?),
        address: address(16),
        next_server: address(20),
        boot_file: text(packet[108..236].split(|byte| *byte == 0).next().unwrap_or_default()),
        options: options(&packet[HEADER..]),
        ..Answer::default()
    };
    for (code, value) in &answer.options {
        let four = || <[u8; 4]>::try_from(value.as_slice()).ok();
        match code {
            53 => answer.kind = *value.first()?,
            54 => answer.server = four().map(Ipv4Addr::from),
            51 => answer.lease = four().map(u32::from_be_bytes),
            60 => answer.vendor_class = text(value),
            67 => answer.boot_file = text(value),
            _ => {}
        }
    }
    Some(answer)
}

fn options(mut rest: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut options = Vec::new();
    loop {
        match rest {
            [0, tail @ ..] => rest = tail,
            [] | [255, ..] | [_] => return options,
            [code, length, tail @ ..] => {
                let Some(value) = tail.get(..usize::from(*length)) else {
                    return options;
                };
                options.push((*code, value.to_vec()));
                rest = &tail[value.len()..];
            }
        }
    }
}
