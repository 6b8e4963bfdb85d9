// SPDX-License-Identifier: Apache-2.0
//! A BIOS PC, from the power button to a node that serves, and everything that happens to a node afterwards.

use std::time::{Duration, SystemTime};

use provisioner_api::{NodeDetail, NodeSummary};
use tests::journey::{EMPTY_DISKS, ENROL, Journey, READY};
use tests::vm::{Firmware, Pc, Spec};
use tests::wait::until;

/// What makes a node itself, as the node tells it.
#[derive(Debug, PartialEq)]
struct Identity {
    id: String,
    name: String,
    machine_id: String,
    host_key: String,
}

#[test]
fn a_pc_that_nobody_touched_becomes_a_node() {
    let mut journey = Journey::new(EMPTY_DISKS).unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Bios, 1)).unwrap();
    let power = SystemTime::now();
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
    journey.tell_the_time(&node, power).unwrap();

    it_says_what_it_is(&journey.lab.server().node(&node.name).unwrap());
    a_guest_really_runs_on_it(&journey, &node);
    it_starts_from_its_disk_for_ever(&mut journey, &mut pc, &node);
    it_is_lost_without_power_and_back_with_it(&mut journey, &mut pc, &node);
    a_rebuild_brings_it_back_as_itself_once(&mut journey, &mut pc, &node);
}

fn it_says_what_it_is(node: &NodeDetail) {
    let report = node.compute.as_ref().unwrap();
    assert!(report.ready(), "{:#?}", report.checks);
    let hypervisor = report.hypervisor.as_ref().expect("guests run there");
    assert_eq!(hypervisor.name, "QEMU");
    // No virtual PC here has hardware virtualization inside.
    assert_eq!(hypervisor.virtualization, "qemu");
    assert!(
        !report.cpu_model.is_empty() && report.cpu_baseline.starts_with("x86-64"),
        "{report:#?}"
    );
    assert!(report.threads >= 1 && report.memory > 400 << 20);
    assert!(report.storage.as_ref().is_some_and(|pool| pool.available > 1 << 30));
    assert!(report.network.bridge.is_some(), "{:?}", report.network);
    assert_eq!(node.summary.liveness, "alive");
    assert_eq!(node.summary.firmware, "bios");
    assert!(node.capsule, "its identity is kept");
    assert_eq!(node.installs, 1);
    assert!(
        node.inventory
            .nics
            .iter()
            .any(|nic| nic.booted && Some(&nic.mac) == node.summary.mac.as_ref())
    );
}

fn a_guest_really_runs_on_it(journey: &Journey, node: &NodeSummary) {
    let said = journey.ssh_until_it_works(node, include_str!("guest.sh")).unwrap();
    assert!(said.contains("A GUEST RUNS"), "{said}");
    let load = until("the heartbeat to count the guest", Duration::from_mins(1), || {
        let load = journey.lab.control().node(&node.name)?.load;
        Ok(load.filter(|load| load.guests == 1))
    });
    assert!(load.unwrap().memory_total > 400 << 20);
    journey.ssh(node, "virsh --quiet destroy tiny").unwrap();
}

fn it_starts_from_its_disk_for_ever(journey: &mut Journey, pc: &mut Pc, node: &NodeSummary) {
    starts_again(journey, pc, node);
    assert_eq!(
        journey.lab.server().node(&node.name).unwrap().installs,
        1,
        "never installed again"
    );
}

/// The reset button: the network sends it to its disk.
fn starts_again(journey: &mut Journey, pc: &mut Pc, node: &NodeSummary) {
    let before = homecomings(journey, node).unwrap();
    pc.serial().skip_to_end();
    pc.reset().unwrap();
    pc.serial().wait_for("starts from its own disk", ENROL).unwrap();
    comes_home(journey, pc, node, before);
}

fn it_is_lost_without_power_and_back_with_it(journey: &mut Journey, pc: &mut Pc, node: &NodeSummary) {
    let before = homecomings(journey, node).unwrap();
    pc.cut_power();
    journey
        .lab
        .server()
        .wait_for_node("the node to be lost", Duration::from_mins(2), |seen| {
            seen.id == node.id && seen.liveness == "lost"
        })
        .unwrap();
    journey.power_on(pc).unwrap();
    comes_home(journey, pc, node, before);
    let kinds: Vec<String> = journey
        .lab
        .server()
        .events(&node.name)
        .unwrap()
        .into_iter()
        .map(|event| event.kind)
        .collect();
    for kind in [
        "enrolled",
        "approved",
        "checked",
        "wiped",
        "written",
        "came-home",
        "lost",
        "back",
    ] {
        assert!(kinds.iter().any(|seen| seen == kind), "{kind} is not among {kinds:?}");
    }
}

fn a_rebuild_brings_it_back_as_itself_once(journey: &mut Journey, pc: &mut Pc, node: &NodeSummary) {
    let before = identity(journey, node);
    journey.ssh(node, "touch /root/only-before-the-rebuild").unwrap();
    let installs = |journey: &mut Journey| journey.lab.server().node(&node.name).unwrap().installs;
    pc.serial().skip_to_end();
    journey.lab.server().cli(&["node", "rebuild", &node.name]).unwrap();
    until("the second installation", READY, || {
        Ok((installs(journey) == 2).then_some(()))
    })
    .unwrap();
    journey.wait_for(pc, "ready", READY).unwrap();
    assert_eq!(identity(journey, node), before, "it came back as itself");
    let gone = journey
        .ssh(node, "test -e /root/only-before-the-rebuild && echo there || echo gone")
        .unwrap();
    assert_eq!(gone.trim(), "gone", "its disk is new");

    starts_again(journey, pc, node);
    assert_eq!(installs(journey), 2, "once, and not twice");
    assert_eq!(journey.lab.server().nodes().unwrap().len(), 1);
}

/// Waits until the node speaks from one more start than `before`, and all is well with it.
fn comes_home(journey: &mut Journey, pc: &mut Pc, node: &NodeSummary, before: usize) {
    let home = until("the node to come home", READY, || {
        Ok((homecomings(journey, node)? > before).then_some(()))
    });
    if let Err(error) = home {
        panic!("{error:#}\n{}", journey.evidence(pc));
    }
    server_says_alive(journey, node);
}

fn homecomings(journey: &Journey, node: &NodeSummary) -> anyhow::Result<usize> {
    let events = journey.lab.control().events(&node.name)?;
    Ok(events.iter().filter(|event| event.kind == "came-home").count())
}

fn server_says_alive(journey: &mut Journey, node: &NodeSummary) {
    let alive = |seen: &NodeSummary| seen.id == node.id && seen.liveness == "alive" && seen.state == "ready";
    journey
        .lab
        .server()
        .wait_for_node("the node to be alive", Duration::from_mins(1), alive)
        .unwrap();
}

fn identity(journey: &mut Journey, node: &NodeSummary) -> Identity {
    let node = journey.lab.server().node(&node.name).unwrap().summary;
    Identity {
        machine_id: journey.ssh_until_it_works(&node, "cat /etc/machine-id").unwrap(),
        host_key: journey
            .ssh_until_it_works(&node, "cat /etc/ssh/ssh_host_ed25519_key.pub")
            .unwrap(),
        id: node.id,
        name: node.name,
    }
}
