// SPDX-License-Identifier: Apache-2.0
//! The life of a node: the one table by which its state changes.
//!
//! It knows states and events and nothing else: no clock, no socket, no database, no image. The registry is
//! its only caller; whatever else wants a node's state to change sends an event there.

use provisioner_api::{FailCause, Life};

mod state;

pub use state::{Attempt, Confirmed, Pinned, Plan, State, System, Wanted};

/// How often a node may report a failure that another try could heal before it stops: once for bad luck,
/// once to be sure, once for the person who wants to see it.
pub const MAX_TRIES: u32 = 3;

/// How often a start may be cut short (power, reset, crash) before it counts as a crash loop. A storm takes
/// the power a dozen times in a night; a machine that dies in the same place every time passes this in hours.
pub const MAX_INTERRUPTIONS: u32 = 30;

/// How often a machine that should start from the network may start from its disk instead before it is told
/// to wait for a person: the first may be an accident, after the third its firmware prefers the disk.
pub const MAX_DISK_STARTS: u32 = 3;

/// What can happen to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operator or a rule allows its disk to be written.
    Approve(Box<Plan>),
    /// An operator does not want it.
    Reject {
        /// Why, for its screen.
        why: String,
    },
    /// An operator has removed the cause of a failure; the system is what its profile says now.
    Retry(Wanted),
    /// An operator wants it wiped and installed again, as the same node; the system is what its profile says now.
    Rebuild(Wanted),
    /// Its disks do not hold any more what was confirmed at its approval.
    ApprovalVoid,
    /// An operator takes it out of the cluster.
    Retire,
    /// An operator wants it to take no new work.
    Drain,
    /// An operator wants it to take work again.
    Undrain,
    /// It registered with a boot id that was never seen before.
    Started(Life),
    /// It and its disk are fit.
    Checked,
    /// The disk was discarded and its tables cleared.
    Wiped,
    /// The distribution's installer runs and has read its answers, or its ready-made image does and has read its seed.
    Begun,
    /// The system is on the disk and flushed.
    Written,
    /// The installed system is up.
    CameHome {
        /// Whether every check holds.
        passed: bool,
    },
    /// It cannot go on.
    Failed(FailCause),
    /// The installed system did not come home, or the installer did not come on, in the configured time.
    Overdue,
}

/// An event that the present state does not allow; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node that is {state} cannot be {verb}{hint}")]
pub struct Refused {
    /// The state's word.
    pub state: &'static str,
    /// What was asked, as a participle.
    pub verb: &'static str,
    /// What to do instead, with its punctuation; may be empty.
    pub hint: &'static str,
}

/// The state after `event`. Equal to `state` where the event is heard and means nothing.
pub fn step(state: &State, event: &Event) -> Result<State, Refused> {
    match event {
        Event::Approve(plan) => approve(state, plan),
        Event::Reject { why } => reject(state, why),
        Event::Retry(wanted) => retry(state, wanted),
        Event::Rebuild(wanted) => rebuild(state, wanted),
        Event::ApprovalVoid => void(state),
        Event::Retire => Ok(State::Retired),
        Event::Drain => drain(state),
        Event::Undrain => undrain(state),
        Event::Started(life) => Ok(started(state, *life)),
        Event::Checked => checked(state),
        Event::Wiped => wiped(state),
        Event::Begun => begun(state),
        Event::Written => written(state),
        Event::CameHome { passed } => Ok(came_home(state, *passed)),
        Event::Failed(cause) => Ok(failed(state, cause)),
        Event::Overdue => Ok(overdue(state)),
    }
}

fn approve(state: &State, plan: &Plan) -> Result<State, Refused> {
    match state {
        State::Enrolled | State::Rejected { .. } | State::Failed { .. } | State::Retired => {
            Ok(State::approved(plan.clone(), Attempt::default()))
        }
        State::Ready { .. } | State::Draining { .. } => Err(refused(
            state,
            "approved",
            ": it is installed; rebuild it to install it again",
        )),
        _ => Err(refused(state, "approved", ": it was approved before")),
    }
}

fn reject(state: &State, why: &str) -> Result<State, Refused> {
    match state {
        State::Enrolled | State::Rejected { .. } | State::Failed { .. } => Ok(State::Rejected { why: why.into() }),
        _ => Err(refused(state, "rejected", "; retire it instead")),
    }
}

