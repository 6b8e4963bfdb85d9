// SPDX-License-Identifier: Apache-2.0
//! What network-boot firmware says and needs to hear; no I/O.
//!
//! Everything here is bytes in, values out, or the other way round: no socket, no clock, no file. Whoever calls
//! brings the time and carries the bytes.
//!
//! - [`client`]: who asks. The options of a request become a small struct of enums, once, at the door.
//! - [`dhcp`]: requests and replies on the wire, and where RFC 2131 sends a reply.
//! - [`proxy`]: boot information beside another DHCP server's leases, in the dialects that firmware understands.
//! - [`arp`], [`echo`]: who uses an address already, here and behind a relay.
//! - [`lease`]: which address belongs to whom.
//! - [`bootfile`]: what a client is to load next; the only place with file names.
//! - [`ipxe`], [`grub`]: boot scripts, a struct a template.
//! - [`home`]: which system a machine starts from its own disks.
//! - [`tftp`]: the transfer of a file as a state machine.

pub mod argument;
pub mod arp;
pub mod bootfile;
pub mod client;
pub mod dhcp;
pub mod echo;
pub mod grub;
pub mod home;
pub mod ipxe;
pub mod lease;
mod mac;
pub mod proxy;
pub mod tftp;

pub use mac::{BadMac, Mac};
