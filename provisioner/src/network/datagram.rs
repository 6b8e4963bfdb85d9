// SPDX-License-Identifier: Apache-2.0
//! UDP on all addresses of this machine, with the address that was asked: the answer has to come from there.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt::Ipv4PacketInfo,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of packets that may wait: a thousand machines that are switched on at once.
const QUEUE: usize = 1 << 20;

/// A packet that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes of it.
    pub(crate) length: usize,
    /// Who sent it.
    pub(crate) peer: SocketAddrV4,
    /// Our address that was asked, also where the packet was a broadcast.
    pub(crate) local: Ipv4Addr,
}

/// Binds a port on all addresses.
pub(crate) fn bind(port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(QUEUE)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, Ipv4PacketInfo, &true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    Ok(socket.into())
}

/// Receives one packet.
pub(crate) fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = nix::cmsg_space!(in_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let local = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))),
        _ => None,
    });
    match (message.address, local) {
        (Some(peer), Some(local)) => Ok(Received {
            length: message.bytes,
            peer: peer.into(),
            local,
        }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a packet without addresses")),
    }
}

/// Sends one packet from `local`.
pub(crate) fn send(socket: &impl AsRawFd, packet: &[u8], local: Ipv4Addr, peer: SocketAddrV4) -> io::Result<()> {
    let fd: RawFd = socket.as_raw_fd();
    let source = in_addr {
        s_addr: u32::from(local).to_be(),
    };
    let info = in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: source,
        ipi_addr: in_addr { s_addr: 0 },
    };
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    sendmsg(
        fd,
        &[IoSlice::new(packet)],
        &control,
        MsgFlags::MSG_DONTWAIT,
        Some(&SockaddrIn::from(peer)),
    )?;
    Ok(())
}
