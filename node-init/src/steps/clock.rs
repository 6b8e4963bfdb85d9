// SPDX-License-Identifier: Apache-2.0
//! The controller's time becomes this machine's, in the system's clock and in the battery-backed one.
//!
//! Until then nothing depends on the date: the pin does not, and durations come from the monotonic clock.

use std::path::Path;
use std::time::Instant;

use provisioner_api::Rtc;

use crate::client::{Backoff, Client};
use crate::host::Host;
use crate::inventory::sysfs;
use crate::screen::Screen;

/// 1 November 2026: this program did not exist before. A controller that says less has lost its own clock.
const FLOOR_MS: i64 = 1_793_491_200_000;

/// A clock that ran on its battery is wrong by its drift (an hour in some years) and perhaps by a time zone (Windows
/// keeps local time): less than a day. Beyond that it stopped, or started from nothing.
const SUSPECT_SECONDS: i64 = 24 * 3600;

/// The battery-backed clock as it was found, and when it was read.
#[derive(Clone, Copy)]
pub struct RtcReading {
    seconds: Option<i64>,
    at: Instant,
}

/// Reads it before anybody sets it.
pub fn read_rtc(root: &Path) -> RtcReading {
    let seconds = sysfs::text(&root.join("sys/class/rtc/rtc0/since_epoch")).and_then(|text| text.parse().ok());
    RtcReading {
        seconds,
        at: Instant::now(),
    }
}

/// Asks the controller until it answers, and sets both clocks.
pub fn set(host: &dyn Host, client: &Client, rtc: RtcReading, screen: &Screen) -> Rtc {
    screen.stage("Network", "asking the controller for the time");
    let mut backoff = Backoff::default();
    let unix_ms = loop {
        match client.time() {
            Ok(time) => break time.unix_ms,
            Err(error) => screen.say(&error.to_string()),
        }
        host.sleep(backoff.pause());
    };
    let wanted = unix_ms.max(FLOOR_MS);
    if let Err(error) = host.set_clock(wanted) {
        screen.log(&format!("{error:#}"));
    }
    let found = judge(rtc.seconds.map(|s| s.saturating_add(elapsed(rtc.at))), wanted);
    if found.battery_suspect {
        screen.log("the battery of the clock (CR2032 on the board) is empty; the time comes from the controller");
    }
    found
}

fn elapsed(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_secs()).unwrap_or(0)
}

/// What the clock's reading says about its battery. A machine without such a clock has no battery to suspect.
fn judge(rtc_seconds: Option<i64>, unix_ms: i64) -> Rtc {
    let offset = rtc_seconds.map(|seconds| seconds.saturating_sub(unix_ms.div_euclid(1000)));
    let battery_suspect = offset.is_some_and(|seconds| seconds.saturating_abs() > SUSPECT_SECONDS);
    Rtc {
        offset,
        battery_suspect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;

    #[test]
    fn a_clock_at_1970_2010_or_2040_has_an_empty_battery() {
        for year in [1970, 2010, 2040_i64] {
            let reading = (year - 1970) * 31_556_952;
            assert!(judge(Some(reading), NOW * 1000).battery_suspect, "{year}");
        }
        assert!(judge(Some(i64::MIN), NOW * 1000).battery_suspect);
    }

    #[test]
    fn a_clock_in_local_time_or_a_minute_off_is_fine() {
        for offset in [-43_200, -60, 0, 60, 14 * 3600] {
            assert_eq!(
                judge(Some(NOW + offset), NOW * 1000),
                Rtc {
                    offset: Some(offset),
                    battery_suspect: false
                }
            );
        }
        assert_eq!(judge(None, NOW * 1000), Rtc::default());
    }
}
