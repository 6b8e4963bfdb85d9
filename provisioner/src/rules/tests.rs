// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use provisioner_api::{ContentsState, Disk, DiskContents, DiskRef, Nic, Transport};
use serde_json::json;

use super::*;

const GIB: u64 = 1 << 30;

fn optiplex() -> Inventory {
    let mut inventory = Inventory {
        memory: 8 * GIB,
        ..Inventory::default()
    };
    inventory.cpu.bits64 = true;
    inventory.cpu.kvm = Kvm::Usable;
    inventory.smbios.system_manufacturer = Some("Dell Inc.".into());
    inventory.smbios.system_product = Some("OptiPlex 755 ".into());
    inventory.nics.push(Nic {
        mac: "00:1E:4f:aa:bb:01".into(),
        ..Nic::default()
    });
    inventory.nics.push(Nic {
        mac: "00:e0:4c:68:00:01".into(),
        usb: true,
        ..Nic::default()
    });
    inventory
}

fn choice() -> Choice {
    let disk = DiskRef {
        wwn: None,
        serial: Some("S".into()),
        by_path: None,
        size: 100 * GIB,
    };
    Choice {
        name: "sda".into(),
        disk,
        why: String::new(),
        empty: true,
    }
}

fn disk() -> Disk {
    Disk {
        name: "sdb".into(),
        by_path: None,
        model: None,
        serial: None,
        wwn: None,
        size: 1,
        rotational: true,
        removable: false,
        read_only: false,
        transport: Transport::Ata,
        health: None,
        in_use: false,
        contents: DiskContents::default(),
    }
}

fn holds(conditions: &Conditions) -> bool {
    conditions.hold(&optiplex(), &choice())
}

#[test]
fn a_rule_without_conditions_fits_every_machine() {
    assert!(holds(&Conditions::default()));
}

#[test]
fn every_condition_counts() {
    let none = Conditions::default;
    assert!(holds(&Conditions {
        manufacturer: Some("dell*".into()),
        product: Some("optiplex ???".into()),
        ..none()
    }));
    assert!(!holds(&Conditions {
        manufacturer: Some("Hewlett*".into()),
        ..none()
    }));
    assert!(!holds(&Conditions {
        product: Some("OptiPlex".into()),
        ..none()
    }));
    assert!(holds(&Conditions {
        memory_min: Some(8 * GIB),
        ..none()
    }));
    assert!(!holds(&Conditions {
        memory_min: Some(8 * GIB + 1),
        ..none()
    }));
    assert!(!holds(&Conditions {
        disk_min: Some(101 * GIB),
        ..none()
    }));
    assert!(!holds(&Conditions {
        cpu_64bit: Some(false),
        ..none()
    }));
    assert!(!holds(&Conditions {
        kvm: Some(false),
        ..none()
    }));
    assert!(holds(&Conditions {
        mac_prefix: Some("00:1e:4f".into()),
        ..none()
    }));
    assert!(
        !holds(&Conditions {
            mac_prefix: Some("00:e0:4c".into()),
            ..none()
        }),
        "a USB card is no fact"
    );
    assert!(!holds(&Conditions {
        firmware: Some(FirmwareType::Uefi64),
        ..none()
    }));
    assert!(holds(&Conditions {
        disks_empty: Some(true),
        ..none()
    }));
}

#[test]
fn a_full_disk_beside_the_chosen_one_is_not_empty_disks() {
    let mut inventory = optiplex();
    let mut disk = disk();
    disk.contents = DiskContents {
        state: ContentsState::Known,
        table: Some("mbr".into()),
        ..DiskContents::default()
    };
    let empty = Conditions {
        disks_empty: Some(true),
        ..Conditions::default()
    };
    inventory.disks.push(disk.clone());
    assert!(!empty.hold(&inventory, &choice()));
    disk.transport = Transport::Usb;
    inventory.disks = vec![disk];
    assert!(
        empty.hold(&inventory, &choice()),
        "the technician's stick does not count"
    );
}

#[test]
fn a_rule_for_empty_disks_takes_no_disk_whose_contents_are_not_known_or_cannot_be_read() {
    let empty = Conditions {
        disks_empty: Some(true),
        ..Conditions::default()
    };
    // What a node-init before this one sent of every disk that it did not understand.
    let told = [
        (json!({"table": null, "partitions": [], "summary": "empty"}), false),
        (
            json!({"state": "unknown", "table": null, "partitions": [], "summary": "unknown data"}),
            false,
        ),
        (
            json!({"state": "unreadable", "table": null, "partitions": [], "summary": "cannot be read"}),
            false,
        ),
        (
            json!({"state": "known", "table": null, "partitions": [], "summary": "empty"}),
            false,
        ),
        (
            json!({"state": "a word of a later version", "table": null, "partitions": [], "summary": "empty"}),
            false,
        ),
        (
            json!({"state": "empty", "table": "gpt", "partitions": [], "summary": "empty"}),
            false,
        ),
        (
            json!({"state": "empty", "table": null, "partitions": [], "summary": "empty"}),
            true,
        ),
    ];
    for (told, is_empty) in told {
        let mut inventory = optiplex();
        let mut disk = disk();
        disk.contents = serde_json::from_value(told.clone()).unwrap();
        inventory.disks = vec![disk];
        assert_eq!(empty.hold(&inventory, &choice()), is_empty, "{told}");
    }
}

#[test]
fn stars_and_question_marks() {
    for (pattern, text) in [
        ("*", ""),
        ("a*c", "abbbc"),
        ("a?c", "ABC"),
        ("*755*", "OptiPlex 755"),
        ("**a", "aa"),
        ("", ""),
    ] {
        assert!(glob(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [("a", "ab"), ("?", ""), ("a*c", "abcd"), ("", "a")] {
        assert!(!glob(pattern, text), "{pattern} {text}");
    }
}

proptest! {
    #[test]
    fn a_pattern_made_of_a_text_fits_it(text in "[a-z]{0,20}", at in 0_usize..20, length in 0_usize..20) {
        let at = at.min(text.len());
        let end = (at + length).min(text.len());
        let pattern = format!("{}*{}", &text[..at], &text[end..]);
        prop_assert!(glob(&pattern, &text));
    }
}
