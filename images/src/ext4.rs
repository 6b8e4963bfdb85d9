// SPDX-License-Identifier: Apache-2.0
//! The root file system: made by mke2fs straight from a tar archive, and asked afterwards which of its blocks may be
//! left unwritten on a disk that holds other people's bytes.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::tool::Tools;

/// Bytes of a block: also the page size, and what every tool takes as given.
pub const BLOCK: u64 = 4096;

/// MiB of the journal: enough for a node's root file system, and it has to be written out on every node.
const JOURNAL_MIB: u32 = 32;

/// What a file system is called and derived from.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// UUID.
    pub uuid: &'a str,
    /// Seed of the hashes in folders.
    pub hash_seed: &'a str,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970 of all its own dates.
    pub created: u64,
}

/// Makes the file system in a new file from a tar archive.
pub fn make(tools: &Tools, plan: &Plan, archive: &Path, out: &Path) -> Result<()> {
    // The kernel clears inode tables when it first mounts the file system (lazy_itable_init), because the holes of an
    // image are not written and a disk is never empty. Blocks are not reserved beyond 1 %: there are no users on a node.
    let extended = format!(
        "hash_seed={},lazy_itable_init=1,root_owner=0:0,nodiscard",
        plan.hash_seed
    );
    tools
        .tool("usr/sbin/mke2fs")
        .env("MKE2FS_CONFIG", tools.tree().join("etc/mke2fs.conf"))
        .env("SOURCE_DATE_EPOCH", plan.created.to_string())
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            &BLOCK.to_string(),
            "-m",
            "1",
            "-L",
            "root",
            "-U",
            plan.uuid,
        ])
        .args(["-J", &format!("size={JOURNAL_MIB}"), "-E", &extended, "-d"])
        .arg(archive)
        .arg(out)
        .arg((plan.size / BLOCK).to_string())
        .run()
        .context("making the root file system; if it is full, raise root_mib in the recipe")
}

/// The byte ranges of a file system that nothing relies on: free blocks, and inode tables that the kernel clears itself.
/// Everything else must be on the disk even where it is zero: the journal above all, in which old transactions of
/// an earlier life of the same node would otherwise come to life again.
pub fn unused(tools: &Tools, filesystem: &Path) -> Result<Vec<Range<u64>>> {
    let listing = tools.tool("usr/sbin/dumpe2fs").arg(filesystem).output()?;
    let unused = parse_unused(&listing);
    ensure!(
        !unused.is_empty(),
        "dumpe2fs lists no free blocks in {}",
        filesystem.display()
    );
    Ok(unused)
}

/// Reads `Free blocks: 5, 7-9` and, in groups whose inode table is still to be cleared, `Inode table at 1-2`.
fn parse_unused(listing: &str) -> Vec<Range<u64>> {
    let mut unused = Vec::new();
    let mut cleared_later = false;
    for line in listing.lines() {
        let text = line.trim();
        if text.starts_with("Group ") {
            // Of such a group no inode is in use.
            cleared_later = text.contains("INODE_UNINIT") && !text.contains("ITABLE_ZEROED");
        } else if let Some(rest) = text.strip_prefix("Inode table at ").filter(|_| cleared_later) {
            unused.extend(rest.split([' ', ',']).next().and_then(blocks));
        } else if let Some(rest) = text.strip_prefix("Free blocks: ").filter(|_| line.starts_with(' ')) {
            unused.extend(rest.split(", ").filter_map(blocks));
        }
    }
    unused.sort_by_key(|range| range.start);
    unused
}

/// `7` or `7-9` to bytes.
fn blocks(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let end = last.checked_add(1)?.checked_mul(BLOCK)?;
    (first <= last).then_some(first * BLOCK..end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LISTING: &str = "\
Free blocks:              12345
Group 0: (Blocks 0-32767) csum 0x1111 [ITABLE_ZEROED]
  Inode table at 10-20 (+10)
  Free blocks: 100, 200-299
  Free inodes: 12-40
Group 1: (Blocks 32768-65535) csum 0x2222 [INODE_UNINIT, BLOCK_UNINIT]
  Inode table at 30-40 (bg #0 + 30)
  Free blocks: 
Group 2: (Blocks 65536-98303) csum 0x2222 [INODE_UNINIT, ITABLE_ZEROED]
  Inode table at 50-60 (bg #0 + 50)
";

    #[test]
    fn free_blocks_and_inode_tables_still_to_be_cleared_are_unused_and_nothing_else() {
        let expected = [30..41, 100..101, 200..300].map(|range: Range<u64>| range.start * BLOCK..range.end * BLOCK);
        assert_eq!(parse_unused(LISTING), expected);
    }

    proptest! {
        #[test]
        fn no_listing_makes_the_parser_panic(text in "(Group |Free blocks: |  |[0-9]{1,20}|-|, |\n){0,40}") {
            parse_unused(&text);
        }
    }
}
