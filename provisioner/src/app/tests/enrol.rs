// SPDX-License-Identifier: Apache-2.0
//! Machines that nobody knows, and the windows by which they come in.

use super::*;

/// A segment beside another server, or alone.
fn on_a_segment(lab: &Lab, company: crate::network::Company) {
    lab.app.segment(crate::network::SegmentNow {
        interface: "br0".into(),
        address: Ipv4Addr::new(192, 0, 2, 1),
        prefix: 24,
        company,
        serves: true,
        interrupted: false,
        relayed: false,
        server: Ipv4Addr::new(192, 0, 2, 1),
    });
}

const BESIDE: crate::network::Company = crate::network::Company::Beside(Ipv4Addr::new(192, 0, 2, 254));

/// A card asks that has its address from this server.
fn asks(lab: &Lab, mac: &str, choice: Option<Choice>, now: i64) -> crate::enrol::Admission {
    lab.leases(mac, Ipv4Addr::new(192, 0, 2, 50));
    names(lab, mac, choice, now)
}

/// Somebody asks in the name of a card.
fn names(lab: &Lab, mac: &str, choice: Option<Choice>, now: i64) -> crate::enrol::Admission {
    let who = Who {
        mac: Some(mac.parse().unwrap()),
        from: Some(Ipv4Addr::new(192, 0, 2, 50)),
        choice,
        ..Who::default()
    };
    lab.app.admit(&who, now)
}

fn introduces_itself(lab: &Lab, key: &str, mac: &str, now: i64) -> Result<(), AppError> {
    let register = Register {
        boot_id: "b".into(),
        life: Life::Ram,
        version: "0".into(),
        inventory: machine(mac),
        join: None,
        vouches: false,
    };
    lab.app.register(key, FROM, &register, now).map(drop)
}

#[test]
fn beside_another_server_nobody_comes_in_uninvited() {
    use crate::enrol::Admission;
    let lab = Lab::new("");
    on_a_segment(&lab, BESIDE);
    assert_eq!(asks(&lab, MAC, None, START), Admission::Ask);
    assert!(
        matches!(introduces_itself(&lab, "k1", MAC, START), Err(AppError::Forbidden(why)) if why.contains("window"))
    );
    assert!(lab.app.nodes(START).is_empty());
    // A key in its menu, and it comes in, also when it has to ask for its script again.
    assert_eq!(asks(&lab, MAC, Some(Choice::Enrol), START), Admission::Enrol);
    assert_eq!(asks(&lab, MAC, None, START), Admission::Enrol);
    introduces_itself(&lab, "k1", MAC, START).unwrap();
    assert_eq!(lab.app.nodes(START).len(), 1);
    // Alone everybody comes in.
    on_a_segment(&lab, crate::network::Company::Alone);
    introduces_itself(&lab, "k2", "52:54:00:77:00:02", START).unwrap();
}

#[test]
fn an_unknown_machine_has_one_door_whatever_life_it_says_that_it_is_in() {
    for policy in ["ask", "ignore"] {
        let lab = Lab::new(&format!("{RULE}[enrolment]\nunknown = \"{policy}\"\n"));
        for life in [Life::Installed, Life::Ram, Life::Installed] {
            let register = Register {
                boot_id: "b".into(),
                life,
                version: "0".into(),
                inventory: machine(MAC),
                join: None,
                vouches: false,
            };
            let refused = lab.app.register("k1", FROM, &register, START);
            assert!(
                matches!(refused, Err(AppError::Forbidden(_))),
                "{policy}, {life:?}: {refused:?}"
            );
        }
        assert!(lab.app.nodes(START).is_empty(), "{policy}");
    }
}

#[test]
fn a_window_lets_in_as_many_as_it_says_and_labels_them() {
    use crate::enrol::Admission;
    let lab = Lab::new("[profiles.compute]\n[profiles.other]\n");
    on_a_segment(&lab, BESIDE);
    let open = provisioner_api::OpenWindow {
        seconds: Some(60),
        max: Some(2),
        tags: vec!["room-b".into()],
        profile: Some("other".into()),
        ..provisioner_api::OpenWindow::default()
    };
    let id = lab.app.open_window(&open, "operator", START).unwrap().id;
    let mac = |n: u8| format!("52:54:00:77:00:{n:02x}");
    // Two are on their way: the third is asked, whoever registers first.
    assert_eq!(asks(&lab, &mac(1), None, START), Admission::Through(id));
    assert_eq!(asks(&lab, &mac(2), None, START), Admission::Through(id));
    assert_eq!(asks(&lab, &mac(3), None, START), Admission::Ask);
    assert_eq!(asks(&lab, &mac(1), None, START), Admission::Enrol, "it has its place");
    assert!(introduces_itself(&lab, "k3", &mac(3), START).is_err());
    introduces_itself(&lab, "k1", &mac(1), START).unwrap();
    // Its time is over while the second is on its way: it started in time.
    let later = START + 60_000;
    introduces_itself(&lab, "k2", &mac(2), later).unwrap();
    assert!(introduces_itself(&lab, "k3", &mac(3), later).is_err());
    let nodes = lab.app.nodes(later);
    assert!(
        nodes.len() == 2 && nodes.iter().all(|node| node.tags == ["room-b"]),
        "{nodes:#?}"
    );
    let window = &lab.app.windows(later).unwrap()[0];
    assert_eq!((window.used, window.open), (2, false));
    let approved = lab
        .app
        .approve("node-001", &Approve::default(), "operator", later)
        .unwrap();
    assert_eq!(approved.profile.as_deref(), Some("other"));
}

