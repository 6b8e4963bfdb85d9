// SPDX-License-Identifier: Apache-2.0
//! Where a disk is plugged in: its bus, and a name for the place that does not change from boot to boot.
//!
//! The name is the one that udev's `path_id` gives (systemd 257, `src/udev/udev-builtin-path_id.c`), so that an
//! operator finds the same one below `/dev/disk/by-path` of the installed system.

use std::path::{Path, PathBuf};

use provisioner_api::Transport;

use crate::inventory::sysfs;

/// How a disk is attached; `way` is its device and everything above.
pub(super) fn transport(name: &str, way: &[PathBuf]) -> Transport {
    let passes = |test: &dyn Fn(&str) -> bool| way.iter().any(|p| test(sysfs::base(p)));
    // USB first: a disk in a USB case is a SCSI disk, too.
    if passes(&|n| n.starts_with("usb")) {
        Transport::Usb
    } else if name.starts_with("nvme") {
        Transport::Nvme
    } else if name.starts_with("mmcblk") {
        Transport::Mmc
    } else if passes(&|n| numbered(n, "ata")) {
        Transport::Ata
    } else if passes(&|n| n.starts_with("host")) {
        Transport::Scsi
    } else if passes(&|n| numbered(n, "virtio")) {
        Transport::Virtio
    } else {
        Transport::Other
    }
}

/// The name of the place, where the machine has one for it.
pub(super) fn by_path(way: &[PathBuf]) -> Option<String> {
    let mut name = String::new();
    let mut anchored = false;
    for (depth, device) in way.iter().enumerate() {
        let base = sysfs::base(device);
        let above = &way[depth + 1..];
        let part = if is_scsi_address(base) {
            scsi(base, above)
        } else if let Some(namespace) = nvme_namespace(base) {
            Some(format!("nvme-{namespace}"))
        } else if let Some(port) = usb_port(base) {
            // Only the interface names the port; the hubs above it are part of its name.
            Some(format!("usb-0:{port}"))
        } else if is_pci_address(base) {
            anchored = true;
            Some(format!("pci-{base}"))
        } else {
            None
        };
        if let Some(part) = part {
            name = if name.is_empty() {
                part
            } else {
                format!("{part}-{name}")
            };
        }
        if anchored {
            // Bridges above do not make the name longer: PCI addresses are unique.
            break;
        }
    }
    (anchored && !name.is_empty()).then_some(name)
}

/// `2:0:0:0` below `ata3` is port 3 and disk 0 of it; elsewhere it counts from the first host of its controller.
fn scsi(address: &str, above: &[PathBuf]) -> Option<String> {
    let mut numbers = address.split(':');
    let (host, bus, target, lun) = (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);
    if let Some(ata) = above.iter().find(|p| numbered(sysfs::base(p), "ata")) {
        let port = sysfs::text(&ata.join("ata_port").join(sysfs::base(ata)).join("port_no"))?;
        return Some(format!("ata-{port}.{target}"));
    }
    let controller = above.iter().find(|p| numbered(sysfs::base(p), "host"))?.parent()?;
    let first = sysfs::names(controller)
        .iter()
        .filter_map(|n| n.strip_prefix("host")?.parse::<u32>().ok())
        .min()
        .unwrap_or(0);
    let host = host.parse::<u32>().ok()?.checked_sub(first)?;
    Some(format!("scsi-{host}:{bus}:{target}:{lun}"))
}

fn is_scsi_address(base: &str) -> bool {
    base.split(':').count() == 4 && base.split(':').all(is_number)
}

/// `0000:00:1f.2`
fn is_pci_address(base: &str) -> bool {
    let b = base.as_bytes();
    base.len() >= 12 && b[base.len() - 2] == b'.' && base.split(':').count() == 3
}

/// 1 for `nvme0n1`.
fn nvme_namespace(base: &str) -> Option<&str> {
    let (controller, namespace) = base.strip_prefix("nvme")?.split_once('n')?;
    (is_number(controller) && is_number(namespace)).then_some(namespace)
}

/// `1.4:1.0` for the interface `2-1.4:1.0`.
fn usb_port(base: &str) -> Option<&str> {
    let (bus, port) = base.split_once('-')?;
    (is_number(bus) && port.contains(':') && port.starts_with(|c: char| c.is_ascii_digit())).then_some(port)
}

fn numbered(base: &str, prefix: &str) -> bool {
    base.strip_prefix(prefix).is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The PCI address or USB port of any device, for cards.
pub(crate) fn bus_path(way: &[PathBuf]) -> Option<String> {
    let mut bases = way.iter().map(|p: &PathBuf| sysfs::base(Path::new(p)));
    bases.find_map(|base| match usb_port(base) {
        Some(port) => Some(format!("usb-{port}")),
        None => is_pci_address(base).then(|| base.to_owned()),
    })
}
