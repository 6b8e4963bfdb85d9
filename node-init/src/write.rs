// SPDX-License-Identifier: Apache-2.0
//! Writes an image to a disk so that a half-written disk never boots.
//!
//! Several hands take one chunk each through the layers
//!
//! 1. `fetch` – its bytes, by range over plain HTTP, however often the connection breaks,
//! 2. `verify` – that they are what the signed manifest says, before anything looks inside,
//! 3. `decompress` – into 4 MiB of memory and not a byte more;
//!
//! and one pen writes them in order, past the page cache, zeros where the image has holes. The first MiB stays in
//! memory until [`finish`] puts it down: labels of former systems go from where the new partitions end, then come the
//! seed of an image for cloud-init, everything but the boot sector, the table's copy, and the boot sector.

mod decompress;
#[cfg(test)]
pub(crate) mod fakes;
pub mod fetch;
pub mod layout;
pub mod manifest;
mod pipeline;
pub mod seed;
mod verify;

use std::ops::Range;

use provisioner_api::{FIRST_MIB, FailCause, Manifest};

use crate::disk::{Aligned, BlockDevice, clear, superblocks, zero};
use layout::Layout;

/// The first MiB as `usize`.
const FIRST: usize = 1 << 20;

/// Where an image's bytes come from.
pub trait Source: Sync {
    /// Fills `into` with `length` bytes of the `chunks` file from byte `offset`.
    fn chunk(&self, offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), Trouble>;
}

/// Hears bytes of disk done and bytes of disk in all.
pub type Meter<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// What went wrong, without the names of disk and image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The disk refused.
    #[error("byte {offset}: {detail}")]
    Disk {
        /// Where.
        offset: u64,
        /// The kernel's word.
        detail: String,
    },
    /// The image is not what its manifest says.
    #[error("{0}")]
    Corrupt(String),
    /// The image cannot be had.
    #[error("{0}")]
    Unavailable(String),
    /// Nobody whom the controller trusts has signed it.
    #[error("{0}")]
    Untrusted(String),
    /// The disk ends before the image.
    #[error("{need} bytes needed, {have} there")]
    TooSmall {
        /// Bytes.
        need: u64,
        /// Bytes.
        have: u64,
    },
    /// The image cannot be laid out on this disk.
    #[error("{0}")]
    Layout(String),
    /// What cloud-init shall obey cannot be put beside the image.
    #[error("{0}")]
    Seed(String),
}

impl Trouble {
    /// The same for people and the controller.
    pub fn cause(self, disk: &str, image: &str) -> FailCause {
        let (disk, image) = (disk.to_owned(), image.to_owned());
        match self {
            Self::Disk { offset, detail } => FailCause::DiskWrite { disk, offset, detail },
            Self::Corrupt(detail) => FailCause::ImageCorrupt { image, detail },
            Self::Unavailable(detail) => FailCause::ImageUnavailable { image, detail },
            Self::Untrusted(detail) => FailCause::ImageUntrusted { image, detail },
            Self::TooSmall { need, have } => FailCause::DiskTooSmall { disk, need, have },
            Self::Layout(detail) => FailCause::SetUp {
                step: "partition table".into(),
                detail,
            },
            Self::Seed(detail) => FailCause::SetUp {
                step: "seed for cloud-init".into(),
                detail,
            },
        }
    }

    fn disk(offset: u64) -> impl Fn(std::io::Error) -> Self {
        move |error| Self::Disk {
            offset,
            detail: error.to_string(),
        }
    }
}

/// The first MiB of an image that is on the disk up to that.
pub struct FirstMib(Aligned);

