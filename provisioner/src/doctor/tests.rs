// SPDX-License-Identifier: Apache-2.0
//! Each symptom, provoked in virtual time; and starts that are well, of which nothing is said.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use provisioner_api::Life;
use pxe::client::{Firmware, Quirk, Speaker, Uuid};
use pxe::dhcp::Kind;

use super::*;
use crate::journal::Step;
use crate::journal::tests::Play;
use crate::network::{Answered, Asked, Company, Ended};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SCRIPT: &str = "http://10.77.0.1:8080/boot/ipxe?mac=x";

fn segment(company: Company, serves: bool) -> SegmentNow {
    SegmentNow {
        interface: "br0".into(),
        address: OURS,
        prefix: 24,
        company,
        serves,
        interrupted: false,
        relayed: false,
        server: OURS,
    }
}

/// What is said of the card of a play, on a segment that is ours alone.
fn findings(play: &Play) -> Vec<Finding> {
    findings_on(play, &segment(Company::Alone, true))
}

fn findings_on(play: &Play, segment: &SegmentNow) -> Vec<Finding> {
    diagnose(&Case {
        card: &play.card(),
        node: None,
        segment: Some(segment),
        next: None,
        now: play.now,
    })
}

/// The one symptom that there is, with its words.
fn symptom(play: &Play) -> (String, String) {
    the_one(findings(play))
}

fn the_one(findings: Vec<Finding>) -> (String, String) {
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let finding = findings.into_iter().next().unwrap();
    assert!(finding.action.len() > 10, "{finding:?}");
    (finding.symptom, finding.says)
}

fn is(play: &Play, word: &str, words: &str) {
    let (symptom, says) = symptom(play);
    assert_eq!(symptom, word, "{says}");
    assert!(says.contains(words), "{says}");
}

/// Asks so often that it is no accident.
fn insists(play: &mut Play, told: Option<&str>) {
    for _ in 0..4 {
        play.wait(8).say(Speaker::PxeRom, Kind::Discover, None);
        if let Some(told) = told {
            play.answer(Answered::Offer, told);
        }
    }
}

#[test]
fn of_a_start_that_arrives_nothing_is_said() {
    let mut play = Play::new(Firmware::Bios);
    play.climbs("discover");
    assert_eq!(findings(&play), []);
    play.note(Step::Kernel).note(Step::Initrd);
    assert_eq!(findings(&play), []);
    play.wait(60).note(Step::Registered { life: Life::Ram }).wait(3600);
    assert_eq!(findings(&play), []);
}

#[test]
fn of_a_start_that_is_under_way_nothing_is_said() {
    let mut play = Play::new(Firmware::UefiX64);
    play.dhcp(Speaker::PxeRom, "ipxe.efi");
    assert_eq!(findings(&play), []);
    // UEFI asks how large the file is and breaks off: normal.
    play.fetch("ipxe.efi", 0, 1_000_000, Ended::SizeOnly);
    assert_eq!(findings(&play), []);
    play.fetch("ipxe.efi", 1_000_000, 1_000_000, Ended::Whole);
    assert_eq!(findings(&play), []);
    play.fetch("revocations_sku.efi", 0, 0, Ended::Absent);
    play.wait(5).dhcp(Speaker::Ipxe, SCRIPT);
    assert_eq!(findings(&play), []);
}

#[test]
fn a_machine_that_is_long_gone_is_forgotten() {
    let mut play = Play::new(Firmware::UefiX64);
    play.dhcp(Speaker::PxeRom, "ipxe.efi");
    play.fetch("ipxe.efi", 1_000_000, 1_000_000, Ended::Whole);
    is(play.wait(100), "loader-silent", "ipxe.efi 100 s ago");
    assert_eq!(findings(play.wait(3 * 3600)), []);
}

#[test]
fn a_loader_that_fell_silent_names_the_next_one() {
    let mut play = Play::new(Firmware::UefiX64);
    play.dhcp(Speaker::PxeRom, "ipxe.efi");
    play.fetch("ipxe.efi", 1_000_000, 1_000_000, Ended::Whole);
    play.wait(40);
    let card = play.card();
    let case = Case {
        card: &card,
        node: None,
        segment: None,
        next: Some(Loader::SnponlyX64),
        now: play.now,
    };
    let (_, says) = the_one(diagnose(&case));
    assert!(
        says.contains("40 s ago, then nothing: the next start gets snponly.efi"),
        "{says}"
    );
    let (_, says) = the_one(diagnose(&Case { next: None, ..case }));
    assert!(says.contains("no other loader is left"), "{says}");
    let worked = Some(Loader::IpxeX64);
    let (_, says) = the_one(diagnose(&Case { next: worked, ..case }));
    assert!(says.contains("worked before"), "{says}");
}

#[test]
fn offers_that_nobody_takes_name_the_other_server() {
    let mut play = Play::new(Firmware::UefiX64);
    insists(&mut play, Some("ipxe.efi"));
    is(&play, "offers-ignored", "do not reach it");
    play.note(Step::Other { server: OTHER });
    is(
        &play,
        "offers-ignored",
        "offers are sent and it keeps asking: 192.0.2.1 answers too",
    );
    play.say(Speaker::PxeRom, Kind::Request, Some(OTHER));
    is(
        &play,
        "offers-ignored",
        "takes its address from 192.0.2.1 and never comes",
    );
}

