// SPDX-License-Identifier: Apache-2.0
//! A node cannot be taken by showing its facts.

use provisioner_api::RebootInto;

use super::*;

/// Where the liar is.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));

/// All that lists, names and pools show of a node.
fn all_of(lab: &Lab) -> String {
    let node = lab.app.registry.find("node-001").unwrap();
    let hosts = lab.app.hosts(START);
    format!("{node:?} {:?} {hosts:?}", lab.app.summary("node-001", START).unwrap())
}

#[test]
fn a_start_in_ram_that_nobody_asked_for_changes_nothing_of_an_installed_node() {
    for command in [None, Some(Command::Drain), Some(Command::Retire)] {
        let lab = Lab::new(RULE);
        let home = lab.ready();
        lab.beat(&home, "disk-1", START);
        if let Some(command) = command {
            lab.app.command("node-001", command, "operator", START).unwrap();
        }
        let before = all_of(&lab);
        assert_eq!(lab.starts_at(ELSEWHERE, "stolen", MAC, START), None, "{command:?}");
        assert_eq!(all_of(&lab), before, "{command:?}");
        let inventory = lab.app.registry.inventory(&home.node).unwrap();
        assert_eq!(inventory, machine(MAC));
    }
}

#[test]
fn a_start_in_ram_that_nobody_asked_for_is_sent_to_its_disk_and_people_hear_of_it() {
    let lab = Lab::new(RULE);
    lab.ready();
    for second in 0..40 {
        lab.starts_at(ELSEWHERE, &format!("stolen-{second}"), MAC, START + second * 1000);
    }
    let order = lab.app.visitor_orders("stolen-39", START).unwrap().order;
    assert!(
        matches!(
            order,
            Order::Reboot {
                into: RebootInto::Disk,
                ..
            }
        ),
        "{order:?}"
    );
    let told = lab.kinds().into_iter().filter(|kind| kind == "turned-away").count();
    assert_eq!(told, 1, "forty starts in two minutes are one line");
    let findings = lab.app.findings(START);
    let finding = findings
        .iter()
        .find(|finding| finding.symptom == "turned-away")
        .unwrap();
    assert!(
        finding.about == "node-001" && finding.says.contains("192.0.2.9"),
        "{finding:?}"
    );
}

#[test]
fn a_rejected_machine_is_not_changed_by_whoever_shows_its_facts() {
    let lab = Lab::new("");
    lab.register("k1", MAC, "ram-1", Life::Ram, START);
    lab.app
        .reject("node-001", &Reject { why: "not ours".into() }, "operator", START)
        .unwrap();
    let before = all_of(&lab);
    assert_eq!(lab.starts_at(ELSEWHERE, "stolen", MAC, START), None);
    assert_eq!(all_of(&lab), before);
    let Order::Wait { why } = lab.app.visitor_orders("stolen", START).unwrap().order else {
        panic!("it is to wait")
    };
    assert!(!why.contains("not ours") && !why.contains("node-001"), "{why}");
}

#[test]
fn while_a_machine_is_being_installed_another_one_with_its_facts_waits() {
    let lab = Lab::new(RULE);
    let caller = lab.register("k1", MAC, "ram-1", Life::Ram, START);
    let before = all_of(&lab);
    assert_eq!(lab.starts_at(ELSEWHERE, "stolen", MAC, START + 1000), None);
    assert_eq!(all_of(&lab), before);
    assert!(lab.app.visitor_orders("stolen", START + 1000).is_some());
    // The machine itself loses its power, and comes back at its address.
    assert!(lab.starts_at(FROM, "k2", MAC, START + 2000).is_some());
    assert_eq!(lab.app.caller("k1"), None);
    // Or it is gone for good: then the other may be the machine, with another address.
    let late = START + 200_000;
    assert_eq!(
        lab.app.visitor_orders("stolen", late),
        None,
        "it introduces itself again"
    );
    let other = lab.starts_at(ELSEWHERE, "stolen", MAC, late).unwrap();
    assert_eq!(other.node, caller.node);
}

#[test]
fn a_server_that_starts_again_still_knows_where_a_machine_is_being_installed() {
    let mut lab = Lab::new(RULE);
    lab.register("k1", MAC, "ram-1", Life::Ram, START);
    lab.restart(START + 1000);
    assert_eq!(lab.starts_at(ELSEWHERE, "stolen", MAC, START + 2000), None);
    assert!(lab.starts_at(FROM, "k2", MAC, START + 2000).is_some());
}

