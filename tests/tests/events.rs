// SPDX-License-Identifier: Apache-2.0
//! The life of a node, told from its own side: what it reports counts once, in order, and from the start that runs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use provisioner_api::{Event, FailCause, Life, Order};
use tests::machine::{Machine, Step};
use tests::node::tls::Key;
use tests::node::{self, Node, inventory};
use tests::rom::Kind;
use tests::rom::script::Script;
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};
use tests::wait::until;

/// The words of what happened to a machine's node, oldest first.
fn story(street: &Street<'_>, machine: &Machine) -> Result<Vec<String>> {
    street.server.kinds(&street.summary(machine)?.name)
}

/// Whether these words come in this order, others between them or not.
fn in_order(story: &[String], words: &[&str]) -> bool {
    let mut rest = story.iter();
    words.iter().all(|word| rest.any(|event| event == word))
}

/// Lets a machine come as far as being told to do this.
fn until_ordered(machine: &mut Machine, wanted: fn(&Order) -> bool) -> Result<Order> {
    machine.run_until(PATIENCE, |step| matches!(step, Step::Registered(_)))?;
    let node = machine.node()?;
    loop {
        let orders = node.orders(None, 0)?;
        if wanted(&orders.order) {
            return Ok(orders.order);
        }
        let event = match orders.order {
            Order::Check { .. } => Event::Checked { findings: Vec::new() },
            Order::Wipe { .. } => Event::Wiped { discarded: false },
            other => anyhow::bail!("ordered to {other:?} on the way"),
        };
        node.report(event)?;
    }
}

fn is_install(order: &Order) -> bool {
    matches!(order, Order::Install(_))
}

fn is_wipe(order: &Order) -> bool {
    matches!(order, Order::Wipe { .. })
}

