// SPDX-License-Identifier: Apache-2.0
//! Packets to a card whose address nobody knows yet, its own system included.
//!
//! RFC 2131, 4.1 wants them at the client's hardware address and at the IP address that it is about to get. The
//! kernel would ask for that address by ARP and hear nothing, so the frame is made here.
#![allow(unsafe_code)] // one call that nix has no safe form of: sendto with a packet socket's address

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use pxe::Mac;

/// `EtherType` of IPv4.
const IPV4: u16 = 0x0800;
/// Length of an IPv4 header without options.
const IP_HEADER: usize = 20;
/// Length of a UDP header.
const UDP_HEADER: usize = 8;
/// Address family of packet sockets, in the width that their addresses have it.
const PACKET_FAMILY: libc::sa_family_t = 17;
/// Port of DHCP clients.
const CLIENT_PORT: u16 = 68;

/// A socket that sends frames on one interface and receives none.
#[derive(Debug)]
pub(super) struct CardSocket {
    fd: OwnedFd,
    interface: i32,
}

impl CardSocket {
    /// Opens it; needs `CAP_NET_RAW`.
    pub(super) fn open(interface: u32) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // No protocol: a packet socket of protocol 0 hears nothing.
        let fd = socket(AddressFamily::Packet, SockType::Datagram, flags, None)?;
        Ok(Self {
            fd,
            interface: i32::try_from(interface).map_err(io::Error::other)?,
        })
    }

    /// Sends a UDP payload from `from` to `to`, at the card `mac`.
    pub(super) fn send(&self, payload: &[u8], from: (Ipv4Addr, u16), to: Ipv4Addr, mac: Mac) -> io::Result<()> {
        let frame = datagram(payload, from, to);
        let mut address = [0; 8];
        address[..6].copy_from_slice(&mac.0);
        let target = libc::sockaddr_ll {
            sll_family: PACKET_FAMILY,
            sll_protocol: IPV4.to_be(),
            sll_ifindex: self.interface,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: address,
        };
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
        // SAFETY: both pointers are to values that live until the call returns, and the lengths are theirs.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const target).cast(),
                length,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

/// An IPv4 packet with a UDP datagram to a DHCP client in it.
fn datagram(payload: &[u8], (from, from_port): (Ipv4Addr, u16), to: Ipv4Addr) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = Vec::with_capacity(IP_HEADER + UDP_HEADER + payload.len());
    // Version 4, five words of header; no service; DF, as the packet is far below any link's limit; 64 hops; UDP.
    packet.extend([0x45, 0]);
    packet.extend(length(IP_HEADER + UDP_HEADER + payload.len()));
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&packet, 0);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());

    let udp = packet.len();
    packet.extend(from_port.to_be_bytes());
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(length(UDP_HEADER + payload.len()));
    packet.extend([0, 0]);
    packet.extend(payload);
    // RFC 768: the sum also covers the addresses, the protocol and the length.
    let pseudo = packet[12..20]
        .chunks_exact(2)
        .fold(17 + (UDP_HEADER + payload.len()) as u64, |sum, pair| {
            sum + u64::from(u16::from_be_bytes([pair[0], pair[1]]))
        });
    // "If the computed checksum is zero, it is transmitted as all ones."
    let sum = match checksum(&packet[udp..], pseudo) {
        0 => 0xffff,
        sum => sum,
    };
    packet[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8], start: u64) -> u16 {
    let mut sum = bytes.chunks(2).fold(start, |sum, pair| {
        sum + u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
    });
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_family_is_the_systems() {
        assert_eq!(i32::from(PACKET_FAMILY), libc::AF_PACKET);
    }

    #[test]
    fn a_datagram_has_the_sums_that_its_reader_expects() {
        let (from, to) = (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 130));
        for payload in [&b"odd"[..], b"even", b"", &[0xff; 300]] {
            let packet = datagram(payload, (from, 67), to);
            // A packet whose sum is right sums to zero.
            assert_eq!(checksum(&packet[..IP_HEADER], 0), 0);
            let length = (UDP_HEADER + payload.len()) as u64;
            let addresses = packet[12..20]
                .chunks(2)
                .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])));
            assert_eq!(
                checksum(&packet[IP_HEADER..], addresses.sum::<u64>() + 17 + length),
                0,
                "{payload:?}"
            );
            assert_eq!(&packet[IP_HEADER + UDP_HEADER..], payload);
        }
    }
}
