// SPDX-License-Identifier: Apache-2.0
//! Numbers in people's words: sizes, ages, durations. Pure.

/// Bytes of a disk, as its label says them: powers of ten, `500 GB`.
pub(super) fn disk_size(bytes: u64) -> String {
    scaled(bytes, 1000, ["B", "kB", "MB", "GB", "TB", "PB"])
}

/// Bytes of RAM: powers of two, `15.6 GiB`.
pub(super) fn memory_size(bytes: u64) -> String {
    scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

fn scaled(bytes: u64, step: u64, units: [&str; 6]) -> String {
    let (mut unit, mut one) = (0, 1);
    // The last unit is never left: 16 EB is 16000 PB.
    while unit + 1 < units.len() && bytes / one >= step {
        one *= step;
        unit += 1;
    }
    // Tenths only where they say something: 1.5 TB, but 500 GB.
    let tenths = (u128::from(bytes) * 10 + u128::from(one) / 2) / u128::from(one);
    if unit == 0 || tenths >= 1000 || tenths.is_multiple_of(10) {
        format!("{} {}", (tenths + 5) / 10, units[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
    }
}

/// How long ago something was, from two times in Unix milliseconds.
pub(super) fn ago(then: i64, now: i64) -> String {
    // A clock that was set back in between is "now", not a negative age.
    let seconds = now.saturating_sub(then).max(0) / 1000;
    if seconds < 10 {
        "just now".into()
    } else {
        format!("{} ago", span(seconds.unsigned_abs()))
    }
}

/// A duration in its largest unit of which there are at least two: `12 s`, `3 min`, `119 min`, `2 h`, `5 days`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A time for `<time datetime>`: RFC 3339 in UTC.
pub(super) fn rfc3339(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// A time for people, UTC, to the second: `2026-11-21 03:04:05`.
pub(super) fn clock(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_read_like_labels() {
        assert_eq!(disk_size(500_107_862_016), "500 GB");
        assert_eq!(disk_size(1_500_000_000_000), "1.5 TB");
        assert_eq!(disk_size(999), "999 B");
        assert_eq!(memory_size(8 << 30), "8 GiB");
        assert_eq!(memory_size(490 << 20), "490 MiB");
        assert_eq!(memory_size(16_750_372_454), "15.6 GiB");
    }

    #[test]
    fn ages_are_said_in_one_unit() {
        assert_eq!(ago(0, 9_000), "just now");
        assert_eq!(ago(0, 42_000), "42 s ago");
        assert_eq!(ago(0, 600_000), "10 min ago");
        assert_eq!(ago(0, 7_200_000), "2 h ago");
        assert_eq!(ago(0, 500_000_000), "5 days ago");
        assert_eq!(ago(5_000, 0), "just now");
    }

    proptest! {
        #[test]
        fn no_number_is_too_large_to_be_said(bytes in any::<u64>(), then in any::<i64>(), now in any::<i64>()) {
            prop_assert!(disk_size(bytes).len() < 16);
            prop_assert!(memory_size(bytes).len() < 16);
            prop_assert!(!ago(then, now).contains('-'));
            let _ = (rfc3339(then), clock(now));
        }
    }
}
