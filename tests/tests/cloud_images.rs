// SPDX-License-Identifier: Apache-2.0
//! Machines that become nodes by a distribution's ready-made image: a fake of its cloud-init, and of the machine, and the
//! real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::{Context, Result, ensure};
use provisioner_api::{Event, Life, Order, Stage};
use tests::installer;
use tests::machine::{Machine, Step};
use tests::made_up::CLOUD_IMAGE;
use tests::rom::{self, Kind};
use tests::server::{ALONE, EVERYBODY, PATIENCE, Yard};

/// What a profile for such an image says.
const CLOUD: &str = "\n[profiles.compute]\ninstaller = \"cloud-debian\"\nimage = \"debian-13-cloud\"\n\
                     [profiles.compute.system]\nmirror = \"http://mirror.example/debian\"\n";

/// A laboratory whose machines become nodes by a ready-made image.
fn yard() -> Yard {
    let mut yard = Yard::new(&format!("{ALONE}{CLOUD}{EVERYBODY}")).unwrap();
    yard.import_cloud_image().unwrap();
    yard
}

/// Runs up to a stage of the first start.
fn run_to(machine: &mut Machine, stage: &str) -> Result<()> {
    machine.run_until_stage(PATIENCE, stage)
}

/// Runs up to where the image is to be written.
fn run_to_writing(machine: &mut Machine) -> Result<()> {
    let wiped = |step: &Step| matches!(step, Step::Reported(event) if matches!(event.as_ref(), Event::Wiped { .. }));
    machine.run_until(PATIENCE, wiped).map(drop)
}

#[test]
fn a_machine_becomes_ready_by_a_ready_made_image_and_boots_its_disk_ever_after() {
    let mut yard = yard();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        let stages = [
            ("pre", Stage::FirstBoot),
            ("packages", Stage::Packages),
            ("late", Stage::SettingUp),
            ("done", Stage::FirstBoot),
        ];
        for (word, stage) in stages {
            run_to(&mut machine, word)?;
            let node = street.summary(&machine)?;
            ensure!(node.state == "installing", "{word}: {node:?}");
            ensure!(node.progress.map(|progress| progress.stage) == Some(stage), "{word}");
        }
        machine.run_until_serving(PATIENCE)?;
        ensure!(street.state(&machine)? == "ready");
        ensure!(machine.disk.writes == 2, "wiped once, written once");
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
            "written",
            "installer-began",
            "installing",
            "joined",
            "came-home",
        ] {
            ensure!(kinds.iter().any(|known| known == kind), "{kind} is missing: {kinds:?}");
        }
        let system = machine.disk.system.as_ref().context("no system")?;
        ensure!(system.name == node.name, "{system:?}");
        let shown = street.server.cli(&["template", "render", &node.name])?;
        for word in ["beside its image", "==> user-data <==", "#cloud-config", &node.name] {
            ensure!(shown.contains(word), "{shown}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_node_that_is_rebuilt_by_a_ready_made_image_is_the_same_node() {
    let mut yard = yard();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        installer::is_the_same_when_rebuilt(street, &mut machine)
    })
    .unwrap();
}

