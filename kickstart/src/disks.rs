// SPDX-License-Identifier: Apache-2.0
//! Which disk a rule means: what the installers' script decides on the machine, decided here over what is known of the
//! machine, so that a rule that nothing fits is refused before anything starts.

use crate::spec::{DiskRule, Layout, Storage};

/// Bytes in a gigabyte, as labels of disks count.
const GB: u64 = 1_000_000_000;

/// A disk as an inventory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Kernel name at the time; only said, never decided by, except among equals.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Serial number, where it has one.
    pub serial: Option<String>,
    /// Name in `/dev/disk/by-path`, where it has one.
    pub by_path: Option<String>,
    /// Attached by USB.
    pub usb: bool,
    /// The medium can be taken out.
    pub removable: bool,
    /// Cannot be written.
    pub read_only: bool,
}

/// The disks that an installation would write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The system's.
    pub system: &'a Disk,
    /// The other half of a mirror, or the data's.
    pub second: Option<&'a Disk>,
}

/// Why no disk is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct NoDisk {
    /// The rule that nothing fits.
    pub field: &'static str,
    /// Why, disk by disk.
    pub why: String,
}

/// Chooses as the installer will, or says why it would refuse.
pub fn choose<'a>(storage: &Storage, disks: &'a [Disk]) -> Result<Chosen<'a>, NoDisk> {
    let refuse = |field| move |why| NoDisk { field, why };
    let system = one(&storage.disk, disks, None).map_err(refuse("storage.disk"))?;
    let second = match &storage.layout {
        Layout::Whole | Layout::Lvm | Layout::DataPartition { .. } => None,
        Layout::Raid1 { second: rule } => {
            Some(one(rule, disks, Some(system)).map_err(refuse("storage.layout.second"))?)
        }
        Layout::DataDisk { disk: rule, .. } => {
            Some(one(rule, disks, Some(system)).map_err(refuse("storage.layout.disk"))?)
        }
    };
    Ok(Chosen { system, second })
}

fn one<'a>(rule: &DiskRule, disks: &'a [Disk], taken: Option<&Disk>) -> Result<&'a Disk, String> {
    let obstacles: Vec<(&Disk, Option<String>)> =
        disks.iter().map(|disk| (disk, obstacle(rule, disk, taken))).collect();
    let mut fit: Vec<&Disk> = obstacles
        .iter()
        .filter(|(_, why)| why.is_none())
        .map(|(disk, _)| *disk)
        .collect();
    fit.sort_by(|a, b| (a.size, &a.name).cmp(&(b.size, &b.name)));
    match (rule, fit.as_slice()) {
        (_, []) => Err(none_fits(&obstacles)),
        (DiskRule::SmallestAbove(_), [smallest, ..]) => Ok(smallest),
        (_, [only]) => Ok(only),
        (_, several) => {
            let names: Vec<&str> = several.iter().map(|disk| disk.name.as_str()).collect();
            Err(format!("{} all answer to it; name one by its place", names.join(", ")))
        }
    }
}

/// Why a disk does not fit, if so.
fn obstacle(rule: &DiskRule, disk: &Disk, taken: Option<&Disk>) -> Option<String> {
    if disk.removable {
        return Some("it is removable".into());
    } else if disk.usb {
        return Some("it is attached by USB".into());
    } else if disk.read_only {
        return Some("it cannot be written".into());
    } else if taken.is_some_and(|taken| taken.name == disk.name) {
        return Some("it is the system's".into());
    }
    match rule {
        DiskRule::SmallestAbove(gb) => {
            (disk.size < u64::from(*gb) * GB).then(|| format!("it has {} GB, {gb} are wanted", disk.size / GB))
        }
        DiskRule::Serial(serial) => (!has_serial(disk, serial.as_str())).then(|| format!("its serial is not {serial}")),
        DiskRule::ByPath(place) => {
            (disk.by_path.as_deref() != Some(place.as_str())).then(|| format!("it is not at {place}"))
        }
    }
}

/// Letters and digits decide: of "AB CD  12" udev makes `AB_CD_12`, and who writes a profile one or the other.
fn has_serial(disk: &Disk, wanted: &str) -> bool {
    let plain = |text: &str| {
        let telling = text.chars().filter(char::is_ascii_alphanumeric);
        telling.map(|c| c.to_ascii_lowercase()).collect::<String>()
    };
    let wanted = plain(wanted);
    !wanted.is_empty() && disk.serial.as_deref().is_some_and(|serial| plain(serial) == wanted)
}

