// SPDX-License-Identifier: Apache-2.0
//! The least that a TFTP server can do. It is no server: it never repeats a packet and serves one file.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

/// Its port.
pub(super) const PORT: u16 = 6969;
const BLOCK: usize = 1468;
const LARGEST_WINDOW: usize = 64;

/// Serves this content to whoever asks for whatever, until it is over.
pub(super) fn serve(content: &[u8], over: &AtomicBool) -> Result<()> {
    let socket = UdpSocket::bind(("10.77.0.1", PORT)).context("binding the floor's port")?;
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .context("limiting a wait")?;
    let last = content.len() / BLOCK + 1;
    let (mut buffer, mut window, mut base) = ([0; 600], 1, 0);
    while !over.load(Ordering::Relaxed) {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        match buffer[..length] {
            [0, 1, ..] => {
                (window, base) = (proposed_window(&buffer[2..length]), 0);
                let options = format!("\0\x06blksize\0{BLOCK}\0windowsize\0{window}\0");
                socket.send_to(options.as_bytes(), peer).context("agreeing")?;
            }
            [0, 4, high, low] => {
                let ahead = u16::from_be_bytes([high, low]).wrapping_sub(u16::try_from(base & 0xffff)?);
                base += usize::from(ahead);
                send(&socket, content, base + 1..(base + window).min(last) + 1, peer)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn proposed_window(request: &[u8]) -> usize {
    let words: Vec<_> = request.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let at = words.iter().position(|word| word == "windowsize");
    let value = at.and_then(|at| words.get(at + 1)?.parse().ok());
    value.map_or(1, |window: usize| window.min(LARGEST_WINDOW))
}

fn send(socket: &UdpSocket, content: &[u8], blocks: std::ops::Range<usize>, peer: SocketAddr) -> Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    let SocketAddr::V4(peer) = peer else { return Ok(()) };
    let headers: Vec<[u8; 4]> = blocks
        .clone()
        .map(|number| {
            let [.., high, low] = number.to_be_bytes();
            [0, 3, high, low]
        })
        .collect();
    let data = |number: usize| {
        let at = (number - 1) * BLOCK;
        &content[at.min(content.len())..(at + BLOCK).min(content.len())]
    };
    let parts: Vec<[IoSlice<'_>; 2]> = headers
        .iter()
        .zip(blocks)
        .map(|(header, number)| [IoSlice::new(header), IoSlice::new(data(number))])
        .collect();
    let mut messages = MultiHeaders::<SockaddrIn>::preallocate(parts.len(), None);
    let peers = vec![Some(SockaddrIn::from(peer)); parts.len()];
    sendmmsg(socket.as_raw_fd(), &mut messages, &parts, peers, [], MsgFlags::empty()).context("sending a window")?;
    Ok(())
}
