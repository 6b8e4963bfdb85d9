// SPDX-License-Identifier: Apache-2.0
//! TFTP as firmware fetches with it (RFC 1350, options of RFC 2347 to 2349).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long firmware waits for a packet before it asks again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it takes to give up on a whole transfer; slow machines share their two processors with many.
const LIMIT: Duration = Duration::from_mins(1);
/// What EDK2 and iPXE ask for: a block that fits an Ethernet frame.
const BLOCK: usize = 1468;

const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// Fetches a file. With `options` as EDK2 and iPXE do, else in plain blocks of 512 bytes as the oldest ROMs do.
pub fn fetch(from: Ipv4Addr, server: Ipv4Addr, file: &str, options: bool) -> Result<Vec<u8>> {
    fetch_from(from, SocketAddr::from((server, 69)), file, options).with_context(|| format!("fetching {file} by TFTP"))
}

/// Asks for the size of a file and breaks off, as firmware does that wants to make room first (RFC 2349; the error is
/// number 8 of RFC 2347).
pub fn size(from: Ipv4Addr, server: Ipv4Addr, file: &str) -> Result<usize> {
    let socket = UdpSocket::bind((from, 0)).context("binding")?;
    socket.set_read_timeout(Some(PATIENCE)).context("limiting a wait")?;
    let question = [
        &request(file)[..],
        format!("tsize\x000\x00blksize\0{BLOCK}\0").as_bytes(),
    ]
    .concat();
    let mut transfer = Transfer {
        socket,
        peer: None,
        last: question,
        server: SocketAddr::from((server, 69)),
        end: Instant::now() + LIMIT,
    };
    transfer.say()?;
    let packet = transfer.hear()?;
    ensure!(
        packet.starts_with(&OACK.to_be_bytes()),
        "{file}: no options were agreed on"
    );
    let size = option(&packet[2..], "tsize").context("no size was told")?;
    transfer.answer([&ERROR.to_be_bytes()[..], &8_u16.to_be_bytes(), b"User aborted\0"].concat())?;
    Ok(size)
}

fn fetch_from(from: Ipv4Addr, server: SocketAddr, file: &str, options: bool) -> Result<Vec<u8>> {
    let socket = UdpSocket::bind((from, 0)).context("binding")?;
    socket.set_read_timeout(Some(PATIENCE)).context("limiting a wait")?;
    let mut question = request(file);
    if options {
        question.extend_from_slice(format!("tsize\x000\x00blksize\0{BLOCK}\0").as_bytes());
    }
    let mut transfer = Transfer {
        socket,
        peer: None,
        last: question,
        server,
        end: Instant::now() + LIMIT,
    };
    transfer.say()?;
    let mut content = Vec::new();
    let (mut expected, mut size) = (1_u16, 512);
    loop {
        let packet = transfer.hear()?;
        let number = || {
            packet
                .get(2..4)
                .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
                .context("a short packet")
        };
        match packet.get(..2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]])) {
            Some(OACK) if expected == 1 && content.is_empty() => {
                size = agreed_block(&packet[2..]);
                transfer.answer(ack(0))?;
            }
            Some(DATA) if number()? == expected => {
                let data = &packet[4..];
                ensure!(
                    data.len() <= size,
                    "a block of {} bytes where {size} were agreed on",
                    data.len()
                );
                content.extend_from_slice(data);
                transfer.answer(ack(expected))?;
                if data.len() < size {
                    return Ok(content);
                }
                expected = expected.wrapping_add(1);
            }
            // A repeated block: its acknowledgement was lost.
            Some(DATA) => transfer.say()?,
            Some(ERROR) => bail!(
                "the server says {}: {}",
                number()?,
                String::from_utf8_lossy(packet.get(4..).unwrap_or_default()).trim_end_matches('\0')
            ),
            other => bail!("unexpected packet {other:?}"),
        }
    }
}

/// RFC 1350 section 5: a read request in mode octet, without options.
pub fn request(file: &str) -> Vec<u8> {
    [&[0, 1][..], file.as_bytes(), b"\0octet\0"].concat()
}

fn ack(block: u16) -> Vec<u8> {
    [ACK.to_be_bytes(), block.to_be_bytes()].concat()
}

fn agreed_block(options: &[u8]) -> usize {
    option(options, "blksize").unwrap_or(512)
}

fn option(options: &[u8], name: &str) -> Option<usize> {
    let words: Vec<_> = options.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let at = words.iter().position(|word| word.eq_ignore_ascii_case(name))?;
    words.get(at + 1)?.parse().ok()
}

struct Transfer {
    socket: UdpSocket,
    /// The server's port for this transfer: its answer tells.
    peer: Option<SocketAddr>,
    last: Vec<u8>,
    server: SocketAddr,
    end: Instant,
}

impl Transfer {
    fn say(&self) -> Result<()> {
        self.socket
            .send_to(&self.last, self.peer.unwrap_or(self.server))
            .context("sending")
            .map(drop)
    }

    fn answer(&mut self, packet: Vec<u8>) -> Result<()> {
        self.last = packet;
        self.say()
    }

    fn hear(&mut self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 65536];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, peer)) if peer.ip() == self.server.ip() && *self.peer.get_or_insert(peer) == peer => {
                    buffer.truncate(length);
                    return Ok(buffer);
                }
                Ok(_) => {}
                Err(_) if Instant::now() < self.end => self.say()?,
                Err(error) => return Err(error).context("waiting for the server"),
            }
        }
    }
}
