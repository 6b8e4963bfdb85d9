// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use provisioner_api::{
    Approve, Capsule, Check, ComputeReport, ContentsState, Disk, DiskContents, Event, Heartbeat, Hypervisor, Inventory,
    Load, NetworkReport, Nic, NodeEvent, Order, Progress, Register, Reject, Stage, Transport,
};

use super::*;
use crate::boot::Boot;
use crate::config::Config;
use crate::templates::SiteTemplates;

mod approval;
mod enrol;
mod visitors;

pub(crate) const MAC: &str = "52:54:00:77:00:01";
const FROM_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const FROM: IpAddr = IpAddr::V4(FROM_V4);
const RULE: &str = "[[auto_approve]]\nname = \"everybody\"\n";
const START: i64 = 1_800_000_000_000;

/// A server in a folder, without sockets.
pub(crate) struct Lab {
    pub(crate) app: Arc<App>,
    config: String,
    pub(crate) folder: tempfile::TempDir,
}

fn app(config: &str, folder: &Path, now: i64) -> Arc<App> {
    let config = Config::parse(config, folder).unwrap();
    let registry = Registry::open(folder).unwrap();
    let images = ImageStore::open(folder, &folder.join("trusted-keys")).unwrap();
    let media = Media::open(folder).unwrap();
    let templates = SiteTemplates::open(&config.templates, folder, |_| Ok(())).unwrap();
    let key = ServerKey::open_or_make(folder).unwrap();
    App::new(config, registry, images, media, templates, key, now)
}

impl Lab {
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            app: app(config, folder.path(), START),
            config: config.into(),
            folder,
        }
    }

    /// The server stops and starts again.
    pub(crate) fn restart(&mut self, now: i64) {
        self.app = app(&self.config, self.folder.path(), now);
    }

    pub(crate) fn register(&self, key: &str, mac: &str, boot: &str, life: Life, now: i64) -> Caller {
        let register = introduction(machine(mac), boot, life);
        self.app.register(key, FROM, &register, now).unwrap();
        self.app.caller(key).unwrap()
    }

    /// A start in RAM at an address; who it is, or `None` where it was turned away.
    pub(crate) fn starts_at(&self, from: IpAddr, key: &str, mac: &str, now: i64) -> Option<Caller> {
        let register = introduction(machine(mac), &format!("boot of {key}"), Life::Ram);
        self.app.register(key, from, &register, now).unwrap();
        self.app.caller(key)
    }

    /// This server gives a card an address.
    pub(crate) fn leases(&self, mac: &str, address: Ipv4Addr) {
        let client = pxe::client::Client {
            mac: mac.parse().unwrap(),
            speaker: pxe::client::Speaker::Ipxe,
            firmware: None,
            uuid: None,
            quirk: None,
        };
        let sighting = crate::network::Sighting {
            client,
            interface: "br0".into(),
            answered: crate::network::Answered::Ack,
            address: Some(address),
            told: String::new(),
        };
        self.app.answered(&sighting, START);
    }

    /// What a card boots that has its address from this server.
    pub(crate) fn boots(&self, mac: &str) -> Boot {
        self.leases(mac, FROM_V4);
        self.asks_for_its_script(mac)
    }

    /// What whoever asks in the name of this card is told to boot.
    pub(crate) fn asks_for_its_script(&self, mac: &str) -> Boot {
        let who = Who {
            mac: Some(mac.parse().unwrap()),
            from: Some(FROM_V4),
            ..Who::default()
        };
        self.app.boot(&who, START)
    }

    /// The machine with this card and UUID introduces itself in RAM.
    pub(crate) fn registers_with_uuid(&self, mac: &str, uuid: &str) -> Caller {
        let mut inventory = machine(mac);
        inventory.smbios.system_uuid = Some(uuid.into());
        let register = introduction(inventory, "ram-1", Life::Ram);
        self.app.register("k1", FROM, &register, START).unwrap();
        self.app.caller("k1").unwrap()
    }

    pub(crate) fn say(&self, caller: &Caller, boot: &str, sequence: u64, event: Event, now: i64) {
        self.app
            .event(
                caller,
                &NodeEvent {
                    boot_id: boot.into(),
                    sequence,
                    event,
                },
                now,
            )
            .unwrap();
    }

    /// A node that has written its disk, and one that came home with it.
    pub(crate) fn written(&self) -> Caller {
        let caller = self.register("k1", MAC, "ram-1", Life::Ram, START);
        let events = [
            Event::Checked { findings: vec![] },
            Event::Wiped { discarded: true },
            Event::Written {
                bytes: 1,
                milliseconds: 1,
                mark: None,
            },
        ];
        for (event, sequence) in events.into_iter().zip(1..) {
            self.say(&caller, "ram-1", sequence, event, START);
        }
        caller
    }

    pub(crate) fn ready(&self) -> Caller {
        self.written();
        let caller = self.register("k1", MAC, "disk-1", Life::Installed, START);
        self.say(&caller, "disk-1", 1, Event::CameHome { report: report(true) }, START);
        caller
    }

    pub(crate) fn beat(&self, caller: &Caller, boot: &str, now: i64) {
        let heartbeat = Heartbeat {
            boot_id: boot.into(),
            load: Load::default(),
        };
        self.app.heartbeat(caller, FROM, &heartbeat, now).unwrap();
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.app
            .events(None, None, 1000)
            .unwrap()
            .into_iter()
            .map(|event| event.kind)
            .collect()
    }
}

