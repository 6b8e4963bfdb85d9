// SPDX-License-Identifier: Apache-2.0
//! Which system a machine is to start from its own disks, told to the small GRUB that looks for it.
//!
//! A node has one disk with its own system and perhaps others: an old Windows, somebody's data, an earlier system of
//! the same node. Firmware and `sanboot` start the first disk that looks as if it could be started. So GRUB is told the
//! mark of the node's installation and starts the disk that carries it, and no other.

use std::fmt;

/// Marks in one script at most: nodes that one card cannot tell apart. More do not fit into iPXE's 127 letters.
const MOST: usize = 4;
/// Letters of a mark at most.
const LONGEST: usize = 24;
/// Bytes of [`line`], so that one can take the place of another in a file.
const LINE: usize = 128;

/// What a machine is to start from its own disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// Whatever there is: it is no node of ours, and what is on its disks is not known.
    Any,
    /// The installation with one of these marks.
    Own(Vec<Mark>),
}

/// By what a node's own system is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It was installed before there were marks: a node's system on a disk that has none.
    Unmarked,
    /// The mark of its installation.
    Named(String),
}

impl Home {
    /// Of words from a URL, as [`Home::query`] writes them.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "any" {
            return Some(Self::Any);
        }
        let mark = |word: &str| match word {
            "unmarked" => Some(Mark::Unmarked),
            word => fits(word).then(|| Mark::Named(word.to_owned())),
        };
        let marks: Vec<Mark> = text.split(',').map(mark).collect::<Option<_>>()?;
        (marks.len() <= MOST).then_some(Self::Own(marks))
    }

    /// For a URL.
    pub fn query(&self) -> String {
        self.words().join(",")
    }

    /// For a list in a script.
    fn words(&self) -> Vec<&str> {
        let Self::Own(marks) = self else { return vec!["any"] };
        let word = |mark| match mark {
            &Mark::Unmarked => "unmarked",
            Mark::Named(name) => name.as_str(),
        };
        // What is no mark finds nothing, which is safe; in a script it could be a command.
        let words = marks.iter().map(word).filter(|word| fits(word));
        words.take(MOST).collect()
    }

    /// The line of [`crate::bootfile::LOCAL_GRUB`]'s script that says what to look for. All are equally long.
    pub fn line(&self) -> String {
        format!("{:<LINE$}", format!("set home=\"{self}\""))
    }

    /// Where the line of a file that says [`Home::Any`] begins and ends; `None` where it has none, as those of before
    /// there were marks.
    pub fn place(file: &[u8]) -> Option<std::ops::Range<usize>> {
        let line = Self::Any.line();
        let start = file.windows(LINE).position(|window| window == line.as_bytes())?;
        Some(start..start + LINE)
    }
}

fn fits(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=LONGEST).contains(&word.len()) && word != "any" && word.bytes().all(letter)
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn named(name: &str) -> Mark {
        Mark::Named(name.into())
    }

    #[test]
    fn a_home_is_read_as_it_was_written_and_every_line_is_equally_long() {
        let several = Home::Own(vec![named("0a1b"), Mark::Unmarked]);
        assert_eq!(
            (several.query(), several.to_string()),
            ("0a1b,unmarked".into(), "0a1b unmarked".into())
        );
        for home in [
            Home::Any,
            several,
            Home::Own(vec![named(&"f".repeat(LONGEST)); MOST + 1]),
        ] {
            let shown = Home::parse(&home.query()).unwrap();
            assert_eq!(shown.to_string(), home.to_string());
            assert_eq!(home.line().len(), LINE);
        }
    }

    #[test]
    fn the_line_of_a_file_is_found() {
        let file = [b"MZ\0".to_vec(), Home::Any.line().into_bytes(), b"\nrest".to_vec()].concat();
        assert_eq!(Home::place(&file), Some(3..3 + LINE));
        assert_eq!(Home::place(b"an older loader"), None);
    }

    proptest! {
        #[test]
        fn nothing_that_was_read_ends_its_quotes(text in any::<String>()) {
            if let Some(home) = Home::parse(&text) {
                prop_assert_eq!(home.line().matches(['"', '$', '\\', '\n']).count(), 2);
            }
        }
    }
}
