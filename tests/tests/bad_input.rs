// SPDX-License-Identifier: Apache-2.0
//! Anything may come over the cable: the server does not fall, does not grow, counts it, and goes on serving the rest.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use tests::machine::Machine;
use tests::rom::dhcp::{self, Say, Voice};
use tests::rom::{self, Kind, Rom, tftp};
use tests::rude;
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Megabytes that the server may have grown by once the noise is over: buffers, its allocator's habits, its tables.
const GROWTH: f64 = 24.0 * 1024.0 * 1024.0;
/// Cards that one liar invents.
const LIES: u32 = 100_000;

/// A story in which a ready machine stands beside the noise and is looked at afterwards.
fn beside_a_ready_machine(noise: impl FnOnce(&mut Street<'_>, &mut StdRng) -> Result<()> + Send) {
    let seed = std::env::var("GLEANER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("GLEANER_SEED={seed}");
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        machine.run_until_serving(PATIENCE)?;
        let address = machine.rom.boot(&street.ether)?.address;
        let pid = street.server.pid();
        let before = street.metric("process_resident_memory_bytes")?;
        ensure!(before > 0.0, "the server does not tell its memory");
        noise(street, &mut StdRng::seed_from_u64(seed))?;
        still_serves(street, &mut machine, address)?;
        street
            .machine(Kind::HttpX64, 2)
            .run_until_serving(PATIENCE)
            .context("a new machine, after the noise")?;
        let after = street.metric("process_resident_memory_bytes")?;
        println!(
            "resident: {:.1} MB before, {:.1} MB after",
            before / 1_048_576.0,
            after / 1_048_576.0
        );
        ensure!(
            after - before < GROWTH,
            "the server grew from {before} to {after} bytes"
        );
        ensure!(
            street.server.is_running() && street.server.pid() == pid,
            "the server fell"
        );
        ensure!(
            !street.server.log().contains("panicked"),
            "{}",
            street.server.log_tail(40)
        );
        Ok(())
    })
    .unwrap();
}

/// The known machine boots and serves, under the address that it had.
fn still_serves(street: &Street<'_>, machine: &mut Machine, address: Ipv4Addr) -> Result<()> {
    machine.cut_power();
    machine
        .run_until_serving(PATIENCE)
        .context("the known machine, after the noise")?;
    ensure!(
        machine.rom.boot(&street.ether)?.address == address,
        "the known machine lost its address"
    );
    Ok(())
}

/// A client's packet with something wrong in it.
fn broken(random: &mut StdRng) -> Vec<u8> {
    let rom = Rom::new(*Kind::ALL.choose(random).unwrap(), random.random());
    let voice = if random.random() { Voice::Firmware } else { Voice::Ipxe };
    let mut packet = dhcp::packet(&rom, voice, random.random(), Say::Discover);
    match random.random_range(0..10) {
        // A hardware address of absurd length.
        0 => packet[2] = *[0, 1, 7, 16, 17, 255].choose(random).unwrap(),
        // An option that is longer than the packet, or than anything; options that never end.
        1 => packet[241] = 255,
        2 => packet.truncate(random.random_range(0..300)),
        3 => packet.retain(|byte| *byte != 255),
        // Options that are garbage from some point on.
        4 => {
            let at = random.random_range(240..packet.len());
            random.fill_bytes(&mut packet[at..]);
        }
        // Bits that turned over.
        5 | 6 => {
            for _ in 0..random.random_range(1..20) {
                let at = random.random_range(0..packet.len());
                packet[at] ^= 1 << random.random_range(0..8);
            }
        }
        // Known codes with lengths that they never have, a host name that is no UTF-8 first.
        7 => {
            let mut options = vec![12, 4, 0xff, 0xfe, 0x80, 0xc0];
            for code in [53, 55, 60, 61, 77, 80, 81, 82, 93, 94, 97, 151, 152, 153, 154, 155, 175] {
                let length = random.random_range(0..40_u8);
                options.extend([code, length]);
                options.extend((0..length).map(|_| random.random::<u8>()));
            }
            packet.splice(240.., options);
        }
        // A reply, sent to the server as if it were a question; a relay that is nowhere.
        8 => packet[0] = random.random(),
        _ => {
            random.fill_bytes(&mut packet[24..28]);
        }
    }
    packet.truncate(1400);
    packet
}

#[test]
fn broken_dhcp_is_counted_and_forgotten() {
    beside_a_ready_machine(|street, random| {
        let counted = |street: &Street<'_>| street.metric("gleaner_dhcp_unusable_total");
        let before = counted(street)?;
        for _ in 0..20_000 {
            // As a card of its own each: the lies about hardware addresses are in the packet.
            street
                .ether
                .shout([0x52, 0x54, 1, 1, 1, random.random()], &broken(random))?;
        }
        ensure!(counted(street)? > before, "nothing was counted");
        Ok(())
    });
}

