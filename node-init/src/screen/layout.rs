// SPDX-License-Identifier: Apache-2.0
//! Lays a [`View`] out on a console of any size. Pure: a golden test shows what a technician sees.

use super::{View, font};

/// Free columns on either side: monitors of this age hide their edges.
const MARGIN: usize = 2;
/// Rows of a progress bar: to be seen from two metres.
const BAR_ROWS: usize = 2;
/// A console that says nothing of its size is the PC's text mode.
const SMALLEST: (usize, usize) = (80, 25);

/// Lines of at most `columns` characters, exactly `rows` of them.
pub fn render(view: &View, columns: usize, rows: usize) -> Vec<String> {
    let columns = if columns < 20 { SMALLEST.0 } else { columns };
    let rows = if rows < 8 { SMALLEST.1 } else { rows };
    let width = columns - 2 * MARGIN;
    let facts = wrap_all(&view.facts, width);
    let mut lines = vec![String::new()];
    lines.extend(large(&view.name, width, rows));
    lines.push(String::new());
    lines.extend(large(&stage(view), width, rows));
    lines.push(String::new());
    if let Some(permille) = view.permille {
        lines.extend(std::iter::repeat_n(bar(permille, width), BAR_ROWS));
        lines.push(String::new());
    }
    lines.extend(wrap(&view.text, width));
    // Small print at the bottom; on a console with too few rows it is the first to go.
    let room = rows.saturating_sub(lines.len() + 1);
    let shown = facts.len().min(room);
    lines.truncate(rows);
    lines.resize(rows - shown, String::new());
    lines.extend(facts.into_iter().take(shown));
    lines.iter().map(|line| indent(line)).collect()
}

/// "WRITING 42%".
fn stage(view: &View) -> String {
    match view.permille {
        Some(permille) => format!("{} {}%", view.stage, permille.min(1000) / 10),
        None => view.stage.clone(),
    }
}

/// As large as fits into the width and a fifth of the height; words that are too long stay small.
fn large(text: &str, width: usize, rows: usize) -> Vec<String> {
    let dots = text.chars().count().max(1) * font::ADVANCE;
    let by_height = (rows / 5 * 2) / font::HEIGHT;
    match (width / dots).min(by_height.max(1)) {
        0 => vec![text.chars().take(width).collect()],
        scale => font::write(text, scale),
    }
}

fn bar(permille: u16, width: usize) -> String {
    let full = width * usize::from(permille.min(1000)) / 1000;
    "█".repeat(full) + &"░".repeat(width - full)
}

fn wrap_all(texts: &[String], width: usize) -> Vec<String> {
    texts.iter().flat_map(|text| wrap(text, width)).collect()
}

/// Breaks at spaces; a word that is longer than a line is broken where the line ends.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (n, part) in letters.chunks(width).enumerate() {
            let last = lines.last_mut().map_or(0, |line| line.chars().count());
            let gap = usize::from(last > 0);
            if n > 0 || last + gap + part.len() > width {
                lines.push(part.iter().collect());
            } else if let Some(line) = lines.last_mut() {
                line.extend([' '].iter().take(gap));
                line.extend(part);
            }
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn indent(line: &str) -> String {
    if line.is_empty() {
        String::new()
    } else {
        format!("{}{line}", " ".repeat(MARGIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn view() -> View {
        View {
            name: "node-7f3a".into(),
            stage: "Writing".into(),
            permille: Some(424),
            text: "412 of 980 MB, 61 MB/s. Do not switch off; if it happens, just switch on again.".into(),
            alarm: false,
            facts: vec![
                "10.77.0.21 on eth0 (52:54:00:77:00:01), controller 10.77.0.1:8443".into(),
                "Dell Inc. OptiPlex 7010, 4 threads, 8.0 GB RAM".into(),
            ],
        }
    }

    #[test]
    fn a_technician_reads_name_stage_and_progress_on_a_text_console() {
        let shown = render(&view(), 80, 25).join("\n");
        assert_eq!(shown + "\n", include_str!("testdata/writing-80x25.txt"));
    }

    #[test]
    fn a_large_console_gets_larger_letters() {
        let tall = |columns, rows| {
            render(&view(), columns, rows)
                .iter()
                .skip(1)
                .take_while(|line| !line.is_empty())
                .count()
        };
        assert_eq!((tall(80, 25), tall(240, 67)), (4, 11));
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let failed = View {
            name: "node-7f3a".into(),
            stage: "Failed".into(),
            text: "the disk WD-1234 is failing (15 bad sectors); replace it".into(),
            alarm: true,
            ..View::default()
        };
        let lines = render(&failed, 80, 25);
        expect!["  the disk WD-1234 is failing (15 bad sectors); replace it"].assert_eq(&lines[11]);
    }

    proptest! {
        #[test]
        fn nothing_overflows_a_console_of_any_size(
            name in "\\PC{0,70}",
            text in "\\PC{0,400}",
            columns in 0_usize..300,
            rows in 0_usize..100,
            permille in prop::option::of(any::<u16>()),
        ) {
            let view = View { name, text: text.clone(), stage: "Waiting".into(), permille, alarm: false, facts: vec![text] };
            let lines = render(&view, columns, rows);
            prop_assert_eq!(lines.len(), if rows < 8 { 25 } else { rows });
            let limit = if columns < 20 { 80 } else { columns };
            prop_assert!(lines.iter().all(|line| line.chars().count() <= limit));
        }
    }
}
