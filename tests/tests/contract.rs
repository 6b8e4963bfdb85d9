// SPDX-License-Identifier: Apache-2.0
//! What the ladder offers is really there: every file name and URL, for every architecture, loader and decision.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anyhow::{Context, Result, ensure};
use provisioner_api::SeenCard;
use tests::made_up::{self, LOADERS};
use tests::rom::dhcp::Voice;
use tests::rom::script::{self, Script};
use tests::rom::{self, Kind, Rom, tftp};
use tests::server::{ALONE, EVERYBODY, PATIENCE, Street, Yard};
use tests::wait::until;

/// Fetches every URL of a script, whichever branch names it.
fn all_is_served(street: &Street<'_>, text: &str) -> Result<()> {
    let urls = script::urls(text);
    ensure!(!urls.is_empty(), "a script without URL:\n{text}");
    for url in urls {
        let reply = rom::get(street.address()?, &url)?;
        ensure!(
            reply.status == 200 && !reply.body.is_empty(),
            "{url} was answered with {}",
            reply.status
        );
    }
    Ok(())
}

#[test]
fn whatever_a_machine_is_told_to_load_is_there() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    yard.tell(|street| {
        for (number, kind) in (1..).zip(Kind::ALL) {
            let mut machine = street.machine(kind, number);
            // `boot` fetches the loader, and `run_until_serving` kernel, initramfs and image.
            let boot = machine.rom.boot(&street.ether)?;
            ensure!(
                matches!(boot.script, Script::Discover { .. }),
                "{kind:?} unknown: {}",
                boot.text
            );
            all_is_served(street, &boot.text).with_context(|| format!("{kind:?}, unknown"))?;
            machine.run_until_serving(PATIENCE)?;
            let boot = machine.rom.boot(&street.ether)?;
            ensure!(
                matches!(boot.script, Script::LocalDisk { .. }),
                "{kind:?} ready: {}",
                boot.text
            );
            all_is_served(street, &boot.text).with_context(|| format!("{kind:?}, ready"))?;
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn every_loader_comes_whole_over_tftp_and_over_http() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let (from, server) = (street.address()?, "10.77.0.1".parse()?);
        for loader in LOADERS {
            let http = rom::get(from, &street.url(&format!("/loaders/{loader}")))?;
            ensure!(http.status == 200, "{loader}: {}", http.status);
            for options in [true, false] {
                ensure!(
                    tftp::fetch(from, server, loader, options)? == http.body,
                    "{loader} differs over TFTP"
                );
            }
            // Firmware and iPXE differ in whether they write the slash.
            ensure!(
                tftp::fetch(from, server, &format!("/{loader}"), true)? == http.body,
                "/{loader} differs"
            );
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_script_beside_a_chained_ipxe_leads_to_the_boot_script() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let (from, server) = (street.address()?, "10.77.0.1".parse()?);
        let text = String::from_utf8(tftp::fetch(from, server, "autoexec.ipxe", true)?)?;
        let text = text
            .replace("${netX/mac:hexhyp}", "52-54-00-77-00-01")
            .replace("${uuid}", "4c616200-7777-4000-8000-000000000001")
            .replace("${platform}", "efi");
        ensure!(!script::urls(&text).is_empty(), "no URL in {text}");
        for url in script::urls(&text) {
            let reply = rom::get(from, &url)?;
            ensure!(reply.status == 200, "{url} was answered with {}", reply.status);
            let script = script::parse(&reply.text(), "52-54-00-77-00-01")?;
            ensure!(matches!(script, Script::Discover { .. }), "{script:?}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn without_a_ram_environment_a_machine_says_what_is_missing_and_asks_again() {
    let mut yard = Yard::dark(24, ALONE).unwrap();
    yard.lab.start_server().unwrap();
    yard.tell(|street| {
        for kind in [Kind::BiosIpxe, Kind::UefiIpxe] {
            let boot = Rom::new(kind, 1).boot(&street.ether)?;
            let Script::Stop { said } = &boot.script else {
                anyhow::bail!("not stopped: {}", boot.text)
            };
            ensure!(
                said.iter().any(|line| line.contains("import")),
                "nobody is told what to do: {said:?}"
            );
            all_is_served(street, &boot.text)?;
        }
        // What has no loader is offered none, rather than one that is not there.
        let offer = Rom::new(Kind::UefiX64, 2)
            .offer(&street.ether, Voice::Firmware)?
            .context("no offer")?;
        ensure!(offer.boot_file.is_empty(), "{:?} was offered", offer.boot_file);
        Ok(())
    })
    .unwrap();
    yard.import_images().unwrap();
    yard.tell(|street| {
        let boot = Rom::new(Kind::BiosIpxe, 1).boot(&street.ether)?;
        ensure!(matches!(boot.script, Script::Discover { .. }), "{}", boot.text);
        Ok(())
    })
    .unwrap();
}

#[test]
fn answers_reach_a_card_without_an_address_whether_it_wants_them_broadcast_or_not() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        for (number, broadcast) in [(1, true), (2, false)] {
            let rom = Rom {
                broadcast,
                ..Rom::new(Kind::UefiX64, number)
            };
            let first = rom.boot(&street.ether)?;
            ensure!(
                rom.boot(&street.ether)?.address == first.address,
                "another address for the same card"
            );
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn grub_asks_on_the_screen_of_an_unknown_machine_and_goes_on_to_its_disk_by_itself() {
    let mut yard = Yard::new(&format!("{ALONE}\n[enrolment]\nunknown = \"ask\"\n")).unwrap();
    yard.import_signed_ram().unwrap();
    yard.tell(|street| {
        for (number, kind) in [(1, Kind::UefiX64), (2, Kind::HttpX64)] {
            let boot = Rom::new(kind, number).boot_by_grub(&street.ether)?;
            let Script::Ask { disk, join, wait: 10 } = &boot.script else {
                anyhow::bail!("{kind:?}: {}", boot.text)
            };
            ensure!(matches!(boot.choose(disk)?, Script::LocalDisk { .. }), "{kind:?}");
            ensure!(matches!(boot.choose(join)?, Script::Discover { .. }), "{kind:?}");
            // Who was let in is not asked again.
            let again = Rom::new(kind, number).boot_by_grub(&street.ether)?;
            ensure!(matches!(again.script, Script::Discover { .. }), "{}", again.text);
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn where_the_signed_loaders_are_there_uefi_comes_by_shim_and_grub_over_tftp_and_over_http() {
    let mut yard = Yard::new(&format!("{ALONE}{EVERYBODY}")).unwrap();
    let mut ready = Vec::new();
    // Nodes first, on the way that a machine in BIOS mode goes.
    yard.tell(|street| {
        for number in [2, 4] {
            let mut machine = street.machine(Kind::BiosIpxe, number);
            machine.run_until_serving(PATIENCE)?;
            ready.push(number);
        }
        Ok(())
    })
    .unwrap();
    yard.import_signed_ram().unwrap();
    yard.tell(|street| {
        for (number, kind) in [
            (1, Kind::UefiX64),
            (2, Kind::UefiX64),
            (3, Kind::HttpX64),
            (4, Kind::HttpX64),
        ] {
            let boot = Rom::new(kind, number).boot_by_grub(&street.ether)?;
            if ready.contains(&number) {
                ensure!(
                    matches!(boot.script, Script::LocalDisk { .. }),
                    "{kind:?}: {}",
                    boot.text
                );
            } else {
                ensure!(boot.fetch_kernel()? == 2 * made_up::KERNEL, "{kind:?}: {}", boot.text);
                let Script::Discover { arguments, .. } = &boot.script else {
                    anyhow::bail!("{kind:?}: {}", boot.text)
                };
                for wanted in ["gleaner.controller=", "gleaner.pin=", "BOOTIF="] {
                    ensure!(
                        arguments.iter().any(|word| word.starts_with(wanted)),
                        "no {wanted}: {arguments:?}"
                    );
                }
            }
        }
        // The journal sees it whichever way the files came.
        for number in [1, 3] {
            let mac = Rom::new(Kind::UefiX64, number).mac_text();
            until("the start in the journal", PATIENCE, || {
                let cards: Vec<SeenCard> = serde_json::from_value(street.server.get("/api/v1/sightings")?)?;
                let card = cards.into_iter().find(|card| card.mac == mac).context("no sighting")?;
                let seen = |words: &str| {
                    let mut steps = card.starts.iter().flat_map(|start| &start.steps);
                    steps.any(|step| step.what.contains(words))
                };
                let whole = ["the loader shimx64.efi", "boot script", "the kernel", "the initramfs"]
                    .into_iter()
                    .all(seen);
                Ok((whole && card.loader.as_deref() == Some("shimx64.efi")).then_some(()))
            })?;
        }
        // What cannot start a program of x86-64 is not told to.
        let ia32 = Rom::new(Kind::UefiIa32, 5).boot(&street.ether)?;
        ensure!(ia32.loader.as_deref() == Some("ipxe-ia32.efi"), "{:?}", ia32.loader);
        Ok(())
    })
    .unwrap();
}
