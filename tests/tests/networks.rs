// SPDX-License-Identifier: Apache-2.0
//! More networks than one: behind a relay, on a VLAN of its own, each decided for itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use provisioner_api::EnrolmentWindow;
use tests::lab::{Lab, SERVER, Server, Wire};
use tests::peer;
use tests::rom::dhcp::Voice;
use tests::rom::ether::Ether;
use tests::rom::script::Script;
use tests::rom::{Kind, Rom};
use tests::server::{PATIENCE, Yard};
use tests::space::{Space, cable};
use tests::wait::until;

/// What udhcpc calls when something happens: one line a lease.
const SCRIPT: &str =
    "#!/bin/sh\n[ $1 = bound ] && echo \"$ip/$mask via $router from $serverid as '$hostname'\"\nexit 0\n";
/// A router's address on its far side, and its interface there.
const ROUTER: &str = "198.51.100.1";
/// See [`ROUTER`].
const FAR: &str = "far0";
/// A card with a reservation.
const PRINTER: &str = "02:00:00:00:00:07";

/// What udhcpc calls, in a folder.
fn told(folder: &Path) -> PathBuf {
    let script = folder.join("told");
    std::fs::write(&script, SCRIPT).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// A network behind a router with a relay on it that adds option 82 and takes no answer without it.
struct Campus {
    yard: Yard,
    router: Wire,
    clients: Space,
    relay: Child,
}

impl Campus {
    fn new(sections: &str) -> Self {
        let sections = format!("[[subnets]]\nnetwork = \"198.51.100.0/24\"\n\n{sections}");
        let mut yard = Yard::dark(24, &sections).unwrap();
        let router = yard.lab.wire().unwrap();
        router
            .space()
            .ip(&format!("link add {FAR} type bridge stp_state 0 forward_delay 0"))
            .unwrap();
        router.space().ip(&format!("addr add {ROUTER}/24 dev {FAR}")).unwrap();
        router.space().ip(&format!("link set {FAR} up")).unwrap();
        let clients = joined(&router, "port1");
        yard.lab
            .space()
            .ip(&format!("route add 198.51.100.0/24 via {}", router.address()))
            .unwrap();
        router
            .run(|| Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))
            .unwrap();
        let mut command = peer::dhcrelay().unwrap().command();
        command.args(["-4", "-d", "--no-pid", "-a", "-iu", "wire", "-id", FAR, SERVER]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let relay = router.space().spawn(&mut command).unwrap();
        yard.lab.start_server().unwrap();
        Self {
            yard,
            router,
            clients,
            relay,
        }
    }

    /// What a real client behind the relay is given, in a line.
    fn lease(&self) -> String {
        let script = told(self.yard.lab.folder());
        let mut command = peer::busybox().unwrap().command();
        command
            .args(["udhcpc", "-i", "card", "-n", "-q", "-t", "5", "-s"])
            .arg(&script);
        until("an address through the relay", PATIENCE, || {
            let said = self.clients.run_program(&mut command).ok();
            Ok(said.filter(|said| said.contains(" via ")))
        })
        .unwrap()
    }
}

impl Drop for Campus {
    fn drop(&mut self) {
        let _ = self.relay.kill();
        let _ = self.relay.wait();
    }
}

/// Somebody with a `card` on a router's far side.
fn joined(router: &Wire, port: &str) -> Space {
    let space = Space::new().unwrap();
    cable(router.space(), port, &space, "card").unwrap();
    router.space().ip(&format!("link set {port} master {FAR}")).unwrap();
    space
}

#[test]
fn clients_behind_a_relay_get_addresses_of_their_network_and_their_reservations() {
    let reservation =
        format!("[[reservations]]\nmac = \"{PRINTER}\"\naddress = \"198.51.100.20\"\nname = \"printer\"\n");
    let mut campus = Campus::new(&reservation);
    let first = campus.lease();
    assert!(
        first.contains("198.51.100.128/24 via 198.51.100.1 from 10.77.0.1"),
        "{first}"
    );
    // After a crash it is still the same one.
    campus.yard.lab.server().kill();
    campus.yard.lab.start_server().unwrap();
    assert_eq!(campus.lease(), first);

    campus.clients.ip(&format!("link set card address {PRINTER}")).unwrap();
    let reserved = campus.lease();
    assert!(
        reserved.contains("198.51.100.20/24") && reserved.contains("'printer'"),
        "{reserved}"
    );
}

#[test]
fn behind_a_relay_too_an_address_that_somebody_uses_is_left_alone_and_told() {
    let mut campus = Campus::new("");
    // Somebody has given his PC the first address of the pool, by hand, and the router as his way out.
    let squatter = joined(&campus.router, "port2");
    squatter.ip("addr add 198.51.100.128/24 dev card").unwrap();
    squatter.ip(&format!("route add default via {ROUTER}")).unwrap();
    let said = campus.lease();
    assert!(said.contains("198.51.100.129/24"), "{said}");
    told_in_use(campus.yard.lab.server(), "198.51.100.128 is in use by");
}

#[test]
fn a_window_lets_in_who_comes_by_the_relay_and_the_port_that_it_names() {
    // Every address of the pool is the fake's from the start: nobody is asked whether he uses it.
    let mut campus = Campus::new("check = false\n\n[enrolment]\nunknown = \"ask\"\n");
    campus.yard.import_images().unwrap();
    campus.clients.ip("link set card promisc on").unwrap();
    campus.clients.ip("addr add 198.51.100.2/24 dev card").unwrap();
    campus.clients.ip(&format!("route add default via {ROUTER}")).unwrap();
    campus.clients.ip("route add local 198.51.100.128/25 dev lo").unwrap();
    let Campus { yard, clients, .. } = &mut campus;
    let server = yard.lab.server();
    let ether = clients.run(|| Ether::open("card")).unwrap().unwrap();
    let boot = |number| {
        clients
            .run(|| Rom::new(Kind::BiosIpxe, number).boot(&ether))
            .unwrap()
            .unwrap()
            .script
    };
    let asked = |script: Script| matches!(script, Script::Ask { .. });
    for (number, other, own) in [
        (1, ["--relay", "198.51.100.99"], ["--relay", ROUTER]),
        (2, ["--port", "gi0/7"], ["--port", FAR]),
    ] {
        server.cli(&["enrol", "open", other[0], other[1]]).unwrap();
        assert!(asked(boot(number)), "{other:?} is somebody else's");
        server.cli(&["enrol", "open", own[0], own[1]]).unwrap();
        assert!(!asked(boot(number)), "{own:?} is its own");
        let windows: Vec<EnrolmentWindow> =
            serde_json::from_str(&server.cli(&["--json", "enrol", "list"]).unwrap()).unwrap();
        for window in windows.iter().filter(|window| window.open) {
            server.cli(&["enrol", "close", &window.id.to_string()]).unwrap();
        }
        assert!(asked(boot(9)), "the windows are closed");
    }
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
    told_in_use(lab.server(), "10.77.0.128 is in use by");
}

/// Waits for the event.
fn told_in_use(server: &mut Server, words: &str) {
    until("the event", PATIENCE, || {
        let events = server.get("/api/v1/events?limit=100")?;
        let events = events.as_array().context("no events")?;
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
