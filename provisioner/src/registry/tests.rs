// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod history;
mod joins;

use provisioner_api::{
    Capsule, Check, DiskRef, Event as Reported, FailCause, Hypervisor, NetworkReport, Nic, NodeEvent, Register,
};

use super::*;
use crate::lifecycle::{Confirmed, Event, Plan, State, System};

const OPERATOR: &str = "operator";

/// A registry on a real disk that can be closed and opened again.
struct Lab {
    folder: tempfile::TempDir,
    registry: Registry,
    now: i64,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        Self {
            folder,
            registry,
            now: 1_800_000_000_000,
        }
    }

    /// What SIGKILL does: nothing is closed, flushed or told; a second process opens what is on the disk.
    fn kill(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        self.registry = Registry::open(copy.path()).unwrap();
        self.folder = copy;
    }

    fn start(&mut self, key: &str, mac: &str, boot: &str, life: Life) -> Result<Arc<Node>, RegistryError> {
        self.now += 1000;
        let mut inventory = Inventory::default();
        inventory.nics.push(Nic {
            mac: mac.into(),
            booted: true,
            ..Nic::default()
        });
        let register = Register {
            boot_id: boot.into(),
            life,
            version: "0".into(),
            inventory,
            join: None,
            vouches: false,
        };
        registered(&self.registry, key, &register, self.now)
    }

    fn approve(&mut self, id: &str) -> Arc<Node> {
        self.now += 1000;
        self.registry
            .apply(id, &Event::Approve(plan().into()), OPERATOR, self.now)
            .unwrap()
    }

    fn hear(
        &mut self,
        id: &str,
        life: Life,
        boot: &str,
        sequence: u64,
        event: Reported,
    ) -> Result<bool, RegistryError> {
        self.now += 1000;
        self.registry.hear(
            id,
            life,
            &NodeEvent {
                boot_id: boot.into(),
                sequence,
                event,
            },
            self.now,
        )
    }

    fn word(&self, id: &str) -> &'static str {
        self.registry.node(id).unwrap().state.word()
    }
}

/// Enrols a machine, for tests of others.
pub(crate) fn enrol(registry: &Registry) -> Arc<Node> {
    let register = Register {
        boot_id: "a".into(),
        life: Life::Ram,
        version: "0".into(),
        inventory: Inventory::default(),
        join: None,
        vouches: false,
    };
    registered(registry, "key", &register, 1).unwrap()
}

/// Bytes of the files of the database in a folder: it and its log.
fn sizes(folder: &std::path::Path) -> (u64, u64) {
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |about| about.len());
    (size(FILE), size("gleaner.db-wal"))
}

#[test]
fn who_copies_the_one_file_after_a_stop_has_everything() {
    let lab = Lab::new();
    let node = enrol(&lab.registry);
    assert!(sizes(lab.folder.path()).1 > 0, "it is in the log only");
    lab.registry.checkpoint().unwrap();
    assert_eq!(sizes(lab.folder.path()).1, 0);
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(lab.folder.path().join(FILE), copy.path().join(FILE)).unwrap();
    let restored = Registry::open(copy.path()).unwrap();
    assert_eq!(
        restored.find(&node.id).map(|node| node.name.clone()),
        Some(node.name.clone())
    );
}

#[test]
fn a_new_database_is_in_its_file_from_the_start() {
    let lab = Lab::new();
    let (file, log) = sizes(lab.folder.path());
    assert!(file > 4096 && log == 0, "{file} {log}");
}

#[test]
fn a_damaged_database_is_refused_at_the_start_and_nothing_is_written_to_it() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("the header", |file| file[..16].fill(b'x')),
        ("a page", |file| file[2 * 4096..3 * 4096].fill(0xa5)),
        ("the root of the schema", |file| file[100..600].fill(0xff)),
        ("its end", |file| file.truncate(3 * 4096 + 17)),
    ];
    for (what, damage) in damages {
        let lab = Lab::new();
        enrol(&lab.registry);
        lab.registry.checkpoint().unwrap();
        let mut file = std::fs::read(lab.folder.path().join(FILE)).unwrap();
        damage(&mut file);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, &file).unwrap();
        let says = Registry::open(folder.path()).unwrap_err().to_string();
        assert!(
            says.contains("is damaged") && says.contains(".recover") && says.contains("backup"),
            "{what}: {says}"
        );
        assert!(std::fs::read(&path).unwrap() == file, "{what} is as it was");
    }
}