#[test]
fn a_hundred_thousand_invented_cards_take_no_address_from_a_known_machine() {
    beside_a_ready_machine(|street, random| {
        let me = [0x52, 0x54, 2, 2, 2, 2];
        for number in 0..LIES {
            let mut rom = Rom::new(Kind::UefiX64, number);
            rom.mac[1] = 0x55;
            let mut packet = dhcp::packet(&rom, Voice::Firmware, random.random(), Say::Discover);
            if number % 2 == 1 {
                // Without asking first: every address of the pool, again and again.
                let address = Ipv4Addr::new(10, 77, 0, u8::try_from(128 + number % 127).unwrap());
                packet = dhcp::packet(
                    &rom,
                    Voice::Firmware,
                    random.random(),
                    Say::Request {
                        address,
                        server: SERVER,
                    },
                );
            }
            street.ether.shout(me, &packet)?;
        }
        Ok(())
    });
}

#[test]
fn broken_tftp_reads_nothing_writes_nothing_and_holds_nothing() {
    beside_a_ready_machine(|street, random| {
        let from = street.address()?;
        for name in [
            "../../../../etc/passwd",
            "/etc/passwd",
            "..\\..\\etc\\passwd",
            "loaders/../ram.json",
            "./ipxe.efi/..",
            "ipxe.efi/",
            "//ipxe.efi//",
            "",
            ".",
            "..",
            "\u{0}",
            "%2e%2e/ram.json",
            "gleaner.db",
            "tls/server.key",
            "IPXE.EFI\u{1}",
            &"a/".repeat(600),
        ] {
            ensure!(tftp::fetch(from, SERVER, name, true).is_err(), "{name:?} was served");
        }
        let socket = UdpSocket::bind((from, 0)).context("binding")?;
        let server = SocketAddr::from((SERVER, 69));
        for _ in 0..5_000 {
            let mut packet = match random.random_range(0..6) {
                0 => tftp::request("ipxe.efi"),
                // A write, an acknowledgement or data from nowhere, an error, an opcode that is none.
                1 => [&[0, 2][..], b"undionly.kpxe\0octet\0"].concat(),
                2 => vec![0, random.random_range(3..9), random.random(), random.random()],
                3 => [
                    tftp::request("ipxe.efi"),
                    b"blksize\x0099999999999999999999\0tsize\0-1\0windowsize\x0065535\0".to_vec(),
                ]
                .concat(),
                4 => [&[0, 1][..], b"ipxe.efi"].concat(),
                _ => (0..random.random_range(0..600)).map(|_| random.random()).collect(),
            };
            if random.random_bool(0.2) && !packet.is_empty() {
                let at = random.random_range(0..packet.len());
                packet[at] = random.random();
            }
            // From one port: whoever asks again and again has one transfer, not thousands.
            let _ = socket.send_to(&packet, server);
        }
        ensure!(!tftp::fetch(from, SERVER, "ipxe.efi", true)?.is_empty());
        Ok(())
    });
}

#[test]
fn broken_http_is_refused_in_words_and_reaches_no_file() {
    beside_a_ready_machine(|street, random| {
        let from = street.address()?;
        let plain = SocketAddr::from((SERVER, 8080));
        let root = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let root = root.lines().next().unwrap_or("root:");
        for path in [
            "/../../../../etc/passwd",
            "/ram/../../../etc/passwd",
            "/ram/1/../../gleaner.db",
            "/ram/%2e%2e/%2e%2e/gleaner.db",
            "/ram/1/%2e%2e%2f%2e%2e%2fgleaner.db",
            "/images/debian-13/1/..%2f..%2fgleaner.db",
            "/images/../tls/server.key",
            "/loaders/..%2fram.json",
            "/loaders/%00",
            "/ram/1/initrd%00.txt",
            "//etc/passwd",
            "/ram/1/",
            "/ram//vmlinuz",
            "/boot/ipxe?mac=../../x&uuid=%0a%0dkernel",
            "/boot/ipxe?mac=52-54-00-00-00-01%0aecho%20pwned",
            "/nodes/..%2f..%2f",
            "/%ff%fe",
            "http://elsewhere/etc/passwd",
        ] {
            let answer = rude::say(rude::connect(from, plain)?, &rude::request("GET", path, b""));
            let text = String::from_utf8_lossy(&answer);
            let status = rude::status(&answer).with_context(|| format!("{path}: {text}"))?;
            ensure!(
                !text.contains(root) && !text.contains("SQLite"),
                "{path} reached a file: {text}"
            );
            ensure!(
                !text.contains("\necho pwned") && !text.contains("\nkernel\n"),
                "{path} added a command: {text}"
            );
            ensure!(
                path.starts_with("/boot") || (400..500).contains(&status),
                "{path}: {status} {text}"
            );
        }
        let long = "a".repeat(100_000);
        for bytes in [
            "\0\0\0\0".into(),
            "GET\r\n\r\n".into(),
            format!("GET /{long} HTTP/1.1\r\n\r\n"),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"),
            "GET / HTTP/1.1\r\n".repeat(500),
            "POST /boot/ipxe HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".into(),
            "POST /boot/ipxe HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n".into(),
            "POST /boot/ipxe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n".into(),
            "GET /ram/1/initrd HTTP/1.1\r\nHost: x\r\nRange: bytes=99999999999-1,0-0,-0\r\n\r\n".into(),
        ] {
            rude::say(rude::connect(from, plain)?, bytes.as_bytes());
        }
        // Half a sentence on many lines, from many addresses: nobody else has to wait for the end of it.
        let mut hanging = Vec::new();
        for number in 0..300_u32 {
            let from = Ipv4Addr::new(10, 77, 0, u8::try_from(128 + number % 120).unwrap());
            let mut stream = rom::connect(from, if number % 2 == 0 { plain } else { (SERVER, 8443).into() })?;
            let _ = stream.write_all(b"GET /healthz HT");
            hanging.push(stream);
        }
        ensure!(rom::get(from, &street.url("/healthz"))?.status == 200);
        drop(hanging);
        for _ in 0..200 {
            let mut noise = vec![0; random.random_range(1..2000)];
            random.fill_bytes(&mut noise);
            for port in [8080, 8443] {
                let mut stream = rom::connect(from, (SERVER, port).into())?;
                let _ = stream.write_all(&noise);
            }
        }
        ensure!(
            street.metric("gleaner_tls_handshakes_failed_total")? > 0.0,
            "broken TLS is not counted"
        );
        Ok(())
    });
}

