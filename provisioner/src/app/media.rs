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

    /// Who would miss a medium: the profiles whose installer starts from it, and machines that may be in the middle of
    /// one that was replaced since they started.
    fn users_of(&self, medium: &Medium) -> Vec<String> {
        let given = self.media.of(medium.os).is_ok_and(|given| given.id == medium.id);
        let is_its = |profile: &Profile| profile.installer().is_some_and(|installer| installer.os == medium.os);
        let profiles = self.config.profiles.iter();
        let profiles = profiles.filter(|(_, profile)| given && is_its(profile));
        let nodes = self.registry.nodes();
        let nodes = nodes
            .iter()
            .filter(|node| node.state.installer() == Some(medium.os.name))
            .map(|node| format!("node {}", node.name));
        profiles
            .map(|(name, _)| format!("profile {name}"))
            .chain(nodes)
            .collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use provisioner_api::Verified;

    use crate::app::tests::Lab;

    use super::*;

    const PROFILE: &str = "[profiles.compute]\ninstaller = \"debian-12\"\n\
        [profiles.compute.system]\nmirror = \"http://deb.example.org/debian\"\n";

    #[test]
    fn what_a_profile_installs_from_is_not_removed_and_what_came_before_it_is() {
        let lab = Lab::new(PROFILE);
        let take = |os: &str, build: &str, now: i64| {
            let folder = tempfile::tempdir().unwrap();
            for file in ["linux", "initrd.gz"] {
                std::fs::write(folder.path().join(file), format!("{file} of {os} {build}")).unwrap();
            }
            let arrival = MediumImport {
                folder: folder.path().to_str().unwrap().into(),
                os: os.into(),
                release: build.into(),
                source: "netboot.tar.gz".into(),
                verified: Verified::Checksum,
            };
            let medium = lab.app.import_medium(&arrival, "operator", now, &mut |_, _| {});
            medium.unwrap().id.clone()
        };
        let (old, other, new) = (
            take("debian-12", "1", 1),
            take("debian-13", "1", 2),
            take("debian-12", "2", 3),
        );
        let needed = |id: &str| {
            let all = lab.app.list_media();
            all.into_iter().find(|medium| medium.id == id).unwrap().used_by
        };
        assert_eq!(needed(&new), ["profile compute"]);
        assert!(needed(&old).is_empty() && needed(&other).is_empty());
        let all = [old.clone(), other.clone(), new.clone()];
        let removed = lab.app.prune_media(&all, "operator", 4).unwrap();
        assert_eq!(removed.len(), 2);
        assert_eq!(lab.app.list_media()[0].id, new);
    }
}