#[test]
fn nobody_else_reads_the_database_and_its_logs() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    // What an older version has left.
    drop(Registry::open(folder.path()).unwrap());
    let wide = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(folder.path().join(FILE), wide).unwrap();
    let _registry = Registry::open(folder.path()).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

/// The node that a machine is, or whose facts it shows.
fn registered(registry: &Registry, key: &str, register: &Register, now: i64) -> Result<Arc<Node>, RegistryError> {
    registered_by(registry, key, register, Door::Open, now)
}

fn registered_by(
    registry: &Registry,
    key: &str,
    register: &Register,
    door: Door,
    now: i64,
) -> Result<Arc<Node>, RegistryError> {
    let who = Introduction {
        key,
        from: [192, 0, 2, 50].into(),
        register,
        door,
    };
    let around = Around {
        name: &|number| format!("node-{number}"),
        present: &|_| Present::default(),
    };
    registry
        .register(&who, &around, now)
        .map(|registration| match registration {
            Registration::Node(node) | Registration::TurnedAway(node, _) => node,
        })
}

fn plan() -> Plan {
    let disk = DiskRef {
        wwn: None,
        serial: Some("S".into()),
        by_path: None,
        size: 1,
    };
    Plan {
        profile: "default".into(),
        disk,
        second: None,
        system: System::Image,
        confirmed: Confirmed::default(),
    }
}

fn report(passed: bool) -> ComputeReport {
    ComputeReport {
        role: "libvirt".into(),
        hypervisor: Some(Hypervisor {
            name: String::new(),
            version: String::new(),
            libvirt: String::new(),
            virtualization: "qemu".into(),
        }),
        cpu_model: String::new(),
        cpu_baseline: String::new(),
        threads: 1,
        memory: 1,
        storage: None,
        network: NetworkReport {
            bridge: None,
            card: "eth0".into(),
            address: String::new(),
        },
        checks: vec![Check {
            name: "clock".into(),
            passed,
            detail: "two hours off".into(),
        }],
    }
}

const MAC: &str = "52:54:00:77:00:01";
const CHECKED: Reported = Reported::Checked { findings: Vec::new() };
const WIPED: Reported = Reported::Wiped { discarded: true };
const WRITTEN: Reported = Reported::Written {
    bytes: 1,
    milliseconds: 1,
    mark: None,
};

/// A node that was installed from its RAM life with `ram_key` and came home.
fn installed(lab: &mut Lab) -> String {
    let id = lab.start("k1", MAC, "ram-1", Life::Ram).unwrap().id.clone();
    lab.approve(&id);
    lab.hear(&id, Life::Ram, "ram-1", 1, CHECKED).unwrap();
    lab.hear(&id, Life::Ram, "ram-1", 2, WIPED).unwrap();
    lab.hear(&id, Life::Ram, "ram-1", 3, WRITTEN).unwrap();
    lab.start("k1", MAC, "disk-1", Life::Installed).unwrap();
    lab.hear(
        &id,
        Life::Installed,
        "disk-1",
        1,
        Reported::CameHome { report: report(true) },
    )
    .unwrap();
    assert_eq!(lab.word(&id), "ready");
    id
}

#[test]
fn a_machine_goes_from_registration_to_ready() {
    let mut lab = Lab::new();
    let id = installed(&mut lab);
    let node = lab.registry.node(&id).unwrap();
    assert_eq!((node.installs, node.name.as_str()), (1, "node-1"));
    assert_eq!(
        node.keys,
        Keys {
            ram: None,
            written: None,
            home: Some("k1".into())
        }
    );
    let kinds: Vec<String> = lab
        .registry
        .events(Some(&id), None, 100)
        .unwrap()
        .into_iter()
        .map(|e| e.kind)
        .collect();
    for kind in ["enrolled", "approved", "checked", "wiped", "written", "came-home"] {
        assert!(kinds.contains(&kind.to_owned()), "{kind} in {kinds:?}");
    }
}

