// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// Taken from chrony 4.6.1.
const FOLLOWING: &str =
    "0A4D0001,10.77.0.1,4,1763693000.503,0.000012345,-0.000004,0.00001,-12.3,0.001,0.2,0.0004,0.0001,16.2,Normal\n";
const ALONE: &str = "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised\n";

fn servers() -> Vec<String> {
    vec!["10.77.0.1".into(), "ntp.example.org".into()]
}

#[test]
fn a_clock_that_follows_the_controller_is_in_step() {
    let tracking = Tracking::parse(FOLLOWING).unwrap();
    assert_eq!(tracking.source.as_deref(), Some("10.77.0.1"));
    assert!((tracking.ahead + 0.000_012_345).abs() < 1e-12);
    assert_eq!(tracking.judge(&servers()), (true, "in step with 10.77.0.1".into()));
}

#[test]
fn a_clock_alone_or_with_a_stranger_or_far_off_is_not_in_step() {
    assert!(!Tracking::parse(ALONE).unwrap().judge(&servers()).0);
    assert!(!Tracking::parse(FOLLOWING).unwrap().judge(&["10.0.0.9".into()]).0);
    let far = Tracking {
        source: Some("10.77.0.1".into()),
        ahead: -7200.0,
        synchronised: true,
    };
    let (passed, why) = far.judge(&servers());
    assert!(!passed && why.contains("-7200.0 s"), "{why}");
}

#[test]
fn what_is_configured_is_what_is_followed() {
    let conf = chrony_conf(&servers()).unwrap();
    assert!(conf.contains("server 10.77.0.1 iburst prefer minpoll 4"));
    assert_eq!(conf.matches("prefer").count(), 1);
    assert!(conf.ends_with("makestep 1 -1\nrtcsync\n"));
    assert_eq!(configured_servers(&conf), servers());
}

#[test]
fn a_server_cannot_smuggle_in_a_line() {
    for hostile in ["", "10.0.0.1\nallow all", "a b", "-x", "x#y", "é"] {
        let refused = chrony_conf(&[hostile.into()]).unwrap_err();
        assert_eq!((refused.given.as_str(), refused.what), (hostile, "a time server"));
    }
}

proptest! {
    #[test]
    fn no_answer_of_chronyc_panics(text in "\\PC*") {
        let _ = Tracking::parse(&text);
    }

    #[test]
    fn fields_of_any_kind_are_read_or_refused(fields in prop::collection::vec("[-0-9.eNaInf ,A-Z]{0,12}", 0..20)) {
        if let Ok(tracking) = Tracking::parse(&fields.join(",")) {
            prop_assert!(tracking.ahead.is_finite());
        }
    }

    #[test]
    fn every_configuration_has_one_line_a_server(names in prop::collection::vec("\\PC{0,40}", 0..5)) {
        if let Ok(conf) = chrony_conf(&names) {
            prop_assert_eq!(configured_servers(&conf), names.clone());
            prop_assert_eq!(conf.lines().count(), names.len() + 3);
        }
    }
}