#[test]
fn a_machine_waits_for_approval_and_then_becomes_a_node() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        let why = machine.run_until_waiting(PATIENCE)?;
        let name = street.summary(&machine)?.name;
        ensure!(
            why.contains(&name) && why.contains("approve"),
            "its screen says {why:?}"
        );
        ensure!(machine.disk.writes == 0, "something was written before approval");
        let shown = street.server.node(&name)?;
        ensure!(
            shown.disk.is_some() && shown.inventory.disks[0].contents.summary == "empty",
            "{shown:#?}"
        );
        street.approve(&name)?;
        machine.run_until_serving(PATIENCE)?;
        let summary = street.summary(&machine)?;
        ensure!(summary.state == "ready" && summary.liveness == "alive", "{summary:#?}");
        ensure!(
            machine.disk.writes == 2,
            "one wipe and one image, not {}",
            machine.disk.writes
        );
        let story = story(street, &machine)?;
        let life = [
            "enrolled",
            "approved",
            "started",
            "checked",
            "wiped",
            "written",
            "started",
            "came-home",
        ];
        ensure!(in_order(&story, &life), "{story:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_rebuild_happens_once_and_the_node_comes_back_as_itself() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.run_until_serving(PATIENCE)?;
        let (before, system) = (
            street.summary(&machine)?,
            machine.disk.system.clone().context("no system")?,
        );
        street.command(&before.name, "rebuild")?;
        machine.run_until(PATIENCE, |step| matches!(step, Step::Rebooted(_)))?;
        machine.run_until_serving(PATIENCE)?;
        ensure!(
            machine.disk.writes == 4,
            "one more wipe and one more image, not {}",
            machine.disk.writes
        );
        let (after, rebuilt) = (
            street.summary(&machine)?,
            machine.disk.system.clone().context("no system")?,
        );
        ensure!(
            (&after.id, &after.name, after.state.as_str()) == (&before.id, &before.name, "ready"),
            "{after:#?}"
        );
        ensure!(rebuilt.key == system.key, "another node key");
        ensure!(rebuilt.machine_id == system.machine_id, "another machine-id");
        ensure!(rebuilt.ssh_key == system.ssh_key, "another SSH host key");
        ensure!(street.server.node(&after.name)?.installs == 2);
        for _ in 0..3 {
            machine.cut_power();
            machine.run_until_serving(PATIENCE)?;
        }
        ensure!(machine.disk.writes == 4, "the rebuild was done again at a later start");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_ready_node_is_never_installed_again_by_accident() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        let boot = machine.run_until(PATIENCE, |step| matches!(step, Step::Booted(_)))?;
        let Step::Booted(boot) = boot else {
            unreachable!("just matched")
        };
        machine.run_until_serving(PATIENCE)?;
        // Somebody starts the RAM environment on it by hand: the same machine, a fresh key, a new start.
        let controller = boot.argument("gleaner.controller").unwrap().parse()?;
        let pin = boot.argument("gleaner.pin").unwrap();
        let mut astray = Node::start(boot.address, controller, pin, Key::new()?)?;
        astray.register(Life::Ram, &machine.inventory)?;
        let order = astray.orders(None, 0)?.order;
        ensure!(
            matches!(order, Order::Reboot { .. } | Order::Wait { .. }),
            "it is told to {order:?}"
        );
        for event in [
            Event::Checked { findings: Vec::new() },
            Event::Wiped { discarded: true },
            Event::Written {
                bytes: 1,
                milliseconds: 1,
                mark: None,
            },
        ] {
            // Refused or ignored, but never believed.
            let _ = astray.report(event);
        }
        astray.report(Event::Failed {
            cause: FailCause::NoDisk {
                found: "nothing".into(),
            },
        })?;
        ensure!(street.state(&machine)? == "ready");
        let boot = machine.rom.boot(&street.ether)?;
        ensure!(matches!(boot.script, Script::LocalDisk { .. }), "{}", boot.text);
        machine.run_until_serving(PATIENCE)?;
        ensure!(machine.disk.writes == 2);
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_event_sent_twice_or_out_of_order_or_from_an_old_start_changes_nothing() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        until_ordered(&mut machine, |order| matches!(order, Order::Check { .. }))?;
        let node = machine.node()?;
        let checked = node.event(Event::Checked { findings: Vec::new() });
        node.send(&checked)?;
        node.send(&checked)?;
        let wiped = node.event(Event::Wiped { discarded: true });
        // Too early, by a number that is in order: no. Nothing that follows may be lost for it.
        let early = node.event(Event::Written {
            bytes: 1,
            milliseconds: 1,
            mark: None,
        });
        let refused = node
            .send(&early)
            .expect_err("an image was written before the disk was wiped");
        ensure!(node::status(&refused) == Some(409), "{refused:#}");
        let home = node.event(Event::CameHome {
            report: inventory::report("10.77.0.9"),
        });
        ensure!(node.send(&home).is_err(), "the RAM environment came home");
        ensure!(street.state(&machine)? == "wiping");
        let node = machine.node()?;
        node.send(&wiped)?;
        ensure!(street.state(&machine)? == "installing");
        let node = machine.node()?;
        for old in [&wiped, &checked, &wiped] {
            node.send(old)?;
        }
        ensure!(street.state(&machine)? == "installing");
        let old = machine.node()?.event(Event::Written {
            bytes: 1,
            milliseconds: 1,
            mark: None,
        });
        machine.cut_power();
        until_ordered(&mut machine, |order| matches!(order, Order::Check { .. }))?;
        // From the start before the power cut, late: heard, and not believed.
        machine.node()?.send(&old)?;
        ensure!(street.state(&machine)? == "checking");
        machine.run_until_serving(PATIENCE)?;
        ensure!(
            story(street, &machine)?
                .iter()
                .filter(|word| *word == "written")
                .count()
                == 1
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_installation_that_was_cut_short_begins_again_by_itself() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        // After so many steps the plug is pulled: in firmware, before the first word, in every stage, on the way home.
        for cut in 1..=9 {
            let mut machine = street.machine(Kind::BiosPxe, cut);
            let mut steps = 0;
            machine.run_until(PATIENCE, |_| {
                steps += 1;
                steps >= cut
            })?;
            machine.cut_power();
            machine
                .run_until_serving(PATIENCE)
                .with_context(|| format!("cut after step {cut}"))?;
            ensure!(street.server.node(&street.summary(&machine)?.name)?.installs == 1);
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn three_failures_stop_a_machine_and_a_retry_starts_it_again() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        let cause = FailCause::SetUp {
            step: "the bootloader".into(),
            detail: "made up".into(),
        };
        for _ in 0..3 {
            until_ordered(&mut machine, is_install)?;
            machine.node()?.report(Event::Failed { cause: cause.clone() })?;
            machine.cut_power();
        }
        let why = machine.run_until_waiting(PATIENCE)?;
        ensure!(
            why.contains("made up") && why.contains("retry"),
            "its screen says {why:?}"
        );
        let summary = street.summary(&machine)?;
        ensure!(
            summary.state == "failed" && summary.reason.contains("made up"),
            "{summary:#?}"
        );
        ensure!(machine.disk.system.is_none());
        street.command(&summary.name, "retry")?;
        machine.run_until_serving(PATIENCE)?;
        ensure!(street.state(&machine)? == "ready");
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_no_second_try_heals_stops_at_once_and_harms_nobody_else() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut broken = street.machine(Kind::UefiX64, 1);
        until_ordered(&mut broken, is_wipe)?;
        let cause = FailCause::DiskUnhealthy {
            disk: "WD-1".into(),
            detail: "1200 bad sectors".into(),
        };
        broken.node()?.report(Event::Failed { cause: cause.clone() })?;
        let summary = street.summary(&broken)?;
        ensure!(
            summary.state == "failed" && summary.reason.contains("1200 bad sectors"),
            "{summary:#?}"
        );
        street.machine(Kind::BiosPxe, 2).run_until_serving(PATIENCE)
    })
    .unwrap();
}

#[test]
fn a_rejected_machine_keeps_its_disk_and_starts_from_it() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        machine.run_until_waiting(PATIENCE)?;
        street.command(&street.summary(&machine)?.name, "reject")?;
        let why = machine.run_until_waiting(PATIENCE)?;
        ensure!(why.contains("rejected"), "its screen says {why:?}");
        let boot = machine.rom.boot(&street.ether)?;
        ensure!(matches!(boot.script, Script::LocalDisk { .. }), "{}", boot.text);
        ensure!(machine.disk.writes == 0);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_node_that_falls_silent_is_lost_and_a_node_that_speaks_again_is_back() {
    let watch = "\n[nodes]\nheartbeat = \"1s\"\nlost_after = \"3s\"\n";
    let mut yard = Yard::new(&format!("{ALONE}{watch}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.run_until_serving(PATIENCE)?;
        ensure!(street.summary(&machine)?.liveness == "alive");
        machine.cut_power();
        until("the node to be lost", PATIENCE, || {
            let summary = street.summary(&machine)?;
            Ok((summary.liveness == "lost" && story(street, &machine)?.contains(&"lost".into())).then_some(()))
        })?;
        ensure!(
            street.state(&machine)? == "ready",
            "silence is no reason to forget what it is"
        );
        machine.run_until_serving(PATIENCE)?;
        until("the node to be back", Duration::from_secs(20), || {
            machine.step()?;
            let words = story(street, &machine)?;
            Ok((street.summary(&machine)?.liveness == "alive" && in_order(&words, &["lost", "back"])).then_some(()))
        })?;
        ensure!(machine.disk.writes == 2);
        Ok(())
    })
    .unwrap();
}
