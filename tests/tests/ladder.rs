// SPDX-License-Identifier: Apache-2.0
//! What one start teaches the next: loaders that fall silent, disks that do not start, and machines that nobody can help.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anyhow::{Context, Result, ensure};
use tests::machine::{Machine, Step};
use tests::rom::dhcp::Voice;
use tests::rom::script::Script;
use tests::rom::{self, Kind, Rom};
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};
use tests::wait::until;

/// A loader that is fetched whole and never heard again; when this returns the server has noted it.
fn falls_silent(street: &Street<'_>, rom: &Rom, wanted: &str) -> Result<()> {
    let fetches = || {
        let log = street.server.log();
        let is_one = |line: &&str| line.contains("fetched") && line.contains(wanted) && !line.contains("not fetched");
        log.lines().filter(is_one).count()
    };
    let before = fetches();
    let loader = rom.fall_silent(&street.ether)?;
    ensure!(loader.ends_with(wanted), "it was told to load {loader}, not {wanted}");
    until("the server to note the loader", PATIENCE, || {
        Ok((fetches() > before).then_some(()))
    })
}

/// A start that gets to its script, by this loader.
fn starts_by(street: &Street<'_>, rom: &Rom, wanted: &str) -> Result<()> {
    let boot = rom.boot(&street.ether)?;
    let loader = boot.loader.context("it needed no loader")?;
    ensure!(loader.ends_with(wanted), "it was told to load {loader}, not {wanted}");
    Ok(())
}

fn starts_anew(street: &mut Street<'_>) -> Result<()> {
    street.server.stop()?;
    street.start_server()
}

#[test]
fn a_loader_that_falls_silent_costs_one_start_and_what_works_is_remembered() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        for (number, kind, ladder) in [
            (1, Kind::BiosPxe, ["undionly.kpxe", "ipxe.pxe"]),
            (2, Kind::UefiX64, ["ipxe.efi", "snponly.efi"]),
        ] {
            let rom = Rom::new(kind, number);
            falls_silent(street, &rom, ladder[0])?;
            // What fell silent is known to the server's next life as well.
            starts_anew(street)?;
            starts_by(street, &rom, ladder[1])?;
            starts_anew(street)?;
            starts_by(street, &rom, ladder[1])?;
            // One silence of what has proven itself may be a pulled plug.
            falls_silent(street, &rom, ladder[1])?;
            starts_by(street, &rom, ladder[1])?;
            starts_by(street, &Rom::new(kind, 10 + number), ladder[0])?;
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn http_boot_climbs_the_same_ladder() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let rom = Rom::new(Kind::HttpX64, 1);
        ensure!(rom.fall_silent(&street.ether)?.ends_with("/loaders/ipxe.efi"));
        starts_by(street, &rom, "/loaders/snponly.efi")
    })
    .unwrap();
}

#[test]
fn firmware_that_asks_for_the_size_and_goes_away_has_not_tried_the_loader() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let rom = Rom::new(Kind::UefiX64, 1);
        for _ in 0..3 {
            ensure!(rom.ask_the_size(&street.ether)? == "ipxe.efi");
        }
        starts_by(street, &rom, "ipxe.efi")
    })
    .unwrap();
}

#[test]
fn a_disk_that_does_not_start_one_way_is_started_another_way_and_that_is_remembered() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosIpxe, 1);
        machine.run_until_serving(PATIENCE)?;
        machine.cut_power();
        let way = |machine: &Machine| -> Result<&str> {
            let boot = machine.rom.boot(&street.ether)?;
            ensure!(matches!(boot.script, Script::LocalDisk { .. }), "{}", boot.text);
            Ok(if boot.text.contains("local-grub.pxe") {
                "chain"
            } else {
                "exit"
            })
        };
        // It has started by that GRUB once: two silences in a row are no accident any more.
        ensure!(way(&machine)? == "chain");
        ensure!(way(&machine)? == "chain");
        let Step::Booted(boot) = machine.step()? else {
            anyhow::bail!("it did not start");
        };
        ensure!(!boot.text.contains("local-grub.pxe"), "{}", boot.text);
        machine.run_until_serving(PATIENCE)?;
        machine.cut_power();
        ensure!(way(&machine)? == "exit", "what worked is the first to be tried");
        Ok(machine)
    })
    .and_then(|mut machine| {
        yard.tell(|street| {
            starts_anew(street)?;
            machine.run_until_serving(PATIENCE)?;
            machine.cut_power();
            let boot = machine.rom.boot(&street.ether)?;
            ensure!(!boot.text.contains("local-grub.pxe"), "{}", boot.text);
            Ok(())
        })
    })
    .unwrap();
}

#[test]
fn a_node_is_told_the_mark_of_its_own_system_and_its_loader_tells_when_that_is_on_no_disk() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosIpxe, 1);
        machine.run_until_serving(PATIENCE)?;
        let mark = machine
            .disk
            .system
            .clone()
            .context("a system")?
            .mark
            .context("a mark")?;
        machine.cut_power();
        let boot = machine.rom.boot(&street.ether)?;
        ensure!(boot.text.contains(&format!("filename home {mark}\n")), "{}", boot.text);
        ensure!(boot.text.contains(&format!("?home={mark} ")), "{}", boot.text);
        let script = boot
            .text
            .split_ascii_whitespace()
            .find(|word| word.ends_with("&found=no"));
        let stopped = rom::get(boot.address, script.context("a way to tell")?)?;
        let stopped = String::from_utf8_lossy(&stopped.body).into_owned();
        ensure!(stopped.contains("found on none of its disks"), "{stopped}");
        let node = street.server.nodes()?.remove(0);
        ensure!(node.state == "ready", "{}", node.state);
        let kinds: Vec<String> = street
            .server
            .events(&node.name)?
            .into_iter()
            .map(|event| event.kind)
            .collect();
        ensure!(kinds.iter().any(|kind| kind == "not-found"), "{kinds:?}");

        // Installed again, it is another installation: what the first one left somewhere does not count.
        street.command(&node.name, "rebuild")?;
        machine.run_until_serving(PATIENCE)?;
        let again = machine
            .disk
            .system
            .clone()
            .context("a system")?
            .mark
            .context("a mark")?;
        ensure!(again != mark, "the mark of an earlier system");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_machine_for_which_there_is_no_loader_gets_an_address_and_the_reason_is_told() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        for (number, kind, words) in [(1, Kind::UefiArm64, "x86"), (2, Kind::Itanium, "Itanium")] {
            let rom = Rom::new(kind, number);
            let offer = rom.offer(&street.ether, Voice::Firmware)?.context("no offer")?;
            ensure!(offer.address.is_some() && offer.boot_file.is_empty(), "{offer:?}");
            until("the reason in the findings", PATIENCE, || {
                let findings = street.server.get("/api/v1/doctor")?;
                let mut findings = findings.as_array().context("a list")?.iter();
                let told = findings.any(|finding| {
                    finding["symptom"] == "no-loader"
                        && finding["about"] == rom.mac_text()
                        && finding.to_string().contains(words)
                });
                Ok(told.then_some(()))
            })?;
            until("the event", PATIENCE, || {
                let events = street.server.get("/api/v1/events?limit=100")?;
                let mut events = events.as_array().context("a list")?.iter();
                let told =
                    events.any(|event| event["kind"] == "no-loader" && event.to_string().contains(&rom.mac_text()));
                Ok(told.then_some(()))
            })?;
        }
        Ok(())
    })
    .unwrap();
}
