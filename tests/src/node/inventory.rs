// SPDX-License-Identifier: Apache-2.0
//! Invented machines, and what an installed one says that it offers.

use provisioner_api::{
    Check, ComputeReport, ContentsState, Cpu, Disk, DiskContents, FirmwareType, Hypervisor, Inventory, Kvm, Load,
    NetworkReport, Nic, Smbios, StoragePool, Transport,
};

use crate::rom::{Kind, Rom};

/// Bytes of an invented machine's disk.
const DISK: u64 = 250_000_000_000;
/// Bytes of its RAM.
const MEMORY: u64 = 4 << 30;

/// A machine around this firmware: labels, card and disk of its own, all made of the card's address.
pub fn of(rom: &Rom) -> Inventory {
    let number = hex::encode_upper(&rom.mac[2..]);
    Inventory {
        cpu: Cpu {
            vendor: "GenuineIntel".into(),
            model: "Intel(R) Core(TM)2 Duo CPU E8400 @ 3.00GHz".into(),
            sockets: 1,
            cores: 2,
            threads: 2,
            bits64: true,
            virtualization: None,
            kvm: Kvm::Unusable {
                why: "switched off in the firmware set-up".into(),
            },
            level: 1,
        },
        memory: MEMORY,
        disks: vec![disk(&format!("WD-{number}"))],
        nics: vec![nic(&rom.mac_text())],
        smbios: Smbios {
            system_manufacturer: Some("Laboratory".into()),
            system_product: Some("Fake PC".into()),
            system_serial: Some(format!("LAB-{number}")),
            system_uuid: rom.uuid.map(uuid_text),
            board_serial: Some(format!("BOARD-{number}")),
            ..Smbios::default()
        },
        firmware: match rom.kind {
            Kind::BiosPxe | Kind::BiosIpxe => FirmwareType::Bios,
            Kind::UefiIa32 | Kind::HttpIa32 => FirmwareType::Uefi32,
            _ => FirmwareType::Uefi64,
        },
        ..Inventory::default()
    }
}

/// An empty disk with this serial number.
pub fn disk(serial: &str) -> Disk {
    Disk {
        name: "sda".into(),
        by_path: Some("pci-0000:00:1f.2-ata-1".into()),
        model: Some("WDC WD2500AAKX".into()),
        serial: Some(serial.into()),
        wwn: None,
        size: DISK,
        rotational: true,
        removable: false,
        read_only: false,
        transport: Transport::Ata,
        health: None,
        in_use: false,
        contents: DiskContents {
            state: ContentsState::Empty,
            summary: "empty".into(),
            ..DiskContents::default()
        },
    }
}

/// The card that a machine booted from.
pub fn nic(mac: &str) -> Nic {
    Nic {
        name: "enp0s25".into(),
        mac: mac.into(),
        driver: Some("e1000e".into()),
        link: true,
        speed: Some(1000),
        bus_path: Some("pci-0000:00:19.0".into()),
        booted: true,
        ..Nic::default()
    }
}

/// A network card on a USB plug, as technicians carry them.
pub fn usb_nic(mac: &str) -> Nic {
    Nic {
        name: "enx0".into(),
        driver: Some("r8152".into()),
        bus_path: Some("usb-0000:00:14.0-1".into()),
        usb: true,
        ..nic(mac)
    }
}

/// What a node says that it offers, all checks passed.
pub fn report(address: &str) -> ComputeReport {
    let check = |name: &str| Check {
        name: name.into(),
        passed: true,
        detail: "looked at by a fake".into(),
    };
    ComputeReport {
        role: "libvirt".into(),
        hypervisor: Some(Hypervisor {
            name: "QEMU".into(),
            version: "10.0.2".into(),
            libvirt: "11.3.0".into(),
            virtualization: "qemu".into(),
        }),
        cpu_model: "Penryn".into(),
        cpu_baseline: "x86-64-v1".into(),
        threads: 2,
        memory: MEMORY,
        storage: Some(StoragePool {
            name: "default".into(),
            path: "/var/lib/libvirt/images".into(),
            capacity: DISK,
            available: DISK / 2,
        }),
        network: NetworkReport {
            bridge: None,
            card: "enp0s25".into(),
            address: format!("{address}/24"),
        },
        checks: ["libvirt", "network", "clock", "storage", "capsule"].map(check).into(),
    }
}

/// How busy a fake is.
pub fn load() -> Load {
    Load {
        cpu: 0.02,
        load1: 0.05,
        memory_used: 300 << 20,
        memory_total: MEMORY,
        uptime: 60,
        ..Load::default()
    }
}

/// `4c616200-7777-4000-8000-000000000001`.
pub fn uuid_text(uuid: [u8; 16]) -> String {
    let hex = hex::encode(uuid);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
