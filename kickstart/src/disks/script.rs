// SPDX-License-Identifier: Apache-2.0
//! The script that chooses on the machine, run over a made-up machine, chooses what is chosen here.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::{Disk, choose};
use crate::spec::{DiskRule, Layout, Spec, Storage, Swap};
use crate::words::{ByPath, FilePath, Serial};
use crate::{Templates, families, render, samples};

const SECTOR: u64 = 512;

/// `/sys/block` and `/dev/disk/by-path` as the kernel and udev would make them.
fn make_up(root: &Path, disks: &[Disk]) {
    fs::create_dir_all(root.join("block")).unwrap();
    fs::create_dir_all(root.join("by-path")).unwrap();
    for disk in disks {
        let bus = if disk.usb { "usb1" } else { "ata1" };
        let device = root.join("devices").join(bus).join(&disk.name);
        fs::create_dir_all(device.join("device")).unwrap();
        let write = |name: &str, text: String| fs::write(device.join(name), text + "\n").unwrap();
        write("size", (disk.size / SECTOR).to_string());
        write("removable", u8::from(disk.removable).to_string());
        write("ro", u8::from(disk.read_only).to_string());
        if let Some(serial) = &disk.serial {
            // Some drivers fill the field up.
            write("device/serial", format!("{serial}    "));
        }
        symlink(&device, root.join("block").join(&disk.name)).unwrap();
        if let Some(place) = &disk.by_path {
            let _ = symlink(Path::new("/dev").join(&disk.name), root.join("by-path").join(place));
        }
    }
}

/// What the script of an installer says: the disks, or nothing where it refuses.
fn run(storage: &Storage, root: &Path) -> Option<Vec<String>> {
    let spec = Spec {
        storage: storage.clone(),
        ..samples::plain().unwrap()
    }
    .check()
    .unwrap();
    let debian = families::named("debian-13").unwrap();
    let answer = render(&Templates::built_in().unwrap(), debian, &spec, &samples::site()).unwrap();
    let text = &answer.files["partman.sh"].text;
    let script = text
        .replace("/sys/block", root.join("block").to_str().unwrap())
        .replace("/dev/disk/by-path", root.join("by-path").to_str().unwrap());
    let around = "nc() { :; }; logger() { :; }; udevadm() { :; }; sleep() { exit 1; }; tail() { :; }; debconf-set() { echo \"$2\"; }\n";
    // dash takes no dash in the name of a function.
    let script = (around.to_owned() + &script)
        .replace("debconf-set", "debconf_set")
        .replace("/tmp/gleaner.said", "/dev/null");
    let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let first = said.lines().next()?;
    Some(
        first
            .split(' ')
            .map(|device| device.trim_start_matches("/dev/").to_owned())
            .collect(),
    )
}

fn any_disks() -> impl Strategy<Value = Vec<Disk>> {
    let disk = (
        8_u64..40,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
        0..4_usize,
        0..4_usize,
    );
    prop::collection::vec(disk, 0..5).prop_map(|disks| {
        let make =
            |(i, (gb, usb, removable, read_only, serial, place)): (usize, (u64, bool, bool, bool, usize, usize))| {
                Disk {
                    name: format!(
                        "{}{}",
                        if i % 2 == 0 { "sd" } else { "vd" },
                        char::from(b'a' + u8::try_from(i).unwrap())
                    ),
                    size: gb * 1_000_000_000,
                    serial: (serial > 0).then(|| format!("WD 0{serial}")),
                    by_path: (place > 0).then(|| format!("pci-0000:00:1f.2-ata-{i}")),
                    usb,
                    removable,
                    read_only,
                }
            };
        disks.into_iter().enumerate().map(make).collect()
    })
}