#[test]
fn an_approved_machine_that_waits_in_ram_goes_on_at_once_and_one_that_is_off_with_its_next_start() {
    let mut lab = Lab::new();
    let id = installed(&mut lab);
    lab.registry
        .apply(&id, &Event::Rebuild(System::Image.into()), OPERATOR, lab.now)
        .unwrap();
    assert_eq!(lab.word(&id), "approved", "its installed system runs");
    lab.start("k2", MAC, "ram-2", Life::Ram).unwrap();
    assert_eq!(lab.word(&id), "checking");
}

#[test]
fn a_rebuilt_node_is_the_same_node_and_is_known_by_its_capsules_key() {
    let mut lab = Lab::new();
    let id = installed(&mut lab);
    lab.registry
        .apply(&id, &Event::Rebuild(System::Image.into()), OPERATOR, lab.now)
        .unwrap();
    assert_eq!(lab.start("k2", MAC, "ram-2", Life::Ram).unwrap().id, id);
    for (sequence, event) in [(1, CHECKED), (2, WIPED), (3, WRITTEN)] {
        lab.hear(&id, Life::Ram, "ram-2", sequence, event).unwrap();
    }
    assert_eq!(lab.start("k1", MAC, "disk-2", Life::Installed).unwrap().id, id);
    lab.hear(
        &id,
        Life::Installed,
        "disk-2",
        1,
        Reported::CameHome { report: report(true) },
    )
    .unwrap();
    let node = lab.registry.node(&id).unwrap();
    assert_eq!((node.state.word(), node.installs), ("ready", 2));
    assert_eq!(node.keys.home.as_deref(), Some("k1"));
}

#[test]
fn nothing_is_lost_by_a_kill_at_any_moment() {
    let mut lab = Lab::new();
    let id = lab.start("k1", MAC, "ram-1", Life::Ram).unwrap().id.clone();
    lab.kill();
    assert_eq!(lab.word(&id), "enrolled");
    lab.approve(&id);
    lab.kill();
    let steps = [
        (1, CHECKED, "wiping"),
        (2, WIPED, "installing"),
        (3, WRITTEN, "installing"),
    ];
    for (sequence, event, word) in steps {
        assert!(lab.hear(&id, Life::Ram, "ram-1", sequence, event.clone()).unwrap());
        lab.kill();
        assert_eq!(lab.word(&id), word);
        // The answer was lost with the process: the node says it again.
        assert!(
            !lab.hear(&id, Life::Ram, "ram-1", sequence, event).unwrap(),
            "it was heard before"
        );
        assert_eq!(lab.word(&id), word);
    }
    let before = lab.registry.node(&id).unwrap();
    lab.kill();
    assert_eq!(lab.registry.node(&id).unwrap(), before, "memory and disk say the same");
    assert_eq!(lab.registry.by_key("k1").unwrap().0.id, id);
}

#[test]
fn an_event_of_an_earlier_start_is_acknowledged_and_changes_nothing() {
    let mut lab = Lab::new();
    let id = lab.start("k1", MAC, "ram-1", Life::Ram).unwrap().id.clone();
    lab.approve(&id);
    lab.hear(&id, Life::Ram, "ram-1", 1, CHECKED).unwrap();
    lab.start("k2", MAC, "ram-2", Life::Ram).unwrap();
    assert_eq!(lab.word(&id), "checking", "the power cut starts it again");
    assert!(!lab.hear(&id, Life::Ram, "ram-1", 2, WIPED).unwrap());
    assert_eq!(lab.word(&id), "checking");
}

#[test]
fn a_late_word_of_the_old_system_does_not_make_the_new_one_ready() {
    let mut lab = Lab::new();
    let id = installed(&mut lab);
    lab.registry
        .apply(&id, &Event::Rebuild(System::Image.into()), OPERATOR, lab.now)
        .unwrap();
    lab.start("k2", MAC, "ram-2", Life::Ram).unwrap();
    for (sequence, event) in [(1, CHECKED), (2, WIPED), (3, WRITTEN)] {
        lab.hear(&id, Life::Ram, "ram-2", sequence, event).unwrap();
    }
    assert!(
        !lab.hear(
            &id,
            Life::Installed,
            "disk-1",
            9,
            Reported::CameHome { report: report(true) }
        )
        .unwrap()
    );
    assert_eq!(lab.word(&id), "installing");
}

