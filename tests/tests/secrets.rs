// SPDX-License-Identifier: Apache-2.0
//! Whoever is not meant to know a secret cannot fetch it, by any path that the server has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::verbose_bit_mask)]

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use provisioner_api::{Event, Life, Order, path};
use serde_json::Value;
use tests::machine::{Machine, Step};
use tests::node::tls::{self, Key};
use tests::node::{self, Node};
use tests::rom::{self, Kind};
use tests::rude;
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};

/// What must not be heard: pieces that no harmless text contains.
fn secrets(victim: &Machine, token: &str) -> Vec<String> {
    let system = victim.disk.system.as_ref().unwrap();
    let key = system.key.lines().nth(1).unwrap().to_owned();
    vec![key, system.ssh_key.clone(), token.to_owned()]
}

/// Paths with their methods and tags, as the server describes itself.
fn routes(street: &Street<'_>) -> Result<Vec<(String, String, String)>> {
    let api: Value = street.server.get("/api/openapi.json")?;
    let mut routes = Vec::new();
    for (path, methods) in api["paths"].as_object().context("no paths")? {
        for (method, operation) in methods.as_object().context("no methods")? {
            let tag = operation["tags"][0].as_str().unwrap_or_default().to_owned();
            routes.push((method.to_uppercase(), path.clone(), tag));
        }
    }
    ensure!(routes.len() > 20, "only {} routes are described", routes.len());
    Ok(routes)
}

/// Who tries.
struct Thief<'a> {
    name: &'a str,
    from: Ipv4Addr,
    /// TLS with this configuration, or plain HTTP.
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Thief<'_> {
    fn ask(&self, method: &str, path: &str) -> Result<Vec<u8>> {
        let body: &[u8] = if matches!(method, "POST" | "PUT") {
            br#"{"name":"thief","folder":"/etc","why":"","profile":null}"#
        } else {
            b""
        };
        let request = rude::request(method, path, body);
        let address = |port| SocketAddr::from((Ipv4Addr::new(10, 77, 0, 1), port));
        Ok(match &self.tls {
            None => rude::say(rude::connect(self.from, address(8080))?, &request),
            Some(config) => {
                let stream = tls::connect(config, self.from, address(8443))?;
                rude::be_impatient(&stream)?;
                rude::say(stream.into_inner(), &request)
            }
        })
    }
}

#[test]
fn no_path_gives_a_secret_to_anybody_but_its_owner() {
    let mut yard = Yard::new(&format!(
        "{ALONE}\n[[auto_approve]]\nname = \"bios\"\nfirmware = \"bios\"\n"
    ))
    .unwrap();
    yard.tell(|street| {
        let mut victim = street.machine(Kind::BiosPxe, 1);
        victim.run_until_serving(PATIENCE)?;
        let mut other = street.machine(Kind::BiosPxe, 2);
        other.run_until_serving(PATIENCE)?;
        let mut unapproved = street.machine(Kind::UefiX64, 3);
        unapproved.run_until_waiting(PATIENCE)?;
        let pin = victim.disk.system.as_ref().unwrap().pin.clone();
        let name = street.summary(&victim)?.name;
        let secrets = secrets(&victim, &street.token("somebody")?);
        let from = street.address()?;
        let with = |key: Option<&Key>| tls::client(&pin, key).map(Some);
        let thieves = [
            Thief {
                name: "anybody by plain HTTP",
                from,
                tls: None,
            },
            Thief {
                name: "anybody by TLS",
                from,
                tls: with(None)?,
            },
            Thief {
                name: "a key that nobody knows",
                from,
                tls: with(Some(&Key::new()?))?,
            },
            Thief {
                name: "an unapproved machine",
                from,
                tls: with(Some(&unapproved.node()?.key))?,
            },
            Thief {
                name: "another node",
                from,
                tls: with(Some(&other.node()?.key))?,
            },
        ];
        for (method, path, tag) in routes(street)? {
            let path = path
                .replace("{name}", &name)
                .replace("{version}", "1")
                .replace("{*file}", "vmlinuz")
                .replace("{file}", "vmlinuz");
            for thief in &thieves {
                let heard = thief.ask(&method, &path)?;
                let (who, text) = (thief.name, String::from_utf8_lossy(&heard));
                ensure!(!heard.is_empty(), "{method} {path} by {who}: no answer");
                for secret in &secrets {
                    ensure!(!text.contains(secret), "{method} {path} tells {who} a secret:\n{text}");
                }
                let status = rude::status(&heard).with_context(|| format!("{method} {path}: {text}"))?;
                let right = match (tag.as_str(), thief.tls.is_some()) {
                    ("operator", true) => status == 401,
                    ("control", _) | ("operator" | "node", false) => status == 404 || status == 405,
                    _ => true,
                };
                ensure!(right, "{method} {path} ({tag}) by {who}: {status}");
            }
        }
        // And nothing that they tried was done.
        let states: Vec<_> = street.server.nodes()?.into_iter().map(|node| node.state).collect();
        ensure!(
            states.iter().filter(|state| *state == "ready").count() == 2 && states.len() == 3,
            "{states:?}"
        );
        let tokens = street.server.get("/api/v1/tokens")?;
        ensure!(tokens.as_array().is_some_and(|tokens| tokens.len() == 1), "{tokens}");
        let log = street.server.log();
        for secret in &secrets {
            ensure!(!log.contains(secret), "the log tells a secret");
        }
        Ok(())
    })
    .unwrap();
}

