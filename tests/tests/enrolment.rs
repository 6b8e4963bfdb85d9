// SPDX-License-Identifier: Apache-2.0
//! Machines that nobody knows: what they get, and how operators let them in.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anyhow::{Context, Result, bail, ensure};
use provisioner_api::EnrolmentWindow;
use tests::rom::dhcp::Voice;
use tests::rom::script::{self, Script};
use tests::rom::{self, Boot, Kind, Rom};
use tests::server::{ALONE, PATIENCE, Street, Yard};

/// A site that asks, as every site does beside another DHCP server.
const ASK: &str = "\n[enrolment]\nunknown = \"ask\"\n";

/// The script behind a choice of the menu.
fn choose(boot: &Boot, join: bool) -> Result<Script> {
    let Script::Ask {
        disk,
        join: joining,
        wait,
    } = &boot.script
    else {
        bail!("no menu: {}", boot.text)
    };
    ensure!(*wait == 10, "it waits {wait} s");
    let reply = rom::get(boot.address, if join { joining } else { disk })?;
    ensure!(reply.status == 200, "{}", reply.status);
    script::parse(&reply.text(), "")
}

fn windows(street: &Street<'_>) -> Result<Vec<EnrolmentWindow>> {
    let listed = street.server.cli(&["--json", "enrol", "list"])?;
    serde_json::from_str(&listed).context("understanding the list of windows")
}

#[test]
fn an_unknown_machine_goes_on_to_its_own_disk_unless_somebody_presses_a_key() {
    let mut yard = Yard::new(&format!("{ALONE}{ASK}")).unwrap();
    yard.tell(|street| {
        for (number, kind) in (1..).zip([Kind::BiosPxe, Kind::BiosIpxe, Kind::UefiX64, Kind::HttpX64]) {
            let rom = Rom::new(kind, number);
            let boot = rom.boot(&street.ether)?;
            let disk = choose(&boot, false)?;
            ensure!(matches!(disk, Script::LocalDisk { .. }), "{kind:?}: {disk:?}");
            ensure!(street.server.nodes()?.is_empty(), "{kind:?} became a node by asking");
        }
        // A key, and it is examined; from then on it needs none.
        let mut machine = street.machine(Kind::BiosPxe, 9);
        let boot = machine.rom.boot(&street.ether)?;
        let Script::Ask { join, .. } = &boot.script else {
            bail!("no menu: {}", boot.text)
        };
        // From anywhere else everybody could press it.
        rom::get(street.address()?, join)?;
        let boot = machine.rom.boot(&street.ether)?;
        let joined = choose(&boot, true)?;
        ensure!(matches!(joined, Script::Discover { .. }), "{joined:?}");
        machine.run_until_waiting(PATIENCE)?;
        ensure!(street.server.nodes()?.len() == 1, "one machine came in");
        let again = machine.rom.boot(&street.ether)?;
        ensure!(matches!(again.script, Script::Discover { .. }), "{}", again.text);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_window_lets_in_as_many_machines_as_it_says_over_a_crash_of_the_server() {
    let mut yard = Yard::new(&format!("{ALONE}{ASK}\n[profiles.compute]\n[profiles.rendering]\n")).unwrap();
    yard.tell(|street| {
        let open = [
            "enrol",
            "open",
            "--for",
            "1h",
            "--max",
            "2",
            "--tag",
            "room-b",
            "--profile",
            "rendering",
        ];
        let said = street.server.cli(&open)?;
        ensure!(said.contains("is open until"), "{said}");
        let mut first = street.machine(Kind::UefiX64, 1);
        first.run_until_waiting(PATIENCE)?;

        street.server.kill();
        street.start_server()?;
        let mut second = street.machine(Kind::BiosIpxe, 2);
        let boot = second.rom.boot(&street.ether)?;
        ensure!(matches!(boot.script, Script::Discover { .. }), "{}", boot.text);
        // The place is taken although that machine is still on its way.
        let third = Rom::new(Kind::BiosIpxe, 3).boot(&street.ether)?;
        ensure!(matches!(third.script, Script::Ask { .. }), "{}", third.text);
        second.run_until_waiting(PATIENCE)?;

        for machine in [&first, &second] {
            let node = street.summary(machine)?;
            ensure!(node.tags == ["room-b"], "{node:?}");
        }
        let window = windows(street)?.into_iter().next().context("no window")?;
        ensure!(window.used == 2 && !window.open, "{window:?}");
        street.approve(&street.summary(&first)?.id)?;
        let node = street.server.node(&street.summary(&first)?.id)?;
        ensure!(node.profile.as_deref() == Some("rendering"), "{:?}", node.profile);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_window_is_for_the_cards_that_it_names_and_can_be_closed() {
    let mut yard = Yard::new(&format!("{ALONE}{ASK}")).unwrap();
    yard.tell(|street| {
        let mut ours = Rom::new(Kind::BiosIpxe, 1);
        ours.mac[..3].copy_from_slice(&[0x00, 0x1b, 0x21]);
        street.server.cli(&["enrol", "open", "--mac-prefix", "00-1B-21"])?;
        let stranger = Rom::new(Kind::BiosIpxe, 2).boot(&street.ether)?;
        ensure!(matches!(stranger.script, Script::Ask { .. }), "{}", stranger.text);
        let boot = ours.boot(&street.ether)?;
        ensure!(matches!(boot.script, Script::Discover { .. }), "{}", boot.text);

        let id = windows(street)?.first().context("no window")?.id.to_string();
        street.server.cli(&["enrol", "close", &id])?;
        ours.mac[5] = 77;
        let late = ours.boot(&street.ether)?;
        ensure!(matches!(late.script, Script::Ask { .. }), "{}", late.text);
        let refused = street.server.cli(&["enrol", "close", &id]).unwrap_err().to_string();
        ensure!(refused.contains("enrol list"), "{refused}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn where_strangers_are_ignored_they_are_offered_no_loader_and_nodes_still_are() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let mut known = street.machine(Kind::UefiX64, 1);
        known.run_until_waiting(PATIENCE)?;
        street.server.stop()?;
        let sections = format!("{ALONE}\n[enrolment.segments]\nbr0 = \"ignore\"\n");
        street.server.configure(&sections)?;
        street.start_server()?;
        let offer = |number| -> Result<String> {
            let offer = Rom::new(Kind::UefiX64, number).offer(&street.ether, Voice::Firmware)?;
            Ok(offer.context("no offer")?.boot_file)
        };
        ensure!(offer(2)?.is_empty(), "a stranger was offered {}", offer(2)?);
        ensure!(!offer(1)?.is_empty(), "a node was offered nothing");
        Ok(())
    })
    .unwrap();
}
