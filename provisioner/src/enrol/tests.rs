// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NOW: i64 = 1_800_000_000_000;

fn segment(company: Company, serves: bool) -> SegmentNow {
    SegmentNow {
        interface: "br0".into(),
        address: Ipv4Addr::new(10, 77, 0, 1),
        prefix: 24,
        company,
        serves,
        interrupted: false,
        relayed: false,
        server: Ipv4Addr::new(10, 77, 0, 1),
    }
}

fn site(unknown: Unknown, segments: Vec<(Place, Unknown)>) -> Enrolment {
    Enrolment { unknown, segments }
}

fn window(id: i64) -> Window {
    Window {
        id,
        opened: NOW,
        until: NOW + 1000,
        max: 2,
        whom: Whom::default(),
        tags: vec![],
        profile: None,
        by: "operator".into(),
        closed: None,
    }
}

fn stranger() -> Stranger {
    Stranger {
        mac: Some(Mac([0, 0x1b, 0x21, 0, 0, 1])),
        relay: None,
        port: None,
    }
}

#[test]
fn unknown_machines_come_in_where_we_are_alone_and_are_asked_where_we_are_not() {
    let auto = site(Unknown::Auto, vec![]);
    for (segment, expected) in [
        (Some(segment(Company::Alone, true)), Policy::Enrol),
        (Some(segment(Company::Beside(OTHER), true)), Policy::Ask),
        (Some(segment(Company::Beside(OTHER), false)), Policy::Ask),
        (Some(segment(Company::Unknown, false)), Policy::Ask),
        // Pinned to lease whoever else does.
        (Some(segment(Company::Unknown, true)), Policy::Enrol),
        (None, Policy::Ask),
    ] {
        assert_eq!(policy(&auto, None, segment.as_ref()), expected, "{segment:?}");
    }
}

#[test]
fn what_is_pinned_holds_and_a_network_is_more_than_an_interface() {
    let network = Place::Network(Ipv4Addr::new(198, 51, 100, 0), 24);
    let pinned = vec![
        (Place::Interface("br0".into()), Unknown::Enrol),
        (network, Unknown::Ignore),
    ];
    let site = site(Unknown::Ask, pinned);
    let beside = segment(Company::Beside(OTHER), true);
    let ours = Some(Ipv4Addr::new(10, 77, 0, 130));
    assert_eq!(policy(&site, ours, Some(&beside)), Policy::Enrol);
    let far = Some(Ipv4Addr::new(198, 51, 100, 7));
    assert_eq!(policy(&site, far, Some(&beside)), Policy::Ignore);
    assert_eq!(policy(&site, ours, None), Policy::Ask);
}

#[test]
fn a_window_lets_in_as_many_as_it_says_and_not_a_moment_longer() {
    let windows = [window(7)];
    let at = |taken: u32, now: i64| admit(Policy::Ask, &stranger(), false, &windows, |_| taken, now);
    assert_eq!(at(0, NOW), Admission::Through(7));
    assert_eq!(at(1, NOW + 999), Admission::Through(7));
    assert_eq!(at(2, NOW), Admission::Ask, "full");
    assert_eq!(at(0, NOW + 1000), Admission::Ask, "over");
    assert_eq!(at(0, NOW - 1), Admission::Ask, "not yet: a clock was set back");
    let closed = [Window {
        closed: Some(NOW),
        ..window(7)
    }];
    assert_eq!(
        admit(Policy::Ask, &stranger(), false, &closed, |_| 0, NOW),
        Admission::Ask
    );
}

#[test]
fn a_window_is_for_those_whom_it_names() {
    let only = |whom: Whom| {
        let windows = [Window { whom, ..window(1) }];
        let who = Stranger {
            relay: Some(OTHER),
            port: Some("eth 1/7".into()),
            ..stranger()
        };
        admit(Policy::Ask, &who, false, &windows, |_| 0, NOW) == Admission::Through(1)
    };
    let prefix = |prefix: &str| Whom {
        mac_prefix: Some(prefix.into()),
        ..Whom::default()
    };
    assert!(only(prefix("00:1b:21")) && !only(prefix("00:1b:22")));
    let relay = |relay| Whom {
        relay: Some(relay),
        ..Whom::default()
    };
    assert!(only(relay(OTHER)) && !only(relay(Ipv4Addr::LOCALHOST)));
    let port = |port: &str| Whom {
        port: Some(port.into()),
        ..Whom::default()
    };
    assert!(only(port("eth 1/7")) && !only(port("eth 1/8")));
    let nameless = Stranger {
        mac: None,
        ..stranger()
    };
    let windows = [Window {
        whom: prefix("00"),
        ..window(1)
    }];
    assert_eq!(
        admit(Policy::Ask, &nameless, false, &windows, |_| 0, NOW),
        Admission::Ask
    );
}

#[test]
fn a_full_window_makes_room_for_the_next_and_ignoring_beats_all() {
    let windows = [window(1), window(2)];
    let taken = |id: i64| if id == 1 { 2 } else { 0 };
    assert_eq!(
        admit(Policy::Ask, &stranger(), false, &windows, taken, NOW),
        Admission::Through(2)
    );
    assert_eq!(
        admit(Policy::Enrol, &stranger(), false, &windows, taken, NOW),
        Admission::Through(2)
    );
    assert_eq!(
        admit(Policy::Enrol, &stranger(), false, &[], taken, NOW),
        Admission::Enrol
    );
    assert_eq!(admit(Policy::Ask, &stranger(), true, &[], taken, NOW), Admission::Enrol);
    assert_eq!(
        admit(Policy::Ignore, &stranger(), true, &windows, taken, NOW),
        Admission::Ignore
    );
}

#[test]
fn a_switch_port_is_read_as_the_relay_wrote_it() {
    assert_eq!(port(b"\x02\x01x\x01\x07eth 1/7"), Some("eth 1/7".into()));
    assert_eq!(port(&[1, 4, 0, 0, 1, 7]), Some("00000107".into()));
    assert_eq!(port(&[1, 9, 0]), None);
}

proptest! {
    #[test]
    fn no_option_makes_it_fail(bytes in any::<Vec<u8>>()) {
        if let Some(port) = port(&bytes) {
            prop_assert!(!port.contains(char::is_control));
        }
    }
}