/// The capsule is refused, and not because none is kept.
fn has_no_capsule(node: &mut Node, who: &str) -> Result<()> {
    let reply = node.ask("GET", path::CAPSULE, None)?;
    ensure!(
        (400..500).contains(&reply.status),
        "{who} was answered with {}: {}",
        reply.status,
        reply.text()
    );
    Ok(())
}

#[test]
fn a_capsule_goes_to_its_own_machine_while_that_is_installed_and_to_nobody_else_ever() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut victim = street.machine(Kind::UefiX64, 1);
        let boot = victim.run_until(PATIENCE, |step| matches!(step, Step::Booted(_)))?;
        let Step::Booted(boot) = boot else {
            unreachable!("just matched")
        };
        victim.run_until_serving(PATIENCE)?;
        let controller = boot.argument("gleaner.controller").unwrap().parse()?;
        let pin = boot.argument("gleaner.pin").unwrap();
        let start = |key| Node::start(boot.address, controller, pin, key);
        has_no_capsule(victim.node()?, "the installed system")?;
        // Labels can be copied: while the node serves, a machine that looks like it gets nothing.
        let mut twin = start(Key::new()?)?;
        twin.register(Life::Ram, &victim.inventory)?;
        has_no_capsule(&mut twin, "a machine that looks like a ready node")?;
        let mut stolen = start(Key::new()?)?;
        let refused = stolen
            .register(Life::Installed, &victim.inventory)
            .expect_err("an unknown key came home");
        ensure!(
            node::status(&refused).is_some_and(|status| (400..500).contains(&status)),
            "{refused:#}"
        );
        has_no_capsule(&mut stolen, "an installed system that nobody knows")?;

        let mut bystander = street.machine(Kind::BiosPxe, 2);
        bystander.run_until(
            PATIENCE,
            |step| matches!(step, Step::Reported(event) if matches!(**event, Event::Wiped { .. })),
        )?;
        let name = street.summary(&victim)?.name;
        victim.node()?.hang_up();
        street.command(&name, "rebuild")?;
        victim.run_until(PATIENCE, |step| matches!(step, Step::Rebooted(_)))?;
        let is_wiped = |step: &Step| matches!(step, Step::Reported(event) if matches!(**event, Event::Wiped { .. }));
        victim.run_until(PATIENCE, is_wiped)?;
        ensure!(matches!(victim.node()?.orders(None, 0)?.order, Order::Install(_)));
        let capsule = victim.node()?.capsule()?.context("its own machine gets no capsule")?;
        ensure!(capsule.name == name);
        // At the same moment the other machine, installed for the first time, has none.
        ensure!(bystander.node()?.capsule()?.is_none(), "a bystander got a capsule");
        victim.node()?.report(Event::Written {
            bytes: 1,
            milliseconds: 1,
            mark: None,
        })?;
        has_no_capsule(victim.node()?, "the RAM environment after its work")
    })
    .unwrap();
}

#[test]
fn a_token_opens_the_operator_api_until_it_is_revoked() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let boot = street.machine(Kind::BiosIpxe, 1).rom.boot(&street.ether)?;
        let client = tls::client(boot.argument("gleaner.pin").unwrap(), None)?;
        let token = street.token("lab")?;
        let ask = |token: &str| -> Result<Option<u16>> {
            let stream = tls::connect(&client, street.address()?, "10.77.0.1:8443".parse()?)?;
            let head = format!(
                "GET /api/v1/nodes HTTP/1.1\r\nHost: controller\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            Ok(rude::status(&rude::say(stream.into_inner(), head.as_bytes())))
        };
        ensure!(ask(&token)? == Some(200));
        for wrong in ["", "x", &token[..token.len() - 1], &format!("{token}0")] {
            ensure!(ask(wrong)? == Some(401), "the token {wrong:?} opens the door");
        }
        let gone = street.server.ask("DELETE", "/api/v1/tokens/lab", None)?;
        ensure!(gone.status == 204, "{}", gone.text());
        ensure!(ask(&token)? == Some(401), "a revoked token opens the door");
        ensure!(rom::get(street.address()?, &street.url("/api/v1/nodes"))?.status == 404);
        Ok(())
    })
    .unwrap();
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn what_the_server_keeps_can_be_read_by_nobody_else_on_its_machine() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    let secrets = yard
        .tell(|street| {
            let mut victim = street.machine(Kind::UefiX64, 1);
            victim.run_until_serving(PATIENCE)?;
            Ok(secrets(&victim, "gleaner_"))
        })
        .unwrap();
    let state = yard.server().state();
    let hidden = std::fs::metadata(&state).unwrap().permissions().mode() & 0o077 == 0;
    let mut found = Vec::new();
    files(&state, &mut found).unwrap();
    let holds = |content: &[u8], word: &str| content.windows(word.len()).any(|window| window == word.as_bytes());
    let mut holders = 0;
    for file in found
        .iter()
        .filter(|file| file.extension().is_none_or(|kind| kind != "efi"))
    {
        let Ok(content) = std::fs::read(file) else { continue };
        let words = secrets.iter().map(String::as_str).chain(["PRIVATE KEY"]);
        if words.into_iter().any(|word| holds(&content, word)) {
            holders += 1;
            let mode = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
            assert!(
                hidden || mode & 0o077 == 0,
                "{} holds secrets and has mode {mode:o}",
                file.display()
            );
        }
    }
    assert!(
        holders >= 2,
        "neither the server's key nor the capsules were found: look elsewhere"
    );
}
