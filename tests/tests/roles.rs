// SPDX-License-Identifier: Apache-2.0
//! What nodes serve as: the page about roles is true, and a node is ready when what its role asks for holds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kickstart::families::Packages;
use kickstart::roles::Roles;
use provisioner_api::{Check, Event, Order, Serve};
use tests::folder::Folder;
use tests::machine::{Machine, Step};
use tests::node::inventory;
use tests::rom::{self, Kind};
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};
use tests::space::Space;

/// A web server of Python's is there in a second, on a busy machine in some more.
const SERVED: Duration = Duration::from_mins(1);

/// The files of the page's example, by their paths below the folder of roles.
fn example() -> BTreeMap<String, String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/roles.md");
    let page = fs::read_to_string(page).unwrap();
    let mut files = BTreeMap::new();
    let mut named = None;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let text = lines.by_ref().take_while(|line| *line != "```");
            let text: Vec<&str> = text.chain([""]).collect();
            let name = named.take().expect("a block without the name of its file");
            files.insert(name, text.join("\n"));
        } else if let Some(name) = line.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
            named = Some(name.to_owned());
        }
    }
    assert!(files.len() >= 4, "{files:?}");
    files
}

fn write(files: &BTreeMap<String, String>, folder: &Path) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// A laboratory whose machines are installed by Debian's installer for this role; the site has the page's own.
fn yard(role: &str) -> Yard {
    let profile = format!(
        "\n[profiles.compute]\ninstaller = \"debian-13\"\nrole = \"{role}\"\n\
         [profiles.compute.system]\nmirror = \"http://mirror.example/debian\"\n"
    );
    let mut yard = Yard::dark(24, ALONE).unwrap();
    let config = yard.server().config_file();
    write(&example(), &config.parent().unwrap().join("roles"));
    yard.server()
        .configure(&format!("{ALONE}{profile}{EVERYBODY}"))
        .unwrap();
    yard.lab.start_server().unwrap();
    yard.import_images().unwrap();
    yard.import_medium("debian-13", &["linux", "initrd.gz"]).unwrap();
    yard
}

