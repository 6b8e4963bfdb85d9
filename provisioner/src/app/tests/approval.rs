// SPDX-License-Identifier: Apache-2.0
//! What is confirmed is what is done, and what no rule decides.

use provisioner_api::ApprovalPlan;

use super::*;
use crate::images::tests::import_a_version;

const OTHER: &str = "52:54:00:77:00:02";

fn windows() -> DiskContents {
    DiskContents {
        summary: "Windows, 3 partitions".into(),
        table: Some("gpt".into()),
        ..DiskContents::default()
    }
}

impl Lab {
    fn shows(&self, key: &str, boot: &str, inventory: Inventory) {
        let register = Register {
            boot_id: boot.into(),
            life: Life::Ram,
            version: "0".into(),
            inventory,
            join: None,
            vouches: false,
        };
        self.app.register(key, FROM, &register, START).unwrap();
    }

    fn plan(&self, node: &str, asked: &Approve) -> ApprovalPlan {
        self.app.approval_plan(node, asked).unwrap()
    }

    fn state(&self, node: &str) -> String {
        self.app.summary(node, START).unwrap().state
    }

    fn approve(&self, node: &str, asked: &Approve) -> Result<(), String> {
        let done = self.app.approve(node, asked, "operator", START);
        done.map(drop).map_err(|error| error.to_string())
    }
}

fn confirmed(plan: ApprovalPlan) -> Approve {
    Approve {
        confirmed: Some(Box::new(plan)),
        ..Approve::default()
    }
}

#[test]
fn what_is_not_empty_is_approved_only_with_what_was_shown() {
    let lab = Lab::new("");
    let mut inventory = machine(MAC);
    inventory.disks[0].contents = windows();
    lab.shows("k1", "ram-1", inventory);
    let refused = lab.approve("node-001", &Approve::default()).unwrap_err();
    assert!(refused.contains("Windows") && refused.contains("/plan"), "{refused}");
    assert_eq!(lab.state("node-001"), "enrolled");
    let plan = lab.plan("node-001", &Approve::default());
    assert_eq!((plan.disks[0].name.as_str(), plan.disks[0].empty), ("sda", false));
    lab.approve("node-001", &confirmed(plan)).unwrap();
    assert_eq!(lab.state("node-001"), "checking");
}

#[test]
fn a_data_disk_with_something_on_it_needs_a_word_too() {
    let lab = Lab::new("");
    let mut inventory = machine(MAC);
    let mut data = inventory.disks[0].clone();
    (data.name, data.size, data.contents) = ("sdb".into(), 1 << 41, windows());
    data.serial = Some("DATA-77001".into());
    inventory.disks.push(data);
    lab.shows("k1", "ram-1", inventory);
    let refused = lab.approve("node-001", &Approve::default()).unwrap_err();
    assert!(refused.contains("sdb"), "{refused}");
}

/// Every kind of change between the showing and the approval.
#[test]
fn what_has_changed_since_it_was_shown_is_not_approved() {
    let change = |change: &dyn Fn(&mut Inventory)| {
        let lab = Lab::new("");
        lab.shows("k1", "ram-1", machine(MAC));
        let plan = lab.plan("node-001", &Approve::default());
        let mut inventory = machine(MAC);
        change(&mut inventory);
        lab.shows("k1", "ram-2", inventory);
        let refused = lab.approve("node-001", &confirmed(plan)).unwrap_err();
        assert_eq!(lab.state("node-001"), "enrolled");
        refused
    };
    let refused = change(&|inventory| inventory.disks[0].contents = windows());
    assert!(refused.contains("Windows"), "{refused}");
    let refused = change(&|inventory| inventory.disks[0].serial = Some("SWAPPED-1".into()));
    assert!(refused.contains("SWAPPED-1"), "{refused}");
    change(&|inventory| inventory.disks[0].size += 512);
    change(&|inventory| inventory.disks[0].name = "sdb".into());
    let mut small = machine(MAC).disks.remove(0);
    (small.name, small.serial, small.size) = ("sdc".into(), Some("SMALL-1".into()), 1 << 39);
    change(&|inventory| inventory.disks.push(small.clone()));
    change(&|inventory| inventory.smbios.system_serial = Some("PC-4711".into()));
}

