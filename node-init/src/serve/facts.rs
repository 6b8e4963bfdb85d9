// SPDX-License-Identifier: Apache-2.0
//! What an examination of the installed system finds: asked of programs and the kernel, judged elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use provisioner_api::Cpu;

use crate::bridge::card::{self, Card, Way};
use crate::clock::{self, Tracking};
use crate::compute::{self, Offer};
use crate::inventory::{self, Senses};
use crate::programs::{ProgramError, Programs};

/// Units that a node must start with by itself, by the names that Debian gives them.
pub(super) const UNITS: [&str; 4] = ["node-init.service", "libvirtd.service", "chrony.service", "ssh.service"];

/// Programs of the system that only read answer at once; an emulated machine takes a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What the machine is made of.
    pub(super) hardware: Hardware,
    /// The bridge that libvirt was told to plug guests into.
    pub(super) bridge: Option<String>,
    /// What libvirt offers.
    pub(super) offer: Result<Offer, String>,
    /// The way to the controller and the card under it.
    pub(super) way: Result<(Way, Card), String>,
    /// How chrony does.
    pub(super) tracking: Result<Tracking, String>,
    /// The time servers that were written at installation.
    pub(super) servers: Vec<String>,
    /// `systemctl is-enabled` of each of [`UNITS`].
    pub(super) units: BTreeMap<String, String>,
    /// sshd's effective settings (`sshd -T`).
    pub(super) sshd: Result<String, String>,
}

/// What does not change while the machine runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Hardware {
    /// Processor, with the word on KVM.
    pub(super) cpu: Cpu,
    /// Bytes of RAM.
    pub(super) memory: u64,
}

impl Hardware {
    /// Reads it. Disks were asked for their health at registration; spinning them up for this would be a nuisance.
    pub(super) fn read(root: &Path) -> Self {
        let senses = Senses {
            health: &|_| None,
            ..Senses::default()
        };
        let inventory = inventory::read(root, &senses);
        Self {
            cpu: inventory.cpu,
            memory: inventory.memory,
        }
    }
}

/// Looks at everything once. May take minutes where libvirt does.
pub(super) fn examine(
    programs: &dyn Programs,
    root: &Path,
    controller: &str,
    bridge: Option<&str>,
    hardware: Hardware,
) -> Facts {
    let kvm = matches!(hardware.cpu.kvm, provisioner_api::Kvm::Usable);
    Facts {
        hardware,
        bridge: bridge.map(str::to_owned),
        offer: compute::ask(programs, Path::new(compute::HELPER), bridge, kvm).map_err(|e| format!("{e:#}")),
        way: way(root, controller),
        tracking: tracking(programs),
        servers: servers(root),
        units: units(programs),
        sshd: programs
            .run(&["/usr/sbin/sshd", "-T"], PATIENCE)
            .map_err(|e| e.to_string()),
    }
}

fn way(root: &Path, controller: &str) -> Result<(Way, Card), String> {
    let way = card::way_to(controller).map_err(|e| e.to_string())?;
    let card = card::under(&root.join("sys"), &way.interface).map_err(|e| e.to_string())?;
    Ok((way, card))
}

/// chrony's word; also asked between examinations, for heartbeats.
pub(super) fn tracking(programs: &dyn Programs) -> Result<Tracking, String> {
    // -N: servers by the names that they were configured by, which is what they are compared with.
    let text = programs
        .run(&["chronyc", "-c", "-N", "tracking"], PATIENCE)
        .map_err(|e| e.to_string())?;
    Tracking::parse(&text).map_err(|e| e.to_string())
}

fn servers(root: &Path) -> Vec<String> {
    let path = root.join(clock::CHRONY_CONF.trim_start_matches('/'));
    clock::configured_servers(&std::fs::read_to_string(path).unwrap_or_default())
}

fn units(programs: &dyn Programs) -> BTreeMap<String, String> {
    let command = [&["systemctl", "is-enabled"][..], &UNITS].concat();
    // It fails if one of them is off, and prints a line for each all the same.
    let text = match programs.run(&command, PATIENCE) {
        Ok(text) | Err(ProgramError::Failed { stdout: text, .. }) => text,
        Err(error) => error.to_string(),
    };
    UNITS
        .iter()
        .map(|unit| (*unit).to_owned())
        .zip(text.lines().map(str::to_owned))
        .collect()
}
