// SPDX-License-Identifier: Apache-2.0
//! A few lines above the login prompt and after a login: a technician who plugs a screen in reads who this is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::programs::Programs;

/// agetty(8) shows what is in there above its prompt, `pam_motd(8)` after a login; both end with the boot.
const FILES: [&str; 2] = ["run/issue.d/gleaner.issue", "run/motd.d/gleaner"];

/// agetty only touches a file that the others watch.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is on the screen now.
pub(crate) struct Console {
    root: PathBuf,
    shown: String,
}

/// What a technician wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sign {
    /// Name of the node.
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: String,
    /// The controller and its site.
    pub(crate) controller: String,
    /// How it is, in words.
    pub(crate) state: String,
}

impl Console {
    /// A console of the system below `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.into(),
            shown: String::new(),
        }
    }

    /// Shows the sign if it is news.
    pub(crate) fn show(&mut self, sign: &Sign, programs: &dyn Programs) {
        let text = text(sign);
        if text == self.shown {
            return;
        }
        for file in FILES {
            let path = self.root.join(file);
            let written = path
                .parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(&path, &text));
            if let Err(error) = written {
                tracing::debug!(%error, path = %path.display(), "no sign on the console");
            }
        }
        self.shown = text;
        // Without a prompt there is nothing to draw anew.
        if let Err(error) = programs.run(&["agetty", "--reload"], PATIENCE) {
            tracing::debug!(%error, "the prompt keeps the old sign");
        }
    }
}

fn text(sign: &Sign) -> String {
    let Sign {
        name,
        address,
        controller,
        state,
    } = sign;
    [
        String::new(),
        format!("  Gleaner node {}   {}", plain(name), plain(address)),
        format!("  {}", plain(state)),
        format!("  controller {}", plain(controller)),
        String::new(),
        String::new(),
    ]
    .join("\n")
}

/// agetty expands `\x`; words from the wire must not steer a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && *c != '\\')
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use super::*;
    use crate::programs::ProgramError;

    struct Count(Cell<u32>);

    impl Programs for Count {
        fn run(&self, _: &[&str], _: Duration) -> Result<String, ProgramError> {
            self.0.set(self.0.get() + 1);
            Ok(String::new())
        }
    }

    #[test]
    fn the_console_says_who_this_is_and_is_redrawn_only_for_news() {
        let (root, count) = (tempfile::tempdir().unwrap(), Count(Cell::new(0)));
        let mut console = Console::new(root.path());
        let sign = Sign {
            name: "pc-1".into(),
            state: "ready".into(),
            ..Sign::default()
        };
        console.show(&sign, &count);
        console.show(&sign, &count);
        assert_eq!(count.0.get(), 1);
        let text = fs::read_to_string(root.path().join(FILES[0])).unwrap();
        assert!(text.contains("Gleaner node pc-1") && text.contains("ready"));
    }

    #[test]
    fn words_from_the_wire_cannot_steer_the_terminal() {
        let state = "\u{1b}[2J\\n\\l wait".into();
        assert!(
            text(&Sign {
                state,
                ..Sign::default()
            })
            .contains("[2Jnl wait")
        );
    }
}
