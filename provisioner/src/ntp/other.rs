// SPDX-License-Identifier: Apache-2.0
//! Another program that has the port of time: whether it gives nodes the time is asked, not hoped.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use super::PACE;
use super::packet::{PACKET, Unfit, judge, question};
use crate::network::{Here, Sightings};

/// An answer on this machine takes a millisecond.
const PATIENCE: Duration = Duration::from_millis(500);
/// Questions before it is said that nobody answers: a packet may get lost, even here, where a queue is full.
const TRIES: u32 = 3;

/// Another time server.
pub struct Other {
    /// Its name, for a person.
    pub(super) program: String,
    /// The interfaces at whose addresses it should answer nodes.
    pub(super) here: watch::Receiver<Arc<Here>>,
    /// And the port.
    pub(super) port: u16,
    pub(super) sightings: Arc<dyn Sightings>,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It does not answer there.
    Silent(SocketAddrV4),
    /// It says that its clock is not set.
    Unset(SocketAddrV4),
}

impl Other {
    /// Asks it now and then, as nodes do, and tells how it does.
    pub(super) async fn look_after(self) -> Result<()> {
        let mut pace = tokio::time::interval(PACE);
        loop {
            pace.tick().await;
            let mut trouble = None;
            let here: Arc<Here> = self.here.borrow().clone();
            for interface in here.interfaces() {
                trouble = trouble.or(examine(SocketAddrV4::new(interface.address, self.port)).await);
            }
            let (detail, ok) = tell(&self.program, trouble);
            self.sightings.service("ntp", detail, ok);
        }
    }
}

async fn examine(server: SocketAddrV4) -> Option<Trouble> {
    for _ in 0..TRIES {
        match ask(server).await {
            Some(Ok(())) => return None,
            Some(Err(Unfit::Unset)) => return Some(Trouble::Unset(server)),
            Some(Err(Unfit::Strange)) | None => {}
        }
    }
    Some(Trouble::Silent(server))
}

/// What it answers; `None` if nothing. The question comes from the server's own address: whom it serves is mostly
/// decided by networks, and this one is in that of the nodes.
async fn ask(server: SocketAddrV4) -> Option<Result<(), Unfit>> {
    let stamp: [u8; 8] = rand::random();
    let socket = UdpSocket::bind(SocketAddrV4::new(*server.ip(), 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.send(&question(stamp)).await.ok()?;
    let mut buffer = [0; 2 * PACKET];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.ok()?.ok()?;
    Some(judge(&buffer[..length], stamp))
}

fn tell(program: &str, trouble: Option<Trouble>) -> (String, bool) {
    match trouble {
        None => (format!("{program} serves the time"), true),
        Some(Trouble::Silent(server)) => {
            let detail = format!(
                "port {} is taken by {program}, which gives no time at {}; let it serve that network (chrony: allow), or \
                 stop it and restart this server",
                server.port(),
                server.ip()
            );
            (detail, false)
        }
        Some(Trouble::Unset(_)) => (
            format!(
                "{program} says that its clock is not set, so nodes do not take the time from it; let it reach its time \
                 servers, or trust this clock (chrony: local stratum 10)"
            ),
            false,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_told_with_what_to_do() {
        let server = SocketAddrV4::new([10, 77, 0, 1].into(), 123);
        assert_eq!(tell("chronyd", None), ("chronyd serves the time".into(), true));
        for trouble in [Trouble::Silent(server), Trouble::Unset(server)] {
            let (detail, ok) = tell("chronyd (process 7)", Some(trouble));
            assert!(
                !ok && detail.contains("chronyd (process 7)") && detail.contains("; "),
                "{detail}"
            );
        }
    }
}
