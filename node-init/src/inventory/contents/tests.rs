// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;

use super::fakes::{MIB, Sparse, gpt};
use super::*;

const NOTHING: &dyn Fn(u64, u64) -> Option<Found> = &|_, _| None;

fn look(disk: &(impl Sectors + ?Sized), size: u64) -> DiskContents {
    read(disk, size, 512, NOTHING)
}

/// As in the RAM environment: blkid looks at the same bytes.
fn named(disk: &[u8]) -> DiskContents {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(disk).unwrap();
    let ask = |start, size| names::ask(file.path(), start, size);
    read(disk, disk.len() as u64, 512, &ask)
}

fn noise(length: u64) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"a disk that is encrypted as a whole");
    let mut noise = vec![0; usize::try_from(length).unwrap()];
    hasher.finalize_xof().fill(&mut noise);
    noise
}

#[test]
fn a_blank_disk_is_empty_whatever_byte_it_is_blank_with() {
    for fill in [0, 0xFF] {
        let disk = Sparse {
            fill,
            ..Sparse::blank()
        };
        for size in [MIB, 40 * MIB, 500_107_862_016] {
            let contents = look(&disk, size);
            assert_eq!(
                (contents.state, contents.summary.as_str()),
                (ContentsState::Empty, "empty")
            );
        }
    }
}

#[test]
fn what_has_no_name_is_unknown_data_and_never_empty() {
    let size = 500_107_862_016;
    let uberblock = [0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0];
    let md = [0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0];
    for (at, bytes) in [
        (128 * 1024, &uberblock[..]),
        (size - size % (256 * 1024) - 256 * 1024 + 128 * 1024, &uberblock),
        (size - 8192, &md),
        (size / 65536 * 65536 - 65536, &md),
        (size - 1024, b"Intel Raid ISM Cfg Sig. 1.3.00"),
        (size - 512, &[0xde, 0x11, 0xde, 0x11]),
        (size - 3087 * 512, b"Promise Technology, Inc."),
        (2 * MIB, &[0x5e, 0xf1, 0xab, 0x2f]),
        (64 * MIB + 64, b"_BHRfS_M"),
        (1, &[1]),
        (size - 1, &[1]),
    ] {
        let contents = look(&Sparse::blank().put(at, bytes), size);
        assert_eq!(contents.state, ContentsState::Unknown, "at {at}");
        assert_eq!(contents.summary, "unknown data", "at {at}");
    }
    assert_eq!(look(&noise(48 * MIB)[..], 48 * MIB).summary, "unknown data");
}

#[test]
fn a_disk_that_cannot_be_read_or_only_in_parts_is_never_empty() {
    let size = 500_107_862_016;
    for broken in [
        0..size,
        0..1,
        size - 1..size,
        size / 3..size / 2,
        512..513,
        size - 512..size - 511,
    ] {
        let disk = Sparse {
            broken: Some(broken.clone()),
            ..Sparse::blank()
        };
        let contents = look(&disk, size);
        assert_eq!(
            (contents.state, contents.summary.as_str()),
            (ContentsState::Unreadable, "cannot be read"),
            "{broken:?}"
        );
    }
    let disk = gpt(48 * MIB, 512, &[(MIB, 40 * MIB)]);
    let disk = Sparse {
        broken: Some(47 * MIB..48 * MIB),
        ..Sparse::blank().put(0, &disk[..1 << 20])
    };
    let contents = look(&disk, 48 * MIB);
    assert_eq!(contents.state, ContentsState::Unreadable);
    assert_eq!(contents.summary, "data, 1 partition, 42 MB, parts of it cannot be read");
}

#[test]
fn a_table_with_data_behind_it_is_never_called_an_empty_table() {
    let (size, noise) = (48 * MIB, noise(8 * MIB));
    let fill = |mut disk: Vec<u8>| {
        disk[20 << 20..28 << 20].copy_from_slice(&noise);
        disk
    };
    let told = |disk: Vec<u8>| {
        let contents = look(&disk[..], disk.len() as u64);
        (contents.state, contents.summary)
    };
    let empty = gpt(size, 512, &[]);
    assert_eq!(
        told(empty.clone()),
        (ContentsState::Known, "an empty gpt partition table".into()),
        "a table is something, too"
    );
    assert_eq!(
        told(fill(empty)),
        (
            ContentsState::Unknown,
            "an empty gpt partition table, unknown data".into()
        )
    );
    let mut damaged = fill(gpt(size, 512, &[(MIB, 40 * MIB)]));
    damaged[512 + 84] = 1;
    let copy = damaged.len() - 512;
    assert_eq!(
        told(damaged.clone()).1,
        "data, 1 partition, 42 MB, its table is gone from the start of the disk, its copy at the end is there"
    );
    damaged[copy + 84] = 1;
    assert_eq!(
        told(damaged),
        (
            ContentsState::Unknown,
            "a partition table (gpt), its table is damaged, unknown data".into()
        )
    );
    let mut first_gone = gpt(size, 512, &[(MIB, 40 * MIB)]);
    first_gone[..1 << 20].fill(0);
    assert_eq!(told(first_gone).0, ContentsState::Known);
    let (state, words) = told(gpt(2 * size, 512, &[(MIB, 90 * MIB)])[..48 << 20].to_vec());
    assert_eq!(state, ContentsState::Known);
    assert!(words.contains("partitions that end behind the disk"), "{words}");
    let (state, words) = told(gpt(size, 4096, &[(MIB, 40 * MIB)]));
    assert_eq!(state, ContentsState::Known);
    assert!(
        words.contains("1 partition") && words.contains("another size"),
        "{words}"
    );
}

