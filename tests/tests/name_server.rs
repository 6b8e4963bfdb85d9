// SPDX-License-Identifier: Apache-2.0
//! The name server among others: whom it asks and whom it answers, who has its port, and who wishes it ill.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tests::lab::{SERVER, Wire};
use tests::name::{ask, getent, here, resolve_by, yard};
use tests::peer;
use tests::rom;
use tests::server::{ALONE, PATIENCE};
use tests::space::{Space, read_if_there};
use tests::wait::until;

/// dnsmasq as somebody's name server; it ends with its space.
fn name_server(space: &Space, options: &[&str]) -> Result<Child> {
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-hosts",
        "--no-resolv",
    ]);
    command.args([
        "--user=root",
        "--pid-file=",
        "--bind-interfaces",
        "--log-facility=/dev/null",
    ]);
    command.args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    space
        .spawn(&mut command)
        .context("starting dnsmasq (package dnsmasq-base)")
}

/// A router that answers names; `options` must make it know example.org.
fn router(wire: &Wire, options: &[&str]) -> Result<Child> {
    let listen = format!("--listen-address={}", wire.address());
    let router = name_server(wire.space(), &[&[listen.as_str()], options].concat())?;
    let question = format!("@{} example.org", wire.address());
    wire.run(|| {
        until("the router's name server", PATIENCE, || {
            Ok(ask(&question)?.code.eq("NOERROR").then_some(()))
        })
    })?;
    Ok(router)
}

#[test]
fn other_names_are_asked_for_elsewhere_and_never_in_a_circle() {
    let mut yard = yard("").unwrap();
    let router_wire = yard.lab.wire().unwrap();
    let client = yard.lab.wire().unwrap();
    let sections = |who: &str| format!("{ALONE}\n[dns]\nforward = [\"{who}\"]\n");
    yard.server().configure(&sections(router_wire.address())).unwrap();
    let words = [
        "--address=/example.org/192.0.2.80",
        "--local=/example.org/",
        "--cname=www.example.net,example.net",
        "--host-record=example.net,192.0.2.81",
        // All else it asks us, as a router would that was told to.
        "--server=10.77.0.1",
    ];
    let mut process = router(&router_wire, &words).unwrap();
    yard.lab.start_server().unwrap();
    client
        .run(|| {
            let found = here("example.org")?;
            ensure!(
                found.answers == ["192.0.2.80"] && !found.flags.contains("aa"),
                "{}",
                found.text
            );
            ensure!(here("-t example.org")?.answers == ["192.0.2.80"], "by TCP");
            let alias = here("www.example.net")?;
            ensure!(alias.answers == ["example.net.", "192.0.2.81"], "{}", alias.text);
            let nothing = here("example.org AAAA")?;
            ensure!(
                nothing.code == "NOERROR" && nothing.answers.is_empty(),
                "{}",
                nothing.text
            );
            // The router asks us what we asked it; we do not ask it again.
            let circle = here("nobody.example.com")?;
            ensure!(circle.answers.is_empty() && circle.code != "NOERROR", "{}", circle.text);
            ensure!(
                here("controller.gleaner.internal")?.answers == [SERVER],
                "our own all the while"
            );
            let pointed = ask(&format!("@{} controller.gleaner.internal", router_wire.address()))?;
            ensure!(pointed.answers == [SERVER], "through the router: {}", pointed.text);
            Ok(())
        })
        .unwrap();
    // A server that is gone: an error, before the client gives up (5 s).
    let _ = process.kill();
    let _ = process.wait();
    client
        .run(|| {
            let lost = here("other.example.org")?;
            ensure!(lost.code == "SERVFAIL", "{}", lost.text);
            ensure!(
                here("controller.gleaner.internal")?.answers == [SERVER],
                "our own none the less"
            );
            Ok(())
        })
        .unwrap();
    // Addresses that nobody has.
    yard.server().stop().unwrap();
    yard.server().configure(&sections("10.77.0.99")).unwrap();
    yard.lab.start_server().unwrap();
    client
        .run(|| {
            let lost = here("example.org")?;
            ensure!(lost.code == "SERVFAIL", "{}", lost.text);
            Ok(())
        })
        .unwrap();
}

