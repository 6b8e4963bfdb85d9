// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)] // fixtures are long

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::prelude::*;
use provisioner_api::{
    Check, ComputeReport, ContentsState, Disk, DiskContents, DiskHealth, DiskPartition, FirmwareType, Hypervisor,
    Inventory, Kvm, Load, NetworkReport, Nic, Progress, SecureBoot, Stage, StoragePool, SwitchPort, Transport,
};

use super::*;
use crate::live::Changed;

/// 2026-11-21 03:00:00 UTC.
const NOW: i64 = 1_795_230_000_000;

fn summary(name: &str, state: &str) -> NodeSummary {
    NodeSummary {
        id: format!("id-{name}"),
        name: name.into(),
        state: state.into(),
        reason: String::new(),
        progress: None,
        liveness: "unknown".into(),
        last_seen: Some(NOW - 4_000),
        model: "Dell Inc. OptiPlex 3020".into(),
        address: Some("10.77.0.131".into()),
        mac: Some("52:54:00:77:00:01".into()),
        firmware: "bios".into(),
        threads: 4,
        memory: 8_249_778_176,
        warnings: Vec::new(),
        tags: vec!["room-b".into()],
    }
}

fn finding(about: &str, grave: bool) -> Finding {
    Finding {
        about: about.into(),
        symptom: "loader-silent".into(),
        says: "fetched the loader ipxe.efi 40 s ago, then nothing: the next start gets snponly.efi".into(),
        action: "switch it off and on once <now>".into(),
        grave,
        since: Some(NOW - 40_000),
    }
}

fn some_of_everything() -> Vec<NodeSummary> {
    let writing = Progress {
        boot_id: "b".into(),
        stage: Stage::Writing,
        permille: 421,
        detail: "412 of 980 MB, 61 MB/s".into(),
    };
    let first = Progress {
        boot_id: "b".into(),
        stage: Stage::FirstBoot,
        permille: 0,
        detail: String::new(),
    };
    vec![
        NodeSummary {
            reason:
                "the disk sda is too small: the image needs 8.5 GB (8589934592 bytes), it has 4.0 GB (4009754624 bytes)"
                    .into(),
            model: "Hewlett-Packard HP Compaq 6005 Pro SFF PC".into(),
            warnings: vec!["the battery of its clock is empty".into()],
            ..summary("gl-007", "failed")
        },
        NodeSummary {
            liveness: "lost".into(),
            last_seen: Some(NOW - 4_000_000),
            reason: "no sign of life for 66 min; look at its power and its cable".into(),
            ..summary("gl-003", "ready")
        },
        NodeSummary {
            reason: "waiting for approval; on sda: Windows, 3 partitions, 212 GB used".into(),
            model: "LENOVO ThinkCentre M73 10AXS0VL00".into(),
            firmware: "uefi64".into(),
            ..summary("gl-008", "enrolled")
        },
        NodeSummary {
            progress: Some(writing),
            ..summary("gl-005", "installing")
        },
        NodeSummary {
            progress: Some(first),
            firmware: "uefi64".into(),
            ..summary("gl-006", "installing")
        },
        NodeSummary {
            reason: "waiting for it to start from the network".into(),
            ..summary("gl-009", "approved")
        },
        NodeSummary {
            liveness: "alive".into(),
            ..summary("gl-001", "ready")
        },
        NodeSummary {
            liveness: "alive".into(),
            firmware: "uefi64".into(),
            memory: 33_500_000_000,
            threads: 12,
            ..summary("gl-002", "ready")
        },
        NodeSummary {
            liveness: "alive".into(),
            ..summary("gl-004", "draining")
        },
        NodeSummary {
            reason: "belongs to the office".into(),
            ..summary("gl-010", "rejected")
        },
    ]
}

