// SPDX-License-Identifier: Apache-2.0
//! Somebody else answers DHCP: on a network that is not ours alone no address is given out, before or after.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::Wire;
use tests::rom::dhcp::{self, Answer, Say, Voice};
use tests::rom::{Kind, Rom};
use tests::server::{PATIENCE, Street, Yard};
use tests::wait::until;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// In which every server on a cable of this length has answered.
const ANSWERS: Duration = Duration::from_millis(1500);

/// The router at home, in the office, in the lab's corner.
struct Router {
    process: Child,
    address: Ipv4Addr,
}

impl Router {
    fn start(wire: &Wire) -> Result<Self> {
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            "--no-ping",
        ]);
        command.args([
            "--dhcp-authoritative",
            "--dhcp-range=10.77.0.100,10.77.0.120,1h",
            "--dhcp-leasefile=/dev/null",
        ]);
        command.args(["--log-facility=/dev/null", "--interface=wire", "--bind-interfaces"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = wire
            .space()
            .spawn(&mut command)
            .context("starting dnsmasq (package dnsmasq-base)")?;
        Ok(Self {
            process,
            address: wire.address().parse()?,
        })
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Everything that is offered to a card within a while.
fn offers(street: &Street<'_>, number: u32) -> Result<Vec<Answer>> {
    let rom = Rom::new(Kind::BiosPxe, number);
    let xid = rand::random();
    let listening = street.ether.listen(xid);
    street
        .ether
        .shout(rom.mac, &dhcp::packet(&rom, Voice::Firmware, xid, Say::Discover))?;
    let end = std::time::Instant::now() + ANSWERS;
    let mut heard = Vec::new();
    while let Some(answer) = listening.next(end.saturating_duration_since(std::time::Instant::now())) {
        heard.push(answer);
    }
    Ok(heard)
}

fn by(server: Ipv4Addr, offers: &[Answer]) -> bool {
    offers
        .iter()
        .any(|offer| offer.server == Some(server) && offer.address.is_some())
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

#[test]
fn beside_another_server_no_address_is_ever_given() {
    let mut yard = Yard::dark(24, "").unwrap();
    let wire = yard.lab.wire().unwrap();
    let router = Router::start(&wire).unwrap();
    yard.lab.start_server().unwrap();
    yard.tell(|street| {
        until("the router's first offer", PATIENCE, || {
            let offers = offers(street, 1)?;
            ensure!(!by(SERVER, &offers), "{offers:#?}");
            Ok(by(router.address, &offers).then_some(()))
        })?;
        until("the status to say who else is there", PATIENCE, || {
            let offers = offers(street, 2)?;
            ensure!(!by(SERVER, &offers), "{offers:#?}");
            Ok(status(street)?.contains(&router.address.to_string()).then_some(()))
        })
    })
    .unwrap();
}

#[test]
fn when_another_server_comes_later_leasing_stops() {
    let mut yard = Yard::dark(24, "").unwrap();
    yard.lab.start_server().unwrap();
    let wire = yard.lab.wire().unwrap();
    yard.tell(|street| {
        until("the first offer, after listening", PATIENCE, || {
            Ok(by(SERVER, &offers(street, 1)?).then_some(()))
        })?;
        let router = Router::start(&wire)?;
        until("the router's first offer", PATIENCE, || {
            Ok(by(router.address, &offers(street, 2)?).then_some(()))
        })?;
        // A machine takes the router's offer, and everybody on the cable hears whose it takes.
        let (rom, xid) = (Rom::new(Kind::BiosPxe, 3), rand::random());
        let address = Ipv4Addr::new(10, 77, 0, 101);
        let say = Say::Request {
            address,
            server: router.address,
        };
        street
            .ether
            .shout(rom.mac, &dhcp::packet(&rom, Voice::Firmware, xid, say))?;
        until("leasing to stop", PATIENCE, || {
            Ok((!by(SERVER, &offers(street, 4)?)).then_some(()))
        })?;
        for number in 5..8 {
            ensure!(!by(SERVER, &offers(street, number)?), "it leases again");
        }
        ensure!(
            status(street)?.contains(&router.address.to_string()),
            "{}",
            status(street)?
        );
        Ok(())
    })
    .unwrap();
}
