// SPDX-License-Identifier: Apache-2.0
//! The server's disk is full: it says so, loses nothing, and goes on when there is room again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use provisioner_api::{Event, Order};
use tests::machine::Step;
use tests::made_up;
use tests::node;
use tests::rom::Kind;
use tests::rom::script::Script;
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};
use tests::space::Space;

/// Bytes of the state folder: room for the database, its log and the made-up images.
const ROOM: &str = "12m";
/// A node image that does not fit into what is left.
const LARGE: usize = 40 << 20;

/// A yard whose provisioner keeps its state on a disk of its own that is soon full.
fn small_yard() -> Yard {
    let mut yard = Yard::dark(24, &format!("{ALONE}{EVERYBODY}")).unwrap();
    let state = yard.server().state();
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", &format!("size={ROOM},mode=0700"), "tmpfs"])
        .arg(&state);
    yard.lab.space().run_program(&mut mount).unwrap();
    yard.lab.start_server().unwrap();
    yard.import_images().unwrap();
    yard
}

/// A file that takes the rest of the disk.
struct Filler(PathBuf);

impl Filler {
    fn new(space: &Space, state: &Path) -> Result<Self> {
        let path = state.join("filler");
        space.run(|| -> Result<()> {
            let mut file = std::fs::File::create(&path).context("creating the filler")?;
            let page = [0x5a_u8; 4096];
            while file.write_all(&page).is_ok() {}
            Ok(())
        })??;
        Ok(Self(path))
    }

    fn remove(self, space: &Space) -> Result<()> {
        space
            .run(|| std::fs::remove_file(&self.0))?
            .context("removing the filler")
    }
}

/// Everything in the server's state folder with its size, but for the database and its logs.
fn listing(space: &Space, state: &Path) -> Result<String> {
    space.run_program(
        Command::new("find")
            .arg(state)
            .args(["-type", "f", "-not", "-name", "gleaner.db*", "-not", "-name", "filler"])
            .args(["-printf", "%P %s\n"]),
    )
}

fn is_wiped(step: &Step) -> bool {
    matches!(step, Step::Reported(event) if matches!(**event, Event::Wiped { .. }))
}

#[test]
fn a_full_disk_stops_what_must_be_remembered_and_nothing_else() {
    let mut yard = small_yard();
    let state = yard.server().state();
    yard.tell(|street: &mut Street<'_>| {
        let mut ready = street.machine(Kind::BiosPxe, 1);
        ready.run_until_serving(PATIENCE)?;
        let mut halfway = street.machine(Kind::UefiX64, 2);
        halfway.run_until(PATIENCE, is_wiped)?;
        let before = street.server.nodes()?;

        let filler = Filler::new(street.space, &state)?;
        // Filling may leave a few bytes in the database's own log: an operator, whom no rate limits, uses them up.
        let note = halfway.node()?.event(Event::Note { text: "x".repeat(900) });
        let mut full = None;
        for extra in 0..3000 {
            if street.token(&format!("filler-{extra}")).is_err() {
                full = halfway.node()?.send(&note).err();
                break;
            }
        }
        let full = full.context("the disk never became full")?;
        ensure!(node::status(&full) == Some(507), "{full:#}");
        ensure!(
            format!("{full:#}").contains("make room"),
            "nobody is told what to do: {full:#}"
        );
        let doctor = street.server.get("/api/v1/doctor")?.to_string();
        ensure!(doctor.contains("disk-full") && doctor.contains("make room"), "{doctor}");
        // What was to be reported is still to be: it is refused, not swallowed.
        let written = halfway.node()?.event(Event::Written {
            bytes: 1,
            milliseconds: 1,
            mark: None,
        });
        ensure!(
            halfway
                .node()?
                .send(&written)
                .is_err_and(|error| node::status(&error) == Some(507))
        );
        // Who asks and changes nothing is answered.
        ensure!(matches!(halfway.node()?.orders(None, 0)?.order, Order::Install(_)));
        ready.node()?.heartbeat()?;
        let boot = ready.rom.boot(&street.ether)?;
        ensure!(matches!(boot.script, Script::LocalDisk { .. }), "{}", boot.text);
        let stranger = street.machine(Kind::UefiX64, 3).rom.boot(&street.ether)?;
        ensure!(matches!(stranger.script, Script::Discover { .. }), "{}", stranger.text);
        ensure!(street.server.nodes()?.len() == before.len());
        // A crash on top of it: it starts, answers, and knows everybody.
        street.server.kill();
        street.start_server().context("starting with a full disk")?;
        let states = |street: &Street<'_>| -> Result<Vec<_>> {
            Ok(street
                .server
                .nodes()?
                .into_iter()
                .map(|node| (node.id, node.state))
                .collect())
        };
        let known: Vec<_> = before
            .iter()
            .map(|node| (node.id.clone(), node.state.clone()))
            .collect();
        ensure!(states(street)? == known, "{:?}", states(street)?);
        ensure!(matches!(
            ready.rom.boot(&street.ether)?.script,
            Script::LocalDisk { .. }
        ));

        filler.remove(street.space)?;
        halfway.run_until_serving(PATIENCE)?;
        street.machine(Kind::UefiX64, 3).run_until_serving(PATIENCE)?;
        ensure!(street.server.nodes()?.len() == 3);
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_image_that_does_not_fit_leaves_nothing_behind() {
    let mut yard = small_yard();
    let state = yard.server().state();
    let large = made_up::image(yard.lab.folder(), "2", LARGE, &yard.signature).unwrap();
    yard.tell(|street| {
        let before = listing(street.space, &state)?;
        let refused = street.server.import(&large).expect_err("40 MB fit into 12");
        ensure!(
            format!("{refused:#}").contains("full") || format!("{refused:#}").contains("room"),
            "{refused:#}"
        );
        ensure!(
            listing(street.space, &state)? == before,
            "left behind: {}",
            listing(street.space, &state)?
        );
        // The one from before is still what is installed.
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.run_until_serving(PATIENCE)?;
        ensure!(machine.disk.system.context("no system")?.image.ends_with(" 1"));
        Ok(())
    })
    .unwrap();
}
