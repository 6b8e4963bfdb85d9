// SPDX-License-Identifier: Apache-2.0
//! What the server adds to a machine's specification: where things are fetched from, and whom the installer calls.

use serde::{Deserialize, Serialize};

use crate::spec::File;
use crate::words::{FilePath, Name, Sha256, UnitName, Url};

/// Where things are, for one machine and one installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// What no other installation is called: cloud-init does once for it what it does once. No secret.
    pub installation: Name,
    /// Folder of the answer files: each is fetched from here by its name in [`crate::Answer::files`].
    pub answers: Url,
    /// Folder of what the operating system's medium holds: kernel, initramfs, and what the installer fetches later.
    pub media: Url,
    /// Whom the installer calls.
    pub hooks: Hooks,
    /// What calls home when the system starts for the first time.
    pub node_init: NodeInit,
}

/// Whom the installer calls. All bodies are plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Gets a [`Stage`]'s word by POST when the stage begins.
    pub progress: Url,
    /// Gets a POST when the installation has failed: the reason in the first line, then the last lines of the log.
    pub failure: Url,
    /// Gets what Subiquity itself tells, in its own JSON, by POST.
    pub webhook: Url,
}

/// How far an installer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It runs and has read its answer file.
    Pre,
    /// It writes the partition tables.
    Partitioning,
    /// It unpacks packages.
    Packages,
    /// The system is there; users, role and node-init are added.
    Late,
    /// All is done; it restarts.
    Done,
}

/// What makes a machine a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeInit {
    /// Its programs.
    pub programs: Vec<Program>,
    /// Their units and their configuration.
    pub files: Vec<File>,
    /// The units that start them.
    pub units: Vec<UnitName>,
}

/// A program that the late step fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Where it is fetched from.
    pub url: Url,
    /// What must arrive.
    pub sha256: Sha256,
    /// Where it goes.
    pub path: FilePath,
}

impl Stage {
    /// All, in their order.
    pub const ALL: [Self; 5] = [Self::Pre, Self::Partitioning, Self::Packages, Self::Late, Self::Done];

    /// The word that is posted.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Partitioning => "partitioning",
            Self::Packages => "packages",
            Self::Late => "late",
            Self::Done => "done",
        }
    }

    /// The stage that a posted word means.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.word() == word)
    }
}
