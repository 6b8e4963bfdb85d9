// SPDX-License-Identifier: Apache-2.0
//! Every disk of the machine, from `/sys/block`.

mod place;

pub(crate) use place::bus_path;

use std::fs::{self, File};
use std::path::Path;

use provisioner_api::Disk;

use super::{Senses, contents, sysfs, text};

/// `/sys/block/*/size` counts these, whatever the disk's own sectors are.
const SYSFS_SECTOR: u64 = 512;

/// Kernel names that are no disks: optical and floppy drives, RAM, and the areas of an eMMC besides its own
/// (`mmcblk0boot0`, `mmcblk0rpmb`, `mmcblk0gp0`), which hold firmware.
fn is_disk(name: &str) -> bool {
    let other = ["sr", "fd", "loop", "ram", "zram", "dm-", "md", "nbd", "mtdblock"];
    let area = |number: &str| !number.bytes().all(|byte| byte.is_ascii_digit());
    !other.iter().any(|prefix| name.starts_with(prefix)) && !name.strip_prefix("mmcblk").is_some_and(area)
}

/// Whether the medium sits in a slot. The kernel says so of drives alone: for it an SD card in a reader is a disk that
/// cannot be removed. Of mmc cards only an eMMC (type `MMC`) is soldered on.
fn is_removable(folder: &Path, name: &str) -> bool {
    let in_slot = match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "mmcblk" => sysfs::text(&folder.join("device/type")).as_deref() != Some("MMC"),
        // Memory Stick.
        "mspblk" | "msblk" => true,
        _ => false,
    };
    in_slot || sysfs::flag(&folder.join("removable"))
}

/// Every disk by kernel name.
pub(crate) fn read(root: &Path, senses: &Senses<'_>) -> Vec<Disk> {
    let block = root.join("sys/block");
    let busy = Busy::read(root);
    sysfs::names(&block)
        .into_iter()
        .filter(|name| is_disk(name) && block.join(name).join("device").exists())
        .map(|name| disk(root, name, &busy, senses))
        .collect()
}

fn disk(root: &Path, name: String, busy: &Busy, senses: &Senses<'_>) -> Disk {
    let folder = root.join("sys/block").join(&name);
    let file = |path: &str| folder.join(path);
    let size = sysfs::number(&file("size")).unwrap_or(0).saturating_mul(SYSFS_SECTOR);
    let sector = sysfs::number(&file("queue/logical_block_size"))
        .filter(|s| matches!(s, 512..=4096))
        .unwrap_or(512);
    let way = sysfs::device_path(&folder);
    let node = root.join("dev").join(&name);
    let contents = match File::open(&node) {
        // A card reader without a card has size 0 and refuses to be read.
        Ok(disk) if size > 0 => {
            let name = |start, size| (senses.names)(&node, start, size);
            contents::read(&disk, size, sector, &name)
        }
        _ => contents::unreadable(),
    };
    Disk {
        by_path: place::by_path(&way),
        model: model(&folder),
        serial: serial(&folder),
        wwn: wwn(&folder),
        size,
        rotational: sysfs::flag(&file("queue/rotational")),
        removable: is_removable(&folder, &name),
        read_only: sysfs::flag(&file("ro")),
        transport: place::transport(&name, &way),
        health: if size > 0 {
            (senses.health)(&format!("/dev/{name}"))
        } else {
            None
        },
        in_use: busy.uses(&folder, &name),
        contents,
        name,
    }
}

fn model(folder: &Path) -> Option<String> {
    let model = sysfs::label(&folder.join("device/model")).or_else(|| sysfs::label(&folder.join("device/name")))?;
    // libata writes "ATA" where SCSI has the maker.
    match sysfs::label(&folder.join("device/vendor")) {
        Some(vendor) if vendor != "ATA" && !vendor.starts_with("0x") && !model.starts_with(&vendor) => {
            Some(format!("{vendor} {model}"))
        }
        _ => Some(model),
    }
}

fn serial(folder: &Path) -> Option<String> {
    sysfs::label(&folder.join("device/serial"))
        .or_else(|| sysfs::label(&folder.join("serial")))
        .or_else(|| vpd_serial(&sysfs::bytes(&folder.join("device/vpd_pg80"))?))
}

/// SCSI's unit serial number page (SPC-4, 7.8.15): four bytes of header, the last two of them the length.
fn vpd_serial(page: &[u8]) -> Option<String> {
    let [_, 0x80, high, low, rest @ ..] = page else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    text::label(&rest[..length])
}

/// Names that are unique in the world; the kernel's `t10.` ones are only maker, model and serial again.
fn wwn(folder: &Path) -> Option<String> {
    let name = sysfs::label(&folder.join("device/wwid")).or_else(|| sysfs::label(&folder.join("wwid")))?;
    let unique = ["naa.", "eui.", "uuid."].iter().any(|kind| name.starts_with(kind));
    let blank = name
        .trim_start_matches(|c: char| c.is_alphabetic() || c == '.')
        .chars()
        .all(|c| c == '0');
    (unique && !blank).then_some(name)
}

/// What is mounted or swapped to.
struct Busy(Vec<String>);

impl Busy {
    fn read(root: &Path) -> Self {
        let table = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let lines = [table("proc/mounts"), table("proc/swaps")].concat();
        let devices = lines
            .lines()
            .filter_map(|line| line.split_whitespace().next()?.strip_prefix("/dev/"));
        Self(devices.map(str::to_owned).collect())
    }

    /// A disk is in use if it or a partition is mounted, or something (LVM, RAID, dm-crypt) holds it.
    fn uses(&self, folder: &Path, name: &str) -> bool {
        let held = |path: &Path| !sysfs::names(&path.join("holders")).is_empty();
        let parts = sysfs::names(folder).into_iter().filter(|part| part.starts_with(name));
        let mut all = parts
            .map(|part| (folder.join(&part), part))
            .chain([(folder.to_path_buf(), name.to_owned())]);
        all.any(|(path, part)| held(&path) || self.0.contains(&part))
    }
}

#[cfg(test)]
mod tests;
