// SPDX-License-Identifier: Apache-2.0
//! A client that fetches a file and throws it away, as cheaply as it can be done; its end of the cable may lose some.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// After this silence firmware asks again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it does before it gives up.
const TRIES: u32 = 12;
/// A block that fits an Ethernet frame.
const BLOCK: usize = 1468;

/// What is fetched, and how.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) file: &'static str,
    /// Blocks an acknowledgement (RFC 7440).
    pub(super) window: u16,
    /// Share of the packets that is lost, in each direction.
    pub(super) loss: f64,
}

/// Fetches it; says how many bytes it has.
pub(super) fn fetch(from: Ipv4Addr, server: SocketAddr, wanted: Wanted) -> Result<usize> {
    let socket = UdpSocket::bind((from, 0)).context("binding")?;
    socket.set_read_timeout(Some(PATIENCE)).context("limiting a wait")?;
    let mut cable = Cable {
        socket,
        loss: wanted.loss,
    };
    let window = if wanted.window > 1 {
        format!("windowsize\0{}\0", wanted.window)
    } else {
        String::new()
    };
    let question = format!("\0\x01{}\0octet\0blksize\0{BLOCK}\0tsize\x000\0{window}", wanted.file);
    let mut buffer = [0; 2048];
    let peer = cable.first(question.as_bytes(), server, &mut buffer)?;
    cable.socket.connect(peer).context("connecting")?;
    ensure!(buffer[..2] == [0, 6], "options were not agreed on");
    cable.acknowledge(0)?;
    let (mut expected, mut bytes, mut in_window, mut complained) = (1_u16, 0, 0, false);
    let mut tries = 0;
    loop {
        let Some(length) = cable.hear(&mut buffer)? else {
            tries += 1;
            ensure!(tries < TRIES, "the server fell silent");
            (in_window, complained) = (0, false);
            cable.acknowledge(expected.wrapping_sub(1))?;
            continue;
        };
        tries = 0;
        match (&buffer[..2], u16::from_be_bytes([buffer[2], buffer[3]])) {
            ([0, 3], number) if number == expected => {
                let data = length - 4;
                bytes += data;
                in_window += 1;
                complained = false;
                if in_window == wanted.window || data < BLOCK {
                    in_window = 0;
                    cable.acknowledge(expected)?;
                }
                if data < BLOCK {
                    return Ok(bytes);
                }
                expected = expected.wrapping_add(1);
            }
            // RFC 1350's reader acknowledges a repeated block again; with windows it says once that one is missing.
            ([0, 3 | 6], _) => {
                if wanted.window == 1 || !std::mem::replace(&mut complained, true) {
                    in_window = 0;
                    cable.acknowledge(expected.wrapping_sub(1))?;
                }
            }
            ([0, 5], code) => bail!("the server says error {code}"),
            _ => bail!("the server says something else"),
        }
    }
}

/// A socket whose cable loses some.
struct Cable {
    socket: UdpSocket,
    loss: f64,
}

impl Cable {
    fn loses(&self) -> bool {
        self.loss > 0.0 && rand::random::<f64>() < self.loss
    }

    /// Asks until there is an answer; says who gave it.
    fn first(&mut self, question: &[u8], server: SocketAddr, buffer: &mut [u8]) -> Result<SocketAddr> {
        for _ in 0..TRIES {
            if !self.loses() {
                self.socket.send_to(question, server).context("asking")?;
            }
            if let Ok((_, peer)) = self.socket.recv_from(buffer)
                && !self.loses()
            {
                return Ok(peer);
            }
        }
        bail!("nobody answers")
    }

    /// The next packet that is not lost; `None` after a silence.
    fn hear(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        loop {
            match self.socket.recv(buffer) {
                Ok(length) if length < 4 => bail!("a short packet"),
                Ok(_) if self.loses() => {}
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("waiting for the server"),
            }
        }
    }

    fn acknowledge(&self, block: u16) -> Result<()> {
        let [high, low] = block.to_be_bytes();
        if !self.loses() {
            self.socket.send(&[0, 4, high, low]).context("acknowledging")?;
        }
        Ok(())
    }
}
