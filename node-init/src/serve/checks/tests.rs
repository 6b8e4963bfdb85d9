// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use provisioner_api::{Cpu, Hypervisor, NodeRole, RoleCheck, StoragePool};

use super::*;
use crate::clock::Tracking;
use crate::serve::facts::{Hardware, System};

const SSHD: &str = "port 22\npermitrootlogin without-password\npasswordauthentication no\n\
                    kbdinteractiveauthentication no\npermitemptypasswords no\n";

const UNITS: [&str; 3] = ["node-init.service", "libvirtd.service", "ssh.service"];

fn in_step(synchronised: bool) -> Clock {
    Clock::Chrony(Tracking {
        source: Some("10.77.0.1".into()),
        ahead: 0.001,
        synchronised,
    })
}

/// The same with a role that runs no guests.
fn plain() -> (Facts, Situation) {
    let (facts, situation) = good();
    let facts = Facts {
        role: NodeRole {
            name: "plain".into(),
            guests: false,
            ..facts.role.clone()
        },
        offer: None,
        ..facts
    };
    (facts, situation)
}

/// What libvirt offers.
fn offered(facts: &mut Facts) -> &mut Offer {
    facts.offer.as_mut().unwrap().as_mut().unwrap()
}

/// A node of which every promise holds.
fn good() -> (Facts, Situation) {
    let hypervisor = Hypervisor {
        name: "QEMU".into(),
        version: "10.0.7".into(),
        libvirt: "11.3.0".into(),
        virtualization: "qemu".into(),
    };
    let storage = StoragePool {
        name: "default".into(),
        path: "/pool".into(),
        capacity: 2,
        available: 1,
    };
    let offer = Offer {
        hypervisor,
        cpu_model: "EPYC".into(),
        threads: 2,
        storage: Ok(storage),
        network: Ok(Some("gleaner".into())),
    };
    let way = Way {
        interface: "br0".into(),
        address: [10, 77, 0, 21].into(),
        prefix: 24,
    };
    let card = Card {
        name: "enp1s0".into(),
        mac: "52:54:00:77:00:01".into(),
        bridge: Some("br0".into()),
    };
    let facts = Facts {
        hardware: Hardware {
            cpu: Cpu {
                level: 2,
                ..Cpu::default()
            },
            memory: 1 << 30,
        },
        bridge: Some("br0".into()),
        role: NodeRole {
            name: "libvirt".into(),
            guests: true,
            units: UNITS[1..].iter().map(|unit| (*unit).to_owned()).collect(),
            checks: Vec::new(),
        },
        offer: Some(Ok(offer)),
        way: Ok((way, Ok(card))),
        clock: Ok(in_step(true)),
        system: Ok(System {
            word: "running".into(),
            ..System::default()
        }),
        commands: Vec::new(),
        servers: vec!["10.77.0.1".into()],
        units: UNITS
            .iter()
            .map(|unit| ((*unit).to_owned(), "enabled".to_owned()))
            .collect(),
        sshd: Ok(SSHD.into()),
    };
    let situation = Situation {
        reachable: true,
        bridge: Some("br0".into()),
        bridge_trouble: None,
        capsule: Ok(()),
    };
    (facts, situation)
}

/// The one check that fails after `change`, with its words.
fn broken(change: impl FnOnce(&mut Facts, &mut Situation)) -> (String, String) {
    let (mut facts, mut situation) = good();
    change(&mut facts, &mut situation);
    let report = report(&facts, &situation);
    assert!(!report.ready());
    let failed: Vec<_> = report.checks.into_iter().filter(|check| !check.passed).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    (failed[0].name.clone(), failed[0].detail.clone())
}

#[test]
fn a_node_of_which_every_promise_holds_is_ready() {
    let (facts, situation) = good();
    let report = report(&facts, &situation);
    assert!(report.ready(), "{:?}", report.checks);
    assert_eq!(report.cpu_baseline, "x86-64-v2");
    assert_eq!(
        (report.network.bridge.as_deref(), report.network.address.as_str()),
        (Some("br0"), "10.77.0.21/24")
    );
}

#[test]
fn software_virtualization_is_enough_and_says_why_there_is_no_kvm() {
    let (mut facts, situation) = good();
    facts.hardware.cpu.kvm = Kvm::Unusable {
        why: "switched off in the firmware set-up".into(),
    };
    let report = report(&facts, &situation);
    assert!(report.ready());
    assert!(report.checks[1].detail.contains("switched off in the firmware set-up"));
}

#[test]
fn each_broken_promise_is_named_and_explained() {
    let offer = |facts: &mut Facts, storage| offered(facts).storage = storage;
    assert_eq!(
        broken(|facts, _| offer(facts, Err("no room".into()))),
        ("storage".into(), "no room".into())
    );
    assert_eq!(broken(|_, s| s.reachable = false).0, "network");
    let undone = broken(|facts, s| {
        facts.way.as_mut().unwrap().1.as_mut().unwrap().bridge = None;
        s.bridge_trouble = Some("it was undone".into());
    });
    assert_eq!(
        undone,
        ("network".into(), "no bridge br0 over enp1s0 yet: it was undone".into())
    );
    assert_eq!(broken(|facts, _| offered(facts).network = Ok(None)).0, "network");
    assert_eq!(broken(|facts, _| facts.clock = Ok(in_step(false))).0, "clock");
    assert_eq!(
        broken(|_, s| s.capsule = Err("no keys yet".into())),
        ("capsule".into(), "no keys yet".into())
    );
    let off = broken(|facts, _| drop(facts.units.insert("ssh.service".into(), "disabled".into())));
    assert_eq!(off, ("services".into(), "ssh.service is disabled".into()));
    assert_eq!(broken(|facts, _| facts.units = BTreeMap::new()).0, "services");
}

