// SPDX-License-Identifier: Apache-2.0
//! The real provisioner and fake firmware that fails in every way that can be played without waiting: what it says
//! about it, and what it does about it at the next start.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use provisioner_api::{Finding, SeenCard};
use tests::installer::SYSTEMS;
use tests::rom::dhcp::{self, Say, Voice};
use tests::rom::script::Script;
use tests::rom::{Kind, Rom, tftp};
use tests::server::{ALONE, AUTO, PATIENCE, Street, Yard};
use tests::wait::until;

/// What `provisioner doctor` says, and whether it calls that well.
fn doctor(street: &Street<'_>) -> Result<(Vec<Finding>, bool)> {
    doctor_of(street, street.server.program())
}

fn doctor_of(street: &Street<'_>, program: &Path) -> Result<(Vec<Finding>, bool)> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", street.space.pid()));
    command.arg(program).arg("--config").arg(street.server.config_file());
    let output = command
        .args(["--json", "doctor"])
        .stdin(Stdio::null())
        .output()
        .context("running the doctor")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let findings = serde_json::from_str(&said).with_context(|| format!("understanding {said} {complaint}"))?;
    Ok((findings, output.status.success()))
}

/// Waits until the doctor finds a symptom with these words about the card, and says all is not well.
fn finds(street: &Street<'_>, about: &str, symptom: &str, words: &str) -> Result<()> {
    until(&format!("{symptom} about {about}"), PATIENCE, || {
        let (findings, well) = doctor(street)?;
        let is = |finding: &&Finding| finding.about == about && finding.symptom == symptom;
        let found = findings.iter().filter(is).find(|finding| finding.says.contains(words));
        if let Some(finding) = found {
            ensure!(!finding.action.is_empty() && (!finding.grave || !well), "{finding:?}");
        }
        Ok(found.map(drop))
    })
    .with_context(|| format!("{:#?}", doctor(street)))
}

/// Firmware asks, takes its address and fetches its loader, and the server has seen that: which one.
fn starts(street: &Street<'_>, rom: &Rom) -> Result<String> {
    let answer = rom.configure(&street.ether, Voice::Firmware, &mut 0)?;
    let (address, server) = (
        answer.address.context("no address")?,
        answer.server.context("no server")?,
    );
    tftp::fetch(address, server, &answer.boot_file, true)?;
    until("the fetch to be seen", PATIENCE, || {
        Ok(steps(street, rom)?.contains("fetched the loader").then_some(()))
    })?;
    Ok(answer.boot_file)
}

/// What `node list --sightings` knows of the last start of a card, a line a step.
fn steps(street: &Street<'_>, rom: &Rom) -> Result<String> {
    let seen: Vec<SeenCard> = serde_json::from_str(&street.server.cli(&["--json", "node", "list", "--sightings"])?)?;
    let card = seen
        .iter()
        .find(|card| card.mac == rom.mac_text())
        .context("not seen")?;
    let start = card.starts.last().context("no start")?;
    let lines: Vec<&str> = start.steps.iter().map(|step| step.what.as_str()).collect();
    Ok(lines.join("\n"))
}

/// Sends a question of firmware after somebody has changed it.
fn asks(street: &Street<'_>, rom: &Rom, change: impl Fn(&mut Vec<u8>)) -> Result<()> {
    let mut packet = dhcp::packet(rom, Voice::Firmware, rand::random(), Say::Discover);
    change(&mut packet);
    street.ether.shout(rom.mac, &packet)
}

/// Replaces bytes in a packet.
fn replace(packet: &mut [u8], from: &[u8], to: &[u8]) {
    let at = packet
        .windows(from.len())
        .position(|window| window == from)
        .expect("the bytes to replace");
    packet[at..at + from.len()].copy_from_slice(to);
}

