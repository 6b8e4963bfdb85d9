// SPDX-License-Identifier: Apache-2.0
//! What lies on a disk: partition table, file systems, and one line about it for the person who will approve its end.
//!
//! Everything is read, nothing written, and nothing on the disk is believed: sizes and offsets are checked against
//! the disk, chains and tables have limits.

mod gpt;
mod magic;
mod mbr;
mod summary;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use provisioner_api::{DiskContents, DiskPartition};

/// A disk, or a picture of one, that can be read at any place.
pub(crate) trait Sectors {
    /// Fills `buffer` from byte `offset`.
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Sectors for File {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl Sectors for [u8] {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Reads a disk of `size` bytes whose logical sectors have `sector` bytes.
pub(crate) fn read(disk: &(impl Sectors + ?Sized), size: u64, sector: u64) -> DiskContents {
    let (table, mut partitions) = match gpt::read(disk, size, sector) {
        Some(partitions) => (Some("gpt"), partitions),
        None => match mbr::read(disk, size, sector) {
            Some(partitions) => (Some("mbr"), partitions),
            None => (None, Vec::new()),
        },
    };
    for partition in &mut partitions {
        if let Some(found) = magic::find(disk, partition.start, partition.size) {
            partition.filesystem = Some(found.filesystem.into());
            partition.label = found.label.or(partition.label.take());
        }
    }
    if table.is_none()
        && let Some(found) = magic::find(disk, 0, size)
    {
        partitions.push(DiskPartition {
            number: 0,
            start: 0,
            size,
            kind: "whole disk".into(),
            filesystem: Some(found.filesystem.into()),
            label: found.label,
        });
    }
    let summary = summary::of(table, &partitions);
    DiskContents {
        table: table.map(str::to_owned),
        partitions,
        summary,
    }
}

/// Text from a disk that goes to screens and logs: no control characters, no trailing padding.
fn clean(raw: &[u8]) -> Option<String> {
    let end = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
    let text: String = String::from_utf8_lossy(&raw[..end])
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_blank_disk_is_empty() {
        assert_eq!(read(&vec![0; 4 * MIB][..], 4 * MIB as u64, 512).summary, "empty");
    }

    #[test]
    fn a_windows_disk_is_recognised_before_anybody_approves_its_end() {
        let mut disk = vec![0; 16 * MIB];
        let mut entry = |n: usize, kind: u8, start: u32, sectors: u32| {
            let at = 446 + 16 * n;
            disk[at + 4] = kind;
            disk[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            disk[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        };
        entry(0, 0x07, 2048, 2048);
        entry(1, 0x07, 4096, 20480);
        disk[510..512].copy_from_slice(&[0x55, 0xAA]);
        disk[MIB + 3..MIB + 11].copy_from_slice(b"NTFS    ");
        let contents = read(&disk[..], 16 * MIB as u64, 512);
        assert_eq!(contents.summary, "Windows, 2 partitions, 12 MB");
        assert_eq!(contents.partitions[0].filesystem.as_deref(), Some("ntfs"));
        assert_eq!(contents.partitions[1].filesystem, None);
    }

    #[test]
    fn a_file_system_without_a_table_is_found() {
        let mut disk = vec![0; MIB];
        disk[..4].copy_from_slice(b"XFSB");
        let contents = read(&disk[..], MIB as u64, 512);
        assert_eq!(contents.summary, "Linux, xfs on the whole disk, 1 MB");
    }

    proptest! {
        #[test]
        fn no_disk_is_too_hostile_to_look_at(
            garbage in prop::collection::vec(any::<u8>(), 0..4096),
            size in any::<u64>(),
            table in prop::bool::ANY,
        ) {
            let mut disk = garbage;
            if table && disk.len() > 1024 {
                disk[510..512].copy_from_slice(&[0x55, 0xAA]);
                disk[512..520].copy_from_slice(b"EFI PART");
            }
            for sector in [512, 4096] {
                for partition in read(&disk[..], size, sector).partitions {
                    prop_assert!(partition.start.checked_add(partition.size).is_some_and(|end| end <= size));
                }
            }
        }
    }
}
