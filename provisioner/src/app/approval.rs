// SPDX-License-Identifier: Apache-2.0
//! Approvals, of people and of rules: what would be done is worked out in one place, shown, and worked out again within
//! the transaction that approves.

use std::sync::Arc;

use provisioner_api::{ApprovalPlan, Approve, Inventory, NodeDetail, PlannedDisk, PlannedSystem};
use tracing::info;

use super::{App, AppError};
use crate::approval;
use crate::config::{Image, Profile, Source, is_host_name};
use crate::disks::{self, Choice};
use crate::lifecycle::{self, Confirmed, Event, Pinned, Plan, State, System};
use crate::registry::{Approval, Node, RegistryError};
use crate::rules::Rule;

/// An approval before anybody has given it.
struct Prepared {
    plan: Plan,
    shown: ApprovalPlan,
}

impl App {
    /// All that an approval would do and destroy, for somebody to confirm. Reads the database.
    pub fn approval_plan(&self, node: &str, asked: &Approve) -> Result<ApprovalPlan, AppError> {
        let node = self.find(node)?;
        let inventory = self.registry.inventory(&node.id)?;
        Ok(self.prepare(&node, &inventory, asked)?.shown)
    }

    /// Allows a node's disk to be written. Writes.
    pub fn approve(&self, node: &str, asked: &Approve, actor: &str, now: i64) -> Result<NodeDetail, AppError> {
        let node = self.find(node)?;
        let after = self.registry.approve(&node.id, now, |node, inventory| {
            let Prepared { plan, shown } = self.prepare(node, inventory, asked)?;
            confirm(&shown, asked.confirmed.as_deref(), inventory)?;
            Ok::<_, AppError>(Some(Approval {
                plan,
                name: asked.name.clone(),
                actor: actor.to_owned(),
            }))
        })?;
        info!(node = after.name, actor, plan = ?after.state.plan(), "approved");
        self.changed(&node.id);
        self.node(&node.id, now)
    }

    /// Approves by the first rule that fits. A rule that fits and cannot approve leaves the reason where people look.
    pub(super) fn approve_by_rule(&self, node: &Node, now: i64) -> Result<(), AppError> {
        if self.config.rules.is_empty() {
            return Ok(());
        }
        let mut obstacle = String::new();
        let after = self.registry.approve(&node.id, now, |node, inventory| {
            // Somebody may have been quicker.
            if node.state != State::Enrolled {
                return Ok::<_, AppError>(None);
            }
            if let Some(other) = self.registry.resembled(node) {
                obstacle = format!(
                    "it has much in common with {} and is not it without doubt, so no rule approves it: look at both first",
                    other.name
                );
                return Ok(None);
            }
            for rule in &self.config.rules {
                match self.by_rule(rule, node, inventory) {
                    Ok(None) => {}
                    Ok(Some(approval)) => return Ok(Some(approval)),
                    Err(why) => obstacle = format!("the rule {} {why}", rule.name),
                }
            }
            Ok(None)
        })?;
        if let Some(plan) = after.state.plan() {
            info!(node = after.name, ?plan, "approved by a rule");
        } else {
            self.registry.change_note(&node.id, &obstacle)?;
        }
        Ok(())
    }

    /// The approval by a rule; nothing where it does not fit, or why it fits and cannot approve.
    fn by_rule(&self, rule: &Rule, node: &Node, inventory: &Inventory) -> Result<Option<Approval>, String> {
        let asked = Approve {
            profile: rule.profile.clone(),
            ..Approve::default()
        };
        let name = self.profile_name(node, &asked);
        let Some(profile) = self.config.profiles.get(name) else {
            return Ok(None);
        };
        let (choice, second) = self
            .choose_disks(profile, None, inventory)
            .map_err(|why| format!("cannot choose a disk: {why}"))?;
        if !rule.when.hold(inventory, &choice) {
            return Ok(None);
        }
        let cannot = |why: String| format!("cannot approve it: {why}");
        let plan = self.plan(name, profile, &choice, second.as_ref(), inventory);
        let chosen = [Some(&plan.disk), plan.second.as_ref()];
        let chosen: Vec<_> = chosen.into_iter().flatten().collect();
        approval::by_rule(&node.id, inventory, &chosen, &self.registry.nodes()).map_err(cannot)?;
        self.can_be_installed(&node.name, &plan, inventory).map_err(cannot)?;
        Ok(Some(Approval {
            plan,
            name: None,
            actor: format!("rule {}", rule.name),
        }))
    }

