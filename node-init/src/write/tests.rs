// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use gpt::disk::LogicalBlockSize;
use proptest::prelude::*;
use provisioner_api::SEED_SIZE;

use super::fakes::{FakeDisk, IMAGE, Image, MIB, ROOT, cloud_image, image, old_labels, put_old_labels};
use super::*;

fn install(disk: &FakeDisk, image: &Image) -> Result<(), Trouble> {
    let first = body(disk, &image.manifest, image, &|_, _| {})?;
    let seed = vec![0x5E; usize::try_from(SEED_SIZE).unwrap()];
    let fitted = if image.manifest.cloud_init {
        Fitted::Seed(&seed)
    } else {
        Fitted::Root(None)
    };
    finish(disk, &image.manifest, fitted, first)
}

/// Whether any firmware could take it for bootable: a boot sector, or a GPT where one is looked for.
fn could_boot(disk: &[u8]) -> bool {
    disk[510..512] == [0x55, 0xAA] || &disk[512..520] == b"EFI PART" || &disk[disk.len() - 512..][..8] == b"EFI PART"
}

fn is_complete(disk: &[u8], image: &Image) -> bool {
    let mib = usize::try_from(MIB).unwrap();
    let body = disk[mib..image.raw.len()] == image.raw[mib..];
    body && root_of(disk).is_some()
}

/// First byte and bytes of the root partition.
fn root_of(disk: &[u8]) -> Option<(u64, u64)> {
    let table = table_of(disk)?;
    let root = table.get(&2)?;
    Some((root.first_lba * 512, (root.last_lba - root.first_lba + 1) * 512))
}

/// All partitions, as crate gpt reads them: both headers must be right.
fn table_of(disk: &[u8]) -> Option<BTreeMap<u32, gpt::partition::Partition>> {
    let device = io::Cursor::new(disk.to_vec());
    let config = gpt::GptConfig::default()
        .only_valid_headers(true)
        .logical_block_size(LogicalBlockSize::Lb512);
    let table = config.open_from_device(Box::new(device)).ok()?;
    Some(table.partitions().clone())
}

#[test]
fn an_image_lands_whole_and_its_root_grows_to_the_end_of_the_disk() {
    let (image, disk) = (image(), FakeDisk::new(24 * MIB + 512 * 7, 0xEE));
    install(&disk, &image).unwrap();
    let content = disk.content();
    assert!(is_complete(&content, &image));
    assert_eq!(
        root_of(&content),
        Some((ROOT, 19 * MIB)),
        "up to the last whole MiB before the table's copy"
    );
    assert_eq!(content[..440], image.raw[..440], "the boot code is the image's");
}

#[test]
fn a_root_partition_has_the_size_that_was_asked_for_but_never_less_than_its_file_system() {
    let image = image();
    for (asked, got) in [(15 * MIB, 15 * MIB), (MIB, 9 * MIB), (900 * MIB, 19 * MIB)] {
        let disk = FakeDisk::new(24 * MIB, 0);
        let first = body(&disk, &image.manifest, &image, &|_, _| {}).unwrap();
        finish(&disk, &image.manifest, Fitted::Root(Some(asked)), first).unwrap();
        assert_eq!(root_of(&disk.content()), Some((ROOT, got)), "asked for {asked}");
    }
}

