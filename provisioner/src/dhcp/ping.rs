// SPDX-License-Identifier: Apache-2.0
//! A socket that asks beyond a relay whether somebody has an address: ARP does not get there.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use pxe::echo;
use socket2::{Domain, Protocol, Socket, Type};

/// A socket for ICMP echo, and what its questions are known by.
pub(super) struct PingSocket {
    socket: tokio::net::UdpSocket,
    identifier: u16,
}

/// The same before there is a runtime.
pub(super) struct Opened(UdpSocket);

impl Opened {
    /// Opens it; needs `CAP_NET_RAW`.
    pub(super) fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.set_nonblocking(true)?;
        // A raw socket is read and written as one for UDP is; its port means nothing.
        Ok(Self(socket.into()))
    }

    /// Hands it to the runtime.
    pub(super) fn register(self) -> io::Result<PingSocket> {
        Ok(PingSocket {
            socket: tokio::net::UdpSocket::from_std(self.0)?,
            identifier: rand::random(),
        })
    }
}

impl PingSocket {
    /// Ready when something may have been heard.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Asks for an address. A question that cannot be sent is not answered, and the offer is made.
    pub(super) fn ask(&self, address: Ipv4Addr) {
        let _ = self
            .socket
            .try_send_to(&echo::question(self.identifier), (address, 0).into());
    }

    /// Who has answered next; `None` when there is no more.
    pub(super) fn heard(&self) -> Option<Ipv4Addr> {
        // As much as an answer needs, with the longest header: what comes behind is cut off.
        let mut packet = [0; 128];
        loop {
            match self.socket.try_recv(&mut packet) {
                Ok(length) => match echo::answer(&packet[..length], self.identifier) {
                    None => {}
                    heard => return heard,
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // Some router's word on an earlier question.
                Err(_) => {}
            }
        }
    }
}
