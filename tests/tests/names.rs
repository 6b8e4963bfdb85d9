// SPDX-License-Identifier: Apache-2.0
//! Nodes and pools have names, for clients that others wrote, and only while they take work.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tests::lab::SERVER;
use tests::machine::Machine;
use tests::name::{getent, here, resolve_by, yard};
use tests::peer;
use tests::rom::Kind;
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};
use tests::wait::until;

/// A heartbeat that is never overdue in a test: whatever leaves a pool then leaves it for another reason.
const SLOW: &str = "\n[nodes]\nheartbeat = \"1h\"\n";
/// One that fake nodes keep, with a question for orders in between.
const QUICK: &str = "\n[nodes]\nheartbeat = \"5s\"\n";

/// A laboratory with a server that runs, and images.
fn lit(sections: &str) -> Yard {
    let mut yard = yard(sections).unwrap();
    yard.lab.start_server().unwrap();
    yard.import_images().unwrap();
    yard
}

fn machines(street: &Street<'_>, count: u32) -> Result<Vec<Machine>> {
    let mut machines: Vec<Machine> = (1..=count)
        .map(|number| street.machine(Kind::BiosPxe, number))
        .collect();
    for machine in &mut machines {
        machine.run_until_serving(PATIENCE)?;
    }
    Ok(machines)
}

/// The addresses in a pool, sorted.
fn pool(name: &str) -> Result<Vec<String>> {
    let heard = here(&format!("{name}.gleaner.internal"))?;
    ensure!(heard.code == "NOERROR", "{}", heard.text);
    let mut addresses = heard.answers;
    addresses.sort();
    Ok(addresses)
}

fn until_in_pool(what: &str, wanted: &[&String], mut meanwhile: impl FnMut() -> Result<()>) -> Result<()> {
    let mut wanted: Vec<String> = wanted.iter().map(|address| (*address).clone()).collect();
    wanted.sort();
    until(what, PATIENCE, || {
        meanwhile()?;
        Ok((pool("compute")? == wanted).then_some(()))
    })
}

fn address_of(street: &Street<'_>, machine: &Machine) -> Result<String> {
    street.summary(machine)?.address.context("a node without an address")
}

#[test]
fn a_node_has_a_name_and_is_in_its_pool_until_it_is_drained_rebuilt_or_retired() {
    let mut yard = lit(&format!("{ALONE}{EVERYBODY}{SLOW}"));
    yard.tell(|street| {
        let machines = machines(street, 2)?;
        let (one, two) = (address_of(street, &machines[0])?, address_of(street, &machines[1])?);
        let name = street.summary(&machines[0])?.name;
        let whole = format!("{name}.gleaner.internal");

        let heard = here(&whole)?;
        ensure!(
            heard.code == "NOERROR" && heard.answers == [one.clone()],
            "{}",
            heard.text
        );
        ensure!(heard.flags.contains("aa"), "{}", heard.text);
        until_in_pool("both in the pool", &[&one, &two], || Ok(()))?;
        ensure!(pool("nodes")? == pool("compute")?, "the pool of all nodes");
        // Everybody is first in turn.
        let first = |_| Ok(here("compute.gleaner.internal")?.answers.first().cloned());
        let firsts: Vec<_> = (0..4).map(first).collect::<Result<_>>()?;
        ensure!(
            firsts[0] == firsts[2] && firsts[1] == firsts[3] && firsts[0] != firsts[1],
            "{firsts:?}"
        );

        street.command(&name, "drain")?;
        until_in_pool("a node that drains to leave", &[&two], || Ok(()))?;
        ensure!(here(&whole)?.answers == [one.clone()], "it keeps its name");
        street.command(&name, "undrain")?;
        until_in_pool("it to come back", &[&one, &two], || Ok(()))?;
        street.command(&name, "rebuild")?;
        until_in_pool("a node that is rebuilt to leave", &[&two], || Ok(()))?;
        street.command(&name, "retire")?;
        until("its name to go", PATIENCE, || {
            Ok(here(&whole)?.code.eq("NXDOMAIN").then_some(()))
        })
    })
    .unwrap();
}

