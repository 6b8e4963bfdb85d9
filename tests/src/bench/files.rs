// SPDX-License-Identifier: Apache-2.0
//! Files to many machines at once: loaders over TFTP beside dnsmasq, kernels over HTTP beside nginx.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::peer;
use super::process;
use super::table::Line;
use crate::artifacts::Artifacts;
use crate::made_up;
use crate::rom::{self, tftp};
use crate::server::{ALONE, Yard};
use crate::wait::until;

/// Machines that fetch at a time.
const AT_ONCE: u32 = 20;
/// Loaders that each of them fetches.
const LOADERS: u32 = 20;
/// Bytes of the large file: an initramfs of the real size.
const LARGE: usize = 40 << 20;
/// How often each machine fetches it.
const TIMES: u32 = 5;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// What one server did.
struct Speed {
    megabytes: f64,
    took: Duration,
    used: Duration,
}

impl Speed {
    fn rate(&self) -> f64 {
        self.megabytes / self.took.as_secs_f64()
    }

    fn line(&self, what: &str) -> Line {
        let per_gigabyte = self.used.as_secs_f64() * 1000.0 / self.megabytes;
        Line::told(
            what,
            format!("{:.0} MB/s, {per_gigabyte:.2} s of processor a GB", self.rate()),
        )
    }
}

/// Measures all four and compares.
pub fn measure(artifacts: &Artifacts) -> Result<Vec<Line>> {
    let mut yard = Yard::dark(24, ALONE)?;
    let place = yard.lab.folder().to_owned();
    let ram = made_up::ram_of(&place, "1", &yard.signature, LARGE)?;
    yard.lab.start_server()?;
    yard.server().import(&ram)?;
    let pid = yard.server().pid().context("the provisioner does not run")?;
    let loaders = loaders(&yard, pid)?;
    let kernels = kernels(&yard, pid, 8080, "/ram/1/initrd")?;
    let nginx = peer::find_nginx(&artifacts.cache).and_then(|program| {
        let peer = peer::nginx(&yard, &program, &ram)?;
        kernels_of(&yard, peer.pid())
    });
    let dnsmasq = dnsmasq(&ram)?;
    let tftp_ratio = loaders.rate() / dnsmasq.rate();
    let mut lines = vec![
        loaders.line("loaders over TFTP, provisioner"),
        dnsmasq.line("loaders over TFTP, dnsmasq"),
        Line::new(
            "TFTP, ours to dnsmasq's",
            "at least 0.5",
            format!("{tftp_ratio:.2}"),
            tftp_ratio >= 0.5,
        ),
        kernels.line("initramfs over HTTP, provisioner"),
    ];
    let (what, target) = ("HTTP, ours to nginx's", "at least 0.7");
    match nginx {
        Ok(nginx) => {
            let ratio = kernels.rate() / nginx.rate();
            lines.push(nginx.line("initramfs over HTTP, nginx"));
            lines.push(Line::new(what, target, format!("{ratio:.2}"), ratio >= 0.7));
        }
        Err(error) => lines.push(Line::missing(what, target, format!("{error:#}"))),
    }
    Ok(lines)
}

fn dnsmasq(ram: &Path) -> Result<Speed> {
    let yard = Yard::dark(24, ALONE)?;
    let peer = peer::dnsmasq(&yard, ("10.77.0.128", "10.77.0.254"), &ram.join("loaders"))?;
    let from = yard.wire.address().parse().context("the cable's address")?;
    until("dnsmasq's first file", Duration::from_secs(10), || {
        Ok(yard.wire.run(|| tftp::fetch(from, SERVER, "ipxe.efi", true)).ok())
    })?;
    loaders(&yard, peer.pid())
}

fn kernels_of(yard: &Yard, pid: u32) -> Result<Speed> {
    kernels(yard, pid, peer::NGINX_PORT, "/initrd")
}

fn loaders(yard: &Yard, pid: u32) -> Result<Speed> {
    timed(yard, pid, |from| {
        let mut bytes = 0;
        for _ in 0..LOADERS {
            bytes += tftp::fetch(from, SERVER, "ipxe.efi", true)?.len() as u64;
        }
        Ok(bytes)
    })
}

fn kernels(yard: &Yard, pid: u32, port: u16, path: &str) -> Result<Speed> {
    timed(yard, pid, |from| {
        let mut bytes = 0;
        for _ in 0..TIMES {
            bytes += download(from, (SERVER, port).into(), path)?;
        }
        Ok(bytes)
    })
}

/// What many machines fetch together, and what it cost the server.
fn timed(yard: &Yard, pid: u32, fetch: impl Fn(Ipv4Addr) -> Result<u64> + Sync) -> Result<Speed> {
    yard.wire.run(|| {
        let (before, begin) = (process::processor(pid)?, Instant::now());
        let bytes = std::thread::scope(|scope| {
            let running: Vec<_> = (0..AT_ONCE)
                .map(|number| {
                    let fetch = &fetch;
                    scope.spawn(move || fetch(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 0, 130)) + number)))
                })
                .collect();
            let mut bytes = 0;
            for machine in running {
                bytes += machine
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            anyhow::Ok(bytes)
        })?;
        let (took, used) = (begin.elapsed(), process::processor(pid)?.saturating_sub(before));
        #[allow(clippy::cast_precision_loss)] // a figure with two digits
        Ok(Speed {
            megabytes: bytes as f64 / 1e6,
            took,
            used,
        })
    })
}

/// Reads a file and throws it away, as cheaply as it can be done: the server is measured, not the reader.
fn download(from: Ipv4Addr, to: SocketAddr, path: &str) -> Result<u64> {
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
        bytes += length as u64;
    }
    ensure!(bytes >= LARGE as u64, "{bytes} bytes are not the whole file");
    Ok(bytes)
}
