// SPDX-License-Identifier: Apache-2.0
//! What a machine boots next: one pure function of stored state.
//!
//! DHCP, TFTP and HTTP carry its answer and never second-guess it, however often firmware asks.

use crate::enrol::Admission;
use crate::lifecycle::State;

/// What a machine is to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The RAM environment: node-init finds out who this is and asks for orders.
    Discover,
    /// Its own disk.
    LocalDisk,
    /// A menu: its own disk after a while, or the RAM environment if somebody wants that.
    Ask,
    /// Nothing: the server cannot serve it yet, and the machine's screen says what a person has to do.
    Stop {
        /// What is missing and what to do.
        why: String,
    },
}

impl Boot {
    /// One word, for the record and the counter.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::LocalDisk => "local-disk",
            Self::Ask => "ask",
            Self::Stop { .. } => "stop",
        }
    }
}

/// Whose card is asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card<'a> {
    /// A node in this state.
    Of(&'a State),
    /// Several nodes' that want different things ([`crate::identity`] decides once node-init has looked closer).
    Shared,
    /// Nobody's.
    Unknown(Admission),
}

/// Decides what boots.
///
/// `ram_problem` is the reason why there is no RAM environment to boot; `None` when there is one.
pub fn decide(card: Card<'_>, ram_problem: Option<&str>) -> Boot {
    let wants_ram = match card {
        Card::Shared | Card::Unknown(Admission::Enrol | Admission::Through(_)) => true,
        // A stranger that we could not serve is not stopped on its way to its own disk.
        Card::Unknown(Admission::Ask) if ram_problem.is_none() => return Boot::Ask,
        Card::Unknown(Admission::Ask | Admission::Ignore) => false,
        Card::Of(state) => match state {
            State::Enrolled
            | State::Approved { .. }
            | State::Checking { .. }
            | State::Wiping { .. }
            | State::Installing { written: false, .. }
            // Its screen shows the cause, and a retry reaches it without a walk to the machine.
            | State::Failed { .. } => true,
            State::Installing { written: true, .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Rejected { .. }
            | State::Retired => false,
        },
    };
    match (wants_ram, ram_problem) {
        (false, _) => Boot::LocalDisk,
        (true, None) => Boot::Discover,
        (true, Some(why)) => Boot::Stop { why: why.to_owned() },
    }
}

#[cfg(test)]
mod tests;
