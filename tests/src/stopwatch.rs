// SPDX-License-Identifier: Apache-2.0
//! From the power button to Ready, split by stage: what is Gleaner's, and what is firmware's, the kernel's or Debian's.
//!
//! The moments are those that the provisioner wrote down, in its log and its list of events. Nothing is timed by hand.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::lab::Server;

/// A stretch of the way.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What happens in it.
    pub name: &'static str,
    /// Seconds.
    pub seconds: f64,
    /// Whether it is Gleaner's own work: what we can make quicker.
    pub ours: bool,
}

/// The whole way of one machine.
#[derive(Clone, Debug)]
pub struct Split {
    /// In the order in which they happened.
    pub stages: Vec<Stage>,
}

/// The moments between which stages lie: where a moment is read, what ends there, and whether that was ours. Each is the
/// first of its kind after the one before.
const STAGES: [(Moment, &str, bool); 10] = [
    (Moment::Script, "firmware, to the boot script", false),
    (Moment::System, "kernel and initramfs: fetched and started", false),
    (
        Moment::Event("enrolled"),
        "network, key, clock, inventory, registration",
        true,
    ),
    (Moment::Event("approved"), "waiting for approval", false),
    (Moment::Event("checked"), "checking the disk", true),
    (Moment::Event("wiped"), "clearing the disk", true),
    (Moment::Event("written"), "writing the image, setting up the node", true),
    (Moment::Script, "shutting down, firmware, to the boot script", false),
    (Moment::System, "GRUB, kernel, systemd, to the network", false),
    (
        Moment::Event("came-home"),
        "libvirt, bridge, clock, examining itself",
        true,
    ),
];

/// Where a moment is read.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The provisioner's log: this machine fetched its boot script.
    Script,
    /// The provisioner's log: a running system on this machine asked for an address.
    System,
    /// The list of events has one of this kind.
    Event(&'static str),
}

impl Split {
    /// Reads the way of a machine, switched on at `power`, that is ready now.
    pub fn read(server: &Server, node: &str, mac: &str, power: SystemTime) -> Result<Self> {
        let (log, events) = (server.log(), server.events(node)?);
        let (known, named) = (format!("\"{node}\""), format!("\"{mac}\""));
        let logged = |after: f64, what: &str| {
            let lines = log
                .lines()
                .filter(|line| line.contains(what) && (line.contains(&known) || line.contains(&named)));
            lines.filter_map(stamp).find(|at| *at > after)
        };
        let happened = |after: f64, kind: &str| {
            // Two events may share a millisecond.
            let of_kind = events.iter().filter(|event| event.kind == kind);
            of_kind
                .map(|event| milliseconds(event.at))
                .find(|at| *at > after - 0.002)
        };
        let mut last = power
            .duration_since(UNIX_EPOCH)
            .context("reading the clock")?
            .as_secs_f64();
        let mut stages = Vec::new();
        for (moment, name, ours) in STAGES {
            let at = match moment {
                Moment::Script => logged(last, "boot script"),
                Moment::System => logged(last, "told=\"\""),
                Moment::Event(kind) => happened(last, kind),
            };
            let at = at.with_context(|| format!("{node} is ready, but nothing says when this ended: {name}"))?;
            stages.push(Stage {
                name,
                seconds: (at - last).max(0.0),
                ours,
            });
            last = at;
        }
        Ok(Self { stages })
    }

    /// Seconds of the whole way.
    pub fn total(&self) -> f64 {
        self.stages.iter().map(|stage| stage.seconds).sum()
    }

    /// The share of it that is Gleaner's, 0 to 1.
    pub fn ours(&self) -> f64 {
        self.stages
            .iter()
            .filter(|stage| stage.ours)
            .map(|stage| stage.seconds)
            .sum::<f64>()
            / self.total()
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stage in &self.stages {
            let whose = if stage.ours { "ours" } else { "" };
            writeln!(f, "  {:>7.1} s  {:<64}{whose}", stage.seconds, stage.name)?;
        }
        write!(
            f,
            "  {:>7.1} s  power button to Ready; {:.0} % of it ours",
            self.total(),
            self.ours() * 100.0
        )
    }
}

/// The time at the beginning of a log line, in seconds since 1970.
#[allow(clippy::cast_precision_loss)] // microseconds since 1970 fit
fn stamp(line: &str) -> Option<f64> {
    let time: Timestamp = line.split_whitespace().next()?.parse().ok()?;
    Some(time.as_microsecond() as f64 / 1e6)
}

#[allow(clippy::cast_precision_loss)] // milliseconds since 1970 fit
fn milliseconds(at: i64) -> f64 {
    at as f64 / 1e3
}