#[test]
fn an_image_for_cloud_init_lands_as_it_is_with_its_seed_in_a_partition_more_at_the_end_of_the_disk() {
    let (image, disk) = (cloud_image(), FakeDisk::new(24 * MIB + 512 * 7, 0xEE));
    install(&disk, &image).unwrap();
    let content = disk.content();
    assert!(is_body_complete(&content, &image));
    let table = table_of(&content).unwrap();
    assert_eq!(
        root_of(&content),
        Some((ROOT, 9 * MIB)),
        "growing is cloud-init's affair"
    );
    let seed = &table[&3];
    assert_eq!(
        (seed.first_lba * 512, seed.last_lba * 512 + 512),
        (19 * MIB, 23 * MIB),
        "whole MiB before the table's copy"
    );
    assert_eq!(
        (seed.name.as_str(), &seed.part_type_guid),
        ("cidata", &gpt::partition_types::BASIC)
    );
    assert_eq!(seed.part_guid.to_string(), "67656c6e-6172-8000-8000-636964617461");
    let place = usize::try_from(19 * MIB).unwrap()..usize::try_from(23 * MIB).unwrap();
    assert!(content[place].iter().all(|byte| *byte == 0x5E));
    // What Debian's own tool says of the whole of it; `make deps` installs it.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &content).unwrap();
    let judged = Command::new("/usr/sbin/sgdisk")
        .arg("-v")
        .arg(file.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(said.contains("No problems found"), "{said}");
}

#[test]
fn a_disk_without_room_for_the_seed_is_left_alone_and_says_what_it_lacks() {
    let image = cloud_image();
    for (size, fits) in [
        (17 * MIB + 33 * 512, true),
        (17 * MIB + 32 * 512, false),
        (IMAGE, false),
    ] {
        let disk = FakeDisk::new(size, 0xEE);
        let done = install(&disk, &image);
        assert_eq!(done.is_ok(), fits, "{size}: {done:?}");
        if let Err(trouble) = done {
            assert!(trouble.to_string().contains("a larger disk is needed"), "{trouble}");
            assert!(disk.content().iter().all(|byte| *byte == 0xEE));
        }
    }
}

/// The first MiB of an image with these partitions of a MiB each, number and name.
fn table_with(partitions: &[(usize, &str)]) -> Vec<u8> {
    let mut raw = image().raw[..FIRST].to_vec();
    raw[1024..1024 + 128 * 128].fill(0);
    for (place, (number, name)) in partitions.iter().enumerate() {
        let entry = &mut raw[1024 + (number - 1) * 128..1024 + number * 128];
        let first = (place as u64 + 1) * 2048;
        entry[..16].fill(0xAF);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&(first + 2047).to_le_bytes());
        for (at, byte) in name.bytes().enumerate() {
            entry[56 + 2 * at] = byte;
        }
    }
    let entries = layout::crc32(&raw[1024..1024 + 128 * 128]);
    raw[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
    layout::seal(&mut raw[512..1024]);
    raw
}

#[test]
fn a_table_that_is_full_or_has_a_seed_already_is_refused_with_words() {
    let (seed, manifest) = ([0; 512], cloud_image().manifest);
    let all: Vec<(usize, &str)> = (1..=128).map(|number| (number, "part")).collect();
    for (partitions, word) in [
        (&all[..], "no free entry"),
        (&[(1, "root"), (7, "CiData")], "CIDATA already"),
    ] {
        let mut first = table_with(partitions);
        let before = first.clone();
        let Err(Trouble::Seed(said)) = layout::fit(&mut first, &manifest, 1 << 30, Fitted::Seed(&seed)) else {
            panic!("{word}")
        };
        assert!(said.contains(word), "{said}");
        assert_eq!(first, before);
    }
}

#[test]
fn power_lost_at_any_write_never_leaves_a_half_written_disk_that_boots_and_the_next_try_completes_it() {
    power_is_lost_at_any_write(&image());
}

#[test]
fn the_same_holds_for_an_image_for_cloud_init_which_never_boots_without_its_seed() {
    power_is_lost_at_any_write(&cloud_image());
}

fn power_is_lost_at_any_write(image: &Image) {
    let whole = FakeDisk::new(20 * MIB, 0xEE);
    install(&whole, image).unwrap();
    let operations = whole.operations.load(Ordering::SeqCst);
    assert!(
        operations > 8,
        "clearing, chunks, holes and three parts of the first MiB"
    );
    let mut before = whole.content();
    for cut in 0..operations {
        // What lies on the disk before is another bootable system: an old installation.
        let disk = FakeDisk {
            cut,
            ..FakeDisk::holding(before.clone())
        };
        assert!(install(&disk, image).is_err());
        let left = disk.content();
        // The very first operation may not have touched the old system's table yet: that is still whole.
        let untouched = left == before;
        assert!(
            untouched || cut == 0 || !could_boot(&left) || is_body_complete(&left, image) && has_its_seed(&left, image),
            "cut at write {cut}"
        );
        let again = FakeDisk::holding(left);
        install(&again, image).unwrap();
        assert!(
            is_complete(&again.content(), image),
            "second try after a cut at write {cut}"
        );
        before = again.content();
    }
}

fn has_its_seed(disk: &[u8], image: &Image) -> bool {
    let seed = usize::try_from(15 * MIB).unwrap()..usize::try_from(19 * MIB).unwrap();
    !image.manifest.cloud_init || disk[seed].iter().all(|byte| *byte == 0x5E)
}

fn is_body_complete(disk: &[u8], image: &Image) -> bool {
    let mib = usize::try_from(MIB).unwrap();
    disk[mib..image.raw.len()] == image.raw[mib..]
}

#[test]
fn no_label_of_a_former_life_is_left_in_the_new_partition_or_on_the_disk() {
    let size = 100 * MIB;
    for (image, root) in [
        (image(), ROOT..99 * MIB),
        // cloud-init grows it up to the seed.
        (cloud_image(), ROOT..95 * MIB),
    ] {
        let mut content = vec![0xEE; usize::try_from(size).unwrap()];
        put_old_labels(&mut content, &root);
        put_old_labels(&mut content, &(0..size));
        let disk = FakeDisk::holding(content);
        install(&disk, &image).unwrap();
        let left = disk.content();
        assert!(is_body_complete(&left, &image));
        assert_eq!(old_labels(&left, &root), [""; 0]);
        assert_eq!(old_labels(&left, &(0..size)), [""; 0]);
    }
}

#[test]
fn a_boot_sector_is_written_only_when_all_else_is_there() {
    let image = image();
    let whole = FakeDisk::new(16 * MIB, 0xEE);
    install(&whole, &image).unwrap();
    let last = whole.operations.load(Ordering::SeqCst) - 1;
    let disk = FakeDisk {
        cut: last,
        ..FakeDisk::new(16 * MIB, 0xEE)
    };
    assert!(install(&disk, &image).is_err());
    assert_eq!(disk.content()[..512], [0; 512]);
}

#[test]
fn one_wrong_byte_on_the_server_is_refused_before_it_can_boot() {
    let mut image = image();
    let middle = image.chunks.len() / 2;
    image.chunks[middle] ^= 1;
    let disk = FakeDisk::new(16 * MIB, 0xEE);
    let trouble = install(&disk, &image).unwrap_err();
    assert!(matches!(trouble, Trouble::Corrupt(_)), "{trouble:?}");
    assert!(!could_boot(&disk.content()));
    assert!(matches!(trouble.cause("D1", "test 1"), FailCause::ImageCorrupt { .. }));
}

#[test]
fn a_chunk_with_fewer_bytes_than_its_place_on_the_disk_is_refused() {
    let mut image = image();
    let packed = zstd::bulk::compress(&vec![7; 3 << 20], 3).unwrap();
    let chunk = &mut image.manifest.chunks[1];
    chunk.hash = blake3::hash(&packed).to_hex().to_string();
    (chunk.offset, chunk.length) = (image.chunks.len() as u64, packed.len() as u64);
    image.chunks.extend(packed);
    let disk = FakeDisk::new(24 * MIB, 0);
    assert!(matches!(install(&disk, &image), Err(Trouble::Corrupt(_))));
}

#[test]
fn a_disk_that_errors_on_write_is_named_with_the_place() {
    let (image, disk) = (
        image(),
        FakeDisk {
            error_at: Some(12 * MIB),
            ..FakeDisk::new(16 * MIB, 0xEE)
        },
    );
    let trouble = install(&disk, &image).unwrap_err();
    let FailCause::DiskWrite {
        disk: name,
        offset,
        detail,
    } = trouble.cause("D1", "test 1")
    else {
        panic!()
    };
    assert_eq!((name.as_str(), offset), ("D1", 12 * MIB));
    assert!(detail.contains("Input/output error"), "{detail}");
    assert!(!could_boot(&disk.content()));
}

#[test]
fn a_disk_that_is_too_small_is_left_alone() {
    let (image, disk) = (image(), FakeDisk::new(13 * MIB, 0xEE));
    assert_eq!(
        install(&disk, &image),
        Err(Trouble::TooSmall {
            need: IMAGE,
            have: 13 * MIB
        })
    );
    assert!(disk.content().iter().all(|b| *b == 0xEE));
}

#[test]
fn the_smallest_disk_that_the_image_was_made_for_is_large_enough() {
    let (image, disk) = (image(), FakeDisk::new(IMAGE, 0xEE));
    install(&disk, &image).unwrap();
    assert_eq!(root_of(&disk.content()), Some((ROOT, 9 * MIB)));
}

#[test]
fn progress_only_rises_and_ends_at_the_whole() {
    let (image, seen) = (image(), Mutex::new(vec![0]));
    body(&FakeDisk::new(24 * MIB, 0), &image.manifest, &image, &|done, all| {
        assert_eq!(all, IMAGE);
        seen.lock().unwrap().push(done);
    })
    .unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&IMAGE));
}