#[test]
fn a_refused_event_changes_nothing_at_all() {
    let mut lab = Lab::new();
    let id = lab.start("k1", MAC, "ram-1", Life::Ram).unwrap().id.clone();
    let before = (lab.registry.node(&id), lab.registry.events(None, None, 100).unwrap());
    assert!(matches!(
        lab.hear(&id, Life::Ram, "ram-1", 1, WRITTEN),
        Err(RegistryError::Refused(_))
    ));
    let came_home = Reported::CameHome { report: report(true) };
    assert!(matches!(
        lab.hear(&id, Life::Ram, "ram-1", 1, came_home),
        Err(RegistryError::WrongLife)
    ));
    assert_eq!(
        (lab.registry.node(&id), lab.registry.events(None, None, 100).unwrap()),
        before
    );
}

#[test]
fn failing_checks_keep_a_node_from_being_ready_and_say_which() {
    let mut lab = Lab::new();
    let id = lab.start("k1", MAC, "ram-1", Life::Ram).unwrap().id.clone();
    lab.approve(&id);
    for (sequence, event) in [(1, CHECKED), (2, WIPED), (3, WRITTEN)] {
        lab.hear(&id, Life::Ram, "ram-1", sequence, event).unwrap();
    }
    lab.start("k1", MAC, "disk-1", Life::Installed).unwrap();
    lab.hear(
        &id,
        Life::Installed,
        "disk-1",
        1,
        Reported::CameHome { report: report(false) },
    )
    .unwrap();
    let node = lab.registry.node(&id).unwrap();
    assert_eq!(node.state.word(), "installing");
    assert!(node.reason().contains("clock: two hours off"), "{}", node.reason());
    lab.hear(
        &id,
        Life::Installed,
        "disk-1",
        2,
        Reported::CameHome { report: report(true) },
    )
    .unwrap();
    let node = lab.registry.node(&id).unwrap();
    assert_eq!((node.state.word(), node.reason().as_str()), ("ready", ""));
}

#[test]
fn a_complaint_of_a_ready_node_is_written_down_and_leaves_it_ready() {
    let mut lab = Lab::new();
    let id = installed(&mut lab);
    let cause = FailCause::SetUp {
        step: "bridge".into(),
        detail: "no carrier".into(),
    };
    lab.hear(&id, Life::Installed, "disk-1", 2, Reported::Failed { cause })
        .unwrap();
    let node = lab.registry.node(&id).unwrap();
    assert_eq!(node.state.word(), "ready");
    assert!(node.reason().contains("no carrier"));
}

#[test]
fn an_installed_system_with_a_foreign_key_is_not_taken_for_the_node_whose_labels_it_shows() {
    let mut lab = Lab::new();
    installed(&mut lab);
    let error = lab.start("stolen", MAC, "disk-9", Life::Installed).unwrap_err();
    assert!(matches!(error, RegistryError::UnknownKey(_)), "{error}");
}

#[test]
fn registering_again_in_one_boot_is_no_new_start() {
    let mut lab = Lab::new();
    let id = lab.start("k1", MAC, "ram-1", Life::Ram).unwrap().id.clone();
    lab.approve(&id);
    lab.hear(&id, Life::Ram, "ram-1", 1, CHECKED).unwrap();
    lab.start("k1", MAC, "ram-1", Life::Ram).unwrap();
    let node = lab.registry.node(&id).unwrap();
    assert_eq!(node.state.word(), "wiping");
    assert_eq!(node.state.attempt().unwrap().interruptions, 0);
    assert_eq!(node.ram.as_ref().unwrap().seen, 1);
}

