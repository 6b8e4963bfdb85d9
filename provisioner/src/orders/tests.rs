// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, clippy::panic)]

use provisioner_api::{DiskRef, FailCause};

use super::*;
use crate::config::Config;
use crate::lifecycle::{Confirmed, System};

fn disk() -> DiskRef {
    DiskRef {
        wwn: None,
        serial: Some("WD-1".into()),
        by_path: None,
        size: 1 << 40,
    }
}

fn plan() -> Plan {
    Plan {
        profile: "compute".into(),
        disk: disk(),
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

fn image() -> Source {
    let from = ImageRef {
        name: "debian-13".into(),
        version: "1".into(),
        url: "http://192.0.2.1:8080/images/debian-13/1".into(),
        trusted_keys: vec!["RWQ".into()],
    };
    Source::Image(Image {
        from,
        disk_size: 4 << 30,
        seed: None,
    })
}

fn ask(state: &State, life: Life, source: Result<Source, String>) -> Orders {
    let config = Config::parse("", std::path::Path::new("/etc/gleaner")).unwrap();
    let site = Site {
        profile: config.profiles.get("compute"),
        source,
        controller: "192.0.2.1:8443".into(),
        pin: "aa",
        ntp: vec!["192.0.2.1".into()],
        names: None,
        role: None,
        mark: Some("0a1b2c"),
        heartbeat: 10,
        obstacle: "",
    };
    for_node("node-001", state, life, &site)
}

fn order(state: &State, life: Life) -> Order {
    ask(state, life, Ok(image())).order
}

fn checking(tries: u32) -> State {
    State::Checking {
        plan: plan(),
        attempt: Attempt {
            tries,
            interruptions: 0,
        },
    }
}

fn wiping() -> State {
    State::Wiping {
        plan: plan(),
        attempt: Attempt::default(),
    }
}

fn installing(written: bool) -> State {
    State::Installing {
        plan: plan(),
        attempt: Attempt::default(),
        begun: false,
        written,
    }
}

fn approved(disk_starts: u32) -> State {
    State::Approved {
        plan: plan(),
        attempt: Attempt::default(),
        disk_starts,
    }
}

fn why(order: Order) -> String {
    match order {
        Order::Wait { why } => why,
        other => panic!("not a wait: {other:?}"),
    }
}

#[test]
fn in_ram_an_order_is_the_next_step_to_a_node() {
    assert_eq!(
        why(order(&State::Enrolled, Life::Ram)),
        "waiting for approval: provisioner node approve node-001"
    );
    assert_eq!(
        order(&checking(0), Life::Ram),
        Order::Check {
            disk: disk(),
            need: 4 << 30
        }
    );
    assert_eq!(
        order(&wiping(), Life::Ram),
        Order::Wipe {
            disk: disk(),
            second: None
        }
    );
    let Order::Install(install) = order(&installing(false), Life::Ram) else {
        panic!("no installation")
    };
    assert_eq!(
        (install.name.as_str(), install.image.version.as_str()),
        ("node-001", "1")
    );
    assert_eq!(install.controller, "192.0.2.1:8443");
}

#[test]
fn for_an_installer_node_init_checks_and_wipes_and_then_makes_room_for_it() {
    let source = || Ok(Source::Installer { disk_size: 8 << 30 });
    let attempt = Attempt::default();
    let plan = by_installer();
    let asked = |state| ask(&state, Life::Ram, source()).order;
    let checking = State::Checking {
        plan: plan.clone(),
        attempt,
    };
    assert_eq!(
        asked(checking),
        Order::Check {
            disk: disk(),
            need: 8 << 30
        }
    );
    let wiping = State::Wiping {
        plan: plan.clone(),
        attempt,
    };
    assert_eq!(
        asked(wiping.clone()),
        Order::Wipe {
            disk: disk(),
            second: None
        }
    );
    let second = DiskRef {
        serial: Some("S-2".into()),
        ..disk()
    };
    let mirrored = State::Wiping {
        plan: Plan {
            second: Some(second.clone()),
            ..plan.clone()
        },
        attempt,
    };
    assert_eq!(
        asked(mirrored),
        Order::Wipe {
            disk: disk(),
            second: Some(second)
        },
        "a mirror's other half is wiped as well"
    );
    let installing = |written| State::Installing {
        plan: plan.clone(),
        attempt,
        begun: false,
        written,
    };
    let into = |order| match order {
        Order::Reboot { into, .. } => into,
        other => panic!("not a reboot: {other:?}"),
    };
    assert_eq!(into(asked(installing(false))), RebootInto::Network);
    assert_eq!(into(asked(installing(true))), RebootInto::Disk);
    let missing = ask(&wiping, Life::Ram, Err("there is no medium".into())).order;
    assert_eq!(why(missing), "there is no medium", "and its disk is as it was");
    // Its network is as the distribution made it.
    let served = ask(&State::Ready { plan: plan.clone() }, Life::Installed, source()).order;
    assert!(matches!(served, Order::Serve(Serve { bridge: None, .. })));
}

#[test]
fn what_is_written_is_never_installed_again_from_ram() {
    for state in [
        installing(true),
        State::Ready { plan: plan() },
        State::Draining { plan: plan() },
    ] {
        assert!(
            matches!(
                order(&state, Life::Ram),
                Order::Reboot {
                    into: RebootInto::Disk,
                    ..
                }
            ),
            "{state}"
        );
    }
}

#[test]
fn only_an_unfinished_or_wanted_installation_takes_an_installed_system_down() {
    for state in [approved(0), checking(0), wiping(), installing(false)] {
        assert!(
            matches!(
                order(&state, Life::Installed),
                Order::Reboot {
                    into: RebootInto::Network,
                    ..
                }
            ),
            "{state}"
        );
    }
    for state in [installing(true), State::Ready { plan: plan() }] {
        assert!(
            matches!(
                order(&state, Life::Installed),
                Order::Serve(Serve { draining: false, .. })
            ),
            "{state}"
        );
    }
    assert!(matches!(
        order(&State::Draining { plan: plan() }, Life::Installed),
        Order::Serve(Serve { draining: true, .. })
    ));
}

#[test]
fn a_machine_that_prefers_its_disk_is_not_restarted_for_ever() {
    assert!(why(order(&approved(MAX_DISK_STARTS), Life::Installed)).contains("network first"));
}

#[test]
fn no_disk_is_touched_without_an_approval_or_by_an_installed_system() {
    let cause = FailCause::NoDisk {
        found: "nothing".into(),
    };
    let unapproved = [State::Enrolled, State::Rejected { why: "no".into() }, State::Retired];
    let failed = State::Failed { plan: plan(), cause };
    for state in unapproved.iter().chain([&failed]) {
        for life in [Life::Ram, Life::Installed] {
            assert!(matches!(order(state, life), Order::Wait { .. }), "{state} {life:?}");
        }
    }
    for state in [approved(0), checking(0), wiping(), installing(false), installing(true)] {
        let order = order(&state, Life::Installed);
        assert!(
            !matches!(order, Order::Wipe { .. } | Order::Install(_) | Order::Check { .. }),
            "{state}"
        );
    }
}

#[test]
fn a_missing_image_is_waited_for_with_the_reason_before_anything_is_wiped() {
    for state in [checking(0), wiping(), installing(false)] {
        let orders = ask(&state, Life::Ram, Err("there is no image debian-13".into()));
        assert_eq!(why(orders.order), "there is no image debian-13");
    }
}

#[test]
fn a_failure_shows_its_cause_and_the_way_out() {
    let cause = FailCause::DiskTooSmall {
        disk: "sda".into(),
        need: 2,
        have: 1,
    };
    let words = why(order(&State::Failed { plan: plan(), cause }, Life::Ram));
    assert!(
        words.contains("too small") && words.contains("provisioner node retry node-001"),
        "{words}"
    );
}

#[test]
fn the_revision_changes_with_the_order_and_with_every_new_try_and_with_nothing_else() {
    let revision = |state: &State| ask(state, Life::Ram, Ok(image())).revision;
    assert_eq!(revision(&checking(0)), revision(&checking(0)));
    assert_ne!(
        revision(&checking(0)),
        revision(&checking(1)),
        "the same order once more"
    );
    assert_ne!(revision(&checking(0)), revision(&wiping()));
    assert!(revision(&wiping()) < 1 << 53, "exact in every JSON reader");
}
