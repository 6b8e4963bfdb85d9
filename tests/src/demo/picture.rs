// SPDX-License-Identifier: Apache-2.0
//! The live picture: a line a PC, redrawn in place on a terminal, or a line a change where there is none.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use provisioner_api::{NodeSummary, Stage};

/// Characters of a bar.
const BAR: usize = 24;

/// One PC, as it is drawn.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the PC is, for people.
    pub title: String,
    /// Its name, once it has one.
    pub name: String,
    /// What it is doing.
    pub doing: String,
    /// How it goes, a few words that change all the time.
    pub detail: String,
    /// Share done, in thousandths, where known.
    pub permille: Option<u16>,
    /// When it was switched on.
    pub since: Instant,
    /// Seconds that it took, once it is done.
    pub took: Option<u64>,
}

/// Draws rows.
pub struct Picture {
    terminal: bool,
    drawn: usize,
    told: Vec<String>,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            drawn: 0,
            told: Vec::new(),
        }
    }
}

impl Picture {
    /// Shows the rows as they are now.
    pub fn show(&mut self, rows: &[Row]) {
        if self.terminal {
            self.redraw(rows);
        } else {
            self.tell(rows);
        }
    }

    /// Prints a line that stays, above the picture.
    pub fn say(&mut self, line: &str) {
        self.wipe();
        println!("{line}");
    }

    fn redraw(&mut self, rows: &[Row]) {
        self.wipe();
        for row in rows {
            println!("{}", draw(row));
        }
        self.drawn = rows.len();
        let _ = std::io::stdout().flush();
    }

    fn wipe(&mut self) {
        if self.drawn > 0 {
            // ECMA-48: that many lines up, then clear to the end of the screen.
            print!("\u{1b}[{}F\u{1b}[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn tell(&mut self, rows: &[Row]) {
        self.told.resize(rows.len(), String::new());
        for (row, told) in rows.iter().zip(&mut self.told) {
            // In quarters: a log wants to know that it goes on, not how.
            let quarter = row.permille.map(|permille| permille / 250 * 25);
            let percent = quarter.map_or(String::new(), |percent| format!(" {percent} %"));
            let now = format!("{} {}: {}{percent}", row.title, row.name, row.doing);
            if *told != now {
                println!("{:>4} s  {now}", row.since.elapsed().as_secs());
                *told = now;
            }
        }
    }
}

fn draw(row: &Row) -> String {
    let done = usize::from(row.permille.unwrap_or(0)) * BAR / 1000;
    let bar = match row.permille {
        Some(_) => format!("{}{}", "█".repeat(done), "░".repeat(BAR - done)),
        None => " ".repeat(BAR),
    };
    let seconds = row.took.unwrap_or_else(|| row.since.elapsed().as_secs());
    let words = format!("{} {}", row.doing, row.detail);
    let doing: String = words.chars().take(48).collect();
    format!(
        "  {:<8} {:<10} {bar} {:>2}:{:02}  {doing}",
        row.title,
        row.name,
        seconds / 60,
        seconds % 60
    )
}

/// What a node is doing, how it goes, and how far it is with it.
pub fn describe(node: &NodeSummary) -> (String, String, Option<u16>) {
    let plain = |doing: String| (doing, String::new(), None);
    if node.state == "ready" {
        return ("ready".into(), String::new(), Some(1000));
    }
    let Some(progress) = &node.progress else {
        return plain(words(&node.state, &node.reason));
    };
    let doing = match progress.stage {
        Stage::Examining => "examining the machine",
        Stage::Waiting => return plain(words(&node.state, &node.reason)),
        Stage::Checking => "checking the disk",
        Stage::Wiping => "clearing the disk",
        Stage::Writing => return ("writing".into(), progress.detail.clone(), Some(progress.permille)),
        Stage::Installer => "starting the installer",
        Stage::Partitioning => "partitioning the disk",
        Stage::Packages => "installing packages",
        Stage::SettingUp => "setting the node up",
        Stage::Rebooting => "restarting from its own disk",
        Stage::FirstBoot => "first start from the disk",
        Stage::Bridging => "setting up the bridge",
        Stage::Serving => "serving",
    };
    plain(doing.into())
}

fn words(state: &str, reason: &str) -> String {
    if reason.is_empty() {
        state.to_owned()
    } else {
        format!("{state}: {reason}")
    }
}
