// SPDX-License-Identifier: Apache-2.0
//! One first start of a ready-made image, told from its hooks.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use provisioner_api::{Event as Reported, Life};

use super::*;
use crate::app::tests::{Lab, MAC, NOW, WITH_RULE};
use crate::app::{AppError, Who};
use crate::boot::Boot;
use crate::monitor;

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 50));
const MINUTE: i64 = 60_000;
const PROFILE: &str = "[profiles.compute]\ninstaller = \"cloud-debian\"\nimage = \"debian-13-cloud\"\n\
                       [profiles.compute.system]\nmirror = \"http://mirror.example.org/debian\"\n";

/// Up to where the written image starts for the first time; its token.
fn written(lab: &Lab, boot: &str) -> String {
    let caller = lab.register("k1", MAC, boot, Life::Ram, NOW);
    lab.say(&caller, boot, 1, Reported::Checked { findings: vec![] }, NOW);
    lab.say(&caller, boot, 2, Reported::Wiped { discarded: true }, NOW);
    assert!(is_in_ram(lab), "it is node-init that writes it");
    let bytes = 1 << 30;
    let milliseconds = 1000;
    lab.say(
        &caller,
        boot,
        3,
        Reported::Written {
            bytes,
            milliseconds,
            mark: None,
        },
        NOW,
    );
    assert_eq!(lab.boots(MAC), Boot::LocalDisk);
    let node = lab.app.registry.find("node-001").unwrap();
    lab.app.registry.installation(&node.id).unwrap().unwrap().token
}

fn state(lab: &Lab) -> String {
    lab.app.summary("node-001", NOW).unwrap().state
}

/// Whether the machine is sent to RAM, for which this server has nothing to start.
fn is_in_ram(lab: &Lab) -> bool {
    matches!(lab.boots(MAC), Boot::Stop { why } if why.contains("RAM environment"))
}

fn lab() -> Lab {
    Lab::new(&format!("{PROFILE}{WITH_RULE}"))
}

#[test]
fn what_a_first_start_tells_never_sends_the_machine_anywhere_but_to_its_disk() {
    let lab = lab();
    let token = written(&lab, "ram-1");
    for word in ["pre", "packages", "late", "done", "pre"] {
        lab.app.installer_tells(&token, word, FROM, NOW).unwrap();
        assert_eq!((state(&lab).as_str(), lab.boots(MAC)), ("installing", Boot::LocalDisk));
    }
    let attempt = lab.app.registry.find("node-001").unwrap().state.attempt().unwrap();
    assert_eq!((attempt.interruptions, attempt.tries), (1, 0));
}

#[test]
fn a_way_to_the_disk_by_which_a_first_start_began_is_not_given_up_because_its_power_was_cut() {
    let lab = lab();
    let token = written(&lab, "ram-1");
    let mac: pxe::Mac = MAC.parse().unwrap();
    let who = Who {
        mac: Some(mac),
        from: Some(Ipv4Addr::new(192, 0, 2, 50)),
        ..Who::default()
    };
    assert_eq!(lab.app.boot(&who, NOW), Boot::LocalDisk);
    let way = || lab.app.memory.of(mac).unwrap().disk;
    assert!(way().trying.is_some() && way().worked.is_none());
    lab.app.installer_tells(&token, "pre", FROM, NOW).unwrap();
    assert!(way().trying.is_none() && way().worked.is_some());
}

#[test]
fn a_first_start_that_fails_is_installed_anew_although_node_init_was_in_ram_before() {
    let lab = lab();
    let token = written(&lab, "ram-1");
    lab.app
        .installer_failed(&token, "no mirror\nE: 100", FROM, NOW)
        .unwrap();
    assert!(state(&lab) == "approved" && is_in_ram(&lab));
    let again = lab.app.installer_tells(&token, "late", FROM, NOW);
    assert!(matches!(again, Err(AppError::NotFound(_))), "its secret ended with it");
}

#[test]
fn a_first_start_that_never_begins_or_falls_silent_is_overdue_and_one_that_tells_is_not() {
    let lab = lab();
    written(&lab, "ram-1");
    monitor::look(&lab.app, NOW + 19 * MINUTE);
    assert_eq!(state(&lab), "installing");
    monitor::look(&lab.app, NOW + 21 * MINUTE);
    assert_eq!(state(&lab), "approved");
    let token = written(&lab, "ram-2");
    lab.app.installer_tells(&token, "pre", FROM, NOW + MINUTE).unwrap();
    lab.app
        .installer_tells(&token, "packages", FROM, NOW + 100 * MINUTE)
        .unwrap();
    monitor::look(&lab.app, NOW + 219 * MINUTE);
    assert_eq!(state(&lab), "installing", "packages take their time");
    monitor::look(&lab.app, NOW + 221 * MINUTE);
    assert_eq!(state(&lab), "approved");
}
