// SPDX-License-Identifier: Apache-2.0
//! What a machine boots next: one pure function of stored state.
//!
//! DHCP, TFTP and HTTP carry its answer and never second-guess it, however often firmware asks.

use pxe::ipxe::Unfit;

use crate::enrol::Admission;
use crate::lifecycle::State;

/// What a machine is to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The RAM environment: node-init finds out who this is and asks for orders.
    Discover,
    /// Its distribution's own installer.
    Install,
    /// Its own disk.
    LocalDisk,
    /// A menu: its own disk after a while, or the RAM environment if somebody wants that.
    Ask,
    /// Nothing: its loader has looked for its own system on all its disks in vain, and its screen says so.
    NotFound,
    /// Nothing: its processor cannot run a node, and its screen says so.
    TooOld,
    /// Nothing yet: it is not known whether the machine is the one that it says that it is.
    AskAgain {
        /// Why.
        why: String,
    },
    /// Nothing: the server cannot serve it yet, and the machine's screen says what a person has to do.
    Stop {
        /// What is missing and what to do.
        why: String,
    },
}

/// Seconds after which a stopped machine asks again: soon enough that nobody waits for it, seldom enough that a
/// thousand of them are no load.
pub(crate) const ASK_AGAIN: u32 = 30;
/// Seconds after which a machine asks again of which it is not known yet whose card asks: ARP answers in less.
pub(crate) const SOON: u32 = 3;
/// Seconds after which an unknown machine goes on to its own disk: long enough to read a line and reach for a key, too
/// short for the owner of a stray PC to mind.
pub(crate) const TO_DISK: u32 = 10;
/// Lines of a reason on a text screen of 25 lines.
pub(crate) const WHY_LINES: usize = 8;

/// What the screen of a machine says that can never be a node.
pub const TOO_OLD: &str = "its processor is a 32-bit one, and a node needs 64 bits (most PCs since 2005 have them): \
    it cannot become a node. Take its cable out, or start it from its own disk.";

/// What the screen of a node says whose own system is on none of its disks.
pub const NOT_FOUND: &str = "its own system was found on none of its disks, and no other system is started. Look at its \
    disk and its cables; if the disk is gone or was written to by somebody else, install it again: provisioner node rebuild";

/// What the screen says where the site's own words cannot stand in a script.
pub(crate) fn unfit(unfit: &Unfit) -> String {
    format!("the boot script could not be made ({unfit}); look at the server's ram_kernel_args")
}

impl Boot {
    /// One word, for the record and the counter.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Install => "install",
            Self::LocalDisk => "local-disk",
            Self::Ask => "ask",
            Self::NotFound => "not-found",
            Self::TooOld => "too-old",
            Self::AskAgain { .. } => "ask-again",
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

/// Why a machine that should start the RAM environment cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// The server has none to give, and this is why.
    NoRam(&'a str),
    /// Its loader says that its processor is a 32-bit one.
    Processor,
}

/// Decides what boots; `obstacle` is what stands between the machine and the RAM environment, if anything does.
pub fn decide(card: Card<'_>, obstacle: Option<Obstacle<'_>>) -> Boot {
    let wants_ram = match card {
        Card::Shared | Card::Unknown(Admission::Enrol | Admission::Through(_)) => true,
        // A stranger that we could not serve is not stopped on its way to its own disk.
        Card::Unknown(Admission::Ask) if obstacle.is_none() => return Boot::Ask,
        Card::Unknown(Admission::Ask | Admission::Ignore) => false,
        // It was in RAM to be wiped, and its installer needs nothing that RAM did not.
        Card::Of(state) if state.installer().is_some() => return Boot::Install,
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
    match (wants_ram, obstacle) {
        (false, _) => Boot::LocalDisk,
        (true, None) => Boot::Discover,
        (true, Some(Obstacle::Processor)) => Boot::TooOld,
        (true, Some(Obstacle::NoRam(why))) => Boot::Stop { why: why.to_owned() },
    }
}

#[cfg(test)]
mod tests;
