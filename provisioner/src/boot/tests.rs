// SPDX-License-Identifier: Apache-2.0
use provisioner_api::{DiskRef, FailCause};

use super::*;
use crate::lifecycle::{Attempt, Confirmed, Plan, System};

const NO_RAM: &str = "import a RAM environment";

fn every_state() -> Vec<(State, Boot)> {
    let disk = DiskRef {
        wwn: None,
        serial: Some("S".into()),
        by_path: None,
        size: 1,
    };
    let plan = || Plan {
        profile: "default".into(),
        disk: disk.clone(),
        second: None,
        system: System::Image,
        confirmed: Confirmed::default(),
    };
    let attempt = Attempt::default();
    let installer = |begun, written| State::Installing {
        plan: Plan {
            system: System::Installer("debian-13".into()),
            ..plan()
        },
        attempt,
        begun,
        written,
    };
    let cause = FailCause::NoDisk {
        found: "nothing".into(),
    };
    vec![
        (State::Enrolled, Boot::Discover),
        (State::Rejected { why: "no".into() }, Boot::LocalDisk),
        (
            State::Approved {
                plan: plan(),
                attempt,
                disk_starts: 0,
            },
            Boot::Discover,
        ),
        (State::Checking { plan: plan(), attempt }, Boot::Discover),
        (State::Wiping { plan: plan(), attempt }, Boot::Discover),
        (
            State::Installing {
                plan: plan(),
                attempt,
                begun: false,
                written: false,
            },
            Boot::Discover,
        ),
        (
            State::Installing {
                plan: plan(),
                attempt,
                begun: false,
                written: true,
            },
            Boot::LocalDisk,
        ),
        (installer(false, false), Boot::Install),
        (installer(true, false), Boot::Install),
        (installer(true, true), Boot::LocalDisk),
        (State::Ready { plan: plan() }, Boot::LocalDisk),
        (State::Draining { plan: plan() }, Boot::LocalDisk),
        (State::Failed { plan: plan(), cause }, Boot::Discover),
        (State::Retired, Boot::LocalDisk),
    ]
}

#[test]
fn each_state_boots_what_it_should() {
    for (state, boot) in every_state() {
        assert_eq!(decide(Card::Of(&state), None), boot, "{state}");
    }
    assert_eq!(decide(Card::Shared, None), Boot::Discover);
}

#[test]
fn without_a_ram_environment_nodes_still_boot_their_disks_and_the_others_are_told_why() {
    for (state, boot) in every_state() {
        let expected = match boot {
            Boot::LocalDisk | Boot::Install => boot,
            _ => Boot::Stop { why: NO_RAM.into() },
        };
        assert_eq!(
            decide(Card::Of(&state), Some(Obstacle::NoRam(NO_RAM))),
            expected,
            "{state}"
        );
    }
    assert_eq!(
        decide(Card::Shared, Some(Obstacle::NoRam(NO_RAM))),
        Boot::Stop { why: NO_RAM.into() }
    );
}

#[test]
fn a_processor_of_32_bits_stops_whoever_needs_the_ram_environment_and_nobody_else() {
    for (state, boot) in every_state() {
        let expected = match boot {
            Boot::LocalDisk | Boot::Install => boot,
            _ => Boot::TooOld,
        };
        assert_eq!(decide(Card::Of(&state), Some(Obstacle::Processor)), expected, "{state}");
    }
    let stranger = |admission| decide(Card::Unknown(admission), Some(Obstacle::Processor));
    assert_eq!(stranger(Admission::Enrol), Boot::TooOld);
    assert_eq!(stranger(Admission::Ask), Boot::LocalDisk);
}

#[test]
fn a_stranger_gets_what_its_admission_says_and_is_never_stopped_on_its_way_to_its_disk() {
    let stop = || Boot::Stop { why: NO_RAM.into() };
    for (admission, served, unserved) in [
        (Admission::Enrol, Boot::Discover, stop()),
        (Admission::Through(7), Boot::Discover, stop()),
        (Admission::Ask, Boot::Ask, Boot::LocalDisk),
        (Admission::Ignore, Boot::LocalDisk, Boot::LocalDisk),
    ] {
        assert_eq!(decide(Card::Unknown(admission), None), served, "{admission:?}");
        assert_eq!(
            decide(Card::Unknown(admission), Some(Obstacle::NoRam(NO_RAM))),
            unserved,
            "{admission:?}"
        );
    }
}
