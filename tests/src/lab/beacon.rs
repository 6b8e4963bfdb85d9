// SPDX-License-Identifier: Apache-2.0
//! Router advertisements (RFC 4861), as most networks have them: a router that offers nothing.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::BRIDGE;
use crate::space::Space;

/// More often than a router would, so that nobody waits.
const EVERY: Duration = Duration::from_secs(1);
/// RFC 4861, section 4.2: type 134, code 0, checksum (the kernel's), hop limit 64, no flags, lifetime 0 (not a default
/// router), reachable and retransmission times unspecified.
const ADVERTISEMENT: [u8; 16] = [134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// RFC 4861, section 6.1.2: an advertisement with another hop limit came through a router and is not believed.
const HOPS: u32 = 255;

/// Sends advertisements until it is dropped.
pub(super) struct Beacon {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Beacon {
    pub(super) fn start(space: &Space) -> Result<Self> {
        let index = space.run_program(Command::new("cat").arg(format!("/sys/class/net/{BRIDGE}/ifindex")))?;
        let index: u32 = index.trim().parse().context("reading the bridge's number")?;
        let socket = space.run(|| -> Result<Socket> {
            let socket =
                Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).context("opening an ICMPv6 socket")?;
            socket.set_multicast_hops_v6(HOPS).context("setting the hop limit")?;
            socket.set_multicast_if_v6(index).context("choosing the interface")?;
            Ok(socket)
        })??;
        let all_nodes = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, index).into();
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            while matches!(stopped.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                // Fails until the bridge has its link-local address; the next one comes in a second.
                let _ = socket.send_to(&ADVERTISEMENT, &all_nodes);
            }
        });
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
