// SPDX-License-Identifier: Apache-2.0
//! The GUID partition table (UEFI specification 2.10, section 5.3), for looking only: the first one that is sound of
//! the table and its copy. A damaged one is told as that, because it says that somebody's data is here.

use provisioner_api::DiskPartition;

use super::Sectors;
use super::table::{Table, Trouble, inside};
use crate::inventory::text::label;
use crate::write::layout::crc32;

/// Partitions looked at; the specification reserves room for 128, more are not made by anybody.
const MOST: u32 = 256;
/// Larger entries are allowed and unheard of.
const LARGEST_ENTRY: u32 = 4096;
/// Sizes of sectors for which tables are made. A disk moves between cases and controllers that show different ones.
const SECTORS: [u64; 2] = [512, 4096];
/// Bytes of a header.
const HEADER: usize = 92;

/// Type GUIDs as they lie on the disk: the first three fields little-endian.
const KINDS: [(&str, &str); 12] = [
    ("28732ac11ff8d211ba4b00a0c93ec93b", "EFI system"),
    ("16e3c9e35c0bb84d817df92df00215ae", "Microsoft reserved"),
    ("a2a0d0ebe5b9334487c068b6b72699c7", "Microsoft basic data"),
    ("a4bb94ded106404da16abfd50179d6ac", "Windows recovery"),
    ("4861682149646f6e744e656564454649", "BIOS boot"),
    ("af3dc60f838472478e793d69d8477de4", "Linux"),
    ("e3bc684fcde8b14d96e7fbcaf984b709", "Linux root (x86-64)"),
    ("6dfd5706aba4c44384e50933c84b4f4f", "Linux swap"),
    ("79d3d6e607f5c244a23c238f2a3df928", "Linux LVM"),
    ("0f889da1fc053b4da006743f0f84911e", "Linux RAID"),
    ("005346480000aa11aa1100306543ecac", "Apple HFS+"),
    ("ef57347c0000aa11aa1100306543ecac", "Apple APFS"),
];

/// One of the two headers, where it was found.
struct Header {
    raw: [u8; HEADER],
    at: u64,
    /// Bytes of the sectors that it counts in.
    sector: u64,
}

/// The table, or `None` where nothing of one is left.
pub(super) fn read(disk: &(impl Sectors + ?Sized), size: u64, sector: u64) -> Option<Table> {
    let mut units = vec![sector];
    units.extend(SECTORS.into_iter().filter(|unit| *unit != sector));
    let first = units.iter().map(|unit| (*unit, *unit));
    let copy = units.iter().filter_map(|unit| Some((size.checked_sub(*unit)?, *unit)));
    let found: Vec<Header> = first
        .chain(copy)
        .filter_map(|(at, unit)| Header::read(disk, at, unit))
        .collect();
    let sound = found.iter().find(|header| header.is_sound(disk));
    let header = sound.or_else(|| found.first())?;
    let mut cut = false;
    let partitions: Vec<_> = header
        .entries(disk)
        .filter_map(|(number, entry)| partition(number, &entry, size, header.sector, &mut cut))
        .collect();
    let trouble = match header {
        _ if sound.is_none() => Some(Trouble::Damaged),
        _ if cut => Some(Trouble::Cut),
        _ if header.at > header.sector => Some(Trouble::Copy),
        _ if header.sector != sector => Some(Trouble::OtherSectors),
        _ => None,
    };
    Some(Table {
        kind: "gpt",
        partitions,
        trouble,
        room: 2 * header.sector + u64::from(header.count()) * u64::from(header.entry_size()),
    })
}

impl Header {
    fn read(disk: &(impl Sectors + ?Sized), at: u64, sector: u64) -> Option<Self> {
        let mut raw = [0; HEADER];
        disk.read(&mut raw, at).ok()?;
        raw.starts_with(b"EFI PART").then_some(Self { raw, at, sector })
    }

    fn count(&self) -> u32 {
        u32_at(&self.raw, 80).min(MOST)
    }

    /// 0 where it is not one that a table has.
    fn entry_size(&self) -> u32 {
        let size = u32_at(&self.raw, 84);
        if (128..=LARGEST_ENTRY).contains(&size) { size } else { 0 }
    }

    /// First byte of the entries.
    fn entries_at(&self) -> Option<u64> {
        u64_at(&self.raw, 72).checked_mul(self.sector)
    }

    /// Both checksums are right, and it lies where it says (5.3.2).
    fn is_sound(&self, disk: &(impl Sectors + ?Sized)) -> bool {
        let mut unsealed = self.raw;
        unsealed[16..20].fill(0);
        let plain = u32_at(&self.raw, 12) == 92 && u32_at(&self.raw, 80) <= MOST && self.entry_size() > 0;
        plain
            && u32_at(&self.raw, 16) == crc32(&unsealed)
            && u64_at(&self.raw, 24).checked_mul(self.sector) == Some(self.at)
            && self.entries_crc(disk) == Some(u32_at(&self.raw, 88))
    }

