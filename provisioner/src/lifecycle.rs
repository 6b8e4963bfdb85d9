// SPDX-License-Identifier: Apache-2.0
//! The life of a node: the one table by which its state changes.
//!
//! It knows states and events and nothing else: no clock, no socket, no database, no image. The registry is
//! its only caller; whatever else wants a node's state to change sends an event there.

use std::fmt;

use provisioner_api::{DiskRef, FailCause, Life};
use serde::{Deserialize, Serialize};

/// How often a node may report a failure that another try could heal before it stops: once for bad luck,
/// once to be sure, once for the person who wants to see it.
pub const MAX_TRIES: u32 = 3;

/// How often a start may be cut short (power, reset, crash) before it counts as a crash loop. A storm takes
/// the power a dozen times in a night; a machine that dies in the same place every time passes this in hours.
pub const MAX_INTERRUPTIONS: u32 = 30;

/// How often a machine that should start from the network may start from its disk instead before it is told
/// to wait for a person: the first may be an accident, after the third its firmware prefers the disk.
pub const MAX_DISK_STARTS: u32 = 3;

/// Where a node is in its life. What must survive a restart of anything is in the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// It registered and waits for approval. Nothing of it has been written to.
    Enrolled,
    /// An operator does not want it; it boots its own disk.
    Rejected {
        /// The operator's words.
        why: String,
    },
    /// It may be wiped and installed, and has not started from the network since.
    Approved {
        /// What it becomes.
        plan: Plan,
        /// What went wrong before this start.
        attempt: Attempt,
        /// How often it came up from its disk since, though the network was wanted.
        disk_starts: u32,
    },
    /// It examines itself and the chosen disk; nothing is written yet.
    Checking {
        /// What it becomes.
        plan: Plan,
        /// What went wrong so far.
        attempt: Attempt,
    },
    /// It discards the chosen disk and clears its partition tables.
    Wiping {
        /// What it becomes.
        plan: Plan,
        /// What went wrong so far.
        attempt: Attempt,
    },
    /// It writes the image, or (`written`) starts from its disk for the first time.
    Installing {
        /// What it becomes.
        plan: Plan,
        /// What went wrong so far.
        attempt: Attempt,
        /// The image is on the disk, boot sector included: from here on the machine boots its disk.
        written: bool,
    },
    /// It came home with all checks passed and serves. Only an operator ends this.
    Ready {
        /// What it is.
        plan: Plan,
    },
    /// It serves what it has and takes no new work.
    Draining {
        /// What it is.
        plan: Plan,
    },
    /// It cannot go on until a person has done something.
    Failed {
        /// What it was to become.
        plan: Plan,
        /// What stands in the way.
        cause: FailCause,
    },
    /// It left the cluster for good; it boots its own disk.
    Retired,
}

/// What an approved node becomes, and on which disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the profile in the configuration.
    pub profile: String,
    /// The disk that was chosen at approval, and shown there with what is on it.
    pub disk: DiskRef,
}

/// What went wrong since approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Failures that the node reported, or that showed as an installed system that never came home; at
    /// [`MAX_TRIES`] the node stops.
    pub tries: u32,
    /// Starts that found the work of an earlier start unfinished; bounded by [`MAX_INTERRUPTIONS`].
    pub interruptions: u32,
}

/// What can happen to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operator or a rule allows its disk to be written.
    Approve(Plan),
    /// An operator does not want it.
    Reject {
        /// Why, for its screen.
        why: String,
    },
    /// An operator has removed the cause of a failure.
    Retry,
    /// An operator wants it wiped and installed again, as the same node.
    Rebuild,
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
    /// The image is on the disk and flushed.
    Written,
    /// The installed system is up.
    CameHome {
        /// Whether every check holds.
        passed: bool,
    },
    /// It cannot go on.
    Failed(FailCause),
    /// The installed system did not come home in the configured time.
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
        Event::Retry => retry(state),
        Event::Rebuild => rebuild(state),
        Event::Retire => Ok(State::Retired),
        Event::Drain => drain(state),
        Event::Undrain => undrain(state),
        Event::Started(life) => Ok(started(state, *life)),
        Event::Checked => checked(state),
        Event::Wiped => wiped(state),
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

