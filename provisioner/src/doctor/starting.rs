// SPDX-License-Identifier: Apache-2.0
//! Symptoms of machines that read their boot script and do not get to node-init, or to their own disk.

use provisioner_api::Life;
use pxe::client::Speaker;

use super::{Case, Said};
use crate::journal::{Attempt, Step};

/// Seconds between the script and the kernel that no machine needs.
const PATIENCE: i64 = 30;
/// Seconds from the kernel to node-init: 60 MB at 10 Mbit/s, unpacking on a processor of 2005, an examination of slow
/// disks.
const START: i64 = 180;
/// Starts from a disk that fail until it is no accident any more.
const INSISTS: usize = 3;
/// Starts from a disk that fail fall within this time; a person who restarts a machine by hand takes longer.
const IN_A_ROW: i64 = 20 * 60;

/// It is sent to its own disk and comes back every time.
pub(super) fn disk_loop(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let sent = |attempt: &&Attempt| attempt.has(|step| is_script(step, "local-disk"));
    let home = |attempt: &Attempt| attempt.has(|step| matches!(step, Step::Registered { life: Life::Installed }));
    let starts: Vec<&Attempt> = case.card.attempts.iter().filter(sent).collect();
    let first = starts.first()?;
    let in_a_row = attempt.ended() - first.began() < IN_A_ROW * 1000;
    if starts.len() < INSISTS || !in_a_row || starts.iter().any(|attempt| home(attempt)) {
        return None;
    }
    let action = match case.node {
        Some(node) => format!("look at its disk and cable, then: provisioner node rebuild {node}"),
        None => "look at its disk, or at the boot order in its firmware".into(),
    };
    Said::grave(
        format!(
            "it was sent to its own disk {} times and came back: the disk does not start",
            starts.len()
        ),
        action,
    )
}

/// Its script says that the server cannot serve it.
pub(super) fn stopped(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let last = attempt.last(|step| matches!(step, Step::Script { .. }))?;
    is_script(&last.step, "stop").then_some(())?;
    Said::grave(
        "it waits at its boot script: there is no RAM environment that it could start",
        "import one: provisioner image import FOLDER",
    )
}

/// Its loader has looked for its own system on all disks.
pub(super) fn not_found(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let last = attempt.last(|step| matches!(step, Step::Script { .. }))?;
    is_script(&last.step, "not-found").then_some(())?;
    let node = case.node.unwrap_or("NODE");
    Said::grave(
        "its own system was found on none of its disks, and nobody else's is started",
        format!("look at its disk and cable; if the disk is gone: provisioner node rebuild {node}"),
    )
}

/// Its loader has looked at its processor.
pub(super) fn too_old(_: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let last = attempt.last(|step| matches!(step, Step::Script { .. }))?;
    is_script(&last.step, "too-old").then_some(())?;
    Said::grave(
        "its processor is a 32-bit one: it cannot become a node",
        "take its cable out; a node needs a 64-bit processor, which most PCs since 2005 have",
    )
}

/// The kernel was fetched and the initramfs was not.
pub(super) fn kernel_without_initramfs(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    if !attempt.has(is_kernel) || attempt.has(|step| *step == Step::Initrd) || case.silent(attempt) < PATIENCE {
        return None;
    }
    not_arrived(attempt).then_some(())?;
    Said::grave(
        "it fetched the kernel and then nothing: the connection broke, or its memory was full",
        "look at its screen; a machine needs 512 MB",
    )
}

/// A system runs, and node-init cannot reach the controller.
pub(super) fn kernel_without_register(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let runs = attempt.last(|step| {
        matches!(
            step,
            Step::Asked {
                speaker: Speaker::System,
                ..
            }
        )
    })?;
    if !attempt.has(is_kernel) || !awaited(attempt) || case.since(runs.at) < PATIENCE {
        return None;
    }
    Said::grave(
        "its system runs and has asked for an address, but node-init has not called",
        "open the API port in this machine's firewall, then look at the machine's screen",
    )
}

/// Kernel and initramfs were fetched, and nobody called.
pub(super) fn kernel_without_node_init(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let at = attempt.last(|step| *step == Step::Initrd)?.last;
    if !awaited(attempt) || case.since(at) < START {
        return None;
    }
    Said::grave(
        format!(
            "kernel fetched {} s ago, no node-init: less than 512 MB?",
            case.since(at)
        ),
        "look at its screen; add a memory module, or another network card if it says that it has none",
    )
}

/// The script says what to fetch, and nothing is fetched.
pub(super) fn script_without_kernel(case: &Case<'_>, attempt: &Attempt) -> Option<Said> {
    let script = attempt.last(|step| matches!(step, Step::Script { .. }))?;
    let fetched = attempt.has(|step| is_kernel(step) || *step == Step::Initrd);
    let to_fetch = is_script(&script.step, "discover") || is_script(&script.step, "install");
    if !to_fetch || fetched || !not_arrived(attempt) || case.since(script.last) < PATIENCE {
        return None;
    }
    Said::grave(
        format!(
            "read its boot script {} s ago and never fetched the kernel",
            case.since(script.last)
        ),
        "look at its screen: what the loader says there is the cause",
    )
}

fn is_kernel(step: &Step) -> bool {
    *step == Step::Kernel
}

fn is_script(step: &Step, wanted: &str) -> bool {
    matches!(step, Step::Script { decision } if *decision == wanted)
}

/// Whether node-init is to call out of this start, and has not. An installer tells of itself elsewhere, and how long it may
/// be silent is for the clock to know.
fn awaited(attempt: &Attempt) -> bool {
    let script = attempt.last(|step| matches!(step, Step::Script { .. }));
    not_arrived(attempt) && !script.is_some_and(|script| is_script(&script.step, "install"))
}

fn not_arrived(attempt: &Attempt) -> bool {
    !attempt.has(|step| matches!(step, Step::Registered { .. }))
}
