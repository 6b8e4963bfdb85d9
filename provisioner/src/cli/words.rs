// SPDX-License-Identifier: Apache-2.0
//! Values as people read them in a terminal.

use comfy_table::{ContentArrangement, Table, presets};
use provisioner_api::text::is_invisible;

/// A table with a head, without lines that get in the way of copying from it.
pub(super) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(head.iter().copied());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| plain(&cell)));
    }
    table.trim_fmt()
}

/// A text that came from a machine, safe for a terminal: control characters would move its cursor, and what has no
/// width or turns the reading direction would make one name look like another.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if is_invisible(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Bytes of RAM, in the unit in which it is sold.
pub(super) fn memory(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    // The kernel keeps a few percent for itself: a machine with 4 GB manages 3.8.
    let tenths = bytes.saturating_mul(10) / GIB;
    if bytes < GIB {
        format!("{} MB", bytes / MIB)
    } else {
        format!("{}.{} GB", tenths / 10, tenths % 10)
    }
}

/// How long ago a moment was, both Unix milliseconds.
pub(super) fn ago(then: i64, now: i64) -> String {
    format!("{} ago", span(now.saturating_sub(then).max(0).unsigned_abs() / 1000))
}

/// A span of seconds, in the largest unit that says something.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A moment in this machine's time zone.
pub(super) fn moment(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(
        |_| "?".into(),
        |at| {
            at.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        },
    )
}

/// The present, Unix milliseconds.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_as_people_say_them() {
        assert_eq!(memory(480 << 20), "480 MB");
        assert_eq!(memory(3_900_000_000), "3.6 GB");
        assert_eq!(span(119), "119 s");
        assert_eq!(span(7_200), "2 h");
        assert_eq!(ago(5_000, 3_000), "0 s ago");
    }

    #[test]
    fn a_machine_cannot_write_to_the_terminal_but_in_plain_letters() {
        let shown = table(&["MODEL"], [vec!["Opti\x1b[2JPlex\r\n".into()]]);
        assert!(!shown.contains('\x1b') && !shown.contains('\r'), "{shown:?}");
        for hidden in "\0\u{9b}\u{ad}\u{61c}\u{200b}\u{200f}\u{202e}\u{2060}\u{2069}\u{fe0f}\u{feff}\u{e0041}".chars() {
            assert_eq!(plain(&format!("WD{hidden}5000")), "WD\u{fffd}5000", "{hidden:?}");
        }
    }
}
