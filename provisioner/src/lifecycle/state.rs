// SPDX-License-Identifier: Apache-2.0
//! Where a node is in its life, as it is stored.

use std::fmt;

use provisioner_api::{DiskRef, FailCause};
use serde::{Deserialize, Serialize};

/// Where a node is in its life. What must survive a restart of anything is in the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// It registered and waits for approval. Nothing of it has been written to.
    Enrolled,
    /// An operator does not want it; it boots its own disk.
    Rejected {
        /// The operator's words.
        why: String,
    },
    /// It may be wiped and installed, and has not started from the network since.
    Approved {
        /// What it becomes.
        plan: Plan,
        /// What went wrong before this start.
        attempt: Attempt,
        /// How often it came up from its disk since, though the network was wanted.
        disk_starts: u32,
    },
    /// It examines itself and the chosen disk; nothing is written yet.
    Checking {
        /// What it becomes.
        plan: Plan,
        /// What went wrong so far.
        attempt: Attempt,
    },
    /// It discards the chosen disk and clears its partition tables.
    Wiping {
        /// What it becomes.
        plan: Plan,
        /// What went wrong so far.
        attempt: Attempt,
    },
    /// Its system is put on the disk, or (`written`) starts from there for the first time.
    Installing {
        /// What it becomes.
        plan: Plan,
        /// What went wrong so far.
        attempt: Attempt,
        /// The distribution's own installer runs and has read its answers, or a ready-made image starts for the first
        /// time and has read its seed.
        #[serde(default)]
        begun: bool,
        /// The system is on the disk, boot sector included: from here on the machine boots its disk.
        written: bool,
    },
    /// It came home with all checks passed and serves. Only an operator ends this.
    Ready {
        /// What it is.
        plan: Plan,
    },
    /// It serves what it has and takes no new work.
    Draining {
        /// What it is.
        plan: Plan,
    },
    /// It cannot go on until a person has done something.
    Failed {
        /// What it was to become.
        plan: Plan,
        /// What stands in the way.
        cause: FailCause,
    },
    /// It left the cluster for good; it boots its own disk.
    Retired,
}

/// What an approved node becomes, and on which disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the profile in the configuration.
    pub profile: String,
    /// The disk that was chosen at approval, and shown there with what is on it.
    pub disk: DiskRef,
    /// The disk that its layout takes beside that one: chosen, shown and named likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<DiskRef>,
    /// Who puts a system there. States of before there were installers say nothing of it.
    #[serde(default)]
    pub system: System,
    /// What else was confirmed.
    #[serde(default, skip_serializing_if = "Confirmed::is_empty")]
    pub confirmed: Confirmed,
}

/// What an approval was given for beside the disks; what is done later is compared with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Where the system comes from, whatever is imported later; nothing where the server had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Pinned>,
    /// Digest of what the disks held; nothing once they are wiped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
}

impl Confirmed {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One version of an image, or one medium of an installer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// Name of the image or of the operating system.
    pub name: String,
    /// Version of the image or id of the medium.
    pub version: String,
}

/// The system that a profile asks for at the moment of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who puts it on the disk.
    pub system: System,
    /// Where it comes from; nothing where the server has none.
    pub from: Option<Pinned>,
}

impl From<System> for Wanted {
    fn from(system: System) -> Self {
        Self { system, from: None }
    }
}

/// Who puts a system on a node's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// node-init, by the image of the profile.
    #[default]
    Image,
    /// The distribution's own installer, of the operating system with this name.
    Installer(String),
    /// node-init, by a distribution's ready-made image of the profile, which sets itself up at its first start as the
    /// operating system with this name.
    CloudImage(String),
}

/// What went wrong since approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Failures that the node reported, or that showed as an installed system that never came home; at
    /// [`super::MAX_TRIES`] the node stops.
    pub tries: u32,
    /// Starts that found the work of an earlier start unfinished; bounded by [`super::MAX_INTERRUPTIONS`].
    pub interruptions: u32,
}

impl Plan {
    /// Whether the distribution's own installer installs it.
    pub fn has_installer(&self) -> bool {
        matches!(self.system, System::Installer(_))
    }

    /// Whether the system that comes on the disk makes a key of its own and joins with a secret, and has its network from
    /// its distribution: node-init did not set it up.
    pub fn joins(&self) -> bool {
        self.told_of().is_some()
    }

    /// The operating system whose own installer or first start tells of its stages.
    pub fn told_of(&self) -> Option<&str> {
        match &self.system {
            System::Image => None,
            System::Installer(os) | System::CloudImage(os) => Some(os),
        }
    }

    pub(super) fn with(&self, wanted: &Wanted) -> Self {
        let mut plan = self.clone();
        plan.system = wanted.system.clone();
        plan.confirmed.from.clone_from(&wanted.from);
        plan
    }

    /// From here on its disks do not hold any more what was confirmed.
    pub(super) fn wiping(&self) -> Self {
        let mut plan = self.clone();
        plan.confirmed.contents = None;
        plan
    }
}

impl State {
    /// The word that people and programs see.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Rejected { .. } => "rejected",
            Self::Approved { .. } => "approved",
            Self::Checking { .. } => "checking",
            Self::Wiping { .. } => "wiping",
            Self::Installing { .. } => "installing",
            Self::Ready { .. } => "ready",
            Self::Draining { .. } => "draining",
            Self::Failed { .. } => "failed",
            Self::Retired => "retired",
        }
    }

    /// What the node is to become or is, once it was approved.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Approved { plan, .. }
            | Self::Checking { plan, .. }
            | Self::Wiping { plan, .. }
            | Self::Installing { plan, .. }
            | Self::Ready { plan }
            | Self::Draining { plan }
            | Self::Failed { plan, .. } => Some(plan),
            Self::Enrolled | Self::Rejected { .. } | Self::Retired => None,
        }
    }

    /// The operating system whose installer is to run or runs.
    pub fn installer(&self) -> Option<&str> {
        match self {
            Self::Installing {
                plan:
                    Plan {
                        system: System::Installer(system),
                        ..
                    },
                written: false,
                ..
            } => Some(system),
            _ => None,
        }
    }

    /// The operating system whose installer, or whose first start, tells of its stages now.
    pub fn told_of(&self) -> Option<&str> {
        match self {
            // What came onto the disk with a secret is on it: whoever has that secret runs.
            Self::Installing { plan, written, .. } if !plan.has_installer() || !*written => plan.told_of(),
            _ => None,
        }
    }

    /// What went wrong since approval, while that counts.
    pub fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Approved { attempt, .. }
            | Self::Checking { attempt, .. }
            | Self::Wiping { attempt, .. }
            | Self::Installing { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }

    pub(super) fn approved(plan: Plan, attempt: Attempt) -> Self {
        Self::Approved {
            plan,
            attempt,
            disk_starts: 0,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