#[test]
fn a_loader_that_falls_silent_costs_one_start_over_a_restart_and_what_works_is_kept() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let mut rom = Rom::new(Kind::UefiX64, 1);
        rom.mac[..3].copy_from_slice(&[0x00, 0xe0, 0x4c]);
        let first = starts(street, &rom)?;
        street.server.stop()?;
        street.start_server()?;
        let second = rom.boot(&street.ether)?.loader.context("no loader")?;
        ensure!(first != second, "{first} twice");
        for _ in 0..2 {
            let again = rom.boot(&street.ether)?.loader;
            ensure!(again.as_ref() == Some(&second), "{again:?}: what works is kept");
        }
        // The next card of that maker starts where this one arrived.
        let mut like = Rom::new(Kind::UefiX64, 2);
        like.mac[..3].copy_from_slice(&[0x00, 0xe0, 0x4c]);
        ensure!(like.boot(&street.ether)?.loader == Some(second), "not the first guess");
        let other = Rom::new(Kind::UefiX64, 3);
        ensure!(other.boot(&street.ether)?.loader == Some(first), "another maker's card");

        let steps = steps(street, &rom)?;
        ensure!(steps.contains("read its boot script: discover"), "{steps}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_a_machine_says_wrongly_and_what_is_wrong_around_it_is_told() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let rom = |number| Rom::new(Kind::UefiX64, number);
        let about = |number| rom(number).mac_text();
        asks(street, &rom(1), |packet| {
            replace(packet, b"Arch:00007", b"Arch:00004");
            replace(packet, &[93, 2, 0, 7], &[93, 2, 0, 4]);
        })?;
        finds(street, &about(1), "no-loader", "architecture 4")?;

        asks(street, &rom(2), |packet| {
            replace(packet, b"\x3c\x20PXEClient", b"\xe0\x20PXEClient");
        })?;
        finds(street, &about(2), "no-vendor-class", "option 60")?;

        asks(street, &rom(3), |packet| {
            packet[8..10].copy_from_slice(&45_u16.to_be_bytes());
        })?;
        finds(street, &about(3), "late-link", "45 s late")?;

        // Answers that it wants broadcast we hear ourselves, and are no other server.
        for _ in 0..4 {
            asks(street, &rom(4), |packet| packet[10] = 0x80)?;
        }
        finds(street, &about(4), "offers-ignored", "they do not reach it")?;

        let answer = rom(5).configure(&street.ether, Voice::Firmware, &mut 0)?;
        let (from, server) = (
            answer.address.context("no address")?,
            answer.server.context("no server")?,
        );
        ensure!(
            tftp::fetch(from, server, "pxelinux.0", true).is_err(),
            "it is not there"
        );
        finds(street, &about(5), "missing-file", "pxelinux.0")?;

        let answer = rom(15).configure(&street.ether, Voice::Firmware, &mut 0)?;
        let (from, server) = (
            answer.address.context("no address")?,
            answer.server.context("no server")?,
        );
        // A ROM that read the name beyond its end.
        ensure!(
            tftp::fetch(from, server, "undionly.kpxea\x11", true).is_err(),
            "no name"
        );
        finds(street, &about(15), "refused-file", "undionly.kpxea\\x11")?;

        let twin = Rom {
            uuid: Some([7; 16]),
            ..rom(6)
        };
        rom(6).boot(&street.ether)?;
        twin.boot(&street.ether)?;
        finds(street, &about(6), "shared-mac", "two machines")?;

        // It fetches its loader, and what that starts asks like firmware.
        for _ in 0..3 {
            starts(street, &rom(7))?;
        }
        finds(street, &about(7), "loader-loop", "again and again")?;

        asks(street, &rom(8), |packet| {
            packet[24..28].copy_from_slice(&[198, 51, 100, 1]);
        })?;
        finds(street, &about(8), "stranded", "198.51.100.1")
    })
    .unwrap();
}

#[test]
fn a_disk_that_does_not_start_is_told_by_the_name_of_its_node() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosIpxe, 1);
        machine.run_until_waiting(PATIENCE)?;
        let name = street.summary(&machine)?.name;
        // Turned away, it boots its own disk; which is empty.
        street.command(&name, "reject")?;
        for _ in 0..4 {
            let boot = machine.rom.boot(&street.ether)?;
            ensure!(matches!(boot.script, Script::LocalDisk { .. }), "{}", boot.text);
        }
        finds(street, &name, "disk-loop", "the disk does not start")
    })
    .unwrap();
}

