// SPDX-License-Identifier: Apache-2.0
//! Kernels and images over HTTP beside nginx: one large file, many at once, and many small answers on connections that
//! stay open. Both servers have the same files, out of the same cache.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::peer;
use super::process::{self, megabytes};
use super::table::{Limit, Line, middle};
use crate::lab::SERVER;
use crate::made_up;
use crate::rom;
use crate::server::{ALONE, Yard};

/// Bits of the network: 510 addresses for clients, each with one.
const PREFIX: u8 = 22;
/// The first of them.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
/// Bytes of the one large file.
const LARGE: usize = 1 << 30;
/// Bytes of what many fetch: an initramfs of the real size.
const KERNEL: usize = 40_000_000;
/// How many.
const MANY: u32 = 200;
/// A small answer: a boot script has as much.
const SMALL: usize = 1024;
/// Connections that stay open.
const OPEN: u32 = 64;
const FOR: Duration = Duration::from_secs(2);
/// Both are measured so many times, in turn; the one in the middle counts.
const ROUNDS: usize = 5;
const OUR_PORT: u16 = 8080;
/// Resident bytes while 200 machines boot.
const RESIDENT_TARGET: u64 = 64_000_000;
/// The peer writes no line a request either.
const QUIET: &str = "[log]\nfilter = \"warn\"\n";
/// Between two looks at a server's memory.
const LOOK: Duration = Duration::from_millis(50);

/// What a server did.
struct Speed {
    /// Megabytes, or answers.
    done: f64,
    took: f64,
    used: f64,
}

/// All that is measured of one server.
struct Measured {
    large: Speed,
    many: Speed,
    small: Speed,
    resident: u64,
}

/// Measures both and compares.
pub fn measure() -> Result<Vec<Line>> {
    let mut yard = Yard::dark(PREFIX, &format!("{ALONE}{QUIET}"))?;
    let place = yard.lab.folder().to_owned();
    let ram = made_up::ram_with(&place, "1", &yard.signature, [LARGE, KERNEL], &[("small", SMALL)])?;
    yard.lab.start_server()?;
    yard.server().import(&ram)?;
    let pid = yard.server().pid().context("the provisioner does not run")?;
    let paths = ["/ram/1/initrd", "/ram/1/vmlinuz", "/loaders/small"];
    let program = crate::peer::nginx()?;
    let nginx = peer::nginx(&yard, &program, &ram)?;
    let theirs = ["/initrd", "/vmlinuz", "/loaders/small"];
    // Once unmeasured: from here on both find the files in the kernel's cache.
    one(&yard, nginx.pid(), peer::NGINX_PORT, theirs[0])?;
    let (mut ours, mut nginxs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        nginxs.push(all(&yard, nginx.pid(), peer::NGINX_PORT, theirs)?);
        ours.push(all(&yard, pid, OUR_PORT, paths)?);
    }
    let per_gigabyte = |speed: &Speed| speed.used * 1000.0 / speed.done;
    let rate = |speed: &Speed| speed.done / speed.took;
    let compare = |what: &str, limit: Limit, of: &dyn Fn(&Measured) -> f64, unit: &str| {
        let of = |rounds: &[Measured]| middle(rounds.iter().map(of).collect());
        Line::beside(what, limit, of(&ours), ("nginx", of(&nginxs)), unit)
    };
    let highest = |rounds: &[Measured]| rounds.iter().map(|round| round.resident).max().unwrap_or_default();
    let resident = highest(&ours);
    Ok(vec![
        compare(
            "HTTP, 1 GB to one client",
            Limit::AtMost(1.1),
            &|it| per_gigabyte(&it.large),
            "s of processor a GB",
        ),
        compare("the same a second", Limit::AtLeast(0.95), &|it| rate(&it.large), "MB/s"),
        compare(
            "HTTP, 200 clients, 40 MB each",
            Limit::AtLeast(1.0),
            &|it| rate(&it.many),
            "MB/s",
        ),
        compare(
            "HTTP, 1 KB, connections stay open",
            Limit::AtMost(1.5),
            &|it| it.small.used * 1e6 / it.small.done,
            "µs of processor",
        ),
        Line::new(
            "provisioner's memory with 200 boots at once",
            "at most 64 MB",
            megabytes(resident),
            resident <= RESIDENT_TARGET,
        )
        .because(format!("nginx, without its workers: {}", megabytes(highest(&nginxs)))),
    ])
}