#[test]
fn a_power_cut_while_the_image_is_written_begins_the_work_again_with_other_secrets() {
    let mut yard = yard();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::BiosPxe, 1);
        run_to_writing(&mut machine)?;
        let seed = |machine: &mut Machine| match machine.node()?.orders(None, 0)?.order {
            Order::Install(install) => install.seed.context("no seed"),
            other => anyhow::bail!("{other:?}"),
        };
        let first = seed(&mut machine)?;
        ensure!(first == seed(&mut machine)?, "asked twice, answered alike");
        machine.cut_power();
        run_to_writing(&mut machine)?;
        let second = seed(&mut machine)?;
        let id = |seed: &provisioner_api::Seed| {
            let meta = seed.files.iter().find(|file| file.name == "meta-data");
            meta.map(|file| file.content.clone())
        };
        ensure!(
            id(&first).is_some() && id(&first) != id(&second),
            "cloud-init would take it for done"
        );
        machine.run_until_serving(PATIENCE)?;
        ensure!(street.state(&machine)? == "ready");
        ensure!(machine.disk.writes == 3, "wiped twice, written once");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_power_cut_in_the_middle_of_the_first_start_begins_that_again_without_a_hand() {
    let mut yard = yard();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        for stage in ["pre", "packages", "late"] {
            run_to(&mut machine, stage)?;
            machine.cut_power();
        }
        machine.run_until_serving(PATIENCE)?;
        let node = street.summary(&machine)?;
        ensure!(node.state == "ready" && machine.disk.writes == 2, "{node:?}");
        let kinds = street.server.kinds(&node.name)?;
        ensure!(
            kinds.iter().filter(|kind| *kind == "installer-began").count() == 4,
            "{kinds:?}"
        );
        ensure!(kinds.iter().all(|kind| kind != "failed"), "{kinds:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_first_start_that_fails_says_why_and_how_its_log_ended_and_the_machine_is_installed_anew() {
    let mut yard = yard();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        let log = ["E: Unable to locate package htpo", "E: 100"];
        for tries in 1..=3 {
            run_to(&mut machine, "packages")?;
            let first_start = machine.installer()?;
            first_start.fail("late step, packages: ended with 100", &log)?;
            let dead = format!("{}/progress", first_start.answers);
            let node = street.summary(&machine)?;
            let wanted = if tries < 3 { "approved" } else { "failed" };
            ensure!(node.state == wanted, "try {tries}: {node:?}");
            ensure!(installer::post(street.address()?, &dead, "late")?.status == 404);
            // Its script starts the machine again.
            machine.cut_power();
        }
        let node = street.summary(&machine)?;
        ensure!(node.reason.contains("packages: ended with 100"), "{node:?}");
        let shown = street.server.cli(&["node", "show", &node.name])?;
        ensure!(log.iter().all(|line| shown.contains(line)), "{shown}");
        let page = rom::get(street.address()?, &street.url(&format!("/nodes/{}", node.name)))?.text();
        ensure!(log.iter().all(|line| page.contains(line)), "{page}");
        ensure!(
            machine.run_until_waiting(PATIENCE)?.contains("retry"),
            "it waits in RAM for a person"
        );
        street.command(&node.name, "retry")?;
        machine.run_until_serving(PATIENCE)?;
        ensure!(street.state(&machine)? == "ready" && machine.disk.writes == 8);
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_secrets_of_a_seed_open_nothing_once_the_node_is_ready_or_is_not_wanted_any_more() {
    let mut yard = yard();
    yard.tell(|street| {
        for (number, end) in (1..).zip(["ready", "rebuild", "retire"]) {
            let mut machine = street.machine(Kind::UefiX64, number);
            run_to(&mut machine, "late")?;
            let hooks = machine.installer()?.answers.clone();
            let join = machine.disk.system.as_ref().and_then(|system| system.join.clone());
            let join = join.context("nothing to join with")?;
            for file in ["user-data", "meta-data", "target.sh"] {
                let reply = rom::get(street.address()?, &format!("{hooks}/{file}"))?;
                ensure!(reply.status == 404, "a seed is not on the wire: {file}");
            }
            if end != "retire" {
                machine.run_until_serving(PATIENCE)?;
            }
            let name = street.summary(&machine)?.name;
            if end != "ready" {
                street.command(&name, end)?;
            }
            for hook in ["progress", "failure", "webhook"] {
                let reply = installer::post(street.address()?, &format!("{hooks}/{hook}"), "pre")?;
                ensure!(reply.status == 404, "{end}: {hook}: {}", reply.text());
            }
            let mut told = vec![street.server.log(), format!("{:?}", street.server.events(&name)?)];
            for path in ["/".to_owned(), format!("/nodes/{name}"), "/metrics".to_owned()] {
                told.push(rom::get(street.address()?, &street.url(&path))?.text());
            }
            told.push(street.server.get(&format!("/api/v1/nodes/{name}"))?.to_string());
            let token = hooks.rsplit('/').next().unwrap_or_default();
            for text in told {
                ensure!(!text.contains(token) && !text.contains(&join), "{end}: {text}");
            }
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn no_machine_but_the_one_that_is_being_installed_is_given_a_seed() {
    let mut yard = Yard::new(&format!("{ALONE}{CLOUD}")).unwrap();
    yard.import_cloud_image().unwrap();
    yard.tell(|street| {
        let mut stranger = street.machine(Kind::UefiX64, 2);
        stranger.run_until_waiting(PATIENCE)?;
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.run_until_waiting(PATIENCE)?;
        street.approve(&street.summary(&machine)?.name)?;
        run_to_writing(&mut machine)?;
        let order = machine.node()?.orders(None, 0)?.order;
        ensure!(
            matches!(&order, Order::Install(install) if install.seed.is_some()),
            "{order:?}"
        );
        let other = stranger.node()?.orders(None, 0)?.order;
        ensure!(matches!(other, Order::Wait { .. }), "{other:?}");
        let mac = machine.rom.mac_text();
        for path in [
            format!("/boot/ipxe?mac={}", mac.replace(':', "-")),
            format!("/boot/grub?mac={mac}"),
            "/".into(),
            "/nodes/node-002".into(),
        ] {
            let text = rom::get(street.address()?, &street.url(&path))?.text();
            ensure!(!text.contains("/install/"), "{path}: {text}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_image_that_does_not_fit_its_profile_is_refused_in_words_before_anything_is_written() {
    for (profile, words) in [
        (CLOUD.replace(CLOUD_IMAGE, "debian-13"), "images build cloud"),
        (
            format!("\n[profiles.compute]\nimage = \"{CLOUD_IMAGE}\"\n"),
            "a distribution's ready-made one",
        ),
    ] {
        let mut yard = Yard::new(&format!("{ALONE}{profile}{EVERYBODY}")).unwrap();
        yard.import_cloud_image().unwrap();
        yard.tell(|street| {
            let mut machine = street.machine(Kind::UefiX64, 1);
            let why = machine.run_until_waiting(PATIENCE)?;
            ensure!(why.contains(words), "{why}");
            ensure!(machine.disk.writes == 0);
            let status = street.server.cli(&["status"])?;
            ensure!(status.contains(words), "{status}");
            Ok(())
        })
        .unwrap();
    }
}
