// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use proptest::prelude::*;
use provisioner_api::Transport;

use super::*;

/// A machine made of files.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(machine.0.path().join("sys/block")).unwrap();
        fs::create_dir_all(machine.0.path().join("proc")).unwrap();
        machine
    }

    fn file(&self, path: &str, content: &[u8]) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A disk at `place` below sys/devices, whose `device` link points `up` levels.
    fn disk(&self, place: &str, size: u64, up: &str) -> &Self {
        let folder = format!("sys/devices/{place}");
        self.file(&format!("{folder}/size"), format!("{}\n", size / 512).as_bytes());
        symlink(up, self.0.path().join(&folder).join("device")).unwrap();
        let name = place.rsplit('/').next().unwrap();
        symlink(
            format!("../devices/{place}"),
            self.0.path().join("sys/block").join(name),
        )
        .unwrap();
        self
    }

    fn read(&self) -> Vec<Disk> {
        let senses = Senses {
            health: &|_| None,
            ..Senses::default()
        };
        read(self.0.path(), &senses)
    }
}

#[test]
fn a_sata_disk_has_the_place_that_udev_gives_it_and_the_serial_of_its_page_80() {
    let machine = Machine::new();
    let ata = "pci0000:00/0000:00:1f.2/ata3";
    machine
        .disk(
            &format!("{ata}/host2/target2:0:0/2:0:0:0/block/sda"),
            8 << 20,
            "../../../2:0:0:0",
        )
        .file(&format!("sys/devices/{ata}/ata_port/ata3/port_no"), b"3\n")
        .file(
            &format!("sys/devices/{ata}/host2/target2:0:0/2:0:0:0/model"),
            b"WDC WD5000AAKX  \n",
        )
        .file(
            &format!("sys/devices/{ata}/host2/target2:0:0/2:0:0:0/vendor"),
            b"ATA     \n",
        )
        .file(
            &format!("sys/devices/{ata}/host2/target2:0:0/2:0:0:0/vpd_pg80"),
            b"\0\x80\0\x0cWD-WCC2E1234",
        )
        .file(
            &format!("sys/devices/{ata}/host2/target2:0:0/2:0:0:0/wwid"),
            b"naa.50014ee2b1c2d3e4\n",
        )
        .file("proc/mounts", b"/dev/sda1 / ext4 rw 0 0\n");
    fs::create_dir(machine.0.path().join("sys/block/sda/sda1")).unwrap();
    let disks = machine.read();
    let disk = &disks[0];
    assert_eq!(disk.by_path.as_deref(), Some("pci-0000:00:1f.2-ata-3.0"));
    assert_eq!(
        (disk.model.as_deref(), disk.serial.as_deref()),
        (Some("WDC WD5000AAKX"), Some("WD-WCC2E1234"))
    );
    assert_eq!(disk.wwn.as_deref(), Some("naa.50014ee2b1c2d3e4"));
    assert_eq!(
        (disk.transport, disk.size, disk.in_use),
        (Transport::Ata, 8 << 20, true)
    );
    assert_eq!(disk.contents.summary, "cannot be read");
}

#[test]
fn a_stick_is_usb_however_scsi_it_looks() {
    let machine = Machine::new();
    let port = "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0";
    machine.disk(
        &format!("{port}/host6/target6:0:0/6:0:0:0/block/sdb"),
        4 << 20,
        "../../../6:0:0:0",
    );
    machine.file("sys/block/sdb/removable", b"1\n");
    let disk = machine.read().remove(0);
    assert_eq!(
        disk.by_path.as_deref(),
        Some("pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0")
    );
    assert_eq!((disk.transport, disk.removable), (Transport::Usb, true));
}