mod signatures {
    use super::*;
    use provisioner_api::ImageRef;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/\
        z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==\n";

    fn image(keys: &[&str]) -> ImageRef {
        let trusted_keys = keys.iter().map(ToString::to_string).collect();
        ImageRef {
            name: "test".into(),
            version: "1".into(),
            url: String::new(),
            trusted_keys,
        }
    }

    #[test]
    fn a_manifest_signed_by_nobody_whom_the_controller_trusts_is_not_even_parsed() {
        let other = "RWRIvTNGJsRmhyGz6F4K2vWjCBYGKIQ+dtsYnwOqHRwXbYcX1BhTS0lY";
        for (signature, keys) in [
            ("", vec![KEY]),
            (SIGNATURE, vec![other]),
            (SIGNATURE, vec![]),
            (SIGNATURE, vec!["x"]),
        ] {
            let refused = manifest::open(b"test", signature, &image(&keys));
            assert!(matches!(refused, Err(Trouble::Untrusted(_))), "{refused:?}");
        }
        assert!(matches!(
            manifest::open(b"Test", SIGNATURE, &image(&[KEY])),
            Err(Trouble::Untrusted(_))
        ));
    }

    #[test]
    fn a_good_signature_does_not_make_garbage_a_manifest() {
        assert!(matches!(
            manifest::open(b"test", SIGNATURE, &image(&[KEY])),
            Err(Trouble::Corrupt(_))
        ));
    }
}

