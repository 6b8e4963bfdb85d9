// SPDX-License-Identifier: Apache-2.0
//! What may be booted and installed: only what a trusted key has signed, whole, and to the last byte.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng;
use serde_json::Value;
use tests::machine::Step;
use tests::made_up::{self, Signature};
use tests::rom::Kind;
use tests::rom::script::Script;
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};

/// Bytes of an image whose import takes long enough to be killed in the middle.
const LARGE: usize = 60 << 20;

/// Turns one bit over.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let at = rand::rng().random_range(0..bytes.len());
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// Names, versions and problems of what the server holds.
fn held(street: &Street<'_>) -> Result<Vec<(String, String, Value)>> {
    let images = street.server.get("/api/v1/images")?;
    let word = |image: &Value, key: &str| image[key].as_str().unwrap_or_default().to_owned();
    let images = images.as_array().context("no list of images")?;
    Ok(images
        .iter()
        .map(|image| (word(image, "name"), word(image, "version"), image["problem"].clone()))
        .collect())
}

/// Every file and folder of the server's images.
fn listing(state: &Path) -> String {
    let find = Command::new("find")
        .arg(state.join("images"))
        .arg(state.join("ram"))
        .args(["-printf", "%P %y\n"])
        .output();
    let mut lines: Vec<String> = String::from_utf8_lossy(&find.unwrap().stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn an_image_with_one_wrong_bit_or_a_foreign_signature_is_refused_before_it_can_boot() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    let (place, state) = (yard.lab.folder().to_owned(), yard.server().state());
    let image = |version: &str, key: &Signature| made_up::image(&place, version, 9 << 20, key).unwrap();
    let chunk = image("2", &yard.signature);
    damage(&chunk.join("chunks"));
    let manifest = image("3", &yard.signature);
    // Well-formed, and not what was signed.
    let text = fs::read_to_string(manifest.join("manifest.json")).unwrap();
    fs::write(
        manifest.join("manifest.json"),
        text.replacen("\"created\": 1", "\"created\": 2", 1),
    )
    .unwrap();
    let signature = image("4", &yard.signature);
    let text = fs::read_to_string(signature.join("manifest.json.minisig")).unwrap();
    fs::write(
        signature.join("manifest.json.minisig"),
        text.replacen("RU", "RV", 1).replacen("made up", "made up!", 1),
    )
    .unwrap();
    let foreign = image("5", &Signature::new());
    let short = image("6", &yard.signature);
    fs::write(short.join("chunks"), b"short").unwrap();
    let ram = made_up::ram(&place, "2", &yard.signature).unwrap();
    damage(&ram.join("initrd"));
    let unsigned = made_up::ram(&place, "3", &yard.signature).unwrap();
    fs::remove_file(unsigned.join("ram.json.minisig")).unwrap();
    let foreign_ram = made_up::ram(&place, "4", &Signature::new()).unwrap();
    yard.tell(|street| {
        let (before, files) = (held(street)?, listing(&state));
        let reasons = [
            (&chunk, "chunk"),
            (&manifest, "sign"),
            (&signature, "sign"),
            (&foreign, "key"),
            (&short, "bytes"),
            (&ram, "initrd"),
            (&unsigned, "minisig"),
            (&foreign_ram, "key"),
        ];
        for (folder, reason) in reasons {
            let refused = street.server.import(folder).expect_err(&folder.display().to_string());
            ensure!(
                format!("{refused:#}").contains(reason),
                "{}: {refused:#}",
                folder.display()
            );
            ensure!(held(street)? == before, "{} is listed", folder.display());
            ensure!(
                listing(&state) == files,
                "{} left something behind:\n{}",
                folder.display(),
                listing(&state)
            );
        }
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.run_until_serving(PATIENCE)?;
        ensure!(machine.disk.system.context("no system")?.image.ends_with(" 1"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_a_withdrawn_key_has_signed_is_not_booted_any_more() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    let config = yard.server().config_file();
    let key = config.parent().unwrap().join("trusted-keys/made-up.pub");
    yard.tell(|street| {
        let mut ready = street.machine(Kind::BiosIpxe, 1);
        ready.run_until_serving(PATIENCE)?;
        fs::remove_file(&key).context("withdrawing the key")?;
        street.server.stop()?;
        street.start_server()?;
        ensure!(
            held(street)?.iter().all(|(_, _, problem)| problem.is_string()),
            "{:?}",
            held(street)?
        );
        let boot = street.machine(Kind::BiosIpxe, 2).rom.boot(&street.ether)?;
        let Script::Stop { said } = &boot.script else {
            anyhow::bail!("not stopped: {}", boot.text)
        };
        ensure!(
            said.iter().any(|line| line.contains("key") || line.contains("sign")),
            "{said:?}"
        );
        // What is installed runs on.
        ready.cut_power();
        ready.run_until_serving(PATIENCE)
    })
    .unwrap();
}

#[test]
fn an_import_that_is_killed_in_the_middle_leaves_nothing_or_the_whole_image() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    let large = made_up::image(yard.lab.folder(), "2", LARGE, &yard.signature).unwrap();
    let state = yard.server().state();
    yard.tell(|street| {
        let before = listing(&state);
        let mut left_nothing = 0;
        for moment in [0, 10, 40, 80, 160, 320].map(Duration::from_millis) {
            kill_during_import(street, &large, moment)?;
            street.start_server()?;
            if listing(&state) != before {
                // The rename was done and only the answer was lost.
                break;
            }
            left_nothing += 1;
        }
        ensure!(left_nothing > 0, "no import was interrupted");
        if listing(&state) == before {
            ensure!(
                held(street)?.iter().all(|(_, version, _)| version == "1"),
                "{:?}",
                held(street)?
            );
            street.server.import(&large)?;
        }
        // Whole: nothing is wrong with it, and a machine becomes a node of it.
        ensure!(
            held(street)?
                .iter()
                .any(|(_, version, problem)| version == "2" && problem.is_null()),
            "{:?}",
            held(street)?
        );
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.run_until(PATIENCE, |step| matches!(step, Step::Serving))?;
        ensure!(machine.disk.system.context("no system")?.image.ends_with(" 2"));
        Ok(())
    })
    .unwrap();
}

/// Ends the server with SIGKILL, `moment` after its store shows that an import of `image` has begun.
fn kill_during_import(street: &mut Street<'_>, image: &Path, moment: Duration) -> Result<()> {
    let state = street.server.state();
    let before = listing(&state);
    let pid = street.server.pid().context("the provisioner does not run")?;
    let pid = Pid::from_raw(i32::try_from(pid)?);
    std::thread::scope(|scope| {
        let server = &*street.server;
        let import = scope.spawn(|| server.import(image));
        let end = Instant::now() + PATIENCE;
        while !import.is_finished() && listing(&state) == before && Instant::now() < end {}
        std::thread::sleep(moment);
        kill(pid, Signal::SIGKILL).context("killing the provisioner")?;
        // An error: the server is gone. No error: it had answered already.
        let _ = import.join().expect("the import's thread");
        Ok::<_, anyhow::Error>(())
    })?;
    street.server.kill();
    Ok(())
}
