// SPDX-License-Identifier: Apache-2.0
//! Whole DHCP exchanges (discover, offer, request, acknowledgement) a second, beside dnsmasq.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::peer::{self, Peer};
use super::process;
use super::table::Line;
use crate::made_up;
use crate::rom::dhcp::{self, Say, Voice};
use crate::rom::ether::Ether;
use crate::rom::{Kind, Rom};
use crate::server::{ALONE, Yard};
use crate::wait::until;

/// Cards that ask. dnsmasq enters each into the kernel's table of neighbours, which holds 1,024 (`gc_thresh3`).
const CARDS: u32 = 500;
/// Bits of the network: a pool of 8,190 addresses.
const PREFIX: u8 = 18;
/// The same pool for dnsmasq.
const POOL: (&str, &str) = ("10.77.32.0", "10.77.63.254");
/// Cards that ask at a time.
const WINDOW: usize = 32;
const FOR: Duration = Duration::from_secs(8);
/// A packet that is not answered in this time was dropped.
const LOST: Duration = Duration::from_secs(1);

/// What one server did.
struct Rate {
    per_second: f64,
    microseconds: f64,
    lost: u32,
}

/// Measures both and compares.
pub fn measure() -> Result<Vec<Line>> {
    let ours = provisioner()?;
    let theirs = dnsmasq()?;
    let what = |name: &str, rate: &Rate| {
        let measured = format!(
            "{:.0}/s, {:.0} µs of processor each",
            rate.per_second, rate.microseconds
        );
        Line::told(name, measured).because(format!("{} packets lost in {} s", rate.lost, FOR.as_secs()))
    };
    let ratio = ours.per_second / theirs.per_second;
    Ok(vec![
        what("DHCP exchanges, provisioner", &ours),
        what("DHCP exchanges, dnsmasq", &theirs),
        Line::new(
            "DHCP exchanges, ours to dnsmasq's",
            "at least 0.5",
            format!("{ratio:.2}"),
            ratio >= 0.5,
        ),
    ])
}

fn provisioner() -> Result<Rate> {
    let mut yard = Yard::dark(PREFIX, ALONE)?;
    yard.lab.start_server()?;
    yard.import_images()?;
    let pid = yard.server().pid().context("the provisioner does not run")?;
    flood(&yard, pid)
}

fn dnsmasq() -> Result<Rate> {
    let yard = Yard::dark(PREFIX, ALONE)?;
    let ram = made_up::ram(yard.lab.folder(), "1", &yard.signature)?;
    let peer: Peer = peer::dnsmasq(&yard, POOL, &ram.join("loaders"))?;
    yard.wire.run(|| {
        let ether = Ether::open("wire")?;
        let rom = Rom::new(Kind::BiosPxe, 0);
        until("dnsmasq's first answer", FOR, || {
            Ok(rom.offer(&ether, Voice::Firmware)?.map(drop))
        })
    })?;
    flood(&yard, peer.pid())
}

fn flood(yard: &Yard, pid: u32) -> Result<Rate> {
    yard.wire.run(|| {
        let ether = Ether::open("wire")?;
        let (next, done, lost) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let failure = Mutex::new(None);
        let (before, begin) = (process::processor(pid)?, Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..WINDOW {
                scope.spawn(|| {
                    while begin.elapsed() < FOR {
                        let rom = Rom::new(Kind::BiosPxe, next.fetch_add(1, Ordering::Relaxed) % CARDS);
                        match exchange(&ether, &rom) {
                            Ok(true) => done.fetch_add(1, Ordering::Relaxed),
                            Ok(false) => lost.fetch_add(1, Ordering::Relaxed),
                            Err(error) => {
                                *failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                                return;
                            }
                        };
                    }
                });
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Err(error);
        }
        let (took, used) = (begin.elapsed(), process::processor(pid)?.saturating_sub(before));
        let done = f64::from(done.into_inner());
        Ok(Rate {
            per_second: done / took.as_secs_f64(),
            microseconds: used.as_secs_f64() * 1e6 / done,
            lost: lost.into_inner(),
        })
    })
}

/// One card's four packets; whether all arrived.
fn exchange(ether: &Ether, rom: &Rom) -> Result<bool> {
    let xid = rand::random();
    let listening = ether.listen(xid);
    let say = |say| ether.shout(rom.mac, &dhcp::packet(rom, Voice::Firmware, xid, say));
    say(Say::Discover)?;
    let Some(offer) = listening.next(LOST) else {
        return Ok(false);
    };
    let address = offer.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let server = offer.server.unwrap_or(Ipv4Addr::UNSPECIFIED);
    say(Say::Request { address, server })?;
    Ok(listening.next(LOST).is_some_and(|answer| answer.kind == 5))
}