fn none_fits(obstacles: &[(&Disk, Option<String>)]) -> String {
    if obstacles.is_empty() {
        return "the machine has no disk; look at its cables and at the firmware's settings".into();
    }
    let each = obstacles
        .iter()
        .map(|(disk, why)| format!("{}: {}", disk.name, why.as_deref().unwrap_or_default()));
    format!("no disk fits ({})", each.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod script;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::spec::Swap;
    use crate::words::{ByPath, FilePath, Serial};
    use proptest::prelude::*;

    fn disk(name: &str, gb: u64) -> Disk {
        Disk {
            name: name.into(),
            size: gb * GB,
            serial: Some(format!("S-{name}")),
            by_path: Some(format!("pci-{name}")),
            usb: false,
            removable: false,
            read_only: false,
        }
    }

    fn storage(disk: DiskRule, layout: Layout) -> Storage {
        Storage {
            disk,
            layout,
            swap: Swap::None,
        }
    }

    #[test]
    fn the_smallest_that_is_large_enough_and_built_in() {
        let stick = Disk {
            usb: true,
            ..disk("sda", 32)
        };
        let card = Disk {
            removable: true,
            ..disk("sdb", 20)
        };
        let all = [stick, card, disk("sdc", 16), disk("sdd", 500), disk("sde", 120)];
        let chosen = choose(&storage(DiskRule::SmallestAbove(20), Layout::Whole), &all).unwrap();
        assert_eq!(chosen.system.name, "sde");
    }

    #[test]
    fn a_serial_and_a_place_name_one_disk_or_none() {
        let all = [disk("sda", 100), disk("sdb", 100)];
        let serial = DiskRule::Serial(Serial::new("s-SDB").unwrap());
        assert_eq!(
            choose(&storage(serial.clone(), Layout::Whole), &all)
                .unwrap()
                .system
                .name,
            "sdb"
        );
        let place = DiskRule::ByPath(ByPath::new("pci-sda").unwrap());
        assert_eq!(choose(&storage(place, Layout::Whole), &all).unwrap().system.name, "sda");
        let twins = [
            Disk {
                serial: Some("S-sdb".into()),
                ..disk("sda", 100)
            },
            disk("sdb", 100),
        ];
        let error = choose(&storage(serial, Layout::Whole), &twins).unwrap_err();
        assert_eq!(
            error.to_string(),
            "storage.disk: sda, sdb all answer to it; name one by its place"
        );
    }

    #[test]
    fn when_none_fits_every_disk_says_why() {
        let all = [
            Disk {
                usb: true,
                ..disk("sda", 100)
            },
            disk("sdb", 10),
        ];
        let error = choose(&storage(DiskRule::SmallestAbove(20), Layout::Whole), &all).unwrap_err();
        assert_eq!(
            error.to_string(),
            "storage.disk: no disk fits (sda: it is attached by USB; sdb: it has 10 GB, 20 are wanted)"
        );
        assert!(choose(&storage(DiskRule::SmallestAbove(20), Layout::Whole), &[]).is_err());
    }

    #[test]
    fn the_second_disk_is_never_the_first() {
        let all = [disk("sda", 100), disk("sdb", 100)];
        let mirror = storage(
            DiskRule::SmallestAbove(20),
            Layout::Raid1 {
                second: DiskRule::SmallestAbove(20),
            },
        );
        let chosen = choose(&mirror, &all).unwrap();
        assert_eq!(
            (chosen.system.name.as_str(), chosen.second.unwrap().name.as_str()),
            ("sda", "sdb")
        );
        let data = Layout::DataDisk {
            disk: DiskRule::ByPath(ByPath::new("pci-sda").unwrap()),
            mount: FilePath::new("/data").unwrap(),
        };
        let error = choose(&storage(DiskRule::SmallestAbove(20), data), &all).unwrap_err();
        assert_eq!(error.field, "storage.layout.disk");
        assert!(error.why.contains("sda: it is the system's"));
    }

    proptest! {
        #[test]
        fn nobodys_stick_is_ever_written(gbs in prop::collection::vec((1_u64..1000, any::<(bool, bool, bool)>()), 0..6), wanted in 8_u32..500) {
            let disks: Vec<Disk> = gbs.iter().enumerate().map(|(i, (gb, (usb, removable, read_only)))| Disk {
                usb: *usb, removable: *removable, read_only: *read_only, ..disk(&format!("sd{i}"), *gb)
            }).collect();
            if let Ok(chosen) = choose(&storage(DiskRule::SmallestAbove(wanted), Layout::Whole), &disks) {
                let disk = chosen.system;
                prop_assert!(!disk.usb && !disk.removable && !disk.read_only && disk.size >= u64::from(wanted) * GB);
            }
        }
    }
}
