// SPDX-License-Identifier: Apache-2.0
//! DHCP exchanges beside Kea: new clients of PXE firmware (discover, offer, request, acknowledgement), and renewals.
//!
//! All come through one relay, as from a large site: so no server's table of neighbours fills up. The provisioner has
//! each lease on its disk before it is told; Kea has it in the kernel's hands by then.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::peer::{self, Peer};
use super::process;
use super::table::{Limit, Line, middle};
use crate::lab::SERVER;
use crate::peer::Program;
use crate::rom::dhcp::{self, Say, Voice};
use crate::rom::{Kind, Rom};
use crate::server::{ALONE, Yard};
use crate::wait::until;

/// Clients that are new.
const NEW: u32 = 5000;
/// Clients that renew, again and again for [`FOR`].
const KNOWN: u32 = 500;
/// How long renewals are measured.
const FOR: Duration = Duration::from_secs(3);
/// Bits of the network: a pool of 16,382 addresses.
const PREFIX: u8 = 17;
/// The same for Kea.
const NETWORK: &str = "10.77.0.0/17";
const POOL: &str = "10.77.64.0 - 10.77.127.254";
/// Exchanges under way at a time.
const WINDOW: usize = 32;
/// A packet that is not answered in this time was dropped.
const LOST: Duration = Duration::from_secs(1);
/// Between two looks for such packets.
const LOOK: Duration = Duration::from_millis(50);
/// Every server is started afresh so many times, in turn; the one in the middle counts.
const ROUNDS: usize = 3;
/// How long a peer may take to start.
const START: Duration = Duration::from_secs(20);

/// What a server did.
#[derive(Clone, Copy)]
struct Load {
    done: u32,
    lost: u32,
    took: Duration,
    used: Duration,
}

/// What clients do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Each client once, all four packets.
    Lease,
    /// Each client again and again, two packets.
    Renew,
}

impl Load {
    fn microseconds(&self) -> f64 {
        self.used.as_secs_f64() * 1e6 / f64::from(self.done.max(1))
    }

    fn per_second(&self) -> f64 {
        f64::from(self.done) / self.took.as_secs_f64()
    }
}

/// New clients, then renewals.
type Both = [Load; 2];

/// Measures both and compares.
pub fn measure() -> Result<Vec<Line>> {
    let program = crate::peer::kea()?;
    let (mut ours, mut single, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(provisioner()?);
        single.push(kea(&program, false)?);
        threads.push(kea(&program, true)?);
    }
    let lost = |rounds: &[Both]| rounds.iter().map(|round| round[0].lost).sum::<u32>();
    let all = format!(
        "lost {} of {}, Kea {}, with two threads {}",
        lost(&ours),
        NEW as usize * ROUNDS,
        lost(&single),
        lost(&threads)
    );
    let cost = |what: &str, at: usize, limit: Limit| {
        let of = |rounds: &[Both]| middle(rounds.iter().map(|round| round[at].microseconds()).collect());
        Line::beside(what, limit, of(&ours), ("Kea", of(&single)), "µs of processor")
    };
    let rate = |rounds: &[Both]| middle(rounds.iter().map(|round| round[0].per_second()).collect());
    Ok(vec![
        cost("DHCP exchange of a new PXE client", 0, Limit::AtMost(0.5)).because(all),
        Line::beside(
            "the same a second, 5,000 clients",
            Limit::AtLeast(1.5),
            rate(&ours),
            ("Kea with two threads", rate(&threads)),
            "/s",
        ),
        cost("DHCP renewal", 1, Limit::AtMost(0.6)).because(
            "our log says ten minutes more than clients are told: one that renews as early as here costs no write",
        ),
    ])
}

fn provisioner() -> Result<Both> {
    let mut yard = Yard::dark(PREFIX, &format!("{ALONE}pool = \"{}\"\n{QUIET}", POOL.replace(' ', "")))?;
    yard.lab.start_server()?;
    yard.import_images()?;
    let pid = yard.server().pid().context("the provisioner does not run")?;
    both(&yard, pid)
}

/// The peers write no line a packet either, and ask nobody whether an address is used.
const QUIET: &str = "[log]\nfilter = \"warn\"\n";

fn kea(program: &Program, threads: bool) -> Result<Both> {
    let yard = Yard::dark(PREFIX, ALONE)?;
    let peer: Peer = peer::kea(&yard, program, NETWORK, POOL, threads)?;
    both(&yard, peer.pid())
}

