// SPDX-License-Identifier: Apache-2.0
//! A PC that becomes a node without guests: the role `plain`, from its own image.

use tests::journey::{Journey, READY};
use tests::vm::{Firmware, Spec};

/// Machines with empty disks become this.
const PLAIN: &str = "[profiles.plain]\nrole = \"plain\"\nkernel_args = \"console=tty0 console=ttyS0,115200\"\n\n\
                     [[auto_approve]]\nname = \"empty disks\"\nprofile = \"plain\"\ndisks_empty = true\n\n";

#[test]
fn a_pc_becomes_a_plain_node_that_is_ready_without_libvirt() {
    let mut journey = Journey::dark(PLAIN).unwrap();
    journey.lab.start_server().unwrap();
    let images = [
        journey.lab.artifacts.ram().unwrap(),
        journey.lab.artifacts.plain_image().unwrap(),
    ];
    for image in images {
        journey.lab.server().import(&image).unwrap();
    }
    let mut pc = journey.pc(Spec::new(Firmware::Bios, 1)).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
    let node = journey.lab.server().node(&node.name).unwrap();
    let report = node.compute.as_ref().unwrap();
    assert!(report.ready(), "{:#?}", report.checks);
    let names: Vec<&str> = report.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["network", "clock", "capsule", "services", "ssh", "system"]);
    assert_eq!((report.role.as_str(), report.hypervisor.as_ref()), ("plain", None));
    assert!(node.capsule, "its identity is kept");
    let shown = journey
        .lab
        .control()
        .cli(&["node", "show", &node.summary.name])
        .unwrap();
    assert!(
        shown.contains("plain") && !shown.to_lowercase().contains("libvirt"),
        "{shown}"
    );
}