/// Writes everything but the first MiB, which is zeros on the disk from before the first byte until [`finish`].
pub fn body(
    disk: &dyn BlockDevice,
    manifest: &Manifest,
    source: &dyn Source,
    meter: Meter<'_>,
) -> Result<FirstMib, Trouble> {
    if disk.size() < manifest.disk_size {
        return Err(Trouble::TooSmall {
            need: manifest.disk_size,
            have: disk.size(),
        });
    }
    layout::fits_sectors(disk.sector())?;
    layout::has_room(manifest, disk.size())?;
    clear_ends(disk)?;
    let mut first = Aligned::zeroed(FIRST);
    pipeline::run(disk, manifest, source, &mut first, meter)?;
    disk.sync().map_err(Trouble::disk(0))?;
    Ok(FirstMib(first))
}

/// What an image becomes on one disk.
#[derive(Clone, Copy, Debug)]
pub enum Fitted<'a> {
    /// One of ours: its root partition has this many bytes, or the rest of the disk.
    Root(Option<u64>),
    /// One for cloud-init, which grows its root by itself, up to the partition with these bytes.
    Seed(&'a [u8]),
}

/// Puts down the seed, where there is one, and the first MiB, its partition table fitted to this disk. When this
/// returns, the disk boots.
pub fn finish(disk: &dyn BlockDevice, manifest: &Manifest, fitted: Fitted<'_>, first: FirstMib) -> Result<(), Trouble> {
    let FirstMib(mut first) = first;
    let Layout {
        backup,
        backup_at,
        seed_at,
        grown,
    } = layout::fit(&mut first, manifest, disk.size(), fitted)?;
    clear_behind(disk, &grown, manifest.disk_size)?;
    if let Fitted::Seed(seed) = fitted {
        put(disk, seed, seed_at)?;
    }
    let sector = usize::try_from(layout::SECTOR).unwrap_or(FIRST);
    put(disk, &first[sector..], layout::SECTOR)?;
    put(disk, &backup, backup_at)?;
    put(disk, &first[..sector], 0)
}

/// Zeros over the first and the last MiB, where tables, boot code and their copies live, and then over every place
/// where a label of the whole disk can lie. The firmware of some PCs boots from the copy of a GPT alone, so both tables
/// go before anything else does.
pub fn clear_ends(disk: &dyn BlockDevice) -> Result<(), Trouble> {
    let last = disk.size().saturating_sub(FIRST_MIB) / FIRST_MIB * FIRST_MIB;
    // The last piece is up to 2 MiB, because the end of a disk lies where it lies.
    for (offset, length) in [(0, FIRST_MIB.min(disk.size())), (last, disk.size() - last)] {
        zero(disk, offset, length).map_err(Trouble::disk(offset))?;
        disk.sync().map_err(Trouble::disk(offset))?;
    }
    clear_labels(disk, &(0..disk.size()))
}

/// Zeros over every place of a partition, or of a disk, where a label can lie.
pub fn clear_labels(disk: &dyn BlockDevice, whole: &Range<u64>) -> Result<(), Trouble> {
    clear(disk, whole).map_err(|trouble| Trouble::disk(trouble.at)(trouble.source))?;
    disk.sync().map_err(Trouble::disk(whole.start))
}

/// Clears the places for labels in a partition that has grown, as far as they lie behind the image: what lies before its
/// end is the image's, and written.
fn clear_behind(disk: &dyn BlockDevice, grown: &Range<u64>, image: u64) -> Result<(), Trouble> {
    let image = image.next_multiple_of(disk.sector());
    for place in superblocks::places(grown) {
        let start = place.start.max(image);
        zero(disk, start, place.end.saturating_sub(start)).map_err(Trouble::disk(start))?;
    }
    disk.sync().map_err(Trouble::disk(grown.start))
}

fn put(disk: &dyn BlockDevice, bytes: &[u8], offset: u64) -> Result<(), Trouble> {
    let mut buffer = Aligned::zeroed(bytes.len());
    buffer.copy_from_slice(bytes);
    disk.write(&buffer, bytes.len(), offset)
        .map_err(Trouble::disk(offset))?;
    disk.sync().map_err(Trouble::disk(offset))
}

#[cfg(test)]
mod tests;