fn report(nodes: &[NodeSummary]) -> StatusReport {
    let mut counts = BTreeMap::new();
    for node in nodes {
        *counts.entry(node.state.clone()).or_insert(0) += 1;
    }
    let service = |name: &str, detail: &str, ok| ServiceStatus {
        name: name.into(),
        detail: detail.into(),
        ok,
    };
    StatusReport {
        version: "0.1.0".into(),
        site: "Lab of the Linden School".into(),
        uptime: 5000,
        services: vec![
            service("dhcp", "br0 10.77.0.1, full, 10.77.0.128–10.77.0.254", true),
            service("tftp", "10.77.0.1:69", true),
            service("http", "0.0.0.0:8080", true),
            service("api", "0.0.0.0:8443", true),
            service("ntp", "port 123 is taken by another program", false),
        ],
        nodes: counts,
        warnings: vec!["less than 2 GB are free in /var/lib/gleaner: make room before importing an image".into()],
        findings: vec![finding("00:1b:21:00:00:07", true), finding("node-12", false)],
        windows: vec![EnrolmentWindow {
            id: 7,
            open: true,
            opened: NOW,
            until: NOW + 3_600_000,
            max: 30,
            used: 4,
            mac_prefix: None,
            relay: None,
            port: None,
            tags: vec!["room-b".into()],
            profile: None,
            by: "operator".into(),
        }],
    }
}

fn detail(summary: NodeSummary, word: &str) -> NodeDetail {
    let text = || Some(word.to_owned());
    let disk = |name: &str, transport| Disk {
        name: name.into(),
        by_path: text(),
        model: text(),
        serial: text(),
        wwn: text(),
        size: 500_107_862_016,
        rotational: transport == Transport::Ata,
        removable: transport == Transport::Usb,
        read_only: false,
        transport,
        health: Some(DiskHealth {
            passed: transport != Transport::Usb,
            bad_sectors: Some(0),
            power_on_hours: Some(31_000),
            summary: format!("passed, 31000 hours, {word}"),
        }),
        in_use: false,
        contents: DiskContents {
            state: ContentsState::Known,
            table: Some("gpt".into()),
            partitions: vec![DiskPartition {
                number: 1,
                start: 1 << 20,
                size: 250_000_000_000,
                kind: word.into(),
                filesystem: Some("ntfs".into()),
                label: text(),
            }],
            summary: format!("Windows, 3 partitions, 212 GB ({word})"),
        },
    };
    let mut inventory = Inventory {
        memory: 8_249_778_176,
        ..Inventory::default()
    };
    inventory.cpu.model = format!("Intel(R) Core(TM) i5-4590 CPU @ 3.30GHz {word}");
    inventory.cpu.kvm = Kvm::Unusable {
        why: format!("switched off in the firmware set-up {word}"),
    };
    inventory.firmware = FirmwareType::Uefi64;
    inventory.secure_boot = SecureBoot::Off;
    inventory.rtc.offset = Some(-500_000_000);
    inventory.rtc.battery_suspect = true;
    inventory.smbios.system_serial = text();
    inventory.smbios.asset_tag = text();
    inventory.smbios.bios_version = text();
    inventory.tpm = text();
    inventory.disks = vec![disk("sda", Transport::Ata), disk("sdb", Transport::Usb)];
    inventory.nics = vec![Nic {
        name: "enp3s0".into(),
        mac: "52:54:00:77:00:01".into(),
        driver: text(),
        link: true,
        speed: Some(1000),
        bus_path: text(),
        usb: false,
        booted: true,
        switch_port: Some(SwitchPort {
            chassis: word.into(),
            port: word.into(),
            system: text(),
        }),
    }];
    let compute = ComputeReport {
        role: "libvirt".into(),
        hypervisor: Some(Hypervisor {
            name: word.into(),
            version: "10.0.2".into(),
            libvirt: "11.3.0".into(),
            virtualization: "qemu".into(),
        }),
        cpu_model: word.into(),
        cpu_baseline: "x86-64-v2".into(),
        threads: 4,
        memory: 8_249_778_176,
        storage: Some(StoragePool {
            name: "default".into(),
            path: word.into(),
            capacity: 400,
            available: 300,
        }),
        network: NetworkReport {
            bridge: text(),
            card: "enp3s0".into(),
            address: "10.77.0.131/24".into(),
        },
        checks: vec![
            Check {
                name: "libvirt".into(),
                passed: true,
                detail: word.into(),
            },
            Check {
                name: "clock".into(),
                passed: false,
                detail: word.into(),
            },
        ],
    };
    NodeDetail {
        summary,
        inventory,
        disk: Some("sda".into()),
        second_disk: None,
        disk_reason: format!("sda is the only disk inside the machine {word}"),
        compute: Some(compute),
        load: Some(Load {
            cpu: 0.25,
            guests: 2,
            ..Load::default()
        }),
        profile: text(),
        capsule: true,
        installer_log: vec![text().unwrap_or_default(), "E: no mirror answers".into()],
        installs: 2,
    }
}

