// SPDX-License-Identifier: Apache-2.0
//! Secure Boot with nothing to enrol: firmware that has Microsoft's keys only starts Debian's shim, shim starts Debian's
//! GRUB, GRUB starts Debian's kernel. No packet tells that Secure Boot is on, so that all x86-64 UEFI machines start so.

use provisioner_api::SecureBoot;
use tests::journey::{EMPTY_DISKS, ENROL, Journey, READY};
use tests::vm::{Bus, Disk, Firmware, Spec};

/// From the power button to Ready: from there on there was one restart, into the disk, through GRUB from the network.
fn becomes_a_node(mut spec: Spec) {
    let mut journey = Journey::new(EMPTY_DISKS).unwrap();
    spec.disks = vec![Disk::new("disk", 8 << 30, Bus::Sata)];
    let mut pc = journey.pc(spec).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
    let detail = journey.lab.control().node(&node.name).unwrap();
    assert_eq!(detail.inventory.secure_boot, SecureBoot::On);
    assert_eq!(detail.installs, 1);
    let said = pc.serial().text();
    assert!(said.contains("starts from its own disk"), "{said}");
    // The kernel itself says that it was started securely.
    let kernel = journey
        .ssh_until_it_works(&node, "dmesg | grep -i 'secure boot'")
        .unwrap();
    assert!(kernel.to_lowercase().contains("secure boot enabled"), "{kernel}");
}

fn http_boot(number: u8) -> Spec {
    let mut spec = Spec::new(Firmware::SecureBoot, number);
    spec.http_boot = true;
    spec
}

#[test]
fn with_secure_boot_on_a_pc_becomes_a_node_and_starts_from_its_sata_disk() {
    becomes_a_node(Spec::new(Firmware::SecureBoot, 61));
}

#[test]
#[ignore = "an installation: part of make test-long"]
fn by_http_boot_with_secure_boot_on_a_pc_becomes_a_node() {
    becomes_a_node(http_boot(68));
}

#[test]
fn http_boot_with_secure_boot_on_reaches_node_init() {
    let mut journey = Journey::new("").unwrap();
    let mut pc = journey.pc(http_boot(62)).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "enrolled", ENROL).unwrap();
    let detail = journey.lab.control().node(&node.name).unwrap();
    assert_eq!(detail.inventory.secure_boot, SecureBoot::On);
}
