// SPDX-License-Identifier: Apache-2.0
//! A person approves: what is on the disk is shown first, by whatever name the disk is called.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anyhow::ensure;
use provisioner_api::{ContentsState, DiskContents};
use tests::installer::SYSTEMS;
use tests::machine::Step;
use tests::rom::Kind;
use tests::server::{ALONE, PATIENCE, Yard};

#[test]
fn a_disk_with_somebodys_windows_is_not_given_up_before_somebody_says_so() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.inventory.disks[0].contents = DiskContents {
            state: ContentsState::Known,
            summary: "Windows, 3 partitions, 212 GB used".into(),
            table: Some("gpt".into()),
            ..DiskContents::default()
        };
        machine.run_until(PATIENCE, |step| matches!(step, Step::Registered(_)))?;
        let name = street.summary(&machine)?.name;
        let serial = machine.inventory.disks[0].serial.clone().unwrap();
        let names = [
            None,
            Some("sda"),
            Some("/dev/sda"),
            Some(&*serial),
            Some("pci-0000:00:1f.2-ata-1"),
        ];
        for disk in names {
            let mut approve = vec!["node", "approve", &name];
            approve.extend(disk.iter().flat_map(|disk| ["--disk", disk]));
            let refused = street
                .server
                .cli(&approve)
                .expect_err("nobody said that it may be lost");
            let words = format!("{refused:#}");
            ensure!(
                words.contains("Windows") && words.contains("--yes"),
                "{disk:?}: {words}"
            );
            ensure!(street.summary(&machine)?.state == "enrolled", "{disk:?}");
        }
        // A disk that it does not have is refused with the reason, whoever says yes.
        let unknown = street
            .server
            .cli(&["node", "approve", &name, "--disk", "/dev/sdz", "--yes"]);
        ensure!(format!("{:#}", unknown.expect_err("there is no such disk")).contains("sdz"));
        ensure!(street.summary(&machine)?.state == "enrolled");

        street
            .server
            .cli(&["node", "approve", &name, "--disk", "/dev/sda", "--yes"])?;
        machine.run_until_serving(PATIENCE)
    })
    .unwrap();
}

#[test]
fn the_second_disk_of_a_layout_is_shown_and_not_given_up_before_somebody_says_so_either() {
    const MIRRORED: &str = "[profiles.single]\n[profiles.compute]\ninstaller = \"debian-13\"\n\
        [profiles.compute.system]\nmirror = \"http://mirror.example/debian\"\n\
        layout = { kind = \"raid1\", second = { smallest-above = 20 } }\n";
    let mut yard = Yard::new(&format!("{ALONE}{MIRRORED}")).unwrap();
    let (os, files) = SYSTEMS[0];
    yard.import_medium(os, files).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        let mut second = machine.inventory.disks[0].clone();
        second.name = "sdb".into();
        second.serial = Some("WD-SECOND".into());
        second.by_path = Some("pci-0000:00:1f.2-ata-2".into());
        second.size *= 2;
        second.contents = DiskContents {
            state: ContentsState::Known,
            summary: "Windows, 3 partitions, 212 GB used".into(),
            table: Some("gpt".into()),
            ..DiskContents::default()
        };
        machine.inventory.disks.push(second);
        machine.run_until(PATIENCE, |step| matches!(step, Step::Registered(_)))?;
        let name = street.summary(&machine)?.name;
        // Everywhere where the first is shown: by the command line, to programs.
        let shown = street.server.cli(&["node", "show", &name])?;
        ensure!(
            shown.contains("the other half of the mirror: sdb WD-SECOND") && shown.contains("Windows"),
            "{shown}"
        );
        let node = street.server.get(&format!("/api/v1/nodes/{name}"))?;
        ensure!(node["disk"] == "sda" && node["second_disk"] == "sdb", "{node:#}");
        let other = street.server.get(&format!("/api/v1/nodes/{name}?profile=single"))?;
        ensure!(other["disk"] == "sda" && other["second_disk"].is_null(), "{other:#}");

        let refused = street.server.cli(&["node", "approve", &name]);
        let words = format!("{:#}", refused.expect_err("nobody said that it may be lost"));
        ensure!(
            words.contains("sdb") && words.contains("Windows") && words.contains("--yes"),
            "{words}"
        );
        // The disk that is named as the first is not the second as well.
        let refused = street.server.cli(&["node", "approve", &name, "--disk", "sdb"]);
        ensure!(format!("{:#}", refused.expect_err("nobody said that it may be lost")).contains("sdb"));
        ensure!(street.summary(&machine)?.state == "enrolled");

        street.server.cli(&["node", "approve", &name, "--yes"])?;
        let events = street.server.events(&name)?;
        let approved = events.iter().find(|event| event.kind == "approved");
        let approved = approved.map(|event| event.detail.clone()).unwrap_or_default();
        let first = machine.inventory.disks[0].serial.clone().unwrap_or_default();
        ensure!(
            approved.contains(&format!("on {first} and WD-SECOND by the installer")),
            "{approved}"
        );
        machine.run_until_serving(PATIENCE)
    })
    .unwrap();
}
