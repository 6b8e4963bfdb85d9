// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use provisioner_api::{DiskContents, DiskHealth, DiskPartition};

use super::*;

const GB: u64 = 1_000_000_000;

fn disk(name: &str, size: u64) -> Disk {
    Disk {
        name: name.into(),
        by_path: Some(format!("pci-0000:00:1f.2-{name}")),
        model: None,
        serial: Some(format!("SERIAL-{name}")),
        wwn: None,
        size,
        rotational: false,
        removable: false,
        read_only: false,
        transport: Transport::Ata,
        health: None,
        in_use: false,
        contents: DiskContents::default(),
    }
}

fn machine(disks: Vec<Disk>) -> Inventory {
    Inventory {
        disks,
        ..Inventory::default()
    }
}

fn rule(choose: Choose) -> DiskRule {
    DiskRule {
        choose,
        min_size: 8 * GB,
    }
}

#[test]
fn the_rule_decides_among_good_disks() {
    let inventory = machine(vec![disk("sda", 500 * GB), disk("sdb", 64 * GB), disk("sdc", 4 * GB)]);
    let name = |choose| super::choose(&rule(choose), &inventory).map(|choice| choice.name);
    assert_eq!(name(Choose::Smallest).unwrap(), "sdb", "sdc is below the least size");
    assert!(
        named("sdc", 8 * GB, &inventory).unwrap_err().contains("too small"),
        "also when it is named"
    );
    assert_eq!(name(Choose::Largest).unwrap(), "sda");
    assert_eq!(name(Choose::Serial("serial-SDA".into())).unwrap(), "sda");
    assert_eq!(name(Choose::ByPath("pci-0000:00:1f.2-sdb".into())).unwrap(), "sdb");
    assert!(name(Choose::Only).unwrap_err().contains("several disks"));
    assert!(
        name(Choose::Serial("other".into()))
            .unwrap_err()
            .contains("no disk that can be used")
    );
}

#[test]
fn a_disk_that_is_removable_usb_read_only_in_use_failing_or_nameless_is_never_chosen() {
    let never = |change: fn(&mut Disk), words: &str| {
        let mut bad = disk("sda", 500 * GB);
        change(&mut bad);
        let inventory = machine(vec![bad]);
        for choose in [
            Choose::Smallest,
            Choose::Largest,
            Choose::Only,
            Choose::Serial("SERIAL-sda".into()),
        ] {
            let why = super::choose(&rule(choose), &inventory).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
        assert!(named("sda", 0, &inventory).unwrap_err().contains(words));
    };
    never(|disk| disk.removable = true, "removable");
    never(|disk| disk.transport = Transport::Usb, "USB");
    never(|disk| disk.read_only = true, "cannot be written");
    never(|disk| disk.in_use = true, "in use");
    never(
        |disk| {
            let summary = "212 bad sectors".into();
            disk.health = Some(DiskHealth {
                passed: false,
                bad_sectors: None,
                power_on_hours: None,
                summary,
            });
        },
        "212 bad sectors",
    );
    never(
        |disk| {
            disk.serial = None;
            disk.by_path = None;
        },
        "neither serial number",
    );
}

#[test]
fn two_disks_of_one_size_are_no_answer() {
    let inventory = machine(vec![disk("sda", 500 * GB), disk("sdb", 500 * GB)]);
    let why = choose(&rule(Choose::Smallest), &inventory).unwrap_err();
    assert!(why.contains("same size") && why.contains("--disk"), "{why}");
    assert_eq!(named("sdb", 0, &inventory).unwrap().name, "sdb");
    assert_eq!(named("/dev/sdb", 0, &inventory).unwrap().name, "sdb");
}

#[test]
fn a_machine_without_disks_says_so() {
    assert!(
        choose(&rule(Choose::Smallest), &machine(vec![]))
            .unwrap_err()
            .contains("no disk")
    );
}

#[test]
fn what_is_on_the_disk_is_told() {
    let mut windows = disk("sda", 500 * GB);
    windows.contents.table = Some("gpt".into());
    windows.contents.summary = "Windows, 3 partitions, 212 GB used".into();
    let choice = choose(&rule(Choose::Smallest), &machine(vec![windows])).unwrap();
    assert!(!choice.empty);
    assert!(choice.why.contains("Windows, 3 partitions"), "{}", choice.why);
    let bare = DiskPartition {
        number: 0,
        start: 0,
        size: GB,
        kind: String::new(),
        filesystem: Some("ntfs".into()),
        label: None,
    };
    let mut whole = disk("sda", 500 * GB);
    whole.contents.partitions.push(bare);
    assert!(!is_empty(&whole), "a file system without a table is something");
}

#[test]
fn a_chosen_disk_is_found_again_under_another_kernel_name_and_port() {
    let choice = choose(&rule(Choose::Smallest), &machine(vec![disk("sda", 500 * GB)])).unwrap();
    let mut moved = disk("sda", 500 * GB);
    moved.name = "sdb".into();
    moved.by_path = Some("pci-0000:00:1f.2-ata-4".into());
    let inventory = machine(vec![disk("sdc", 500 * GB), moved]);
    assert_eq!(find(&choice.disk, &inventory).unwrap().name, "sdb");
}

#[test]
fn disks_with_one_label_are_told_apart_by_their_place() {
    let twin = |name: &str| Disk {
        serial: Some("0001".into()),
        ..disk(name, 500 * GB)
    };
    let inventory = machine(vec![twin("sda"), twin("sdb")]);
    let choice = named("sdb", 0, &inventory).unwrap();
    assert_eq!(choice.disk.by_path.as_deref(), Some("pci-0000:00:1f.2-sdb"));
    assert_eq!(find(&choice.disk, &inventory).unwrap().name, "sdb");
}

proptest! {
    #[test]
    fn whatever_is_chosen_is_found_again_and_was_allowed(
        sizes in prop::collection::vec((1_u64..20, any::<bool>(), any::<bool>(), any::<bool>()), 0..6),
        largest in any::<bool>(),
    ) {
        let disks = sizes.iter().enumerate().map(|(at, (size, removable, usb, in_use))| Disk {
            removable: *removable,
            transport: if *usb { Transport::Usb } else { Transport::Ata },
            in_use: *in_use,
            ..disk(&format!("sd{at}"), size * 4 * GB)
        });
        let inventory = machine(disks.collect());
        let rule = rule(if largest { Choose::Largest } else { Choose::Smallest });
        if let Ok(choice) = choose(&rule, &inventory) {
            let found = find(&choice.disk, &inventory).unwrap();
            prop_assert_eq!(&found.name, &choice.name);
            prop_assert!(is_built_in(found) && !found.in_use && found.size >= rule.min_size);
        }
    }
}