/// The order to serve that a machine has now.
fn order(machine: &mut Machine) -> Result<Serve> {
    match machine.node()?.orders(None, 0)?.order {
        Order::Serve(serve) => Ok(serve),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Says what the node offers: these checks, each with whether it holds.
fn come_home(machine: &mut Machine, checks: &[(&str, bool)]) -> Result<()> {
    let role = order(machine)?.role.context("a node without a role")?;
    let mut report = inventory::report("10.77.0.200");
    report.role = role.name;
    if !role.guests {
        report.hypervisor = None;
        report.storage = None;
    }
    let check = |(name, passed): &(&str, bool)| Check {
        name: (*name).into(),
        passed: *passed,
        detail: if *passed { "holds" } else { "the page is not served" }.into(),
    };
    report.checks = checks.iter().map(check).collect();
    machine.node()?.report(Event::CameHome { report })
}

/// From the power button to the first registration of the system that the installer made.
fn joined(street: &Street<'_>) -> Result<Machine> {
    let mut machine = street.machine(Kind::BiosPxe, 1);
    let done = |step: &Step| matches!(step, Step::Installing("done"));
    machine.run_until(PATIENCE, done)?;
    machine.run_until(PATIENCE, |step| matches!(step, Step::Registered(_)))?;
    Ok(machine)
}

#[test]
fn the_pages_example_is_a_role_whose_check_finds_what_its_unit_serves() {
    let site = Folder::new().unwrap();
    let mut folder = kickstart::roles::Folder::new();
    for (path, text) in example() {
        folder.insert(path.strip_prefix("web/").unwrap().to_owned(), text);
    }
    let roles = Roles::with(&BTreeMap::from([("web".to_owned(), folder)])).unwrap();
    let made = roles.named("web").unwrap().on(Packages::Apt).unwrap();
    for file in &made.files {
        let path = site.path().join(file.path.as_str().trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file.contents.as_str()).unwrap();
    }
    let unit = fs::read_to_string(site.path().join("etc/systemd/system/web.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let start = start.replace("/srv/web", &site.path().join("srv/web").display().to_string());
    let words: Vec<&str> = start.split(' ').collect();
    // A network of its own: the port may be somebody's here.
    let space = Space::new().unwrap();
    space.ip("link set lo up").unwrap();
    let mut server = space.spawn(Command::new(words[0]).args(&words[1..])).unwrap();
    let check = site.path().join("usr/local/bin/web-check");
    let until = Instant::now() + SERVED;
    let said = loop {
        let said = space.run_program(Command::new("sh").arg(&check));
        if said.is_ok() || Instant::now() > until {
            break said;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(said.unwrap(), "the page is served\n");
}

#[test]
fn an_installer_is_given_the_role_and_its_node_is_ready_when_the_roles_checks_hold() {
    let mut yard = yard("web");
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        machine.run_until(PATIENCE, |step| matches!(step, Step::Installing("late")))?;
        let installer = machine.installer()?;
        let unit = installer.target()?.file("/etc/systemd/system/web.service")?.to_owned();
        ensure!(unit.contains("by the role web\n") && unit.contains(" 8000\n"), "{unit}");
        ensure!(installer.target()?.file("/etc/node-init/capsule.d/web.conf")? == "/var/lib/web/id\n");
        let preseed = rom::get(street.address()?, &format!("{}/preseed.cfg", installer.answers))?.text();
        let packages = preseed
            .lines()
            .find(|line| line.contains("pkgsel/include"))
            .unwrap_or_default();
        ensure!(
            ["python3", "smartmontools"].iter().all(|name| packages.contains(name)),
            "{packages}"
        );

        machine.run_until(PATIENCE, |step| matches!(step, Step::Registered(_)))?;
        let served = order(&mut machine)?;
        let role = served.role.context("no role")?;
        ensure!(
            role.name == "web" && !role.guests && served.bridge.is_none(),
            "{role:?}"
        );
        ensure!(role.units == ["ssh.service", "web.service"], "{role:?}");
        ensure!(role.checks.len() == 1 && role.checks[0].within == 10, "{role:?}");

        come_home(&mut machine, &[("network", true), ("page", false)])?;
        let node = street.summary(&machine)?;
        ensure!(node.state == "installing", "{node:?}");
        let shown = street.server.cli(&["node", "show", &node.name])?;
        ensure!(shown.contains("page: the page is not served"), "{shown}");
        let page = rom::get(street.address()?, &street.url(&format!("/nodes/{}", node.name)))?.text();
        ensure!(page.contains("the page is not served"), "{page}");
        come_home(&mut machine, &[("network", true), ("page", true)])?;
        ensure!(street.summary(&machine)?.state == "ready");
        let shown = street.server.cli(&["node", "show", &node.name])?;
        ensure!(shown.contains("web"), "{shown}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_plain_node_goes_from_the_power_button_to_ready_without_libvirt_and_is_rebuilt_as_itself() {
    let mut yard = yard("plain");
    yard.tell(|street| {
        let mut machine = joined(street)?;
        let role = order(&mut machine)?.role.context("no role")?;
        ensure!(
            role.name == "plain" && !role.guests && role.checks.is_empty(),
            "{role:?}"
        );
        machine.run_until_serving(PATIENCE)?;
        let node = street.summary(&machine)?;
        ensure!(node.state == "ready", "{node:?}");
        let before = machine.disk.system.clone().context("no system")?;

        street.command(&node.name, "rebuild")?;
        machine.run_until(PATIENCE, |step| matches!(step, Step::Installing("done")))?;
        machine.run_until_serving(PATIENCE)?;
        let after = machine.disk.system.clone().context("no system")?;
        ensure!(street.summary(&machine)?.state == "ready");
        ensure!(
            (&after.machine_id, &after.ssh_key) == (&before.machine_id, &before.ssh_key),
            "its capsule was put back"
        );
        ensure!(after.key != before.key, "a system that joins has a key of its own");
        let joined = street.server.events(&node.name)?;
        ensure!(
            joined.iter().filter(|event| event.kind == "joined").count() == 2,
            "{joined:#?}"
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_image_that_was_built_for_another_role_is_not_installed_and_the_screen_says_so() {
    let profile = "\n[profiles.compute]\nimage = \"debian-13\"\nrole = \"plain\"\n";
    let mut yard = Yard::new(&format!("{ALONE}{profile}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        let why = machine.run_until_waiting(PATIENCE)?;
        ensure!(
            why.contains("is for the role libvirt, and the profile wants plain") && why.contains("--role plain"),
            "{why}"
        );
        ensure!(machine.disk.writes == 0);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_broken_role_is_refused_when_the_configuration_is_read_with_its_place() {
    let mut yard = Yard::dark(24, ALONE).unwrap();
    let config = yard.server().config_file();
    let roles = config.parent().unwrap().join("roles");
    write(&example(), &roles);
    fs::write(roles.join("web/check.sh"), "#!/bin/sh\ncurl {{ values.prot }}\n").unwrap();
    yard.server().configure(ALONE).unwrap();
    let checked = Command::new(yard.server().program())
        .arg("--config")
        .arg(&config)
        .arg("check-config")
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success(), "{why}");
    assert!(why.contains("roles/web/check.sh:2: "), "{why}");
}
