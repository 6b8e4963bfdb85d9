// SPDX-License-Identifier: Apache-2.0
//! Text from hardware, disks and neighbours on the wire. It goes to terminals, pages and logs, and it is hostile: a disk
//! may call itself whatever it likes.

use provisioner_api::text::visible;

/// Longest text that is passed on; the longest honest ones are SMBIOS strings and LLDP's descriptions of some 255 bytes.
const LONGEST: usize = 256;

/// The text without what moves a cursor, turns the reading direction or cannot be seen; `None` where nothing is left.
pub(crate) fn label(raw: &[u8]) -> Option<String> {
    // Padding may stand before a text as well as behind it.
    let mut parts = raw.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    let text: String = visible(&String::from_utf8_lossy(parts.next()?))
        .trim()
        .chars()
        .take(LONGEST)
        .collect();
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The same for a text of several lines, whatever its length.
pub(crate) fn lines(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let lines: Vec<String> = text.split('\n').map(visible).collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use provisioner_api::text::is_invisible;

    #[test]
    fn escapes_zero_bytes_bidi_marks_and_characters_without_width_are_taken_out() {
        for hostile in [
            "WD\u{1b}[2J5000",
            "\u{202e}WD5000",
            "WD\u{2066}50\u{2069}00",
            "WD\u{200e}\u{200f}\u{61c}5000",
            "W\u{200b}D5\u{feff}000\u{ad}",
            "WD\u{2028}50\u{2029}00",
            "WD50\u{e0041}00",
            "WD5000\0 and more",
            "\u{9b}WD5000\r\n",
        ] {
            let told = label(hostile.as_bytes()).unwrap_or_default();
            assert!(told == "WD5000" || told == "WD[2J5000", "{told:?}");
        }
        assert_eq!(label("Größe 磁盘 \t x".as_bytes()).as_deref(), Some("Größe 磁盘   x"));
        assert_eq!(label("\u{200b}\u{202e} ".as_bytes()), None);
        assert_eq!(label(&[b'x'; 5000]).map(|text| text.len()), Some(LONGEST));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_clean(raw in prop::collection::vec(any::<u8>(), 0..600)) {
            let clean = label(&raw).unwrap_or_default();
            prop_assert!(!clean.contains(is_invisible) && clean == clean.trim());
            prop_assert!(!lines(&raw).split('\n').any(|line| line.contains(is_invisible)));
        }
    }
}
