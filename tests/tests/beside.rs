// SPDX-License-Identifier: Apache-2.0
//! Somebody else answers DHCP: on a network that is not ours alone no address is given out, before or after, and machines
//! boot all the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::lab::Wire;
use tests::neighbour::{Make, Neighbour};
use tests::peer;
use tests::rom::dhcp::{self, Answer, Say, Voice};
use tests::rom::{Kind, Rom};
use tests::server::{AUTO, PATIENCE, Street, Yard};
use tests::wait::until;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Machines that nobody knows come in without a key pressed.
const ENROL: &str = "[dhcp]\ncheck = false\n\n[enrolment]\nunknown = \"enrol\"\n";
/// In which every server on a cable of this length has answered.
const ANSWERS: Duration = Duration::from_millis(1500);

/// Everything that is offered to a card within a while.
fn offers(street: &Street<'_>, number: u32) -> Result<Vec<Answer>> {
    let rom = Rom::new(Kind::BiosPxe, number);
    let xid = rand::random();
    let listening = street.ether.listen(xid);
    street
        .ether
        .shout(rom.mac, &dhcp::packet(&rom, Voice::Firmware, xid, Say::Discover))?;
    let end = Instant::now() + ANSWERS;
    let mut heard = Vec::new();
    while let Some(answer) = listening.next(end.saturating_duration_since(Instant::now())) {
        heard.push(answer);
    }
    Ok(heard)
}

/// Whether this server leases.
fn by(server: Ipv4Addr, offers: &[Answer]) -> bool {
    offers
        .iter()
        .any(|offer| offer.server == Some(server) && offer.address.is_some())
}

/// Whether we say what to boot, and how often: no machine may depend on one packet.
fn proxied(offers: &[Answer]) -> usize {
    let ours = |offer: &&Answer| offer.server == Some(SERVER) && offer.address.is_none();
    offers.iter().filter(ours).count()
}

/// What the status report says of DHCP.
fn status(street: &Street<'_>) -> Result<String> {
    let status = street.server.get("/api/v1/status")?;
    let services = status["services"].as_array().context("no services")?;
    let dhcp = services
        .iter()
        .find(|service| service["name"] == "dhcp")
        .context("no line about DHCP")?;
    Ok(dhcp.to_string())
}

/// Whether an event of this kind says this.
fn told(street: &Street<'_>, kind: &str, words: &str) -> Result<bool> {
    let events = street.server.get("/api/v1/events?limit=1000")?;
    let events = events.as_array().context("no events")?;
    Ok(events
        .iter()
        .any(|event| event["kind"] == kind && event.to_string().contains(words)))
}

/// A yard with images, beside a server that was there first.
fn beside(make: Make) -> Result<(Yard, Wire, Neighbour)> {
    let mut yard = Yard::dark(24, ENROL)?;
    let wire = yard.lab.wire()?;
    let neighbour = Neighbour::start(make, &wire, yard.lab.folder())?;
    yard.lab.start_server()?;
    yard.import_images()?;
    Ok((yard, wire, neighbour))
}

/// Waits until it is known who else is there; no address is given meanwhile.
fn until_known(street: &Street<'_>, neighbour: Ipv4Addr) -> Result<()> {
    until("the status to say who else is there", PATIENCE, || {
        let offers = offers(street, 900)?;
        ensure!(!by(SERVER, &offers), "{offers:#?}");
        Ok(status(street)?.contains(&neighbour.to_string()).then_some(()))
    })
}

