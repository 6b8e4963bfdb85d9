// SPDX-License-Identifier: Apache-2.0
//! Machines that their distribution's own installer installs: a fake of it, and of the machine, and the real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::{Context, Result, ensure};
use provisioner_api::{Life, RebootInto};
use tests::installer::{self, Installer, SYSTEMS};
use tests::machine::{Machine, Step};
use tests::rom::script::Script;
use tests::rom::{self, Kind};
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};

/// A laboratory whose machines become this system by its installer.
fn yard(os: &str) -> Yard {
    let profile = format!(
        "\n[profiles.compute]\ninstaller = \"{os}\"\n[profiles.compute.system]\nmirror = \"http://mirror.example/{os}\"\n"
    );
    let mut yard = Yard::new(&format!("{ALONE}{profile}{EVERYBODY}")).unwrap();
    let (_, files) = SYSTEMS.iter().find(|(name, _)| *name == os).unwrap();
    yard.import_medium(os, files).unwrap();
    yard
}

/// Runs up to a stage of the installer.
fn run_to(machine: &mut Machine, stage: &str) -> Result<()> {
    machine.run_until_stage(PATIENCE, stage)
}

/// What a URL is answered with, asked from where nobody's machine is.
fn status(street: &Street<'_>, url: &str) -> Result<u16> {
    Ok(rom::get(street.address()?, url)?.status)
}