fn events(word: &str) -> Vec<EventEntry> {
    let event = |id, kind: &str, detail: String, actor: &str| EventEntry {
        id,
        at: NOW - 600_000 + id * 60_000,
        node: Some("id-gl-005".into()),
        kind: kind.into(),
        detail,
        actor: actor.into(),
    };
    vec![
        event(1, "enrolled", format!("seen for the first time {word}"), "node"),
        event(2, "approved", "profile default, disk sda".into(), "rule empty-disks"),
        event(3, "checked", word.into(), word),
    ]
}

fn html(template: impl Template) -> String {
    template.render().unwrap()
}

fn every_page(word: &str) -> Vec<String> {
    let hostile = NodeSummary {
        id: word.into(),
        name: word.into(),
        state: "installing".into(),
        reason: word.into(),
        progress: Some(Progress {
            boot_id: word.into(),
            stage: Stage::Writing,
            permille: 9,
            detail: word.into(),
        }),
        model: word.into(),
        address: Some(word.into()),
        mac: Some(word.into()),
        firmware: word.into(),
        warnings: vec![word.into()],
        ..summary("x", "installing")
    };
    let nodes = vec![
        hostile.clone(),
        NodeSummary {
            state: word.into(),
            liveness: word.into(),
            ..hostile.clone()
        },
    ];
    let service = ServiceStatus {
        name: word.into(),
        detail: word.into(),
        ok: false,
    };
    let status_report = StatusReport {
        site: word.into(),
        services: vec![service],
        warnings: vec![word.into()],
        ..report(&nodes)
    };
    let whole = detail(hostile, word);
    let changed = |was| Changed {
        node: nodes[0].clone(),
        public: nodes[0].clone(),
        was,
    };
    let update_of = Update {
        version: 1,
        nodes: vec![changed(None), changed(Some(("installing".into(), "unknown".into())))],
        gone: vec![word.into()],
        status: status_report.clone(),
        taken: NOW,
        page: OnceLock::new(),
    };
    vec![
        html(status((&nodes, 0), &status_report, 1, NOW)),
        html(super::whole((&nodes, 0), &status_report, NOW)),
        html(update(&update_of)),
        html(node(word, &whole, &events(word), 1, NOW)),
        html(node_piece(&whole, &events(word), NOW)),
        html(missing(word, word)),
    ]
}

/// The tags of a page, without what lies between them.
fn tags(page: &str) -> Vec<String> {
    page.split('<')
        .skip(1)
        .map(|rest| rest.split([' ', '>', '\n']).next().unwrap_or_default().to_owned())
        .collect()
}

/// Reads the quotes as a browser does: text of ours must not end an attribute.
fn attributes(page: &str) -> usize {
    page.matches('"').count()
}

#[test]
fn what_a_donor_wrote_into_a_label_is_shown_and_never_run() {
    let harmless = every_page("plain");
    for hostile in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</td></tr></table><h1>",
        "<hx-partial hx-target=\"body\">",
        "&lt;b&gt;\0\r\n\u{202e}",
        "javascript:alert(1)",
    ] {
        for (page, plain) in every_page(hostile).iter().zip(&harmless) {
            assert_eq!(tags(page), tags(plain), "{hostile}");
            assert_eq!(attributes(page), attributes(plain), "{hostile}");
        }
    }
}

