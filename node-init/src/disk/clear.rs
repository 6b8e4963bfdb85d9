// SPDX-License-Identifier: Apache-2.0
//! Zeros where old labels lie: what is left of a former file system or array is taken for the new one's by whoever looks
//! for labels before file systems (udev, mdadm, ZFS).

use std::io;
use std::ops::Range;

use super::{Aligned, BlockDevice, superblocks};

/// Bytes of one plain write of zeros.
const PIECE: u64 = 1024 * 1024;

/// A place that could not be cleared.
#[derive(Debug, thiserror::Error)]
#[error("clearing byte {at}")]
pub(crate) struct NotCleared {
    /// First byte of the place.
    pub(crate) at: u64,
    /// The kernel's word.
    pub(crate) source: io::Error,
}

/// Makes every place in `whole` where a label can lie read as zeros. What `whole` has behind the disk is left out.
pub(crate) fn clear(device: &dyn BlockDevice, whole: &Range<u64>) -> Result<(), NotCleared> {
    for place in superblocks::places(&(whole.start..whole.end.min(device.size()))) {
        let place = sectors(device, &place);
        zero(device, place.start, place.end - place.start).map_err(|source| NotCleared {
            at: place.start,
            source,
        })?;
    }
    Ok(())
}

/// The whole sectors that a place touches: tables for sectors of another size count in smaller steps.
fn sectors(device: &dyn BlockDevice, place: &Range<u64>) -> Range<u64> {
    let sector = device.sector();
    let end = place.end.div_ceil(sector).saturating_mul(sector);
    place.start / sector * sector..end.min(device.size())
}

/// Makes `length` bytes from `offset` read as zeros: by the disk's own command, or, where it refuses that, by plain
/// writes. Only a disk that fails at those is a bad one.
pub(crate) fn zero(device: &dyn BlockDevice, offset: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let Err(refused) = device.zero(offset, length) else {
        return Ok(());
    };
    tracing::debug!(offset, length, %refused, "the disk does not zero by itself; writing zeros");
    let zeros = Aligned::zeroed(usize::try_from(PIECE.min(length)).map_err(io::Error::other)?);
    let end = offset.saturating_add(length);
    let mut at = offset;
    while at < end {
        let piece = PIECE.min(end - at);
        device.write(&zeros, usize::try_from(piece).map_err(io::Error::other)?, at)?;
        at += piece;
    }
    Ok(())
}