fn both(yard: &Yard, pid: u32) -> Result<Both> {
    let address: Ipv4Addr = yard.wire.address().parse().context("the cable's address")?;
    yard.wire.run(|| {
        let mut relay = Relay::open(address, pid)?;
        until("the first lease", START, || {
            let first = relay.load(Wish::Lease, NEW..NEW + 1)?;
            Ok((first.done == 1).then_some(()))
        })?;
        let new = relay.load(Wish::Lease, 0..NEW)?;
        let renewals = relay.load(Wish::Renew, 0..KNOWN)?;
        Ok([new, renewals])
    })
}

/// A relay with many clients behind it.
struct Relay {
    socket: UdpSocket,
    address: Ipv4Addr,
    server: SocketAddr,
    pid: u32,
    leases: HashMap<u32, Ipv4Addr>,
    under_way: HashMap<u32, (u32, Instant)>,
    next_xid: u32,
}

impl Relay {
    fn open(address: Ipv4Addr, pid: u32) -> Result<Self> {
        let socket = UdpSocket::bind((address, 67)).context("binding the relay's port")?;
        socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .context("limiting a wait")?;
        let server: Ipv4Addr = SERVER.parse().context("the server's address")?;
        Ok(Self {
            socket,
            address,
            server: (server, 67).into(),
            pid,
            leases: HashMap::new(),
            under_way: HashMap::new(),
            next_xid: 1,
        })
    }

    /// Keeps [`WINDOW`] exchanges under way until all clients had theirs, or renewals took as long as they should.
    fn load(&mut self, wish: Wish, clients: std::ops::Range<u32>) -> Result<Load> {
        self.under_way.clear();
        let (before, begin) = (process::processor(self.pid)?, Instant::now());
        let (mut next, mut done, mut lost) = (clients.start, 0, 0);
        let (mut buffer, mut looked) = ([0; 1500], begin);
        loop {
            let more = match wish {
                Wish::Lease => next < clients.end,
                Wish::Renew => begin.elapsed() < FOR,
            };
            while more && self.under_way.len() < WINDOW && (wish == Wish::Renew || next < clients.end) {
                self.begin(wish, next)?;
                next += 1;
                if wish == Wish::Renew && next == clients.end {
                    next = clients.start;
                }
            }
            if self.under_way.is_empty() && !more {
                break;
            }
            if let Ok(length) = self.socket.recv(&mut buffer) {
                done += u32::from(self.hear(&buffer[..length])?);
            }
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                let waiting = self.under_way.len();
                self.under_way.retain(|_, (_, since)| since.elapsed() < LOST);
                lost += u32::try_from(waiting - self.under_way.len()).unwrap_or(u32::MAX);
            }
        }
        let (took, used) = (begin.elapsed(), process::processor(self.pid)?.saturating_sub(before));
        Ok(Load { done, lost, took, used })
    }

    fn begin(&mut self, wish: Wish, client: u32) -> Result<()> {
        let xid = self.next_xid;
        self.next_xid += 1;
        let rom = Rom::new(Kind::UefiX64, client);
        let packet = match (wish, self.leases.get(&client)) {
            (Wish::Renew, Some(lease)) => renewal(&rom, xid, *lease),
            _ => dhcp::packet(&rom, Voice::Firmware, xid, Say::Discover),
        };
        self.under_way.insert(xid, (client, Instant::now()));
        self.pass_on(packet)
    }

    /// RFC 1542, 4.1.1: a relay writes its own address into the packet.
    fn pass_on(&self, mut packet: Vec<u8>) -> Result<()> {
        packet[3] = 1;
        packet[24..28].copy_from_slice(&self.address.octets());
        self.socket.send_to(&packet, self.server).context("asking").map(drop)
    }

    /// Goes on with an exchange; whether it is done.
    fn hear(&mut self, packet: &[u8]) -> Result<bool> {
        let Some(answer) = dhcp::parse(packet) else {
            return Ok(false);
        };
        let (Some(&(client, _)), Some(address)) = (self.under_way.get(&answer.xid), answer.address) else {
            return Ok(false);
        };
        match (answer.kind, answer.server) {
            (2, Some(server)) => {
                let rom = Rom::new(Kind::UefiX64, client);
                let say = Say::Request { address, server };
                self.pass_on(dhcp::packet(&rom, Voice::Firmware, answer.xid, say))?;
                Ok(false)
            }
            (5, _) => {
                self.under_way.remove(&answer.xid);
                self.leases.insert(client, address);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// RFC 2131, 4.3.2: a client that renews writes its address into 'ciaddr', and nothing into options 50 and 54.
fn renewal(rom: &Rom, xid: u32, lease: Ipv4Addr) -> Vec<u8> {
    let mut packet = dhcp::header(rom.mac, xid, false);
    packet[12..16].copy_from_slice(&lease.octets());
    packet.extend([53, 1, 3, 55, 4, 1, 3, 6, 51, 255]);
    packet.resize(300, 0);
    packet
}