#[test]
fn a_machine_becomes_ready_by_its_distributions_installer_and_boots_its_disk_ever_after() {
    for (number, (os, _)) in (1..).zip(SYSTEMS) {
        let mut yard = yard(os);
        yard.tell(|street| {
            let mut machine = street.machine(Kind::UefiX64, number);
            run_to(&mut machine, "done")?;
            machine.run_until_serving(PATIENCE)?;
            ensure!(street.state(&machine)? == "ready", "{os}");
            ensure!(machine.disk.writes == 2, "wiped once, installed once");
            // No install loop: it is asked from the network, again and again, and starts its disk.
            for _ in 0..3 {
                machine.cut_power();
                machine.run_until_serving(PATIENCE)?;
            }
            ensure!(machine.disk.writes == 2 && machine.life() == Some(Life::Installed));
            let node = street.summary(&machine)?;
            let kinds = street.server.kinds(&node.name)?;
            for kind in [
                "checked",
                "wiped",
                "installer-began",
                "installing",
                "written",
                "came-home",
            ] {
                ensure!(
                    kinds.iter().any(|known| known == kind),
                    "{os}: {kind} is missing: {kinds:?}"
                );
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{os}: {error:?}"));
    }
}

#[test]
fn a_rebuilt_node_is_the_same_node_although_its_installer_knew_nothing_of_it() {
    let mut yard = yard("opensuse-leap-16");
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        installer::is_the_same_when_rebuilt(street, &mut machine)
    })
    .unwrap();
}

#[test]
fn a_power_cut_in_the_middle_of_an_installer_begins_it_again_without_a_hand() {
    let mut yard = yard("debian-13");
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        for stage in ["pre", "partitioning", "late"] {
            run_to(&mut machine, stage)?;
            machine.cut_power();
        }
        run_to(&mut machine, "done")?;
        let node = street.summary(&machine)?;
        ensure!(node.state == "installing", "{node:?}");
        let events = street.server.events(&node.name)?;
        let began = events.iter().filter(|event| event.kind == "installer-began").count();
        ensure!(began == 4, "{events:#?}");
        ensure!(events.iter().all(|event| event.kind != "failed"), "{events:#?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_installer_that_fails_says_why_and_how_its_log_ended_and_the_machine_tries_again() {
    let mut yard = yard("ubuntu-24.04");
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        run_to(&mut machine, "packages")?;
        let log = ["E: Failed to fetch a package", "E: 404 Not Found"];
        machine
            .installer()?
            .fail("curtin: the mirror lacks what it lists", &log)?;
        let dead = machine.installer()?.answers.clone();
        let node = street.summary(&machine)?;
        ensure!(node.state == "approved", "{node:?}");
        let shown = street.server.cli(&["node", "show", &node.name])?;
        ensure!(log.iter().all(|line| shown.contains(line)), "{shown}");
        let page = rom::get(street.address()?, &street.url(&format!("/nodes/{}", node.name)))?.text();
        ensure!(log.iter().all(|line| page.contains(line)), "{page}");
        let events = street.server.events(&node.name)?;
        let why = events.iter().find(|event| event.kind == "failed").context("no event")?;
        ensure!(why.detail.contains("the mirror lacks what it lists"), "{why:?}");
        ensure!(status(street, &format!("{dead}/user-data"))? == 404);
        // It goes the whole way again: examined, wiped, installed.
        machine.cut_power();
        run_to(&mut machine, "done")?;
        ensure!(machine.disk.writes == 4, "wiped and partitioned twice");
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_installer_that_sends_all_of_its_logs_is_heard_and_no_screen_obeys_them() {
    let mut yard = yard("rocky-9");
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        run_to(&mut machine, "packages")?;
        let line = "\u{1b}[2J\u{1b}]0;owned\u{7}\r<script>alert(1)</script> \u{0}\u{9b}31m";
        let mut log = vec![line; 300_000];
        log.push("the very last line");
        machine.installer()?.fail("storage: no disk\u{1b}[31m", &log)?;
        let node = street.summary(&machine)?;
        let shown = street.server.cli(&["node", "show", &node.name])?;
        let page = rom::get(street.address()?, &street.url(&format!("/nodes/{}", node.name)))?.text();
        for text in [&shown, &page] {
            ensure!(text.contains("the very last line"), "{text}");
            let obeyed = |c: char| c.is_control() && c != '\n';
            ensure!(!text.contains(obeyed), "{text:?}");
        }
        ensure!(!page.contains("<script>alert"), "{page}");
        let events = street.server.events(&node.name)?;
        let why = events.iter().find(|event| event.kind == "failed").context("no event")?;
        ensure!(why.detail.contains("storage: no disk"), "{why:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_machine_gets_its_reserved_address_on_all_its_cards_and_without_one_it_is_not_approved() {
    const ADDRESS: &str = "10.77.0.200";
    let mac = |number| rom::Rom::new(Kind::UefiX64, number).mac_text();
    let sections = format!(
        "{ALONE}gateway = \"10.77.0.254\"\n[[reservations]]\nmac = \"{}\"\naddress = \"{ADDRESS}\"\n\
         [profiles.compute]\ninstaller = \"ubuntu-24.04\"\n[profiles.compute.system]\n\
         mirror = \"http://mirror.example/ubuntu\"\naddress = \"static\"\nbond = \"802.3ad\"\n{EVERYBODY}",
        mac(1)
    );
    let mut yard = Yard::new(&sections).unwrap();
    let (os, files) = SYSTEMS[1];
    yard.import_medium(os, files).unwrap();
    yard.tell(|street| {
        let second = |machine: &mut Machine, mac: &str| {
            let mut nic = machine.inventory.nics[0].clone();
            nic.mac = mac.into();
            nic.booted = false;
            machine.inventory.nics.push(nic);
        };
        let mut reserved = street.machine(Kind::UefiX64, 1);
        second(&mut reserved, "52:54:77:00:00:01");
        run_to(&mut reserved, "pre")?;
        let answers = &reserved.installer()?.answers;
        let said = rom::get(street.address()?, &format!("{answers}/user-data"))?.text();
        let config: serde_json::Value = serde_saphyr::from_str(&said)?;
        let network = &config["autoinstall"]["network"];
        let cards: Vec<&str> = network["ethernets"]
            .as_object()
            .context("no cards")?
            .values()
            .filter_map(|card| card["match"]["macaddress"].as_str())
            .collect();
        ensure!(cards == [mac(1).as_str(), "52:54:77:00:00:01"], "{network:#}");
        ensure!(
            network["bonds"]["bond0"]["parameters"]["mode"] == "802.3ad",
            "{network:#}"
        );
        // The profile's bridge for guests lies on the bond and has the address.
        let top = &network["bridges"]["br0"];
        ensure!(top["addresses"][0] == format!("{ADDRESS}/24"), "{network:#}");
        ensure!(top["routes"][0]["via"] == "10.77.0.254", "{network:#}");
        ensure!(top["nameservers"]["addresses"][0] == "10.77.0.1", "{network:#}");

        let mut nobodys = street.machine(Kind::UefiX64, 2);
        second(&mut nobodys, "52:54:77:00:00:02");
        nobodys.run_until_waiting(PATIENCE)?;
        let node = street.summary(&nobodys)?;
        ensure!(node.state == "enrolled", "{node:?}");
        let shown = street.server.cli(&["node", "show", &node.name])?;
        let wanted = format!("[[reservations]] with mac = \"{}\"", mac(2));
        ensure!(
            shown.contains("network.address: ") && shown.contains(&wanted),
            "{shown}"
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_secret_of_an_installation_opens_nothing_before_it_or_after_it() {
    let mut yard = yard("rocky-9");
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        run_to(&mut machine, "pre")?;
        let answers = machine.installer()?.answers.clone();
        ensure!(status(street, &format!("{answers}/ks.cfg"))? == 200);
        ensure!(status(street, &format!("{answers}/no-such"))? == 404);
        let (most, last) = answers.split_at(answers.len() - 1);
        let guessed = format!("{most}{}", if last == "0" { "1" } else { "0" });
        ensure!(status(street, &format!("{guessed}/ks.cfg"))? == 404);
        run_to(&mut machine, "done")?;
        for file in ["ks.cfg", "target.sh"] {
            ensure!(status(street, &format!("{answers}/{file}"))? == 404, "{file}");
        }
        for hook in ["progress", "failure", "webhook"] {
            let reply = installer::post(street.address()?, &format!("{answers}/{hook}"), "pre")?;
            ensure!(reply.status == 404, "{hook}: {}", reply.text());
        }
        ensure!(street.state(&machine)? == "installing", "and changes nothing");
        Ok(())
    })
    .unwrap();
}

#[test]
fn no_log_no_event_and_no_page_tells_the_secrets_of_an_installation() {
    let mut yard = yard("debian-13");
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        run_to(&mut machine, "late")?;
        let token = machine
            .installer()?
            .answers
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let join = machine.disk.system.as_ref().and_then(|system| system.join.clone());
        let join = join.context("nothing to join with")?;
        ensure!(token.len() == 64 && join.len() == 64 && token != join);
        run_to(&mut machine, "done")?;
        machine.run_until_serving(PATIENCE)?;
        let node = street.summary(&machine)?;
        let mut told = vec![street.server.log(), format!("{:?}", street.server.events(&node.name)?)];
        for path in ["/".to_owned(), format!("/nodes/{}", node.name), "/metrics".to_owned()] {
            told.push(rom::get(street.address()?, &street.url(&path))?.text());
        }
        told.push(street.server.get(&format!("/api/v1/nodes/{}", node.name))?.to_string());
        for text in told {
            ensure!(!text.contains(&token) && !text.contains(&join), "{text}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn who_asks_in_another_machines_name_is_not_told_its_secret() {
    let mut yard = yard("debian-13");
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        run_to(&mut machine, "pre")?;
        let mac = machine.rom.mac_text();
        for path in [
            format!("/boot/ipxe?mac={}", mac.replace(':', "-")),
            format!("/boot/grub?mac={mac}"),
        ] {
            // Asked twice: a question leaves nothing behind that would make the next one look better.
            for _ in 0..2 {
                let script = rom::get(street.address()?, &street.url(&path))?.text();
                ensure!(
                    !script.contains("/install/") && script.contains("STOPS HERE"),
                    "{script}"
                );
            }
        }
        // The machine itself is not held up by that.
        machine.cut_power();
        run_to(&mut machine, "done")
    })
    .unwrap();
}

#[test]
fn under_secure_boot_grub_starts_the_installer_of_every_family_over_tftp_and_over_http() {
    for (os, _) in SYSTEMS {
        let mut yard = yard(os);
        yard.import_signed_ram().unwrap();
        yard.tell(|street| {
            let mut machine = street.machine(Kind::BiosPxe, 1);
            machine.run_until(PATIENCE, |step| matches!(step, Step::Rebooted(RebootInto::Network)))?;
            for kind in [Kind::UefiX64, Kind::HttpX64] {
                machine.rom.kind = kind;
                let boot = machine.rom.boot_by_grub(&street.ether)?;
                let Script::Install { arguments, .. } = &boot.script else {
                    anyhow::bail!("{kind:?}: {}", boot.text)
                };
                ensure!(boot.fetch_kernel()? > 0, "{kind:?}");
                let from = street.address()?;
                Installer::start(from, arguments, &machine.inventory).with_context(|| format!("{kind:?}"))?;
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{os}: {error:?}"));
    }
}

/// Every URL of the server in a text.
fn urls(text: &str) -> Vec<String> {
    let base = "http://10.77.0.1:8080/";
    let ends = |c: char| c.is_whitespace() || "'\"<>();,`\\".contains(c);
    let rests = text.split(base).skip(1);
    rests
        .map(|rest| format!("{base}{}", rest.split(ends).next().unwrap_or_default()))
        .collect()
}

#[test]
fn all_that_an_installers_script_and_answers_name_is_served() {
    for (os, files) in SYSTEMS {
        let mut yard = yard(os);
        yard.tell(|street| {
            let mut machine = street.machine(Kind::UefiX64, 1);
            machine.run_until(PATIENCE, |step| matches!(step, Step::Rebooted(RebootInto::Network)))?;
            let boot = machine.rom.boot(&street.ether)?;
            let Script::Install { arguments, .. } = &boot.script else {
                anyhow::bail!("{}", boot.text)
            };
            boot.fetch_kernel()?;
            let answers = Installer::start(boot.address, arguments, &machine.inventory)?.answers;
            let medium = urls(&boot.text).into_iter().find_map(|url| {
                let rest = url.split_once("/media/")?.1;
                Some(street.url(&format!("/media/{}", rest.split('/').next()?)))
            });
            let medium = medium.context("no medium")?;
            let mut open = urls(&boot.text);
            open.extend(files.iter().map(|file| format!("{medium}/{file}")));
            let mut seen = std::collections::BTreeSet::new();
            let mut fetched = 0;
            while let Some(url) = open.pop() {
                let url = url.trim_end_matches('.').to_owned();
                // A folder is asked for the files in it.
                if url.trim_end_matches('/') == answers {
                    let below = ["user-data", "meta-data", "vendor-data"];
                    open.extend(below.map(|file| format!("{answers}/{file}")));
                } else if seen.insert(url.clone()) && url != medium {
                    let reply = rom::get(boot.address, &url)?;
                    let hook = ["/progress", "/failure", "/webhook"]
                        .iter()
                        .any(|hook| url.ends_with(hook));
                    ensure!(
                        reply.status == if hook { 405 } else { 200 },
                        "{os}: {url}: {}",
                        reply.status
                    );
                    fetched += 1;
                    if url.starts_with(&answers) && !hook {
                        open.extend(urls(&reply.text()));
                    }
                }
            }
            ensure!(fetched > 6, "{os}: only {fetched}: {seen:?}");
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{os}: {error:?}"));
    }
}
