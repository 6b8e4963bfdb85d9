// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, deprecated)] // fatfs asks for a clock instead, which a test has not

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use fatfs::{FatType, FormatVolumeOptions};
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::{BIOS, EFI, LINUX_FS, Type};
use proptest::prelude::*;

use super::*;

const DISK: u64 = 16 * MIB;
/// When the file on it was written: 2026-11-20 12:34:56.
const WRITTEN: u64 = 1_795_178_096;

/// A disk with these partitions of 2 MiB each, as another program makes it.
fn disk(kinds: &[(Type, &str)]) -> Vec<u8> {
    let mut raw = vec![0; usize::try_from(DISK).unwrap()];
    let mut file = Cursor::new(&mut raw[..]);
    ProtectiveMBR::with_lb_size(u32::try_from(DISK / SECTOR - 1).unwrap())
        .overwrite_lba0(&mut file)
        .unwrap();
    let mut table = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(Box::new(file), None)
        .unwrap();
    table.update_partitions(BTreeMap::new()).unwrap();
    for (kind, name) in kinds {
        table.add_partition(name, 2 * MIB, kind.clone(), 0, Some(2048)).unwrap();
    }
    table.write().unwrap();
    raw
}

/// One that starts on all machines.
pub(crate) fn usual() -> Vec<u8> {
    disk(&[(BIOS, "bios"), (EFI, "efi"), (LINUX_FS, "root")])
}

/// Makes a FAT file system with one file at this place of a disk.
fn fat(raw: &mut [u8], at: u64, label: &[u8; 11]) {
    let at = usize::try_from(at).unwrap();
    let place = &mut raw[at..at + usize::try_from(2 * MIB).unwrap()];
    let format = FormatVolumeOptions::new().fat_type(FatType::Fat12).volume_label(*label);
    fatfs::format_volume(Cursor::new(&mut *place), format).unwrap();
    let volume = fatfs::FileSystem::new(Cursor::new(place), fatfs::FsOptions::new()).unwrap();
    let folder = volume.root_dir().create_dir("EFI").unwrap();
    let mut file = folder.create_file("grubx64.efi").unwrap();
    file.write_all(b"x").unwrap();
    let date = fatfs::Date {
        year: 2026,
        month: 11,
        day: 20,
    };
    let time = fatfs::Time {
        hour: 12,
        min: 34,
        sec: 56,
        millis: 0,
    };
    file.set_modified(fatfs::DateTime { date, time });
}

fn read_bytes(raw: &[u8]) -> Result<Table> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(raw).unwrap();
    read(&file)
}

fn refused(raw: &[u8]) -> String {
    format!("{:#}", read_bytes(raw).unwrap_err())
}

#[test]
fn a_usual_image_is_read_and_dated_by_its_own_files() {
    let mut raw = usual();
    assert_eq!(read_bytes(&raw).unwrap().made, None);
    fat(&mut raw, 3 * MIB, b"UEFI       ");
    let table = read_bytes(&raw).unwrap();
    let found: Vec<_> = table
        .partitions
        .iter()
        .map(|p| (p.number, p.role, p.start, p.size))
        .collect();
    assert_eq!(
        found,
        [
            (1, PartitionRole::BiosBoot, MIB, 2 * MIB),
            (2, PartitionRole::Esp, 3 * MIB, 2 * MIB),
            (3, PartitionRole::Other, 5 * MIB, 2 * MIB)
        ]
    );
    assert_eq!(table.made, Some(WRITTEN));
    assert_eq!(table.copy_at, DISK - 33 * SECTOR);
    assert_eq!(table.smallest(), 7 * MIB + SEED_SIZE + MIB);
    assert_eq!(table.starts_not(), None);
}

#[test]
fn an_image_that_starts_on_half_of_all_machines_says_on_which_not() {
    let words = |kind| read_bytes(&disk(&[(kind, "x")])).unwrap().starts_not().unwrap();
    assert!(words(EFI).contains("without UEFI, will not"));
    assert!(words(BIOS).contains("with UEFI will not"));
}

#[test]
fn what_cannot_be_a_nodes_disk_is_refused_with_words() {
    assert!(refused(&disk(&[(LINUX_FS, "root")])).contains("no machine would start"));
    assert!(refused(&vec![0; 1 << 20]).contains("no partition table"));
    assert!(refused(b"short").contains("too short"));
    let mut mbr = vec![0; 1 << 20];
    (mbr[450], mbr[510], mbr[511]) = (0x83, 0x55, 0xaa);
    assert!(refused(&mbr).contains("MBR partition table"));
    let mut large = vec![0; 1 << 20];
    large[4096..4104].copy_from_slice(b"EFI PART");
    assert!(refused(&large).contains("4096"));
    let mut hybrid = usual();
    hybrid[450] = 0x0c;
    assert!(refused(&hybrid).contains("protective MBR"));
    let cut = &usual()[..usize::try_from(DISK - MIB).unwrap()];
    assert!(refused(cut).contains("cut off"));
    for at in [512 + 60, 1024 + 5] {
        let mut damaged = usual();
        damaged[at] ^= 1;
        assert!(refused(&damaged).contains("damaged"));
    }
    let mut shape = usual();
    shape[512 + 80] = 64;
    assert!(refused(&shape).contains("unusual shape"));
}

#[test]
fn an_image_that_has_a_seed_already_is_refused_by_the_tables_word_and_by_the_file_systems() {
    assert!(refused(&disk(&[(EFI, "efi"), (LINUX_FS, "CIdata")])).contains("seed"));
    let mut raw = usual();
    fat(&mut raw, 5 * MIB, b"CIDATA     ");
    assert!(refused(&raw).contains("partition 3 is a seed"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_makes_the_reader_panic(
        damage in prop::collection::vec((0_usize..40 * 512, any::<u8>()), 1..6), fats in prop::collection::vec((0_usize..4096, any::<u8>()), 0..6),
    ) {
        let mut raw = usual();
        fat(&mut raw, 3 * MIB, b"UEFI       ");
        for (at, byte) in damage {
            raw[at] = byte;
        }
        for (at, byte) in fats {
            raw[usize::try_from(3 * MIB).unwrap() + at] = byte;
        }
        let _ = read_bytes(&raw);
    }

    #[test]
    fn no_damaged_file_system_makes_the_reader_panic(damage in prop::collection::vec((0_usize..20 * 512, any::<u8>()), 1..8)) {
        let mut raw = usual();
        fat(&mut raw, 3 * MIB, b"UEFI       ");
        for (at, byte) in damage {
            raw[usize::try_from(3 * MIB).unwrap() + at] = byte;
        }
        prop_assert!(read_bytes(&raw).is_ok() || raw[usize::try_from(3 * MIB).unwrap() + 43..][..6].eq_ignore_ascii_case(b"CIDATA"));
    }
}
