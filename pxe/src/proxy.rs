// SPDX-License-Identifier: Apache-2.0
//! `ProxyDHCP`: what to boot, beside another server that leases the addresses (PXE 2.1, chapter 2).
//!
//! Nothing in here has an address in it: `yiaddr` is zero in every packet, and no client is refused anything. The
//! specification leaves room, and firmware has taken it, so there are dialects ([`Dialect`]), and a memory of which one
//! a kind of firmware understood ([`Dialects`]).

mod dialect;

pub use dialect::{Dialect, Dialects};

use std::net::Ipv4Addr;

use crate::bootfile::Bootfile;
use crate::client::Speaker;
use crate::dhcp::{BOOT_ITEM, Destination, Kind, Request, reply};

/// Bytes of the field `file`, with a zero at its end.
const FILE_FIELD: usize = 128;
/// Our only entry in a PXE boot menu; PXE 2.1, table 2-1 leaves types from 0x8000 to vendors.
const BOOT_SERVER: u16 = 0x8000;
/// What the entry is called where a ROM shows it.
const MENU_TEXT: &[u8] = b"Gleaner";

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxy<'a> {
    /// Our address on the client's segment.
    pub server: Ipv4Addr,
    /// What to load next.
    pub boot: &'a Bootfile,
    /// How to say it.
    pub dialect: Dialect,
}

/// A REQUEST that asks us, and us only, what to boot: the client has its address from another server, and says so.
/// Chosen by server identifier alone it would be a client that wants an address.
pub fn asks_again(request: &Request, ours: Ipv4Addr) -> bool {
    let boots = request.client.speaker != Speaker::System;
    request.kind == Kind::Request && boots && request.server == Some(ours) && !request.ciaddr.is_unspecified()
}

/// Where an offer goes: the client has no address yet, and we know none.
pub fn destination(request: &Request) -> Destination {
    if request.giaddr.is_unspecified() {
        Destination::Broadcast
    } else {
        Destination::Relay(request.giaddr)
    }
}

impl Proxy<'_> {
    /// The answer to a DISCOVER; `None` where there is nothing to boot.
    pub fn offer(&self, request: &Request) -> Option<Vec<u8>> {
        let file = self.file()?;
        let (named, menu) = match (request.client.speaker, self.dialect) {
            // HTTP Boot knows one form only (UEFI 2.5, 24.7.3.1).
            (Speaker::HttpBoot, _) | (_, Dialect::Plain) => (Some(file), false),
            (_, Dialect::InOffer) => (Some(file), true),
            (_, Dialect::AskAgain) => (None, false),
        };
        let vendor = if menu { self.menu() } else { Vec::new() };
        Some(self.packet(request, 2, named, vendor))
    }

    /// The answer to a client that asks again, at the boot server's port or at ours.
    pub fn ack(&self, request: &Request) -> Option<Vec<u8>> {
        let file = self.file()?;
        // PXE 2.1, 2.4.5: a boot server's answer says for which item of the menu it is.
        let item = request.boot_item.map(|item| encapsulated(&[(BOOT_ITEM, &item)]));
        Some(self.packet(request, 5, Some(file), item.unwrap_or_default()))
    }

    fn file(&self) -> Option<&str> {
        match self.boot {
            Bootfile::Tftp(file) => Some(file),
            Bootfile::Url(url) => Some(url),
            Bootfile::Nothing | Bootfile::Missing { .. } => None,
        }
    }

    fn packet(&self, request: &Request, kind: u8, file: Option<&str>, vendor: Vec<u8>) -> Vec<u8> {
        // The client hears broadcasts only, and a relay that reads the flag must know.
        let offer = kind == 2;
        let flags = if offer { request.flags | 0x8000 } else { request.flags };
        let mut header = reply::header(request, flags);
        // EDK2 asks again at this address, before it looks at option 54.
        header.set_siaddr(self.server);
        if !offer {
            header.set_ciaddr(request.ciaddr);
        }
        if let Some(file) = file {
            header.set_sname(self.server.to_string().as_bytes());
            if file.len() < FILE_FIELD {
                header.set_fname(file.as_bytes());
            }
        }
        reply::write(&header, &self.options(request, kind, file, vendor))
    }

    fn options(&self, request: &Request, kind: u8, file: Option<&str>, vendor: Vec<u8>) -> Vec<(u8, Vec<u8>)> {
        let class: &[u8] = match request.client.speaker {
            Speaker::HttpBoot => b"HTTPClient",
            // PXE 2.1, table 2-3: without it firmware takes no offer that has no address in it.
            _ => b"PXEClient",
        };
        let mut options = vec![
            (53, vec![kind]),
            (54, self.server.octets().to_vec()),
            (60, class.to_vec()),
            // PXE 2.1, table 2-3: the identifier comes back as it was sent.
            (97, request.machine_id.clone()),
            (43, vendor),
        ];
        let is_url = matches!(self.boot, Bootfile::Url(_));
        if let Some(file) = file {
            if !is_url && request.wants.has(66) {
                options.push((66, self.server.to_string().into_bytes()));
            }
            if is_url || request.wants.has(67) {
                options.push((67, file.as_bytes().to_vec()));
            }
        }
        reply::echoes(request, &mut options);
        options
    }

    /// Option 43: load the file that is named, without asking anybody.
    fn menu(&self) -> Vec<u8> {
        let [high, low] = BOOT_SERVER.to_be_bytes();
        let [a, b, c, d] = self.server.octets();
        let text_length = u8::try_from(MENU_TEXT.len()).unwrap_or(0);
        encapsulated(&[
            // PXE_DISCOVERY_CONTROL, PXE 2.1, table 2-1. Bit 3: "if a boot file name is present [...] download the
            // boot file". For ROMs that ask a server all the same: bits 0 and 1, not by broadcast or multicast.
            (6, &[0x0b]),
            (8, &[high, low, 1, a, b, c, d]),
            // The iPXE that cards have in ROM takes an offer for one of ours only if there is a menu in it.
            (9, &[&[high, low, text_length], MENU_TEXT].concat()),
            // No time to choose.
            (10, &[&[0], MENU_TEXT].concat()),
        ])
    }
}

/// Options inside an option, with their end.
fn encapsulated(items: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (code, value) in items {
        // All of them are a few bytes long.
        bytes.extend([*code, u8::try_from(value.len()).unwrap_or(0)]);
        bytes.extend(*value);
    }
    bytes.push(255);
    bytes
}

#[cfg(test)]
mod tests;
