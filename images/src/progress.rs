// SPDX-License-Identifier: Apache-2.0
//! Shows people how far a build is: a moving line on a terminal, plain lines elsewhere, and where the time went.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often the line on a terminal moves, so that a person sees that the build lives.
const TICK: Duration = Duration::from_millis(120);

/// What is shown, and what each verb took.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    started: Instant,
    verbs: Vec<(String, Duration)>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            started: Instant::now(),
            verbs: Vec::new(),
        }
    }
}

impl Progress {
    /// Does one verb of a build and notes its time; the closure may set the bar's length and position.
    pub fn verb<T, E>(&mut self, name: &str, work: impl FnOnce(&ProgressBar) -> Result<T, E>) -> Result<T, E> {
        let bar = self.bar(name);
        let start = Instant::now();
        let result = work(&bar);
        let took = start.elapsed();
        bar.finish_and_clear();
        let mark = if result.is_ok() { ' ' } else { '!' };
        eprintln!("{mark}{:>7.1} s  {name}", took.as_secs_f64());
        self.verbs.push((name.to_owned(), took));
        result
    }

    /// Every verb and what it took, longest first, with the total in front.
    pub fn summary(&self) -> String {
        let mut verbs: Vec<_> = self.verbs.iter().filter(|(_, took)| took.as_millis() >= 500).collect();
        verbs.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        let mut text = format!("{:.1} s in all", self.started.elapsed().as_secs_f64());
        for (index, (name, took)) in verbs.iter().take(4).enumerate() {
            let before = if index == 0 { ", most of it: " } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{before}{name} {:.1} s", took.as_secs_f64());
        }
        text
    }

    fn bar(&self, name: &str) -> ProgressBar {
        if !self.terminal {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::no_length().with_message(name.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>6}  {msg} {wide_bar} {pos}/{len}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        bar
    }
}

/// Bytes as people read them: in MB with one digit behind the point.
pub fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_a_tenth_of_a_megabyte() {
        assert_eq!(megabytes(22_801_448), "22.8");
        assert_eq!(megabytes(99_960_000), "100.0");
        assert_eq!(megabytes(0), "0.0");
    }
}
