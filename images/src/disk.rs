// SPDX-License-Identifier: Apache-2.0
//! The disk of a node image: a file with a GPT that boots on BIOS and UEFI machines, made without any loop device.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use provisioner_api::{CHUNK_SIZE, FIRST_MIB, Partition, PartitionRole};

use crate::recipe::MIB;
use crate::tool::Tools;

/// Bytes of a sector of the GPT.
const SECTOR: u64 = 512;
/// GRUB's core image has 1 MiB behind the first one.
const BIOS_BOOT: u64 = MIB;
/// Partition types as sgdisk knows them: BIOS boot, EFI system, Linux x86-64 root.
const TYPES: [(&str, &str); 3] = [("ef02", "bios"), ("ef00", "esp"), ("8304", "root")];
/// Where the flags of the protective MBR's first entry lie. 0x80 there is not in the UEFI specification, which ignores it,
/// but old BIOSes (Intel, HP, Lenovo around 2010) start no disk without an active partition.
pub const MBR_ACTIVE: (u64, u8) = (446, 0x80);

/// Where everything lies, in bytes.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The whole disk.
    pub size: u64,
    /// BIOS boot, ESP, and root where there is one.
    pub partitions: Vec<Partition>,
}

impl Layout {
    /// The layout for an ESP and a root partition of these sizes. The root partition begins where a chunk does, so
    /// that equal file systems give equal chunks; behind it is room for the backup GPT.
    pub fn new(esp_mib: u64, root_mib: u64, [bios, esp, root]: [u32; 3]) -> Self {
        let esp_start = CHUNK_SIZE;
        let root_start = (esp_start + esp_mib * MIB).next_multiple_of(CHUNK_SIZE);
        let root_size = root_mib * MIB;
        Self {
            size: (root_start + root_size + MIB).next_multiple_of(CHUNK_SIZE),
            partitions: vec![
                partition(bios, PartitionRole::BiosBoot, FIRST_MIB, BIOS_BOOT),
                partition(esp, PartitionRole::Esp, esp_start, esp_mib * MIB),
                partition(root, PartitionRole::Root, root_start, root_size),
            ],
        }
    }

    /// The layout of a stick: no root partition.
    pub fn stick(esp_mib: u64) -> Self {
        let esp_start = FIRST_MIB + BIOS_BOOT;
        Self {
            size: esp_start + (esp_mib + 1) * MIB,
            partitions: vec![
                partition(1, PartitionRole::BiosBoot, FIRST_MIB, BIOS_BOOT),
                partition(2, PartitionRole::Esp, esp_start, esp_mib * MIB),
            ],
        }
    }

    /// The first sector of GRUB's core image.
    pub fn core_sector(&self) -> u64 {
        self.partitions[0].start / SECTOR
    }
}

fn partition(number: u32, role: PartitionRole, start: u64, size: u64) -> Partition {
    Partition {
        number,
        role,
        start,
        size,
    }
}

/// What a disk is assembled from.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Code of the boot sector.
    pub boot: &'a [u8],
    /// GRUB's core image.
    pub core: &'a [u8],
    /// The EFI system partition, in a file.
    pub esp: &'a Path,
    /// The root file system, in a file, where the layout has a place for it.
    pub root: Option<&'a Path>,
}