/// A name server that wishes ill: it says nothing about names that begin with `slow`, and to all else adds addresses of
/// names that nobody asked for. It answers until its socket is closed.
fn hostile_name_server(wire: &Wire) -> UdpSocket {
    let socket = wire.run(|| Ok(UdpSocket::bind((wire.address(), 53))?)).unwrap();
    let server = socket.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut packet) {
            if let Some(answer) = hostile_answer(&packet[..length]) {
                let _ = server.send_to(&answer, from);
            }
        }
    });
    socket
}

/// The name that is asked for has 192.0.2.80; so have, says this server, two others.
fn hostile_answer(question: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name = question.get(HEADER..)?;
    if name.get(1..5)? == b"slow" {
        return None;
    }
    let end = HEADER + name.iter().position(|byte| *byte == 0)? + 5;
    let wire_name = |name: &str| {
        let labels = name.split('.').flat_map(|label| {
            let length = u8::try_from(label.len()).unwrap_or(0);
            std::iter::once(length).chain(label.bytes())
        });
        labels.chain([0]).collect::<Vec<u8>>()
    };
    let address = |owner: &[u8], address: [u8; 4]| [owner, &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4], &address].concat();
    let mut answer = question.get(..end)?.to_vec();
    // An answer, recursion available; one question, three answers, nothing else.
    answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0]);
    answer.extend(address(&[0xc0, 12], [192, 0, 2, 80]));
    answer.extend(address(&wire_name("controller.gleaner.internal"), [192, 0, 2, 66]));
    answer.extend(address(&wire_name("bank.example.com"), [192, 0, 2, 66]));
    Some(answer)
}

#[test]
fn a_hostile_name_server_says_nothing_of_names_that_were_not_asked_for() {
    let mut yard = yard("").unwrap();
    let router = yard.lab.wire().unwrap();
    let client = yard.lab.wire().unwrap();
    let sections = format!("{ALONE}\n[dns]\nforward = [\"{}\"]\n", router.address());
    yard.server().configure(&sections).unwrap();
    let _hostile = hostile_name_server(&router);
    yard.lab.start_server().unwrap();
    client
        .run(|| {
            let heard = here("www.example.org")?;
            ensure!(heard.answers == ["192.0.2.80"], "{}", heard.text);
            ensure!(!heard.text.contains("192.0.2.66"), "{}", heard.text);
            ensure!(here("controller.gleaner.internal")?.answers == [SERVER], "our own");
            Ok(())
        })
        .unwrap();
}

#[test]
fn slow_names_of_elsewhere_take_names_from_nobody() {
    /// More than the server keeps under way for all together.
    const SLOW: u16 = 600;
    let mut yard = yard("").unwrap();
    let router = yard.lab.wire().unwrap();
    let greedy = yard.lab.wire().unwrap();
    let client = yard.lab.wire().unwrap();
    let sections = format!("{ALONE}\n[dns]\nforward = [\"{}\"]\n", router.address());
    yard.server().configure(&sections).unwrap();
    let _hostile = hostile_name_server(&router);
    yard.lab.start_server().unwrap();
    // Twenty addresses, so that no limit for one of them is all that helps.
    let addresses: Vec<String> = (200..220).map(|last| format!("10.77.0.{last}")).collect();
    for address in &addresses {
        greedy.space().ip(&format!("addr add {address}/24 dev wire")).unwrap();
    }
    greedy
        .run(|| {
            for number in 0..SLOW {
                let address = &addresses[usize::from(number) % addresses.len()];
                let socket = UdpSocket::bind((address.as_str(), 0))?;
                let [high, low] = number.to_be_bytes();
                let mut question = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9];
                question.extend(format!("slow-{number:04}").bytes());
                question.extend([3, b'o', b'r', b'g', 0, 0, 1, 0, 1]);
                socket.send_to(&question, (SERVER, 53))?;
            }
            Ok(())
        })
        .unwrap();
    client
        .run(|| {
            let heard = here("www.example.org")?;
            ensure!(heard.answers == ["192.0.2.80"], "{}", heard.text);
            ensure!(here("controller.gleaner.internal")?.answers == [SERVER], "our own");
            Ok(())
        })
        .unwrap();
}

