// SPDX-License-Identifier: Apache-2.0
//! FAT file systems in somebody else's disk, read where they lie: is one a seed, and how new are the files in another?

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use fatfs::{Dir, FileSystem, FsOptions};
use jiff::civil;
use jiff::tz::TimeZone;
use provisioner_api::{Partition, SEED_LABEL};

/// Folders in folders that are looked into: `EFI/BOOT` and `EFI/debian` are two.
const DEPTH: u32 = 3;
/// Entries of a folder that are looked at; a damaged one may go round for ever.
const ENTRIES: usize = 1000;
/// Where FAT12 and FAT16 have their label, and where FAT32 has it (the boot sector's extended block).
const LABELS: [u64; 2] = [43, 71];

/// Whether cloud-init would take a partition for its seed.
pub(super) fn is_seed(disk: &File, partition: &Partition) -> bool {
    LABELS.iter().any(|at| {
        let mut label = [0; 11];
        let read = disk.read_exact_at(&mut label, partition.start + at).is_ok();
        read && String::from_utf8_lossy(&label)
            .trim_end()
            .eq_ignore_ascii_case(SEED_LABEL)
    })
}

/// When the newest file was written, seconds since 1970; nothing where that cannot be found out.
pub(super) fn newest(disk: &File, partition: &Partition) -> Option<u64> {
    let place = Place {
        disk,
        start: partition.start,
        size: partition.size,
        at: 0,
    };
    let volume = FileSystem::new(place, FsOptions::new()).ok()?;
    newest_in(&volume.root_dir(), DEPTH)
}

fn newest_in(folder: &Dir<'_, Place<'_>>, depth: u32) -> Option<u64> {
    let entries = folder.iter().take(ENTRIES).map_while(Result::ok);
    let dates = entries.filter_map(|entry| {
        if entry.is_file() {
            return seconds(&entry.modified());
        }
        let inner = depth > 0 && !entry.file_name().starts_with('.');
        inner.then(|| newest_in(&entry.to_dir(), depth - 1)).flatten()
    });
    dates.max()
}

/// FAT's dates know no time zone: taken as UTC, the same on every machine.
fn seconds(at: &fatfs::DateTime) -> Option<u64> {
    let small = |number: u16| i8::try_from(number).ok();
    let date = (
        i16::try_from(at.date.year).ok()?,
        small(at.date.month)?,
        small(at.date.day)?,
    );
    let time = (small(at.time.hour)?, small(at.time.min)?, small(at.time.sec)?);
    let at = civil::DateTime::new(date.0, date.1, date.2, time.0, time.1, time.2, 0).ok()?;
    u64::try_from(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()).ok()
}

/// A partition as a file that cannot be written.
struct Place<'a> {
    disk: &'a File,
    start: u64,
    size: u64,
    at: u64,
}

impl Read for Place<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = into.len().min(left);
        let read = self.disk.read_at(&mut into[..length], self.start + self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Place<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl Write for Place<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