#[test]
fn what_was_shown_for_one_wish_does_not_approve_another() {
    let lab = Lab::new("[profiles.compute]\n[profiles.other]\n");
    lab.shows("k1", "ram-1", machine(MAC));
    lab.shows("k2", "ram-1", machine(OTHER));
    let plan = lab.plan("node-001", &Approve::default());
    for asked in [
        Approve {
            profile: Some("other".into()),
            ..confirmed(plan.clone())
        },
        Approve {
            name: Some("lab-7".into()),
            ..confirmed(plan.clone())
        },
    ] {
        let refused = lab.approve("node-001", &asked).unwrap_err();
        assert!(refused.contains("not what was confirmed"), "{refused}");
    }
    assert!(lab.approve("node-002", &confirmed(plan)).is_err(), "another machine");
}

#[test]
fn an_image_imported_in_between_is_refused_and_one_imported_later_is_not_taken() {
    let lab = Lab::new("[profiles.compute]\nimage = \"debian-13\"\n");
    let keys = lab.folder.path().join("trusted-keys");
    import_a_version(&lab.app.images, &keys, "1", 1);
    let caller = lab.register("k1", MAC, "ram-1", Life::Ram, START);
    let plan = lab.plan("node-001", &Approve::default());
    assert_eq!(plan.system.version.as_deref(), Some("1"));
    import_a_version(&lab.app.images, &keys, "2", 2);
    let refused = lab.approve("node-001", &confirmed(plan)).unwrap_err();
    assert!(
        refused.contains("debian-13 1") && refused.contains("debian-13 2"),
        "{refused}"
    );
    let plan = lab.plan("node-001", &Approve::default());
    lab.approve("node-001", &confirmed(plan)).unwrap();
    import_a_version(&lab.app.images, &keys, "3", 3);
    lab.say(&caller, "ram-1", 1, Event::Checked { findings: vec![] }, START);
    lab.say(&caller, "ram-1", 2, Event::Wiped { discarded: true }, START);
    let Order::Install(install) = lab.app.orders(&caller, local()).unwrap().order else {
        panic!("not to be installed")
    };
    assert_eq!(install.image.version, "2", "what was confirmed");
    // A rebuild is a new order: it takes what is newest then, and says so.
    lab.say(
        &caller,
        "ram-1",
        3,
        Event::Written {
            bytes: 1,
            milliseconds: 1,
            mark: None,
        },
        START,
    );
    let caller = lab.register("k1", MAC, "disk-1", Life::Installed, START);
    lab.say(&caller, "disk-1", 1, Event::CameHome { report: report(true) }, START);
    lab.app
        .command("node-001", Command::Rebuild, "operator", START)
        .unwrap();
    let events = lab.app.events(Some("node-001"), None, 100).unwrap();
    let rebuild = events.iter().find(|event| event.kind == "rebuild").unwrap();
    assert!(rebuild.detail.contains("debian-13 3"), "{}", rebuild.detail);
}

#[test]
fn a_disk_that_holds_something_else_than_was_confirmed_is_not_wiped() {
    let lab = Lab::new("");
    lab.shows("k1", "ram-1", machine(MAC));
    lab.approve("node-001", &Approve::default()).unwrap();
    assert_eq!(lab.state("node-001"), "checking");
    // It went down before its disk was checked, and somebody used it meanwhile.
    let mut inventory = machine(MAC);
    inventory.disks[0].contents = windows();
    lab.shows("k1", "ram-2", inventory.clone());
    assert_eq!(lab.state("node-001"), "enrolled");
    let events = lab.app.events(Some("node-001"), None, 100).unwrap();
    let void = events.iter().find(|event| event.kind == "approval-void").unwrap();
    assert!(void.detail.contains("Windows"), "{}", void.detail);
    // Once it is wiped, whatever is there is ours.
    let plan = lab.plan("node-001", &Approve::default());
    lab.approve("node-001", &confirmed(plan)).unwrap();
    let caller = lab.app.caller("k1").unwrap();
    lab.say(&caller, "ram-2", 1, Event::Checked { findings: vec![] }, START);
    inventory.disks[0].contents = machine(MAC).disks[0].contents.clone();
    lab.shows("k1", "ram-3", inventory);
    assert_eq!(lab.state("node-001"), "checking");
}

