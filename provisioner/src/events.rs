// SPDX-License-Identifier: Apache-2.0
//! What happened to whom, in words: the list of events that people read.

use provisioner_api::{DiskRef, Life, Stage};

use crate::lifecycle::{Event, Pinned, Plan, State, System};

/// Who did it: the node.
pub const NODE: &str = "node";
/// Who did it: the distribution's own installer, or the first start of its ready-made image.
pub const INSTALLER: &str = "installer";
/// Who did it: the server's own clock.
pub const PROVISIONER: &str = "provisioner";

/// The short word of an event.
pub fn kind(event: &Event) -> &'static str {
    match event {
        Event::Approve(_) => "approved",
        Event::Reject { .. } => "rejected",
        Event::Retry(_) => "retried",
        Event::Rebuild(_) => "rebuild",
        Event::ApprovalVoid => "approval-void",
        Event::Retire => "retired",
        Event::Drain => "draining",
        Event::Undrain => "undrained",
        Event::Started(_) => "started",
        Event::Checked => "checked",
        Event::Wiped => "wiped",
        Event::Begun => "installer-began",
        Event::Written => "written",
        Event::CameHome { .. } => "came-home",
        Event::Failed(_) => "failed",
        Event::Overdue => "overdue",
    }
}

/// What an event was, in the words `told` where it has none of its own, and where it has led.
pub fn detail(event: &Event, told: &str, state: &State) -> String {
    let what = match event {
        Event::Approve(plan) => {
            let by = match &plan.system {
                System::Image => String::new(),
                System::Installer(os) => format!(" by the installer of {os}"),
                System::CloudImage(os) => format!(" by a ready-made image ({os})"),
            };
            let from = from(plan.confirmed.from.as_ref()).map_or_else(String::new, |from| format!(", {from}"));
            format!("to become {} on {}{by}{from}", plan.profile, disks(plan))
        }
        Event::Retry(wanted) | Event::Rebuild(wanted) => from(wanted.from.as_ref()).unwrap_or_default(),
        Event::Reject { why } => why.clone(),
        Event::Started(Life::Ram) => "from the network".into(),
        Event::Started(Life::Installed) => "from its disk".into(),
        Event::CameHome { passed: true } => "all checks passed".into(),
        Event::CameHome { passed: false } => "with failing checks".into(),
        Event::Failed(cause) => cause.to_string(),
        Event::Overdue => "nothing was heard of it in time".into(),
        Event::ApprovalVoid
        | Event::Retire
        | Event::Drain
        | Event::Undrain
        | Event::Checked
        | Event::Wiped
        | Event::Begun
        | Event::Written => told.to_owned(),
    };
    let now = match state {
        State::Failed { cause, .. } => format!("failed: {cause}"),
        other => format!("now {other}"),
    };
    if what.is_empty() { now } else { format!("{what}; {now}") }
}

fn from(from: Option<&Pinned>) -> Option<String> {
    from.map(|from| format!("from {} {}", from.name, from.version))
}

/// The disks of a plan, as it names them.
pub fn disks(plan: &Plan) -> String {
    let name = |disk: &DiskRef| {
        let name = disk.serial.as_ref().or(disk.wwn.as_ref()).or(disk.by_path.as_ref());
        name.cloned().unwrap_or_else(|| "a disk without a name".into())
    };
    let first = name(&plan.disk);
    match &plan.second {
        Some(second) => format!("{first} and {}", name(second)),
        None => first,
    }
}

/// What became of the disk's old content.
pub fn wiped(discarded: bool) -> &'static str {
    if discarded {
        "the disk took the discard"
    } else {
        "the disk takes no discard; tables cleared"
    }
}

/// How much was written how fast.
pub fn throughput(bytes: u64, milliseconds: u64) -> String {
    let speed = bytes.saturating_mul(1000) / milliseconds.max(1);
    let tenths = milliseconds / 100;
    format!(
        "{} MB in {}.{} s, {} MB/s",
        bytes / 1_000_000,
        tenths / 10,
        tenths % 10,
        speed / 1_000_000
    )
}

/// What a node is at.
pub const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Examining => "Examining the machine",
        Stage::Waiting => "Waiting",
        Stage::Checking => "Checking the disk",
        Stage::Wiping => "Clearing the disk",
        Stage::Installer => "Starting the installer",
        Stage::Partitioning => "Partitioning the disk",
        Stage::Packages => "Installing packages",
        Stage::Writing => "Writing the image",
        Stage::SettingUp => "Setting up",
        Stage::Rebooting => "Restarting",
        Stage::FirstBoot => "First start",
        Stage::Bridging => "Setting up the network",
        Stage::Serving => "Serving",
    }
}
