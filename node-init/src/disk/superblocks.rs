// SPDX-License-Identifier: Apache-2.0
//! Where superblocks lie: every place at which libblkid, a kernel or firmware looks for the label of a file system, an
//! array, a volume group or encryption, in a disk as in a partition.

use std::ops::Range;

const MIB: u64 = 1 << 20;

/// Bytes at the start. VMFS is the farthest with 2 MiB; UDF has 1 MiB, two ZFS labels have 512 KiB.
const FRONT: u64 = 4 * MIB;

/// Bytes at the end. bcachefs is the farthest with 2 MiB, counted from an end that it may round down; Promise's firmware
/// RAID has 1.5 MiB, two ZFS labels up to 768 KiB, md, DRBD, Intel's and AMD's firmware RAID and a table's copy less.
const BACK: u64 = 4 * MIB;

/// Copies of btrfs's superblock besides the one in the front.
const MIRRORS: [u64; 3] = [64 * MIB, 256 << 30, 1 << 50];

/// Bytes of one of them, with room to spare.
const MIRROR: u64 = 64 * 1024;

/// The places in `whole`, in order and apart from each other. Those that touch are one.
pub(crate) fn places(whole: &Range<u64>) -> Vec<Range<u64>> {
    let size = whole.end.saturating_sub(whole.start);
    let front = 0..FRONT.min(size);
    let back = size.saturating_sub(BACK) / MIB * MIB..size;
    let mirrors = MIRRORS.iter().filter(|at| **at < size);
    let mut all: Vec<Range<u64>> = mirrors.map(|at| *at..(at + MIRROR).min(size)).collect();
    all.extend([front, back]);
    all.retain(|place| !place.is_empty());
    all.sort_by_key(|place| place.start);
    all.into_iter().fold(Vec::new(), |mut apart: Vec<Range<u64>>, place| {
        match apart.last_mut() {
            Some(last) if whole.start + place.start <= last.end => last.end = last.end.max(whole.start + place.end),
            _ => apart.push(whole.start + place.start..whole.start + place.end),
        }
        apart
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_ends_and_the_mirrors_are_covered() {
        let size = 500_107_862_016;
        assert_eq!(
            places(&(0..size)),
            [
                0..4 * MIB,
                64 * MIB..64 * MIB + MIRROR,
                256 << 30..(256 << 30) + MIRROR,
                size - 4 * MIB - size % MIB..size
            ]
        );
        assert_eq!(places(&(MIB..6 * MIB)).first(), Some(&(MIB..6 * MIB)), "they touch");
        assert!(places(&(MIB..MIB)).is_empty());
    }

    proptest! {
        #[test]
        fn places_lie_inside_in_order_and_apart(start in 0_u64..1 << 50, size in 0_u64..1 << 52) {
            let whole = start..start + size;
            let places = places(&whole);
            prop_assert!(places.iter().all(|p| p.start < p.end && p.start >= whole.start && p.end <= whole.end));
            prop_assert!(places.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
