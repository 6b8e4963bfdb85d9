// SPDX-License-Identifier: Apache-2.0
//! An installed system that makes its own key.

use provisioner_api::Join;

use super::*;
use crate::events;
use crate::lifecycle::State;

/// A card of another machine.
const OTHER: &str = "52:54:00:77:00:99";

/// A node whose installer runs, and its join secret.
pub(super) fn installing(lab: &mut Lab) -> (String, String) {
    let id = lab.start("k-ram", MAC, "ram-1", Life::Ram).unwrap().id.clone();
    let plan = Plan {
        system: System::Installer("debian-13".into()),
        ..plan()
    };
    lab.registry
        .apply(&id, &Event::Approve(plan.into()), OPERATOR, lab.now)
        .unwrap();
    for (sequence, event) in [(1, CHECKED), (2, WIPED)] {
        lab.hear(&id, Life::Ram, "ram-1", sequence, event).unwrap();
    }
    tell(lab, &id, &Event::Begun);
    let secret = lab.registry.installation(&id).unwrap().unwrap().join;
    (id, secret)
}

fn tell(lab: &mut Lab, id: &str, event: &Event) {
    lab.now += 1000;
    lab.registry.apply_installers(id, event, "debian-13", lab.now).unwrap();
}

pub(super) fn join(lab: &mut Lab, key: &str, mac: &str, secret: &str) -> Result<Arc<Node>, RegistryError> {
    lab.now += 1000;
    let mut inventory = Inventory::default();
    inventory.nics.push(Nic {
        mac: mac.into(),
        booted: true,
        ..Nic::default()
    });
    let register = Register {
        boot_id: format!("boot of {key}"),
        life: Life::Installed,
        version: "0".into(),
        inventory,
        join: Some(Join(secret.into())),
        vouches: false,
    };
    registered_by(&lab.registry, key, &register, Door::Guarded, lab.now)
}

fn refused(lab: &mut Lab, key: &str, mac: &str, secret: &str) -> NoJoin {
    let before = lab.registry.nodes();
    let refused = match join(lab, key, mac, secret) {
        Err(RegistryError::NoJoin(refused)) => refused,
        other => panic!("{other:?}"),
    };
    assert_eq!(lab.registry.nodes(), before, "a liar changes nothing");
    assert!(lab.registry.by_key(key).is_none());
    refused
}

fn kinds(lab: &Lab, id: Option<&str>) -> Vec<String> {
    let events = lab.registry.events(id, None, 1000).unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

#[test]
fn a_system_that_an_installer_made_joins_with_a_key_of_its_own_and_is_the_node_from_then_on() {
    let mut lab = Lab::new();
    let (id, secret) = installing(&mut lab);
    tell(&mut lab, &id, &Event::Written);
    let node = join(&mut lab, "k-new", MAC, &secret).unwrap();
    assert_eq!(
        (node.id.as_str(), node.keys.written.as_deref()),
        (id.as_str(), Some("k-new"))
    );
    assert_eq!(
        lab.registry.installation(&id).unwrap().unwrap().join,
        "",
        "only its hash is kept"
    );
    lab.kill();
    assert_eq!(lab.registry.by_key("k-new").unwrap().1, Life::Installed);
    // The answer was lost: it asks again, with the key that is known by now.
    assert_eq!(join(&mut lab, "k-new", MAC, &secret).unwrap().id, id);
    lab.hear(
        &id,
        Life::Installed,
        "boot of k-new",
        1,
        Reported::CameHome { report: report(true) },
    )
    .unwrap();
    assert_eq!(lab.word(&id), "ready");
    assert!(lab.registry.installation(&id).unwrap().is_none());
    assert_eq!(refused(&mut lab, "k-thief", MAC, &secret), NoJoin::Unknown);
}

#[test]
fn a_secret_is_good_once_for_its_machine_while_its_system_is_about_to_start() {
    let mut lab = Lab::new();
    let (id, secret) = installing(&mut lab);
    let name = lab.registry.node(&id).unwrap().name.clone();
    assert_eq!(refused(&mut lab, "k", MAC, "guessed"), NoJoin::Unknown);
    assert_eq!(refused(&mut lab, "k", MAC, &secret), NoJoin::Early(name.clone()));
    tell(&mut lab, &id, &Event::Written);
    assert_eq!(refused(&mut lab, "k", OTHER, &secret), NoJoin::Stranger(name.clone()));
    join(&mut lab, "k-new", MAC, &secret).unwrap();
    assert_eq!(refused(&mut lab, "k-thief", MAC, &secret), NoJoin::Used(name));
    assert!(kinds(&lab, Some(&id)).contains(&"join-refused".to_owned()));
}

#[test]
fn a_secret_that_was_given_out_too_long_ago_is_worth_nothing() {
    let mut lab = Lab::new();
    let (id, secret) = installing(&mut lab);
    tell(&mut lab, &id, &Event::Written);
    let name = lab.registry.node(&id).unwrap().name.clone();
    lab.now += installations::LASTS;
    assert_eq!(refused(&mut lab, "k", MAC, &secret), NoJoin::Late(name));
}

#[test]
fn the_word_that_an_installer_is_done_may_be_lost_but_not_that_it_was_at_its_last_step() {
    let mut lab = Lab::new();
    let (id, secret) = installing(&mut lab);
    let late = Entry::new("installing", "late", events::INSTALLER);
    lab.registry.at_last_step(&id, &late, lab.now).unwrap();
    assert!(join(&mut lab, "k-new", MAC, &secret).is_ok());
    assert!(matches!(
        lab.registry.node(&id).unwrap().state,
        State::Installing { written: true, .. }
    ));
}

#[test]
fn a_last_step_before_the_installer_began_anew_does_not_count() {
    let mut lab = Lab::new();
    let (id, secret) = installing(&mut lab);
    let late = Entry::new("installing", "late", events::INSTALLER);
    lab.registry.at_last_step(&id, &late, lab.now).unwrap();
    tell(&mut lab, &id, &Event::Begun);
    assert!(matches!(refused(&mut lab, "k", MAC, &secret), NoJoin::Early(_)));
}

#[test]
fn an_installation_that_is_begun_anew_has_a_secret_of_its_own() {
    let mut lab = Lab::new();
    let (id, secret) = installing(&mut lab);
    tell(&mut lab, &id, &Event::Written);
    lab.registry.apply(&id, &Event::Overdue, OPERATOR, lab.now).unwrap();
    assert_eq!(refused(&mut lab, "k", MAC, &secret), NoJoin::Unknown);
}

#[test]
fn whoever_guesses_secrets_fills_no_list() {
    let mut lab = Lab::new();
    let (id, secret) = installing(&mut lab);
    let before = kinds(&lab, None).len();
    for number in 0..50 {
        refused(&mut lab, "k", MAC, &format!("guess {number}"));
    }
    assert_eq!(kinds(&lab, None).len(), before + 1, "one a minute");
    refused(&mut lab, "k", MAC, &secret);
    assert!(
        kinds(&lab, Some(&id)).contains(&"join-refused".to_owned()),
        "and it hides nothing"
    );
}

#[test]
fn a_life_in_ram_and_a_system_that_an_image_brought_join_nowhere() {
    let mut lab = Lab::new();
    let id = installed(&mut lab);
    assert_eq!(refused(&mut lab, "k", MAC, "guessed"), NoJoin::Unknown);
    assert_eq!(lab.word(&id), "ready");
}
