// SPDX-License-Identifier: Apache-2.0
//! Machines whose firmware cannot boot from the network at all: a stick brings them to the same boot script.

use std::path::Path;
use std::process::Command;

use tests::journey::{EMPTY_DISKS, ENROL, Journey, READY};
use tests::vm::{Bus, Disk, Firmware, Pc, Spec};

/// A PC without boot ROM and with the stick plugged in, before it is switched on.
fn with_stick(journey: &mut Journey, firmware: Firmware, number: u8, card: &'static str) -> Pc {
    let mut spec = Spec::new(firmware, number).card(card);
    spec.cards[0].boots = false;
    spec.disks_first = true;
    spec.disks.insert(0, Disk::new("stick", 1 << 20, Bus::Usb));
    let pc = journey.pc(spec).unwrap();
    build(journey, &pc.disk_file(0));
    pc
}

/// As an operator does it, from the packages that `make images` has left in the cache.
fn build(journey: &Journey, out: &Path) {
    let mut images = Command::new(journey.lab.artifacts.program("images").unwrap());
    images.args(["build", "boot-stick", "--out"]).arg(out);
    let built = images
        .env("GLEANER_CACHE", &journey.lab.artifacts.cache)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

fn enrols(firmware: Firmware, number: u8, card: &'static str) {
    let mut journey = Journey::new("").unwrap();
    let mut pc = with_stick(&mut journey, firmware, number, card);
    journey.power_on(&mut pc).unwrap();
    journey.wait_for(&mut pc, "enrolled", ENROL).unwrap();
    let said = pc.serial().text();
    assert!(said.contains("from the network"), "it went by the boot script:\n{said}");
}

#[test]
fn a_bios_pc_without_boot_rom_starts_from_the_stick() {
    enrols(Firmware::Bios, 63, "e1000");
}

#[test]
fn a_uefi_pc_without_boot_rom_starts_from_the_stick() {
    enrols(Firmware::Uefi, 64, "e1000");
}

#[test]
fn with_secure_boot_on_the_stick_says_what_to_do() {
    let mut journey = Journey::new("").unwrap();
    let mut pc = with_stick(&mut journey, Firmware::SecureBoot, 65, "e1000");
    journey.power_on(&mut pc).unwrap();
    let said = pc.serial().wait_for("Secure Boot is on", ENROL);
    said.unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
}

#[test]
#[ignore = "two installations: part of the long run"]
fn a_node_that_starts_from_the_stick_goes_on_to_its_own_disk_and_not_to_the_stick_again() {
    for (firmware, number) in [(Firmware::Bios, 66), (Firmware::Uefi, 67)] {
        let mut journey = Journey::new(EMPTY_DISKS).unwrap();
        let mut pc = with_stick(&mut journey, firmware, number, "e1000");
        journey.power_on(&mut pc).unwrap();
        let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
        let said = pc.serial().text();
        assert!(said.contains("starts from its own disk"), "{said}");
        let detail = journey.lab.control().node(&node.name).unwrap();
        assert_eq!(detail.installs, 1);
    }
}