pub(crate) const WITH_RULE: &str = RULE;
pub(crate) const NOW: i64 = START;

pub(crate) fn report(passed: bool) -> ComputeReport {
    let words = String::new;
    ComputeReport {
        role: "libvirt".into(),
        hypervisor: Some(Hypervisor {
            name: words(),
            version: words(),
            libvirt: words(),
            virtualization: "qemu".into(),
        }),
        cpu_model: words(),
        cpu_baseline: words(),
        threads: 1,
        memory: 1,
        storage: None,
        network: NetworkReport {
            bridge: None,
            card: "eth0".into(),
            address: words(),
        },
        checks: vec![Check {
            name: "clock".into(),
            passed,
            detail: "two hours off".into(),
        }],
    }
}

fn introduction(inventory: Inventory, boot: &str, life: Life) -> Register {
    Register {
        boot_id: boot.into(),
        life,
        version: "0".into(),
        inventory,
        join: None,
        vouches: false,
    }
}

fn machine(mac: &str) -> Inventory {
    let mut inventory = Inventory {
        memory: 4 << 30,
        ..Inventory::default()
    };
    inventory.nics.push(Nic {
        mac: mac.into(),
        booted: true,
        ..Nic::default()
    });
    inventory.disks.push(Disk {
        name: "sda".into(),
        by_path: None,
        model: None,
        serial: Some(format!("SERIAL-{mac}")),
        wwn: None,
        size: 1 << 40,
        rotational: false,
        removable: false,
        read_only: false,
        transport: Transport::Ata,
        health: None,
        in_use: false,
        contents: DiskContents {
            state: ContentsState::Empty,
            summary: "empty".into(),
            ..DiskContents::default()
        },
    });
    inventory
}

fn local() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 8443))
}

fn capsule() -> Capsule {
    Capsule {
        name: "old-name".into(),
        machine_id: "0".repeat(32),
        node_key: "SECRET".into(),
        ssh_host_keys: BTreeMap::new(),
        entries: BTreeMap::new(),
    }
}

#[test]
fn a_machine_waits_for_a_person_where_no_rule_approves() {
    let lab = Lab::new("");
    let caller = lab.register("k1", MAC, "ram-1", Life::Ram, START);
    assert!(
        matches!(lab.app.orders(&caller, local()).unwrap().order, Order::Wait { why } if why.contains("approve node-001"))
    );
    let detail = lab.app.node("node-001", START).unwrap();
    assert_eq!(detail.disk.as_deref(), Some("sda"));
    assert!(detail.disk_reason.contains("empty"), "{}", detail.disk_reason);
    let approve = Approve {
        name: Some("lab-7".into()),
        ..Approve::default()
    };
    let detail = lab.app.approve("node-001", &approve, "operator", START).unwrap();
    assert_eq!(
        (detail.summary.name.as_str(), detail.summary.state.as_str()),
        ("lab-7", "checking")
    );
    assert!(
        lab.app.approve("lab-7", &approve, "operator", START).is_err(),
        "once is enough"
    );
}

