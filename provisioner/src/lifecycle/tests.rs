// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use provisioner_api::{DiskRef, Life};

use super::*;

fn plan() -> Plan {
    let disk = DiskRef {
        wwn: None,
        serial: Some("WD-1".into()),
        by_path: None,
        size: 1 << 30,
    };
    Plan {
        profile: "default".into(),
        disk,
        second: None,
        system: System::Image,
        confirmed: Confirmed::default(),
    }
}

fn by_installer() -> Plan {
    Plan {
        system: System::Installer("debian-13".into()),
        ..plan()
    }
}

fn by_cloud_image() -> Plan {
    Plan {
        system: System::CloudImage("cloud-debian".into()),
        ..plan()
    }
}

fn installer(begun: bool, attempt: Attempt) -> State {
    State::Installing {
        plan: by_installer(),
        attempt,
        begun,
        written: false,
    }
}

fn attempt(tries: u32, interruptions: u32) -> Attempt {
    Attempt { tries, interruptions }
}

fn approved() -> State {
    State::approved(plan(), attempt(0, 0))
}

fn checking(tries: u32, interruptions: u32) -> State {
    State::Checking {
        plan: plan(),
        attempt: attempt(tries, interruptions),
    }
}

fn wiping() -> State {
    State::Wiping {
        plan: plan(),
        attempt: attempt(0, 0),
    }
}

fn installing(written: bool) -> State {
    State::Installing {
        plan: plan(),
        attempt: attempt(0, 0),
        begun: false,
        written,
    }
}

fn ready() -> State {
    State::Ready { plan: plan() }
}

fn failed(cause: FailCause) -> State {
    State::Failed { plan: plan(), cause }
}

fn unreachable() -> FailCause {
    FailCause::ImageUnavailable {
        image: "debian-13 1".into(),
        detail: "connection refused".into(),
    }
}

fn corrupt() -> FailCause {
    FailCause::ImageCorrupt {
        image: "debian-13 1".into(),
        detail: "chunk 7".into(),
    }
}

fn run(state: State, events: &[Event]) -> State {
    events.iter().fold(state, |state, event| step(&state, event).unwrap())
}

#[test]
fn an_untouched_pc_becomes_ready() {
    let story = [
        Event::Approve(plan().into()),
        Event::Started(Life::Ram),
        Event::Checked,
        Event::Wiped,
        Event::Written,
        Event::Started(Life::Installed),
        Event::CameHome { passed: true },
    ];
    assert_eq!(run(State::Enrolled, &story), ready());
}

#[test]
fn an_untouched_pc_becomes_ready_by_an_installer() {
    let story = [
        Event::Approve(by_installer().into()),
        Event::Started(Life::Ram),
        Event::Checked,
        Event::Wiped,
        Event::Begun,
        Event::Written,
        Event::Started(Life::Installed),
        Event::CameHome { passed: true },
    ];
    assert_eq!(run(State::Enrolled, &story), State::Ready { plan: by_installer() });
}

#[test]
fn an_installer_that_begins_again_was_interrupted_and_goes_on_without_a_hand() {
    let state = run(installer(false, attempt(0, 0)), &[Event::Begun]);
    assert_eq!(state, installer(true, attempt(0, 0)), "the first beginning is none");
    assert_eq!(run(state, &[Event::Begun]), installer(true, attempt(0, 1)));
    let last = installer(true, attempt(0, MAX_INTERRUPTIONS));
    let State::Failed { cause, .. } = run(last, &[Event::Begun]) else {
        panic!("not failed")
    };
    assert!(cause.to_string().contains("power supply"), "{cause}");
}

