// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use provisioner_api::{Event as Reported, Life};

use super::*;
use crate::app::tests::{Lab, NOW, WITH_RULE, report};

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;

fn count(lab: &Lab, kind: &str) -> usize {
    lab.kinds().iter().filter(|word| *word == kind).count()
}

fn liveness(lab: &Lab, now: i64) -> String {
    lab.app.summary("node-001", now).unwrap().liveness
}

#[test]
fn a_node_that_misses_heartbeats_is_lost_and_back_when_it_is_back() {
    let lab = Lab::new(WITH_RULE);
    let caller = lab.ready();
    lab.beat(&caller, "disk-1", NOW);
    look(&lab.app, NOW + 40 * SECOND);
    assert_eq!(
        (liveness(&lab, NOW + 40 * SECOND).as_str(), count(&lab, "lost")),
        ("alive", 0)
    );
    for second in 46..60 {
        look(&lab.app, NOW + second * SECOND);
    }
    assert_eq!(
        (liveness(&lab, NOW + MINUTE).as_str(), count(&lab, "lost")),
        ("lost", 1)
    );
    assert_eq!(
        lab.app.summary("node-001", NOW).unwrap().state,
        "ready",
        "a silence ends nothing"
    );
    lab.beat(&caller, "disk-1", NOW + 2 * MINUTE);
    lab.beat(&caller, "disk-1", NOW + 2 * MINUTE + SECOND);
    assert_eq!(
        (liveness(&lab, NOW + 2 * MINUTE).as_str(), count(&lab, "back")),
        ("alive", 1)
    );
}

#[test]
fn a_lost_node_is_lost_once_although_the_server_starts_anew_and_back_when_it_is_back() {
    let mut lab = Lab::new(WITH_RULE);
    lab.ready();
    look(&lab.app, NOW + MINUTE);
    lab.restart(NOW + 2 * MINUTE);
    for second in 0..120 {
        look(&lab.app, NOW + 2 * MINUTE + second * SECOND);
    }
    assert_eq!(count(&lab, "lost"), 1);
    let caller = lab.app.caller("k1").unwrap();
    lab.beat(&caller, "disk-1", NOW + 5 * MINUTE);
    assert_eq!(count(&lab, "back"), 1);
}

#[test]
fn a_heartbeat_of_an_earlier_start_is_no_sign_of_life() {
    let lab = Lab::new(WITH_RULE);
    let caller = lab.ready();
    lab.beat(&caller, "disk-0", NOW + 10 * MINUTE);
    assert_eq!(liveness(&lab, NOW + 10 * MINUTE), "lost");
}

#[test]
fn silence_while_the_server_was_down_is_not_held_against_a_node() {
    let lab = Lab::new(WITH_RULE);
    lab.ready();
    let id = lab.app.registry.find("node-001").unwrap().id.clone();
    lab.app.presence.forget(&id);
    look(&lab.app, NOW + 30 * SECOND);
    assert_eq!(
        (liveness(&lab, NOW + 30 * SECOND).as_str(), count(&lab, "lost")),
        ("unknown", 0)
    );
    look(&lab.app, NOW + 60 * SECOND);
    assert_eq!(
        (liveness(&lab, NOW + 60 * SECOND).as_str(), count(&lab, "lost")),
        ("lost", 1)
    );
}

#[test]
fn an_installed_system_that_does_not_come_home_is_installed_again() {
    let lab = Lab::new(WITH_RULE);
    lab.written();
    look(&lab.app, NOW + 19 * MINUTE);
    assert_eq!(lab.app.summary("node-001", NOW).unwrap().state, "installing");
    look(&lab.app, NOW + 21 * MINUTE);
    assert_eq!(lab.app.summary("node-001", NOW).unwrap().state, "approved");
    assert_eq!(count(&lab, "overdue"), 1);
}

