// SPDX-License-Identifier: Apache-2.0
//! Templates of answer files: which are in force, and what a machine would get of them. Nothing that is shown here is
//! of an installation: tokens, secrets and private files have words in their places.

use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError};

use kickstart::site::Site;
use kickstart::spec::{Checked, File, Spec};
use kickstart::words::Contents;
use kickstart::{Broken, Os, Templates};
use provisioner_api::{FirmwareType, TemplateAnswer, TemplateEntry, TemplateList, TemplateTrial};
use pxe::bootfile::Server;
use tracing::{info, warn};

use super::{App, AppError};
use crate::config::{Installer, Profile};
use crate::images::StoredProgram;
use crate::install::{self, Machine, Networks, Services};
use crate::node_init::{self, NodeToBe};
use crate::registry::Entry;
use crate::{events, templates};

/// Stands in a URL for the word that is one installation's alone.
const TOKEN: &str = "TOKEN-OF-THE-INSTALLATION";
/// Stands for the secret by which an installed system joins.
const JOIN: &str = "SECRET-OF-THE-INSTALLATION";
/// Stands for what is in a private file.
const PRIVATE: &str = "(what is in a private file is not shown)\n";
/// The id of a medium that is not there yet.
const NO_MEDIUM: &str = "/media/NOT-IMPORTED-YET";
/// A machine that nobody has.
const ANY: &str = "any-machine";
/// An address that nobody has (RFC 5737), where no segment is served yet.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A machine that might be installed.
struct Example<'a> {
    machine: String,
    profile: &'a str,
    os: &'static Os,
    spec: Checked,
    site: Site,
}

impl App {
    /// The templates in force.
    pub fn list_templates(&self) -> TemplateList {
        let set = self.templates.now();
        let site = |path: &str| {
            set.as_ref()
                .is_ok_and(|set| set.overridden().iter().any(|own| own == path))
        };
        let mut paths: Vec<String> = Templates::paths().into_keys().collect();
        // A site may bring files that its own templates include.
        let own = set
            .as_ref()
            .map_or_else(|_| Vec::new(), |set| set.overridden().to_vec());
        paths.extend(own);
        paths.sort();
        paths.dedup();
        TemplateList {
            folder: self.templates.folder().display().to_string(),
            templates: paths
                .into_iter()
                .map(|path| TemplateEntry {
                    site: site(&path),
                    path,
                })
                .collect(),
            refused: self.templates.refused().iter().map(templates::said).collect(),
        }
    }

    /// Reads the site's templates again; what is wrong with them changes nothing. Writes.
    pub fn reload_templates(&self, now: i64) {
        let (kind, detail) = match self.templates.reload() {
            Ok(Ok(0)) => ("templates-loaded", "the built-in ones".to_owned()),
            Ok(Ok(files)) => (
                "templates-loaded",
                format!("{files} of the site's own above the built-in ones"),
            ),
            Ok(Err(wrong)) => {
                for broken in &wrong {
                    warn!(broken = templates::said(broken), "a template is refused");
                }
                ("templates-refused", all_said(&wrong))
            }
            Err(error) => ("templates-refused", format!("{error:#}")),
        };
        info!(kind, detail, "templates");
        let entry = Entry::new(kind, detail, events::PROVISIONER);
        if let Err(error) = self.registry.write_down(None, &entry, now) {
            warn!(%error, "writing down that templates were read");
        }
    }

    /// What a machine would get.
    pub fn render_templates(&self, trial: &TemplateTrial) -> Result<TemplateAnswer, AppError> {
        let example = self.example(trial)?;
        let set = self.tried(trial)?;
        let Example { os, spec, site, .. } = &example;
        let answer =
            kickstart::render(&set, os, spec, site).map_err(|refused| AppError::Invalid(refused.to_string()))?;
        let arguments = answer.boot.map_or_else(Vec::new, |boot| boot.arguments);
        let files = answer.files.into_iter();
        let files = files.map(|(name, file)| (name.to_owned(), file.text)).collect();
        Ok(example.answer(arguments, files))
    }

    /// What the site's templates change in what a machine gets.
    pub fn diff_templates(&self, trial: &TemplateTrial) -> Result<TemplateAnswer, AppError> {
        let example = self.example(trial)?;
        let site = self.tried(trial)?;
        let built_in = Templates::built_in().map_err(|broken| AppError::Internal(broken.into()))?;
        let changes = kickstart::diff((&built_in, &site), example.os, &example.spec, &example.site);
        let changes = changes.map_err(|refused| AppError::Invalid(refused.to_string()))?;
        let files = changes.into_iter().map(|(name, change)| (name.to_owned(), change));
        let files = files.collect();
        Ok(example.answer(Vec::new(), files))
    }

    /// The templates that are asked about: those that were sent, or those in force.
    fn tried(&self, trial: &TemplateTrial) -> Result<Arc<Templates>, AppError> {
        match &trial.overrides {
            None => self.templates.now().map_err(AppError::Refused),
            Some(files) => self
                .templates
                .tried(files)
                .map(Arc::new)
                .map_err(|wrong| AppError::Invalid(all_said(&wrong))),
        }
    }

