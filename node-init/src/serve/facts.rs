// SPDX-License-Identifier: Apache-2.0
//! What an examination of the installed system finds: asked of programs and the kernel, judged elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use provisioner_api::{Cpu, NodeRole, RoleCheck};

use crate::bridge::card::{self, Card, Way};
use crate::clock::{self, Tracking};
use crate::compute::{self, Offer};
use crate::inventory::{self, Senses};
use crate::programs::{ProgramError, Programs};

/// The unit that every node must start with by itself, whatever its role's are.
pub(super) const NODE_INIT: &str = "node-init.service";

/// Programs of the system that only read answer at once; an emulated machine takes a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What the machine is made of.
    pub(super) hardware: Hardware,
    /// The bridge that libvirt was told to plug guests into.
    pub(super) bridge: Option<String>,
    /// What the node was to serve as.
    pub(super) role: NodeRole,
    /// What libvirt offers, where the role runs guests.
    pub(super) offer: Option<Result<Offer, String>>,
    /// The way to the controller, and the card under it or why it is none: a bond, a VLAN.
    pub(super) way: Result<(Way, Result<Card, String>), String>,
    /// How the clock does.
    pub(super) clock: Result<Clock, String>,
    /// The time servers that were written at installation; none where the system has its own.
    pub(super) servers: Vec<String>,
    /// `systemctl is-enabled` of each unit that must start by itself.
    pub(super) units: BTreeMap<String, String>,
    /// How the system came up.
    pub(super) system: Result<System, String>,
    /// What the role's own commands said, in their order: what they printed, or why they failed.
    pub(super) commands: Vec<Result<String, String>>,
    /// sshd's effective settings (`sshd -T`).
    pub(super) sshd: Result<String, String>,
}

/// Who keeps the clock, and how it does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Clock {
    /// chrony.
    Chrony(Tracking),
    /// Another program; whether it says that the clock is in step.
    Other(bool),
}

impl Clock {
    /// Seconds that the clock is ahead of what it follows, where it follows something and that is known.
    pub(super) fn ahead(&self) -> Option<f64> {
        match self {
            Self::Chrony(tracking) => tracking.synchronised.then_some(tracking.ahead),
            Self::Other(_) => None,
        }
    }
}

/// How systemd sees the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct System {
    /// Its word (`systemctl is-system-running`).
    pub(super) word: String,
    /// Units that failed.
    pub(super) failed: Vec<String>,
    /// Units that it still starts.
    pub(super) starting: Vec<String>,
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
    (role, hardware): (NodeRole, Hardware),
) -> Facts {
    let kvm = matches!(hardware.cpu.kvm, provisioner_api::Kvm::Usable);
    let ask = || compute::ask(programs, Path::new(compute::HELPER), bridge, kvm).map_err(|e| format!("{e:#}"));
    let units = std::iter::once(NODE_INIT).chain(role.units.iter().map(String::as_str));
    Facts {
        offer: role.guests.then(ask),
        units: enabled(programs, &units.collect::<Vec<_>>()),
        system: system(programs),
        commands: role.checks.iter().map(|check| command(programs, check)).collect(),
        role,
        hardware,
        bridge: bridge.map(str::to_owned),
        way: way(root, controller),
        clock: clock(programs),
        servers: servers(root),
        sshd: programs
            .run(&["/usr/sbin/sshd", "-T"], PATIENCE)
            .map_err(|e| e.to_string()),
    }
}

fn way(root: &Path, controller: &str) -> Result<(Way, Result<Card, String>), String> {
    let way = card::way_to(controller).map_err(|e| e.to_string())?;
    let card = card::under(&root.join("sys"), &way.interface).map_err(|e| e.to_string());
    Ok((way, card))
}

/// The bridge that the way to the controller leads over, where it does: an installer may have made it.
pub(super) fn standing_bridge(root: &Path, controller: &str) -> Option<String> {
    let way = card::way_to(controller).ok()?;
    let folder = root.join("sys/class/net").join(&way.interface);
    folder.join("bridge").exists().then_some(way.interface)
}

/// Who keeps the clock here, and how it does; also asked between examinations, for heartbeats.
pub(super) fn clock(programs: &dyn Programs) -> Result<Clock, String> {
    // -N: servers by the names that they were configured by, which is what they are compared with.
    match programs.run(&["chronyc", "-c", "-N", "tracking"], PATIENCE) {
        Ok(text) => Tracking::parse(&text).map(Clock::Chrony).map_err(|e| e.to_string()),
        // There is no chrony: systemd knows who else keeps the clock.
        Err(ProgramError::Start { .. }) => {
            let said = programs.run(
                &["timedatectl", "show", "--property=NTPSynchronized", "--value"],
                PATIENCE,
            );
            said.map(|said| Clock::Other(said.trim() == "yes"))
                .map_err(|e| e.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn servers(root: &Path) -> Vec<String> {
    let path = root.join(clock::CHRONY_CONF.trim_start_matches('/'));
    clock::configured_servers(&std::fs::read_to_string(path).unwrap_or_default())
}

fn enabled(programs: &dyn Programs, units: &[&str]) -> BTreeMap<String, String> {
    let text = printed(programs, &[&["systemctl", "is-enabled"], units].concat()).unwrap_or_else(|error| error);
    let named = units.iter().map(|unit| (*unit).to_owned());
    named.zip(text.lines().map(str::to_owned)).collect()
}

fn system(programs: &dyn Programs) -> Result<System, String> {
    let word = printed(programs, &["systemctl", "is-system-running"])?
        .trim()
        .to_owned();
    let list = |arguments: &[&str], column: usize| {
        let text = printed(
            programs,
            &[&["systemctl", "--no-pager", "--no-legend", "--plain"], arguments].concat(),
        )?;
        let named = text.lines().filter_map(|line| line.split_whitespace().nth(column));
        Ok::<Vec<String>, String>(named.map(str::to_owned).collect())
    };
    Ok(System {
        failed: list(&["list-units", "--failed"], 0)?,
        // The columns are: number of the job, unit, kind, state.
        starting: list(&["list-jobs"], 1)?,
        word,
    })
}

/// Several of systemctl's words come with an exit code that calls them failures.
fn printed(programs: &dyn Programs, command: &[&str]) -> Result<String, String> {
    match programs.run(command, PATIENCE) {
        Ok(text) | Err(ProgramError::Failed { stdout: text, .. }) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

fn command(programs: &dyn Programs, check: &RoleCheck) -> Result<String, String> {
    let limit = Duration::from_secs(check.within.into());
    let line = |text: &str| {
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    };
    match programs.run(&["sh", "-c", &check.command], limit) {
        Ok(text) => Ok(line(&text).unwrap_or_else(|| "holds".into())),
        Err(ProgramError::Failed {
            code, stdout, stderr, ..
        }) => {
            let ended = || {
                code.map_or_else(
                    || "it was killed".into(),
                    |code| format!("it ended with {code} and said nothing"),
                )
            };
            Err(line(&stderr).or_else(|| line(&stdout)).unwrap_or_else(ended))
        }
        Err(ProgramError::TooLong { .. }) => Err(format!("no answer within {} s", check.within)),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