#[test]
fn strangers_are_refused() {
    let mut yard = yard(ALONE).unwrap();
    let client = yard.lab.wire().unwrap();
    client.space().ip("addr add 203.0.113.9/32 dev wire").unwrap();
    let back = format!("route add 203.0.113.9/32 via {}", client.address());
    yard.lab.space().ip(&back).unwrap();
    yard.lab.start_server().unwrap();
    client
        .run(|| {
            for name in ["controller.gleaner.internal", "example.org"] {
                for way in ["-u", "-t"] {
                    let refused = here(&format!("-I 203.0.113.9 {way} {name}"))?;
                    ensure!(
                        refused.code == "REFUSED" && refused.answers.is_empty(),
                        "{}",
                        refused.text
                    );
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_port_that_another_program_has_is_told_and_the_server_goes_on_without_it() {
    let mut yard = yard(ALONE).unwrap();
    let mut process = name_server(
        yard.lab.space(),
        &["--listen-address=10.77.0.1", "--except-interface=lo"],
    )
    .unwrap();
    until("another name server", PATIENCE, || {
        let question = format!("@{SERVER} example.org");
        Ok(yard
            .lab
            .space()
            .run(|| ask(&question))??
            .code
            .eq("REFUSED")
            .then_some(()))
    })
    .unwrap();
    yard.lab.start_server().unwrap();
    let client = yard.lab.wire().unwrap();
    let script = yard.lab.folder().join("told");
    std::fs::write(
        &script,
        "#!/bin/sh\n[ $1 = bound ] && echo \"bound, dns '$dns'\"\nexit 0\n",
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut udhcpc = peer::busybox().unwrap().command();
    udhcpc.args(["udhcpc", "-i", "wire", "-n", "-q", "-s"]).arg(&script);
    let told = client.space().run_program(&mut udhcpc).unwrap();
    assert!(told.contains("bound, dns ''"), "{told}");

    let status = yard.server().get("/api/v1/status").unwrap().to_string();
    assert!(status.contains("dns: port taken: 10.77.0.1:53 by dnsmasq"), "{status}");
    let doctor = yard.server().get("/api/v1/doctor").unwrap().to_string();
    assert!(
        doctor.contains("port taken: 10.77.0.1:53 by dnsmasq") && doctor.contains("stop that program"),
        "{doctor}"
    );
    until("an event", PATIENCE, || {
        let events = yard.lab.control().get("/api/v1/events")?.to_string();
        Ok((events.contains("dns-port-taken") && events.contains("dnsmasq")).then_some(()))
    })
    .unwrap();
    let _ = process.kill();
    let _ = process.wait();
}

#[test]
fn a_name_server_on_the_loopback_does_not_stand_in_the_way_and_is_asked() {
    let mut yard = yard(ALONE).unwrap();
    // As systemd-resolved has it.
    let words = [
        "--listen-address=127.0.0.53",
        "--address=/example.org/192.0.2.80",
        "--server=10.77.0.1",
    ];
    let mut process = name_server(yard.lab.space(), &words).unwrap();
    resolve_by(yard.lab.space(), yard.lab.folder(), "nameserver 127.0.0.53\n").unwrap();
    let client = yard.lab.wire().unwrap();
    yard.lab.start_server().unwrap();
    let found = client.run(|| {
        until("an answer of the loopback's server", PATIENCE, || {
            Ok(Some(here("example.org")?.answers).filter(|answers| *answers == ["192.0.2.80"]))
        })
    });
    found.unwrap();
    // It asks us, we do not ask it again.
    let circle = client.run(|| here("nobody.example.com")).unwrap();
    assert!(circle.code != "NOERROR" && !circle.code.is_empty(), "{}", circle.text);
    let _ = process.kill();
    let _ = process.wait();
}

#[test]
fn garbage_and_slow_readers_cost_nobody_else_anything() {
    let mut yard = yard(ALONE).unwrap();
    let rude = yard.lab.wire().unwrap();
    let polite = yard.lab.wire().unwrap();
    yard.lab.start_server().unwrap();
    let answered = || {
        polite.run(|| {
            for way in ["-u", "-t"] {
                let heard = here(&format!("{way} controller.gleaner.internal"))?;
                ensure!(heard.answers == [SERVER], "{way}: {}", heard.text);
            }
            Ok(())
        })
    };
    answered().unwrap();
    let pid = yard.server().pid().unwrap();
    let before = resident(pid).unwrap();
    rude.run(|| {
        let to: SocketAddr = format!("{SERVER}:53").parse()?;
        let from = rude.address().parse()?;
        let socket = UdpSocket::bind((rude.address(), 0))?;
        for round in 0..50_000_u32 {
            let length = round as usize % 90;
            let mut bytes: Vec<u8> = (0..length).map(|_| rand::random()).collect();
            if round % 2 == 0 && length > 12 {
                // A question, as far as its head goes.
                bytes[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
            }
            // The queue may be full.
            let _ = socket.send_to(&bytes, to);
        }
        // Connections that say nothing, half a length, half a question, or that never read.
        let mut open = Vec::new();
        for round in 0..40_usize {
            let mut stream = rom::connect(from, to)?;
            let question = [&[0, 30][..], &[0x5a; 30]].concat();
            let said = [0, 1, 10, question.len()][round % 4];
            let _ = stream.write_all(&question[..said]);
            open.push(stream);
        }
        answered()?;
        // All are closed by the other end, those at once that were too many.
        for mut stream in open {
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut sink = [0; 64];
            while matches!(stream.read(&mut sink), Ok(length) if length > 0) {}
        }
        Ok(())
    })
    .unwrap();
    answered().unwrap();
    let grown = resident(pid).unwrap().saturating_sub(before);
    assert!(grown < 8192, "{grown} KB more than before");
}

#[test]
fn beside_another_dhcp_server_names_are_found_through_its_name_server_that_was_pointed_here() {
    let mut yard = yard("").unwrap();
    let router_wire = yard.lab.wire().unwrap();
    // As the guide for admins says, with the protection that routers have against names that point inside.
    let words = [
        "--dhcp-range=10.77.0.130,10.77.0.190,1h",
        "--dhcp-leasefile=/dev/null",
        "--no-ping",
        "--interface=wire",
        "--address=/example.org/192.0.2.80",
        "--stop-dns-rebind",
        "--server=/gleaner.internal/10.77.0.1",
        "--rebind-domain-ok=/gleaner.internal/",
    ];
    let mut process = router(&router_wire, &words).unwrap();
    yard.lab.start_server().unwrap();
    until("the other DHCP server to be seen", PATIENCE, || {
        let status = yard.lab.control().get("/api/v1/status")?.to_string();
        Ok(status.contains("leasing nothing, because").then_some(()))
    })
    .unwrap();
    let client = yard.lab.wire().unwrap();
    let text = format!("nameserver {}\nsearch gleaner.internal\n", router_wire.address());
    resolve_by(client.space(), yard.lab.folder(), &text).unwrap();
    client
        .run(|| {
            ensure!(getent("controller")? == [SERVER], "through the router");
            let pool = ask(&format!("@{} nodes.gleaner.internal", router_wire.address()))?;
            ensure!(pool.code == "NOERROR" && pool.answers.is_empty(), "{}", pool.text);
            ensure!(
                here("controller.gleaner.internal")?.answers == [SERVER],
                "and asked straight"
            );
            Ok(())
        })
        .unwrap();
    let _ = process.kill();
    let _ = process.wait();
}

/// Kilobytes of memory that a process has.
fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = read_if_there(Path::new(&path)).context("a process that is gone")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("no VmRSS")?;
    let value = line.split_whitespace().nth(1).context("no figure")?;
    value.parse().context("a figure")
}