fn any_rule() -> impl Strategy<Value = DiskRule> {
    prop_oneof![
        (8_u32..40).prop_map(DiskRule::SmallestAbove),
        (1..4_u8).prop_map(|n| DiskRule::Serial(Serial::new(format!("wd 0{n}")).unwrap())),
        (0..5_u8).prop_map(|n| DiskRule::ByPath(ByPath::new(format!("pci-0000:00:1f.2-ata-{n}")).unwrap())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_installer_chooses_what_the_server_foretold(disks in any_disks(), first in any_rule(), second in any_rule(), raid in any::<bool>()) {
        let root = tempfile::tempdir().unwrap();
        make_up(root.path(), &disks);
        let layout = if raid && first != second { Layout::Raid1 { second } } else { Layout::Whole };
        let storage = Storage { disk: first, layout, swap: Swap::None };
        let foretold = choose(&storage, &disks).ok().map(|chosen| {
            std::iter::once(chosen.system).chain(chosen.second).map(|disk| disk.name.clone()).collect::<Vec<_>>()
        });
        prop_assert_eq!(run(&storage, root.path()), foretold);
    }
}

#[test]
fn a_serial_number_with_blanks_is_found_as_node_init_tells_it_and_as_it_was_once_stored() {
    let root = tempfile::tempdir().unwrap();
    let disk = |name: &str, serial: &str| Disk {
        name: name.into(),
        size: 10_000_000_000,
        serial: Some(serial.into()),
        by_path: None,
        usb: false,
        removable: false,
        read_only: false,
    };
    let disks = [disk("sda", "AB CD  13"), disk("sdb", "AB CD  12")];
    make_up(root.path(), &disks);
    for disk in &disks {
        // SATA disks have it in page 80 alone.
        let folder = root.path().join("block").join(&disk.name).join("device");
        fs::remove_file(folder.join("serial")).unwrap();
        let serial = disk.serial.as_deref().unwrap();
        fs::write(folder.join("vpd_pg80"), format!("\0\u{10}\0\u{9}{serial}")).unwrap();
    }
    for wanted in ["AB CD  12", "ABCD12", "AB_CD_12", "ab cd 12"] {
        let storage = Storage {
            disk: DiskRule::Serial(Serial::new(wanted).unwrap()),
            layout: Layout::Whole,
            swap: Swap::None,
        };
        assert_eq!(run(&storage, root.path()), Some(vec!["sdb".to_owned()]), "{wanted}");
        assert_eq!(choose(&storage, &disks).unwrap().system.name, "sdb", "{wanted}");
    }
}

#[test]
fn an_emmc_is_taken_but_neither_its_boot_areas_nor_a_card_in_a_slot() {
    let root = tempfile::tempdir().unwrap();
    let card = |name: &str, gb: u64| Disk {
        name: name.into(),
        size: gb * 1_000_000_000,
        serial: None,
        by_path: None,
        usb: false,
        removable: false,
        read_only: false,
    };
    let names = [
        "mmcblk0",
        "mmcblk0boot0",
        "mmcblk0gp1",
        "mmcblk0rpmb",
        "mmcblk1",
        "mmcblk2",
    ];
    let disks: Vec<Disk> = names
        .into_iter()
        .zip([32, 10, 11, 12, 20, 16])
        .map(|(name, gb)| card(name, gb))
        .collect();
    make_up(root.path(), &disks);
    for (name, kind) in [("mmcblk0", "MMC"), ("mmcblk0boot0", "MMC"), ("mmcblk1", "SD")] {
        fs::write(root.path().join("block").join(name).join("device/type"), kind).unwrap();
    }
    let storage = Storage {
        disk: DiskRule::SmallestAbove(8),
        layout: Layout::Whole,
        swap: Swap::None,
    };
    assert_eq!(run(&storage, root.path()), Some(vec!["mmcblk0".to_owned()]));
}

#[test]
fn nothing_is_answered_where_no_disk_fits() {
    let root = tempfile::tempdir().unwrap();
    make_up(root.path(), &[]);
    let data = Layout::DataDisk {
        disk: DiskRule::SmallestAbove(8),
        mount: FilePath::new("/data").unwrap(),
    };
    let storage = Storage {
        disk: DiskRule::SmallestAbove(8),
        layout: data,
        swap: Swap::None,
    };
    assert_eq!(run(&storage, root.path()), None);
}
