// SPDX-License-Identifier: Apache-2.0
//! A thousand machines at once, from power-on to a serving node, against one provisioner.
//!
//! A thousand real PCs bring a thousand processors; these share two with the server. So they run at the lowest
//! priority and the server at the highest, as if each had its own, and one more PC asks for its script all the while at
//! the server's priority: what it sees is the server, and what the others see is told beside it.

use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::one_more::OneMore;
use super::table::Line;
use super::{peer, process};
use crate::machine::{Machine, Step};
use crate::rom::{self, Kind, Rom};
use crate::server::{ALONE, EVERYBODY, Street, Yard};
use crate::wait::{LOOK, until};

/// A large school.
const MACHINES: u32 = 1000;
/// Bits of the network: a pool of 4,094 addresses.
const PREFIX: u8 = 19;
const LIMIT: Duration = Duration::from_mins(10);
/// Bytes that a thread of a fake machine needs.
const STACK: usize = 512 << 10;
const SCRIPT_TARGET: Duration = Duration::from_millis(50);
/// The lowest priority.
const LAST: i32 = 19;
/// The highest.
const FIRST: i32 = -20;
/// How long a node waits for orders before it gives a sign of life: the pace of heartbeats.
const BEAT: u32 = 10;
/// How long the server's memory is looked at while they do: each has given its sign, and what was only needed while all
/// booted at once was given back.
const STEADY: Duration = Duration::from_secs(15);
const REST_TARGET: u64 = 32_000_000;
const RESIDENT_TARGET: u64 = 64_000_000;

/// What became of one machine.
struct Outcome {
    scripts: Vec<Duration>,
    served_after: Option<Duration>,
    error: Option<String>,
}

/// Measures the thousand.
pub fn measure() -> Result<Vec<Line>> {
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
        let told = process::megabytes(idle);
        lines.push(Line::new(
            "provisioner's memory at rest",
            "at most 32 MB",
            told,
            idle <= REST_TARGET,
        ));
        prefer(pid)?;
        let (begin, before) = (Instant::now(), process::processor(pid)?);
        let (outcomes, mut seen) = all_at_once(&mut machines, begin, street.address()?)?;
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
        lines.push(latency("boot script while they do, p99", &mut seen));
        let theirs = latency("the same, seen by the thousand at low priority", &mut scripts);
        let own = histogram(street, "gleaner_http_request_seconds", "/boot/ipxe")?;
        lines.push(Line::told(&theirs.what, theirs.measured).because(format!("{}; {own}", theirs.cause)));
        addresses = street
            .server
            .nodes()?
            .into_iter()
            .filter_map(|node| node.address?.parse().ok())
            .collect();
        let peak = process::highest_resident(pid)?;
        let resident = all_waiting(&mut machines, street, pid)?;
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
        let [idle, peak, alone] = [idle, peak, process::resident(pid)?].map(process::megabytes);
        lines.push(line.because(format!(
            "{idle} before the first one, at most {peak} while all installed at once, {alone} after all have hung up"
        )));
        Ok(())
    })?;
    lines.extend(burst(&mut yard, &addresses)?);
    Ok(lines)
}

/// What became of each, and how long one more PC waited for its scripts meanwhile.
fn all_at_once(machines: &mut [Machine], begin: Instant, from: Ipv4Addr) -> Result<(Vec<Outcome>, Vec<Duration>)> {
    let one_more = OneMore::start(from, MACHINES)?;
    let gate = Barrier::new(machines.len());
    let outcomes = std::thread::scope(|scope| {
        let mut running = Vec::new();
        for machine in machines {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let gate = &gate;
            let life = move || {
                humble();
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
        anyhow::Ok(running.into_iter().map(join).collect())
    })?;
    Ok((outcomes, one_more.stop()?))
}

/// The server's memory while every node waits for orders and gives its signs of life, as nodes do for ever.
fn all_waiting(machines: &mut [Machine], street: &Street<'_>, pid: u32) -> Result<u64> {
    let over = AtomicBool::new(false);
    let all = f64::from(MACHINES);
    std::thread::scope(|scope| {
        for (machine, first) in machines.iter_mut().zip((1..=BEAT).cycle()) {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let over = &over;
            let waiting = move || {
                humble();
                // One that does not is missing among the connections.
                wait(machine, first, over)
            };
            thread
                .spawn_scoped(scope, waiting)
                .context("starting a node's thread")?;
        }
        let resident = until("every node to wait for orders", LIMIT, || {
            Ok((street.metric("gleaner_http_connections")? >= all).then_some(()))
        })
        .and_then(|()| {
            std::thread::sleep(STEADY);
            let (end, mut highest) = (Instant::now() + STEADY, 0);
            while Instant::now() < end {
                highest = highest.max(process::resident(pid)?);
                std::thread::sleep(LOOK);
            }
            Ok(highest)
        });
        over.store(true, Ordering::Relaxed);
        resident
    })
}

/// `first` spreads them: in a lab no two were switched on at the same moment.
fn wait(machine: &mut Machine, first: u32, over: &AtomicBool) -> Result<()> {
    let node = machine.node()?;
    let mut speaker = node.beside()?;
    let (mut seen, mut patience) = (None, first);
    while !over.load(Ordering::Relaxed) {
        let orders = node.orders(seen, patience)?;
        if seen.replace(orders.revision).is_some() {
            patience = BEAT;
            speaker.heartbeat()?;
        }
    }
    Ok(())
}

/// Puts this thread behind all others.
fn humble() {
    // Without it the figures are worse, not wrong.
    let _ = rustix::process::setpriority_process(None, LAST);
}

/// Puts the threads of a process before all others; those that they start are, too.
fn prefer(pid: u32) -> Result<()> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).context("reading the server's threads")?;
    for thread in threads.flatten() {
        let thread = thread.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(thread) = thread.and_then(rustix::process::Pid::from_raw) {
            // One that has ended needs none.
            let _ = rustix::process::setpriority_process(Some(thread), FIRST);
        }
    }
    Ok(())
}

/// What the server itself says of a route, from the request's head to the answer's, in words.
fn histogram(street: &Street<'_>, name: &str, route: &str) -> Result<String> {
    let text = street.server.ask("GET", "/metrics", None)?.text();
    let line = |line: &str| {
        let rest = line.strip_prefix(name)?.strip_prefix("_bucket{")?;
        let end = rest.contains(&format!("route=\"{route}\"")).then_some(rest)?;
        let (bound, count) = end.split_once("le=\"")?.1.split_once('"')?;
        Some((bound.to_owned(), count.rsplit(' ').next()?.parse::<u64>().ok()?))
    };
    let buckets: Vec<(String, u64)> = text.lines().filter_map(line).collect();
    let all = buckets.last().map_or(0, |(_, count)| *count);
    let within = buckets.iter().find(|(_, count)| *count * 100 >= all * 99);
    Ok(within.map_or_else(
        || "the server has no figure of its own".into(),
        |(bound, _)| format!("the server's own work on 99 % of {all}: under {bound} s"),
    ))
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
fn burst(yard: &mut Yard, addresses: &[Ipv4Addr]) -> Result<Vec<Line>> {
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
    let theirs = crate::peer::nginx().and_then(|program| {
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
                    humble();
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
        "median {}, worst {}, {} scripts",
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
