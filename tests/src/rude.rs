// SPDX-License-Identifier: Apache-2.0
//! Peers without manners: they say any bytes, hang up, or listen only as long as they like.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::node::tls::Stream;
use crate::rom;

/// Silence after which nothing more is expected; an answer that streams for ever ends here.
pub const BORED: Duration = Duration::from_millis(800);
/// Bytes of an answer that anybody reads.
const ENOUGH: usize = 4 << 20;

/// A connection whose reads end after [`BORED`].
pub fn connect(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let stream = rom::connect(from, to)?;
    stream.set_read_timeout(Some(BORED)).context("limiting a wait")?;
    Ok(stream)
}

/// Makes a TLS connection's reads end after [`BORED`].
pub fn be_impatient(stream: &Stream) -> Result<()> {
    stream
        .get_ref()
        .get_ref()
        .set_read_timeout(Some(BORED))
        .context("limiting a wait")
}

/// Says these bytes and reads what comes until the end, or until nothing comes. A peer that hangs up early is fine.
pub fn say(mut stream: impl Read + Write, bytes: &[u8]) -> Vec<u8> {
    // Who does not listen to the end answers none the less.
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
    let mut heard = Vec::new();
    let mut buffer = [0; 16384];
    while heard.len() < ENOUGH {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => heard.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    heard
}

/// A request that ends its connection.
pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: controller\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The status of an answer.
pub fn status(answer: &[u8]) -> Option<u16> {
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next()?).into_owned();
    line.split(' ').nth(1)?.parse().ok()
}