#[test]
fn a_card_is_looked_up_with_doubt() {
    let mut lab = Lab::new();
    let id = installed(&mut lab);
    let ids = |lab: &Lab, mac: &str, uuid: Option<&str>| -> Vec<String> {
        lab.registry
            .by_card(mac, uuid)
            .iter()
            .map(|node| node.id.clone())
            .collect()
    };
    assert_eq!(ids(&lab, MAC, None), std::slice::from_ref(&id));
    assert_eq!(
        ids(&lab, MAC, Some("4c4c4544-0031-4a10-8052-b4c04f333132")),
        std::slice::from_ref(&id)
    );
    assert!(ids(&lab, "52:54:00:77:00:02", None).is_empty());
    let mut inventory = Inventory::default();
    inventory.nics.push(Nic {
        mac: "00:e0:4c:68:00:01".into(),
        usb: true,
        ..Nic::default()
    });
    inventory.smbios.system_uuid = Some("4c4c4544-0031-4a10-8052-b4c04f333132".into());
    let register = Register {
        boot_id: "b".into(),
        life: Life::Ram,
        version: "0".into(),
        inventory,
        join: None,
        vouches: false,
    };
    let laptop = registered(&lab.registry, "k9", &register, 1).unwrap();
    assert!(
        ids(&lab, "00:e0:4c:68:00:01", None).is_empty(),
        "a USB card alone says nothing"
    );
    let with = ids(&lab, "00:e0:4c:68:00:01", Some("4C4C4544-0031-4A10-8052-B4C04F333132"));
    assert_eq!(with, std::slice::from_ref(&laptop.id));
    let moved = ids(&lab, "00:e0:4c:68:00:01", Some("88776655-4433-2211-aabb-ccddeeff0011"));
    assert!(moved.is_empty(), "the card is in another machine now");
}

#[test]
fn capsules_come_back_and_are_in_no_debug_text() {
    let mut lab = Lab::new();
    let id = installed(&mut lab);
    let capsule = Capsule {
        name: "node-1".into(),
        machine_id: "0".repeat(32),
        node_key: "SECRET".into(),
        ssh_host_keys: [("ssh_host_ed25519_key".to_owned(), "SECRET".to_owned())].into(),
        entries: std::collections::BTreeMap::new(),
    };
    lab.registry.keep_capsule(&id, &capsule, lab.now).unwrap();
    lab.kill();
    assert_eq!(lab.registry.capsule(&id).unwrap().unwrap(), capsule);
    assert!(lab.registry.node(&id).unwrap().capsule);
    assert!(!format!("{:?} {:?}", lab.registry, capsule).contains("SECRET"));
}

#[test]
fn a_token_is_known_by_its_secret_until_it_is_revoked() {
    let lab = Lab::new();
    let entry = Entry {
        kind: "token",
        detail: "made".into(),
        actor: OPERATOR.into(),
    };
    let secret = lab.registry.create_token("page", &entry, 1).unwrap();
    assert_eq!(lab.registry.check_token(&secret).unwrap().as_deref(), Some("page"));
    assert_eq!(lab.registry.check_token("gleaner_00").unwrap(), None);
    assert!(matches!(
        lab.registry.create_token("page", &entry, 1),
        Err(RegistryError::NameTaken(_))
    ));
    assert!(lab.registry.revoke_token("page", &entry, 2).unwrap());
    assert_eq!(lab.registry.check_token(&secret).unwrap(), None);
}

#[test]
fn a_full_disk_is_told_as_such_and_loses_nothing() {
    let mut lab = Lab::new();
    let id = lab.start("k1", MAC, "ram-1", Life::Ram).unwrap().id.clone();
    let pages: i64 = lab
        .registry
        .db()
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    // SQLite's own word for a disk that takes no more pages.
    lab.registry.db().pragma_update(None, "max_page_count", pages).unwrap();
    let mut full = None;
    for number in 0..1000 {
        if let Err(error) = lab.start(
            &format!("f{number}"),
            &format!("52:54:00:77:{:02x}:{:02x}", 1 + number / 256, number % 256),
            "b",
            Life::Ram,
        ) {
            full = Some(error);
            break;
        }
    }
    assert!(matches!(full, Some(RegistryError::Full)), "{full:?}");
    let before = lab.registry.nodes();
    lab.kill();
    assert_eq!(lab.registry.nodes(), before, "memory did not run ahead of the disk");
    lab.approve(&id);
    assert_eq!(lab.word(&id), "checking", "with room again it goes on");
}