#[test]
fn whoever_came_while_a_node_had_failed_is_not_the_start_that_a_rebuild_is_for() {
    let lab = Lab::new(RULE);
    let home = lab.ready();
    lab.app.keep_capsule(&home, &capsule(), START).unwrap();
    let rebuild = || {
        lab.app
            .command("node-001", Command::Rebuild, "operator", START)
            .unwrap()
    };
    rebuild();
    let caller = lab.register("k2", MAC, "ram-2", Life::Ram, START);
    let cause = provisioner_api::FailCause::DiskUnhealthy {
        disk: "S".into(),
        detail: "old".into(),
    };
    lab.say(&caller, "ram-2", 1, Event::Failed { cause }, START);
    // Long after that machine was switched off.
    let liar = lab.starts_at(ELSEWHERE, "stolen", MAC, START + 1_000_000).unwrap();
    rebuild();
    assert!(lab.app.capsule(&liar).is_err());
    let order = lab.app.orders(&liar, local()).unwrap().order;
    assert!(
        matches!(order, Order::Reboot { .. }),
        "it began before the order: {order:?}"
    );
    assert_eq!(lab.app.summary("node-001", START).unwrap().state, "approved");
}

#[test]
fn an_installed_systems_key_does_not_speak_for_a_start_in_ram_nor_the_other_way_round() {
    let lab = Lab::new("");
    let introduce = |key: &str, life| {
        let register = Register {
            boot_id: "another".into(),
            life,
            version: "0".into(),
            inventory: machine(MAC),
            join: None,
            vouches: false,
        };
        lab.app.register(key, FROM, &register, START)
    };
    lab.register("k1", MAC, "ram-1", Life::Ram, START);
    assert!(introduce("k1", Life::Installed).is_err(), "it has installed nothing");
    let lab = Lab::new(RULE);
    lab.ready();
    assert!(
        lab.app
            .caller("k1")
            .is_some_and(|caller| caller.life == Life::Installed),
        "the key of the system on the disk"
    );
}

#[test]
fn a_machine_that_may_be_a_node_is_approved_by_a_person_and_by_no_rule() {
    let labels = |mac: &str, disk: &str| {
        let mut inventory = machine(mac);
        inventory.smbios.system_uuid = Some("4c4c4544-0031-4a10-8052-b4c04f333132".into());
        inventory.smbios.system_serial = Some("5TQW2J1".into());
        inventory.disks[0].serial = Some(disk.into());
        inventory
    };
    let lab = Lab::new(RULE);
    let starts = |key: &str, inventory: Inventory| {
        let register = Register {
            boot_id: key.into(),
            life: Life::Ram,
            version: "0".into(),
            inventory,
            join: None,
            vouches: false,
        };
        lab.app.register(key, FROM, &register, START).unwrap().name
    };
    assert_eq!(starts("k1", labels(MAC, "WD-OLD")), "node-001");
    assert_eq!(lab.app.summary("node-001", START).unwrap().state, "checking");
    // Its card and its disk were replaced at once.
    assert_eq!(starts("k2", labels("52:54:00:77:00:02", "WD-NEW")), "node-002");
    let new = lab.app.summary("node-002", START).unwrap();
    assert!(new.state == "enrolled" && new.reason.contains("node-001"), "{new:?}");
}

/// A node whose installed system says that its key can be read from RAM, and its key.
fn vouching(lab: &Lab) -> Caller {
    let home = lab.ready();
    let register = Register {
        boot_id: "disk-1".into(),
        life: Life::Installed,
        version: "0".into(),
        inventory: machine(MAC),
        join: None,
        vouches: true,
    };
    lab.app.register("k1", FROM, &register, START).unwrap();
    lab.app.keep_capsule(&home, &capsule(), START).unwrap();
    home
}

fn rebuild(lab: &Lab, now: i64) {
    lab.app.command("node-001", Command::Rebuild, "operator", now).unwrap();
}

fn vouch(lab: &Lab, home: &Caller, start: &str) -> Result<(), AppError> {
    lab.app
        .vouch(home, &provisioner_api::Vouch { key: start.into() }, START)
}

/// Keys as they are on the wire.
const REAL: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const LIAR: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn state(lab: &Lab) -> String {
    lab.app.summary("node-001", START).unwrap().state
}

