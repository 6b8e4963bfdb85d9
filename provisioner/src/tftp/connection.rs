// SPDX-License-Identifier: Apache-2.0
//! The connected socket of one transfer: blocks of a file become datagrams.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use pxe::tftp::transfer::{LARGEST_BLOCK, LARGEST_WINDOW, Transfer};
use tracing::debug;

use super::Peer;
use crate::network::Content;

/// Bytes before the data of a block.
const HEADER: usize = 4;
/// Largest datagram of IPv4: what the kernel takes at a time to cut into several itself.
const DATAGRAM: usize = 65_507;
/// Segments that the kernel makes of one datagram at most (`UDP_MAX_SEGMENTS`, 64 in older kernels).
const SEGMENTS: usize = 64;

/// Memory that all transfers use, one after the other.
pub(super) struct Scratch {
    /// What a client said.
    pub(super) heard: Vec<u8>,
    packet: Vec<u8>,
    window: Vec<u8>,
}

/// Why a packet could not be sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// Nobody listens at the client's port any more.
    Gone,
    /// The file cannot be read.
    Unreadable(io::Error),
}

/// A connected socket and what goes through it.
pub(super) struct Connection {
    socket: UdpSocket,
    content: Content,
    /// Whether the kernel cuts windows into datagrams for us. Old kernels do not, nor do some devices.
    segments: bool,
}

impl Scratch {
    /// Room for the largest window.
    pub(super) fn new() -> Self {
        let window = usize::from(LARGEST_BLOCK) * usize::from(LARGEST_WINDOW);
        Self {
            heard: vec![0; 600],
            packet: Vec::with_capacity(HEADER + usize::from(LARGEST_BLOCK)),
            window: vec![0; window],
        }
    }
}

impl Connection {
    /// A port of its own, bound to the address that was asked: firmware ignores answers from any other.
    pub(super) fn open(local: Ipv4Addr, peer: Peer, content: Content) -> io::Result<Self> {
        let socket = UdpSocket::bind((local, 0))?;
        socket.connect(peer)?;
        socket.set_nonblocking(true)?;
        if let Content::Disk { file, .. } = &content {
            // The disk begins to read now, so that the first blocks do not wait for it one by one.
            let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
        }
        Ok(Self {
            socket,
            content,
            segments: true,
        })
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.content.size()
    }

    /// Receives one packet, if there is one.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer)
    }

    /// Sends a packet. One that the kernel does not take now is one that is lost: the timer sends it again.
    pub(super) fn send(&self, packet: &[u8]) -> Result<(), Unsent> {
        lossy(self.socket.send(packet).map(drop))
    }

    /// Sends blocks that follow each other, in as few calls as possible.
    pub(super) fn send_blocks(
        &mut self,
        transfer: &Transfer,
        blocks: Range<u64>,
        scratch: &mut Scratch,
    ) -> Result<(), Unsent> {
        let Scratch { packet, window, .. } = scratch;
        let bytes = transfer.block(blocks.start).1.start..transfer.block(blocks.end - 1).1.end;
        let data = read(&self.content, bytes, window).map_err(Unsent::Unreadable)?;
        let size = usize::from(transfer.block_size());
        let at_once = SEGMENTS.min(DATAGRAM / (HEADER + size)).max(1);
        let mut pieces = Pieces { data, size };
        let mut next = blocks.start;
        while self.segments && blocks.end - next > 1 {
            let count = usize::try_from(blocks.end - next).map_or(at_once, |left| left.min(at_once));
            match self.send_segments(transfer, next, pieces.clone().take(count)) {
                Ok(()) => {}
                Err(error) if is_refusal_of_segments(&error) => {
                    debug!(%error, "the kernel cuts no windows into datagrams here");
                    self.segments = false;
                    break;
                }
                Err(error) => lossy(Err(error))?,
            }
            pieces.advance(count);
            next += count as u64;
        }
        for number in next..blocks.end {
            let (header, _) = transfer.block(number);
            packet.clear();
            packet.extend(header);
            packet.extend(pieces.next().unwrap_or_default());
            self.send(packet)?;
        }
        Ok(())
    }

    /// Sends several blocks as one datagram that the kernel, or the card, cuts (UDP GSO).
    fn send_segments<'a>(
        &self,
        transfer: &Transfer,
        first: u64,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let mut headers = [[0; HEADER]; SEGMENTS];
        for (header, number) in headers.iter_mut().zip(first..) {
            *header = transfer.block(number).0;
        }
        let mut parts = [IoSlice::new(&[]); 2 * SEGMENTS];
        let mut count = 0;
        for ((pair, header), piece) in parts.chunks_exact_mut(2).zip(&headers).zip(pieces) {
            pair[0] = IoSlice::new(header);
            pair[1] = IoSlice::new(piece);
            count += 2;
        }
        let segment = u16::try_from(HEADER + usize::from(transfer.block_size())).map_err(io::Error::other)?;
        let cut = [ControlMessage::UdpGsoSegments(&segment)];
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmsg::<SockaddrIn>(self.socket.as_raw_fd(), &parts[..count], &cut, flags, None)?;
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The data of blocks that follow each other; an empty one for the empty block at the end of a file.
#[derive(Clone)]
struct Pieces<'a> {
    data: &'a [u8],
    size: usize,
}

impl Pieces<'_> {
    fn advance(&mut self, pieces: usize) {
        self.data = self.data.get(pieces * self.size..).unwrap_or_default();
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (piece, rest) = self.data.split_at(self.size.min(self.data.len()));
        self.data = rest;
        Some(piece)
    }
}

/// Bytes of a file, from where they are.
fn read<'a>(content: &'a Content, bytes: Range<u64>, window: &'a mut [u8]) -> io::Result<&'a [u8]> {
    // The transfer was started with the length of the file, and a window has room for the largest one.
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    let outside = || io::Error::from(io::ErrorKind::UnexpectedEof);
    match content {
        Content::Memory(all) => all.get(at(bytes.start)..at(bytes.end)).ok_or_else(outside),
        Content::Disk { file, .. } => {
            let window = window.get_mut(..at(bytes.end - bytes.start)).ok_or_else(outside)?;
            file.read_exact_at(window, bytes.start)?;
            Ok(window)
        }
    }
}

/// Kernels before 4.18 do not know it; devices that compute no checksums, and smaller MTUs than a block, refuse it.
fn is_refusal_of_segments(error: &io::Error) -> bool {
    use nix::libc::{EINVAL, EIO, EMSGSIZE, ENOPROTOOPT, EOPNOTSUPP};
    matches!(
        error.raw_os_error(),
        Some(EINVAL | EIO | EMSGSIZE | ENOPROTOOPT | EOPNOTSUPP)
    )
}

fn lossy(sent: io::Result<()>) -> Result<(), Unsent> {
    match sent {
        Err(error) if is_gone(&error) => Err(Unsent::Gone),
        Err(error) => {
            debug!(%error, "could not send");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The client's machine says that nobody listens at its port any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

#[cfg(test)]
mod tests;
