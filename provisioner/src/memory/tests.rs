// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use pxe::client::Speaker;

use super::*;

fn machine(maker: [u8; 3], n: u8, firmware: Firmware) -> Client {
    let [a, b, c] = maker;
    Client {
        mac: Mac([a, b, c, 0, 0, n]),
        firmware: Some(firmware),
        speaker: Speaker::PxeRom,
        uuid: None,
        quirk: None,
    }
}

const INTEL: [u8; 3] = [0x00, 0x1b, 0x21];
const REALTEK: [u8; 3] = [0x00, 0xe0, 0x4c];

/// What the machine loads next, as the edge chooses it.
fn next(memory: &Memory, client: &Client) -> Loader {
    let first = bootfile::rungs(client.firmware.unwrap())[0];
    memory.suits(client, |_| true).unwrap_or(first)
}

/// A start that gets to its script, or falls silent after the loader.
fn start(memory: &Memory, client: &Client, falls: &[Loader]) -> Loader {
    memory.change(client.mac, |lessons| lessons.loader.starts_again());
    let loader = next(memory, client);
    memory.change(client.mac, |lessons| {
        client.firmware.unwrap().word().clone_into(&mut lessons.firmware);
        lessons.loader.takes(loader.file());
        if !falls.contains(&loader) {
            lessons.loader.arrives();
        }
    });
    loader
}

#[test]
fn a_loader_that_falls_silent_costs_one_start_and_what_works_is_kept() {
    let (memory, pc) = (Memory::default(), machine(INTEL, 1, Firmware::UefiX64));
    let ladder = bootfile::rungs(Firmware::UefiX64);
    let falls = &ladder[..1];
    assert_eq!(start(&memory, &pc, falls), ladder[0]);
    assert_eq!(start(&memory, &pc, falls), ladder[1]);
    for _ in 0..3 {
        assert_eq!(start(&memory, &pc, falls), ladder[1]);
    }
}

#[test]
fn one_pulled_plug_does_not_take_away_what_has_proven_itself_and_two_in_a_row_do() {
    let (memory, pc) = (Memory::default(), machine(INTEL, 1, Firmware::Bios));
    let ladder = bootfile::rungs(Firmware::Bios);
    start(&memory, &pc, &[]);
    assert_eq!(start(&memory, &pc, ladder), ladder[0]);
    assert_eq!(start(&memory, &pc, &[]), ladder[0], "one silence");
    assert_eq!(start(&memory, &pc, ladder), ladder[0]);
    assert_eq!(start(&memory, &pc, ladder), ladder[0]);
    assert_eq!(start(&memory, &pc, &[]), ladder[1], "two in a row");
}

#[test]
fn when_all_have_fallen_silent_each_has_its_turn_again() {
    let (memory, pc) = (Memory::default(), machine(INTEL, 1, Firmware::UefiX64));
    let ladder = bootfile::rungs(Firmware::UefiX64);
    for round in 0..3 {
        for rung in ladder {
            assert_eq!(start(&memory, &pc, ladder), *rung, "round {round}");
        }
    }
}

#[test]
fn a_loader_that_is_not_there_is_passed_over() {
    let (memory, pc) = (Memory::default(), machine(INTEL, 1, Firmware::UefiX64));
    let ladder = bootfile::rungs(Firmware::UefiX64);
    start(&memory, &pc, &ladder[..1]);
    memory.change(pc.mac, |lessons| lessons.loader.starts_again());
    let there = |file: &str| ladder[0].files().any(|there| there == file);
    assert_eq!(memory.suits(&pc, there), None, "the edge then offers what there is");
}

#[test]
fn what_worked_on_one_card_is_tried_first_on_the_next_of_its_maker() {
    let memory = Memory::default();
    let ladder = bootfile::rungs(Firmware::UefiX64);
    for n in 1..=2 {
        let pc = machine(REALTEK, n, Firmware::UefiX64);
        start(&memory, &pc, &ladder[..1]);
        start(&memory, &pc, &ladder[..1]);
    }
    assert_eq!(next(&memory, &machine(REALTEK, 9, Firmware::UefiX64)), ladder[1]);
    assert_eq!(next(&memory, &machine(INTEL, 9, Firmware::UefiX64)), ladder[0]);
    let bios = bootfile::rungs(Firmware::Bios)[0];
    assert_eq!(
        next(&memory, &machine(REALTEK, 9, Firmware::Bios)),
        bios,
        "another firmware"
    );
    // An address that somebody made up has no maker.
    assert_eq!(
        next(&memory, &machine([2, 0xe0, 0x4c], 9, Firmware::UefiX64)),
        ladder[0]
    );
}

#[test]
fn a_model_says_more_than_a_maker() {
    let memory = Memory::default();
    let ladder = bootfile::rungs(Firmware::UefiX64);
    let model = |pc: &Client, model: &str| memory.change(pc.mac, |lessons| model.clone_into(&mut lessons.model));
    for n in 1..=3 {
        let pc = machine(REALTEK, n, Firmware::UefiX64);
        start(&memory, &pc, &[]);
        model(&pc, "Common");
    }
    let rare = machine(REALTEK, 4, Firmware::UefiX64);
    start(&memory, &rare, &ladder[..1]);
    start(&memory, &rare, &ladder[..1]);
    model(&rare, "Rare");
    let other = machine(REALTEK, 5, Firmware::UefiX64);
    model(&other, "Rare");
    assert_eq!(next(&memory, &other), ladder[1]);
    assert_eq!(next(&memory, &machine(REALTEK, 6, Firmware::UefiX64)), ladder[0]);
}

#[test]
fn a_disk_that_did_not_start_one_way_is_started_the_next_way() {
    let (memory, mac) = (Memory::default(), Mac([0, 1, 2, 3, 4, 5]));
    assert_eq!(memory.ways(mac, &Way::ALL), Way::ALL);
    memory.change(mac, |lessons| {
        lessons.disk.takes("chain");
        lessons.disk.starts_again();
    });
    assert_eq!(memory.ways(mac, &Way::ALL), [Way::Exit, Way::Chain]);
    memory.change(mac, |lessons| {
        lessons.disk.takes("exit");
        lessons.disk.arrives();
    });
    assert_eq!(memory.ways(mac, &Way::ALL)[0], Way::Exit);
    // "sanboot" was a way before; what is remembered of it means nothing any more.
    memory.change(mac, |lessons| {
        lessons.disk.takes("sanboot");
        lessons.disk.arrives();
    });
    assert_eq!(memory.ways(mac, &Way::ALL), Way::ALL);
}

#[test]
fn a_restart_knows_what_was_learnt_and_the_number_of_cards_is_bounded() {
    let memory = Memory::default();
    let pc = machine(INTEL, 1, Firmware::Bios);
    start(&memory, &pc, &[]);
    for n in 0..u32::try_from(CARDS).unwrap() + 10 {
        let [_, a, b, c] = n.to_be_bytes();
        memory.change(Mac([0, 9, 9, a, b, c]), |lessons| lessons.loader.takes("ipxe.efi"));
    }
    let saved = memory.take_changed();
    assert!(memory.take_changed().is_empty());
    assert_eq!(saved.iter().filter(|(_, lessons)| lessons.is_some()).count(), CARDS);
    let kept = saved.into_iter().filter_map(|(mac, lessons)| Some((mac, lessons?)));
    let again = Memory::new(kept);
    assert_eq!(again.of(pc.mac), memory.of(pc.mac));
    assert_eq!(next(&again, &pc), bootfile::rungs(Firmware::Bios)[0]);
}
