// SPDX-License-Identifier: Apache-2.0
//! HTTP/1.1 by hand, over anything that reads and writes: TCP, TLS, a UNIX socket. Small, and able to be rude.

use std::io::{BufRead, BufReader, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Longest answer that is taken; images are fetched by ranges below this.
const LARGEST: u64 = 256 << 20;

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success as JSON; a failure becomes an error with the server's words.
    pub fn json(&self) -> Result<Value> {
        ensure!(
            (200..300).contains(&self.status),
            "the server answered {}: {}",
            self.status,
            self.text()
        );
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| format!("understanding {}", self.text()))
    }
}

/// Sends one request (`GET`, path, more header lines, body) and reads its answer.
pub fn ask(
    stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[&str],
    body: Option<&[u8]>,
) -> Result<Reply> {
    let mut stream = BufReader::new(stream);
    send(stream.get_mut(), method, path, headers, body)?;
    receive(&mut stream, method)
}

/// Sends a request on a connection that stays open.
pub fn send(stream: &mut impl Write, method: &str, path: &str, headers: &[&str], body: Option<&[u8]>) -> Result<()> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: controller\r\n");
    for header in headers {
        head += header;
        head += "\r\n";
    }
    if let Some(body) = body {
        head += "Content-Type: application/json\r\nContent-Length: ";
        head += &body.len().to_string();
        head += "\r\n";
    }
    head += "\r\n";
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body.unwrap_or_default());
    stream
        .write_all(&bytes)
        .and_then(|()| stream.flush())
        .with_context(|| format!("sending {method} {path}"))
}

/// Reads one answer.
pub fn receive(stream: &mut impl BufRead, method: &str) -> Result<Reply> {
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("understanding the status line {first:?}"))?;
    let mut headers = Vec::new();
    loop {
        let line = line(stream)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            bail!("the header line {line:?} has no colon")
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut reply = Reply {
        status,
        headers,
        body: Vec::new(),
    };
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(reply);
    }
    if reply
        .header("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        loop {
            let size = line(stream)?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or_default(), 16).context("a chunk's size")?;
            take(stream, size, &mut reply.body)?;
            line(stream)?;
            if size == 0 {
                return Ok(reply);
            }
        }
    }
    match reply.header("content-length") {
        Some(length) => {
            let length = length.parse().context("understanding Content-Length")?;
            take(stream, length, &mut reply.body)?;
        }
        None => {
            stream
                .take(LARGEST)
                .read_to_end(&mut reply.body)
                .context("reading a body to the end")?;
        }
    }
    Ok(reply)
}

fn line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).context("reading an answer")?;
    ensure!(read > 0, "the server closed the connection");
    Ok(line.trim_end().to_owned())
}

fn take(stream: &mut impl BufRead, length: u64, into: &mut Vec<u8>) -> Result<()> {
    ensure!(length <= LARGEST, "an answer of {length} bytes is too long");
    let read = stream.take(length).read_to_end(into).context("reading a body")?;
    ensure!(read as u64 == length, "the body ended after {read} of {length} bytes");
    Ok(())
}