#[test]
fn a_server_without_images_and_one_that_does_not_run_are_told_what_is_missing() {
    let mut yard = Yard::dark(24, ALONE).unwrap();
    yard.lab.start_server().unwrap();
    yard.tell(|street| {
        let rom = Rom::new(Kind::BiosIpxe, 1);
        rom.boot(&street.ether)?;
        finds(street, &rom.mac_text(), "stopped", "no RAM environment")?;
        finds(street, "server", "warning", "RAM environment")?;
        street.server.stop()?;
        let mut squatter = street.space.spawn(Command::new("dnsmasq").args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            "--enable-tftp",
            "--tftp-root=/",
        ]))?;
        finds(street, "server", "not-running", "not running")?;
        finds(street, "server", "port-taken", "dnsmasq")?;
        squatter.kill()?;
        squatter.wait()?;
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_firewall_that_closes_a_port_is_found_and_a_server_that_is_well_has_no_finding() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let server = |findings: &[Finding]| -> Vec<String> {
            // The made-up RAM environment is as old as its date says.
            let ours = findings
                .iter()
                .filter(|finding| finding.about == "server" && finding.grave);
            ours.map(|finding| finding.symptom.clone()).collect()
        };
        let (findings, well) = doctor(street)?;
        ensure!(well && server(&findings).is_empty(), "{findings:#?}");
        let nft = |rule: &str| street.space.run_program(Command::new("nft").args(rule.split(' ')));
        nft("add table inet filter")?;
        nft("add chain inet filter input { type filter hook input priority 0 ; policy accept ; }")?;
        nft("add rule inet filter input udp dport 69 drop")?;
        let (findings, well) = doctor(street)?;
        ensure!(!well && server(&findings) == ["firewall"], "{findings:#?}");
        ensure!(
            findings.iter().any(|finding| finding.says.contains("UDP port 69")),
            "{findings:#?}"
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn who_cannot_hear_other_servers_leases_nothing_and_says_which_program_is_in_the_way() {
    let mut yard = Yard::dark(24, AUTO).unwrap();
    let ports = [68, 4011];
    let taken = yard
        .lab
        .space()
        .run(|| ports.map(|port| UdpSocket::bind(("0.0.0.0", port))))
        .unwrap();
    yard.lab.start_server().unwrap();
    yard.tell(|street| {
        for port in ports {
            finds(street, "server", "warning", &format!("has UDP port {port}"))?;
        }
        finds(street, "server", "warning", "leasing nothing")?;
        let offer = Rom::new(Kind::UefiX64, 1).offer(&street.ether, Voice::Firmware)?;
        ensure!(offer.is_none_or(|offer| offer.address.is_none()), "it leases");
        Ok(())
    })
    .unwrap();
    assert!(taken.iter().all(Result::is_ok), "{taken:?}");
}

#[test]
fn a_clock_that_is_earlier_than_the_program_and_an_interface_without_an_address_are_found() {
    let mut yard = Yard::new(ALONE).unwrap();
    let newer = yard.lab.folder().join("provisioner");
    std::fs::copy(yard.server().program(), &newer).unwrap();
    let next_year = SystemTime::now() + Duration::from_hours(365 * 24);
    std::fs::File::options()
        .write(true)
        .open(&newer)
        .and_then(|file| file.set_modified(next_year))
        .unwrap();
    yard.tell(|street| {
        let (findings, well) = doctor_of(street, &newer)?;
        let clock = findings.iter().find(|finding| finding.symptom == "clock-wrong");
        ensure!(
            !well && clock.is_some_and(|finding| finding.action.contains("timedatectl")),
            "{findings:#?}"
        );

        street.space.ip("addr flush dev br0")?;
        finds(street, "server", "no-interface", "br0")
    })
    .unwrap();
}

#[test]
fn what_keeps_installers_from_what_the_settings_say_has_words_of_its_own() {
    let (os, files) = SYSTEMS[0];
    let profile = format!(
        "[profiles.compute]\ninstaller = \"{os}\"\n[profiles.compute.system]\nmirror = \"http://mirror.example/debian\"\n"
    );
    let mut yard = Yard::dark(24, &format!("{ALONE}{profile}")).unwrap();
    let templates = yard.server().config_file().with_file_name("templates");
    std::fs::create_dir_all(templates.join("debian")).unwrap();
    std::fs::write(templates.join("debian/late.sh"), "{{ nobody }}\n").unwrap();
    yard.lab.start_server().unwrap();
    yard.import_images().unwrap();
    yard.tell(|street| {
        finds(street, "server", "templates-refused", "debian/late.sh:1: ")?;
        finds(street, "server", "no-medium", "the profile compute is installed by it")?;
        finds(street, "server", "packages-down", "does not answer on port 3142")?;
        let status = street.server.cli(&["status"])?;
        ensure!(status.contains("there is no installer of debian-13"), "{status}");
        // There the service speaks for itself.
        ensure!(!status.contains("the package cache does not answer"), "{status}");
        Ok(())
    })
    .unwrap();
    yard.import_medium(os, files).unwrap();
    std::fs::remove_dir_all(&templates).unwrap();
    yard.tell(|street| {
        finds(street, "server", "medium-unverified", os)?;
        street.server.stop()?;
        street.start_server()?;
        let (findings, _) = doctor(street)?;
        let gone = ["templates-refused", "no-medium"];
        ensure!(
            findings.iter().all(|finding| !gone.contains(&finding.symptom.as_str())),
            "{findings:#?}"
        );
        Ok(())
    })
    .unwrap();
}
