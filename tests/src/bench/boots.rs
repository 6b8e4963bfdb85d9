// SPDX-License-Identifier: Apache-2.0
//! A thousand machines at once, from power-on to a serving node, against one provisioner.

use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::table::Line;
use super::{peer, process};
use crate::artifacts::Artifacts;
use crate::machine::{Machine, Step};
use crate::rom::{self, Kind, Rom};
use crate::server::{ALONE, EVERYBODY, Yard};
use crate::wait::until;

/// A large school.
const MACHINES: u32 = 1000;
/// Bits of the network: a pool of 4,094 addresses.
const PREFIX: u8 = 19;
const LIMIT: Duration = Duration::from_mins(10);
/// Bytes that a thread of a fake machine needs.
const STACK: usize = 512 << 10;
const SCRIPT_TARGET: Duration = Duration::from_millis(50);
const RESIDENT_TARGET: u64 = 64 << 20;

/// What became of one machine.
struct Outcome {
    scripts: Vec<Duration>,
    served_after: Option<Duration>,
    error: Option<String>,
}

/// Measures the thousand.
pub fn measure(artifacts: &Artifacts) -> Result<Vec<Line>> {
    let mut yard = Yard::dark(PREFIX, &format!("{ALONE}{EVERYBODY}"))?;
    yard.lab.start_server()?;
    yard.import_images()?;
    let mut lines = Vec::new();
    let mut addresses = Vec::new();
    yard.tell(|street| {
        let pid = street.server.pid().context("the provisioner does not run")?;
        let mut machines: Vec<Machine> = (0..MACHINES)
            .map(|number| street.machine(Kind::ALL[number as usize % Kind::ALL.len()], number))
            .collect();
        let idle = process::resident(pid)?;
        let (begin, before) = (Instant::now(), process::processor(pid)?);
        let outcomes = all_at_once(&mut machines, begin)?;
        let (took, used) = (begin.elapsed(), process::processor(pid)?.saturating_sub(before));
        let arrived = outcomes.iter().filter(|outcome| outcome.served_after.is_some()).count();
        let ready = street
            .server
            .nodes()?
            .iter()
            .filter(|node| node.state == "ready")
            .count();
        let lost = MACHINES as usize - arrived.min(ready);
        let first = outcomes
            .iter()
            .find_map(|outcome| outcome.error.clone())
            .unwrap_or_default();
        lines.push(
            Line::new("1,000 machines boot at once: lost", "none", lost.to_string(), lost == 0).because(if lost == 0 {
                format!(
                    "all serving after {:.0} s, {:.0} s of the server's processor",
                    took.as_secs_f64(),
                    used.as_secs_f64()
                )
            } else {
                first
            }),
        );
        let mut scripts: Vec<Duration> = outcomes.into_iter().flat_map(|outcome| outcome.scripts).collect();
        lines.push(latency("boot script while they do, p99", &mut scripts));
        addresses = street
            .server
            .nodes()?
            .into_iter()
            .filter_map(|node| node.address?.parse().ok())
            .collect();
        // Every one of them holds its connection open, as nodes do.
        let resident = process::resident(pid)?;
        drop(machines);
        until("the connections to be closed", LIMIT, || {
            Ok((street.metric("gleaner_http_connections")? < 10.0).then_some(()))
        })?;
        let told = process::megabytes(resident);
        let line = Line::new(
            "provisioner's memory with 1,000 nodes",
            "at most 64 MB",
            told,
            resident <= RESIDENT_TARGET,
        );
        let (idle, alone) = (process::megabytes(idle), process::megabytes(process::resident(pid)?));
        lines.push(line.because(format!("{idle} before the first one, {alone} after all have hung up")));
        Ok(())
    })?;
    lines.extend(burst(&mut yard, artifacts, &addresses)?);
    Ok(lines)
}

