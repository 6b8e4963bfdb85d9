// SPDX-License-Identifier: Apache-2.0
//! Machines that a distribution's own installer installs: what they are given, and what they tell.
//!
//! All of it is made anew at every question, from what is stored: an installer that asks twice is answered twice.

use std::net::IpAddr;
use std::sync::Arc;

use kickstart::site::Stage as Told;

use kickstart::{Answer, AnswerFile, Os};
use provisioner_api::{FailCause, Inventory, Progress, Stage};
use pxe::argument::Argument;
use pxe::bootfile::Server;
use tracing::{info, warn};

use super::{App, AppError, Who};
use crate::config::{Cache, Installer, Profile, Source};
use crate::events;
use crate::install::{self, Machine, Services};
use crate::lifecycle::{Event, Plan, System};
use crate::orders;
use crate::registry::{Entry, Node};

mod networks;

/// Lines of an installer's log that are kept: as many as its script sends.
const LOG_LINES: usize = 60;
/// Letters of one of them.
const LOG_LINE: usize = 300;
/// Letters of an installer's reason, and of what it is at: they stand on pages and screens.
const WORDS: usize = 200;

/// What a loader starts, to install a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The operating system.
    pub system: &'static str,
    /// Path of the kernel on this server.
    pub kernel: String,
    /// Path of the initramfs.
    pub initrd: String,
    /// The kernel's arguments.
    pub arguments: Vec<Argument>,
}

impl App {
    /// What puts the system of a plan on its disk now, or why nothing can; `base` is the server's plain HTTP.
    pub(super) fn source(
        &self,
        plan: Option<&Plan>,
        profile: Option<&Profile>,
        base: &str,
    ) -> Result<orders::Source, String> {
        let profile = profile.ok_or("its profile is not in the configuration any more; approve it for another one")?;
        if plan.is_some_and(|plan| plan.system != profile.system()) {
            return Err(OTHER_SYSTEM.into());
        }
        match &profile.source {
            Source::Image(image) => {
                self.is_for_role(image, profile)?;
                self.images.for_order(image, base).map(orders::Source::Image)
            }
            Source::Installer(installer) => {
                self.medium(installer.os)?;
                Ok(orders::Source::Installer {
                    disk_size: install::disk_size(installer),
                })
            }
        }
    }

    /// Whether a machine can be installed by this plan; names the field that stands against it.
    pub(super) fn can_be_installed(&self, name: &str, plan: &Plan, inventory: &Inventory) -> Result<(), String> {
        let profile = self.config.profiles.get(&plan.profile);
        let Some((profile, installer)) = profile.and_then(|profile| Some((profile, profile.installer()?))) else {
            return Ok(());
        };
        let machine = Machine {
            name,
            inventory,
            disk: &plan.disk,
            second: plan.second.as_ref(),
        };
        install::specify(profile, installer, &machine, self.services(profile, installer, None)?).map(drop)
    }

    /// What the loader of the machine that asks starts, to install it; or why nothing, in words for its screen.
    pub fn start_installer(&self, who: &Who<'_>, server: Server, now: i64) -> Result<Start, String> {
        let mac = who.mac.map(|mac| mac.to_string()).unwrap_or_default();
        let nodes = self.registry.by_card(&mac, who.uuid);
        let [node] = nodes.as_slice() else {
            return Err("this machine cannot be told from another one; give each a card of its own".into());
        };
        let Given { os, medium, answer } = self.given(node, server, now)?;
        let boot = answer.boot.ok_or_else(|| format!("{} has no installer", os.name))?;
        let arguments = boot.arguments.into_iter().map(Argument::new).collect::<Result<_, _>>();
        Ok(Start {
            system: os.name,
            kernel: format!("{medium}/{}", boot.kernel),
            initrd: format!("{medium}/{}", boot.initrd),
            arguments: arguments.map_err(|unfit| unfit.to_string())?,
        })
    }

    /// An answer file of the installation with this token, for whoever asks at this address of ours.
    pub fn answer_file(
        &self,
        token: &str,
        name: &str,
        (from, server): (IpAddr, Server),
        now: i64,
    ) -> Result<AnswerFile, AppError> {
        let node = self.installing(token, from, now)?;
        let given = self.given(&node, server, now).map_err(|why| {
            // The installer can only say that there was no file; the list of events says why.
            warn!(node = node.name, why, "making the answers of an installer");
            AppError::Refused(why)
        })?;
        let file = given.answer.files.into_iter().find(|(known, _)| *known == name);
        file.map(|(_, file)| file).ok_or_else(no_installation)
    }

