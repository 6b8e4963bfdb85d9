// SPDX-License-Identifier: Apache-2.0
//! What operators ask. `node` is a name or an id; `actor` says who asks, for the list of events.

use std::path::Path;
use std::sync::Arc;

use provisioner_api::{EventEntry, ImageSummary, Inventory, NodeDetail, Reject};
use tracing::{info, warn};

use super::{App, AppError, Change};
use crate::config::{Profile, Source, is_host_name};
use crate::disks::{self, Choice, DiskRule};
use crate::images::Imported;
use crate::install;
use crate::lifecycle::{Event, Plan, System, Wanted};
use crate::registry::{Entry, Node};

/// Letters of an operator's reason at most: it must fit a machine's screen.
const LONGEST_REASON: usize = 300;

/// An operator's order that takes no words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Wipe and install again, as the same node.
    Rebuild,
    /// Try again after a failure.
    Retry,
    /// Take out of the cluster.
    Retire,
    /// Take no new work.
    Drain,
    /// Take work again.
    Undrain,
}

impl App {
    /// Turns a node away. Writes.
    pub fn reject(&self, node: &str, reject: &Reject, actor: &str, now: i64) -> Result<NodeDetail, AppError> {
        let why: String = reject
            .why
            .chars()
            .filter(|c| !c.is_control())
            .take(LONGEST_REASON)
            .collect();
        let why = if why.is_empty() {
            "an operator does not want it in the cluster".to_owned()
        } else {
            why
        };
        self.order(node, &Event::Reject { why }, actor, now)
    }

    /// Carries out an order that takes no words. Writes.
    pub fn command(&self, node: &str, command: Command, actor: &str, now: i64) -> Result<NodeDetail, AppError> {
        let event = match command {
            Command::Rebuild => return self.rebuild(node, actor, now),
            Command::Retry => Event::Retry(self.wanted_now(node)?),
            Command::Retire => Event::Retire,
            Command::Drain => Event::Drain,
            Command::Undrain => Event::Undrain,
        };
        self.order(node, &event, actor, now)
    }

    fn rebuild(&self, node: &str, actor: &str, now: i64) -> Result<NodeDetail, AppError> {
        let event = Event::Rebuild(self.wanted_now(node)?);
        let node = self.find(node)?;
        let vouches = self.can_vouch(&node, now);
        let after = self.registry.rebuild(&node.id, &event, vouches, actor, now)?;
        self.ordered(&node, &event, actor, &after);
        self.node(&node.id, now)
    }

    /// The system that a node's profile asks for now; refused where its machine cannot be installed so.
    fn wanted_now(&self, node: &str) -> Result<Wanted, AppError> {
        let node = self.find(node)?;
        let Some(plan) = node.state.plan() else {
            // The state says no, and why.
            return Ok(System::Image.into());
        };
        let profile = self.config.profiles.get(&plan.profile);
        let plan = Plan {
            system: profile.map_or_else(|| plan.system.clone(), Profile::system),
            ..plan.clone()
        };
        let inventory = self.registry.inventory(&node.id)?;
        self.can_be_installed(&node.name, &plan, &inventory)
            .map_err(AppError::Refused)?;
        Ok(Wanted {
            system: plan.system,
            from: profile.and_then(|profile| self.comes_from(profile)),
        })
    }

    fn order(&self, node: &str, event: &Event, actor: &str, now: i64) -> Result<NodeDetail, AppError> {
        let node = self.find(node)?;
        let after = self.registry.apply(&node.id, event, actor, now)?;
        self.ordered(&node, event, actor, &after);
        self.node(&node.id, now)
    }

    fn ordered(&self, node: &Node, event: &Event, actor: &str, after: &Node) {
        info!(node = node.name, actor, ?event, state = %after.state, "ordered");
        self.presence.update(&node.id, |seen| seen.progress = None);
        self.changed(&node.id);
    }

    /// Events by rising id, those after `after` only, of one node or of all, the newest `limit` of them. Reads the
    /// database.
    pub fn events(&self, node: Option<&str>, after: Option<i64>, limit: u32) -> Result<Vec<EventEntry>, AppError> {
        let node = node.map(|node| self.find(node)).transpose()?;
        let id = node.as_ref().map(|node| node.id.as_str());
        Ok(self.registry.events(id, after, limit)?)
    }

