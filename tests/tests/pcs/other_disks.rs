// SPDX-License-Identifier: Apache-2.0
//! The everyday donated PC: an old disk with something on it comes first, the node's disk second.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use tests::journey::{EMPTY_DISKS, Journey, READY};
use tests::vm::{Bus, Disk, Firmware, Pc, Spec};

/// What the foreign system prints: `mov si, text; print: lodsb; test al, al; jz end; int 10h; jmp print; end: hlt, jmp end`.
const CODE: [u8; 24] = [
    0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x30, 0x7c, 0xac, 0x84, 0xc0, 0x74, 0x09, 0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10,
    0xeb, 0xf2, 0xf4, 0xeb, 0xfd,
];
const FOREIGN: &[u8] = b"FOREIGN SYSTEM\r\n\0";
/// Where [`CODE`] looks for its text.
const TEXT: u64 = 0x30;

/// A boot sector on the first disk: with code that starts, or the signature alone, as on a disk with data only.
fn first_disk(pc: &Pc, starts: bool) {
    let disk = OpenOptions::new().write(true).open(pc.disk_file(0)).unwrap();
    if starts {
        disk.write_all_at(&CODE, 0).unwrap();
        disk.write_all_at(FOREIGN, TEXT).unwrap();
    }
    disk.write_all_at(&[0x55, 0xaa], 510).unwrap();
}

#[test]
#[ignore = "an installation and two more starts: part of make test-long"]
fn a_bios_node_starts_its_own_disk_behind_one_with_another_system_and_one_with_data_only() {
    // Too small for a node, so the other one is chosen.
    let first = Disk::new("first", 1 << 30, Bus::Sata);
    let second = Disk::new("second", 8 << 30, Bus::Sata);
    let mut journey = Journey::new(EMPTY_DISKS).unwrap();
    let spec = Spec::new(Firmware::Bios, 79).disks(vec![first, second]);
    let mut pc = journey.pc(spec).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
    for starts in [true, false] {
        pc.cut_power();
        first_disk(&pc, starts);
        journey.power_on(&mut pc).unwrap();
        let runs = journey.ssh_until_it_works(&node, "true");
        runs.unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
        assert!(!pc.serial().text().contains("FOREIGN"), "{}", pc.serial().text());
    }
}