/// A UUID that depends on the words alone (version 8 of RFC 9562: "custom").
pub fn uuid(words: &[&str]) -> String {
    let hash = blake3::hash(words.join("\n").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// Makes the disk: partition table, boot sector and core image of GRUB, and the two file systems.
pub fn assemble(tools: &Tools, layout: &Layout, seed: &str, parts: &Parts, out: &Path) -> Result<()> {
    let about = || format!("making the disk {}", out.display());
    let disk = File::create(out).with_context(about)?;
    disk.set_len(layout.size).with_context(about)?;
    drop(disk);
    make_table(tools, layout, seed, out)?;
    let disk = OpenOptions::new().write(true).open(out).with_context(about)?;
    disk.write_all_at(parts.boot, 0).with_context(about)?;
    disk.write_all_at(&[MBR_ACTIVE.1], MBR_ACTIVE.0).with_context(about)?;
    disk.write_all_at(parts.core, layout.partitions[0].start)
        .with_context(about)?;
    copy_into(parts.esp, &disk, layout.partitions[1].start)?;
    match (parts.root, layout.partitions.get(2)) {
        (Some(root), Some(place)) => copy_into(root, &disk, place.start),
        _ => Ok(()),
    }
}

fn make_table(tools: &Tools, layout: &Layout, seed: &str, disk: &Path) -> Result<()> {
    let mut tool = tools.tool("usr/sbin/sgdisk").args(["--clear", "--set-alignment=8"]);
    tool = tool.arg(format!("--disk-guid={}", uuid(&[seed, "disk"])));
    for (partition, (code, name)) in layout.partitions.iter().zip(TYPES) {
        let number = partition.number;
        let (first, last) = (
            partition.start / SECTOR,
            (partition.start + partition.size) / SECTOR - 1,
        );
        tool = tool.arg(format!("--new={number}:{first}:{last}"));
        tool = tool
            .arg(format!("--typecode={number}:{code}"))
            .arg(format!("--change-name={number}:{name}"));
        tool = tool.arg(format!("--partition-guid={number}:{}", uuid(&[seed, name])));
    }
    tool.arg(disk).run()
}

/// Copies a disk into a new file, its holes as holes.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let about = || format!("writing {}", to.display());
    let disk = File::create(to).with_context(about)?;
    disk.set_len(fs::metadata(from).with_context(about)?.len())
        .with_context(about)?;
    copy_into(from, &disk, 0)
}

/// Copies what is not a hole.
fn copy_into(from: &Path, disk: &File, at: u64) -> Result<()> {
    let about = || format!("copying {} onto the disk", from.display());
    let mut file = File::open(from).with_context(about)?;
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    loop {
        position = match lseek(&file, position, Whence::SeekData) {
            Ok(data) => data,
            Err(Errno::ENXIO) => return Ok(()),
            Err(error) => return Err(error).with_context(about),
        };
        let end = lseek(&file, position, Whence::SeekHole).with_context(about)?;
        while position < end {
            // Offsets of a file are never negative.
            let (start, stop) = (u64::try_from(position).unwrap_or(0), u64::try_from(end).unwrap_or(0));
            let length = buffer.len().min(usize::try_from(stop - start).unwrap_or(usize::MAX));
            file.seek(SeekFrom::Start(start)).with_context(about)?;
            file.read_exact(&mut buffer[..length]).with_context(about)?;
            disk.write_all_at(&buffer[..length], at + start).with_context(about)?;
            position += i64::try_from(length).unwrap_or(i64::MAX);
        }
    }
}

/// Makes the EFI system partition with the given files, paths with slashes.
pub fn esp(
    tools: &Tools,
    layout: &Layout,
    seed: &str,
    created: u64,
    files: &[(&str, &Path)],
    out: &Path,
) -> Result<()> {
    let partition = &layout.partitions[1];
    let image = File::create(out).with_context(|| format!("creating {}", out.display()))?;
    image
        .set_len(partition.size)
        .with_context(|| format!("creating {}", out.display()))?;
    let mtools = |name| {
        let tool = tools.tool_as("usr/bin/mtools", name).env("MTOOLSRC", "/dev/null");
        tool.env("SOURCE_DATE_EPOCH", created.to_string()).arg("-i").arg(out)
    };
    // One sector a cluster: FAT32 must have more than 65,524 of them.
    let sectors = (partition.size / SECTOR).to_string();
    let hidden = (partition.start / SECTOR).to_string();
    let serial = &uuid(&[seed, "esp serial"])[..8];
    mtools("mformat")
        .args([
            "-F", "-c", "1", "-v", "ESP", "-T", &sectors, "-H", &hidden, "-h", "255", "-s", "63", "-N", serial, "::",
        ])
        .run()?;
    let mut folders: Vec<&str> = Vec::new();
    for (path, _) in files {
        folders.extend(
            path.match_indices('/')
                .map(|(end, _)| &path[..end])
                .filter(|folder| !folder.is_empty()),
        );
    }
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        mtools("mmd").arg(format!("::{folder}")).run()?;
    }
    for (path, file) in files {
        mtools("mcopy").arg(file).arg(format!("::{path}")).run()?;
    }
    Ok(())
}

/// The ESP's serial number as Linux shows it: `1234-ABCD`.
pub fn esp_uuid(seed: &str) -> String {
    let serial = uuid(&[seed, "esp serial"])[..8].to_uppercase();
    format!("{}-{}", &serial[..4], &serial[4..])
}

/// Reads a file of a tree.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}", file.display()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_layout_overlaps_and_every_one_leaves_room_for_the_backup_table(esp in 40_u64..4096, root in 512_u64..100_000) {
            let layout = Layout::new(esp, root, [14, 15, 1]);
            let [bios, esp, root] = &layout.partitions[..] else {
                return Err(TestCaseError::fail("three partitions"));
            };
            prop_assert!(bios.start >= FIRST_MIB && bios.start + bios.size <= esp.start);
            prop_assert!(esp.start + esp.size <= root.start);
            prop_assert!(root.start + root.size + 33 * SECTOR <= layout.size);
            prop_assert_eq!(root.start % CHUNK_SIZE, 0);
        }
    }

    #[test]
    fn a_stick_has_room_for_its_backup_table() {
        let layout = Layout::stick(40);
        let [bios, esp] = &layout.partitions[..] else {
            panic!("two partitions")
        };
        assert!(bios.start >= FIRST_MIB && bios.start + bios.size <= esp.start);
        assert!(esp.start + esp.size + 33 * SECTOR <= layout.size);
    }

    #[test]
    fn uuids_depend_on_the_words_and_are_well_formed() {
        let one = uuid(&["a", "b"]);
        assert_eq!(one, uuid(&["a", "b"]));
        assert_ne!(one, uuid(&["a", "c"]));
        assert_eq!((one.len(), &one[14..15]), (36, "8"));
    }
}
