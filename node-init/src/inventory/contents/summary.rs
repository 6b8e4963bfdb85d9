// SPDX-License-Identifier: Apache-2.0
//! One line about a disk, for the person who decides about it.

use provisioner_api::DiskPartition;

/// "empty", "Windows, 3 partitions, 212 GB", "Linux, ext4 on the whole disk, 2 GB".
pub(super) fn of(table: Option<&str>, partitions: &[DiskPartition]) -> String {
    let bytes = partitions.iter().fold(0_u64, |sum, p| sum.saturating_add(p.size));
    match (table, partitions) {
        (None, []) => "empty".into(),
        (Some(table), []) => format!("an empty {table} partition table"),
        (_, [only]) if only.number == 0 => {
            let filesystem = only.filesystem.as_deref().unwrap_or("unknown");
            format!(
                "{}, {filesystem} on the whole disk, {}",
                system(partitions),
                size(bytes)
            )
        }
        (_, [_]) => format!("{}, 1 partition, {}", system(partitions), size(bytes)),
        (_, many) => format!("{}, {} partitions, {}", system(partitions), many.len(), size(bytes)),
    }
}

/// Whose system it looks like. Windows first: a disk with both is somebody's Windows PC.
fn system(partitions: &[DiskPartition]) -> &'static str {
    let any = |kinds: &[&str], filesystems: &[&str]| {
        partitions.iter().any(|p| {
            kinds.contains(&p.kind.as_str()) || p.filesystem.as_deref().is_some_and(|f| filesystems.contains(&f))
        })
    };
    if any(&["Microsoft reserved", "Windows recovery"], &["ntfs", "bitlocker"]) {
        "Windows"
    } else if any(&["Apple HFS+", "Apple APFS"], &["hfsplus", "apfs"]) {
        "macOS"
    } else if any(
        &["Linux", "Linux root (x86-64)", "Linux swap", "Linux LVM", "Linux RAID"],
        &[
            "ext2", "ext3", "ext4", "xfs", "btrfs", "swap", "luks", "lvm", "raid", "reiserfs",
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