#[test]
fn a_machine_that_we_keep_quiet_to_is_told_why() {
    let mut play = Play::new(Firmware::UefiX64);
    insists(&mut play, None);
    let (symptom, says) = the_one(findings_on(&play, &segment(Company::Beside(OTHER), false)));
    assert_eq!(symptom, "not-answered");
    assert!(says.contains("192.0.2.1 answers DHCP on br0"), "{says}");
}

#[test]
fn an_empty_pool_and_an_unknown_architecture_have_their_words() {
    let mut play = Play::new(Firmware::Bios);
    play.say(Speaker::PxeRom, Kind::Discover, None);
    play.answer(Answered::NoAddress, "");
    is(&play, "no-address", "none is left in the pool");

    let mut play = Play::new(Firmware::Other(4));
    let why = format!("{}: there is no loader for this kind of machine", Firmware::Other(4));
    play.dhcp(Speaker::PxeRom, &why);
    is(&play, "no-loader", "architecture 4");

    let mut play = Play::new(Firmware::UefiIa32);
    play.dhcp(
        Speaker::PxeRom,
        "uefi-ia32: no loader is imported (wanted ipxe-ia32.efi)",
    );
    is(&play, "no-loader", "no loader is imported");
}

#[test]
fn what_firmware_says_wrongly_is_named() {
    let mut play = Play::new(Firmware::UefiX64);
    play.client.quirk = Some(Quirk::NoVendorClass);
    play.dhcp(Speaker::System, "");
    is(&play, "no-vendor-class", "option 60");

    let mut play = Play::new(Firmware::UefiX64);
    play.client.quirk = Some(Quirk::HttpWithoutClass);
    insists(&mut play, Some("http://10.77.0.1:8080/loaders/ipxe.efi"));
    is(&play, "http-without-class", "HTTPClient");
}

#[test]
fn a_relay_of_another_network_is_named() {
    let play = Play::new(Firmware::Bios);
    let asked = Asked {
        client: &play.client,
        interface: &"br0".into(),
        kind: Kind::Discover,
        xid: 1,
        secs: 0,
        address: None,
        chosen: None,
        relay: Some(OTHER),
        relay_agent: &[],
        stranded: Some(OTHER),
    };
    play.journal.asked(&asked, play.now);
    is(&play, "stranded", "the relay 192.0.2.1");
}

#[test]
fn two_machines_with_one_card_are_seen() {
    let mut play = Play::new(Firmware::Bios);
    for n in 0..2 {
        play.client.uuid = Some(Uuid([n + 1; 16]));
        play.wait(60).climbs("discover");
        play.note(Step::Registered { life: Life::Ram });
    }
    is(&play, "shared-mac", "two machines start with the card 00:1b");
}

#[test]
fn a_file_that_somebody_else_told_of_is_named_and_what_loaders_can_do_without_is_not() {
    let mut play = Play::new(Firmware::Bios);
    play.dhcp(Speaker::PxeRom, "undionly.kpxe");
    play.fetch("grub/x86_64-efi/command.lst", 0, 0, Ended::Absent);
    assert_eq!(findings(&play), []);
    play.fetch("pxelinux.0", 0, 0, Ended::Absent);
    is(&play, "missing-file", "the file pxelinux.0");
}

#[test]
fn a_request_for_a_file_that_was_refused_is_told_with_what_was_asked_for() {
    let mut play = Play::new(Firmware::Bios);
    play.dhcp(Speaker::PxeRom, "undionly.kpxe");
    play.fetch("undionly.kpxea\\x11", 0, 0, Ended::Refused);
    is(play.wait(60), "refused-file", "undionly.kpxea\\x11");
    assert!(play.card().last().unwrap().steps.iter().any(|seen| {
        let words = seen.step.to_string();
        words.contains("undionly.kpxea\\x11") && words.contains("refused")
    }));
    // What it is refused before it gets on is no symptom.
    play.fetch("undionly.kpxe", 80_000, 80_000, Ended::Whole);
    assert_ne!(symptom(play.wait(60)).0, "refused-file");
}

