// SPDX-License-Identifier: Apache-2.0
//! Virtual PCs and installers in the place of those that cannot be fetched here: they boot over PXE with real firmware and
//! real loaders, fetch their real answers, run the scripts in them, and what they leave comes home.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use provisioner_api::Manifest;
use tests::fake_installer;
use tests::installer::SYSTEMS;
use tests::journey::{Journey, READY};
use tests::made_up::Signature;
use tests::made_up::changed;
use tests::vm::{Firmware, Spec};

/// A laboratory that installs every machine by this system's installer, from a mirror that is our own node image.
fn journey(os: &str, role: &str) -> Result<Journey> {
    let image = Journey::dark("")?.lab.artifacts.node_image()?;
    let manifest = fs::read(image.join("manifest.json")).context("reading the node image's list")?;
    let Manifest { name, version, .. } = serde_json::from_slice(&manifest).context("understanding it")?;
    let sections = format!(
        "[profiles.by-installer]\ninstaller = \"{os}\"\nrole = \"{role}\"\nbridge = \"\"\n[profiles.by-installer.system]\n\
         mirror = \"http://10.77.0.1:8080/images/{name}/{version}\"\n\n\
         [[auto_approve]]\nname = \"everybody\"\nprofile = \"by-installer\"\n\n"
    );
    let mut journey = Journey::dark(&sections)?;
    let signature = Signature::new();
    let config = journey.lab.server().config_file();
    signature.trust(&config.with_file_name("trusted-keys"), "made-up")?;
    journey.lab.start_server()?;
    let ram = journey.lab.artifacts.ram()?;
    let artifacts = &journey.lab.artifacts;
    let (node_init, libvirt) = (artifacts.program("node-init")?, artifacts.program("node-init-libvirt")?);
    let with_programs = changed::with_programs(&ram, journey.lab.folder(), &signature, [&node_init, &libvirt])?;
    journey.lab.server().import(&with_programs)?;
    journey.lab.server().import(&image)?;
    let medium = medium(&ram, journey.lab.folder(), os)?;
    journey.lab.server().import_medium(os, &medium)?;
    Ok(journey)
}

/// A medium whose kernel is the RAM environment's, and whose installer is the fake one.
fn medium(ram: &Path, place: &Path, os: &str) -> Result<std::path::PathBuf> {
    let (_, files) = SYSTEMS.iter().find(|(name, _)| *name == os).context("no such system")?;
    let folder = place.join("medium");
    for (number, file) in files.iter().enumerate() {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().context("a file without a folder")?).context("making a folder")?;
        match number {
            0 => drop(fs::copy(ram.join("vmlinuz"), path).context("copying the kernel")?),
            1 => fake_installer::initramfs(ram, Path::new(env!("CARGO_BIN_EXE_fake-installer")), &path)?,
            _ => fs::write(path, "nobody asks for it").context("writing the rest of a medium")?,
        }
    }
    Ok(folder)
}

/// From an untouched PC to a node that serves, and starts its disk ever after.
fn becomes_a_node(os: &str, role: &str, spec: Spec) {
    let mut journey = journey(os, role).unwrap();
    let mut pc = journey.pc(spec).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
    let events = journey.lab.server().events(&node.name).unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    for kind in ["installer-began", "installing", "written", "joined", "came-home"] {
        assert!(kinds.contains(&kind), "{os}: no {kind}: {kinds:?}");
    }
    pc.serial().skip_to_end();
    pc.reset().unwrap();
    pc.serial().wait_for("starts from its own disk", READY).unwrap();
}

#[test]
fn a_bios_pc_becomes_a_node_by_ubuntus_answers() {
    becomes_a_node("ubuntu-24.04", "libvirt", Spec::new(Firmware::Bios, 81).memory(1024));
}

#[test]
#[ignore = "takes ten minutes; the scripts differ, the way is the same"]
fn a_uefi_pc_becomes_a_node_by_red_hats_answers() {
    becomes_a_node("rocky-9", "plain", Spec::new(Firmware::Uefi, 82).memory(1024));
}

#[test]
#[ignore = "takes ten minutes; the scripts differ, the way is the same"]
fn a_bios_pc_becomes_a_node_by_autoyasts_answers() {
    becomes_a_node("opensuse-leap-15", "plain", Spec::new(Firmware::Bios, 83).memory(1024));
}

#[test]
#[ignore = "takes ten minutes; the scripts differ, the way is the same"]
fn a_uefi_pc_becomes_a_node_by_agamas_answers() {
    becomes_a_node("opensuse-leap-16", "plain", Spec::new(Firmware::Uefi, 84).memory(1024));
}
