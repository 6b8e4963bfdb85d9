// SPDX-License-Identifier: Apache-2.0
//! A PC's serial line: what its firmware, kernel and programs said.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

/// How much of the log's end is shown when a wait was in vain.
const TAIL: usize = 30;

/// The log of a serial line and how far it has been read.
pub struct Serial {
    file: PathBuf,
    read_to: u64,
}

impl Serial {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, read_to: 0 }
    }

    /// Waits until `text` is said after everything waited for before, and returns its line.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<String> {
        let found = crate::wait::until(&format!("{text:?} on the serial line"), limit, || self.find(&[text]));
        found.map(|(_, line)| line).with_context(|| self.last_words())
    }

    /// Waits for the first of several texts; says which, and its line.
    pub fn wait_for_any(&mut self, texts: &[&str], limit: Duration) -> Result<(usize, String)> {
        let found = crate::wait::until(&format!("one of {texts:?} on the serial line"), limit, || {
            self.find(texts)
        });
        found.with_context(|| self.last_words())
    }

    /// From here on, only what is said later counts.
    pub fn skip_to_end(&mut self) {
        self.read_to = std::fs::metadata(&self.file).map_or(0, |meta| meta.len());
    }

    /// Everything said so far, without the terminal's escape sequences.
    pub fn text(&self) -> String {
        plain(&String::from_utf8_lossy(&std::fs::read(&self.file).unwrap_or_default()))
    }

    /// The file with the raw bytes.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Looks once, without waiting.
    pub fn find(&mut self, texts: &[&str]) -> Result<Option<(usize, String)>> {
        let Ok(mut file) = std::fs::File::open(&self.file) else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(self.read_to))
            .context("finding the place in a serial log")?;
        let mut fresh = Vec::new();
        file.read_to_end(&mut fresh).context("reading a serial log")?;
        let mut passed = 0;
        for raw in fresh.split_inclusive(|byte| *byte == b'\n') {
            passed += raw.len() as u64;
            let line = plain(&String::from_utf8_lossy(raw));
            if let Some(which) = texts.iter().position(|text| line.contains(text)) {
                // The rest of an unfinished line is read again as a line of its own, which harms nobody.
                self.read_to += passed;
                return Ok(Some((which, line.trim().to_owned())));
            }
        }
        Ok(None)
    }

    fn last_words(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        format!("the last {TAIL} lines of {}:\n{tail}", self.file.display())
    }
}

/// Text without ANSI escape sequences (ECMA-48 CSI and the two-character ones), which screens are drawn with.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            if c != '\r' {
                out.push(c);
            }
        } else if chars.next_if_eq(&'[').is_some() {
            for c in chars.by_ref() {
                if ('@'..='~').contains(&c) {
                    break;
                }
            }
        } else {
            chars.next();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn escape_sequences_are_not_text() {
        assert_eq!(plain("\u{1b}[2J\u{1b}[01;01HGlea\u{1b}[1mner\u{1b}c\r\n"), "Gleaner\n");
    }
}
