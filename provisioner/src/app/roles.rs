// SPDX-License-Identifier: Apache-2.0
//! What nodes serve as, and how an installer makes one of a system.

use kickstart::families::{self, Packages};
use kickstart::site::NodeInit;
use kickstart::spec;
use provisioner_api::{NodeRole, RoleCheck};

use super::App;
use crate::config::{Image, Profile};
use crate::lifecycle::{Plan, System};
use crate::node_init::{self, NodeToBe};
use crate::registry::Node;

impl App {
    /// What a profile's role is made of where packages are installed like this, or why it cannot be.
    pub fn role(&self, profile: &Profile, packages: Packages) -> Result<spec::Role, String> {
        let role = self
            .config
            .roles
            .named(&profile.role)
            .map_err(|none| format!("role: {none}"))?;
        role.on(packages).cloned().map_err(|none| format!("role: {none}"))
    }

    /// What a node of this profile must hold to be ready.
    pub(super) fn node_role(&self, profile: &Profile, plan: &Plan) -> Option<NodeRole> {
        let role = self.config.roles.named(&profile.role).ok()?;
        let packages = match &plan.system {
            // Images of ours are Debian's.
            System::Image => Packages::Apt,
            System::Installer(os) | System::CloudImage(os) => families::named(os)?.packages,
        };
        let checks = role.checks.iter().map(|check| RoleCheck {
            name: check.name.to_string(),
            command: check.command.to_string(),
            within: check.within,
        });
        Some(NodeRole {
            name: role.name.to_string(),
            guests: role.guests.is_some(),
            units: role.on(packages).ok()?.units.iter().map(ToString::to_string).collect(),
            checks: checks.collect(),
        })
    }

    /// Whether the image of a profile is there and was made for such a profile: ours for its role, a distribution's
    /// ready-made one for its cloud-init.
    pub(super) fn is_for_profile(&self, image: &Image, profile: &Profile) -> Result<(), String> {
        let stored = self.images.of_profile(image)?;
        match (profile.installer(), stored.manifest.cloud_init) {
            (None, true) => {
                return Err(format!(
                    "the image {} is a distribution's ready-made one: name in the profile what its cloud-init sets up, such \
                     as installer = \"cloud-debian\"",
                    image.name
                ));
            }
            (Some(installer), false) => {
                return Err(format!(
                    "the image {} was not made for cloud-init, and {} is set up by it: make one of a ready-made image with \
                     `images build cloud`, or take installer out of the profile",
                    image.name, installer.os.name
                ));
            }
            // What such a node serves as comes with the seed.
            (Some(_), true) => return Ok(()),
            (None, false) => {}
        }
        let (built_for, wanted) = (&stored.manifest.role, &profile.role);
        if built_for == wanted {
            return Ok(());
        }
        Err(format!(
            "the image {} is for the role {built_for}, and the profile wants {wanted}; build one with: images build node --role {wanted}",
            image.name
        ))
    }

    /// What an installer puts on the disk of a node, which joins with this secret. `controller` is `HOST:PORT` of the
    /// API and `base` plain HTTP without a slash at its end, both as the machine reaches them.
    pub fn node_init(&self, node: &Node, join: &str, controller: &str, base: &str) -> Result<NodeInit, String> {
        let to_be = NodeToBe {
            name: &node.name,
            controller,
            pin: &self.key.pin,
            join,
            mark: node.mark.as_deref(),
        };
        node_init::node_init(&to_be, &self.images.programs()?, base)
    }
}
