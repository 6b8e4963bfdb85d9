// SPDX-License-Identifier: Apache-2.0
//! More networks than one: behind a relay, on a VLAN of its own, each decided for itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use tests::lab::{Lab, SERVER};
use tests::peer;
use tests::rom::dhcp::Voice;
use tests::rom::ether::Ether;
use tests::rom::{Kind, Rom};
use tests::server::{PATIENCE, Yard};
use tests::space::{Space, cable};
use tests::wait::until;

/// What udhcpc calls when something happens: one line a lease.
const SCRIPT: &str =
    "#!/bin/sh\n[ $1 = bound ] && echo \"$ip/$mask via $router from $serverid as '$hostname'\"\nexit 0\n";
/// A card with a reservation.
const PRINTER: &str = "02:00:00:00:00:07";

/// What udhcpc calls, in a folder.
fn told(folder: &Path) -> PathBuf {
    let script = folder.join("told");
    std::fs::write(&script, SCRIPT).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn clients_behind_a_relay_get_addresses_of_their_network_and_their_reservations() {
    let sections = format!(
        "[[subnets]]\nnetwork = \"198.51.100.0/24\"\n\n[[reservations]]\nmac = \"{PRINTER}\"\n\
         address = \"198.51.100.20\"\nname = \"printer\"\n"
    );
    let mut yard = Yard::dark(24, &sections).unwrap();
    // A router with a foot in each network, and a relay on it that adds option 82 and takes no answer without it.
    let router = yard.lab.wire().unwrap();
    let clients = Space::new().unwrap();
    cable(router.space(), "far0", &clients, "card0").unwrap();
    router.space().ip("addr add 198.51.100.1/24 dev far0").unwrap();
    yard.lab
        .space()
        .ip(&format!("route add 198.51.100.0/24 via {}", router.address()))
        .unwrap();
    let mut command = peer::dhcrelay().unwrap().command();
    command.args(["-4", "-d", "--no-pid", "-a", "-iu", "wire", "-id", "far0", SERVER]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut relay = router.space().spawn(&mut command).unwrap();
    yard.lab.start_server().unwrap();

    let script = told(yard.lab.folder());
    let busybox = peer::busybox().unwrap();
    let ask = || {
        let mut command = busybox.command();
        command
            .args(["udhcpc", "-i", "card0", "-n", "-q", "-t", "5", "-s"])
            .arg(&script);
        until("an address through the relay", PATIENCE, || {
            Ok(clients
                .run_program(&mut command)
                .ok()
                .filter(|said| said.contains(" via ")))
        })
        .unwrap()
    };
    let first = ask();
    assert!(
        first.contains("198.51.100.128/24 via 198.51.100.1 from 10.77.0.1"),
        "{first}"
    );
    // After a crash it is still the same one.
    yard.lab.server().kill();
    yard.lab.start_server().unwrap();
    assert_eq!(ask(), first);

    clients.ip(&format!("link set card0 address {PRINTER}")).unwrap();
    let reserved = ask();
    assert!(
        reserved.contains("198.51.100.20/24") && reserved.contains("'printer'"),
        "{reserved}"
    );
    let _ = relay.kill();
    let _ = relay.wait();
}

#[test]
fn an_address_that_somebody_uses_is_left_alone_and_told() {
    let mut lab = Lab::new().unwrap();
    lab.server().configure("[dhcp]\nmode = \"full\"\n").unwrap();
    // Somebody has given his PC the first address of the pool, by hand.
    let squatter = lab.wire().unwrap();
    squatter.space().ip("addr add 10.77.0.128/24 dev wire").unwrap();
    let client = lab.wire().unwrap();
    lab.start_server().unwrap();
    let script = told(lab.folder());
    let mut command = peer::busybox().unwrap().command();
    command
        .args(["udhcpc", "-i", "wire", "-n", "-q", "-t", "5", "-s"])
        .arg(&script);
    let said = client.space().run_program(&mut command).unwrap();
    assert!(said.contains("10.77.0.129/24"), "{said}");
    until("the event", PATIENCE, || {
        let events = lab.server().get("/api/v1/events?limit=100")?;
        let events = events.as_array().context("no events")?;
        let words = "10.77.0.128 is in use by";
        let told = |event: &serde_json::Value| event["kind"] == "address-in-use" && event.to_string().contains(words);
        Ok(events.iter().any(told).then_some(()))
    })
    .unwrap();
}

#[test]
fn an_interface_beside_another_server_does_not_stop_the_others() {
    let mut yard = Yard::dark(24, "").unwrap();
    // This kernel has no VLANs; an interface of that name stands in for one.
    let vlan = Space::new().unwrap();
    cable(yard.lab.space(), "eth0.10", &vlan, "trunk").unwrap();
    yard.lab.space().ip("addr add 10.88.0.1/24 dev eth0.10").unwrap();
    vlan.ip("addr add 10.88.0.2/24 dev trunk").unwrap();
    yard.server().add_interface("eth0.10");
    yard.server()
        .configure("[dhcp]\ncheck = false\n\n[segments.\"eth0.10\"]\nlease_time = \"1h\"\n")
        .unwrap();
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--no-ping",
    ]);
    dnsmasq.args([
        "--dhcp-range=10.88.0.130,10.88.0.190,1h",
        "--dhcp-leasefile=/dev/null",
        "--interface=trunk",
    ]);
    dnsmasq.args(["--log-facility=/dev/null", "--bind-interfaces"]);
    dnsmasq.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut dnsmasq = vlan.spawn(&mut dnsmasq).unwrap();
    yard.lab.start_server().unwrap();
    yard.import_images().unwrap();
    yard.tell(|street| {
        let rom = Rom::new(Kind::UefiX64, 1);
        until("an address on the untagged network", PATIENCE, || {
            let offer = rom.offer(&street.ether, Voice::Firmware)?;
            Ok(offer.filter(|offer| offer.address.is_some()))
        })
        .map(drop)
    })
    .unwrap();
    let here = vlan.run(|| Ether::open("trunk")).unwrap().unwrap();
    let rom = Rom::new(Kind::BiosPxe, 2);
    until("what to boot on the VLAN, and no address from us", PATIENCE, || {
        let offer = vlan.run(|| rom.offer(&here, Voice::Firmware))??;
        let Some(offer) = offer else { return Ok(None) };
        let ours = offer.server == Some([10, 88, 0, 1].into());
        ensure!(!ours || offer.address.is_none(), "{offer:#?}");
        Ok(ours.then_some(()))
    })
    .unwrap();
    let status = yard.server().get("/api/v1/status").unwrap();
    let services = status["services"].as_array().context("no services").unwrap();
    let dhcp = services
        .iter()
        .find(|service| service["name"] == "dhcp")
        .unwrap()
        .to_string();
    assert!(dhcp.contains("br0 10.77.0.1, leasing: nobody else does"), "{dhcp}");
    assert!(
        dhcp.contains("eth0.10 10.88.0.1, leasing nothing, because 10.88.0.2"),
        "{dhcp}"
    );
    let _ = dnsmasq.kill();
    let _ = dnsmasq.wait();
}
