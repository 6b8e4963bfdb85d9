// SPDX-License-Identifier: Apache-2.0
//! Questions by TCP (RFC 7766): for answers that do not fit into a packet, and for those who like it better.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::question::Over;
use super::{Desk, LONGEST, PAUSE, v4};

/// A connection on which no whole question arrives for this long, or no answer leaves, is closed.
const IDLE: Duration = Duration::from_secs(5);
/// Connections from everybody together: each holds a file that nodes need more.
const TOTAL: usize = 64;
/// From one address.
const PER_ADDRESS: usize = 8;

/// Counts connections.
#[derive(Default)]
pub(super) struct Doors(Mutex<HashMap<Ipv4Addr, usize>>);

/// The right to one connection; given back when dropped.
struct Admitted(Arc<Doors>, Ipv4Addr);

impl Doors {
    /// Nobody is connected.
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn admit(self: &Arc<Self>, from: Ipv4Addr) -> Option<Admitted> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = open.values().sum();
        let from_there = open.get(&from).copied().unwrap_or(0);
        if total >= TOTAL || from_there >= PER_ADDRESS {
            return None;
        }
        open.insert(from, from_there + 1);
        Some(Admitted(Arc::clone(self), from))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}

/// Answers connections for ever.
pub(super) async fn connections(listener: TcpListener, server: Ipv4Addr, desk: Arc<Desk>, doors: Arc<Doors>) {
    let mut open = JoinSet::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "accepting DNS connections");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while open.try_join_next().is_some() {}
        let Some(from) = v4(peer) else { continue };
        let Some(admitted) = doors.admit(from) else {
            metrics::counter!("gleaner_dns_crowded_total").increment(1);
            continue;
        };
        let desk = Arc::clone(&desk);
        open.spawn(async move {
            if let Err(error) = talk(stream, server, from, &desk).await {
                debug!(%peer, %error, "a DNS connection ends");
            }
            drop(admitted);
        });
    }
}

/// One question after the other: nobody gets more than one answer at a time.
async fn talk(mut stream: TcpStream, server: Ipv4Addr, from: Ipv4Addr, desk: &Desk) -> io::Result<()> {
    while let Some(question) = timeout(IDLE, read(&mut stream)).await?? {
        metrics::counter!("gleaner_dns_questions_total").increment(1);
        let Some(answer) = desk.answer(&question, Over::Tcp, from, server).await else {
            return Ok(());
        };
        timeout(IDLE, write(&mut stream, &answer)).await??;
    }
    Ok(())
}

/// The next question; `None` at the end, or where none so long is honest.
async fn read(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > LONGEST {
        return Ok(None);
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await?;
    Ok(Some(question))
}

async fn write(stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    // RFC 7766, 8: length and message in one segment, for those who read only one.
    let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(answer.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(answer);
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_connections_and_each_is_given_back() {
        let doors = Doors::new();
        let admitted: Vec<_> = (0..100).filter_map(|_| doors.admit([10, 77, 0, 9].into())).collect();
        assert_eq!(admitted.len(), PER_ADDRESS);
        let others: Vec<_> = (0..100)
            .filter_map(|last| doors.admit([10, 77, 1, last].into()))
            .collect();
        assert_eq!(others.len(), TOTAL - PER_ADDRESS);
        drop((admitted, others));
        assert!(doors.0.lock().is_ok_and(|open| open.is_empty()));
        assert!(doors.admit([10, 77, 0, 9].into()).is_some());
    }
}
