// SPDX-License-Identifier: Apache-2.0
//! What the real node-init costs an installed node: started against a real provisioner, as the node that a fake
//! machine has become.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::process;
use super::table::Line;
use crate::artifacts::Artifacts;
use crate::rom::Kind;
use crate::server::{ALONE, EVERYBODY, PATIENCE, Yard};
use crate::space::Space;
use crate::wait::until;

/// Start-up is over, libvirt's absence is known.
const SETTLE: Duration = Duration::from_secs(30);
/// Six heartbeats.
const WATCH: Duration = Duration::from_mins(1);
const RESIDENT_TARGET: u64 = 12 << 20;
/// Share of one processor.
const PROCESSOR_TARGET: f64 = 0.003;
const MEMORY: (&str, &str) = ("node-init's memory, installed", "at most 12 MB");
const PROCESSOR: (&str, &str) = ("node-init's processor, heartbeat every 10 s", "at most 0.3 %");

/// Measures it, where it was built.
pub fn measure(artifacts: &Artifacts) -> Result<Vec<Line>> {
    let program = installed(artifacts)?;
    if !program.exists() {
        let why = format!("{} is not there; `make build` builds it", program.display());
        return Ok(vec![
            Line::missing(MEMORY.0, MEMORY.1, why.clone()),
            Line::missing(PROCESSOR.0, PROCESSOR.1, why),
        ]);
    }
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}"))?;
    let system = yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.run_until_serving(PATIENCE)?;
        machine.disk.system.clone().context("the machine has no system")
    })?;
    // In the fakes' space, which has mounts of its own: this machine's folders stay as they are.
    let space = yard.wire.space();
    let config = json!({ "controller": system.controller, "pin": system.pin, "name": system.name }).to_string();
    give(space, "/etc/node-init", "config.json", &config)?;
    give(space, "/var/lib/node-init", "node.key", &system.key)?;
    let log = std::fs::File::create(yard.lab.folder().join("node-init.log")).context("making a log")?;
    let mut command = Command::new(&program);
    command
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing the log")?)
        .stderr(log);
    let mut child = space.spawn(&mut command).context("starting node-init")?;
    let pid = child.id();
    let begin = Instant::now();
    let mut at = |moment: Duration| {
        until("a moment in node-init's life", moment + Duration::from_secs(5), || {
            anyhow::ensure!(
                matches!(child.try_wait(), Ok(None)),
                "node-init ended: {}",
                said(yard.lab.folder())
            );
            Ok((begin.elapsed() >= moment).then_some(()))
        })
    };
    at(SETTLE)?;
    let before = process::processor(pid)?;
    at(SETTLE + WATCH)?;
    let used = process::processor(pid)?.saturating_sub(before).as_secs_f64() / WATCH.as_secs_f64();
    let resident = process::resident(pid)?;
    let _ = child.kill();
    let _ = child.wait();
    let note = "without libvirtd on this machine";
    Ok(vec![
        Line::new(
            MEMORY.0,
            MEMORY.1,
            process::megabytes(resident),
            resident <= RESIDENT_TARGET,
        )
        .because(note),
        Line::new(
            PROCESSOR.0,
            PROCESSOR.1,
            format!("{:.2} %", used * 100.0),
            used <= PROCESSOR_TARGET,
        )
        .because(note),
    ])
}

/// Where `make node-init` leaves the one with libvirt.
fn installed(artifacts: &Artifacts) -> Result<PathBuf> {
    let target = artifacts.programs.parent().context("finding the folder of builds")?;
    Ok(target.join("node/node-init"))
}

fn said(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("node-init.log")).unwrap_or_default()
}

/// Puts a file into a folder that only this space has.
fn give(space: &Space, folder: &str, name: &str, content: &str) -> Result<()> {
    // The mount point itself is made on this machine, empty, where it was missing.
    space.run_program(Command::new("mkdir").args(["-p", folder]))?;
    space.run_program(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=0700", "tmpfs", folder]))?;
    space
        .run(|| std::fs::write(Path::new(folder).join(name), content))?
        .with_context(|| format!("writing {folder}/{name}"))
}
