// SPDX-License-Identifier: Apache-2.0
//! Times in people's words: ages, durations. Pure.

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
        fn no_number_is_too_large_to_be_said(then in any::<i64>(), now in any::<i64>()) {
            prop_assert!(!ago(then, now).contains('-'));
            let _ = (rfc3339(then), clock(now));
        }
    }
}
