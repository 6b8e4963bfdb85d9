// SPDX-License-Identifier: Apache-2.0
//! Hardware virtualization where it really works, software where not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

/// A kernel on working KVM is up in two seconds; one that hangs never is.
const PROBE: Duration = Duration::from_secs(20);

/// How virtual PCs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// `/dev/kvm`, on which the kernel was seen to start.
    Kvm,
    /// QEMU's translator: works everywhere, ten times slower.
    Tcg,
}

impl Accel {
    /// Finds out by starting `kernel`: `/dev/kvm` may be there and hang what it runs. The answer is kept in `cache`
    /// until this machine is started anew.
    pub fn probe(kernel: &Path, cache: &Path) -> Result<Self> {
        if !Path::new("/dev/kvm").exists() {
            return Ok(Self::Tcg);
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the boot id")?;
        let memo = cache.join(format!("kvm-{}", boot.trim()));
        if let Ok(known) = std::fs::read_to_string(&memo) {
            return Ok(if known == "works" { Self::Kvm } else { Self::Tcg });
        }
        let works = starts_on_kvm(kernel, cache)?;
        std::fs::create_dir_all(cache).context("making the cache folder")?;
        std::fs::write(&memo, if works { "works" } else { "hangs" }).context("remembering whether KVM works")?;
        Ok(if works { Self::Kvm } else { Self::Tcg })
    }

    /// The name for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Kvm => "KVM (a kernel was seen to start on it)",
            Self::Tcg => "software virtualization (KVM is not there, or hangs)",
        }
    }

    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Debian 13's kernel panicked after cmpxchg16b in 2 of 5 boots on TCG's `max`; without cx16 never.
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "Nehalem,-cx16"],
        }
    }
}

fn starts_on_kvm(kernel: &Path, cache: &Path) -> Result<bool> {
    std::fs::create_dir_all(cache).context("making the cache folder")?;
    let log = cache.join(format!("kvm-probe-{}.log", std::process::id()));
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "q35,graphics=off",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            "256",
            "-nodefaults",
        ])
        .args(["-display", "none", "-no-reboot", "-append", "console=ttyS0 panic=-1"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-serial")
        .arg(format!("file:{}", log.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting qemu-system-x86_64 (package qemu-system-x86)")?;
    // A kernel without a root file system gives up after everything else has been started: that is the proof.
    let outcome = crate::wait::until("a kernel on KVM", PROBE, || {
        let said = std::fs::read(&log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let ended = qemu.try_wait().context("waiting for QEMU")?.is_some();
        Ok(if said.contains("Unable to mount root") {
            Some(true)
        } else {
            ended.then_some(false)
        })
    });
    let _ = qemu.kill();
    let _ = qemu.wait();
    let _ = std::fs::remove_file(&log);
    Ok(outcome.unwrap_or(false))
}
