// SPDX-License-Identifier: Apache-2.0
//! Interfaces that come, go, come back and change their addresses while the server runs: a USB card that is plugged in
//! again, a VLAN that is built anew.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tests::lab::Lab;
use tests::peer;
use tests::rom::dhcp::Voice;
use tests::rom::ether::Ether;
use tests::rom::{Kind, Rom};
use tests::server::PATIENCE;
use tests::space::Space;
use tests::wait::until;

/// The interface that comes and goes.
const NAME: &str = "lan1";
/// A kernel index that it has every time: whoever compares indexes sees no difference.
const INDEX: u32 = 77;
/// What udhcpc calls when something happens: one line a lease.
const SCRIPT: &str = "#!/bin/sh\n[ $1 = bound ] && echo \"$ip/$mask from $serverid dns $dns\"\nexit 0\n";

/// A provisioner with `br0`, on which nobody is, and with an interface that comes and goes.
struct Bench {
    lab: Lab,
    client: Space,
}

impl Bench {
    /// Nothing is started or plugged in yet.
    fn new(config: &str) -> Self {
        let mut lab = Lab::new().unwrap();
        lab.server().add_interface(NAME);
        lab.server().configure(config).unwrap();
        let script = lab.folder().join("told");
        std::fs::write(&script, SCRIPT).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let client = Space::new().unwrap();
        Self { lab, client }
    }

    /// Plugs the interface in, with the client's card at the other end.
    fn plug(&self, address: &str) {
        let (lab, pid) = (self.lab.space(), self.client.pid());
        lab.ip(&format!(
            "link add {NAME} index {INDEX} type veth peer name card netns {pid}"
        ))
        .unwrap();
        lab.ip(&format!("addr add {address}/24 dev {NAME}")).unwrap();
        lab.ip(&format!("link set {NAME} up")).unwrap();
        self.client.ip("link set card address 02:00:00:00:00:07").unwrap();
        self.client.ip("link set card up").unwrap();
    }

    /// Pulls it out.
    fn pull(&self) {
        self.lab.space().ip(&format!("link del {NAME}")).unwrap();
    }

    /// What a real client is given, in a line.
    fn lease(&self) -> String {
        let mut command = peer::busybox().unwrap().command();
        command
            .args(["udhcpc", "-i", "card", "-n", "-q", "-t", "3", "-T", "2", "-s"])
            .arg(self.lab.folder().join("told"));
        until("an address", PATIENCE, || {
            let said = self.client.run_program(&mut command).ok();
            Ok(said.filter(|said| said.contains(" from ")))
        })
        .unwrap()
    }

    /// Waits until the status says this of DHCP.
    fn says(&mut self, well: bool, words: &str) {
        let server = self.lab.server();
        until(&format!("the status to say {words:?}"), PATIENCE, || {
            let service = dhcp(&server.get("/api/v1/status")?)?;
            let says = service["detail"].as_str().is_some_and(|detail| detail.contains(words));
            Ok((says && service["ok"] == well).then_some(()))
        })
        .unwrap();
    }
}

/// The line of the status about DHCP.
fn dhcp(status: &serde_json::Value) -> Result<serde_json::Value> {
    let services = status["services"].as_array().context("no services")?;
    let dhcp = services.iter().find(|service| service["name"] == "dhcp");
    dhcp.cloned().context("no line about DHCP")
}

#[test]
fn a_card_that_is_plugged_in_again_serves_again_and_meanwhile_the_status_says_that_it_is_gone() {
    let mut bench = Bench::new("");
    bench.plug("10.88.0.1");
    bench.lab.start_server().unwrap();
    let first = bench.lease();
    assert!(first.contains("10.88.0.128/24 from 10.88.0.1 dns 10.88.0.1"), "{first}");

    bench.pull();
    bench.says(false, "lan1 is not served");
    let doctor = bench.lab.server().get("/api/v1/doctor").unwrap().to_string();
    assert!(
        doctor.contains("interface-unserved") && doctor.contains(NAME),
        "{doctor}"
    );

    bench.plug("10.88.0.1");
    assert_eq!(bench.lease(), first, "and what was promised holds");
    bench.says(true, "lan1 10.88.0.1, leasing: nobody else does");
    let doctor = bench.lab.server().get("/api/v1/doctor").unwrap().to_string();
    assert!(!doctor.contains("interface-unserved"), "{doctor}");

    // So fast that nobody sees it gone, with the same index.
    for _ in 0..3 {
        bench.pull();
        bench.plug("10.88.0.1");
    }
    assert_eq!(bench.lease(), first);
    bench.says(true, "lan1 10.88.0.1, leasing: nobody else does");
}

