// SPDX-License-Identifier: Apache-2.0
//! An image's files over plain HTTP, resumed as often as the connection breaks.
//!
//! Plain, because nothing in an image is secret and its hashes are signed; TLS would cost a slow PC half its speed.

use std::io::Read;
use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};

use super::{Source, Trouble};
use crate::client::Backoff;

/// A server on the same wire that says nothing for this long has lost the connection.
const SILENCE: Duration = Duration::from_secs(20);

/// Connections kept between requests: one a hand of the pipeline.
const IDLE: usize = 4;

/// What a read takes at most; larger ones only wait longer for the last byte.
const READ_BUFFER: usize = 256 * 1024;

/// Refusals in a row ("not found", "range not satisfiable") before the image counts as gone. A restarting server
/// may say so for a moment; silence and broken connections are never counted.
const REFUSALS: u32 = 5;

/// Hears what the fetching waits for, and "" when it goes on.
pub type Waiting<'a> = &'a (dyn Fn(&str) + Sync);

/// An image in a folder of an HTTP server.
pub struct HttpSource<'a> {
    agent: Agent,
    url: String,
    waiting: Waiting<'a>,
    sleep: fn(Duration),
}

enum Attempt {
    /// Asking again may help: the server is away or was.
    Broken(String),
    /// The server answered, and this is not there.
    Refused(String),
}

impl<'a> HttpSource<'a> {
    /// The image at `url` (no slash at the end).
    pub fn new(url: &str, waiting: Waiting<'a>) -> Self {
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .max_idle_connections(IDLE)
            .max_idle_connections_per_host(IDLE)
            .input_buffer_size(READ_BUFFER)
            .output_buffer_size(4096)
            .user_agent(concat!("node-init/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            // Without ureq's TLS: nothing here uses it, and its list of the web's authorities is large.
            agent: Agent::with_parts(config, ().chain(TcpConnector::default()), DefaultResolver::default()),
            url: url.trim_end_matches('/').into(),
            waiting,
            sleep: thread::sleep,
        }
    }

    /// A whole small file, up to `limit` bytes.
    pub fn file(&self, name: &str, limit: u64) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        self.patiently(name, || {
            bytes.clear();
            let mut answer = self.ask(name, None)?;
            if !answer.status().is_success() {
                return Err(Attempt::Refused(format!(
                    "{name}: HTTP status {}",
                    answer.status().as_u16()
                )));
            }
            let mut body = answer.body_mut().as_reader().take(limit + 1);
            body.read_to_end(&mut bytes)
                .map_err(|e| Attempt::Broken(e.to_string()))?;
            if bytes.len() as u64 > limit {
                return Err(Attempt::Refused(format!("{name} is larger than {limit} bytes")));
            }
            Ok(())
        })?;
        Ok(bytes)
    }

    fn ask(&self, name: &str, range: Option<(u64, u64)>) -> Result<ureq::http::Response<ureq::Body>, Attempt> {
        let mut request = self.agent.get(format!("{}/{name}", self.url));
        if let Some((first, last)) = range {
            request = request.header("Range", format!("bytes={first}-{last}"));
        }
        request.call().map_err(|e| Attempt::Broken(e.to_string()))
    }

    /// One connection's worth of a chunk, added to what is there already.
    fn some_of_chunk(&self, offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), Attempt> {
        let have = into.len() as u64;
        let mut answer = self.ask("chunks", Some((offset + have, offset + length - 1)))?;
        match answer.status().as_u16() {
            206 => {}
            status @ 500.. => return Err(Attempt::Broken(format!("HTTP status {status}"))),
            // 200 would be the whole file from its begin.
            status => return Err(Attempt::Refused(format!("chunks: HTTP status {status} instead of 206"))),
        }
        let mut body = answer.body_mut().as_reader().take(length - have);
        let read = body.read_to_end(into);
        match read {
            Ok(_) if into.len() as u64 == length => Ok(()),
            Ok(_) => Err(Attempt::Broken("the connection ended early".into())),
            Err(error) => Err(Attempt::Broken(error.to_string())),
        }
    }

    /// For ever while nobody answers: the controller may be restarting, or its cable be out. Not for ever while
    /// somebody answers "no".
    fn patiently(&self, what: &str, mut attempt: impl FnMut() -> Result<(), Attempt>) -> Result<(), Trouble> {
        let (mut backoff, mut refusals, mut waited) = (Backoff::default(), 0, false);
        loop {
            match attempt() {
                Ok(()) => {
                    if waited {
                        (self.waiting)("");
                    }
                    return Ok(());
                }
                Err(Attempt::Refused(why)) => {
                    refusals += 1;
                    if refusals == REFUSALS {
                        return Err(Trouble::Unavailable(why));
                    }
                }
                Err(Attempt::Broken(why)) => {
                    (self.waiting)(&format!("waiting for the image server: {what}: {why}"));
                    waited = true;
                }
            }
            (self.sleep)(backoff.pause());
        }
    }
}

impl Source for HttpSource<'_> {
    fn chunk(&self, offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), Trouble> {
        into.clear();
        self.patiently("chunks", || self.some_of_chunk(offset, length, into))
    }
}

#[cfg(test)]
mod tests;
