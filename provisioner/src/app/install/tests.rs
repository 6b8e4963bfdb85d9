// SPDX-License-Identifier: Apache-2.0
//! One installation by an installer, told from its hooks.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use provisioner_api::{Event as Reported, Life, NodeDetail, Stage};

use super::told::LOG_LINES;
use super::*;
use crate::app::tests::{Lab, MAC, NOW, WITH_RULE};
use crate::app::{Caller, Command};
use crate::boot::Boot;
use crate::monitor;

const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 50));
const HOUR: i64 = 3_600_000;
const PROFILE: &str = "[profiles.compute]\ninstaller = \"debian-13\"\n[profiles.compute.system]\n\
                       mirror = \"http://mirror.example.org/debian\"\n";

/// A server that approves every machine for an installer.
fn lab() -> Lab {
    Lab::new(&format!("{PROFILE}{WITH_RULE}"))
}

/// Up to where the installer's turn comes.
fn to_its_installer(lab: &Lab, boot: &str) -> Caller {
    let caller = lab.register("k1", MAC, boot, Life::Ram, NOW);
    lab.say(&caller, boot, 1, Reported::Checked { findings: vec![] }, NOW);
    lab.say(&caller, boot, 2, Reported::Wiped { discarded: true }, NOW);
    caller
}

fn token(lab: &Lab) -> String {
    let node = lab.app.registry.find("node-001").unwrap();
    lab.app.registry.installation(&node.id).unwrap().unwrap().token
}

fn tell(lab: &Lab, token: &str, word: &str) -> Result<(), AppError> {
    lab.app.installer_tells(token, word, FROM, NOW)
}

fn node(lab: &Lab) -> NodeDetail {
    lab.app.node("node-001", NOW).unwrap()
}

fn state(lab: &Lab) -> String {
    node(lab).summary.state
}

/// Whether an installation with this token is known, by the one question that changes nothing.
fn is_open(lab: &Lab, token: &str) -> bool {
    let server = Server {
        address: Ipv4Addr::new(192, 0, 2, 1),
        http_port: 8080,
    };
    let answer = lab.app.answer_file(token, "preseed.cfg", (FROM, server), NOW);
    !matches!(answer, Err(AppError::NotFound(_)))
}

#[test]
fn an_installer_tells_its_stages_and_after_the_last_the_machine_boots_its_disk() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    assert_eq!(lab.boots(MAC), Boot::Install);
    let token = token(&lab);
    assert!(node(&lab).summary.reason.contains("waiting for its installer"));
    for (word, stage) in [
        ("pre", Stage::Installer),
        ("partitioning\n", Stage::Partitioning),
        ("packages", Stage::Packages),
        ("late", Stage::SettingUp),
    ] {
        tell(&lab, &token, word).unwrap();
        tell(&lab, &token, word).unwrap();
        assert_eq!(node(&lab).summary.progress.unwrap().stage, stage);
        assert_eq!(lab.boots(MAC), Boot::Install, "a power cut here begins anew");
    }
    // A word that was long under way.
    tell(&lab, &token, "partitioning").unwrap();
    assert_eq!(node(&lab).summary.progress.unwrap().stage, Stage::SettingUp);
    tell(&lab, &token, "done").unwrap();
    assert_eq!(lab.boots(MAC), Boot::LocalDisk);
    assert!(!is_open(&lab, &token), "its secret ends with it");
    assert!(matches!(tell(&lab, &token, "pre"), Err(AppError::NotFound(_))));
    let told: Vec<String> = lab.kinds().into_iter().filter(|kind| kind == "installing").collect();
    assert_eq!(told.len(), 3, "what is said twice is written down once");
}

#[test]
fn questions_change_nothing_however_often() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    let (before, token) = (lab.app.registry.find("node-001").unwrap(), token(&lab));
    for _ in 0..3 {
        assert!(is_open(&lab, &token));
        lab.boots(MAC);
    }
    assert_eq!(lab.app.registry.find("node-001").unwrap(), before);
}

#[test]
fn an_installer_that_begins_again_was_cut_short_and_goes_on() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    let token = token(&lab);
    tell(&lab, &token, "pre").unwrap();
    tell(&lab, &token, "packages").unwrap();
    tell(&lab, &token, "pre").unwrap();
    let attempt = lab.app.registry.find("node-001").unwrap().state.attempt().unwrap();
    assert_eq!((attempt.interruptions, attempt.tries), (1, 0));
    assert!(is_open(&lab, &token), "the same installation");
}

#[test]
fn a_failure_is_shown_with_how_the_log_ended_and_the_machine_is_tried_again_from_the_start() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    let first = token(&lab);
    tell(&lab, &first, "pre").unwrap();
    let log: String = (0..100)
        .map(|line| ["line ", &line.to_string(), "\n"].concat())
        .collect();
    let told = format!("bootstrap-base\u{1b}[31m failed\n\n{log}");
    lab.app.installer_failed(&first, &told, FROM, NOW).unwrap();
    let shown = node(&lab);
    assert_eq!(shown.summary.state, "approved", "nobody is in RAM who could go on");
    assert_eq!(shown.installer_log.len(), LOG_LINES);
    assert_eq!(shown.installer_log.last().unwrap(), "line 99");
    let events = lab.app.events(None, None, 100).unwrap();
    let failed = events.iter().find(|event| event.kind == "failed").unwrap();
    assert!(
        failed.detail.contains("bootstrap-base[31m failed") && failed.actor == "installer",
        "{failed:?}"
    );
    assert!(!is_open(&lab, &first));
    // Two more, and it waits for a person.
    for boot in ["ram-2", "ram-3"] {
        to_its_installer(&lab, boot);
        let token = token(&lab);
        assert_ne!(token, first, "every installation has its own");
        lab.app.installer_failed(&token, "again", FROM, NOW).unwrap();
    }
    assert_eq!(state(&lab), "failed");
    assert!(node(&lab).summary.reason.contains("gave up after 3 tries"));
    assert!(node(&lab).installer_log.is_empty(), "the last one sent none");
}