fn every_kind_of_firmware_boots(make: Make) {
    let (mut yard, _wire, neighbour) = beside(make).unwrap();
    yard.tell(|street| {
        until_known(street, neighbour.address)?;
        for (number, kind) in (1..).zip(Kind::ALL) {
            let boot = Rom::new(kind, number).boot_beside(&street.ether)?;
            ensure!(boot.server == SERVER && boot.address.octets()[3] >= 130, "{boot:?}");
            boot.fetch_kernel()?;
        }
        let offers = offers(street, 8)?;
        ensure!(by(neighbour.address, &offers) && !by(SERVER, &offers), "{offers:#?}");
        ensure!(proxied(&offers) == 2, "once at once and once later: {offers:#?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn every_kind_of_firmware_boots_beside_dnsmasq() {
    every_kind_of_firmware_boots(Make::Dnsmasq);
}

#[test]
fn every_kind_of_firmware_boots_beside_kea() {
    every_kind_of_firmware_boots(Make::Kea);
}

fn when_another_server_comes_later_leasing_stops(make: Make) {
    let mut yard = Yard::dark(24, ENROL).unwrap();
    yard.lab.start_server().unwrap();
    yard.import_images().unwrap();
    let wire = yard.lab.wire().unwrap();
    let folder = yard.lab.folder().to_owned();
    yard.tell(|street| {
        until("the first offer, after listening", PATIENCE, || {
            Ok(by(SERVER, &offers(street, 1)?).then_some(()))
        })?;
        ensure!(
            street.metric("gleaner_dhcp_leasing")? > 0.5,
            "it leases and the metric says no"
        );
        let neighbour = Neighbour::start(make, &wire, &folder)?;
        until("the neighbour's first offer", PATIENCE, || {
            Ok(by(neighbour.address, &offers(street, 2)?).then_some(()))
        })?;
        until("leasing to stop", PATIENCE, || {
            Ok((!by(SERVER, &offers(street, 4)?)).then_some(()))
        })?;
        for number in 5..8 {
            let offers = offers(street, number)?;
            ensure!(!by(SERVER, &offers) && proxied(&offers) > 0, "{offers:#?}");
        }
        let name = neighbour.address.to_string();
        ensure!(status(street)?.contains(&name), "{}", status(street)?);
        ensure!(
            street.server.cli(&["status"])?.contains(&name),
            "the command line does not say so"
        );
        ensure!(
            street.metric("gleaner_dhcp_leasing")? < 0.5,
            "the metric says that it leases"
        );
        ensure!(told(street, "dhcp-beside", &name)?, "no event says so");
        Rom::new(Kind::UefiX64, 9).boot_beside(&street.ether)?.fetch_kernel()?;

        // It goes, and after a restart the segment is ours again.
        drop(neighbour);
        street.server.stop()?;
        street.start_server()?;
        until("leasing to begin again", PATIENCE, || {
            Ok(by(SERVER, &offers(street, 10)?).then_some(()))
        })
    })
    .unwrap();
}

#[test]
fn when_dnsmasq_comes_later_leasing_stops_and_machines_boot_on() {
    when_another_server_comes_later_leasing_stops(Make::Dnsmasq);
}

#[test]
fn when_kea_comes_later_leasing_stops_and_machines_boot_on() {
    when_another_server_comes_later_leasing_stops(Make::Kea);
}

#[test]
fn a_server_with_option_60_is_told_with_what_to_do() {
    let mut yard = Yard::dark(24, AUTO).unwrap();
    let wire = yard.lab.wire().unwrap();
    // As a Windows server does whose administrator once had WDS on it.
    let option = ("vendor-class-identifier", "PXEClient");
    let neighbour = Neighbour::kea(&wire, yard.lab.folder(), &[option]).unwrap();
    yard.lab.start_server().unwrap();
    yard.tell(|street| {
        until("the event", PATIENCE, || {
            Ok(told(street, "dhcp-claims-pxe", "remove option 60")?.then_some(()))
        })?;
        let status = status(street)?;
        let name = neighbour.address.to_string();
        ensure!(status.contains("\"ok\":false") && status.contains(&name), "{status}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn systems_beside_another_server_get_from_us_nothing_whatever_they_ask() {
    let (mut yard, wire, neighbour) = beside(Make::Dnsmasq).unwrap();
    let busybox = peer::busybox().unwrap();
    yard.tell(|street| until_known(street, neighbour.address)).unwrap();
    let script = yard.lab.folder().join("told");
    std::fs::write(
        &script,
        "#!/bin/sh\n[ $1 = bound ] && echo \"$ip from $serverid boots $boot_file\"\nexit 0\n",
    )
    .unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // On the cable of the fakes, by a card of its own.
    let fakes = yard.wire.space();
    fakes
        .ip("link add link wire name mac0 type macvlan mode bridge")
        .unwrap();
    fakes.ip("link set mac0 up").unwrap();
    let mut command = busybox.command();
    command
        .args(["udhcpc", "-i", "mac0", "-n", "-q", "-t", "5", "-R", "-s"])
        .arg(&script);
    let said = fakes.run_program(&mut command).unwrap();
    assert!(said.contains(&format!("from {} boots \n", neighbour.address)), "{said}");
    drop(wire);
}

#[test]
fn with_a_fifth_of_our_answers_and_questions_lost_machines_boot_all_the_same() {
    let (mut yard, _wire, neighbour) = beside(Make::Dnsmasq).unwrap();
    yard.tell(|street| until_known(street, neighbour.address)).unwrap();
    let lose = |rule: &str| {
        let mut command = Command::new("nft");
        yard.lab.space().run_program(command.args(rule.split(' '))).unwrap();
    };
    lose("add table ip loss");
    for hook in ["input", "output"] {
        lose(&format!(
            "add chain ip loss {hook} {{ type filter hook {hook} priority -300 ; }}"
        ));
        lose(&format!(
            "add rule ip loss {hook} udp dport {{ 67, 68, 4011 }} numgen random mod 100 < 20 drop"
        ));
    }
    yard.tell(|street| {
        for (number, kind) in (1..).zip(Kind::ALL) {
            Rom::new(kind, number).boot_beside(&street.ether)?.fetch_kernel()?;
        }
        Ok(())
    })
    .unwrap();
}