#[test]
fn a_rebuild_of_a_node_that_is_alive_is_for_the_start_that_its_key_vouches_for() {
    let lab = Lab::new(RULE);
    let home = vouching(&lab);
    assert!(
        vouch(&lab, &home, REAL).is_err(),
        "nobody told it to install itself again"
    );
    rebuild(&lab, START);
    // First comes somebody who shows its facts, from its own address even.
    assert_eq!(lab.starts_at(FROM, LIAR, MAC, START), None);
    assert_eq!(state(&lab), "approved");
    let Order::Wait { why } = lab.app.visitor_orders(LIAR, START).unwrap().order else {
        panic!("it is to wait")
    };
    assert!(!why.contains("node-001"), "{why}");
    // Then the machine.
    assert_eq!(
        lab.starts_at(ELSEWHERE, REAL, MAC, START),
        None,
        "it has to show its key"
    );
    vouch(&lab, &home, REAL).unwrap();
    let real = lab.starts_at(ELSEWHERE, REAL, MAC, START).unwrap();
    assert_eq!((&real.node, state(&lab).as_str()), (&home.node, "checking"));
    assert_eq!(lab.starts_at(FROM, LIAR, MAC, START + 1000), None);
}

#[test]
fn what_has_to_vouch_survives_a_restart_of_the_server() {
    let mut lab = Lab::new(RULE);
    let home = vouching(&lab);
    rebuild(&lab, START);
    lab.restart(START + 1000);
    assert_eq!(lab.starts_at(FROM, LIAR, MAC, START + 2000), None);
    vouch(&lab, &home, REAL).unwrap();
    lab.restart(START + 3000);
    assert!(lab.starts_at(FROM, REAL, MAC, START + 4000).is_some());
}

#[test]
fn where_the_disk_was_replaced_a_person_says_which_start_is_the_machine() {
    let lab = Lab::new(RULE);
    let home = vouching(&lab);
    rebuild(&lab, START);
    let confirm = |from| {
        let confirm = provisioner_api::Confirm { from };
        lab.app.confirm("node-001", &confirm, "operator", START)
    };
    assert!(matches!(confirm(None), Err(AppError::Refused(_))), "nobody is there");
    lab.starts_at(FROM, REAL, MAC, START);
    lab.starts_at(ELSEWHERE, LIAR, MAC, START);
    let finding = lab
        .app
        .findings(START)
        .into_iter()
        .find(|finding| finding.symptom == "turned-away")
        .unwrap();
    assert!(
        finding.grave && finding.action.contains("node confirm node-001"),
        "{finding:?}"
    );
    let Err(AppError::Refused(why)) = confirm(None) else {
        panic!("one of two was taken")
    };
    assert!(why.contains("192.0.2.50") && why.contains("192.0.2.9"), "{why}");
    confirm(Some(FROM_V4)).unwrap();
    assert_eq!(lab.app.visitor_orders(REAL, START), None, "it introduces itself again");
    assert_eq!(lab.starts_at(FROM, REAL, MAC, START).unwrap().node, home.node);
    assert_eq!(lab.starts_at(ELSEWHERE, LIAR, MAC, START), None);
}

#[test]
fn a_node_that_was_lost_or_whose_node_init_is_old_is_installed_again_by_its_facts() {
    // Its disk is broken: nothing there can vouch.
    let lab = Lab::new(RULE);
    vouching(&lab);
    let late = START + 24 * 3_600_000;
    rebuild(&lab, late);
    assert!(lab.starts_at(ELSEWHERE, REAL, MAC, late).is_some());
    // An older one does not say that it can.
    let lab = Lab::new(RULE);
    lab.ready();
    rebuild(&lab, START);
    assert!(lab.starts_at(FROM, REAL, MAC, START).is_some());
}

#[test]
fn a_lost_node_that_comes_home_after_the_order_vouches_all_the_same() {
    let lab = Lab::new(RULE);
    vouching(&lab);
    let late = START + 24 * 3_600_000;
    rebuild(&lab, late);
    let register = Register {
        boot_id: "disk-2".into(),
        life: Life::Installed,
        version: "0".into(),
        inventory: machine(MAC),
        join: None,
        vouches: true,
    };
    lab.app.register("k1", FROM, &register, late).unwrap();
    assert_eq!(lab.starts_at(FROM, LIAR, MAC, late), None);
}

#[test]
fn only_an_installed_systems_key_vouches() {
    let lab = Lab::new("");
    let enrolled = lab.register("k1", MAC, "ram-1", Life::Ram, START);
    assert!(matches!(vouch(&lab, &enrolled, LIAR), Err(AppError::Forbidden(_))));
    let lab = Lab::new(RULE);
    let home = vouching(&lab);
    rebuild(&lab, START);
    for bad in ["", "short", &"g".repeat(64), &"a".repeat(65)] {
        assert!(matches!(vouch(&lab, &home, bad), Err(AppError::Invalid(_))), "{bad}");
    }
}
