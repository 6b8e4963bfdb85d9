// SPDX-License-Identifier: Apache-2.0
//! A person approves: what is on the disk is shown first, by whatever name the disk is called.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anyhow::ensure;
use provisioner_api::DiskContents;
use tests::machine::Step;
use tests::rom::Kind;
use tests::server::{ALONE, PATIENCE, Yard};

#[test]
fn a_disk_with_somebodys_windows_is_not_given_up_before_somebody_says_so() {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.tell(|street| {
        let mut machine = street.machine(Kind::UefiX64, 1);
        machine.inventory.disks[0].contents = DiskContents {
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