#[test]
fn a_ready_made_image_is_written_like_any_other_and_tells_of_its_first_start() {
    let story = [
        Event::Approve(by_cloud_image().into()),
        Event::Started(Life::Ram),
        Event::Checked,
        Event::Wiped,
        Event::Written,
        Event::Begun,
        Event::CameHome { passed: true },
    ];
    assert_eq!(run(State::Enrolled, &story), State::Ready { plan: by_cloud_image() });
    let first_start = |begun, attempt| State::Installing {
        plan: by_cloud_image(),
        attempt,
        begun,
        written: true,
    };
    let begun = first_start(true, attempt(0, 0));
    assert_eq!(run(first_start(false, attempt(0, 0)), &[Event::Begun]), begun);
    assert_eq!(
        run(begun.clone(), &[Event::Begun]),
        first_start(true, attempt(0, 1)),
        "its power was cut"
    );
    let last = first_start(true, attempt(0, MAX_INTERRUPTIONS));
    assert_eq!(run(last, &[Event::Begun]).word(), "failed");
    for event in [Event::Failed(unreachable()), Event::Overdue] {
        assert_eq!(
            run(begun.clone(), &[event]),
            State::approved(by_cloud_image(), attempt(1, 0))
        );
    }
    // In RAM it fails and goes on like any other image.
    let writing = run(State::Enrolled, &story[..4]);
    assert!(writing.installer().is_none());
    assert_eq!(run(writing, &[Event::Failed(unreachable())]).word(), "checking");
}

#[test]
fn after_its_last_word_an_installer_is_not_heard_again() {
    let done = run(installer(true, attempt(0, 0)), &[Event::Written]);
    assert!(step(&done, &Event::Begun).is_err());
    assert!(step(&done, &Event::Written).is_err());
    for state in [approved(), installing(false), ready(), State::Retired] {
        assert!(step(&state, &Event::Begun).is_err(), "{state}");
    }
}

#[test]
fn an_installer_that_fails_or_falls_silent_is_tried_three_times_from_the_start() {
    let failure = Event::Failed(FailCause::Installer {
        system: "debian-13".into(),
        detail: "no mirror".into(),
    });
    for event in [failure, Event::Overdue] {
        let mut state = installer(true, attempt(0, 0));
        for tries in 1..MAX_TRIES {
            state = run(state, std::slice::from_ref(&event));
            assert_eq!(state, State::approved(by_installer(), attempt(tries, 0)));
            state = run(
                state,
                &[Event::Started(Life::Ram), Event::Checked, Event::Wiped, Event::Begun],
            );
        }
        assert_eq!(run(state, &[event]).word(), "failed");
    }
}

#[test]
fn a_machine_that_comes_back_into_ram_instead_of_its_installer_begins_anew() {
    let state = run(installer(true, attempt(0, 0)), &[Event::Started(Life::Ram)]);
    assert_eq!(
        state,
        State::Checking {
            plan: by_installer(),
            attempt: attempt(0, 1)
        }
    );
}

#[test]
fn states_of_before_there_were_installers_are_images() {
    let stored = r#"{"state":"installing","plan":{"profile":"default","disk":{"wwn":null,"serial":"WD-1","by_path":null,
        "size":1073741824}},"attempt":{"tries":0,"interruptions":0},"written":true}"#;
    assert_eq!(serde_json::from_str::<State>(stored).unwrap(), installing(true));
}

#[test]
fn a_power_cut_starts_the_installation_again_without_a_hand() {
    for before in [checking(0, 0), wiping(), installing(false)] {
        assert_eq!(run(before, &[Event::Started(Life::Ram)]), checking(0, 1));
    }
}

#[test]
fn a_power_cut_after_the_last_byte_keeps_what_was_written() {
    assert_eq!(
        run(installing(true), &[Event::Started(Life::Installed)]),
        installing(true)
    );
    assert_eq!(run(installing(true), &[Event::Started(Life::Ram)]), installing(true));
}

#[test]
fn a_crash_loop_ends() {
    let mut state = checking(0, 0);
    for _ in 0..MAX_INTERRUPTIONS {
        state = run(state, &[Event::Started(Life::Ram)]);
        assert_eq!(state.word(), "checking");
    }
    assert_eq!(run(state, &[Event::Started(Life::Ram)]).word(), "failed");
}

#[test]
fn power_cuts_are_not_tries() {
    let cuts = vec![Event::Started(Life::Ram); 20];
    let state = run(installing(false), &cuts);
    assert_eq!(run(state, &[Event::Failed(unreachable())]), checking(1, 20));
}