#[test]
fn a_liars_inventions_are_bounded() {
    let mut lab = Lab::new();
    // Cheap rows: no need to write five thousand of them one transaction each.
    let first = lab.start("k1", MAC, "ram-1", Life::Ram).unwrap();
    for copy in 1..MAX_UNAPPROVED {
        let name = format!("copy-{copy}");
        let (facts, keys) = (crate::identity::Facts::default(), Keys::default());
        lab.registry.publish(Node {
            id: name.clone(),
            name,
            facts,
            keys,
            ..Node::clone(&first)
        });
    }
    let error = lab.start("k2", "52:54:00:77:00:99", "ram-2", Life::Ram).unwrap_err();
    assert!(matches!(error, RegistryError::TooMany), "{error}");
}

#[test]
fn a_machine_that_is_forgotten_leaves_its_events() {
    let mut lab = Lab::new();
    let id = lab.start("k1", MAC, "ram-1", Life::Ram).unwrap().id.clone();
    let entry = Entry {
        kind: "forgotten",
        detail: String::new(),
        actor: OPERATOR.into(),
    };
    lab.registry.forget(&id, &entry, lab.now).unwrap();
    assert!(lab.registry.node(&id).is_none() && lab.registry.by_key("k1").is_none());
    assert!(lab.registry.by_card(MAC, None).is_empty());
    assert!(lab.registry.events(Some(&id), None, 10).unwrap().len() >= 2);
}

#[test]
fn a_uuid_that_one_node_alone_has_says_which_it_is() {
    let mut index = Index::default();
    let node = |id: &str, state: State, uuid: &str| {
        let mut lab = Lab::new();
        let mut node = Node::clone(&lab.start("k", MAC, "ram-1", Life::Ram).unwrap());
        (node.id, node.name, node.keys, node.state) = (id.into(), id.into(), Keys::default(), state);
        node.facts.uuid = Some(uuid.to_owned());
        Arc::new(node)
    };
    let uuid = "4c4c4544-0031-4a10-8052-b4c04f333132";
    let placeholder = "03000200-0400-0500-0006-000700080009";
    let found = |index: &Index, uuid| index.by_uuid(uuid).map(|node| node.id.clone());
    index.put(node("one", State::Ready { plan: plan() }, uuid));
    index.put(node("two", State::Ready { plan: plan() }, placeholder));
    assert_eq!(
        found(&index, "4C4C4544-0031-4A10-8052-B4C04F333132").as_deref(),
        Some("one")
    );
    assert_eq!(found(&index, placeholder), None);
    assert_eq!(found(&index, "88776655-4433-2211-aabb-ccddeeff0011"), None);
    // Who claims it without anybody's approval takes nothing from the node; a second node makes it nobody's.
    index.put(node("liar", State::Enrolled, uuid));
    assert_eq!(found(&index, uuid).as_deref(), Some("one"));
    index.put(node("three", State::Ready { plan: plan() }, uuid));
    assert_eq!(found(&index, uuid), None);
}

#[test]
fn what_a_machine_claims_that_nobody_approved_takes_no_card_from_a_node() {
    let mut index = Index::default();
    let node = |id: &str, state: State, uuid: Option<&str>| {
        let mut lab = Lab::new();
        let mut node = Node::clone(&lab.start("k", MAC, "ram-1", Life::Ram).unwrap());
        (node.id, node.name, node.keys, node.state) = (id.into(), id.into(), Keys::default(), state);
        node.facts.uuid = uuid.map(str::to_owned);
        Arc::new(node)
    };
    let asked = "4c4c4544-0031-4a10-8052-b4c04f333132";
    let ids = |index: &Index, uuid| -> Vec<String> {
        let nodes = index.by_card(MAC, uuid);
        nodes.iter().map(|node| node.id.clone()).collect()
    };
    index.put(node("node", State::Ready { plan: plan() }, None));
    index.put(node("liar", State::Enrolled, Some(asked)));
    assert_eq!(ids(&index, Some(asked)), ["node"]);
    assert_eq!(ids(&index, None), ["node"]);
    // A card that a node has lost to a new machine: the UUID says so.
    index.put(node(
        "node",
        State::Ready { plan: plan() },
        Some("88776655-4433-2211-aabb-ccddeeff0011"),
    ));
    assert_eq!(ids(&index, Some(asked)), ["liar"]);
}
