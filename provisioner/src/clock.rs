// SPDX-License-Identifier: Apache-2.0
//! The server's clock: Unix milliseconds that run evenly, whatever becomes of the clock of the machine.
//!
//! Controllers without a battery learn the date long after they began to serve. So the time is read once, and from then
//! on counted by a clock that nobody sets. When the machine's clock is set, [`follow`] says by how much, and whoever keeps
//! moments moves them by that: what was ten minutes ago still is, and what ends in an hour still does.

use std::sync::atomic::{AtomicI64, Ordering};

use nix::time::{ClockId, clock_gettime};

/// What has to be added to the running time to make the server's time. A process has one clock.
static OFFSET: AtomicI64 = AtomicI64::new(UNSET);
/// Before the first look.
const UNSET: i64 = i64::MIN;

/// Differences below this are a clock that is corrected little by little: it is followed, and no moment is moved.
pub const TOLERANCE: i64 = 2000;

/// Where a machine says which of its starts this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the clocks say at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The server's time, Unix milliseconds.
    pub now: i64,
    /// Milliseconds since this machine started, sleep included.
    pub running: i64,
    /// Which start of the machine that is.
    pub boot: String,
}

impl Reading {
    /// What they say now.
    pub fn take() -> Self {
        Self {
            now: now(),
            running: running(),
            boot: std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned(),
        }
    }

    /// By how much what was kept under `kept` has to be moved to be as long ago by this clock as it really is.
    ///
    /// Within one start of the machine that is known exactly. After a restart nobody knows how long the machine was
    /// off if its clock may be wrong: then no time has passed, since nothing could be heard meanwhile either.
    pub fn moved_since(&self, kept: &Self) -> i64 {
        let passed = if self.boot == kept.boot && !self.boot.is_empty() {
            (self.running - kept.running).max(0)
        } else {
            0
        };
        self.now.saturating_sub(kept.now).saturating_sub(passed)
    }
}

/// The server's time, Unix milliseconds.
pub fn now() -> i64 {
    running().saturating_add(offset())
}

/// Follows the machine's clock; by how many milliseconds it was set, if it was. Whoever calls this moves all moments
/// that are kept.
pub fn follow() -> Option<i64> {
    let difference = wall().saturating_sub(now());
    if difference == 0 {
        return None;
    }
    OFFSET.fetch_add(difference, Ordering::Relaxed);
    (difference.abs() >= TOLERANCE).then_some(difference)
}

/// The machine's own clock, which anybody may set: for people only.
pub fn wall() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn offset() -> i64 {
    let known = OFFSET.load(Ordering::Relaxed);
    if known != UNSET {
        return known;
    }
    let first = wall().saturating_sub(running());
    // Another thread may have been faster; its word counts for both.
    match OFFSET.compare_exchange(UNSET, first, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => first,
        Err(theirs) => theirs,
    }
}

/// Milliseconds since the machine started. A machine that sleeps goes on counting, as its clients do.
fn running() -> i64 {
    // Linux has had this clock since 2.6.39; it cannot fail.
    let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return 0;
    };
    time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(now: i64, running: i64, boot: &str) -> Reading {
        Reading {
            now,
            running,
            boot: boot.into(),
        }
    }

    #[test]
    fn a_clock_that_was_set_between_two_readings_is_told_by_how_much() {
        let kept = reading(1000, 500, "a");
        // A minute passed, and the clock says so.
        assert_eq!(reading(61_000, 60_500, "a").moved_since(&kept), 0);
        // A minute passed, and the clock was set an hour ahead, or back to 1969.
        assert_eq!(reading(3_661_000, 60_500, "a").moved_since(&kept), 3_600_000);
        assert_eq!(reading(-1000, 60_500, "a").moved_since(&kept), -62_000);
    }

    #[test]
    fn after_a_restart_of_the_machine_no_time_has_passed() {
        let kept = reading(1_000_000, 900_000, "a");
        assert_eq!(reading(500, 100, "b").moved_since(&kept), -999_500);
        assert_eq!(reading(9_000_000, 100, "b").moved_since(&kept), 8_000_000);
        // A machine that does not say which start it is.
        assert_eq!(
            reading(9_000_000, 950_000, "").moved_since(&reading(1_000_000, 900_000, "")),
            8_000_000
        );
    }

    #[test]
    fn the_servers_time_is_the_machines_as_long_as_nobody_sets_that() {
        assert!((now() - wall()).abs() < TOLERANCE);
        assert_eq!(follow(), None);
    }
}