#[test]
fn a_node_that_takes_passwords_is_never_ready() {
    for (from, to) in [
        ("passwordauthentication no", "passwordauthentication yes"),
        ("kbdinteractiveauthentication no", "kbdinteractiveauthentication yes"),
        ("permitrootlogin without-password", "permitrootlogin yes"),
        ("permitemptypasswords no", "permitemptypasswords yes"),
        ("passwordauthentication no", "x y"),
    ] {
        assert_eq!(
            broken(|facts, _| facts.sshd = Ok(SSHD.replace(from, to))).0,
            "ssh",
            "{to}"
        );
    }
    assert_eq!(broken(|facts, _| facts.sshd = Err("sshd is not there".into())).0, "ssh");
}

#[test]
fn a_dead_libvirt_takes_its_promises_along_and_leaves_the_others() {
    let (mut facts, situation) = good();
    facts.offer = Some(Err("node-init-libvirt did not answer within 180 s".into()));
    let report = report(&facts, &situation);
    let failed: Vec<_> = report
        .checks
        .iter()
        .filter(|c| !c.passed)
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(failed, ["libvirt", "virtualization", "storage", "network"]);
}

#[test]
fn a_node_without_an_order_for_a_bridge_needs_none() {
    let (mut facts, mut situation) = good();
    (facts.way.as_mut().unwrap().1.as_mut().unwrap().bridge, situation.bridge) = (None, None);
    offered(&mut facts).network = Ok(None);
    assert!(report(&facts, &situation).ready());
}

#[test]
fn a_node_that_runs_no_guests_needs_no_libvirt() {
    let (facts, situation) = plain();
    let report = report(&facts, &situation);
    assert!(report.ready(), "{:?}", report.checks);
    let names: Vec<&str> = report.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["network", "clock", "capsule", "services", "ssh", "system"]);
    assert_eq!((report.role.as_str(), report.hypervisor), ("plain", None));
}

#[test]
fn what_failed_counts_where_somebody_needs_it() {
    let system = |word: &str, failed: &[&str], starting: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Ok(System {
            word: word.into(),
            failed: owned(failed),
            starting: owned(starting),
        })
    };
    let (mut facts, situation) = plain();
    facts.system = system("degraded", &["apt-daily.service"], &[]);
    let told = report(&facts, &situation);
    assert!(told.ready());
    assert_eq!(
        told.checks[5].detail,
        "up; failed, and not needed here: apt-daily.service"
    );
    let needed = broken(|facts, _| facts.system = system("degraded", &["a.service", "ssh.service"], &[]));
    assert_eq!(
        needed,
        ("system".into(), "ssh.service failed; systemctl status says why".into())
    );
    let early = broken(|facts, _| facts.system = system("starting", &[], &["slow.service"]));
    assert_eq!(early, ("system".into(), "the system still starts slow.service".into()));
    assert_eq!(
        broken(|facts, _| facts.system = system("maintenance", &[], &[])).0,
        "system"
    );
}

#[test]
fn a_role_has_checks_of_its_own_which_are_told_by_their_names() {
    let asked = |facts: &mut Facts, said: Result<String, String>| {
        facts.role.checks = vec![RoleCheck {
            name: "web".into(),
            command: "true".into(),
            within: 30,
        }];
        facts.commands = vec![said];
    };
    let (mut facts, situation) = plain();
    asked(&mut facts, Ok("200 OK".into()));
    let told = report(&facts, &situation);
    let last = told.checks.last().unwrap();
    assert_eq!(
        (last.name.as_str(), last.detail.as_str(), told.ready()),
        ("web", "200 OK", true)
    );
    let failed = broken(|facts, _| asked(facts, Err("connection refused".into())));
    assert_eq!(failed, ("web".into(), "connection refused".into()));
}

#[test]
fn another_program_may_keep_the_clock() {
    let (mut facts, situation) = plain();
    facts.clock = Ok(Clock::Other(true));
    assert!(report(&facts, &situation).ready());
    assert_eq!(broken(|facts, _| facts.clock = Ok(Clock::Other(false))).0, "clock");
}

#[test]
fn a_bond_or_a_vlan_carries_a_node_but_no_bridge_of_ours() {
    let bond = || Err("bond0 has no single network card under it".to_owned());
    let (mut facts, mut situation) = plain();
    facts.way.as_mut().unwrap().1 = bond();
    situation.bridge = None;
    let told = report(&facts, &situation);
    assert!(told.ready(), "{:?}", told.checks);
    assert_eq!(told.network.card, "br0");
    assert_eq!(broken(|facts, _| facts.way.as_mut().unwrap().1 = bond()).0, "network");
}