proptest! {
    // Checksums bit by bit are slow without optimisation; a few dozen tables tell as much as a few hundred.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_table_is_too_strange_to_refuse(
        damage in prop::collection::vec((0_usize..34 * 512, any::<u8>()), 1..6),
        size in 0_u64..1 << 50,
        root_size in prop::option::of(any::<u64>()),
        seed in any::<bool>(),
    ) {
        let image = if seed { cloud_image() } else { image() };
        let mut first = image.raw[..FIRST].to_vec();
        for (at, byte) in damage {
            first[at] = byte;
        }
        let fitted = if seed { Fitted::Seed(&[]) } else { Fitted::Root(root_size) };
        let _ = layout::has_room(&image.manifest, size);
        let _ = layout::fit(&mut first, &image.manifest, size, fitted);
    }

    #[test]
    fn a_table_fits_any_disk_that_is_large_enough(sectors in IMAGE / 512..1 << 40, root in prop::option::of(any::<u64>())) {
        let image = image();
        let mut first = image.raw[..FIRST].to_vec();
        let fitted = layout::fit(&mut first, &image.manifest, sectors * 512, Fitted::Root(root)).unwrap();
        prop_assert_eq!(fitted.backup_at + fitted.backup.len() as u64, sectors * 512);
        let last = u64::from_le_bytes(first[1024 + 128 + 40..1024 + 128 + 48].try_into().unwrap());
        prop_assert!(last * 512 < fitted.backup_at && last * 512 > ROOT);
    }

    #[test]
    fn a_seed_lies_behind_all_partitions_of_any_image_on_any_disk_and_changes_none(
        numbers in prop::collection::btree_set(1_usize..=128, 1..20),
        spare in 0_u64..1 << 31,
    ) {
        let partitions: Vec<(usize, &str)> = numbers.iter().rev().map(|number| (*number, "part")).collect();
        let end = (numbers.len() as u64 + 1) * MIB;
        let size = end + SEED_SIZE + MIB + spare * 512;
        let before = table_with(&partitions);
        let mut first = before.clone();
        let mut manifest = cloud_image().manifest;
        manifest.partitions.clear();
        let fitted = layout::fit(&mut first, &manifest, size, Fitted::Seed(&[])).unwrap();
        prop_assert!(fitted.seed_at >= end && fitted.seed_at.is_multiple_of(MIB));
        prop_assert!(fitted.seed_at + SEED_SIZE <= fitted.backup_at);
        prop_assert!(fitted.backup_at - fitted.seed_at < SEED_SIZE + MIB, "nothing is lost");
        prop_assert_eq!(fitted.backup_at + fitted.backup.len() as u64, size);
        let changed = (0..128).filter(|entry| {
            let place = 1024 + entry * 128..1024 + (entry + 1) * 128;
            before[place.clone()] != first[place]
        });
        let free = (1..=128).find(|number| !numbers.contains(number)).unwrap();
        prop_assert_eq!(changed.collect::<Vec<_>>(), [free - 1]);
    }
}
