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

    /// What became of the clock since an earlier reading.
    ///
    /// Within one start of the machine that is known exactly. After a restart nobody knows how long the machine was
    /// off, for its clock may be wrong; only one that is earlier than before is certainly so.
    pub fn since(&self, kept: &Self) -> Since {
        let ahead = self.now.saturating_sub(kept.now);
        if self.boot == kept.boot && !self.boot.is_empty() {
            let by = ahead.saturating_sub(self.running.saturating_sub(kept.running).max(0));
            return if by.abs() < TOLERANCE {
                Since::Running
            } else {
                Since::Set(by)
            };
        }
        if ahead < 0 {
            Since::Set(ahead)
        } else {
            Since::Off(ahead)
        }
    }
}

/// What became of a clock between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It ran on.
    Running,
    /// It was set by so many milliseconds.
    Set(i64),
    /// The machine was off, for so many milliseconds if its clock is right.
    Off(i64),
}

/// The server's time, Unix milliseconds.
pub fn now() -> i64 {
    running().saturating_add(offset())
}

/// Follows the machine's clock where that is corrected little by little. Where it was set, says by how many milliseconds:
/// whoever calls this moves all moments that are kept, then calls [`advance`].
pub fn follow() -> Option<i64> {
    let difference = wall().saturating_sub(now());
    if difference.abs() >= TOLERANCE {
        return Some(difference);
    }
    advance(difference);
    None
}

/// Sets the server's clock, as the machine's was.
pub fn advance(by: i64) {
    let _ = offset();
    OFFSET.fetch_add(by, Ordering::Relaxed);
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

/// Milliseconds since the machine started. One that sleeps goes on counting, as its clients do.
pub fn running() -> i64 {
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
        assert_eq!(reading(61_000, 60_500, "a").since(&kept), Since::Running);
        // A minute passed, and the clock was set an hour ahead, or back to 1969.
        assert_eq!(reading(3_661_000, 60_500, "a").since(&kept), Since::Set(3_600_000));
        assert_eq!(reading(-1000, 60_500, "a").since(&kept), Since::Set(-62_000));
    }

    #[test]
    fn after_a_restart_of_the_machine_only_a_clock_that_goes_back_is_certainly_wrong() {
        let kept = reading(1_000_000, 900_000, "a");
        assert_eq!(reading(500, 100, "b").since(&kept), Since::Set(-999_500));
        assert_eq!(reading(9_000_000, 100, "b").since(&kept), Since::Off(8_000_000));
        // A machine that does not say which start it is.
        let unknown = reading(1_000_000, 900_000, "");
        assert_eq!(reading(9_000_000, 950_000, "").since(&unknown), Since::Off(8_000_000));
    }

    #[test]
    fn the_servers_time_is_the_machines_as_long_as_nobody_sets_that() {
        assert_eq!(follow(), None);
        assert!((now() - wall()).abs() < TOLERANCE);
    }
}