fn all_at_once(machines: &mut [Machine], begin: Instant) -> Result<Vec<Outcome>> {
    let gate = Barrier::new(machines.len());
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for machine in machines {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let gate = &gate;
            let life = move || {
                gate.wait();
                life(machine, begin)
            };
            running.push(
                thread
                    .spawn_scoped(scope, life)
                    .context("starting a machine's thread")?,
            );
        }
        let join = |machine: std::thread::ScopedJoinHandle<'_, Outcome>| {
            machine.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        Ok(running.into_iter().map(join).collect())
    })
}

fn life(machine: &mut Machine, begin: Instant) -> Outcome {
    let mut scripts = Vec::new();
    let served = machine.run_until(LIMIT, |step| {
        if let Step::Booted(boot) = step {
            scripts.push(boot.script_took);
        }
        matches!(step, Step::Serving)
    });
    Outcome {
        scripts,
        served_after: served.is_ok().then(|| begin.elapsed()),
        error: served.err().map(|error| format!("{error:#}")),
    }
}

/// Only the script, asked for by a thousand at one moment, beside a static file of nginx. They ask from the addresses
/// that they have: more of them would overflow the kernel's table of neighbours (`gc_thresh3`, 1,024).
fn burst(yard: &mut Yard, artifacts: &Artifacts, addresses: &[Ipv4Addr]) -> Result<Vec<Line>> {
    let folder = yard.lab.folder().join("static");
    std::fs::create_dir_all(&folder).context("making a folder")?;
    let script = format!(
        "http://10.77.0.1:8080/boot/ipxe?mac={}",
        Rom::new(Kind::BiosIpxe, 0).mac_text().replace(':', "-")
    );
    let from = yard.wire.address().parse().context("the cable's address")?;
    let text = yard.wire.run(|| rom::get(from, &script))?.body;
    std::fs::write(folder.join("script"), text).context("writing a script")?;
    let mut ours = scripts(yard, addresses, |number| {
        let mac = Rom::new(Kind::BiosIpxe, number).mac_text().replace(':', "-");
        format!("http://10.77.0.1:8080/boot/ipxe?mac={mac}")
    })?;
    let theirs = peer::find_nginx(&artifacts.cache).and_then(|program| {
        let _peer = peer::nginx(yard, &program, &folder)?;
        scripts(yard, addresses, |_| {
            format!("http://10.77.0.1:{}/script", peer::NGINX_PORT)
        })
    });
    let mut line = latency("boot script, 1,000 at one moment, p99", &mut ours);
    if let Ok(mut theirs) = theirs {
        let p99 = milliseconds(percentile(&mut theirs, 99));
        line.cause = format!("a static file of nginx: {p99}; {}", line.cause);
    }
    Ok(vec![line])
}

fn scripts(yard: &Yard, addresses: &[Ipv4Addr], url: impl Fn(u32) -> String + Sync) -> Result<Vec<Duration>> {
    yard.wire.run(|| {
        let gate = Barrier::new(addresses.len());
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for (number, from) in (0..).zip(addresses.iter().copied()) {
                let (gate, url) = (&gate, &url);
                let ask = move || {
                    let url = url(number);
                    gate.wait();
                    let begin = Instant::now();
                    rom::get(from, &url).map(|_| begin.elapsed())
                };
                let thread = std::thread::Builder::new().stack_size(STACK);
                running.push(thread.spawn_scoped(scope, ask).context("starting a thread")?);
            }
            let join = |asked: std::thread::ScopedJoinHandle<'_, Result<Duration>>| {
                asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            running.into_iter().map(join).collect()
        })
    })
}

fn latency(what: &str, samples: &mut [Duration]) -> Line {
    let p99 = percentile(samples, 99);
    Line::new(what, "under 50 ms", milliseconds(p99), p99 < SCRIPT_TARGET).because(format!(
        "median {}, worst {}, {} scripts; the fakes share its two processors",
        milliseconds(percentile(samples, 50)),
        milliseconds(percentile(samples, 100)),
        samples.len()
    ))
}

/// The sample that this many in a hundred do not exceed.
fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    let at = (samples.len() * percent).div_ceil(100);
    samples.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
