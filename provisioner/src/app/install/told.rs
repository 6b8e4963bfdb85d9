// SPDX-License-Identifier: Apache-2.0
//! What a distribution's installer tells of itself, or its ready-made image of its first start.

use std::net::IpAddr;
use std::sync::Arc;

use kickstart::site::Stage as Told;
use provisioner_api::{FailCause, Progress, Stage};
use tracing::info;

use super::{App, AppError, no_installation};
use crate::events;
use crate::lifecycle::Event;
use crate::registry::{Entry, Node};

/// Lines of an installer's log that are kept: as many as its script sends.
pub(super) const LOG_LINES: usize = 60;
/// Letters of one of them.
const LOG_LINE: usize = 300;
/// Letters of an installer's reason, and of what it is at: they stand on pages and screens.
const WORDS: usize = 200;

impl App {
    /// The installer with this token has come to a stage, named by its word. Writes.
    pub fn installer_tells(&self, token: &str, word: &str, from: IpAddr, now: i64) -> Result<(), AppError> {
        let node = self.installing(token, from, now)?;
        self.hears(&node.id, now)?;
        let stage = Told::from_word(word.trim())
            .ok_or_else(|| AppError::Invalid(format!("{:?} is no stage of an installation", words(word, WORDS))))?;
        let os = node.state.told_of().unwrap_or_default();
        let from_disk = node.state.installer().is_none();
        let before = self.presence.of(&node.id).and_then(|seen| seen.progress);
        let before = before.and_then(|before| under_way(before.stage, from_disk));
        match stage {
            Told::Pre => _ = self.registry.apply_installers(&node.id, &Event::Begun, os, now)?,
            Told::Done if !from_disk => _ = self.registry.apply_installers(&node.id, &Event::Written, os, now)?,
            // Said twice, or after what comes later: nothing new.
            _ if before >= Some(stage) => return Ok(()),
            Told::Late => {
                let entry = Entry::new("installing", stage.word(), events::INSTALLER);
                self.registry.at_last_step(&node.id, &entry, now)?;
            }
            Told::Partitioning | Told::Packages | Told::Done => {
                let entry = Entry::new("installing", stage.word(), events::INSTALLER);
                self.registry.write_down(Some(&node.id), &entry, now)?;
            }
        }
        info!(node = node.name, stage = stage.word(), "its installer tells");
        if from_disk && stage == Told::Pre {
            self.started_from_disk(&self.registry.inventory(&node.id)?);
        }
        self.presence.update(&node.id, |seen| {
            seen.progress = Some(Progress {
                boot_id: String::new(),
                stage: shown(stage, from_disk),
                permille: 0,
                detail: String::new(),
            });
        });
        self.changed(&node.id);
        Ok(())
    }

    /// The installer with this token does something that it has words for, in Subiquity's own JSON.
    pub fn installer_details(
        &self,
        token: &str,
        event: &serde_json::Value,
        from: IpAddr,
        now: i64,
    ) -> Result<(), AppError> {
        let node = self.installing(token, from, now)?;
        let said = ["description", "name"]
            .iter()
            .find_map(|field| event.get(field)?.as_str());
        if let Some(said) = said {
            self.presence.update(&node.id, |seen| {
                if let Some(progress) = &mut seen.progress {
                    progress.detail = words(said, WORDS);
                }
            });
            self.changed(&node.id);
        }
        Ok(())
    }

    /// The installer with this token stopped: its reason, and how its log ended, a line each. Writes.
    pub fn installer_failed(&self, token: &str, told: &str, from: IpAddr, now: i64) -> Result<(), AppError> {
        let node = self.installing(token, from, now)?;
        self.hears(&node.id, now)?;
        let mut lines = told
            .lines()
            .map(|line| words(line, LOG_LINE))
            .filter(|line| !line.is_empty());
        let detail = lines
            .next()
            .map_or_else(|| "it said no reason".into(), |line| words(&line, WORDS));
        let lines: Vec<String> = lines.collect();
        let log = &lines[lines.len().saturating_sub(LOG_LINES)..];
        let system = node.state.told_of().unwrap_or_default();
        let cause = if node.state.installer().is_some() {
            FailCause::Installer {
                system: system.to_owned(),
                detail,
            }
        } else {
            FailCause::SetUp {
                step: format!("the first start of {system}"),
                detail,
            }
        };
        let after = self.registry.installer_failed(&node.id, cause, log, now)?;
        info!(node = node.name, state = %after.state, "its installer stopped");
        self.presence.update(&node.id, |seen| seen.progress = None);
        self.changed(&node.id);
        Ok(())
    }

    /// The node whose installer or first start has this token, which has just given a sign of life.
    pub(super) fn installing(&self, token: &str, from: IpAddr, now: i64) -> Result<Arc<Node>, AppError> {
        let node = self.registry.by_installation(token, now)?.ok_or_else(no_installation)?;
        self.presence.heard(&node.id, from, now);
        Ok(node)
    }
}

/// The stage that people see, of an installer or of a system on its disk.
fn shown(stage: Told, from_disk: bool) -> Stage {
    match stage {
        Told::Pre | Told::Done if from_disk => Stage::FirstBoot,
        Told::Pre => Stage::Installer,
        Told::Partitioning => Stage::Partitioning,
        Told::Packages => Stage::Packages,
        Told::Late => Stage::SettingUp,
        Told::Done => Stage::Rebooting,
    }
}

/// The stage that people see, if it is one of those between a start and its end.
fn under_way(seen: Stage, from_disk: bool) -> Option<Told> {
    let stages = [Told::Pre, Told::Partitioning, Told::Packages, Told::Late];
    stages.into_iter().find(|stage| shown(*stage, from_disk) == seen)
}

/// What an installer says, fit for a page.
fn words(text: &str, letters: usize) -> String {
    text.trim()
        .chars()
        .filter(|c| !provisioner_api::text::is_invisible(*c))
        .take(letters)
        .collect()
}
