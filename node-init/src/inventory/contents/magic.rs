// SPDX-License-Identifier: Apache-2.0
//! File systems by their magic numbers.

use super::{Sectors, clean};

/// A file system that was recognised.
pub(super) struct Found {
    pub(super) filesystem: &'static str,
    pub(super) label: Option<String>,
}

/// A magic number: where it lies, what it is, whose it is, and where the label lies (offset, bytes; 0 for none).
struct Magic(u64, &'static [u8], &'static str, u64, usize);

/// Ordered: what sits on top of something else comes first (an ISO image on a stick also has a boot sector).
const MAGICS: [Magic; 17] = [
    Magic(0, b"LUKS\xBA\xBE", "luks", 0, 0),
    Magic(512 + 24, b"LVM2 001", "lvm", 0, 0),
    Magic(0, b"XFSB", "xfs", 108, 12),
    Magic(65536 + 64, b"_BHRfS_M", "btrfs", 65536 + 299, 256),
    Magic(4096 - 10, b"SWAPSPACE2", "swap", 1024 + 28, 16),
    Magic(4096 - 10, b"SWAP-SPACE", "swap", 0, 0),
    Magic(32768 + 1, b"CD001", "iso9660", 32768 + 40, 32),
    Magic(3, b"NTFS    ", "ntfs", 0, 0),
    Magic(3, b"EXFAT   ", "exfat", 0, 0),
    Magic(3, b"-FVE-FS-", "bitlocker", 0, 0),
    Magic(82, b"FAT32   ", "vfat", 71, 11),
    Magic(54, b"FAT16   ", "vfat", 43, 11),
    Magic(54, b"FAT12   ", "vfat", 43, 11),
    Magic(1024, b"H+\0\x04", "hfsplus", 0, 0),
    Magic(32, b"NXSB", "apfs", 0, 0),
    Magic(65536, b"ReIsEr", "reiserfs", 0, 0),
    Magic(4096, b"\xFC\x4E\x2B\xA9", "raid", 0, 0),
];

/// The file system in `size` bytes from `start`.
pub(super) fn find(disk: &(impl Sectors + ?Sized), start: u64, size: u64) -> Option<Found> {
    let read = |at: u64, length: usize| {
        let end = at.checked_add(length as u64).filter(|end| *end <= size)?;
        let mut raw = vec![0; length];
        disk.read(&mut raw, start.checked_add(end - length as u64)?).ok()?;
        Some(raw)
    };
    for Magic(at, magic, filesystem, label_at, label_length) in &MAGICS {
        if read(*at, magic.len()).as_deref() == Some(*magic) {
            let label = (*label_length > 0).then(|| read(*label_at, *label_length)).flatten();
            let label = label.and_then(|raw| clean(&raw)).filter(|text| text != "NO NAME");
            return Some(Found { filesystem, label });
        }
    }
    // ext2, 3 and 4 differ by feature bits: a journal makes ext3, extents make ext4.
    let superblock = read(1024, 256)?;
    (superblock[0x38..0x3A] == [0x53, 0xEF]).then(|| Found {
        filesystem: match (superblock[0x5C] & 0x04 != 0, superblock[0x60] & 0x40 != 0) {
            (_, true) => "ext4",
            (true, false) => "ext3",
            (false, false) => "ext2",
        },
        label: clean(&superblock[0x78..0x88]),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_magic_is_found_at_its_place() {
        for Magic(at, magic, filesystem, ..) in &MAGICS {
            let mut disk = vec![0; 128 * 1024];
            let at = 512 + usize::try_from(*at).unwrap();
            disk[at..at + magic.len()].copy_from_slice(magic);
            assert_eq!(find(&disk[..], 512, 127 * 1024).unwrap().filesystem, *filesystem);
        }
    }

    #[test]
    fn ext4_is_told_from_its_ancestors_and_its_label_is_read() {
        let mut disk = vec![0; 4096];
        disk[1024 + 0x38..1024 + 0x3A].copy_from_slice(&[0x53, 0xEF]);
        assert_eq!(find(&disk[..], 0, 4096).unwrap().filesystem, "ext2");
        disk[1024 + 0x60] = 0x40;
        disk[1024 + 0x78..1024 + 0x7C].copy_from_slice(b"home");
        let found = find(&disk[..], 0, 4096).unwrap();
        assert_eq!((found.filesystem, found.label.as_deref()), ("ext4", Some("home")));
    }
}