    /// The installer with this token has come to a stage, named by its word. Writes.
    pub fn installer_tells(&self, token: &str, word: &str, from: IpAddr, now: i64) -> Result<(), AppError> {
        let node = self.installing(token, from, now)?;
        let stage = Told::from_word(word.trim())
            .ok_or_else(|| AppError::Invalid(format!("{:?} is no stage of an installation", words(word, WORDS))))?;
        let os = node.state.installer().unwrap_or_default();
        let before = self.presence.of(&node.id).and_then(|seen| seen.progress);
        let before = before.and_then(|before| under_way(before.stage));
        match stage {
            Told::Pre => _ = self.registry.apply_installers(&node.id, &Event::Begun, os, now)?,
            Told::Done => _ = self.registry.apply_installers(&node.id, &Event::Written, os, now)?,
            // Said twice, or after what comes later: nothing new.
            _ if before >= Some(stage) => return Ok(()),
            Told::Partitioning | Told::Packages | Told::Late => {
                let entry = Entry::new("installing", stage.word(), events::INSTALLER);
                self.registry.write_down(Some(&node.id), &entry, now)?;
            }
        }
        info!(node = node.name, stage = stage.word(), "its installer tells");
        self.presence.update(&node.id, |seen| {
            seen.progress = Some(Progress {
                boot_id: String::new(),
                stage: shown(stage),
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
        let mut lines = told
            .lines()
            .map(|line| words(line, LOG_LINE))
            .filter(|line| !line.is_empty());
        let detail = lines
            .next()
            .map_or_else(|| "it said no reason".into(), |line| words(&line, WORDS));
        let lines: Vec<String> = lines.collect();
        let log = &lines[lines.len().saturating_sub(LOG_LINES)..];
        let cause = FailCause::Installer {
            system: node.state.installer().unwrap_or_default().to_owned(),
            detail,
        };
        let after = self.registry.installer_failed(&node.id, cause, log, now)?;
        info!(node = node.name, state = %after.state, "its installer stopped");
        self.presence.update(&node.id, |seen| seen.progress = None);
        self.changed(&node.id);
        Ok(())
    }

    /// The node whose installer has this token, which has just given a sign of life.
    fn installing(&self, token: &str, from: IpAddr, now: i64) -> Result<Arc<Node>, AppError> {
        let node = self.registry.by_installation(token, now)?.ok_or_else(no_installation)?;
        self.presence.heard(&node.id, from, now);
        Ok(node)
    }

    /// All that a node's installer is given now.
    fn given(&self, node: &Node, server: Server, now: i64) -> Result<Given, String> {
        let plan = node.state.plan().ok_or("nobody has approved this machine")?;
        let profile = self.config.profiles.get(&plan.profile);
        let (profile, installer) = profile
            .and_then(|profile| Some((profile, profile.installer()?)))
            .filter(|(_, installer)| plan.system == System::Installer(installer.os.name.to_owned()))
            .ok_or(OTHER_SYSTEM)?;
        let broken = |error: crate::registry::RegistryError| format!("the server could not look this up: {error}");
        let installation = self.registry.installation(&node.id).map_err(broken)?;
        let installation = installation
            .filter(|installation| installation.until > now)
            .ok_or("this installation took too long; it will be begun anew")?;
        let inventory = self.registry.inventory(&node.id).map_err(broken)?;
        let machine = Machine {
            name: &node.name,
            inventory: &inventory,
            disk: &plan.disk,
            second: plan.second.as_ref(),
        };
        let templates = self.templates.now()?;
        let services = self.services(profile, installer, Some(server.address.into()))?;
        let spec = install::specify(profile, installer, &machine, services)?;
        let medium = self.medium(installer.os)?;
        let controller = format!("{}:{}", server.address, self.api_port());
        let node_init = self.node_init(node, &installation.join, &controller, &server.base_url())?;
        let site = install::site(&server.base_url(), &installation.token, &medium, node_init)
            .map_err(|unfit| unfit.to_string())?;
        let answer =
            kickstart::render(&templates, installer.os, &spec, &site).map_err(|refused| refused.to_string())?;
        Ok(Given {
            os: installer.os,
            medium,
            answer,
        })
    }

    pub(super) fn services(
        &self,
        profile: &Profile,
        installer: &Installer,
        server: Option<IpAddr>,
    ) -> Result<Services, String> {
        Ok(Services {
            role: self.role(profile, installer.os.packages)?,
            proxy: server.and_then(|server| self.package_proxy(server)),
            through_ours: self.config.packages.cache == Cache::Here,
            server,
            networks: self.networks(),
        })
    }

    /// Where the installer's kernel and all else of its medium is: a path on this server without a slash at the end.
    fn medium(&self, os: &'static Os) -> Result<String, String> {
        let medium = self.media.of(os).map_err(|none| none.to_string())?;
        Ok(medium.path.clone())
    }
}

/// What is said where a plan and its profile do not agree.
const OTHER_SYSTEM: &str =
    "its profile has another system now than when it was approved; retire it and approve it anew";

/// What an installer is given.
struct Given {
    os: &'static Os,
    medium: String,
    answer: Answer,
}

fn no_installation() -> AppError {
    AppError::NotFound("there is no such installation, or it is over".into())
}

/// The stage that people see.
fn shown(stage: Told) -> Stage {
    match stage {
        Told::Pre => Stage::Installer,
        Told::Partitioning => Stage::Partitioning,
        Told::Packages => Stage::Packages,
        Told::Late => Stage::SettingUp,
        Told::Done => Stage::Rebooting,
    }
}

/// The stage of an installer that people see, if it is one of those between its start and its end.
fn under_way(seen: Stage) -> Option<Told> {
    let stages = [Told::Pre, Told::Partitioning, Told::Packages, Told::Late];
    stages.into_iter().find(|stage| shown(*stage) == seen)
}

/// What an installer says, fit for a page.
fn words(text: &str, letters: usize) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(letters).collect()
}

#[cfg(test)]
mod tests;
