// SPDX-License-Identifier: Apache-2.0
//! Whether a disk holds anything at all, whatever it is: encryption without a header looks like noise, and an array's
//! data like nothing that has a name.

use std::io;
use std::ops::Range;

use super::Sectors;
use crate::disk::superblocks;

/// Samples between the ends, as many as the check before an installation reads.
const SAMPLES: u64 = 62;
/// Bytes of a sample.
const SAMPLE: u64 = 256 * 1024;
/// A disk up to this size is read as a whole: its samples would touch each other.
const SMALL: u64 = 32 * 1024 * 1024;
/// Bytes of one read.
const PIECE: u64 = 1024 * 1024;

/// Whether every place that is looked at in `whole` holds one and the same byte. The places where labels lie are read
/// in any case, because an end that cannot be read must be known; samples only while nothing was found.
pub(super) fn is_blank(disk: &(impl Sectors + ?Sized), whole: &Range<u64>) -> io::Result<bool> {
    let mut byte = None;
    let mut blank = true;
    for place in superblocks::places(whole) {
        blank &= is_one_byte(disk, &place, &mut byte)?;
    }
    for sample in samples(whole) {
        blank = blank && is_one_byte(disk, &sample, &mut byte)?;
    }
    Ok(blank && byte.is_some())
}

/// Whether a place holds nothing but `byte`, which the first place decides.
fn is_one_byte(disk: &(impl Sectors + ?Sized), place: &Range<u64>, byte: &mut Option<u8>) -> io::Result<bool> {
    let mut one = true;
    let mut at = place.start;
    while at < place.end {
        let mut piece = vec![0; usize::try_from(PIECE.min(place.end - at)).map_err(io::Error::other)?];
        disk.read(&mut piece, at)?;
        let first = *byte.get_or_insert(piece[0]);
        one &= piece[0] == first && piece[1..] == piece[..piece.len() - 1];
        at += piece.len() as u64;
    }
    Ok(one)
}

/// Evenly between the ends; of a small disk all that is there.
fn samples(whole: &Range<u64>) -> Vec<Range<u64>> {
    let size = whole.end.saturating_sub(whole.start);
    if size <= SMALL {
        return vec![whole.clone()];
    }
    let step = (size - SAMPLE) / (SAMPLES + 1);
    (1..=SAMPLES)
        .map(|n| whole.start + step * n)
        .map(|at| at..at + SAMPLE)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn samples_leave_no_gap_of_more_than_a_fiftieth_and_end_with_the_disk() {
        let size = 500_107_862_016;
        let mut places = [superblocks::places(&(0..size)), samples(&(0..size))].concat();
        places.sort_by_key(|place| place.start);
        assert_eq!((places[0].start, places.last().unwrap().end), (0, size));
        assert!(
            places
                .windows(2)
                .all(|pair| pair[1].start.saturating_sub(pair[0].end) < size / 50)
        );
    }

    #[test]
    fn a_disk_of_one_byte_value_is_blank_and_one_of_two_is_not() {
        for byte in [0_u8, 0xFF, 0x5A] {
            let mut disk = vec![byte; 40 << 20];
            assert!(is_blank(&disk[..], &(0..40 << 20)).unwrap());
            disk[(40 << 20) - 1] ^= 1;
            assert!(!is_blank(&disk[..], &(0..40 << 20)).unwrap());
        }
        assert!(
            !is_blank(&[][..], &(0..0)).unwrap(),
            "nothing was read, nothing is known"
        );
    }
}