#[test]
fn a_table_of_today_counts_more_than_what_is_left_of_a_former_one() {
    let mut disk = gpt(48 * MIB, 512, &[(MIB, 40 * MIB)]);
    disk[446 + 4] = 0x83;
    disk[512..2 << 20].fill(0);
    assert_eq!(look(&disk[..], 48 * MIB).table.as_deref(), Some("mbr"));
}

#[test]
fn a_windows_disk_is_recognised_before_anybody_approves_its_end() {
    let mut disk = vec![0; 16 << 20];
    let mut entry = |n: usize, kind: u8, start: u32, sectors: u32| {
        let at = 446 + 16 * n;
        disk[at + 4] = kind;
        disk[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        disk[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
    };
    entry(0, 0x07, 2048, 2048);
    entry(1, 0x07, 4096, 20480);
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    let ntfs = |start, _| {
        (start == MIB).then(|| Found {
            filesystem: "ntfs".into(),
            label: Some("System".into()),
        })
    };
    let contents = read(&disk[..], 16 * MIB, 512, &ntfs);
    assert_eq!(contents.summary, "Windows, 2 partitions, 12 MB");
    assert_eq!(contents.partitions[0].filesystem.as_deref(), Some("ntfs"));
    assert_eq!(contents.partitions[0].label.as_deref(), Some("System"));
    assert_eq!(contents.partitions[1].filesystem, None);
}

#[test]
fn members_of_arrays_and_volume_groups_are_named_as_blkid_knows_them() {
    // No ZFS is smaller than 64 MiB.
    let (size, disk_size) = (72 << 20, 72 * MIB);
    let put = |at: usize, bytes: &[u8]| {
        let mut disk = vec![0; size];
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        disk
    };
    let mut zfs = vec![0; size];
    for slot in 0..16 {
        zfs[128 * 1024 + slot * 1024..][..8].copy_from_slice(&[0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0]);
    }
    let luks = [&b"LUKS\xba\xbe\0\x01"[..], &[0; 200]].concat();
    for (disk, words) in [
        (
            put(size - 1024, b"Intel Raid ISM Cfg Sig. 1.3.00"),
            "Intel RAID member, 75 MB",
        ),
        (zfs, "zfs member, 75 MB"),
        (put(0, &luks), "Linux, luks on the whole disk, 75 MB"),
        (put(0, b"XFSB"), "unknown data"),
    ] {
        assert_eq!(named(&disk).summary, words);
    }
    let mut both = gpt(disk_size, 512, &[(MIB, 40 * MIB)]);
    let label = size - 1024;
    // Firmware writes its label where a table's copy would be.
    both[label - 64 * 1024..].fill(0);
    both[label..label + 30].copy_from_slice(b"Intel Raid ISM Cfg Sig. 1.3.00");
    assert_eq!(
        named(&both).summary,
        "data, 1 partition, 42 MB, Intel RAID member, 75 MB"
    );
}

#[test]
fn a_file_system_in_a_partition_is_named_at_its_place_with_its_label() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.as_file_mut().set_len(40 * MIB).unwrap();
    let made = std::process::Command::new("/sbin/mkfs.ext4")
        .args(["-q", "-F", "-L", "my lab"])
        .arg(file.path())
        .status()
        .unwrap();
    assert!(made.success());
    let mut disk = gpt(48 * MIB, 512, &[(2 * MIB, 40 * MIB)]);
    disk[2 << 20..42 << 20].copy_from_slice(&std::fs::read(file.path()).unwrap());
    let contents = named(&disk);
    let partition = &contents.partitions[0];
    assert_eq!(
        (partition.filesystem.as_deref(), partition.label.as_deref()),
        (Some("ext4"), Some("my lab"))
    );
    assert_eq!(contents.summary, "Linux, 1 partition, 42 MB");
}

#[test]
fn without_blkid_a_disk_is_unknown_and_not_empty() {
    assert_eq!(names::ask(Path::new("/does/not/exist"), 0, MIB), None);
    assert_eq!(look(&Sparse::blank().put(0, b"XFSB"), MIB).summary, "unknown data");
}

proptest! {
    #[test]
    fn a_signature_at_any_place_where_labels_lie_is_never_called_empty(
        signature in prop::collection::vec(any::<u8>(), 1..64).prop_filter("not blank", |s| s.iter().any(|b| *b != 0)),
        from_end in any::<bool>(),
        distance in 0..4 * MIB - 64,
        size in 16 * MIB..1 << 45,
    ) {
        let at = if from_end { size - 64 - distance } else { distance };
        let contents = look(&Sparse::blank().put(at, &signature), size);
        prop_assert_ne!(contents.state, ContentsState::Empty);
    }

    #[test]
    fn a_signature_anywhere_on_a_small_disk_is_never_called_empty(
        signature in prop::collection::vec(1_u8.., 1..64),
        at in 0..31 * MIB,
    ) {
        let contents = look(&Sparse::blank().put(at, &signature), 32 * MIB);
        prop_assert_ne!(contents.state, ContentsState::Empty);
    }

    #[test]
    fn no_disk_is_too_hostile_to_look_at(
        garbage in prop::collection::vec(any::<u8>(), 0..4096),
        size in any::<u64>(),
        table in prop::bool::ANY,
    ) {
        let mut disk = garbage;
        if table && disk.len() > 1024 {
            disk[510..512].copy_from_slice(&[0x55, 0xAA]);
            disk[512..520].copy_from_slice(b"EFI PART");
        }
        let length = disk.len() as u64;
        for (size, sector) in [(size, 512), (size, 4096), (length, 512)] {
            for partition in read(&disk[..], size, sector, NOTHING).partitions {
                prop_assert!(partition.start.checked_add(partition.size).is_some_and(|end| end <= size));
            }
        }
    }
}