fn retry(state: &State, wanted: &Wanted) -> Result<State, Refused> {
    match state {
        State::Failed { plan, .. } => Ok(State::approved(plan.with(wanted), Attempt::default())),
        _ => Err(refused(state, "retried", ": only a failed one can")),
    }
}

fn rebuild(state: &State, wanted: &Wanted) -> Result<State, Refused> {
    match state {
        State::Ready { plan } | State::Draining { plan } | State::Failed { plan, .. } => {
            Ok(State::approved(plan.with(wanted), Attempt::default()))
        }
        State::Enrolled | State::Rejected { .. } | State::Retired => {
            Err(refused(state, "rebuilt", ": it is not installed; approve it instead"))
        }
        _ => Err(refused(state, "rebuilt", ": it is being installed already")),
    }
}

/// Nothing was written yet: whoever approved looks again.
fn void(state: &State) -> Result<State, Refused> {
    match state {
        State::Approved { .. } | State::Checking { .. } => Ok(State::Enrolled),
        _ => Err(refused(state, "sent back for approval", "")),
    }
}

fn drain(state: &State) -> Result<State, Refused> {
    match state {
        State::Ready { plan } | State::Draining { plan } => Ok(State::Draining { plan: plan.clone() }),
        _ => Err(refused(state, "drained", ": only a ready one can")),
    }
}

fn undrain(state: &State) -> Result<State, Refused> {
    match state {
        State::Ready { plan } | State::Draining { plan } => Ok(State::Ready { plan: plan.clone() }),
        _ => Err(refused(state, "put back to work", ": only a draining one can")),
    }
}

fn started(state: &State, life: Life) -> State {
    match (state, life) {
        (State::Approved { plan, attempt, .. }, Life::Ram) => State::Checking {
            plan: plan.clone(),
            attempt: *attempt,
        },
        (
            State::Approved {
                plan,
                attempt,
                disk_starts,
            },
            Life::Installed,
        ) => State::Approved {
            plan: plan.clone(),
            attempt: *attempt,
            disk_starts: disk_starts.saturating_add(1),
        },
        // Whatever the cut left half done is started again from the beginning: a step that is idempotent on a
        // disk of unknown state is easier to trust than one that resumes.
        (
            State::Checking { plan, attempt }
            | State::Wiping { plan, attempt }
            | State::Installing {
                plan,
                attempt,
                written: false,
                ..
            },
            _,
        ) => interrupted(plan, *attempt, |plan, attempt| State::Checking { plan, attempt }),
        // Written and started from the network all the same: its order sends it to the disk, and the clock
        // (Overdue) judges if it never gets there. Everywhere else a start means nothing.
        _ => state.clone(),
    }
}

/// The work begins again in the state that `start` makes.
fn interrupted(plan: &Plan, attempt: Attempt, start: impl FnOnce(Plan, Attempt) -> State) -> State {
    let interruptions = attempt.interruptions.saturating_add(1);
    if interruptions > MAX_INTERRUPTIONS {
        let last = "the machine went down in the middle of its installation every time; \
                    look at its power supply, memory and cooling";
        let cause = FailCause::GaveUp {
            tries: interruptions,
            last: last.into(),
        };
        return State::Failed {
            plan: plan.clone(),
            cause,
        };
    }
    start(
        plan.clone(),
        Attempt {
            interruptions,
            ..attempt
        },
    )
}

fn checked(state: &State) -> Result<State, Refused> {
    match state {
        State::Checking { plan, attempt } => Ok(State::Wiping {
            plan: plan.wiping(),
            attempt: *attempt,
        }),
        _ => Err(refused(state, "checked", "")),
    }
}

fn wiped(state: &State) -> Result<State, Refused> {
    match state {
        State::Wiping { plan, attempt } => Ok(State::Installing {
            plan: plan.clone(),
            attempt: *attempt,
            begun: false,
            written: false,
        }),
        _ => Err(refused(state, "wiped", "")),
    }
}

