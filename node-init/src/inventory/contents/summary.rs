// SPDX-License-Identifier: Apache-2.0
//! One line about a disk, for the person who decides about it.

use provisioner_api::{ContentsState, DiskPartition};

use super::names::member;
use super::{Table, Trouble};

/// Of a disk whose reads fail.
pub(super) const UNREADABLE: &str = "cannot be read";

/// "empty", "Windows, 3 partitions, 212 GB", "Linux, ext4 on the whole disk, 2 GB", "unknown data".
pub(super) fn of(state: ContentsState, table: Option<&Table>, partitions: &[DiskPartition]) -> String {
    let trouble = table.and_then(|table| table.trouble);
    let mut words = Vec::new();
    match (known(partitions), table) {
        (Some(known), _) => words.push(known),
        (None, Some(table)) if trouble.is_some() => words.push(format!("a partition table ({})", table.kind)),
        (None, Some(table)) => words.push(format!("an empty {} partition table", table.kind)),
        (None, None) => {}
    }
    words.extend(trouble.map(|trouble| format!("its table {}", Trouble::words(trouble))));
    match (state, words.is_empty()) {
        (ContentsState::Empty, _) => words.push("empty".into()),
        (ContentsState::Unknown, _) => words.push("unknown data".into()),
        (ContentsState::Unreadable, true) => words.push(UNREADABLE.into()),
        (ContentsState::Unreadable, false) => words.push("parts of it cannot be read".into()),
        (ContentsState::Known, _) => {}
    }
    words.join(", ")
}

/// What was recognised.
fn known(partitions: &[DiskPartition]) -> Option<String> {
    let (whole, parts): (Vec<_>, Vec<_>) = partitions.iter().partition(|p| p.number == 0);
    let bytes = parts.iter().fold(0_u64, |sum, p| sum.saturating_add(p.size));
    let count = match parts.len() {
        1 => "1 partition".to_owned(),
        n => format!("{n} partitions"),
    };
    let parts_in_words = (!parts.is_empty()).then(|| {
        let mut words = vec![format!("{}, {count}, {}", system(&parts), size(bytes))];
        let mut members: Vec<&str> = parts.iter().filter_map(|p| member(p.filesystem.as_deref()?)).collect();
        members.sort_unstable();
        members.dedup();
        words.extend(members.into_iter().map(str::to_owned));
        words.join(", ")
    });
    let whole_in_words = whole.iter().map(|p| {
        let filesystem = p.filesystem.as_deref().unwrap_or("unknown");
        match member(filesystem) {
            Some(member) => format!("{member}, {}", size(p.size)),
            None => format!("{}, {filesystem} on the whole disk, {}", system(&[p]), size(p.size)),
        }
    });
    let all: Vec<String> = parts_in_words.into_iter().chain(whole_in_words).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Whose system it looks like. Windows first: a disk with both is somebody's Windows PC.
fn system(partitions: &[&DiskPartition]) -> &'static str {
    let any = |kinds: &[&str], filesystems: &[&str]| {
        partitions.iter().any(|p| {
            kinds.contains(&p.kind.as_str()) || p.filesystem.as_deref().is_some_and(|f| filesystems.contains(&f))
        })
    };
    if any(
        &["Microsoft reserved", "Windows recovery"],
        &["ntfs", "bitlocker", "ReFS"],
    ) {
        "Windows"
    } else if any(&["Apple HFS+", "Apple APFS"], &["hfs", "hfsplus", "apfs"]) {
        "macOS"
    } else if any(
        &["Linux", "Linux root (x86-64)", "Linux swap", "Linux LVM", "Linux RAID"],
        &[
            "ext2", "ext3", "ext4", "xfs", "btrfs", "swap", "luks", "lvm", "raid", "reiserfs", "f2fs", "bcachefs",
        ],
    ) {
        "Linux"
    } else {
        "data"
    }
}

/// Decimal units, as on the disk's label.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes / 1000),
        1_000_000..1_000_000_000 => format!("{} MB", (bytes + 500_000) / 1_000_000),
        _ => format!("{} GB", (bytes + 500_000_000) / 1_000_000_000),
    }
}
