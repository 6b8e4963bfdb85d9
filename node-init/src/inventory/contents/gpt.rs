// SPDX-License-Identifier: Apache-2.0
//! The GUID partition table (UEFI specification 2.10, section 5.3), for looking only: checksums are not checked,
//! because a damaged table still tells a person that somebody's data is here.

use provisioner_api::DiskPartition;

use super::Sectors;

/// Partitions looked at; the specification reserves room for 128, more are not made by anybody.
const MOST: u32 = 256;
/// Larger entries are allowed and unheard of.
const LARGEST_ENTRY: u32 = 4096;

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

/// The partitions, or `None` where there is no such table.
pub(super) fn read(disk: &(impl Sectors + ?Sized), size: u64, sector: u64) -> Option<Vec<DiskPartition>> {
    let mut header = [0; 92];
    disk.read(&mut header, sector).ok()?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let entries_at = u64_at(&header, 72).checked_mul(sector)?;
    let (count, entry_size) = (u32_at(&header, 80).min(MOST), u32_at(&header, 84));
    if !(128..=LARGEST_ENTRY).contains(&entry_size) {
        return Some(Vec::new());
    }
    let partitions = (0..count).filter_map(|n| {
        let mut entry = [0; 128];
        let at = entries_at.checked_add(u64::from(n) * u64::from(entry_size))?;
        disk.read(&mut entry, at).ok()?;
        partition(n + 1, &entry, size, sector)
    });
    Some(partitions.collect())
}

fn partition(number: u32, entry: &[u8; 128], size: u64, sector: u64) -> Option<DiskPartition> {
    let kind = &entry[..16];
    if kind.iter().all(|b| *b == 0) {
        return None;
    }
    let start = u64_at(entry, 32).checked_mul(sector)?;
    let end = u64_at(entry, 40).checked_add(1)?.checked_mul(sector)?;
    if start >= end || end > size {
        return None;
    }
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
    super::clean(String::from_utf16_lossy(&units).as_bytes())
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

    #[test]
    fn a_gpt_with_an_efi_system_partition_is_read() {
        let mut disk = vec![0; 1 << 20];
        disk[512..520].copy_from_slice(b"EFI PART");
        disk[512 + 72] = 2;
        disk[512 + 80] = 128;
        disk[512 + 84] = 128;
        let entry = &mut disk[1024..1152];
        entry[..16].copy_from_slice(&hex::decode("28732ac11ff8d211ba4b00a0c93ec93b").unwrap());
        entry[32] = 64;
        entry[40] = 127;
        entry[56..62].copy_from_slice(b"E\0S\0P\0");
        let found = read(&disk[..], 1 << 20, 512).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].start, found[0].size, found[0].kind.as_str()),
            (32768, 32768, "EFI system")
        );
        assert_eq!(found[0].label.as_deref(), Some("ESP"));
    }
}