fn retry(state: &State) -> Result<State, Refused> {
    match state {
        State::Failed { plan, .. } => Ok(State::approved(plan.clone(), Attempt::default())),
        _ => Err(refused(state, "retried", ": only a failed one can")),
    }
}

fn rebuild(state: &State) -> Result<State, Refused> {
    match state {
        State::Ready { plan } | State::Draining { plan } | State::Failed { plan, .. } => {
            Ok(State::approved(plan.clone(), Attempt::default()))
        }
        State::Enrolled | State::Rejected { .. } | State::Retired => {
            Err(refused(state, "rebuilt", ": it is not installed; approve it instead"))
        }
        _ => Err(refused(state, "rebuilt", ": it is being installed already")),
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
            },
            _,
        ) => interrupted(plan, *attempt),
        // Written and started from the network all the same: its order sends it to the disk, and the clock
        // (Overdue) judges if it never gets there. Everywhere else a start means nothing.
        _ => state.clone(),
    }
}

fn interrupted(plan: &Plan, attempt: Attempt) -> State {
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
    State::Checking {
        plan: plan.clone(),
        attempt: Attempt {
            interruptions,
            ..attempt
        },
    }
}

fn checked(state: &State) -> Result<State, Refused> {
    match state {
        State::Checking { plan, attempt } => Ok(State::Wiping {
            plan: plan.clone(),
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
            written: false,
        }),
        _ => Err(refused(state, "wiped", "")),
    }
}

fn written(state: &State) -> Result<State, Refused> {
    match state {
        State::Installing {
            plan,
            attempt,
            written: false,
        } => Ok(State::Installing {
            plan: plan.clone(),
            attempt: *attempt,
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
        State::Checking { plan, attempt }
        | State::Wiping { plan, attempt }
        | State::Installing {
            plan,
            attempt,
            written: false,
        } => again(plan, *attempt, cause, |plan, attempt| State::Checking { plan, attempt }),
        State::Installing {
            plan,
            attempt,
            written: true,
        } => again(plan, *attempt, cause, State::approved),
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
        } => {
            let cause = FailCause::SetUp {
                step: "the first start from the disk".into(),
                detail: "the installed system did not call home in time; \
                         look at the machine's screen and at its boot order"
                    .into(),
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
        FailCause::DiskWrite { .. } | FailCause::ImageUnavailable { .. } | FailCause::SetUp { .. } => true,
    }
}

fn refused(state: &State, verb: &'static str, hint: &'static str) -> Refused {
    Refused {
        state: state.word(),
        verb,
        hint,
    }
}

impl State {
    /// The word that people and programs see.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Rejected { .. } => "rejected",
            Self::Approved { .. } => "approved",
            Self::Checking { .. } => "checking",
            Self::Wiping { .. } => "wiping",
            Self::Installing { .. } => "installing",
            Self::Ready { .. } => "ready",
            Self::Draining { .. } => "draining",
            Self::Failed { .. } => "failed",
            Self::Retired => "retired",
        }
    }

    /// What the node is to become or is, once it was approved.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Approved { plan, .. }
            | Self::Checking { plan, .. }
            | Self::Wiping { plan, .. }
            | Self::Installing { plan, .. }
            | Self::Ready { plan }
            | Self::Draining { plan }
            | Self::Failed { plan, .. } => Some(plan),
            Self::Enrolled | Self::Rejected { .. } | Self::Retired => None,
        }
    }

    /// What went wrong since approval, while that counts.
    pub fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Approved { attempt, .. }
            | Self::Checking { attempt, .. }
            | Self::Wiping { attempt, .. }
            | Self::Installing { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }

    fn approved(plan: Plan, attempt: Attempt) -> Self {
        Self::Approved {
            plan,
            attempt,
            disk_starts: 0,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests;
