// SPDX-License-Identifier: Apache-2.0
//! The PC's old partition table, with its chain of logical partitions.

use provisioner_api::DiskPartition;

use super::Sectors;
use super::table::{Table, Trouble, inside};

/// Logical partitions followed before a chain is taken for a loop.
const LONGEST_CHAIN: u32 = 64;
const EXTENDED: [u8; 3] = [0x05, 0x0F, 0x85];
/// The one entry that protects a GPT from old tools.
const PROTECTIVE: u8 = 0xEE;
/// Bytes of a boot record.
const RECORD: u64 = 512;

struct Entry {
    kind: u8,
    start: u64,
    size: u64,
}

/// The table, or `None` where there is none. A boot sector of a file system has the same signature: a table needs an
/// entry that makes sense.
pub(super) fn read(disk: &(impl Sectors + ?Sized), size: u64, sector: u64) -> Option<Table> {
    let entries = sector_entries(disk, 0, sector)?;
    let sane = |entry: &Entry| entry.kind != 0 && entry.size > 0 && entry.start > 0;
    // Everything that is set must make sense: random boot code does not.
    if !entries.iter().all(|entry| entry.kind == 0 || sane(entry)) || !entries.iter().any(sane) {
        return None;
    }
    let protective = entries.iter().any(|entry| entry.kind == PROTECTIVE);
    let (mut found, mut cut) = (Vec::new(), false);
    for (number, entry) in (1..).zip(&entries) {
        if !sane(entry) || entry.kind == PROTECTIVE {
            continue;
        }
        let end = entry.start.saturating_add(entry.size);
        cut |= end > size;
        let Some((start, end)) = inside(entry.start, end, size) else {
            continue;
        };
        let entry = Entry {
            start,
            size: end - start,
            ..*entry
        };
        if EXTENDED.contains(&entry.kind) {
            logical(disk, &entry, size, sector, &mut found);
        } else {
            found.push(partition(number, &entry));
        }
    }
    found.sort_by_key(|p| p.number);
    let trouble = match (cut, found.is_empty() || protective) {
        (true, _) => Some(Trouble::Cut),
        // A table protects a GPT that is not there, or none of its partitions lies on the disk.
        (false, true) => Some(Trouble::Damaged),
        (false, false) => None,
    };
    Some(Table {
        kind: if protective { "gpt" } else { "mbr" },
        partitions: found,
        trouble,
        room: RECORD,
    })
}

/// Each extended boot record holds one partition and a link to the next, both relative to different things: the
/// partition to its own record, the link to the whole extended partition.
fn logical(disk: &(impl Sectors + ?Sized), whole: &Entry, size: u64, sector: u64, found: &mut Vec<DiskPartition>) {
    let mut record = whole.start;
    for number in 5..5 + LONGEST_CHAIN {
        let Some([entry, link, ..]) = sector_entries(disk, record, sector) else {
            return;
        };
        let start = record.checked_add(entry.start);
        if let Some(start) = start.filter(|s| s.checked_add(entry.size).is_some_and(|end| end <= size))
            && entry.kind != 0
            && entry.size > 0
        {
            found.push(partition(number, &Entry { start, ..entry }));
        }
        match whole.start.checked_add(link.start) {
            Some(next) if EXTENDED.contains(&link.kind) && next > record && next < size => record = next,
            _ => return,
        }
    }
}

fn sector_entries(disk: &(impl Sectors + ?Sized), at: u64, sector: u64) -> Option<[Entry; 4]> {
    let mut raw = [0; 512];
    disk.read(&mut raw, at).ok()?;
    (raw[510..] == [0x55, 0xAA]).then(|| {
        [446, 462, 478, 494].map(|at| {
            let field = |from: usize| {
                u64::from(u32::from_le_bytes([
                    raw[from],
                    raw[from + 1],
                    raw[from + 2],
                    raw[from + 3],
                ])) * sector
            };
            Entry {
                kind: raw[at + 4],
                start: field(at + 8),
                size: field(at + 12),
            }
        })
    })
}

fn partition(number: u32, entry: &Entry) -> DiskPartition {
    let kind = match entry.kind {
        0x01 | 0x04 | 0x06 | 0x0B | 0x0C | 0x0E => "FAT",
        0x07 => "NTFS or exFAT",
        0x27 => "Windows recovery",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8E => "Linux LVM",
        0xA5 | 0xA6 | 0xA9 => "BSD",
        0xAF => "Apple HFS+",
        0xEF => "EFI system",
        0xFD => "Linux RAID",
        _ => "other",
    };
    DiskPartition {
        number,
        start: entry.start,
        size: entry.size,
        kind: kind.into(),
        filesystem: None,
        label: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn put(disk: &mut [u8], record: usize, n: usize, kind: u8, start: u32, sectors: u32) {
        let at = record * 512 + 446 + 16 * n;
        disk[at + 4] = kind;
        disk[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        disk[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        disk[record * 512 + 510..record * 512 + 512].copy_from_slice(&[0x55, 0xAA]);
    }

    #[test]
    fn logical_partitions_are_followed_to_the_end_of_the_chain() {
        let mut disk = vec![0; 1 << 20];
        put(&mut disk, 0, 0, 0x83, 8, 8);
        put(&mut disk, 0, 1, 0x05, 100, 400);
        put(&mut disk, 100, 0, 0x82, 8, 50);
        put(&mut disk, 100, 1, 0x05, 100, 100);
        put(&mut disk, 200, 0, 0x83, 8, 50);
        let found = read(&disk[..], 1 << 20, 512).unwrap().partitions;
        let told: Vec<_> = found
            .iter()
            .map(|p| (p.number, p.start / 512, p.kind.as_str()))
            .collect();
        assert_eq!(told, [(1, 8, "Linux"), (5, 108, "Linux swap"), (6, 208, "Linux")]);
    }

    #[test]
    fn a_chain_that_bites_its_tail_ends() {
        let mut disk = vec![0; 1 << 20];
        put(&mut disk, 0, 0, 0x05, 100, 400);
        put(&mut disk, 100, 0, 0x83, 8, 8);
        put(&mut disk, 100, 1, 0x05, 0, 100);
        assert_eq!(read(&disk[..], 1 << 20, 512).unwrap().partitions.len(), 1);
    }

    #[test]
    fn a_partition_that_ends_behind_the_disk_is_shown_as_far_as_the_disk_goes() {
        let mut disk = vec![0; 1 << 20];
        put(&mut disk, 0, 0, 0x83, 8, 1 << 20);
        put(&mut disk, 0, 1, 0x07, 1 << 22, 8);
        let table = read(&disk[..], 1 << 20, 512).unwrap();
        assert_eq!((table.partitions.len(), table.trouble), (1, Some(Trouble::Cut)));
        assert_eq!(table.partitions[0].size, (1 << 20) - 8 * 512);
    }

    #[test]
    fn a_table_that_protects_a_gpt_which_is_gone_is_damaged_and_not_empty() {
        let mut disk = vec![0; 1 << 20];
        put(&mut disk, 0, 0, PROTECTIVE, 1, 2047);
        let table = read(&disk[..], 1 << 20, 512).unwrap();
        assert_eq!((table.kind, table.trouble), ("gpt", Some(Trouble::Damaged)));
    }
}
