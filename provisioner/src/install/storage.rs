// SPDX-License-Identifier: Apache-2.0
//! The disks of a machine that an installer writes. Each was chosen and shown at approval; the installer is told of it by
//! what does not change from boot to boot.

use kickstart::spec::{DiskRule, Layout, SMALLEST_DISK_GB, Storage, Swap};
use kickstart::words::{ByPath, Serial};
use provisioner_api::{Disk, DiskRef, Inventory, Transport};

use super::{Machine, disk_size};
use crate::config::{Installer, Profile};
use crate::disks::{self, Choice};

/// The disk that a profile's layout takes beside the chosen one, or why it can have none; nothing where it takes one.
pub fn second(profile: &Profile, inventory: &Inventory, first: &DiskRef) -> Result<Option<Choice>, String> {
    let Some(installer) = profile.installer() else {
        return Ok(None);
    };
    let (field, what, min_size) = match installer.layout {
        Layout::Whole | Layout::Lvm | Layout::DataPartition { .. } => return Ok(None),
        Layout::Raid1 { .. } => (SECOND, "the other half of the mirror", disk_size(installer)),
        Layout::DataDisk { .. } => (DATA, "the disk for data", 0),
    };
    let storage = Storage {
        disk: rule("storage.disk", first, inventory)?,
        layout: installer.layout.clone(),
        swap: installer.swap,
    };
    let known = known(inventory);
    let chosen = kickstart::disks::choose(&storage, &known).map_err(|none| none.to_string())?;
    let also = |disk: &kickstart::disks::Disk| disks::also(&disk.name, what, min_size, inventory);
    let choice = chosen.second.map(also).transpose();
    choice.map_err(|why| format!("{field}: {why}; name another one in the profile's layout"))
}

/// What is made of the disks of a plan.
pub(super) fn storage(installer: &Installer, machine: &Machine<'_>) -> Result<Storage, String> {
    let rule = |field, disk| rule(field, disk, machine.inventory);
    Ok(Storage {
        disk: if installer.os.has_installer() {
            rule("storage.disk", machine.disk)?
        } else {
            // It was node-init that found it.
            DiskRule::SmallestAbove(SMALLEST_DISK_GB)
        },
        layout: match (&installer.layout, machine.second) {
            (Layout::Raid1 { .. }, Some(disk)) => Layout::Raid1 {
                second: rule(SECOND, disk)?,
            },
            (Layout::DataDisk { mount, .. }, Some(disk)) => Layout::DataDisk {
                disk: rule(DATA, disk)?,
                mount: mount.clone(),
            },
            (layout, _) => layout.clone(),
        },
        swap: installer.swap,
    })
}

/// Whether the installer will find what is there to be written, and nothing that nobody was shown.
pub(super) fn check(storage: &Storage, machine: &Machine<'_>) -> Result<(), String> {
    let takes_two = matches!(storage.layout, Layout::Raid1 { .. } | Layout::DataDisk { .. });
    if takes_two && machine.second.is_none() {
        return Err(
            "storage.layout: its profile takes two disks now, and one was shown when the machine was approved; retire \
             it and approve it anew"
                .into(),
        );
    }
    let known = known(machine.inventory);
    kickstart::disks::choose(storage, &known)
        .map(drop)
        .map_err(|none| none.to_string())
}

const SECOND: &str = "storage.layout.second";
const DATA: &str = "storage.layout.disk";

/// The rule by which the installer finds this very disk.
fn rule(field: &str, wanted: &DiskRef, inventory: &Inventory) -> Result<DiskRule, String> {
    let serial = wanted
        .serial
        .as_deref()
        .map(str::trim)
        .and_then(|text| Serial::new(text).ok());
    let place = wanted.by_path.as_deref().and_then(|text| ByPath::new(text).ok());
    let rules = serial
        .map(DiskRule::Serial)
        .into_iter()
        .chain(place.map(DiskRule::ByPath));
    let known = known(inventory);
    let mut why =
        "the chosen disk has neither a serial number nor a place by which an installer could find it; choose \
                   another one, or a profile with an image"
            .to_owned();
    for rule in rules {
        let storage = Storage {
            disk: rule,
            layout: Layout::Whole,
            swap: Swap::None,
        };
        match kickstart::disks::choose(&storage, &known) {
            Ok(_) => return Ok(storage.disk),
            Err(none) => why = none.why,
        }
    }
    Err(format!("{field}: {why}"))
}

fn known(inventory: &Inventory) -> Vec<kickstart::disks::Disk> {
    inventory.disks.iter().map(as_known).collect()
}

fn as_known(disk: &Disk) -> kickstart::disks::Disk {
    kickstart::disks::Disk {
        name: disk.name.clone(),
        size: disk.size,
        serial: disk.serial.as_deref().map(|serial| serial.trim().to_owned()),
        by_path: disk.by_path.clone(),
        usb: disk.transport == Transport::Usb,
        removable: disk.removable,
        read_only: disk.read_only,
    }
}