    fn profile_name<'a>(&'a self, node: &'a Node, asked: &'a Approve) -> &'a str {
        let wanted = asked.profile.as_ref().or(node.profile.as_ref());
        wanted.unwrap_or(&self.config.default_profile)
    }

    fn prepare(&self, node: &Node, inventory: &Inventory, asked: &Approve) -> Result<Prepared, AppError> {
        let name = self.profile_name(node, asked);
        let profile = self.config.profiles.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.config.profiles.keys().map(String::as_str).collect();
            AppError::Refused(format!("there is no profile {name}; there are: {}", known.join(", ")))
        })?;
        if let Some(name) = asked.name.as_deref().filter(|name| !is_host_name(name)) {
            return Err(AppError::Invalid(format!(
                "{name:?} is no host name (a-z, 0-9, dash; at most 63)"
            )));
        }
        let disks = self.choose_disks(profile, asked.disk.as_deref(), inventory);
        let (choice, second) = disks.map_err(AppError::Refused)?;
        let plan = self.plan(name, profile, &choice, second.as_ref(), inventory);
        let called = asked.name.as_deref().unwrap_or(&node.name);
        self.can_be_installed(called, &plan, inventory)
            .map_err(AppError::Refused)?;
        // What the state does not allow is not shown as if it could be done.
        lifecycle::step(&node.state, &Event::Approve(plan.clone().into())).map_err(RegistryError::from)?;
        let nodes = self.registry.nodes();
        let chosen = [Some(&choice), second.as_ref()].into_iter().flatten();
        let shown = ApprovalPlan {
            node_id: node.id.clone(),
            node: node.name.clone(),
            name: called.to_owned(),
            profile: name.to_owned(),
            system: planned_system(profile, plan.confirmed.from.as_ref()),
            disks: chosen
                .map(|choice| planned_disk(choice, &node.id, inventory, &nodes))
                .collect::<Result<_, _>>()?,
            facts: approval::facts(inventory),
        };
        Ok(Prepared { plan, shown })
    }

    fn plan(
        &self,
        name: &str,
        profile: &Profile,
        choice: &Choice,
        second: Option<&Choice>,
        inventory: &Inventory,
    ) -> Plan {
        let mut plan = Plan {
            profile: name.to_owned(),
            disk: choice.disk.clone(),
            second: second.map(|second| second.disk.clone()),
            system: profile.system(),
            confirmed: Confirmed {
                from: self.comes_from(profile),
                contents: None,
            },
        };
        plan.confirmed.contents = approval::contents(&plan, inventory);
        plan
    }

    /// The image or the installer's medium that a profile takes now; nothing while the server has none.
    pub(super) fn comes_from(&self, profile: &Profile) -> Option<Pinned> {
        let pinned = |name: &str, version: &str| Pinned {
            name: name.into(),
            version: version.into(),
        };
        match &profile.source {
            Source::Image(image) | Source::CloudImage(image, _) => {
                let image = self.images.of_profile(image).ok()?;
                Some(pinned(&image.manifest.name, &image.manifest.version))
            }
            Source::Installer(installer) => {
                let medium = self.media.of(installer.os).ok()?;
                Some(pinned(installer.os.name, &medium.id))
            }
        }
    }
}

/// The image that was confirmed for a plan, whatever was imported since; the profile's where none was there then.
pub(super) fn confirmed_image(plan: Option<&Plan>, image: &Image) -> Image {
    match plan.and_then(|plan| plan.confirmed.from.as_ref()) {
        Some(from) => Image {
            name: from.name.clone(),
            version: Some(from.version.clone()),
            ..image.clone()
        },
        None => image.clone(),
    }
}

/// Compares what was confirmed with what would be done.
fn confirm(now: &ApprovalPlan, confirmed: Option<&ApprovalPlan>, inventory: &Inventory) -> Result<(), AppError> {
    let look = format!(
        "look at it again (provisioner node approve {0}, or GET /api/v1/nodes/{0}/plan)",
        now.node
    );
    match confirmed {
        Some(confirmed) if confirmed == now => Ok(()),
        Some(confirmed) => Err(AppError::Refused(format!(
            "this is not what was confirmed: {}; nothing was done, {look}",
            approval::changes(confirmed, now).join("; ")
        ))),
        None => match approval::unconfirmed(now, inventory) {
            None => Ok(()),
            Some(lost) => Err(AppError::Refused(format!(
                "{lost}, and nobody has confirmed that it may be lost: {look}, and send what is shown there back as \
                 `confirmed`"
            ))),
        },
    }
}

fn planned_system(profile: &Profile, from: Option<&Pinned>) -> PlannedSystem {
    let (by, name) = match (&profile.source, profile.system()) {
        (Source::Image(image), _) => ("image", image.name.clone()),
        (Source::CloudImage(image, _), _) => ("cloud-image", image.name.clone()),
        (Source::Installer(_), System::Installer(os) | System::CloudImage(os)) => ("installer", os),
        (Source::Installer(installer), System::Image) => ("installer", installer.os.name.into()),
    };
    PlannedSystem {
        by: by.into(),
        name,
        version: from.map(|from| from.version.clone()),
    }
}

fn planned_disk(
    choice: &Choice,
    node: &str,
    inventory: &Inventory,
    nodes: &[Arc<Node>],
) -> Result<PlannedDisk, AppError> {
    let disk = disks::find(&choice.disk, inventory)
        .ok_or_else(|| AppError::Invalid(format!("the disk {} cannot be told from another one", choice.name)))?;
    Ok(PlannedDisk {
        name: choice.name.clone(),
        disk: choice.disk.clone(),
        model: disk.model.clone(),
        why: choice.why.clone(),
        holds: disks::contents_in_words(disk).into(),
        contents: disk.contents.clone(),
        empty: disks::is_empty(disk),
        system_of: approval::system_of(disk, node, nodes).map(|node| node.name.clone()),
    })
}