#[test]
fn handshakes_that_never_end_take_the_api_from_nobody() {
    let limits = "\n[limits]\nhttp_connections = 256\nhttp_connections_per_address = 8\n";
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}{limits}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        machine.run_until_serving(PATIENCE)?;
        // Eight from each of a hundred addresses: three times what there is.
        let mut hanging = Vec::new();
        for number in 0..800_u32 {
            let from = Ipv4Addr::new(10, 77, 0, u8::try_from(128 + number % 100).unwrap());
            for port in [8443, 8080] {
                hanging.push(rom::connect(from, (SERVER, port).into())?);
            }
        }
        machine.node()?.hang_up();
        let reply = machine.node()?.ask("GET", provisioner_api::path::TIME, None)?;
        ensure!(reply.status == 200, "the node was not heard: {}", reply.status);
        ensure!(rom::get(street.address()?, &street.url("/healthz"))?.status == 200);
        drop(hanging);
        machine.cut_power();
        machine.run_until_serving(PATIENCE)
    })
    .unwrap();
}

#[test]
fn a_registered_machine_that_sends_nonsense_is_told_so_and_changes_nothing() {
    beside_a_ready_machine(|street, random| {
        let mut liar = street.machine(Kind::UefiX64, 7);
        liar.run_until(PATIENCE, |step| matches!(step, tests::machine::Step::Registered(_)))?;
        let node = liar.node()?;
        let large = format!("{{\"boot_id\":\"{}\"}}", "x".repeat(2 << 20));
        let deep = "[".repeat(50_000);
        for path in [
            "/api/v1/node/register",
            "/api/v1/node/events",
            "/api/v1/node/progress",
            "/api/v1/node/heartbeat",
            "/api/v1/node/capsule",
        ] {
            let method = if path.ends_with("capsule") { "PUT" } else { "POST" };
            let mut noise = vec![0; 500];
            random.fill_bytes(&mut noise);
            for body in [
                &b""[..],
                b"{}",
                b"null",
                b"[]",
                b"{\"boot_id\":1e999}",
                &noise,
                large.as_bytes(),
                deep.as_bytes(),
            ] {
                node.hang_up();
                // A body that is too large may be cut off in the middle: then there is no answer to look at.
                let Ok(reply) = node.ask(method, path, Some(body)) else {
                    continue;
                };
                ensure!(
                    (400..500).contains(&reply.status),
                    "{method} {path}: {} {}",
                    reply.status,
                    reply.text()
                );
                let problem: provisioner_api::Problem = serde_json::from_slice(&reply.body).context("no problem")?;
                ensure!(
                    problem.status == reply.status && !problem.detail.is_empty(),
                    "{problem:?}"
                );
            }
        }
        for question in [
            "?seen=x",
            "?seen=-1&wait=5",
            "?wait=99999999999",
            "?seen=1&seen=2&wait=%ff",
        ] {
            let reply = node.ask("GET", &format!("/api/v1/node/orders{question}"), None)?;
            ensure!(reply.status < 500, "{question}: {}", reply.status);
        }
        liar.run_until_serving(PATIENCE)
            .context("the liar, once it speaks sense")
    });
}
