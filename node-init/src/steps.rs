// SPDX-License-Identifier: Apache-2.0
//! The steps of the life in RAM, a file each. A step can be done again at any time: that is how a machine goes on
//! after a power cut.

pub mod check;
pub mod clock;
pub mod consoles;
pub mod install;
pub mod modules;
pub mod mounts;
pub mod network;
pub mod orders;
pub mod reboot;
pub mod register;
pub mod report;
pub mod set_up;
pub mod wipe;

use std::path::Path;

use crate::inventory::sysfs;

/// The kernel's random name for this boot: by it the controller tells a message sent twice from a new start.
pub fn boot_id(root: &Path) -> String {
    sysfs::text(&root.join("proc/sys/kernel/random/boot_id")).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests;
