// SPDX-License-Identifier: Apache-2.0
//! One transfer: a connected socket and the clock around [`pxe::tftp::transfer`].

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;
use pxe::tftp::ReadRequest;
use pxe::tftp::transfer::{Action, Failure, Transfer};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::network::Fetch;

/// Sends `content` to `peer` from `local`, and says what came of it.
pub(super) async fn run(local: Ipv4Addr, peer: SocketAddrV4, request: ReadRequest, content: Bytes) -> Fetch {
    let (bytes, failure) = match send(local, peer, &request, &content).await {
        Ok((bytes, failure)) => (bytes, failure.map(|failure| failure.to_string())),
        Err(error) => (0, Some(format!("the network refused: {error}"))),
    };
    Fetch {
        peer: *peer.ip(),
        file: request.file,
        bytes,
        failure,
    }
}

async fn send(
    local: Ipv4Addr,
    peer: SocketAddrV4,
    request: &ReadRequest,
    content: &[u8],
) -> io::Result<(u64, Option<Failure>)> {
    // A port of its own, bound to the address that was asked: firmware ignores answers from any other.
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(peer).await?;
    let started = Instant::now();
    let (mut transfer, mut action) = Transfer::start(content.len() as u64, &request.options, started.elapsed());
    debug!(options = ?request.options, bytes = content.len(), "begins");
    let mut packet = Vec::with_capacity(2048);
    let mut heard = [0; 600];
    loop {
        match action {
            Action::SendOptions(options) => lossy(&socket.send(&options).await),
            Action::SendBlocks(blocks) => {
                for number in blocks {
                    fill(&mut packet, &transfer, number, content);
                    lossy(&socket.send(&packet).await);
                }
            }
            Action::Wait => {}
            Action::Done => return Ok((transfer.arrived(), None)),
            Action::Abandon(failure) => return Ok((transfer.arrived(), Some(failure))),
            Action::Fail(error, failure) => {
                lossy(&socket.send(&error).await);
                return Ok((transfer.arrived(), Some(failure)));
            }
        }
        action = match timeout_at(started + transfer.deadline(), socket.recv(&mut heard)).await {
            Ok(Ok(length)) => transfer.receive(&heard[..length], started.elapsed()),
            // The client's port is closed: it is gone, or not there yet again. The timer decides.
            Ok(Err(error)) if is_gone(&error) => return Ok((transfer.arrived(), Some(Failure::Silence))),
            Ok(Err(error)) => return Err(error),
            Err(_) => transfer.tick(started.elapsed()),
        };
    }
}

/// The bytes of a block.
fn fill(packet: &mut Vec<u8>, transfer: &Transfer, number: u64, content: &[u8]) {
    let (head, range) = transfer.block(number);
    // The range is within the file, whose length the transfer was started with.
    let range = usize::try_from(range.start).unwrap_or(usize::MAX)..usize::try_from(range.end).unwrap_or(usize::MAX);
    packet.clear();
    packet.extend(head);
    packet.extend(content.get(range).unwrap_or_default());
}

/// A packet that the kernel does not take now is a packet that is lost: the timer sends it again, for a while.
fn lossy(sent: &io::Result<usize>) {
    if let Err(error) = sent {
        debug!(%error, "could not send");
    }
}

/// The client's machine says that nobody listens at its port any more.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}
