// SPDX-License-Identifier: Apache-2.0
//! Twenty years of firmware and cards: what starts late, in the wrong place, or not at all.

use std::time::{Duration, Instant};

use tests::journey::{EMPTY_DISKS, ENROL, Journey, READY};
use tests::made_up::changed::Loader;
use tests::neighbour::Neighbour;
use tests::vm::{Bus, Cable, Card, Disk, Firmware, Pc, Spec};

/// Models of QEMU that PCs have, or PCs in a virtual machine.
const CARDS: [&str; 5] = ["virtio-net-pci", "e1000", "e1000e", "rtl8139", "vmxnet3"];
/// What a switch with spanning tree and without edge ports takes for a link, in seconds.
const SPANNING_TREE: u32 = 50;
/// From power-on to the verdict of a firmware on its loader.
const VERDICT: Duration = Duration::from_mins(4);

/// From the power button to the list of nodes.
fn enrols(journey: &mut Journey, pc: &mut Pc) {
    journey.power_on(pc).unwrap();
    journey.wait_for(pc, "enrolled", ENROL).unwrap();
    pc.cut_power();
}

#[test]
fn an_e1000e_boots_a_bios_pc() {
    let mut journey = Journey::new("").unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Bios, 71).card("e1000e")).unwrap();
    enrols(&mut journey, &mut pc);
}

#[test]
#[ignore = "ten starts: part of make test-long"]
fn every_card_boots_a_bios_pc_and_a_uefi_pc() {
    let mut journey = Journey::new("").unwrap();
    let mut number = 80;
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        for card in CARDS {
            number += 1;
            let mut pc = journey.pc(Spec::new(firmware, number).card(card)).unwrap();
            enrols(&mut journey, &mut pc);
        }
    }
}

#[test]
fn a_loader_that_the_firmware_cannot_start_costs_one_start_and_the_next_one_is_tried() {
    let change = |loader: &str| match loader {
        "shimx64.efi" | "ipxe.efi" => Loader::Noise,
        _ => Loader::Same,
    };
    let mut journey = Journey::with_loaders("", change).unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Uefi, 72)).unwrap();
    journey.power_on(&mut pc).unwrap();
    for loader in ["shimx64.efi", "ipxe.efi"] {
        for text in [loader, "failed to load"] {
            let said = pc.serial().wait_for(text, VERDICT);
            said.unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
        }
        // Somebody switches it off and on.
        pc.reset().unwrap();
    }
    journey.wait_for(&mut pc, "enrolled", ENROL).unwrap();
    assert!(pc.serial().text().contains("snponly.efi"));
}

#[test]
fn a_link_that_comes_up_fifty_seconds_late_twice_keeps_no_machine_out() {
    let mut journey = Journey::new("").unwrap();
    journey.lab.spanning_tree(SPANNING_TREE).unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Uefi, 73)).unwrap();
    journey.power_on(&mut pc).unwrap();
    let said = pc.serial().wait_for("node-init: Network", ENROL);
    said.unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
    // The system's driver starts the card anew, and the port is deaf once more.
    pc.set_cable(0, false).unwrap();
    passes(Duration::from_secs(SPANNING_TREE.into()));
    pc.set_cable(0, true).unwrap();
    journey.wait_for(&mut pc, "enrolled", ENROL).unwrap();
}

/// A time, not a condition: the time is what is tested.
fn passes(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::thread::sleep(tests::wait::LOOK);
    }
}

#[test]
fn of_two_cards_that_get_an_address_the_one_with_our_server_is_taken() {
    // iPXE with drivers of its own sees both cards, whichever the firmware came over.
    let change = |loader: &str| {
        if loader == "shimx64.efi" {
            Loader::Gone
        } else {
            Loader::Same
        }
    };
    let mut journey = Journey::with_loaders("", change).unwrap();
    let next_door = journey.lab.next_door().unwrap();
    let _neighbour = Neighbour::dnsmasq(&next_door, &[]).unwrap();
    let mut spec = Spec::new(Firmware::Uefi, 74);
    spec.cards.push(Card {
        model: "virtio-net-pci",
        mac: "52:54:00:77:01:74".into(),
        cable: Cable::Switch,
        boots: true,
    });
    // The firmware would try everything else on it first, for minutes.
    spec.cards[0].boots = false;
    spec.cards[0].cable = Cable::NextDoor;
    let wanted = spec.cards[1].mac.clone();
    let mut pc = journey.pc(spec).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey
        .lab
        .control()
        .wait_for_node("the machine to enrol", ENROL, |node| node.state == "enrolled")
        .unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
    assert_eq!(node.mac.as_deref(), Some(wanted.as_str()));
    assert!(pc.serial().text().contains("ipxe.efi"));
}

#[test]
fn an_unknown_uefi_pc_comes_in_when_somebody_presses_the_key() {
    let mut journey = Journey::new("[enrolment]\nunknown = \"ask\"\n\n").unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Uefi, 75)).unwrap();
    journey.power_on(&mut pc).unwrap();
    let said = pc.serial().wait_for("Press Esc", ENROL);
    said.unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
    pc.press("esc").unwrap();
    journey.wait_for(&mut pc, "enrolled", ENROL).unwrap();
}

#[test]
#[ignore = "three installations: part of make test-long"]
fn a_node_starts_from_a_disk_that_is_not_the_first_from_a_sata_disk_and_from_an_nvme_disk() {
    let disk = |name: &str, bus| Disk::new(name, 8 << 30, bus);
    let small = Disk::new("small", 1 << 30, Bus::Sata);
    for (number, firmware, disks) in [
        (76, Firmware::Bios, vec![small, disk("second", Bus::Sata)]),
        (77, Firmware::Bios, vec![disk("sata", Bus::Sata)]),
        (78, Firmware::Uefi, vec![disk("nvme", Bus::Nvme)]),
    ] {
        let mut journey = Journey::new(EMPTY_DISKS).unwrap();
        let mut pc = journey.pc(Spec::new(firmware, number).disks(disks)).unwrap();
        journey.power_on(&mut pc).unwrap();
        let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
        assert_eq!(journey.lab.control().node(&node.name).unwrap().installs, 1);
    }
}
