// SPDX-License-Identifier: Apache-2.0
//! One more PC, which asks for its boot script again and again while a thousand others boot.
//!
//! It is a process of its own: the thousand are threads of the bench at the lowest priority, and whoever shares memory
//! with them waits for the locks that they hold while they stand in line for a processor.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::rom::{self, Kind, Rom};

/// Between two scripts.
const PAUSE: Duration = Duration::from_millis(3);
/// The highest priority: the server's.
const FIRST: i32 = -20;
/// The option by which the bench becomes this PC.
const OPTION: &str = "--one-more";

/// The PC, at work.
pub struct OneMore(Child);

impl OneMore {
    /// Switches it on, in this thread's network; it asks from this address for the script of a card that nobody knows.
    pub fn start(from: Ipv4Addr, number: u32) -> Result<Self> {
        let bench = std::env::current_exe().context("finding this program")?;
        let child = Command::new(bench)
            .args([OPTION, &from.to_string(), &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting one more PC")?;
        Ok(Self(child))
    }

    /// Switches it off: how long it waited for each script.
    pub fn stop(mut self) -> Result<Vec<Duration>> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().context("waiting for one more PC")?;
        ensure!(output.status.success(), "one more PC got no script any more");
        let seen = String::from_utf8_lossy(&output.stdout);
        let micros = seen.lines().map(|line| line.parse().map(Duration::from_micros));
        micros.collect::<Result<_, _>>().context("reading what one more PC saw")
    }
}

/// Is the PC until nobody holds the standard input open; then prints how long each script took, in microseconds.
pub fn run(from: Ipv4Addr, number: u32) -> Result<()> {
    static OVER: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        // Whatever comes, the end of it is the end.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        OVER.store(true, Ordering::Relaxed);
    });
    // Without it the figures are worse, not wrong.
    let _ = rustix::process::setpriority_process(None, FIRST);
    let mac = Rom::new(Kind::BiosIpxe, number).mac_text().replace(':', "-");
    let script = format!("http://10.77.0.1:8080/boot/ipxe?mac={mac}");
    let mut seen = Vec::new();
    while !OVER.load(Ordering::Relaxed) {
        let begin = Instant::now();
        rom::get(from, &script)?;
        // Those who would have asked while this one waited would have waited for the rest of its time.
        let mut waited = Some(begin.elapsed());
        while let Some(rest) = waited {
            seen.push(rest);
            waited = rest.checked_sub(PAUSE);
        }
        std::thread::sleep(PAUSE);
    }
    let mut out = std::io::stdout().lock();
    for took in seen {
        writeln!(out, "{}", took.as_micros()).context("telling")?;
    }
    Ok(())
}