    fn entries_crc(&self, disk: &(impl Sectors + ?Sized)) -> Option<u32> {
        let mut raw = vec![0; usize::try_from(self.count().checked_mul(self.entry_size())?).ok()?];
        disk.read(&mut raw, self.entries_at()?).ok()?;
        Some(crc32(&raw))
    }

    /// Number and bytes of each entry that can be read.
    fn entries(&self, disk: &(impl Sectors + ?Sized)) -> impl Iterator<Item = (u32, [u8; 128])> {
        let size = u64::from(self.entry_size());
        let count = if size == 0 { 0 } else { self.count() };
        (0..count).filter_map(move |n| {
            let mut entry = [0; 128];
            let at = self.entries_at()?.checked_add(u64::from(n) * size)?;
            disk.read(&mut entry, at).ok()?;
            Some((n + 1, entry))
        })
    }
}

fn partition(number: u32, entry: &[u8; 128], size: u64, sector: u64, cut: &mut bool) -> Option<DiskPartition> {
    let kind = &entry[..16];
    if kind.iter().all(|b| *b == 0) {
        return None;
    }
    let start = u64_at(entry, 32).saturating_mul(sector);
    let end = u64_at(entry, 40).saturating_add(1).saturating_mul(sector);
    *cut |= end > size;
    let (start, end) = inside(start, end, size)?;
    Some(DiskPartition {
        number,
        start,
        size: end - start,
        kind: kind_name(kind),
        filesystem: None,
        label: name(&entry[56..]),
    })
}

fn kind_name(kind: &[u8]) -> String {
    let digits = hex::encode(kind);
    let known = KINDS.iter().find(|(guid, _)| *guid == digits);
    known.map_or_else(|| "other".into(), |(_, name)| (*name).into())
}

fn name(utf16: &[u8]) -> Option<String> {
    let units: Vec<u16> = utf16
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
        .collect();
    label(String::from_utf16_lossy(&units).as_bytes())
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    raw.get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(raw: &[u8], at: usize) -> u64 {
    raw.get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::inventory::contents::fakes::{self, MIB};

    const SIZE: u64 = 16 * MIB;

    fn told(disk: &[u8], sector: u64) -> (Vec<(u64, u64)>, Option<Trouble>) {
        let table = read(disk, disk.len() as u64, sector).unwrap();
        (
            table.partitions.iter().map(|p| (p.start, p.size)).collect(),
            table.trouble,
        )
    }

    #[test]
    fn a_sound_table_is_read_with_kind_and_name() {
        let disk = fakes::gpt(SIZE, 512, &[(MIB, 4 * MIB)]);
        let table = read(&disk[..], SIZE, 512).unwrap();
        assert_eq!((table.partitions.len(), table.trouble), (1, None));
        let esp = &table.partitions[0];
        assert_eq!(
            (esp.start, esp.size, esp.kind.as_str(), esp.label.as_deref()),
            (MIB, 4 * MIB, "EFI system", Some("ESP"))
        );
    }

    #[test]
    fn the_copy_at_the_end_speaks_for_a_table_that_is_overwritten_or_damaged() {
        let whole = fakes::gpt(SIZE, 512, &[(2 * MIB, MIB)]);
        for damage in [0..1 << 20, 512 + 20..512 + 21, 1024 + 40..1024 + 41] {
            let mut disk = whole.clone();
            disk[damage].fill(0xA5);
            assert_eq!(told(&disk, 512), (vec![(2 * MIB, MIB)], Some(Trouble::Copy)));
        }
    }

    #[test]
    fn a_table_that_is_damaged_in_both_places_is_never_a_sound_one() {
        let mut disk = fakes::gpt(SIZE, 512, &[(2 * MIB, MIB)]);
        disk[512 + 84] = 1;
        let last = disk.len() - 512;
        disk[last + 84] = 1;
        assert_eq!(told(&disk, 512), (vec![], Some(Trouble::Damaged)));
    }

    #[test]
    fn a_table_for_other_sectors_and_one_of_a_larger_disk_still_show_their_partitions() {
        let disk = fakes::gpt(SIZE, 4096, &[(2 * MIB, MIB)]);
        assert_eq!(told(&disk, 512), (vec![(2 * MIB, MIB)], Some(Trouble::OtherSectors)));
        let disk = fakes::gpt(SIZE, 512, &[(2 * MIB, MIB)]);
        assert_eq!(told(&disk, 4096), (vec![(2 * MIB, MIB)], Some(Trouble::OtherSectors)));
        let cut = &fakes::gpt(SIZE, 512, &[(2 * MIB, 12 * MIB), (14 * MIB, MIB)])[..8 << 20];
        assert_eq!(told(cut, 512), (vec![(2 * MIB, 6 * MIB)], Some(Trouble::Cut)));
    }
}
