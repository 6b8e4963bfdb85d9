// SPDX-License-Identifier: Apache-2.0
//! Somebody else's disk in a file: what its partition table says, and whether a PC can be given it.

mod esp;

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail, ensure};
use gpt::disk::LogicalBlockSize;
use gpt::partition_types;
use provisioner_api::{Partition, PartitionRole, SEED_LABEL, SEED_SIZE};

use crate::recipe::MIB;

/// Bytes of a sector: what loaders and file systems in images are made for.
pub const SECTOR: u64 = 512;
/// Sectors of the table's copy: 32 of entries, and its header.
const COPY: u64 = 33;
/// Type of the entry in a protective MBR that covers the disk (UEFI specification 2.10, 5.2.3).
const PROTECTIVE: u8 = 0xee;
/// What this program and node-init read: a header of 92 bytes, and 128 entries of 128 bytes that begin in sector 2.
const SHAPE: (u32, u64, u32, u32) = (92, 2, 128, 128);

/// What a disk's table says.
#[derive(Clone, Debug)]
pub struct Table {
    /// In disk order.
    pub partitions: Vec<Partition>,
    /// First byte of the table's copy.
    pub copy_at: u64,
    /// Seconds since 1970 of the newest file that makes it start on UEFI machines: when it was made, by its own word.
    pub made: Option<u64>,
}

impl Table {
    /// Bytes of the smallest disk that it fits on, a seed behind it.
    pub fn smallest(&self) -> u64 {
        let end = self.partitions.iter().map(|p| p.start + p.size).max().unwrap_or(0);
        // The table's copy has the last MiB.
        end.next_multiple_of(MIB) + SEED_SIZE + MIB
    }

    /// Which machines it does not start on, in words; nothing where it starts on all.
    pub fn starts_not(&self) -> Option<&'static str> {
        let has = |role| self.partitions.iter().any(|partition| partition.role == role);
        match (has(PartitionRole::Esp), has(PartitionRole::BiosBoot)) {
            (true, false) => {
                Some("it has no BIOS boot partition: machines with BIOS, without UEFI, will not start from it")
            }
            (false, true) => Some("it has no EFI system partition: machines with UEFI will not start from it"),
            _ => None,
        }
    }
}

/// Reads the table of a disk that can be given to PCs, or says why it cannot.
pub fn read(disk: &File) -> Result<Table> {
    let size = disk.metadata().context("examining the disk")?.len();
    check_beginning(disk)?;
    let config = gpt::GptConfig::new()
        .only_valid_headers(true)
        .logical_block_size(LogicalBlockSize::Lb512);
    let table = config
        .open_from_device(disk)
        .context("its partition table, or the copy of it at the end, is damaged or cut off; fetch the image again")?;
    let header = table.header();
    let copy_at = header.backup_lba.checked_sub(COPY - 1).map(|sector| sector * SECTOR);
    let copy_at = copy_at
        .filter(|at| at + COPY * SECTOR <= size)
        .context("its table's copy lies nowhere")?;
    let mut partitions = Vec::new();
    for (number, entry) in table.partitions().iter().filter(|(_, entry)| entry.is_used()) {
        ensure!(
            entry.first_lba >= header.first_usable
                && entry.first_lba <= entry.last_lba
                && entry.last_lba < copy_at / SECTOR,
            "partition {number} begins or ends where none can be: the table is damaged; fetch the image again"
        );
        let partition = Partition {
            number: *number,
            role: role(&entry.part_type_guid),
            start: entry.first_lba * SECTOR,
            size: (entry.last_lba - entry.first_lba + 1) * SECTOR,
        };
        ensure!(
            !entry.name.eq_ignore_ascii_case(SEED_LABEL) && !esp::is_seed(disk, &partition),
            "partition {number} is a seed ({SEED_LABEL}) already, and cloud-init would take either; take the image as its \
             makers publish it"
        );
        partitions.push(partition);
    }
    partitions.sort_by_key(|partition| partition.start);
    let made = partitions.iter().find(|partition| partition.role == PartitionRole::Esp);
    let made = made.and_then(|partition| esp::newest(disk, partition));
    let table = Table {
        partitions,
        copy_at,
        made,
    };
    let roles = |role| table.partitions.iter().any(|partition| partition.role == role);
    ensure!(
        roles(PartitionRole::Esp) || roles(PartitionRole::BiosBoot),
        "it has neither an EFI system partition nor a BIOS boot partition: no machine would start from it"
    );
    Ok(table)
}

/// The first sectors: is there a GPT at all, and of the kind that node-init fits to disks?
fn check_beginning(disk: &File) -> Result<()> {
    let mut start = [0; 1024];
    disk.read_exact_at(&mut start, 0)
        .context("reading its first sectors: it is too short for a disk")?;
    let mut later = [0; 8];
    let at_4096 = disk.read_exact_at(&mut later, 4096).is_ok() && &later == b"EFI PART";
    let header = &start[512..];
    if !header.starts_with(b"EFI PART") {
        if at_4096 {
            bail!("it is laid out for disks with sectors of 4096 bytes; take the image for sectors of 512");
        }
        if start[510..512] == [0x55, 0xaa] && start[446..510].iter().any(|byte| *byte != 0) {
            bail!(
                "it has an MBR partition table, which cannot be fitted to other disks; take the image that has a GPT (UEFI)"
            );
        }
        bail!("it has no partition table: it is no image of a disk, or one of a single file system");
    }
    ensure!(
        start[510..512] == [0x55, 0xaa] && start[446 + 4] == PROTECTIVE,
        "its GPT has no protective MBR in front: old partition tables beside it are not what a PC can be given"
    );
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let shape = (
        number(12),
        u64::from(number(72)) | u64::from(number(76)) << 32,
        number(80),
        number(84),
    );
    ensure!(
        shape == SHAPE,
        "its partition table has an unusual shape (header of {} bytes, entries from sector {}, {} of {} bytes)",
        shape.0,
        shape.1,
        shape.2,
        shape.3
    );
    Ok(())
}

fn role(kind: &partition_types::Type) -> PartitionRole {
    if *kind == partition_types::EFI {
        PartitionRole::Esp
    } else if *kind == partition_types::BIOS {
        PartitionRole::BiosBoot
    } else {
        PartitionRole::Other
    }
}

#[cfg(test)]
pub(crate) mod tests;
