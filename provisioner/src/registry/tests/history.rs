// SPDX-License-Identifier: Apache-2.0
//! How much is kept of what happened, and whose past goes first.

use super::*;
use crate::events;

/// How many events of this kind a node has.
fn count(lab: &Lab, id: &str, kind: &str) -> usize {
    let events = lab.registry.events(Some(id), None, 100_000).unwrap();
    events.iter().filter(|event| event.kind == kind).count()
}

fn flood(lab: &Lab, id: &str, lines: u32) {
    let note = Entry::new("note", "x".repeat(5000), events::NODE);
    for _ in 0..lines {
        lab.registry.write_down(Some(id), &note, lab.now).unwrap();
    }
}

#[test]
fn a_machine_that_never_stops_telling_pushes_out_its_own_past_only() {
    let mut lab = Lab::new();
    let quiet = lab.start("k1", "52:54:00:00:00:01", "b", Life::Ram).unwrap().id.clone();
    let loud = lab.start("k2", "52:54:00:00:00:02", "b", Life::Ram).unwrap().id.clone();
    let before = lab.registry.events(Some(&quiet), None, 1000).unwrap();
    let lost = Entry::new("lost", "no word", events::PROVISIONER);
    lab.registry.write_down(Some(&loud), &lost, lab.now).unwrap();
    let turned_away = Entry::new("turned-away", "a stranger", events::PROVISIONER);
    for _ in 0..1200 {
        lab.registry.write_down(Some(&loud), &turned_away, lab.now).unwrap();
    }
    assert_eq!(count(&lab, &loud, "turned-away"), 1000);
    flood(&lab, &loud, 300);
    assert_eq!(count(&lab, &loud, "note"), 20, "nobody approved it");
    lab.approve(&loud);
    flood(&lab, &loud, 3000);
    assert_eq!(count(&lab, &loud, "note"), 1000);
    assert_eq!(count(&lab, &loud, "approved"), 1, "what people did stays");
    assert_eq!(
        lab.registry.lost().unwrap(),
        std::slice::from_ref(&loud),
        "its silence stays"
    );
    assert_eq!(lab.registry.events(Some(&quiet), None, 1000).unwrap(), before);
    let newest = lab.registry.events(Some(&loud), None, 1).unwrap();
    assert_eq!(newest[0].detail.chars().count(), 1000, "and no line is endless");
}

#[test]
fn whether_an_installer_was_at_its_last_step_is_not_looked_up_in_what_can_be_flooded() {
    let mut lab = Lab::new();
    let (id, secret) = joins::installing(&mut lab);
    let late = Entry::new("installing", "late", events::INSTALLER);
    lab.registry.at_last_step(&id, &late, lab.now).unwrap();
    flood(&lab, &id, 2000);
    assert_eq!(count(&lab, &id, "installing"), 0, "the line is gone");
    assert!(joins::join(&mut lab, "k-new", MAC, &secret).is_ok(), "the fact is not");
}

#[test]
fn what_machines_say_before_they_are_approved_is_limited_in_bytes() {
    let lab = Lab::new();
    let mut refused = 0;
    for number in 0..160_u32 {
        let mut inventory = Inventory::default();
        inventory.cpu.model = "x".repeat(250_000);
        inventory.nics.push(Nic {
            mac: format!("52:54:00:00:01:{number:02x}"),
            ..Nic::default()
        });
        let register = Register {
            boot_id: "b".into(),
            life: Life::Ram,
            version: "0".into(),
            inventory,
            join: None,
            vouches: false,
        };
        let key = format!("k{number}");
        match registered(&lab.registry, &key, &register, lab.now) {
            Ok(_) => {}
            Err(RegistryError::TooMuch) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    let kept = lab.registry.nodes();
    assert!(refused > 0 && kept.len() > 100, "{refused} refused");
    assert!(kept.iter().map(|node| node.weight).sum::<usize>() <= UNAPPROVED_BYTES);
}

#[test]
fn a_database_with_documents_from_before_there_were_bounds_is_opened_and_its_nodes_are_small() {
    let mut lab = Lab::new();
    let id = lab.start("k1", "52:54:00:00:00:01", "b", Life::Ram).unwrap().id.clone();
    let mut inventory = lab.registry.inventory(&id).unwrap();
    inventory.smbios.system_product = Some("x".repeat(500_000));
    let nic = inventory.nics[0].clone();
    inventory.nics = (0..5000_u32)
        .map(|number| Nic {
            mac: format!("52:54:00:01:{:02x}:{:02x}", number / 256, number % 256),
            ..nic.clone()
        })
        .collect();
    let body = serde_json::to_string(&inventory).unwrap();
    let sql = "UPDATE inventories SET body = ?1";
    lab.registry.db().execute(sql, [body]).unwrap();
    lab.kill();
    let node = lab.registry.node(&id).unwrap();
    assert!(node.facts.macs.len() <= 256, "{}", node.facts.macs.len());
    assert!(node.outline.model.chars().count() <= 200);
    assert!(lab.registry.inventory(&id).unwrap().nics.len() <= 256);
}