#[test]
fn a_loader_that_is_never_fetched_names_the_firewall_or_the_other_server() {
    let mut play = Play::new(Firmware::Bios);
    play.dhcp(Speaker::PxeRom, "undionly.kpxe");
    assert_eq!(findings(play.wait(10)), []);
    is(play.wait(60), "loader-unfetched", "never fetched undionly.kpxe");
    assert!(findings(&play)[0].action.contains("UDP port 69"));
    play.note(Step::Other { server: OTHER }).wait(60);
    assert!(findings(&play)[0].action.contains("192.0.2.1"));

    // Where somebody else leases, it takes that address and is told by us.
    let mut play = Play::new(Firmware::UefiX64);
    play.say(Speaker::PxeRom, Kind::Discover, None);
    play.answer(Answered::Proxy, "ipxe.efi");
    play.say(Speaker::PxeRom, Kind::Request, Some(OTHER));
    let found = the_one(findings_on(play.wait(60), &segment(Company::Beside(OTHER), true)));
    assert_eq!(found.0, "loader-unfetched", "{}", found.1);

    // HTTP Boot has another port, and a machine that is told nothing has nothing to fetch.
    let mut play = Play::new(Firmware::UefiX64);
    play.dhcp(Speaker::HttpBoot, "http://10.77.0.1:8080/loaders/ipxe.efi");
    play.wait(60);
    assert!(
        findings(&play)[0].action.contains("TCP port 8080"),
        "{:?}",
        findings(&play)
    );
    let mut play = Play::new(Firmware::UefiX64);
    play.dhcp(Speaker::PxeRom, "");
    assert_eq!(findings(play.wait(60)), []);
}

#[test]
fn a_loader_that_broke_off_names_the_cable() {
    let mut play = Play::new(Firmware::Bios);
    play.dhcp(Speaker::PxeRom, "undionly.kpxe");
    play.fetch("undionly.kpxe", 20_000, 80_000, Ended::Broken);
    is(play.wait(60), "loader-broken", "undionly.kpxe");
}

#[test]
fn a_loader_that_asks_like_firmware_is_a_loop() {
    let mut play = Play::new(Firmware::Bios);
    for _ in 0..3 {
        play.wait(5).dhcp(Speaker::PxeRom, "undionly.kpxe");
        play.fetch("undionly.kpxe", 80_000, 80_000, Ended::Whole);
    }
    is(&play, "loader-loop", "again and again");
    // One that goes on after that is none.
    play.wait(1).script("discover");
    assert_eq!(findings(&play), []);
}

#[test]
fn an_ipxe_that_never_reads_its_script_names_the_firewall() {
    let mut play = Play::new(Firmware::Bios);
    play.dhcp(Speaker::PxeRom, "undionly.kpxe");
    play.fetch("undionly.kpxe", 80_000, 80_000, Ended::Whole);
    play.wait(4).dhcp(Speaker::Ipxe, SCRIPT);
    is(play.wait(60), "ipxe-without-script", "never read its boot script");
}

#[test]
fn every_stop_between_the_script_and_node_init_has_its_words() {
    let mut play = Play::new(Firmware::Bios);
    play.climbs("discover");
    is(play.wait(40), "script-without-kernel", "never fetched the kernel");
    play.note(Step::Kernel);
    is(play.wait(40), "kernel-without-initramfs", "the kernel and then nothing");
    play.note(Step::Initrd);
    assert_eq!(findings(play.wait(100)), []);
    is(
        play.wait(100),
        "kernel-without-node-init",
        "no node-init: less than 512 MB?",
    );
    play.say(Speaker::System, Kind::Discover, None);
    is(play.wait(60), "kernel-without-register", "node-init has not called");

    let mut play = Play::new(Firmware::Bios);
    play.climbs("stop");
    is(&play, "stopped", "no RAM environment");

    let mut play = Play::new(Firmware::Bios);
    play.climbs("discover");
    play.script("too-old");
    is(&play, "too-old", "32-bit");

    let mut play = Play::new(Firmware::Bios);
    play.climbs("local-disk");
    play.script("not-found");
    is(&play, "not-found", "none of its disks");
}

#[test]
fn an_installer_that_runs_is_not_taken_for_a_system_without_node_init() {
    let mut play = Play::new(Firmware::Bios);
    play.climbs("install");
    is(play.wait(40), "script-without-kernel", "never fetched the kernel");
    play.note(Step::Kernel).note(Step::Initrd);
    play.wait(60).say(Speaker::System, Kind::Discover, None);
    assert_eq!(findings(play.wait(3600)), []);
}

#[test]
fn a_disk_that_does_not_start_brings_its_machine_back() {
    let mut play = Play::new(Firmware::Bios);
    for _ in 0..2 {
        play.wait(60).climbs("local-disk");
        assert_eq!(findings(&play), []);
    }
    play.wait(60).climbs("local-disk");
    is(&play, "disk-loop", "3 times");
    play.note(Step::Registered { life: Life::Installed });
    assert_eq!(findings(&play), [], "it is home");
}

#[test]
fn a_link_that_came_up_late_is_a_note_beside_a_start_that_arrives() {
    let mut play = Play::new(Firmware::Bios);
    play.secs = 45;
    play.climbs("discover");
    play.note(Step::Registered { life: Life::Ram });
    let findings = findings(&play);
    assert_eq!((findings[0].symptom.as_str(), findings[0].grave), ("late-link", false));
    assert!(findings[0].says.contains("45 s late") && findings[0].action.contains("edge port"));
}

#[test]
fn every_symptom_of_the_table_is_provoked_here() {
    let tests = include_str!("tests.rs");
    for (word, _) in SYMPTOMS.iter().chain(&NOTES) {
        assert!(tests.contains(&format!("\"{word}\"")), "{word}");
    }
}
