// SPDX-License-Identifier: Apache-2.0
//! A role as people write it.

use serde::Deserialize;

use super::Guests;
use crate::families::Packages;
use crate::words::{Command, FilePath, Line, Name, PackageName, UnitName};

/// `role.toml`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) description: Line,
    pub(super) guests: Option<Guests>,
    /// What templates know as `values`.
    #[serde(default)]
    pub(super) values: toml::Table,
    pub(super) apt: Option<Kind>,
    pub(super) dnf: Option<Kind>,
    pub(super) zypper: Option<Kind>,
    #[serde(default)]
    pub(super) files: Vec<File>,
    #[serde(default)]
    pub(super) checks: Vec<Check>,
    /// Files that make a rebuilt node the same node.
    #[serde(default)]
    pub(super) capsule: Vec<FilePath>,
}

/// `[apt]`, `[dnf]`, `[zypper]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Kind {
    pub(super) packages: Vec<PackageName>,
    pub(super) units: Vec<UnitName>,
}

/// `[[files]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) path: FilePath,
    /// The file of the folder that it is made from.
    pub(super) from: String,
    /// Where packages are installed like this, and nowhere else.
    pub(super) only: Option<Vec<Packages>>,
    #[serde(default)]
    pub(super) executable: bool,
    #[serde(default)]
    pub(super) private: bool,
}

/// `[[checks]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    pub(super) name: Name,
    pub(super) command: Command,
    pub(super) within: Option<u32>,
}

impl Written {
    /// What it adds where packages are installed like this; `None` where it cannot be.
    pub(super) fn kind(&self, packages: Packages) -> Option<&Kind> {
        match packages {
            Packages::Apt => self.apt.as_ref(),
            Packages::Dnf => self.dnf.as_ref(),
            Packages::Zypper => self.zypper.as_ref(),
        }
    }
}