fn all(yard: &Yard, pid: u32, port: u16, [large, many, small]: [&str; 3]) -> Result<Measured> {
    let large = one(yard, pid, port, large)?;
    let over = AtomicBool::new(false);
    let (many, resident) = std::thread::scope(|scope| {
        let highest = scope.spawn(|| {
            let mut highest = 0;
            while !over.load(Ordering::Relaxed) {
                highest = highest.max(process::resident(pid)?);
                std::thread::sleep(LOOK);
            }
            anyhow::Ok(highest)
        });
        let many = timed(yard, pid, MANY, |from| megabytes_of(from, port, many, KERNEL));
        over.store(true, Ordering::Relaxed);
        let highest = highest
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        anyhow::Ok((many?, highest))
    })?;
    let small = answers(yard, pid, port, small)?;
    Ok(Measured {
        large,
        many,
        small,
        resident,
    })
}

fn one(yard: &Yard, pid: u32, port: u16, path: &str) -> Result<Speed> {
    timed(yard, pid, 1, |from| megabytes_of(from, port, path, LARGE))
}

#[allow(clippy::cast_precision_loss)] // figures with two digits
fn megabytes_of(from: Ipv4Addr, port: u16, path: &str, size: usize) -> Result<f64> {
    Ok(download(from, to(port)?, path, size)? as f64 / 1e6)
}

/// Small answers, as many as there can be, each asked for when the one before is there.
fn answers(yard: &Yard, pid: u32, port: u16, path: &str) -> Result<Speed> {
    let begin = Instant::now();
    timed(yard, pid, OPEN, |from| {
        let mut stream = rom::connect(from, to(port)?)?;
        let question = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut buffer = vec![0; 16 << 10];
        let mut answers = 0_u32;
        while begin.elapsed() < FOR {
            stream.write_all(question.as_bytes()).context("asking")?;
            answer(&mut stream, &mut buffer)?;
            answers += 1;
        }
        Ok(f64::from(answers))
    })
}

/// Reads an answer to its end: a head, and [`SMALL`] bytes.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let mut length = 0;
    loop {
        let more = stream.read(&mut buffer[length..]).context("reading")?;
        ensure!(more > 0, "the server hung up");
        length += more;
        let end = buffer[..length].windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end
            && length >= end + 4 + SMALL
        {
            ensure!(buffer.starts_with(b"HTTP/1.1 200"), "the answer is no file");
            return Ok(());
        }
    }
}

/// What some clients do together, and what it cost the server.
fn timed(yard: &Yard, pid: u32, clients: u32, work: impl Fn(Ipv4Addr) -> Result<f64> + Sync) -> Result<Speed> {
    yard.wire.run(|| {
        let (before, begin) = (process::processor(pid)?, Instant::now());
        let done = std::thread::scope(|scope| {
            let client = |number: u32| {
                let (from, work) = (Ipv4Addr::from(u32::from(FIRST) + number), &work);
                scope.spawn(move || work(from))
            };
            let running: Vec<_> = (0..clients).map(client).collect();
            let join = |client: std::thread::ScopedJoinHandle<'_, Result<f64>>| {
                client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            running.into_iter().map(join).sum::<Result<f64>>()
        })?;
        let (took, used) = (begin.elapsed(), process::processor(pid)?.saturating_sub(before));
        Ok(Speed {
            done,
            took: took.as_secs_f64(),
            used: used.as_secs_f64(),
        })
    })
}

fn to(port: u16) -> Result<SocketAddr> {
    let server: Ipv4Addr = SERVER.parse().context("the server's address")?;
    Ok((server, port).into())
}

/// Reads a file and throws it away, as cheaply as it can be done: the server is measured, not the reader.
fn download(from: Ipv4Addr, to: SocketAddr, path: &str, size: usize) -> Result<usize> {
    let mut stream = rom::connect(from, to)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").context("asking")?;
    let (mut buffer, mut bytes) = (vec![0; 256 << 10], 0);
    loop {
        let length = stream.read(&mut buffer).context("reading")?;
        if length == 0 {
            break;
        }
        ensure!(
            bytes > 0 || buffer.starts_with(b"HTTP/1.1 200"),
            "the answer is no file"
        );
        bytes += length;
    }
    ensure!(bytes >= size, "{bytes} bytes are not the whole file");
    Ok(bytes)
}