#[test]
fn an_interface_that_comes_after_the_start_is_served() {
    let mut bench = Bench::new("");
    bench.lab.start_server().unwrap();
    bench.says(false, "lan1 is not served");
    bench.plug("10.88.0.1");
    let lease = bench.lease();
    assert!(lease.contains("10.88.0.128/24 from 10.88.0.1 dns 10.88.0.1"), "{lease}");
    bench.says(true, "lan1 10.88.0.1, leasing");
    // Down and up again, as networkd does when its settings change.
    let space = bench.lab.space();
    space.ip(&format!("link set {NAME} down")).unwrap();
    bench.says(false, "lan1 is not served");
    bench.lab.space().ip(&format!("link set {NAME} up")).unwrap();
    assert_eq!(bench.lease(), lease);
}

#[test]
fn an_address_that_changes_is_followed() {
    let mut bench = Bench::new("");
    bench.plug("10.88.0.1");
    bench.lab.start_server().unwrap();
    let first = bench.lease();
    assert!(first.contains("from 10.88.0.1"), "{first}");
    let space = bench.lab.space();
    space.ip(&format!("addr add 10.89.0.1/24 dev {NAME}")).unwrap();
    space.ip(&format!("addr del 10.88.0.1/24 dev {NAME}")).unwrap();
    bench.says(true, "lan1 10.89.0.1, leasing: nobody else does");
    let lease = bench.lease();
    assert!(lease.contains("10.89.0.128/24 from 10.89.0.1 dns 10.89.0.1"), "{lease}");
    // And names are answered there.
    bench.client.ip("addr add 10.89.0.128/24 dev card").unwrap();
    let mut command = peer::busybox().unwrap().command();
    command.args(["nslookup", "controller.gleaner.internal", "10.89.0.1"]);
    let said = until("a name", PATIENCE, || Ok(bench.client.run_program(&mut command).ok())).unwrap();
    assert!(said.contains("10.89.0.1"), "{said}");
}

#[test]
fn an_interface_that_comes_back_beside_another_server_leases_nothing_before_it_has_listened() {
    let mut bench = Bench::new("[dhcp]\ncheck = false\n");
    bench.plug("10.88.0.1");
    bench.lab.start_server().unwrap();
    assert!(bench.lease().contains("from 10.88.0.1"));
    // Back in another switch, where somebody leases.
    bench.pull();
    bench.plug("10.88.0.1");
    bench.client.ip("addr add 10.88.0.2/24 dev card").unwrap();
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
        "--interface=card",
    ]);
    dnsmasq.args(["--log-facility=/dev/null", "--bind-interfaces"]);
    dnsmasq.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut dnsmasq = bench.client.spawn(&mut dnsmasq).unwrap();
    let here = bench.client.run(|| Ether::open("card")).unwrap().unwrap();
    let rom = Rom::new(Kind::BiosPxe, 2);
    let server = bench.lab.server();
    until("what to boot, and no address from us", PATIENCE, || {
        let offer = bench.client.run(|| rom.offer(&here, Voice::Firmware))??;
        let ours = |offer: &tests::rom::dhcp::Answer| offer.server == Some([10, 88, 0, 1].into());
        if let Some(offer) = offer.filter(ours) {
            ensure!(offer.address.is_none(), "{offer:#?}");
        }
        let words = dhcp(&server.get("/api/v1/status")?)?.to_string();
        Ok(words.contains("leasing nothing, because 10.88.0.2").then_some(()))
    })
    .unwrap();
    let _ = dnsmasq.kill();
    let _ = dnsmasq.wait();
}

#[test]
fn one_request_that_names_another_server_stops_nothing() {
    let mut bench = Bench::new("[dhcp]\ncheck = false\n");
    bench.plug("10.88.0.1");
    bench.lab.start_server().unwrap();
    assert!(bench.lease().contains("from 10.88.0.1"));
    let here = bench.client.run(|| Ether::open("card")).unwrap().unwrap();
    let liar = Rom::new(Kind::BiosPxe, 9);
    for other in [[10, 88, 0, 250], [192, 0, 2, 1]] {
        let choice = tests::rom::dhcp::Say::Request {
            address: [10, 88, 0, 9].into(),
            server: other.into(),
        };
        let packet = tests::rom::dhcp::packet(&liar, Voice::Firmware, 7, choice);
        bench.client.run(|| here.shout(liar.mac, &packet)).unwrap().unwrap();
        let words = format!("chose the DHCP server {}", std::net::Ipv4Addr::from(other));
        bench.says(true, &words);
        assert!(bench.lease().contains("from 10.88.0.1"));
    }
}

#[test]
fn the_server_keeps_the_capabilities_for_its_sockets_and_no_other() {
    let mut bench = Bench::new("");
    bench.lab.start_server().unwrap();
    let pid = bench.lab.server().pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    // CAP_NET_BIND_SERVICE is 10, CAP_NET_RAW is 13.
    for (set, holds) in [
        ("CapPrm", "2400"),
        ("CapEff", "2400"),
        ("CapInh", "0"),
        ("CapBnd", "0"),
        ("CapAmb", "0"),
    ] {
        assert!(status.contains(&format!("{set}:\t{holds:0>16}")), "{status}");
    }
}
