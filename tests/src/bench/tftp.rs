// SPDX-License-Identifier: Apache-2.0
//! Loaders over TFTP beside dnsmasq and atftpd, and beside the least that a server can do: one thread that sends what
//! is asked for, without clock, options of its own, or anybody else to serve.

mod client;
mod floor;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::client::Wanted;
use super::table::{Limit, Line, middle};
use super::{peer, process};
use crate::lab::SERVER;
use crate::made_up;
use crate::server::{ALONE, Yard};
use crate::wait::until;

/// Bits of the network: 510 addresses for clients, each with one.
const PREFIX: u8 = 22;
/// The first of them.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
const PORT: u16 = 69;
/// Files and their bytes, sorted by name.
const FILES: [(&str, usize); 3] = [("large", 4 << 20), ("middle", 1 << 20), ("small", 256 << 10)];
/// Two servers are measured so many times, in turn; the one in the middle counts.
const ROUNDS: usize = 3;
/// How long a peer may take to start.
const START: Duration = Duration::from_secs(20);
/// The peers write no line a transfer either.
const QUIET: &str = "[log]\nfilter = \"warn\"\n";

/// What some clients fetch together.
#[derive(Clone, Copy)]
struct Crowd {
    clients: u32,
    times: u32,
    wanted: Wanted,
}

const fn crowd(clients: u32, times: u32, file: &'static str, window: u16, loss: f64) -> Crowd {
    let wanted = Wanted { file, window, loss };
    Crowd { clients, times, wanted }
}

const LOCKSTEP: Crowd = crowd(200, 1, "middle", 1, 0.0);
const WINDOWS: Crowd = crowd(200, 1, "middle", 16, 0.0);
const LOSSY: Crowd = crowd(32, 1, "small", 1, 0.01);
const ONE_16: Crowd = crowd(1, 12, "large", 16, 0.0);
const ONE_64: Crowd = crowd(1, 12, "large", 64, 0.0);

/// What a server did.
#[derive(Clone, Copy)]
struct Speed {
    megabytes: f64,
    took: f64,
    used: f64,
}

impl Speed {
    fn rate(self) -> f64 {
        self.megabytes / self.took
    }

    fn per_gigabyte(self) -> f64 {
        self.used * 1000.0 / self.megabytes
    }
}

/// A server that is measured, where it runs, and how it is reached.
struct Contender<'a> {
    yard: &'a Yard,
    pid: u32,
}

impl Contender<'_> {
    fn serves(&self, crowd: Crowd) -> Result<Speed> {
        fetch(self.yard, Some(self.pid), PORT, crowd)
    }

    /// Several rounds, in turn with another one.
    fn beside(&self, other: &Self, crowd: Crowd, of: fn(Speed) -> f64) -> Result<(f64, f64)> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(of(self.serves(crowd)?));
            theirs.push(of(other.serves(crowd)?));
        }
        Ok((middle(ours), middle(theirs)))
    }
}