#[test]
fn a_node_that_falls_silent_leaves_its_pool_before_it_is_lost_and_comes_back_with_its_next_word() {
    let mut yard = lit(&format!("{ALONE}{EVERYBODY}{QUICK}lost_after = \"10m\"\n"));
    yard.tell(|street| {
        let mut machines = machines(street, 2)?;
        let (one, two) = (address_of(street, &machines[0])?, address_of(street, &machines[1])?);
        let (silent, other) = machines.split_at_mut(1);
        until_in_pool("the silent one to leave", &[&two], || other[0].step().map(drop))?;
        ensure!(
            street.summary(&silent[0])?.liveness == "alive",
            "long before it is lost"
        );
        until_in_pool("it to come back", &[&one, &two], || {
            silent[0].step()?;
            other[0].step().map(drop)
        })
    })
    .unwrap();
}

#[test]
fn clients_that_others_wrote_find_names_by_what_dhcp_told_them() {
    let mut yard = lit(&format!("{ALONE}{EVERYBODY}{SLOW}"));
    let folder = yard.lab.folder().to_owned();
    let (name, address) = yard
        .tell(|street| {
            let machines = machines(street, 1)?;
            Ok((street.summary(&machines[0])?.name, address_of(street, &machines[0])?))
        })
        .unwrap();
    let client = yard.lab.wire().unwrap();
    let script = folder.join("told");
    std::fs::write(
        &script,
        "#!/bin/sh\n[ $1 = bound ] && echo \"dns $dns domain $domain\"\nexit 0\n",
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let busybox = peer::busybox().unwrap();
    let mut udhcpc = busybox.command();
    udhcpc
        .args(["udhcpc", "-i", "wire", "-n", "-q", "-O", "domain", "-s"])
        .arg(&script);
    let told = client.space().run_program(&mut udhcpc).unwrap();
    assert!(
        told.contains(&format!("dns {SERVER} domain gleaner.internal")),
        "{told}"
    );

    let text = format!("nameserver {SERVER}\nsearch gleaner.internal\n");
    resolve_by(client.space(), &folder, &text).unwrap();
    client
        .run(|| {
            // glibc, with and without the domain.
            ensure!(getent(&name)? == [address.clone()], "glibc, short");
            ensure!(
                getent(&format!("{name}.gleaner.internal"))? == [address.clone()],
                "glibc, whole"
            );
            ensure!(getent("compute")? == [address.clone()], "glibc, the pool");
            ensure!(getent(&name.to_uppercase())? == [address.clone()], "glibc, in capitals");
            let mut nslookup = busybox.command();
            nslookup.args(["nslookup", &address]).stdin(Stdio::null());
            let said = nslookup.output()?;
            let said = String::from_utf8_lossy(&said.stdout);
            ensure!(
                said.contains(&format!("name = {name}.gleaner.internal")),
                "busybox: {said}"
            );
            // By TCP, backwards, with EDNS, and what is not there.
            let by_tcp = here(&format!("-t {name}.gleaner.internal"))?;
            ensure!(by_tcp.answers == [address.clone()], "{}", by_tcp.text);
            let backwards = here(&format!("-x {address}"))?;
            ensure!(
                backwards.answers == [format!("{name}.gleaner.internal.")],
                "{}",
                backwards.text
            );
            let edns = here(&format!("-b 1232 {name}.gleaner.internal"))?;
            ensure!(
                edns.answers == [address.clone()] && edns.text.contains("EDNS: version 0"),
                "{}",
                edns.text
            );
            let ipv6 = here(&format!("{name}.gleaner.internal AAAA"))?;
            ensure!(
                ipv6.code == "NOERROR" && ipv6.answers.is_empty() && ipv6.authority == ["SOA"],
                "{}",
                ipv6.text
            );
            let nobody = here("nobody.gleaner.internal")?;
            ensure!(
                nobody.code == "NXDOMAIN" && nobody.authority == ["SOA"],
                "{}",
                nobody.text
            );
            let server = here("gleaner.internal NS")?;
            ensure!(server.answers == ["controller.gleaner.internal."], "{}", server.text);
            ensure!(
                here("controller.gleaner.internal")?.answers == [SERVER],
                "the controller"
            );
            let zone = here("-t gleaner.internal AXFR")?;
            ensure!(
                !zone.text.contains(&address),
                "the whole zone was given away: {}",
                zone.text
            );
            Ok(())
        })
        .unwrap();
}
