// SPDX-License-Identifier: Apache-2.0
//! A socket that asks one segment whose an address is, and hears who says so.
#![allow(unsafe_code)] // one call: tokio registers descriptors that it has no type for

use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::bind;
use pxe::arp::{Claim, ETHER_TYPE, claim, question};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::network::Interface;

/// A socket for ARP on one interface.
#[derive(Debug)]
pub(super) struct ArpSocket {
    socket: Socket,
    ours: Claim,
}

impl ArpSocket {
    /// Opens it; needs `CAP_NET_RAW`, and a card.
    pub(super) fn open(interface: &Interface) -> io::Result<Self> {
        let mac = interface.mac.ok_or(io::ErrorKind::Unsupported)?;
        let protocol = Protocol::from(i32::from(ETHER_TYPE.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        let mut entries = getifaddrs()?.filter(|entry| *entry.interface_name == *interface.name);
        let card = entries.find_map(|entry| entry.address?.as_link_addr().copied());
        bind(socket.as_raw_fd(), &card.ok_or(io::ErrorKind::NotFound)?)?;
        let address = interface.address;
        Ok(Self {
            socket,
            ours: Claim { address, mac },
        })
    }

    /// Hands it to the runtime.
    pub(super) fn register(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the descriptor is that of `socket`, which lives as long as `self` and is never exchanged.
        let registered = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        registered.map_err(io::Error::from)
    }

    /// Asks for an address. A question that cannot be sent is not answered, and the offer is made.
    pub(super) fn ask(&self, address: Ipv4Addr) {
        let _ = self.socket.send(&question(self.ours, address));
    }

    /// The next claim that has arrived; `None` when there is no more.
    pub(super) fn heard(&self) -> Option<Claim> {
        let mut frame = [0; 64];
        loop {
            match (&self.socket).read(&mut frame) {
                Ok(length) => match claim(&frame[..length]) {
                    None => {}
                    heard => return heard,
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

impl AsRawFd for ArpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