/// Measures all and compares.
pub fn measure() -> Result<Vec<Line>> {
    let mut yard = Yard::dark(PREFIX, &format!("{ALONE}{QUIET}"))?;
    let ram = ram(&yard)?;
    yard.lab.start_server()?;
    yard.server().import(&ram)?;
    let pid = yard.server().pid().context("the provisioner does not run")?;
    let ours = Contender { yard: &yard, pid };
    let other = Yard::dark(PREFIX, ALONE)?;
    let dnsmasq_runs = peer::dnsmasq(
        &other,
        ("10.77.3.0", "10.77.3.254"),
        &self::ram(&other)?.join("loaders"),
    )?;
    let dnsmasq = contender(&other, &dnsmasq_runs)?;
    let another = Yard::dark(PREFIX, ALONE)?;
    let program = crate::peer::atftpd()?;
    let atftpd_runs = peer::atftpd(&another, &program, &self::ram(&another)?.join("loaders"))?;
    let atftpd = contender(&another, &atftpd_runs)?;
    let (lockstep, theirs) = ours.beside(&dnsmasq, LOCKSTEP, Speed::per_gigabyte)?;
    let cost = "s of processor a GB";
    let mut lines = vec![Line::beside(
        "TFTP, 200 clients, 1 MB, window 1",
        Limit::AtMost(1.0),
        lockstep,
        ("dnsmasq", theirs),
        cost,
    )];
    let (windows, theirs) = ours.beside(&atftpd, WINDOWS, Speed::per_gigabyte)?;
    lines.push(Line::beside(
        "TFTP, 200 clients, 1 MB, window 16",
        Limit::AtMost(0.75),
        windows,
        ("atftpd", theirs),
        cost,
    ));
    let ones = [ours.serves(ONE_16)?, ours.serves(ONE_64)?];
    for ((one, floor), window) in ones.iter().zip(floors(&yard, &ram)?).zip([16, 64]) {
        let what = format!("TFTP, one client, window {window}");
        lines.push(Line::beside(
            &what,
            Limit::AtLeast(0.6),
            one.rate(),
            ("the floor", floor.rate()),
            "MB/s",
        ));
    }
    let best = dnsmasq.serves(LOSSY)?.took.min(atftpd.serves(LOSSY)?.took);
    lines.push(Line::beside(
        "TFTP, 32 clients, 256 KB, 1 % lost both ways",
        Limit::AtMost(0.4),
        ours.serves(LOSSY)?.took,
        ("the best peer", best),
        "s",
    ));
    Ok(lines)
}

fn floors(yard: &Yard, ram: &Path) -> Result<[Speed; 2]> {
    let content = std::fs::read(ram.join("loaders").join(ONE_16.wanted.file)).context("reading a loader")?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| yard.lab.space().run(|| floor::serve(&content, &over))?);
        let measured = fetch(yard, None, floor::PORT, ONE_16).and_then(|first| {
            let second = fetch(yard, None, floor::PORT, ONE_64)?;
            Ok([first, second])
        });
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        measured
    })
}

/// A peer, once it serves.
fn contender<'a>(yard: &'a Yard, peer: &peer::Peer) -> Result<Contender<'a>> {
    until("the peer's first file", START, || {
        Ok(fetch(yard, None, PORT, crowd(1, 1, "small", 1, 0.0)).ok().map(drop))
    })?;
    let pid = peer.pid();
    Ok(Contender { yard, pid })
}

fn ram(yard: &Yard) -> Result<PathBuf> {
    let place = yard.lab.folder();
    made_up::ram_with(place, "1", &yard.signature, [200_000, 200_000], &FILES)
}

/// What many machines fetch together, and what it cost the server.
fn fetch(yard: &Yard, pid: Option<u32>, port: u16, crowd: Crowd) -> Result<Speed> {
    let server: Ipv4Addr = SERVER.parse().context("the server's address")?;
    let server = SocketAddr::from((server, port));
    let processor = || pid.map_or(Ok(Duration::ZERO), process::processor);
    yard.wire.run(|| {
        let (before, begin) = (processor()?, Instant::now());
        let bytes = std::thread::scope(|scope| {
            let machine = |number: u32| {
                let from = Ipv4Addr::from(u32::from(FIRST) + number);
                scope.spawn(move || {
                    (0..crowd.times).try_fold(0, |bytes, _| Ok(bytes + client::fetch(from, server, crowd.wanted)?))
                })
            };
            let running: Vec<_> = (0..crowd.clients).map(machine).collect();
            let join = |machine: std::thread::ScopedJoinHandle<'_, Result<usize>>| {
                machine.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            running.into_iter().map(join).sum::<Result<usize>>()
        })?;
        let (took, used) = (begin.elapsed(), processor()?.saturating_sub(before));
        #[allow(clippy::cast_precision_loss)] // a figure with two digits
        Ok(Speed {
            megabytes: bytes as f64 / 1e6,
            took: took.as_secs_f64(),
            used: used.as_secs_f64(),
        })
    })
}
