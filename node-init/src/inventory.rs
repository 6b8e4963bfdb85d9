// SPDX-License-Identifier: Apache-2.0
//! What the machine is made of, read and never concluded.
//!
//! Files are read below a given root, so that a test shows a machine made of files; what only the kernel's calls or
//! another program can tell comes in as [`Senses`].

mod contents;
mod cpu;
mod disks;
mod firmware;
mod health;
mod kvm;
pub mod lldp;
mod nics;
mod permanent;
pub(crate) mod sysfs;
mod text;

use std::collections::BTreeMap;
use std::path::Path;

use provisioner_api::{DiskHealth, Inventory, Rtc, SwitchPort};

/// What cannot be read from a file.
pub struct Senses<'a> {
    /// The address burnt into the card of this kernel name.
    pub permanent_mac: &'a dyn Fn(&str) -> Option<String>,
    /// The health of the disk at this device path.
    pub health: &'a dyn Fn(&str) -> Option<DiskHealth>,
    /// What lies on a device from a byte on, in so many bytes.
    pub(crate) names: &'a dyn Fn(&Path, u64, u64) -> Option<contents::names::Found>,
    /// Address of the card that loaded us.
    pub booted: Option<String>,
    /// What LLDP said, by kernel name of the card.
    pub heard: BTreeMap<String, SwitchPort>,
    /// What was found out about the battery-backed clock.
    pub rtc: Rtc,
}

impl Default for Senses<'_> {
    /// The real kernel, smartctl and blkid; nothing booted, heard or measured.
    fn default() -> Self {
        Self {
            permanent_mac: &permanent::address,
            health: &health::ask,
            names: &contents::names::ask,
            booted: None,
            heard: BTreeMap::new(),
            rtc: Rtc::default(),
        }
    }
}

/// Reads everything below `root` (`/` outside tests). Takes as long as the slowest disk answers.
pub fn read(root: &Path, senses: &Senses<'_>) -> Inventory {
    let mut cpu = cpu::parse(&sysfs::text(&root.join("proc/cpuinfo")).unwrap_or_default());
    kvm::examine(root, &mut cpu);
    Inventory {
        cpu,
        memory: memory(root),
        disks: disks::read(root, senses),
        nics: nics(root, senses),
        smbios: firmware::smbios(root),
        firmware: firmware::firmware(root),
        secure_boot: firmware::secure_boot(root),
        tpm: firmware::tpm(root),
        rtc: senses.rtc.clone(),
        firmware_mac: None,
    }
}

/// The cards alone: quick, and wanted before there is a network.
pub fn nics(root: &Path, senses: &Senses<'_>) -> Vec<provisioner_api::Nic> {
    nics::read(root, senses.permanent_mac, senses.booted.as_deref(), &senses.heard)
}

/// The disks alone, for looking again at the moment of an order.
pub fn disks(root: &Path, senses: &Senses<'_>) -> Vec<provisioner_api::Disk> {
    disks::read(root, senses)
}

/// Bytes of RAM that the kernel manages (`MemTotal`).
pub fn memory(root: &Path) -> u64 {
    let table = sysfs::text(&root.join("proc/meminfo")).unwrap_or_default();
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .unwrap_or_default();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .map_or(0, |kib| kib.saturating_mul(1024))
}

/// The maker's name for the machine, as a technician says it: "Dell Inc. `OptiPlex` 7010".
pub fn model(inventory: &Inventory) -> String {
    let label = |text: &Option<String>| text.clone().unwrap_or_default();
    let words = format!(
        "{} {}",
        label(&inventory.smbios.system_manufacturer),
        label(&inventory.smbios.system_product)
    );
    words.trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_machine_that_shows_nothing_still_has_an_inventory() {
        let root = tempfile::tempdir().unwrap();
        let inventory = read(
            root.path(),
            &Senses {
                permanent_mac: &|_| None,
                health: &|_| None,
                ..Senses::default()
            },
        );
        assert_eq!(
            (inventory.memory, inventory.disks.len(), inventory.nics.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn memory_is_what_the_kernel_manages() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        std::fs::write(
            root.path().join("proc/meminfo"),
            "MemTotal:         485012 kB\nMemFree: 1 kB\n",
        )
        .unwrap();
        assert_eq!(memory(root.path()), 485_012 * 1024);
    }

    proptest! {
        #[test]
        fn no_meminfo_is_too_strange_to_read(text in "(MemTotal:)?[ -~\n]{0,60}") {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("proc")).unwrap();
            std::fs::write(root.path().join("proc/meminfo"), text).unwrap();
            memory(root.path());
        }
    }
}
