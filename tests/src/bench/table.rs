// SPDX-License-Identifier: Apache-2.0
//! The table that a bench run ends with.

use std::fmt::Write as _;

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// What was measured.
    pub what: String,
    /// What it should be, in words.
    pub target: String,
    /// What it is, in words.
    pub measured: String,
    /// Whether that reaches the target; `None` where there is none.
    pub reached: Option<bool>,
    /// Why not, or what a reader should know.
    pub cause: String,
}

/// What a ratio to a peer's figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

impl Line {
    /// A figure beside a peer's: what counts is the one divided by the other.
    pub fn beside(what: &str, limit: Limit, ours: f64, (peer, theirs): (&str, f64), unit: &str) -> Self {
        let ratio = ours / theirs;
        let (target, reached) = match limit {
            Limit::AtMost(most) => (format!("at most {most} × {peer}"), ratio <= most),
            Limit::AtLeast(least) => (format!("at least {least} × {peer}"), ratio >= least),
        };
        let measured = format!("{} {unit}, {peer} {}: {ratio:.2} ×", figure(ours), figure(theirs));
        Self::new(what, &target, measured, reached)
    }

    /// A measure with a target.
    pub fn new(what: &str, target: &str, measured: String, reached: bool) -> Self {
        let (what, target) = (what.into(), target.into());
        Self {
            what,
            target,
            measured,
            reached: Some(reached),
            cause: String::new(),
        }
    }

    /// A figure that is only told.
    pub fn told(what: &str, measured: String) -> Self {
        Self {
            what: what.into(),
            target: String::new(),
            measured,
            reached: None,
            cause: String::new(),
        }
    }

    /// A measure that could not be taken.
    pub fn missing(what: &str, target: &str, why: String) -> Self {
        Self {
            what: what.into(),
            target: target.into(),
            measured: "not measured".into(),
            reached: None,
            cause: why,
        }
    }

    /// With what a reader should know.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }
}

/// The figure in the middle: of several rounds on a machine that others use, the one to trust.
pub fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// As many digits as say something.
fn figure(number: f64) -> String {
    match number {
        1000.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// All lines, columns aligned.
pub fn render(lines: &[Line]) -> String {
    let width = |column: fn(&Line) -> &str, title: &str| {
        lines
            .iter()
            .map(|line| column(line).chars().count())
            .chain([title.len()])
            .max()
            .unwrap_or_default()
    };
    let what = width(|line| &line.what, "measure");
    let target = width(|line| &line.target, "target");
    let measured = width(|line| &line.measured, "measured");
    let mut text = format!(
        "{:what$}  {:target$}  {:measured$}  reached  note\n",
        "measure", "target", "measured"
    );
    for line in lines {
        let reached = match line.reached {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        let (a, b, c) = (&line.what, &line.target, &line.measured);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{a:what$}  {b:target$}  {c:measured$}  {reached:7}  {}",
            line.cause
        );
    }
    text
}