    fn example(&self, trial: &TemplateTrial) -> Result<Example<'_>, AppError> {
        let node = trial.node.as_ref().map(|name| self.find(name)).transpose()?;
        let plan = node.as_ref().and_then(|node| node.state.plan());
        let own = plan.map(|plan| &plan.profile);
        let own = own.or(node.as_ref().and_then(|node| node.profile.as_ref()));
        let name = trial.profile.as_ref().or(own).unwrap_or(&self.config.default_profile);
        let (name, profile) = self.config.profiles.get_key_value(name).ok_or_else(|| {
            let known: Vec<&str> = self.config.profiles.keys().map(String::as_str).collect();
            AppError::Invalid(format!("there is no profile {name}; there are: {}", known.join(", ")))
        })?;
        let installer = profile.installer().ok_or_else(|| {
            AppError::Invalid(format!(
                "the profile {name} writes an image, for which there are no answer files; name one with an installer: \
                 --profile"
            ))
        })?;
        let inventory = match &node {
            Some(node) => self.registry.inventory(&node.id)?,
            None => install::made_up(FirmwareType::Uefi64),
        };
        let (disk, second) = if let Some(plan) = plan.filter(|plan| plan.profile == *name) {
            (plan.disk.clone(), plan.second.clone())
        } else {
            let disks = self.choose_disks(profile, None, &inventory);
            let (choice, second) = disks.map_err(AppError::Invalid)?;
            (choice.disk, second.map(|second| second.disk))
        };
        let machine = Machine {
            name: node.as_ref().map_or(ANY, |node| node.name.as_str()),
            inventory: &inventory,
            disk: &disk,
            second: second.as_ref(),
        };
        // A machine that nobody has can be at an address that nobody has.
        let networks = if node.is_some() {
            self.networks()
        } else {
            Networks::made_up()
        };
        let (spec, site) = self
            .without_secrets(profile, installer, &machine, networks)
            .map_err(AppError::Invalid)?;
        Ok(Example {
            machine: machine.name.to_owned(),
            profile: name,
            os: installer.os,
            spec,
            site,
        })
    }

    /// Specification and site of a machine, without what is secret in them.
    fn without_secrets(
        &self,
        profile: &Profile,
        installer: &Installer,
        machine: &Machine<'_>,
        networks: Networks,
    ) -> Result<(Checked, Site), String> {
        let server = self.somewhere();
        let services = Services {
            networks,
            ..self.services(profile, installer, Some(server.address.into()))?
        };
        let spec = install::specify(profile, installer, machine, services)?;
        let mut spec: Spec = spec.spec().clone();
        hide(&mut spec.role.files)?;
        let spec = spec.check().map_err(|wrong| {
            let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            lines.join("; ")
        })?;
        let to_be = NodeToBe {
            name: machine.name,
            controller: &format!("{}:{}", server.address, self.api_port()),
            pin: &self.key.pin,
            join: JOIN,
            mark: Some("a1b2c3"),
        };
        let programs = self.images.programs().unwrap_or_else(|_| no_programs());
        let mut node_init = node_init::node_init(&to_be, &programs, &server.base_url())?;
        hide(&mut node_init.files)?;
        let medium = self.media.of(installer.os).map(|medium| medium.path.clone());
        let medium = medium.unwrap_or_else(|_| NO_MEDIUM.into());
        let site = install::site(&server.base_url(), TOKEN, &medium, node_init).map_err(|unfit| unfit.to_string())?;
        Ok((spec, site))
    }

    /// This server as some machine reaches it.
    fn somewhere(&self) -> Server {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let served = segments.values().find(|segment| segment.serves);
        Server {
            address: served.map_or(NOWHERE, |segment| segment.server),
            http_port: self.config.ports.http,
        }
    }
}

impl Example<'_> {
    fn answer(self, arguments: Vec<String>, files: std::collections::BTreeMap<String, String>) -> TemplateAnswer {
        TemplateAnswer {
            machine: self.machine,
            profile: self.profile.to_owned(),
            os: self.os.name.to_owned(),
            arguments,
            files,
        }
    }
}

/// Puts words in the place of what only root may read.
fn hide(files: &mut [File]) -> Result<(), String> {
    for file in files.iter_mut().filter(|file| file.private) {
        file.contents = Contents::new(PRIVATE).map_err(|unfit| unfit.to_string())?;
    }
    Ok(())
}

/// Stand for the programs where no RAM environment with them was imported yet.
fn no_programs() -> [StoredProgram; 2] {
    ["node-init", "node-init-libvirt"].map(|name| StoredProgram {
        name: name.into(),
        path: std::path::PathBuf::new(),
        sha256: "0".repeat(64),
    })
}

fn all_said(wrong: &[Broken]) -> String {
    wrong.iter().map(templates::said).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
