// SPDX-License-Identifier: Apache-2.0
//! What both kinds of partition table have in common.

use provisioner_api::DiskPartition;

/// A partition table, sound or not.
pub(super) struct Table {
    /// `gpt` or `mbr`.
    pub(super) kind: &'static str,
    /// What could be read of it, in the table's order.
    pub(super) partitions: Vec<DiskPartition>,
    /// What is wrong with it.
    pub(super) trouble: Option<Trouble>,
    /// Bytes that it takes up at the start and at the end of the disk.
    pub(super) room: u64,
}

/// Why a table does not tell the whole truth. A person reads it before the disk is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Checksums are wrong, or nothing in it makes sense.
    Damaged,
    /// The first one is gone; this is what its copy at the end says.
    Copy,
    /// It was made where the disk had sectors of another size, as in some USB cases.
    OtherSectors,
    /// A partition ends behind the disk: the disk was larger when the table was made, or is not the whole disk.
    Cut,
}

impl Trouble {
    /// For people, behind the word "table".
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Damaged => "is damaged",
            Self::Copy => "is gone from the start of the disk, its copy at the end is there",
            Self::OtherSectors => "was made for sectors of another size",
            Self::Cut => "has partitions that end behind the disk",
        }
    }
}

/// Shortens a partition to what the disk has of it; `None` where that is nothing.
pub(super) fn inside(start: u64, end: u64, size: u64) -> Option<(u64, u64)> {
    (start < end && start < size).then(|| (start, end.min(size)))
}
