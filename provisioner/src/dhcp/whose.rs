// SPDX-License-Identifier: Apache-2.0
//! Asks whose an address is before it is offered: by ARP on the segment itself, by ICMP behind its relays.

use std::io;

use pxe::arp;
use tokio::io::unix::AsyncFd;
use tracing::warn;

use super::answer::Segment;
use super::arp::ArpSocket;
use super::check::Claim;
use super::ping::{self, PingSocket};

/// The sockets, before there is a runtime.
pub(super) struct Opened {
    arp: Option<ArpSocket>,
    ping: Option<ping::Opened>,
}

/// Who asks; nobody where that is not wanted, or not possible.
pub(super) struct Asker {
    arp: Option<AsyncFd<ArpSocket>>,
    ping: Option<PingSocket>,
}

impl Opened {
    /// Opens what a segment and the networks behind it need; where that fails, offers there wait for nothing.
    pub(super) fn for_segment(segment: &mut Segment) -> Self {
        let name = segment.interface.name.clone();
        let open_arp = || ArpSocket::open(&segment.interface);
        let arp = opened(segment.checks.enabled, open_arp).unwrap_or_else(|error| {
            warn!(%name, %error, "addresses are given out without asking who uses them");
            None
        });
        segment.checks.enabled = arp.is_some();
        let beyond = segment.relayed.iter().any(|behind| behind.checks.enabled);
        let ping = opened(beyond, ping::Opened::new).unwrap_or_else(|error| {
            warn!(%name, %error, "addresses behind relays are given out without asking who uses them");
            None
        });
        for behind in &mut segment.relayed {
            behind.checks.enabled &= ping.is_some();
        }
        Self { arp, ping }
    }

    /// Hands them to the runtime.
    pub(super) fn register(self) -> io::Result<Asker> {
        Ok(Asker {
            arp: self.arp.map(ArpSocket::register).transpose()?,
            ping: self.ping.map(ping::Opened::register).transpose()?,
        })
    }
}

fn opened<T>(wanted: bool, open: impl FnOnce() -> io::Result<T>) -> io::Result<Option<T>> {
    wanted.then(open).transpose()
}

impl Asker {
    /// Asks for the addresses that are to be offered.
    pub(super) fn ask(&self, segment: &mut Segment) {
        let another = segment
            .checks
            .enabled
            .then(|| segment.watch.take_wanted_card())
            .flatten();
        for address in segment.checks.take_questions().into_iter().chain(another) {
            if let Some(arp) = &self.arp {
                arp.get_ref().ask(address);
            }
        }
        for address in segment
            .relayed
            .iter_mut()
            .flat_map(|behind| behind.checks.take_questions())
        {
            if let Some(ping) = &self.ping {
                ping.ask(address);
            }
        }
    }

    /// Waits until somebody says that an address is his: all that was heard.
    pub(super) async fn heard(&self) -> io::Result<Vec<Claim>> {
        tokio::select! {
            claims = by_arp(self.arp.as_ref()) => claims,
            claims = by_ping(self.ping.as_ref()) => claims,
        }
    }
}

async fn by_arp(socket: Option<&AsyncFd<ArpSocket>>) -> io::Result<Vec<Claim>> {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    let mut ready = socket.readable().await?;
    let claim = |arp::Claim { address, mac }| Claim { address, by: Some(mac) };
    let claims = std::iter::from_fn(|| socket.get_ref().heard()).map(claim).collect();
    ready.clear_ready();
    Ok(claims)
}

async fn by_ping(socket: Option<&PingSocket>) -> io::Result<Vec<Claim>> {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    socket.readable().await?;
    let claim = |address| Claim { address, by: None };
    Ok(std::iter::from_fn(|| socket.heard()).map(claim).collect())
}
