// SPDX-License-Identifier: Apache-2.0
//! Disks in memory, for the tests of everything that looks at them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::Sectors;
use crate::write::layout::{crc32, put32, put64, seal};

pub(crate) const MIB: u64 = 1 << 20;

/// A disk of any size that holds one byte, but for some places, and that fails to be read at others.
pub(crate) struct Sparse {
    pub(crate) fill: u8,
    pub(crate) bytes: BTreeMap<u64, u8>,
    pub(crate) broken: Option<Range<u64>>,
}

impl Sparse {
    pub(crate) fn blank() -> Self {
        Self {
            fill: 0,
            bytes: BTreeMap::new(),
            broken: None,
        }
    }

    pub(crate) fn put(mut self, at: u64, bytes: &[u8]) -> Self {
        self.bytes.extend((at..).zip(bytes.iter().copied()));
        self
    }
}

impl Sectors for Sparse {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if self
            .broken
            .as_ref()
            .is_some_and(|broken| broken.start < end && offset < broken.end)
        {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        buffer.fill(self.fill);
        for (at, byte) in self.bytes.range(offset..end) {
            buffer[usize::try_from(at - offset).map_err(io::Error::other)?] = *byte;
        }
        Ok(())
    }
}

/// A disk with a GPT for sectors of so many bytes, with partitions that begin at a byte and have so many bytes.
pub(crate) fn gpt(size: u64, sector: u64, partitions: &[(u64, u64)]) -> Vec<u8> {
    let place = |at: u64| usize::try_from(at).unwrap_or(0);
    let mut disk = vec![0; place(size)];
    disk[446 + 4] = 0xEE;
    put32(&mut disk, 446 + 8, 1);
    put32(
        &mut disk,
        446 + 12,
        u32::try_from(size / sector - 1).unwrap_or(u32::MAX),
    );
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    let mut entries = vec![0; 128 * 128];
    for (entry, (start, length)) in entries.chunks_mut(128).zip(partitions) {
        // An EFI system partition, C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
        entry[..16].copy_from_slice(b"\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b");
        put64(entry, 32, start / sector);
        put64(entry, 40, (start + length) / sector - 1);
        entry[56..62].copy_from_slice(b"E\0S\0P\0");
    }
    let last = size / sector - 1;
    let entry_sectors = (128 * 128) / sector;
    for (at, other, entries_at) in [(1, last, 2), (last, 1, last - entry_sectors)] {
        let header = &mut disk[place(at * sector)..][..512];
        header[..12].copy_from_slice(b"EFI PART\0\0\x01\0");
        put32(header, 12, 92);
        put64(header, 24, at);
        put64(header, 32, other);
        put64(header, 72, entries_at);
        put32(header, 80, 128);
        put32(header, 84, 128);
        put32(header, 88, crc32(&entries));
        seal(header);
        disk[place(entries_at * sector)..][..entries.len()].copy_from_slice(&entries);
    }
    disk
}