#[test]
fn no_page_brings_its_own_script_or_style() {
    for page in every_page("plain") {
        assert!(!page.contains("style=") && !page.contains("<style"), "{page}");
        assert!(!page.contains(" on") || !page.contains("onclick"), "{page}");
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script src=\"/assets/").count()
        );
    }
}

#[test]
fn an_empty_site_says_what_to_do_next() {
    let page = html(status((&[], 0), &report(&[]), 1, NOW));
    assert!(page.contains("No machine has come in yet"));
    assert!(page.contains("Plug one into the switch and press its power button"));
    let nodes = some_of_everything();
    assert!(!html(status((&nodes, 0), &report(&nodes), 1, NOW)).contains("No machine has come in yet"));
}

#[test]
fn every_node_stands_under_the_heading_that_says_what_it_needs() {
    let nodes = some_of_everything();
    let page = html(status((&nodes, 0), &report(&nodes), 1, NOW));
    let under = |name: &str| {
        let place = page.find(&format!("id=\"node-id-{name}\"")).unwrap();
        page[..place]
            .rsplit("<tbody id=\"group-")
            .next()
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(under("gl-007"), "attention");
    assert_eq!(under("gl-003"), "attention", "a ready node that is lost needs a hand");
    assert_eq!(under("gl-008"), "waiting");
    assert_eq!(under("gl-005"), "working");
    assert_eq!(under("gl-001"), "serving");
    assert_eq!(under("gl-010"), "away");
    assert_eq!(page.matches("<tr class=\"node ").count(), nodes.len());
}

#[test]
fn a_node_that_changes_its_heading_is_moved_and_one_that_does_not_is_changed_in_place() {
    let nodes = some_of_everything();
    let changed = |name: &str, was: Option<(&str, &str)>| Changed {
        node: nodes.iter().find(|node| node.name == name).unwrap().clone(),
        public: nodes.iter().find(|node| node.name == name).unwrap().clone(),
        was: was.map(|(state, liveness)| (state.into(), liveness.into())),
    };
    let page = html(update(&Update {
        version: 7,
        nodes: vec![
            changed("gl-005", Some(("wiping", "unknown"))),
            changed("gl-001", Some(("installing", "unknown"))),
        ],
        gone: vec!["id-gl-099".into()],
        status: report(&nodes),
        taken: NOW,
        page: OnceLock::new(),
    }));
    assert!(
        page.contains("<hx-partial hx-target=\"#node-id-gl-005\" hx-swap=\"outerMorph\"><tr"),
        "{page}"
    );
    assert!(
        page.contains("<hx-partial hx-target=\"#node-id-gl-001\" hx-swap=\"delete\">"),
        "{page}"
    );
    assert!(
        page.contains("<hx-partial hx-target=\"#group-serving\" hx-swap=\"beforeend\"><tr"),
        "{page}"
    );
    assert!(
        page.contains("<hx-partial hx-target=\"#node-id-gl-099\" hx-swap=\"delete\">"),
        "{page}"
    );
}

#[test]
fn a_thousand_nodes_are_one_page_of_less_than_a_megabyte() {
    let nodes: Vec<_> = (0..1000).map(|n| summary(&format!("gl-{n:04}"), "ready")).collect();
    let page = html(status((&nodes, 0), &report(&nodes), 1, NOW));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

proptest! {
    #[test]
    fn no_text_breaks_out_of_its_place(word in "[ -~\\r\\n]{1,30}") {
        let word = word.trim();
        prop_assume!(!word.is_empty());
        for (page, plain) in every_page(word).iter().zip(every_page("plain")) {
            prop_assert_eq!(tags(page), tags(&plain));
            prop_assert_eq!(attributes(page), attributes(&plain));
        }
    }
}