#[test]
fn an_operator_ends_an_installation_and_its_secret_with_it() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    let token = token(&lab);
    lab.app.command("node-001", Command::Retire, "operator", NOW).unwrap();
    assert!(!is_open(&lab, &token));
    assert!(
        lab.app.registry.installation(&node(&lab).summary.id).unwrap().is_none(),
        "it is forgotten"
    );
}

#[test]
fn who_does_not_know_the_secret_learns_nothing() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    let token = token(&lab);
    tell(&lab, &token, "pre").unwrap();
    let words = |error: AppError| error.to_string();
    let unknown = words(tell(&lab, "none", "pre").unwrap_err());
    tell(&lab, &token, "done").unwrap();
    assert_eq!(
        words(tell(&lab, &token, "pre").unwrap_err()),
        unknown,
        "over is as good as never"
    );
    assert_eq!(
        words(lab.app.installer_failed("none", "x", FROM, NOW).unwrap_err()),
        unknown
    );
}

#[test]
fn what_is_no_stage_is_refused_and_changes_nothing() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    let before = lab.app.registry.find("node-001").unwrap();
    let error = tell(&lab, &token(&lab), "lunch").unwrap_err();
    assert!(
        matches!(&error, AppError::Invalid(why) if why.contains("lunch")),
        "{error}"
    );
    assert_eq!(lab.app.registry.find("node-001").unwrap(), before);
}

#[test]
fn an_installer_that_says_nothing_for_long_is_a_failure_and_one_that_talks_is_not() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    let token = token(&lab);
    for hour in 1..10 {
        lab.app
            .installer_tells(&token, "packages", FROM, NOW + hour * HOUR)
            .unwrap();
        monitor::look(&lab.app, NOW + hour * HOUR);
        assert_eq!(state(&lab), "installing");
    }
    monitor::look(&lab.app, NOW + 12 * HOUR);
    assert_eq!(state(&lab), "approved");
    assert!(!is_open(&lab, &token));
}

#[test]
fn a_secret_is_worth_nothing_after_a_day() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    let token = token(&lab);
    let late = NOW + 24 * HOUR;
    assert!(lab.app.installer_tells(&token, "pre", FROM, late - 1).is_ok());
    assert!(matches!(
        lab.app.installer_tells(&token, "pre", FROM, late),
        Err(AppError::NotFound(_))
    ));
    monitor::look(&lab.app, late);
    assert_eq!(state(&lab), "approved", "it is begun anew");
}

#[test]
fn subiquitys_own_words_stand_beside_the_stage() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    let token = token(&lab);
    tell(&lab, &token, "packages").unwrap();
    for event in [
        serde_json::json!({"name": "subiquity/Install/install", "description": "unpacking\u{7} openssh-server"}),
        serde_json::json!(["no", "event"]),
    ] {
        lab.app.installer_details(&token, &event, FROM, NOW).unwrap();
    }
    let progress = node(&lab).summary.progress.unwrap();
    assert_eq!(
        (progress.stage, progress.detail.as_str()),
        (Stage::Packages, "unpacking openssh-server")
    );
}

#[test]
fn a_machine_that_cannot_be_installed_is_not_approved_and_the_field_is_named() {
    let mirrored = PROFILE.replace("compute", "mirrored");
    let lab = Lab::new(&format!(
        "{PROFILE}{mirrored}layout = {{ kind = \"raid1\", second = {{ smallest-above = 50 }} }}\n"
    ));
    lab.register("k1", MAC, "ram-1", Life::Ram, NOW);
    let approve = provisioner_api::Approve {
        profile: Some("mirrored".into()),
        ..Default::default()
    };
    let error = lab.app.approve("node-001", &approve, "operator", NOW).unwrap_err();
    assert!(
        matches!(&error, AppError::Refused(why) if why.starts_with("storage.layout.second: ")),
        "{error}"
    );
    assert_eq!(state(&lab), "enrolled");
}

#[test]
fn without_a_medium_nothing_is_wiped_and_the_node_says_what_is_missing() {
    let lab = lab();
    let caller = lab.register("k1", MAC, "ram-1", Life::Ram, NOW);
    let local = "192.0.2.1:8443".parse().unwrap();
    let order = lab.app.orders(&caller, local).unwrap().order;
    assert!(
        matches!(&order, provisioner_api::Order::Wait { why } if why.contains("debian-13")),
        "{order:?}"
    );
}

#[test]
fn an_installers_secrets_are_given_where_it_is_known_that_its_own_card_asks_and_nowhere_else() {
    let lab = lab();
    to_its_installer(&lab, "ram-1");
    // Fresh addresses that nobody knows, as often as somebody likes.
    for _ in 0..3 {
        assert!(matches!(lab.asks_for_its_script(MAC), Boot::AskAgain { .. }));
    }
    // The address is another card's.
    lab.leases("52:54:00:77:00:99", Ipv4Addr::new(192, 0, 2, 50));
    assert!(matches!(lab.asks_for_its_script(MAC), Boot::Stop { .. }));
    assert_eq!(lab.boots(MAC), Boot::Install);
    // It got another address since.
    lab.leases(MAC, Ipv4Addr::new(192, 0, 2, 51));
    assert!(matches!(lab.asks_for_its_script(MAC), Boot::AskAgain { .. }));
}