/// An installer that begins a second time finds its own half-done work, and begins at the beginning by itself; so does
/// a ready-made image. That one runs from the disk, so it was written, whatever was heard of that.
fn begun(state: &State) -> Result<State, Refused> {
    match state {
        State::Installing {
            plan, attempt, begun, ..
        } if state.told_of().is_some() => {
            let written = !plan.has_installer();
            let installing = |plan, attempt| State::Installing {
                plan,
                attempt,
                begun: true,
                written,
            };
            Ok(if *begun {
                interrupted(plan, *attempt, installing)
            } else {
                installing(plan.clone(), *attempt)
            })
        }
        _ => Err(refused(state, "installed by an installer", "")),
    }
}

fn written(state: &State) -> Result<State, Refused> {
    match state {
        State::Installing {
            plan,
            attempt,
            begun,
            written: false,
        } => Ok(State::Installing {
            plan: plan.clone(),
            attempt: *attempt,
            begun: *begun,
            written: true,
        }),
        _ => Err(refused(state, "written", "")),
    }
}

fn came_home(state: &State, passed: bool) -> State {
    match state {
        State::Installing {
            plan, written: true, ..
        } if passed => State::Ready { plan: plan.clone() },
        // The system of before a rebuild says hello as well; only what was just written makes a node ready.
        _ => state.clone(),
    }
}

fn failed(state: &State, cause: &FailCause) -> State {
    match state {
        // node-init is not there to begin again: the installer is, or the system that was just put on the disk.
        State::Installing {
            plan, attempt, written, ..
        } if *written || plan.has_installer() => again(plan, *attempt, cause, State::approved),
        State::Checking { plan, attempt }
        | State::Wiping { plan, attempt }
        | State::Installing { plan, attempt, .. } => {
            again(plan, *attempt, cause, |plan, attempt| State::Checking { plan, attempt })
        }
        // Ready is ended by operators only; a complaint from there is written down by the registry.
        _ => state.clone(),
    }
}

fn overdue(state: &State) -> State {
    match state {
        State::Installing {
            plan,
            attempt,
            written: true,
            ..
        } => {
            let cause = FailCause::SetUp {
                step: "the first start from the disk".into(),
                detail: "the installed system did not call home in time; \
                         look at the machine's screen and at its boot order"
                    .into(),
            };
            again(plan, *attempt, &cause, State::approved)
        }
        State::Installing {
            plan: plan @ Plan {
                system: System::Installer(system),
                ..
            },
            attempt,
            begun,
            ..
        } => {
            let detail = if *begun {
                "it said nothing for too long; look at the machine's screen"
            } else {
                "it never said that it runs; look at the machine's screen and at its boot order"
            };
            let cause = FailCause::Installer {
                system: system.clone(),
                detail: detail.into(),
            };
            again(plan, *attempt, &cause, State::approved)
        }
        _ => state.clone(),
    }
}

/// The next attempt, which begins in the state that `start` makes, or the end of trying.
fn again(plan: &Plan, attempt: Attempt, cause: &FailCause, start: impl FnOnce(Plan, Attempt) -> State) -> State {
    let tries = attempt.tries.saturating_add(1);
    let plan = plan.clone();
    if !heals_by_trying(cause) {
        return State::Failed {
            plan,
            cause: cause.clone(),
        };
    }
    if tries >= MAX_TRIES {
        let cause = FailCause::GaveUp {
            tries,
            last: cause.to_string(),
        };
        return State::Failed { plan, cause };
    }
    start(plan, Attempt { tries, ..attempt })
}

/// Whether a second try without a person's hand can end better.
fn heals_by_trying(cause: &FailCause) -> bool {
    match cause {
        FailCause::NoDisk { .. }
        | FailCause::DiskGone { .. }
        | FailCause::DiskTooSmall { .. }
        | FailCause::DiskUnhealthy { .. }
        | FailCause::ImageCorrupt { .. }
        | FailCause::ImageUntrusted { .. }
        | FailCause::LowMemory { .. }
        | FailCause::GaveUp { .. } => false,
        FailCause::DiskWrite { .. }
        | FailCause::ImageUnavailable { .. }
        | FailCause::SetUp { .. }
        | FailCause::Installer { .. } => true,
    }
}

fn refused(state: &State, verb: &'static str, hint: &'static str) -> Refused {
    Refused {
        state: state.word(),
        verb,
        hint,
    }
}

#[cfg(test)]
mod tests;