#[test]
fn three_failures_end_it_with_the_last_reason() {
    let state = run(
        installing(false),
        &[Event::Failed(unreachable()), Event::Failed(unreachable())],
    );
    assert_eq!(state, checking(2, 0));
    let State::Failed { cause, .. } = run(state, &[Event::Failed(unreachable())]) else {
        panic!("not failed")
    };
    assert!(cause.to_string().contains("connection refused"), "{cause}");
}

#[test]
fn what_no_second_try_can_heal_ends_it_at_once() {
    let disk = || "sda".to_owned();
    let causes = [
        corrupt(),
        FailCause::ImageUntrusted {
            image: "i".into(),
            detail: "d".into(),
        },
        FailCause::NoDisk {
            found: "nothing".into(),
        },
        FailCause::DiskGone { disk: disk() },
        FailCause::DiskTooSmall {
            disk: disk(),
            need: 2,
            have: 1,
        },
        FailCause::DiskUnhealthy {
            disk: disk(),
            detail: "212 bad sectors".into(),
        },
        FailCause::LowMemory {
            have_mb: 256,
            need_mb: 512,
        },
    ];
    for cause in causes {
        assert_eq!(run(installing(false), &[Event::Failed(cause.clone())]), failed(cause));
    }
}

#[test]
fn an_installed_system_that_never_comes_home_is_installed_again_and_given_up_after_three() {
    let mut state = installing(true);
    for _ in 1..MAX_TRIES {
        state = run(state, &[Event::Overdue]);
        assert_eq!(state.word(), "approved");
        state = run(
            state,
            &[Event::Started(Life::Ram), Event::Checked, Event::Wiped, Event::Written],
        );
    }
    assert_eq!(run(state, &[Event::Overdue]).word(), "failed");
}

#[test]
fn a_node_with_failing_checks_is_not_ready() {
    assert_eq!(
        run(installing(true), &[Event::CameHome { passed: false }]),
        installing(true)
    );
}

#[test]
fn the_old_system_cannot_come_home_in_the_middle_of_a_rebuild() {
    for before in [approved(), checking(0, 0), wiping(), installing(false)] {
        assert_eq!(run(before.clone(), &[Event::CameHome { passed: true }]), before);
    }
}

#[test]
fn a_rebuild_keeps_profile_and_disk_takes_the_profiles_system_and_happens_once() {
    let other = run(ready(), &[Event::Rebuild(by_installer().system.into())]);
    assert_eq!(other, State::approved(by_installer(), attempt(0, 0)));
    let state = run(ready(), &[Event::Rebuild(System::Image.into())]);
    assert_eq!(state, approved());
    assert!(step(&state, &Event::Rebuild(System::Image.into())).is_err());
    assert_eq!(
        run(
            State::Draining { plan: plan() },
            &[Event::Rebuild(System::Image.into())]
        ),
        approved()
    );
    assert_eq!(
        run(failed(corrupt()), &[Event::Rebuild(System::Image.into())]),
        approved()
    );
}

#[test]
fn a_retry_begins_with_all_tries_left() {
    assert_eq!(
        run(failed(corrupt()), &[Event::Retry(System::Image.into())]),
        approved()
    );
    assert!(step(&ready(), &Event::Retry(System::Image.into())).is_err());
}