#[test]
fn nvme_and_virtio_disks_have_places_too() {
    let machine = Machine::new();
    machine.disk("pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1", 1 << 20, "../../nvme0");
    machine.disk("pci0000:00/0000:00:05.0/virtio2/block/vda", 1 << 20, "../../../virtio2");
    machine
        .file("sys/block/vda/serial", b"D1\n")
        .file("dev/vda", &vec![0; 1 << 20]);
    let disks = machine.read();
    assert_eq!(disks[0].name, "vda");
    assert_eq!(disks[0].by_path.as_deref(), Some("pci-0000:00:05.0"));
    assert_eq!(
        (disks[0].transport, disks[0].serial.as_deref()),
        (Transport::Virtio, Some("D1"))
    );
    assert_eq!(disks[0].contents.summary, "empty");
    assert_eq!(disks[1].by_path.as_deref(), Some("pci-0000:00:04.0-nvme-1"));
    assert_eq!(disks[1].transport, Transport::Nvme);
}

#[test]
fn an_emmc_is_a_disk_of_the_machine_and_a_card_in_a_slot_is_not_whatever_the_kernel_says() {
    for (kind, removable) in [
        (Some("MMC\n"), false),
        (Some("SD\n"), true),
        (Some("SDcombo\n"), true),
        (None, true),
    ] {
        let machine = Machine::new();
        let card = "pci0000:00/0000:00:1c.0/mmc_host/mmc0/mmc0:0001";
        machine
            .disk(&format!("{card}/block/mmcblk0"), 16 << 20, "../../../mmc0:0001")
            .file(&format!("sys/devices/{card}/serial"), b"0x1d5e8f2a\n")
            .file(&format!("sys/devices/{card}/name"), b"DG4016\n")
            .file("sys/block/mmcblk0/removable", b"0\n");
        if let Some(kind) = kind {
            machine.file(&format!("sys/devices/{card}/type"), kind.as_bytes());
        }
        let disk = machine.read().remove(0);
        assert_eq!(
            (disk.removable, disk.transport, disk.model.as_deref()),
            (removable, Transport::Mmc, Some("DG4016")),
            "{kind:?}"
        );
        assert_eq!(disk.serial.as_deref(), Some("0x1d5e8f2a"));
    }
}

#[test]
fn optical_drives_loops_and_stacked_devices_are_no_disks() {
    assert!(["sda", "nvme0n1", "vdb", "mmcblk0", "hda"].into_iter().all(is_disk));
    assert!(
        ![
            "sr0",
            "loop3",
            "dm-0",
            "md127",
            "zram0",
            "mmcblk0boot0",
            "mmcblk0boot1",
            "mmcblk0rpmb",
            "mmcblk1gp0",
            "fd0"
        ]
        .into_iter()
        .any(is_disk)
    );
}

#[test]
fn blanks_in_a_serial_number_are_kept_and_those_around_it_are_not() {
    assert_eq!(vpd_serial(b"\0\x80\0\x0d  AB CD  12 \0").as_deref(), Some("AB CD  12"));
    assert_eq!(vpd_serial(b"\0\x80\0\x04\x1b[2J").as_deref(), Some("[2J"));
    assert_eq!(vpd_serial(b"\0\x80\0\x04    "), None);
}

#[test]
fn names_that_are_not_unique_in_the_world_are_not_taken_for_it() {
    let machine = Machine::new();
    let wwn_of = |text: &[u8]| {
        machine.file("d/device/wwid", text);
        wwn(&machine.0.path().join("d"))
    };
    assert_eq!(wwn_of(b"t10.ATA     QEMU HARDDISK   QM00001\n"), None);
    assert_eq!(wwn_of(b"eui.0000000000000000\n"), None);
    assert_eq!(
        wwn_of(b"eui.0025385b71b00d51\n").as_deref(),
        Some("eui.0025385b71b00d51")
    );
}

proptest! {
    #[test]
    fn no_serial_page_is_too_strange_to_read(page in prop::collection::vec(any::<u8>(), 0..64)) {
        vpd_serial(&page);
    }

    #[test]
    fn no_device_path_is_too_strange_to_name(parts in prop::collection::vec("[a-z0-9:.-]{0,14}", 0..6)) {
        let way: Vec<_> = parts.iter().map(std::path::PathBuf::from).collect();
        place::by_path(&way);
        place::bus_path(&way);
        place::transport("sda", &way);
    }
}
