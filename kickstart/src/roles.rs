// SPDX-License-Identifier: Apache-2.0
//! Roles: what a node serves as when its system is there, the same for images and installers.
//!
//! A role is a folder: `role.toml` ([`written`]) and the files that it names. All are read, filled in and checked when
//! the set is made, so that what is asked of it later cannot fail: a site whose role is broken keeps what it had.
//! Every role has what the role [`PLAIN`] has and says only what it adds. docs/roles.md says how one is added.

use std::collections::BTreeMap;

use rust_embed::RustEmbed;

use crate::families::Packages;
use crate::spec;
use crate::templates::Broken;
use crate::words::{Command, Line, Name};

mod made;
#[cfg(test)]
mod tests;
mod written;

pub use made::CAPSULES;

/// The role that is in all others.
pub const PLAIN: &str = "plain";

/// The role of a node whose profile names none.
pub const DEFAULT: &str = "libvirt";

/// The file of a role's folder that says what the role is.
pub const FILE: &str = "role.toml";

/// The files of a role's folder: paths below it, and what they hold.
pub type Folder = BTreeMap<String, String>;

#[derive(RustEmbed)]
#[folder = "roles"]
struct BuiltIn;

/// A set of roles, all of which can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeMap<String, Role>);

/// What a node serves as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name: that of its folder.
    pub name: Name,
    /// What it is, for people.
    pub description: Line,
    /// What runs guests there.
    pub guests: Option<Guests>,
    /// What must hold beside that for its node to be ready.
    pub checks: Vec<Check>,
    on: BTreeMap<Packages, spec::Role>,
}

/// What runs guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guests {
    /// libvirt, with QEMU.
    Libvirt,
}

/// A command that succeeds when a node is ready; what it prints first is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is about.
    pub name: Name,
    /// For `sh -c`, on the node, as root.
    pub command: Command,
    /// Seconds that it may take.
    pub within: u32,
}

/// Why a machine cannot have a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRole {
    /// There is none of this name.
    #[error("there is no role {name}; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// It does not say what it is made of where packages are installed like this.
    #[error("the role {name} says nothing for {packages}; give its {FILE} a section [{packages}]")]
    Elsewhere {
        /// The role.
        name: String,
        /// What installs packages.
        packages: &'static str,
    },
}

impl Roles {
    /// Those that are built in.
    pub fn built_in() -> Result<Self, Vec<Broken>> {
        Self::with(&BTreeMap::new())
    }

    /// Those that are built in, with others by the names of their folders: beside them, or in the place of one. All
    /// that is wrong is told, not only the first.
    pub fn with(folders: &BTreeMap<String, Folder>) -> Result<Self, Vec<Broken>> {
        let mut all = built_in();
        all.extend(folders.iter().map(|(name, folder)| (name.clone(), folder.clone())));
        made::make(&all).map(Self)
    }

    /// The role of this name.
    pub fn named(&self, name: &str) -> Result<&Role, NoRole> {
        self.0.get(name).ok_or_else(|| NoRole::Unknown {
            name: name.to_owned(),
            known: self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    /// All, by name.
    pub fn all(&self) -> impl Iterator<Item = &Role> {
        self.0.values()
    }
}

impl Role {
    /// What it is made of where packages are installed like this.
    pub fn on(&self, packages: Packages) -> Result<&spec::Role, NoRole> {
        self.on.get(&packages).ok_or_else(|| NoRole::Elsewhere {
            name: self.name.to_string(),
            packages: packages.word(),
        })
    }
}

fn built_in() -> BTreeMap<String, Folder> {
    let mut all: BTreeMap<String, Folder> = BTreeMap::new();
    for path in BuiltIn::iter() {
        if let (Some((role, file)), Some(found)) = (path.split_once('/'), BuiltIn::get(&path)) {
            let text = String::from_utf8_lossy(&found.data).into_owned();
            all.entry(role.to_owned()).or_default().insert(file.to_owned(), text);
        }
    }
    all
}