#[test]
fn a_rule_approves_and_says_so() {
    let lab = Lab::new(RULE);
    lab.register("k1", MAC, "ram-1", Life::Ram, START);
    assert_eq!(lab.app.summary("node-001", START).unwrap().state, "checking");
    let events = lab.app.events(Some("node-001"), None, 100).unwrap();
    assert!(
        events
            .iter()
            .any(|event| event.kind == "approved" && event.actor == "rule everybody")
    );
}

#[test]
fn a_rule_that_does_not_fit_or_cannot_choose_a_disk_leaves_the_machine_to_a_person() {
    let lab = Lab::new("[[auto_approve]]\nname = \"big\"\nmemory_min = \"8 GiB\"\n");
    lab.register("k1", MAC, "ram-1", Life::Ram, START);
    assert_eq!(lab.app.summary("node-001", START).unwrap().state, "enrolled");
    let lab = Lab::new("[profiles.compute]\ndisk_min = \"4 TB\"\n[[auto_approve]]\nname = \"everybody\"\n");
    lab.register("k1", MAC, "ram-1", Life::Ram, START);
    let summary = lab.app.summary("node-001", START).unwrap();
    assert_eq!(summary.state, "enrolled");
    assert!(summary.reason.contains("no disk can be used"), "{}", summary.reason);
    assert!(summary.reason.contains("too small"), "{}", summary.reason);
    let caller = lab.app.caller("k1").unwrap();
    let order = lab.app.orders(&caller, local()).unwrap().order;
    assert!(
        matches!(order, Order::Wait { why } if why == summary.reason),
        "its own screen says the same"
    );
}

#[test]
fn nonsense_of_an_operator_is_refused_in_words() {
    let lab = Lab::new("");
    lab.register("k1", MAC, "ram-1", Life::Ram, START);
    let approve = |approve: Approve| {
        lab.app
            .approve("node-001", &approve, "operator", START)
            .unwrap_err()
            .to_string()
    };
    let none = Approve::default;
    assert!(
        approve(Approve {
            profile: Some("gpu".into()),
            ..none()
        })
        .contains("there are: compute")
    );
    assert!(
        approve(Approve {
            name: Some("No Name".into()),
            ..none()
        })
        .contains("no host name")
    );
    assert!(
        approve(Approve {
            disk: Some("sdz".into()),
            ..none()
        })
        .contains("there are: sda")
    );
    assert!(
        lab.app
            .node("other", START)
            .unwrap_err()
            .to_string()
            .contains("provisioner node list")
    );
    assert!(
        lab.app
            .command("node-001", Command::Rebuild, "operator", START)
            .is_err()
    );
    assert_eq!(lab.app.summary("node-001", START).unwrap().state, "enrolled");
}

#[test]
fn a_rejected_machine_boots_its_own_disk() {
    let lab = Lab::new("");
    lab.register("k1", MAC, "ram-1", Life::Ram, START);
    let reject = Reject {
        why: "not\nours".into(),
    };
    assert_eq!(
        lab.app
            .reject("node-001", &reject, "operator", START)
            .unwrap()
            .summary
            .reason,
        "notours"
    );
    assert_eq!(lab.boots(MAC), Boot::LocalDisk);
}

#[test]
fn a_ready_node_boots_its_disk_for_ever_also_without_a_ram_environment() {
    let lab = Lab::new(RULE);
    assert!(
        matches!(lab.boots(MAC), Boot::Stop { .. }),
        "unknown, and nothing to boot"
    );
    lab.ready();
    assert_eq!(lab.boots(MAC), Boot::LocalDisk);
    assert!(matches!(lab.boots("52:54:00:77:00:02"), Boot::Stop { .. }));
    assert!(lab.app.knows_card(MAC) && !lab.app.knows_card("52:54:00:77:00:02"));
}

