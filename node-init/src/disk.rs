// SPDX-License-Identifier: Apache-2.0
//! Disks: which one is meant, whether it may be written, and how.

mod buffer;
mod clear;
mod device;
mod ioctl;
pub(crate) mod superblocks;

use provisioner_api::{Disk, DiskRef, FailCause, Transport};

pub use buffer::Aligned;
pub(crate) use clear::{clear, zero};
pub use device::{BlockDevice, KernelDisk};
pub(crate) use ioctl::{add_partition, delete_partition};

/// The disk that `wanted` names, if it is exactly one: every field that is given must match, and two that match are
/// as bad as none. Writing to the wrong disk cannot be undone.
pub fn find<'a>(disks: &'a [Disk], wanted: &DiskRef) -> Result<&'a Disk, FailCause> {
    let named = wanted.wwn.is_some() || wanted.serial.is_some() || wanted.by_path.is_some();
    let mut matching = disks.iter().filter(|disk| wanted.names(disk));
    let gone = |detail: &str| FailCause::DiskGone {
        disk: format!("{}{detail}", label(wanted)),
    };
    match (named, matching.next(), matching.next()) {
        (false, ..) => Err(gone(" (named by its size alone)")),
        (true, None, _) => Err(gone("")),
        (true, Some(_), Some(_)) => Err(gone(" (two disks match it)")),
        (true, Some(disk), None) => writable(disk).map(|()| disk),
    }
}

/// What people call a disk that an order names.
pub fn label(wanted: &DiskRef) -> String {
    let given = [&wanted.serial, &wanted.by_path, &wanted.wwn];
    given
        .into_iter()
        .find_map(Clone::clone)
        .unwrap_or_else(|| format!("of {} bytes", wanted.size))
}

/// Sticks, disks in USB cases and disks in use are never written, whoever says so.
fn writable(disk: &Disk) -> Result<(), FailCause> {
    let why = match disk {
        Disk {
            transport: Transport::Usb,
            ..
        } => "it is attached by USB",
        Disk { removable: true, .. } => "its medium can be taken out",
        Disk { in_use: true, .. } => "it is in use",
        Disk { read_only: true, .. } => "it is write-protected",
        _ => return Ok(()),
    };
    Err(FailCause::NoDisk {
        found: format!("{} is not written to: {why}", disk.name),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use provisioner_api::DiskContents;

    fn disk(name: &str, serial: &str) -> Disk {
        Disk {
            name: name.into(),
            by_path: Some(format!("pci-{name}")),
            model: None,
            serial: Some(serial.into()),
            wwn: None,
            size: 1000,
            rotational: false,
            removable: false,
            read_only: false,
            transport: Transport::Ata,
            health: None,
            in_use: false,
            contents: DiskContents::default(),
        }
    }

    fn wanted(serial: Option<&str>, by_path: Option<&str>) -> DiskRef {
        DiskRef {
            wwn: None,
            serial: serial.map(Into::into),
            by_path: by_path.map(Into::into),
            size: 1000,
        }
    }

    #[test]
    fn a_disk_that_was_sda_and_is_sdb_today_is_still_the_one() {
        let disks = [disk("sda", "OTHER"), disk("sdb", "MINE")];
        assert_eq!(find(&disks, &wanted(Some("MINE"), None)).unwrap().name, "sdb");
    }

    #[test]
    fn a_disk_that_was_approved_under_a_serial_number_without_its_blanks_is_still_the_one() {
        let disks = [disk("sda", "AB CD  13"), disk("sdb", "AB CD  12")];
        for approved in ["ABCD12", "AB_CD_12", "AB CD  12"] {
            assert_eq!(find(&disks, &wanted(Some(approved), None)).unwrap().name, "sdb");
        }
    }

    #[test]
    fn a_disk_is_not_guessed_when_two_match_or_one_field_differs() {
        let twins = [disk("sda", "000000"), disk("sdb", "000000")];
        assert!(find(&twins, &wanted(Some("000000"), None)).is_err());
        assert_eq!(
            find(&twins, &wanted(Some("000000"), Some("pci-sdb"))).unwrap().name,
            "sdb"
        );
        assert!(find(&twins, &wanted(Some("000000"), Some("pci-sdc"))).is_err());
        assert!(find(&twins[..1], &wanted(None, None)).is_err());
        assert!(
            find(
                &twins[..1],
                &DiskRef {
                    size: 999,
                    ..wanted(Some("000000"), None)
                }
            )
            .is_err()
        );
    }

    #[test]
    fn sticks_and_disks_in_use_are_never_written() {
        for change in [
            (|d: &mut Disk| d.transport = Transport::Usb) as fn(&mut Disk),
            |d| d.removable = true,
            |d| d.in_use = true,
            |d| d.read_only = true,
        ] {
            let mut stick = disk("sdb", "STICK");
            change(&mut stick);
            assert!(find(&[stick], &wanted(Some("STICK"), None)).is_err());
        }
    }
}