#[test]
fn a_system_that_is_home_with_failing_checks_fails_with_their_words() {
    let lab = Lab::new(WITH_RULE);
    lab.written();
    let caller = lab.register("k1", "52:54:00:77:00:01", "disk-1", Life::Installed, NOW);
    lab.say(&caller, "disk-1", 1, Reported::CameHome { report: report(false) }, NOW);
    look(&lab.app, NOW + 21 * MINUTE);
    assert_eq!(lab.app.summary("node-001", NOW).unwrap().state, "approved");
    let events = lab.app.events(None, None, 100).unwrap();
    assert!(
        events
            .iter()
            .any(|event| event.kind == "failed" && event.detail.contains("two hours off"))
    );
}

#[test]
fn a_visitor_that_nobody_approved_is_forgotten_after_a_month_and_a_node_never() {
    let lab = Lab::new("");
    lab.register("k1", "52:54:00:77:00:01", "ram-1", Life::Ram, NOW);
    look(&lab.app, NOW + FORGET_AFTER - MINUTE);
    assert_eq!(lab.app.nodes(NOW).len(), 1);
    look(&lab.app, NOW + FORGET_AFTER + MINUTE);
    assert!(lab.app.nodes(NOW).is_empty());
    let lab = Lab::new(WITH_RULE);
    lab.ready();
    look(&lab.app, NOW + 10 * FORGET_AFTER);
    assert_eq!(lab.app.nodes(NOW).len(), 1);
}

/// The clock of the machine is set by so much; what the server's clock says then.
fn set_clock(lab: &Lab, now: i64, by: i64) -> i64 {
    let then = crate::clock::Reading {
        now: now + by,
        running: 1,
        boot: "a".into(),
    };
    lab.app.clock_was_set(by, &then).unwrap();
    now + by
}

const YEAR: i64 = 365 * 24 * 60 * MINUTE;

#[test]
fn a_clock_that_is_set_makes_nobody_lost_or_alive_or_forgotten() {
    for by in [YEAR, -40 * YEAR] {
        let lab = Lab::new(WITH_RULE);
        let caller = lab.ready();
        lab.beat(&caller, "disk-1", NOW);
        let now = set_clock(&lab, NOW + 10 * SECOND, by);
        look(&lab.app, now);
        assert_eq!(
            (liveness(&lab, now).as_str(), count(&lab, "lost")),
            ("alive", 0),
            "{by}"
        );
        // It falls silent, and that is noticed when it should be.
        let later = now + MINUTE;
        look(&lab.app, later);
        assert_eq!(
            (liveness(&lab, later).as_str(), count(&lab, "lost")),
            ("lost", 1),
            "{by}"
        );
        assert_eq!(count(&lab, "clock-set"), 1);
    }
    let lab = Lab::new("");
    lab.register("k9", crate::app::tests::MAC, "a", Life::Ram, NOW);
    let now = set_clock(&lab, NOW + 25 * 60 * MINUTE, YEAR);
    look(&lab.app, now);
    assert_eq!((lab.app.nodes(now).len(), count(&lab, "forgotten")), (1, 0));
}

#[test]
fn a_machine_that_waits_is_not_forgotten_because_the_server_was_off_or_its_clock_says_so() {
    let mut lab = Lab::new("");
    lab.register("k9", crate::app::tests::MAC, "a", Life::Ram, NOW);
    let reading = |now: i64, boot: &str| crate::clock::Reading {
        now,
        running: 1000,
        boot: boot.into(),
    };
    lab.app.registry.resume(&reading(NOW, "a")).unwrap();
    let now = NOW + YEAR;
    lab.restart(now);
    lab.app.registry.resume(&reading(now, "b")).unwrap();
    look(&lab.app, now + 25 * 60 * MINUTE);
    assert_eq!(count(&lab, "forgotten"), 0);
    look(&lab.app, now + 31 * 24 * 60 * MINUTE);
    assert_eq!(count(&lab, "forgotten"), 1, "a visitor is, in the end");
}
