// SPDX-License-Identifier: Apache-2.0
//! Machines that a distribution's own installer installs, or its ready-made image: what they are given, and what they
//! tell.
//!
//! All of it is made anew at every question, from what is stored: an installer that asks twice is answered twice.

use std::net::{IpAddr, SocketAddr};

use kickstart::{Answer, AnswerFile, Os};
use provisioner_api::Inventory;
use pxe::argument::Argument;
use pxe::bootfile::Server;
use tracing::warn;

mod networks;
mod seed;
mod told;

use super::approval::confirmed_image;
use super::{App, AppError, Who};
use crate::config::{Cache, Installer, Profile, Source};
use crate::install::{self, Machine, Services};
use crate::lifecycle::Plan;
use crate::orders;
use crate::registry::{Installation, Node, RegistryError};

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
    /// What puts the system of a node's plan on its disk now, or why nothing can; `local` is the address at which the node
    /// reached this server.
    pub(super) fn source(
        &self,
        node: &Node,
        profile: Option<&Profile>,
        local: IpAddr,
    ) -> Result<orders::Source, String> {
        let profile = profile.ok_or("its profile is not in the configuration any more; approve it for another one")?;
        if node.state.plan().is_some_and(|plan| plan.system != profile.system()) {
            return Err(OTHER_SYSTEM.into());
        }
        let base = format!("http://{}", SocketAddr::new(local, self.config.ports.http));
        match &profile.source {
            Source::Image(image) => {
                let image = &confirmed_image(node.state.plan(), image);
                self.is_for_profile(image, profile)?;
                self.images.for_order(image, &base).map(orders::Source::Image)
            }
            Source::CloudImage(image, _) => {
                let image = &confirmed_image(node.state.plan(), image);
                self.is_for_profile(image, profile)?;
                let image = self.images.for_order(image, &base)?;
                Ok(orders::Source::Image(orders::Image {
                    disk_size: install::with_seed(image.disk_size),
                    seed: self.seed(node, local)?,
                    ..image
                }))
            }
            Source::Installer(installer) => {
                self.medium(installer.os, node.state.plan())?;
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
        let Given { os, medium, answer } = self.given(node, server, &self.current(node, now)?)?;
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
        if node.state.installer().is_none() {
            // A seed goes to its machine with its order, and nowhere else.
            return Err(no_installation());
        }
        let given = self.current(&node, now);
        let given = given.and_then(|installation| self.given(&node, server, &installation));
        let given = given.map_err(|why| {
            // The installer can only say that there was no file; the list of events says why.
            warn!(node = node.name, why, "making the answers of an installer");
            AppError::Refused(why)
        })?;
        let file = given.answer.files.into_iter().find(|(known, _)| *known == name);
        file.map(|(_, file)| file).ok_or_else(no_installation)
    }

    /// A node's installation, while it is not over.
    fn current(&self, node: &Node, now: i64) -> Result<Installation, String> {
        let installation = self.registry.installation(&node.id).map_err(|error| broken(&error))?;
        installation
            .filter(|installation| installation.until > now)
            .ok_or_else(|| "this installation took too long; it will be begun anew".into())
    }

    /// All that a node's installer or cloud-init is given.
    fn given(&self, node: &Node, server: Server, installation: &Installation) -> Result<Given, String> {
        let plan = node.state.plan().ok_or("nobody has approved this machine")?;
        let profile = self.config.profiles.get(&plan.profile);
        let (profile, installer) = profile
            .filter(|profile| plan.system == profile.system())
            .and_then(|profile| Some((profile, profile.installer()?)))
            .ok_or(OTHER_SYSTEM)?;
        let inventory = self.registry.inventory(&node.id).map_err(|error| broken(&error))?;
        let machine = Machine {
            name: &node.name,
            inventory: &inventory,
            disk: &plan.disk,
            second: plan.second.as_ref(),
        };
        let templates = self.templates.now()?;
        let services = self.services(profile, installer, Some(server.address.into()))?;
        let spec = install::specify(profile, installer, &machine, services)?;
        let medium = self.medium(installer.os, Some(plan))?;
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
    /// A ready-made image has all that with it.
    fn medium(&self, os: &'static Os, plan: Option<&Plan>) -> Result<String, String> {
        if !os.has_installer() {
            return Ok("/images".into());
        }
        let medium = match plan.and_then(|plan| plan.confirmed.from.as_ref()) {
            None => self.media.of(os).map_err(|none| none.to_string())?,
            Some(confirmed) => {
                let held = self.media.get(&confirmed.version);
                held.filter(|medium| medium.os == os && medium.problem.is_none())
                    .ok_or_else(|| {
                        format!(
                            "the medium of {} that was confirmed ({}) cannot be used any more: import it again, or retire the \
                             node and approve it anew",
                            os.name, confirmed.version
                        )
                    })?
            }
        };
        Ok(medium.path.clone())
    }
}

/// What is said where a plan and its profile do not agree.
const OTHER_SYSTEM: &str =
    "its profile has another system now than when it was approved; retire it and approve it anew";

/// What an installer, or the cloud-init of a ready-made image, is given.
struct Given {
    os: &'static Os,
    medium: String,
    answer: Answer,
}

fn broken(error: &RegistryError) -> String {
    format!("the server could not look this up: {error}")
}

fn no_installation() -> AppError {
    AppError::NotFound("there is no such installation, or it is over".into())
}

#[cfg(test)]
mod tests;
