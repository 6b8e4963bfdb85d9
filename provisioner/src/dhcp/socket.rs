// SPDX-License-Identifier: Apache-2.0
//! A UDP socket of one interface.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of packets that may wait while a round is answered: a thousand machines that are switched on at once.
const QUEUE: usize = 1 << 20;

/// Binds a port on one interface, and only there: broadcasts of other interfaces are not for us, and other
/// interfaces keep the port free. `shared` lets a DHCP client of this machine have the port as well.
pub(super) fn bind(interface: &str, port: u16, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_reuse_address(shared)?;
    socket.set_broadcast(true)?;
    socket.set_recv_buffer_size(QUEUE)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    Ok(socket.into())
}