#[test]
fn whoever_only_names_cards_takes_no_place_and_presses_no_key_for_them() {
    use crate::enrol::Admission;
    let lab = Lab::new("");
    on_a_segment(&lab, BESIDE);
    let open = provisioner_api::OpenWindow {
        max: Some(1),
        ..provisioner_api::OpenWindow::default()
    };
    // The address that it asks from is nobody's, or another card's.
    for is_another in [false, true] {
        if is_another {
            lab.leases("52:54:00:77:00:99", Ipv4Addr::new(192, 0, 2, 50));
        }
        names(&lab, MAC, Some(Choice::Enrol), START);
        assert!(
            introduces_itself(&lab, "k1", MAC, START).is_err(),
            "nobody pressed a key on it"
        );
    }
    let id = lab.app.open_window(&open, "operator", START).unwrap().id;
    for number in 1..=3 {
        let mac = format!("52:54:00:77:01:0{number}");
        assert_eq!(names(&lab, &mac, None, START), Admission::Through(id));
    }
    assert_eq!(lab.app.windows(START).unwrap()[0].used, 0);
    introduces_itself(&lab, "k1", MAC, START).unwrap();
    assert_eq!(lab.app.windows(START).unwrap()[0].used, 1);
}

#[test]
fn a_place_that_nobody_came_for_is_free_again_and_a_closed_window_is_closed() {
    use crate::enrol::{Admission, HOLD};
    let lab = Lab::new("");
    on_a_segment(&lab, BESIDE);
    let open = provisioner_api::OpenWindow {
        max: Some(1),
        ..provisioner_api::OpenWindow::default()
    };
    let id = lab.app.open_window(&open, "operator", START).unwrap().id;
    assert_eq!(asks(&lab, MAC, None, START), Admission::Through(id));
    assert_eq!(asks(&lab, "52:54:00:77:00:02", None, START), Admission::Ask);
    let later = START + HOLD;
    assert_eq!(asks(&lab, "52:54:00:77:00:02", None, later), Admission::Through(id));
    lab.app.close_window(id, "operator", later).unwrap();
    assert!(matches!(
        lab.app.close_window(id, "operator", later),
        Err(AppError::NotFound(_))
    ));
    assert_eq!(asks(&lab, "52:54:00:77:00:03", None, later), Admission::Ask);
    assert_eq!(lab.kinds(), ["window-opened", "window-closed"]);
}

#[test]
fn a_machine_that_waits_in_ram_comes_in_when_a_window_opens() {
    let lab = Lab::new("");
    on_a_segment(&lab, BESIDE);
    assert!(introduces_itself(&lab, "k1", MAC, START).is_err());
    lab.app
        .open_window(&provisioner_api::OpenWindow::default(), "operator", START)
        .unwrap();
    introduces_itself(&lab, "k1", MAC, START).unwrap();
    assert_eq!(lab.app.windows(START).unwrap()[0].used, 1);
    // A node that is known needs no place, and takes none.
    introduces_itself(&lab, "k2", MAC, START).unwrap();
    assert_eq!(lab.app.windows(START).unwrap()[0].used, 1);
}

#[test]
fn a_window_that_makes_no_sense_is_refused() {
    let lab = Lab::new("");
    let refused = |open: provisioner_api::OpenWindow| {
        matches!(
            lab.app.open_window(&open, "operator", START),
            Err(AppError::Invalid(_) | AppError::Refused(_))
        )
    };
    let open = provisioner_api::OpenWindow::default;
    assert!(refused(provisioner_api::OpenWindow {
        seconds: Some(0),
        ..open()
    }));
    assert!(refused(provisioner_api::OpenWindow {
        seconds: Some(u64::MAX),
        ..open()
    }));
    assert!(refused(provisioner_api::OpenWindow { max: Some(0), ..open() }));
    assert!(refused(provisioner_api::OpenWindow {
        mac_prefix: Some("00:1b:2".into()),
        ..open()
    }));
    assert!(refused(provisioner_api::OpenWindow {
        tags: vec!["Room B".into()],
        ..open()
    }));
    assert!(refused(provisioner_api::OpenWindow {
        profile: Some("none".into()),
        ..open()
    }));
}

#[test]
fn a_window_stays_open_for_its_time_however_the_clock_is_set() {
    use crate::enrol::Admission;
    const DAY: i64 = 86_400_000;
    for by in [400 * DAY, -400 * DAY] {
        let lab = Lab::new("");
        on_a_segment(&lab, BESIDE);
        let open = provisioner_api::OpenWindow {
            seconds: Some(7200),
            ..provisioner_api::OpenWindow::default()
        };
        let id = lab.app.open_window(&open, "operator", START).unwrap().id;
        let then = crate::clock::Reading {
            now: START + 3_600_000 + by,
            ..crate::clock::Reading::default()
        };
        lab.app.clock_was_set(by, &then).unwrap();
        let now = then.now;
        assert_eq!(asks(&lab, MAC, None, now), Admission::Through(id), "{by}");
        let over = now + 3_600_001;
        assert_eq!(asks(&lab, "52:54:00:77:00:02", None, over), Admission::Ask, "{by}");
    }
}
