// SPDX-License-Identifier: Apache-2.0
//! Texts for everybody on the LAN: that which identifies a machine is taken out of them. Pure.

/// Stands in the place of what is not told.
const HIDDEN: &str = "(hidden)";
/// Shorter values identify nothing and would be found in every word.
const SHORTEST: usize = 4;

/// The text without these values, and without all that has the form of a hardware address, a UUID or a world-wide name.
pub fn hide(text: &str, values: &[String]) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut values: Vec<&str> = values
        .iter()
        .map(|value| value.trim())
        .filter(|value| value.len() >= SHORTEST)
        .collect();
    // A value may be the beginning of another one.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut text = text.to_owned();
    for value in values {
        text = without(&text, value);
    }
    without_forms(&text)
}

fn without(text: &str, value: &str) -> String {
    // ASCII only: the letters of the copy stand where those of the text do.
    let (low, value) = (text.to_ascii_lowercase(), value.to_ascii_lowercase());
    let mut hidden = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(at) = low[from..].find(&value) {
        hidden.push_str(&text[from..from + at]);
        hidden.push_str(HIDDEN);
        from += at + value.len();
    }
    hidden.push_str(&text[from..]);
    hidden
}

fn without_forms(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '.' | '_');
    let mut hidden = String::with_capacity(text.len());
    for piece in text.split_inclusive(|c| !is_part(c)) {
        let end = piece.trim_end_matches(|c| !is_part(c));
        let word = end.trim_matches([':', '-', '.', '_']);
        if identifies(word) {
            hidden.push_str(&piece.replacen(word, HIDDEN, 1));
        } else {
            hidden.push_str(piece);
        }
    }
    hidden
}

fn identifies(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups = |separator: char, lengths: &[usize]| {
        let parts: Vec<&str> = lower.split(separator).collect();
        parts.len() == lengths.len()
            && parts
                .iter()
                .zip(lengths)
                .all(|(part, length)| part.len() == *length && hex(part))
    };
    let six = [2; 6];
    groups(':', &six)
        || groups('-', &six)
        // PXELINUX writes the kind of hardware before the address.
        || groups('-', &[2; 7])
        || groups('-', &[8, 4, 4, 4, 12])
        || ["0x", "wwn-0x", "naa.", "eui."].iter().any(|start| lower.strip_prefix(start).is_some_and(|rest| rest.len() >= 16 && hex(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_identifies_a_machine_is_taken_out_and_the_rest_stays() {
        let values = ["WD-WCC3F4".to_owned(), "WD-WCC3F4ABC".to_owned(), "pc".to_owned()];
        for (text, shown) in [
            ("sda wd-wcc3f4abc 500 GB", "sda (hidden) 500 GB"),
            ("on WD-WCC3F4, now checking", "on (hidden), now checking"),
            ("card 52:54:00:77:00:01: no answer", "card (hidden): no answer"),
            ("01-52-54-00-77-00-01", "(hidden)"),
            ("(4c4c4544-0042-3510-8052-b4c04f573701)", "((hidden))"),
            ("wwn-0x5000c500a1b2c3d4 is failing", "(hidden) is failing"),
            ("eui.0025388b71b0a1b2", "(hidden)"),
            (
                "pc-7: 412 of 980 MB, 61 MB/s at 12:30:00",
                "pc-7: 412 of 980 MB, 61 MB/s at 12:30:00",
            ),
            ("Größe – 磁盘", "Größe – 磁盘"),
        ] {
            assert_eq!(hide(text, &values), shown, "{text}");
        }
    }
}