#[test]
fn no_rule_wipes_the_system_of_another_node_and_a_person_is_told_whose_it_is() {
    let lab = Lab::new(RULE);
    lab.ready();
    let shown = |disk: &dyn Fn(&mut Disk)| {
        let mut inventory = machine(OTHER);
        inventory.disks[0] = machine(MAC).disks.remove(0);
        disk(&mut inventory.disks[0]);
        inventory
    };
    // As the only disk, in another case, in a USB frame beside an empty disk of its own.
    let mut beside = machine(OTHER);
    beside.disks.push(shown(&|_| ()).disks.remove(0));
    beside.disks[1].name = "sdb".into();
    beside.disks[1].transport = Transport::Usb;
    let same = shown(&|_| ());
    let lower = shown(&|disk| disk.serial = disk.serial.as_ref().map(|serial| serial.to_lowercase()));
    for (number, inventory) in [same, lower, beside].into_iter().enumerate() {
        let key = format!("other-{number}");
        lab.shows(&key, &key, inventory);
        let node = lab.app.registry.by_key(&key).unwrap().0;
        let summary = lab.app.summary(&node.id, START).unwrap();
        assert_eq!(summary.state, "enrolled", "{key}");
        assert!(summary.reason.contains("node-001"), "{}", summary.reason);
        if number < 2 {
            let plan = lab.plan(&node.id, &Approve::default());
            assert_eq!(plan.disks[0].system_of.as_deref(), Some("node-001"));
            let detail = lab.app.node(&node.id, START).unwrap();
            assert!(
                detail.disk_reason.contains("node-001's system"),
                "{}",
                detail.disk_reason
            );
            assert!(
                lab.approve(&node.id, &Approve::default()).is_err(),
                "nobody was shown it"
            );
        }
        lab.app
            .registry
            .forget(&node.id, &crate::registry::Entry::new("test", "", ""), START)
            .unwrap();
    }
    // A retired node has given its disk up.
    lab.app.command("node-001", Command::Retire, "operator", START).unwrap();
    lab.shows("later", "later", shown(&|_| ()));
    let node = lab.app.registry.by_key("later").unwrap().0;
    let plan = lab.plan(&node.id, &Approve::default());
    assert_eq!(plan.disks[0].system_of, None);
}

#[test]
fn a_disk_that_nothing_names_for_certain_is_left_to_a_person() {
    for serial in [
        None,
        Some("To be filled by O.E.M."),
        Some("000000000000"),
        Some("QM00001"),
    ] {
        let lab = Lab::new(RULE);
        let mut inventory = machine(MAC);
        inventory.disks[0].serial = serial.map(Into::into);
        inventory.disks[0].by_path = Some("pci-0000:00:1f.2-ata-1".into());
        lab.shows("k1", "ram-1", inventory);
        let summary = lab.app.summary("node-001", START).unwrap();
        assert_eq!(summary.state, "enrolled", "{serial:?}");
        assert!(summary.reason.contains("a person has to decide"), "{}", summary.reason);
        lab.approve("node-001", &Approve::default()).unwrap();
    }
    // Two machines that show disks with one serial number.
    let lab = Lab::new(RULE);
    let mut first = machine(MAC);
    let mut data = first.disks[0].clone();
    (data.name, data.size, data.serial) = ("sdb".into(), 1 << 41, Some("SHARED-0001".into()));
    first.disks.push(data);
    lab.shows("k1", "ram-1", first);
    assert_eq!(lab.state("node-001"), "checking");
    let mut second = machine(OTHER);
    second.disks[0].serial = Some("SHARED-0001".into());
    lab.shows("k2", "ram-1", second);
    assert_eq!(lab.state("node-002"), "enrolled");
}