#[test]
fn without_an_image_an_approved_machine_waits_with_the_reason() {
    let lab = Lab::new(RULE);
    let caller = lab.register("k1", MAC, "ram-1", Life::Ram, START);
    let Order::Wait { why } = lab.app.orders(&caller, local()).unwrap().order else {
        panic!("not a wait")
    };
    assert!(why.contains("there is no image debian-13"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_machine_hears_of_its_approval_at_once() {
    let lab = Lab::new("");
    let caller = lab.register("k1", MAC, "ram-1", Life::Ram, START);
    let first = lab.app.orders(&caller, local()).unwrap();
    let wait = Duration::from_secs(30);
    let unchanged = lab
        .app
        .next_orders(&caller, local(), Some(first.revision), wait)
        .await
        .unwrap();
    assert_eq!(unchanged, first, "after the wait the same order comes back");
    let (app, asking) = (Arc::clone(&lab.app), caller.clone());
    let waiting = tokio::spawn(async move {
        app.next_orders(&asking, local(), Some(first.revision), wait)
            .await
            .unwrap()
    });
    tokio::task::yield_now().await;
    let before = tokio::time::Instant::now();
    lab.app
        .approve("node-001", &Approve::default(), "operator", START)
        .unwrap();
    assert_ne!(waiting.await.unwrap().revision, first.revision);
    assert_eq!(tokio::time::Instant::now(), before, "not a moment later");
}

#[test]
fn an_unapproved_machine_can_fetch_no_secret() {
    let lab = Lab::new(RULE);
    let home = lab.ready();
    lab.app.keep_capsule(&home, &capsule(), START).unwrap();
    // Another machine shows the same labels, as a liar would.
    assert_eq!(lab.starts_at(FROM, "stolen", MAC, START), None, "its key is nobody's");
    let stranger = lab.register("k2", "52:54:00:77:00:02", "ram-1", Life::Ram, START);
    assert!(matches!(lab.app.capsule(&stranger), Err(AppError::Forbidden(_))));
    assert_eq!(lab.app.caller("nobody"), None);
}

#[test]
fn a_rebuild_gives_the_capsule_back_once_it_installs_and_only_then() {
    let lab = Lab::new(RULE);
    let home = lab.ready();
    lab.app.keep_capsule(&home, &capsule(), START).unwrap();
    lab.app
        .command("node-001", Command::Rebuild, "operator", START)
        .unwrap();
    let caller = lab.register("k2", MAC, "ram-2", Life::Ram, START);
    assert!(lab.app.capsule(&caller).is_err(), "checking");
    lab.say(&caller, "ram-2", 1, Event::Checked { findings: vec![] }, START);
    lab.say(&caller, "ram-2", 2, Event::Wiped { discarded: true }, START);
    assert_eq!(
        lab.app.capsule(&caller).unwrap().name,
        "node-001",
        "the name that operators know it by"
    );
    lab.say(
        &caller,
        "ram-2",
        3,
        Event::Written {
            bytes: 1,
            milliseconds: 1,
            mark: None,
        },
        START,
    );
    assert!(lab.app.capsule(&caller).is_err(), "installed");
}

#[test]
fn a_machine_that_lies_in_ram_does_not_disturb_the_node_that_it_imitates() {
    let lab = Lab::new(RULE);
    let home = lab.ready();
    assert_eq!(lab.starts_at(FROM, "stolen", MAC, START), None);
    let order = |caller: &Caller| lab.app.orders(caller, local()).unwrap().order;
    assert!(matches!(order(&home), Order::Serve(_)), "the node serves on");
    lab.beat(&home, "disk-1", START + 1000);
    assert_eq!(lab.app.summary("node-001", START + 1000).unwrap().liveness, "alive");
    assert_eq!(lab.app.summary("node-001", START).unwrap().state, "ready");
}

#[test]
fn progress_is_shown_while_it_is_of_the_present_start() {
    let lab = Lab::new(RULE);
    let caller = lab.register("k1", MAC, "ram-1", Life::Ram, START);
    let progress = |boot: &str| Progress {
        boot_id: boot.into(),
        stage: Stage::Writing,
        permille: 500,
        detail: "half".into(),
    };
    lab.app.progress(&caller, FROM, progress("ram-0"), START);
    assert_eq!(lab.app.summary("node-001", START).unwrap().progress, None);
    lab.app.progress(&caller, FROM, progress("ram-1"), START);
    assert_eq!(
        lab.app.summary("node-001", START).unwrap().progress.unwrap().permille,
        500
    );
    lab.register("k2", MAC, "ram-2", Life::Ram, START);
    assert_eq!(
        lab.app.summary("node-001", START).unwrap().progress,
        None,
        "a new start begins from nothing"
    );
}

#[test]
fn the_status_counts_nodes_and_names_what_a_person_should_look_at() {
    let lab = Lab::new(RULE);
    lab.ready();
    lab.app.report(ServiceStatus {
        name: "dhcp".into(),
        detail: "pool is empty".into(),
        ok: false,
    });
    let status = lab.app.status(START + 5_000);
    assert_eq!((status.uptime, status.nodes["ready"]), (5, 1));
    let warned = |words: &str| status.warnings.iter().any(|warning| warning.contains(words));
    assert!(
        warned("RAM environment") && warned("pool is empty"),
        "{:?}",
        status.warnings
    );
}

#[test]
fn watchers_hear_of_what_changes() {
    let lab = Lab::new("");
    let mut news = lab.app.subscribe();
    let caller = lab.register("k1", MAC, "ram-1", Life::Ram, START);
    assert_eq!(news.try_recv().unwrap(), Change::Node(caller.node));
    let line = ServiceStatus {
        name: "dhcp".into(),
        detail: "fine".into(),
        ok: true,
    };
    lab.app.report(line.clone());
    lab.app.report(line);
    assert_eq!(news.try_recv().unwrap(), Change::Services);
    assert!(news.try_recv().is_err(), "the same line again is no news");
}

#[test]
fn a_node_is_in_its_pools_while_it_is_ready_and_not_one_heartbeat_is_missing() {
    const HEARTBEAT: i64 = 10_000;
    let mut lab = Lab::new(RULE);
    let caller = lab.ready();
    let host = |lab: &Lab, now: i64| lab.app.hosts(now).into_iter().next();
    let serves = |lab: &Lab, now: i64| host(lab, now).is_some_and(|host| host.serving);
    assert_eq!(host(&lab, START).unwrap().pools, ["compute"]);
    assert!(serves(&lab, START + 2 * HEARTBEAT), "late by its way only");
    assert!(
        !serves(&lab, START + 2 * HEARTBEAT + 1),
        "one is missing, and the next is due"
    );
    lab.beat(&caller, "disk-1", START + 5 * HEARTBEAT);
    assert!(serves(&lab, START + 6 * HEARTBEAT), "back with its next word");

    let order = |lab: &Lab, command| {
        lab.app.command("node-001", command, "operator", START).unwrap();
        serves(lab, START)
    };
    assert!(!order(&lab, Command::Drain), "at once");
    assert!(order(&lab, Command::Undrain));
    assert_eq!(host(&lab, START).unwrap().address.map(IpAddr::V4), Some(FROM));
    // Where it is nobody knows until it is heard; that it is, the server remembers.
    lab.restart(START);
    assert_eq!(
        host(&lab, START).map(|host| (host.address, host.serving)),
        Some((None, false))
    );
    lab.beat(&caller, "disk-1", START);
    assert!(serves(&lab, START));
    assert!(!order(&lab, Command::Rebuild), "at once");
    lab.app.command("node-001", Command::Retire, "operator", START).unwrap();
    assert_eq!(host(&lab, START), None, "nor has it a name");
}
