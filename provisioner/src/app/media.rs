// SPDX-License-Identifier: Apache-2.0
//! Boot media of installers: brought in, listed with who needs them, and taken away.

use std::sync::Arc;

use provisioner_api::{MediumImport, MediumSummary};
use tracing::{info, warn};

use super::{App, AppError, Change};
use crate::config::Profile;
use crate::media::Medium;
use crate::registry::Entry;

impl App {
    /// Every medium, newest first, and who needs it.
    pub fn list_media(&self) -> Vec<MediumSummary> {
        let all = self.media.all();
        all.iter().map(|medium| medium.summary(self.users_of(medium))).collect()
    }

    /// Takes a medium in that the command line has verified and unpacked. Writes.
    pub fn import_medium(
        &self,
        arrival: &MediumImport,
        actor: &str,
        now: i64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Arc<Medium>, AppError> {
        let taken = self.media.take(arrival, now, progress);
        let what = format!("{} {}", arrival.os, arrival.release);
        let (kind, detail) = match &taken {
            Ok(medium) => (
                "medium-imported",
                format!("{what} ({}) as {}", arrival.verified, medium.id),
            ),
            Err(error) => ("medium-refused", format!("{what}: {error}")),
        };
        self.note_medium(kind, detail, actor, now);
        Ok(taken?)
    }

    /// Removes those of these media that nobody needs by now; says which. Writes.
    pub fn prune_media(&self, ids: &[String], actor: &str, now: i64) -> Result<Vec<MediumSummary>, AppError> {
        let mut removed = Vec::new();
        for summary in self.list_media() {
            if summary.used_by.is_empty() && ids.contains(&summary.id) {
                self.media.remove(&summary.id)?;
                let detail = format!("{} {} ({})", summary.os, summary.release, summary.id);
                self.note_medium("medium-removed", detail, actor, now);
                removed.push(summary);
            }
        }
        Ok(removed)
    }

    /// Who would miss a medium: the profiles whose installer starts from it.
    fn users_of(&self, medium: &Medium) -> Vec<String> {
        if self.media.of(medium.os).is_ok_and(|given| given.id != medium.id) {
            return Vec::new();
        }
        let is_its = |profile: &Profile| profile.installer().is_some_and(|installer| installer.os == medium.os);
        let profiles = self.config.profiles.iter().filter(|(_, profile)| is_its(profile));
        profiles.map(|(name, _)| format!("profile {name}")).collect()
    }

    fn note_medium(&self, kind: &'static str, detail: String, actor: &str, now: i64) {
        info!(actor, kind, detail, "boot media");
        let entry = Entry {
            kind,
            detail,
            actor: actor.to_owned(),
        };
        if let Err(error) = self.registry.write_down(None, &entry, now) {
            // It is done all the same.
            warn!(%error, "writing down a change of boot media");
        }
        self.announce(Change::Images);
    }
}
