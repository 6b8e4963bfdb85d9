// SPDX-License-Identifier: Apache-2.0
//! A UEFI PC with somebody's data on its disk: nothing happens to it until a person says so.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use nix::unistd::{Whence, lseek};
use tests::journey::{ENROL, Journey, READY};
use tests::lab::SERVER;
use tests::vm::{Firmware, Spec};

/// Where the partition of the prepared disk begins, in sectors.
const START: u32 = 2048;
/// How that partition's file system counts, and where its table of files begins.
const SECTORS_PER_CLUSTER: u8 = 8;
const MFT_CLUSTER: u64 = 4;

#[test]
fn a_pc_with_somebodys_windows_keeps_every_byte_until_a_person_approves_it() {
    let mut journey = Journey::new("").unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Uefi, 2)).unwrap();
    let disk = pc.disk_file(0);
    lay_down_windows(&disk);
    let before = fingerprint(&disk);

    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "enrolled", ENROL).unwrap();
    assert_eq!(node.firmware, "uefi64");
    let shown = journey.lab.control().cli(&["node", "show", &node.name]).unwrap();
    assert!(
        shown.to_lowercase().contains("ntfs") || shown.contains("Windows"),
        "approval shows what is there:\n{shown}"
    );
    pc.serial().wait_for("approv", ENROL).unwrap();

    // However often it is switched off and on.
    pc.cut_power();
    assert_eq!(fingerprint(&disk), before, "nothing was written before approval");
    pc.serial().skip_to_end();
    journey.power_on(&mut pc).unwrap();
    pc.serial().wait_for("approv", ENROL).unwrap();
    assert_eq!(fingerprint(&disk), before, "nor at the second start");
    assert_eq!(
        journey.lab.control().nodes().unwrap().len(),
        1,
        "it is the same machine"
    );

    journey
        .lab
        .control()
        .cli(&["node", "approve", &node.name, "--yes", "--name", "lab-uefi"])
        .unwrap();
    let ready = journey.wait_for(&mut pc, "ready", READY).unwrap();
    assert_eq!((ready.id.as_str(), ready.name.as_str()), (node.id.as_str(), "lab-uefi"));
    let said = journey
        .ssh_until_it_works(&ready, "hostname; test -d /sys/firmware/efi && echo by-uefi")
        .unwrap();
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["lab-uefi", "by-uefi"]);
    let names = "getent hosts nodes > /dev/null && hostname --fqdn && getent hosts controller nodes | cut -d' ' -f1";
    let said = journey.ssh_until_it_works(&ready, names).unwrap();
    let address = ready.address.clone().unwrap_or_default();
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        ["lab-uefi.gleaner.internal", SERVER, &address],
        "it finds itself, the controller and those who serve"
    );

    pc.serial().skip_to_end();
    pc.reset().unwrap();
    pc.serial().wait_for("starts from its own disk", ENROL).unwrap();
    pc.serial().wait_for("login:", READY).unwrap();
    assert_eq!(journey.lab.control().node("lab-uefi").unwrap().installs, 1);
}

/// A boot sector with one partition of type 7, and as much of an NTFS in it as others know it by.
fn lay_down_windows(disk: &Path) {
    let mut sector = [0; 512];
    sector[446] = 0x80;
    sector[446 + 4] = 7;
    sector[446 + 8..446 + 12].copy_from_slice(&START.to_le_bytes());
    sector[446 + 12..446 + 16].copy_from_slice(&8_000_000_u32.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut ntfs = [0; 512];
    ntfs[..11].copy_from_slice(b"\xeb\x52\x90NTFS    ");
    ntfs[11..13].copy_from_slice(&512_u16.to_le_bytes());
    ntfs[13] = SECTORS_PER_CLUSTER;
    ntfs[0x28..0x30].copy_from_slice(&7_999_999_u64.to_le_bytes());
    ntfs[0x30..0x38].copy_from_slice(&MFT_CLUSTER.to_le_bytes());
    ntfs[0x38..0x40].copy_from_slice(&2_u64.to_le_bytes());
    // Records of the table of files have 2 to the power of 10 bytes.
    ntfs[0x40] = 0xf6;
    ntfs[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut record = [0; 1024];
    record[..4].copy_from_slice(b"FILE");
    record[20] = 56;
    record[56..60].copy_from_slice(&[0xff; 4]);
    let mut file = std::fs::OpenOptions::new().write(true).open(disk).unwrap();
    file.write_all(&sector).unwrap();
    file.seek(SeekFrom::Start(u64::from(START) * 512)).unwrap();
    file.write_all(&ntfs).unwrap();
    let table = u64::from(START) * 512 + MFT_CLUSTER * u64::from(SECTORS_PER_CLUSTER) * 512;
    file.seek(SeekFrom::Start(table)).unwrap();
    // The first four: the table itself, its mirror, the journal, and the volume, by which it is known.
    for _ in 0..4 {
        file.write_all(&record).unwrap();
    }
}

/// BLAKE3 of all that is on a disk: every block that is not zeros, and where it is.
fn fingerprint(disk: &Path) -> String {
    let mut file = std::fs::File::open(disk).unwrap();
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; 64 << 10];
    let mut at = 0;
    // Holes are zeros and need not be read.
    while let Ok(data) = lseek(&file, at, Whence::SeekData) {
        at = data - data % 65536;
        file.seek(SeekFrom::Start(at.try_into().unwrap())).unwrap();
        file.read_exact(&mut block).unwrap();
        if block.iter().any(|byte| *byte != 0) {
            hasher.update(&at.to_le_bytes()).update(&block);
        }
        at += 65536;
    }
    hasher.finalize().to_hex().to_string()
}