    /// The images and what is wrong with them.
    pub fn images(&self) -> Vec<ImageSummary> {
        self.images.list()
    }

    /// Takes an image or a RAM environment from a folder of this machine into the store; `progress` hears bytes
    /// done and bytes in all. Takes long, writes.
    pub fn import(
        &self,
        folder: &Path,
        actor: &str,
        now: i64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Imported, AppError> {
        let imported = self.images.import(folder, progress);
        let (kind, detail) = match &imported {
            Ok(Imported::Image { name, version }) => ("image-imported", format!("{name} {version}")),
            Ok(Imported::Ram { version }) => ("image-imported", format!("RAM environment {version}")),
            Err(error) => ("image-refused", format!("{}: {error}", folder.display())),
        };
        info!(actor, kind, detail, "import");
        let entry = Entry {
            kind,
            detail,
            actor: actor.to_owned(),
        };
        if let Err(error) = self.registry.write_down(None, &entry, now) {
            // The image is in the store all the same.
            warn!(%error, "writing down an import");
        }
        self.announce(Change::Images);
        self.presence.wake_all();
        Ok(imported?)
    }

    /// Makes an API token with a name for the list; the secret is in the answer and nowhere else. Writes.
    pub fn create_token(&self, name: &str, actor: &str, now: i64) -> Result<String, AppError> {
        if !is_host_name(name) {
            return Err(AppError::Invalid(format!(
                "{name:?} is no name for a token (a-z, 0-9, dash; at most 63)"
            )));
        }
        let entry = Entry {
            kind: "token-created",
            detail: name.to_owned(),
            actor: actor.to_owned(),
        };
        Ok(self.registry.create_token(name, &entry, now)?)
    }

    /// Names of the API tokens and when they were made.
    pub fn tokens(&self) -> Result<Vec<(String, i64)>, AppError> {
        Ok(self.registry.tokens()?)
    }

    /// Forgets a token. Writes.
    pub fn revoke_token(&self, name: &str, actor: &str, now: i64) -> Result<(), AppError> {
        let entry = Entry {
            kind: "token-revoked",
            detail: name.to_owned(),
            actor: actor.to_owned(),
        };
        if self.registry.revoke_token(name, &entry, now)? {
            self.revocations.send_modify(|count| *count += 1);
            Ok(())
        } else {
            Err(AppError::NotFound(format!("there is no token {name}")))
        }
    }

    /// The name of the token with this secret.
    pub fn check_token(&self, secret: &str) -> Option<String> {
        self.registry.check_token(secret).unwrap_or_else(|error| {
            warn!(%error, "looking a token up");
            None
        })
    }

    /// The disks that would be written for a profile: the one that is named, else the one of its rule; and the second of
    /// its layout.
    pub(super) fn choose_disks(
        &self,
        profile: &Profile,
        named: Option<&str>,
        inventory: &Inventory,
    ) -> Result<(Choice, Option<Choice>), String> {
        let rule = self.disk_rule(profile);
        let choice = match named {
            Some(disk) => disks::named(disk, rule.min_size, inventory)?,
            None => disks::choose(&rule, inventory)?,
        };
        let second = install::second(profile, inventory, &choice.disk)?;
        Ok((choice, second))
    }

    /// The profile's rule, which must find room for its system where that is known.
    fn disk_rule(&self, profile: &Profile) -> DiskRule {
        let system = match &profile.source {
            Source::Image(image) => self
                .images
                .of_profile(image)
                .map_or(0, |image| image.manifest.disk_size),
            Source::CloudImage(image, _) => self
                .images
                .of_profile(image)
                .map_or(0, |image| install::with_seed(image.manifest.disk_size)),
            Source::Installer(installer) => install::disk_size(installer),
        };
        DiskRule {
            min_size: profile.disk.min_size.max(system),
            ..profile.disk.clone()
        }
    }

    pub(super) fn find(&self, node: &str) -> Result<Arc<Node>, AppError> {
        let found = self.registry.find(node);
        found.ok_or_else(|| AppError::NotFound(format!("there is no node {node}; see: provisioner node list")))
    }
}
