// SPDX-License-Identifier: Apache-2.0
//! What lies on a disk: partition table, file systems, and one line about it for the person who will approve its end.
//!
//! Everything is read, nothing written, and nothing on the disk is believed: sizes and offsets are checked against
//! the disk, chains and tables have limits. "Empty" is said only where everything that was looked at could be read and
//! holds one and the same byte: what has no name is unknown data, and what cannot be read is not known at all.

mod gpt;
mod mbr;
pub(crate) mod names;
mod summary;
mod surface;
mod table;

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use provisioner_api::{ContentsState, DiskContents, DiskPartition};

use names::Found;
use table::{Table, Trouble};

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

/// A disk that remembers whether a read of it failed. Offsets come from the disk itself: those that lie outside are
/// refused, which says nothing about the disk's health.
struct Watched<'a, S: ?Sized> {
    disk: &'a S,
    size: u64,
    failed: Cell<bool>,
}

impl<S: Sectors + ?Sized> Sectors for Watched<'_, S> {
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset
            .checked_add(buffer.len() as u64)
            .is_none_or(|end| end > self.size)
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let read = self.disk.read(buffer, offset);
        self.failed.set(self.failed.get() || read.is_err());
        read
    }
}

/// What is known of the contents of a disk that nobody can open.
pub(crate) fn unreadable() -> DiskContents {
    DiskContents {
        state: ContentsState::Unreadable,
        summary: summary::UNREADABLE.into(),
        ..DiskContents::default()
    }
}

/// Reads a disk of `size` bytes whose logical sectors have `sector` bytes. `name` says what begins at a byte and has so
/// many bytes.
pub(crate) fn read(
    disk: &(impl Sectors + ?Sized),
    size: u64,
    sector: u64,
    name: &dyn Fn(u64, u64) -> Option<Found>,
) -> DiskContents {
    let disk = Watched {
        disk,
        size,
        failed: Cell::new(false),
    };
    // Before anything else is asked: a disk that cannot be read at its ends is slow at everything.
    let blank = surface::is_blank(&disk, &(0..size));
    let table = (!matches!(blank, Ok(true)))
        .then(|| table(&disk, size, sector))
        .flatten();
    let mut partitions = table.as_ref().map(|table| table.partitions.clone()).unwrap_or_default();
    if matches!(blank, Ok(false)) {
        for partition in &mut partitions {
            if let Some(found) = name(partition.start, partition.size) {
                partition.filesystem = Some(found.filesystem);
                partition.label = found.label.or(partition.label.take());
            }
        }
        // Beside a table, too: members of firmware RAID carry both.
        partitions.extend(name(0, size).map(|found| whole(size, found)));
    }
    let bare = partitions.is_empty() && table.as_ref().is_some_and(|table| is_bare(&disk, size, table));
    let state = match (&blank, &table) {
        _ if disk.failed.get() => ContentsState::Unreadable,
        (Ok(true), _) => ContentsState::Empty,
        _ if !partitions.is_empty() || bare => ContentsState::Known,
        _ => ContentsState::Unknown,
    };
    DiskContents {
        state,
        summary: summary::of(state, table.as_ref(), &partitions),
        table: table.map(|table| table.kind.to_owned()),
        partitions,
    }
}

/// The table that counts. A GPT that is not whole may be what is left of a former life of the disk, if there is a
/// table of the old kind that protects nothing.
fn table(disk: &(impl Sectors + ?Sized), size: u64, sector: u64) -> Option<Table> {
    let (gpt, mbr) = (gpt::read(disk, size, sector), mbr::read(disk, size, sector));
    match (gpt, mbr) {
        (Some(gpt), Some(mbr)) if gpt.trouble.is_some() && mbr.kind == "mbr" && !mbr.partitions.is_empty() => Some(mbr),
        (gpt, mbr) => gpt.or(mbr),
    }
}

/// Whether there is nothing on the disk besides a sound table without partitions.
fn is_bare(disk: &(impl Sectors + ?Sized), size: u64, table: &Table) -> bool {
    let between: Range<u64> = table.room..size.saturating_sub(table.room);
    table.trouble.is_none() && surface::is_blank(disk, &between).unwrap_or(false)
}

fn whole(size: u64, found: Found) -> DiskPartition {
    DiskPartition {
        number: 0,
        start: 0,
        size,
        kind: "whole disk".into(),
        filesystem: Some(found.filesystem),
        label: found.label,
    }
}

#[cfg(test)]
pub(crate) mod fakes;
#[cfg(test)]
mod tests;
