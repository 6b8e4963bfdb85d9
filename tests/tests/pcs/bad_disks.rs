// SPDX-License-Identifier: Apache-2.0
//! Bad days of disks, on virtual PCs: each machine says what is wrong in words for a person, on its own screen and in the
//! list of nodes, and nobody else notices.

use provisioner_api::NodeSummary;
use tests::journey::{ENROL, Journey, READY};
use tests::vm::{Bus, Disk, Firmware, Pc, Spec};

/// Approves every machine, whatever is in it.
const EVERYBODY: &str = "[[auto_approve]]\nname = \"everybody\"\n\n";
/// Where the broken disk begins to fail: beyond what clearing tables touches, within what every image writes.
const BROKEN_AT: u64 = 200 << 20;

/// Switches a PC on, waits until it has failed, and checks that its screen says the same as the list.
fn fails(journey: &mut Journey, pc: &mut Pc, words: &[&str]) -> NodeSummary {
    journey.power_on(pc).unwrap();
    let node = journey.wait_for(pc, "failed", READY).unwrap();
    for word in words {
        assert!(
            node.reason.contains(word),
            "{word:?} is not in the reason {:?}",
            node.reason
        );
    }
    // The screen shows the reason, too; its first words are enough, for the screen folds lines.
    let first: String = node.reason.chars().take(24).collect();
    if let Err(error) = pc.serial().wait_for(&first, ENROL) {
        panic!("the screen does not say {first:?}: {error:#}");
    }
    node
}

#[test]
fn a_disk_that_is_too_small_is_never_written_to() {
    let mut journey = Journey::new(EVERYBODY).unwrap();
    let small = Disk::new("small", 1 << 30, Bus::Sata);
    let mut pc = journey.pc(Spec::new(Firmware::Bios, 11).disks(vec![small])).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey
        .lab
        .control()
        .wait_for_node("the small disk to be refused", ENROL, |node| {
            node.reason.contains("too small") || node.reason.contains("no usable disk")
        })
        .unwrap_or_else(|error| panic!("{error:#}"));
    assert!(["enrolled", "failed"].contains(&node.state.as_str()), "{node:#?}");
    pc.serial().wait_for("small", ENROL).unwrap();
    pc.cut_power();
    let written = std::fs::read(pc.disk_file(0)).unwrap();
    assert!(written.iter().all(|byte| *byte == 0), "nothing was written to it");
}

#[test]
fn a_pc_without_a_disk_and_one_with_a_stick_only_are_told_to_get_one() {
    let mut journey = Journey::new(EVERYBODY).unwrap();
    let stick = Disk::new("stick", 16 << 30, Bus::Usb);
    for (number, disks) in [(12, vec![]), (13, vec![stick])] {
        let mut pc = journey.pc(Spec::new(Firmware::Bios, number).disks(disks)).unwrap();
        let mac = pc.spec().cards[0].mac.clone();
        journey.power_on(&mut pc).unwrap();
        let node = journey
            .lab
            .control()
            .wait_for_node("a PC to say that it has no disk", ENROL, |node| {
                node.mac.as_deref() == Some(&mac) && node.reason.contains("disk")
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
        assert!(["enrolled", "failed"].contains(&node.state.as_str()), "{node:#?}");
        pc.serial().wait_for("disk", ENROL).unwrap();
    }
}

#[test]
fn a_disk_that_errors_on_write_fails_its_own_machine_and_no_other() {
    let mut journey = Journey::new(EVERYBODY).unwrap();
    let mut disk = Disk::new("dying", 8 << 30, Bus::Sata);
    disk.writes_fail_from = Some(BROKEN_AT);
    let mut broken = journey.pc(Spec::new(Firmware::Bios, 14).disks(vec![disk])).unwrap();
    let node = fails(&mut journey, &mut broken, &["disk", "replace"]);
    assert!(
        journey
            .lab
            .control()
            .events(&node.name)
            .unwrap()
            .iter()
            .any(|event| event.kind == "failed")
    );
    broken.cut_power();
    let first = first_mebibyte(&broken);
    assert!(
        first.iter().all(|byte| *byte == 0),
        "what was half written cannot start"
    );

    let mut sound = journey.pc(Spec::new(Firmware::Bios, 15)).unwrap();
    journey.power_on(&mut sound).unwrap();
    let sound = journey.wait_for(&mut sound, "installing", READY).unwrap();
    assert_ne!(sound.id, node.id);
}

fn first_mebibyte(pc: &Pc) -> Vec<u8> {
    let mut first = vec![0; 1 << 20];
    std::io::Read::read_exact(&mut std::fs::File::open(pc.disk_file(0)).unwrap(), &mut first).unwrap();
    first
}
