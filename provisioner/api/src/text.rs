// SPDX-License-Identifier: Apache-2.0
//! Text that a machine or a stranger wrote and a person will read. It goes to terminals, pages and logs, and it is
//! hostile: whoever wrote it may want a cursor to move or a name to look like another.

use serde_json::Value;

/// The text on one line, without what cannot be seen. Tabs and ends of lines become blanks: they separate words.
pub fn visible(text: &str) -> String {
    let blank = |c| if matches!(c, '\t' | '\n') { ' ' } else { c };
    text.chars().map(blank).filter(|c| !is_invisible(*c)).collect()
}

/// The same for every text in a report, except those of the fields `as_they_are`, which are compared byte for byte.
pub fn make_visible(report: &mut Value, as_they_are: &[&str]) {
    match report {
        Value::String(text) if text.contains(is_invisible) => *text = visible(text),
        Value::Array(items) => items.iter_mut().for_each(|item| make_visible(item, as_they_are)),
        Value::Object(fields) => fields
            .iter_mut()
            .filter(|(name, _)| !as_they_are.contains(&name.as_str()))
            .for_each(|(_, field)| make_visible(field, as_they_are)),
        _ => {}
    }
}

/// Control characters, marks of reading direction (Unicode's `Bidi_Control`), and characters without width or shape.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_of_a_report_is_made_visible_but_those_that_are_compared() {
        let mut report =
            json!({ "boot_id": "b\u{200b}", "a": ["x\u{1b}\u{202e}y\nz\0", { "b": "\u{feff}ok\u{e0041}" }], "n": 7 });
        make_visible(&mut report, &["boot_id"]);
        assert_eq!(
            report,
            json!({ "boot_id": "b\u{200b}", "a": ["xy z", { "b": "ok" }], "n": 7 })
        );
    }
}