#[test]
fn a_machine_that_prefers_its_disk_is_counted() {
    let state = run(approved(), &vec![Event::Started(Life::Installed); 3]);
    assert!(matches!(
        state,
        State::Approved {
            disk_starts: MAX_DISK_STARTS,
            ..
        }
    ));
    assert_eq!(
        run(state, &[Event::Started(Life::Ram)]),
        checking(0, 0),
        "and goes on once it does not"
    );
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let refused = |state: &State, event: &Event| step(state, event).unwrap_err().to_string();
    assert_eq!(
        refused(&ready(), &Event::Approve(plan().into())),
        "a node that is ready cannot be approved: it is installed; rebuild it to install it again"
    );
    assert_eq!(
        refused(&State::Enrolled, &Event::Rebuild(System::Image.into())),
        "a node that is enrolled cannot be rebuilt: it is not installed; approve it instead"
    );
    assert_eq!(
        refused(&ready(), &Event::Reject { why: String::new() }),
        "a node that is ready cannot be rejected; retire it instead"
    );
    assert!(refused(&State::Enrolled, &Event::Drain).contains("only a ready one"));
    assert!(refused(&State::Enrolled, &Event::Undrain).contains("only a draining one"));
    assert_eq!(
        step(&ready(), &Event::Undrain),
        Ok(ready()),
        "a wish that is fulfilled already is no mistake"
    );
    for event in [Event::Checked, Event::Wiped, Event::Written] {
        for state in [State::Enrolled, approved(), ready(), State::Retired] {
            assert!(step(&state, &event).is_err(), "{event:?} in {state}");
        }
    }
}

fn any_system() -> impl Strategy<Value = System> {
    prop_oneof![
        Just(System::Image),
        Just(by_installer().system),
        Just(by_cloud_image().system)
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        any_system().prop_map(|system| Event::Approve(plan().with(&system.into()).into())),
        Just(Event::Reject { why: "no".into() }),
        any_system().prop_map(|system| Event::Retry(system.into())),
        any_system().prop_map(|system| Event::Rebuild(system.into())),
        Just(Event::Retire),
        Just(Event::Drain),
        Just(Event::Undrain),
        not_an_operators(),
    ]
}

fn not_an_operators() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Started(Life::Ram)),
        Just(Event::Started(Life::Installed)),
        Just(Event::Checked),
        Just(Event::Wiped),
        Just(Event::Begun),
        Just(Event::Written),
        Just(Event::CameHome { passed: true }),
        Just(Event::CameHome { passed: false }),
        Just(Event::Failed(unreachable())),
        Just(Event::Failed(corrupt())),
        Just(Event::Overdue),
    ]
}

fn follow(state: State, events: &[Event]) -> Vec<State> {
    let mut states = vec![state];
    for event in events {
        let now = states[states.len() - 1].clone();
        states.push(step(&now, event).unwrap_or(now));
    }
    states
}

proptest! {
    #[test]
    fn nothing_is_written_before_approval(events in prop::collection::vec(not_an_operators(), 0..60)) {
        for state in [State::Enrolled, State::Rejected { why: "no".into() }, State::Retired] {
            for after in follow(state.clone(), &events) {
                prop_assert_eq!(after, state.clone());
            }
        }
    }

    #[test]
    fn a_ready_node_is_never_installed_again_by_accident(events in prop::collection::vec(not_an_operators(), 0..60)) {
        for state in [ready(), State::Draining { plan: plan() }] {
            for after in follow(state.clone(), &events) {
                prop_assert_eq!(after, state.clone());
            }
        }
    }

    #[test]
    fn a_state_is_told_from_what_led_to_it_alone(events in prop::collection::vec(any_event(), 0..60)) {
        for state in follow(State::Enrolled, &events) {
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        }
    }

    #[test]
    fn a_node_becomes_ready_only_out_of_a_written_disk(events in prop::collection::vec(any_event(), 0..80)) {
        let states = follow(State::Enrolled, &events);
        for pair in states.windows(2) {
            if matches!(pair[1], State::Ready { .. }) && !matches!(pair[0], State::Ready { .. } | State::Draining { .. }) {
                let written = matches!(pair[0], State::Installing { written: true, .. });
                prop_assert!(written);
            }
        }
    }

    #[test]
    fn every_installation_ends(choices in prop::collection::vec(not_an_operators(), 2000..2001)) {
        // However events fall, tries and interruptions only grow until the state is one that rests.
        let mut bound = 0;
        for state in follow(approved(), &choices) {
            if let Some(Attempt { tries, interruptions }) = state.attempt() {
                prop_assert!(tries < MAX_TRIES && interruptions <= MAX_INTERRUPTIONS);
                let sum = tries + interruptions;
                prop_assert!(sum >= bound);
                bound = sum;
            }
        }
    }
}
