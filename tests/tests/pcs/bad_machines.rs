// SPDX-License-Identifier: Apache-2.0
//! Bad days of machines, on virtual PCs: dead batteries, too little RAM, cables in the wrong card.

use tests::journey::{ENROL, Journey};
use tests::vm::{Cable, Card, Firmware, Spec};

/// Seconds in a year, roughly: a dead battery is years off.
const YEAR: i64 = 365 * 86_400;

#[test]
fn a_clock_that_says_1970_2010_or_2040_keeps_no_machine_out() {
    let mut journey = Journey::new("").unwrap();
    for (number, rtc, ahead) in [
        (31, "1970-01-01T00:00:10", false),
        (32, "2010-06-01T12:00:00", false),
        (33, "2040-02-03T04:05:06", true),
    ] {
        let mut spec = Spec::new(Firmware::Bios, number);
        spec.rtc = rtc.into();
        let mut pc = journey.pc(spec).unwrap();
        journey.power_on(&mut pc).unwrap();
        let node = journey.wait_for(&mut pc, "enrolled", ENROL).unwrap();
        let detail = journey.lab.control().node(&node.name).unwrap();
        let offset = detail.inventory.rtc.offset.unwrap();
        assert!(if ahead { offset > YEAR } else { offset < -YEAR }, "{rtc}: {offset} s");
        assert!(detail.inventory.rtc.battery_suspect, "{rtc}");
        assert!(
            node.warnings.iter().any(|warning| warning.contains("battery")),
            "{:?}",
            node.warnings
        );
    }
}

#[test]
fn a_machine_with_too_little_memory_says_so_on_its_screen() {
    let mut journey = Journey::new("[[auto_approve]]\nname = \"everybody\"\n\n").unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Bios, 34).memory(256)).unwrap();
    journey.power_on(&mut pc).unwrap();
    let said = pc.serial().wait_for("of RAM", ENROL);
    let said = said.unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
    assert!(said.contains("512"), "it says how much it needs: {said}");
    pc.cut_power();
    assert_eq!(
        std::fs::metadata(pc.disk_file(0))
            .map(|meta| std::os::unix::fs::MetadataExt::blocks(&meta))
            .unwrap(),
        0
    );
}

#[test]
fn a_machine_with_a_processor_of_32_bits_says_so_on_its_screen_and_to_the_server() {
    let mut journey = Journey::new("").unwrap();
    let mut spec = Spec::new(Firmware::Bios, 36);
    spec.processor = Some("qemu32");
    let mut pc = journey.pc(spec).unwrap();
    journey.power_on(&mut pc).unwrap();
    let said = pc.serial().wait_for("it cannot become a node", ENROL);
    said.unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
    let doctor = journey.lab.server().get("/api/v1/doctor").unwrap().to_string();
    assert!(doctor.contains("too-old"), "{doctor}");
    assert_eq!(journey.lab.server().nodes().unwrap().len(), 0);
}

#[test]
fn the_card_that_booted_is_the_one_that_is_used_whatever_comes_first() {
    let mut journey = Journey::new("").unwrap();
    let mut spec = Spec::new(Firmware::Bios, 35);
    // The kernel finds the first card first; only the second has a cable.
    spec.cards.insert(
        0,
        Card {
            model: "e1000",
            mac: "52:54:00:77:01:35".into(),
            cable: Cable::Nowhere,
            boots: true,
        },
    );
    spec.cards[1].model = "rtl8139";
    let wanted = spec.cards[1].mac.clone();
    let mut pc = journey.pc(spec).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey
        .lab
        .control()
        .wait_for_node("the machine to enrol", ENROL, |node| node.state == "enrolled")
        .unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(&mut pc)));
    assert_eq!(node.mac.as_deref(), Some(wanted.as_str()));
    let detail = journey.lab.control().node(&node.name).unwrap();
    let booted: Vec<&str> = detail
        .inventory
        .nics
        .iter()
        .filter(|nic| nic.booted)
        .map(|nic| nic.mac.as_str())
        .collect();
    assert_eq!(booted, [wanted.as_str()]);
    assert_eq!(detail.inventory.nics.len(), 2);
}
