// SPDX-License-Identifier: Apache-2.0
//! Fits an image's partition table to the disk that it lands on: the copy of the table at the disk's real end, the
//! root partition as large as was asked for, or one partition more for a seed. Pure: bytes in, bytes out (UEFI
//! specification 2.10, section 5.3).

use std::ops::Range;

use provisioner_api::{Manifest, PartitionRole, SEED_LABEL, SEED_SIZE};

use super::{Fitted, Trouble};

/// Images are laid out in sectors of this many bytes.
pub const SECTOR: u64 = 512;

/// Sectors of the table's copy: 32 for 128 entries of 128 bytes, and the header.
const COPY: u64 = 33;
/// Bytes of all entries.
const ENTRIES: usize = 128 * ENTRY;
const ENTRY: usize = 128;
/// Partitions end at multiples of this, as every tool since 2009 makes them.
const ALIGNMENT: u64 = 1024 * 1024 / SECTOR;
/// Type of the seed's partition: basic data (EBD0A0A2-B9E5-4433-87C0-68B6B72699C7), what FAT file systems lie in
/// everywhere. cloud-init looks at the file system alone.
const BASIC_DATA: [u8; 16] = [
    0xA2, 0xA0, 0xD0, 0xEB, 0xE5, 0xB9, 0x33, 0x44, 0x87, 0xC0, 0x68, 0xB6, 0xB7, 0x26, 0x99, 0xC7,
];
/// The partition itself: 67656C6E-6172-8000-8000-636964617461, of version 8 in RFC 9562. Unique on its disk is enough.
const SEED_GUID: [u8; 16] = *b"nlegra\0\x80\x80\0cidata";

/// What has to be written besides the first MiB.
pub struct Layout {
    /// The entries again, and the header that describes them.
    pub backup: Vec<u8>,
    /// First byte of that.
    pub backup_at: u64,
    /// First byte of the seed's partition, where there is one.
    pub seed_at: u64,
    /// The partition that grows over the rest of the disk, now or at the image's first start: first byte to end.
    pub grown: Range<u64>,
}

/// Images speak of 512-byte sectors, and so do their file systems and loaders.
pub fn fits_sectors(sector: u64) -> Result<(), Trouble> {
    if sector == SECTOR {
        return Ok(());
    }
    Err(Trouble::Layout(format!(
        "the disk has sectors of {sector} bytes, the image is laid out for {SECTOR}"
    )))
}

/// An image for cloud-init needs room behind its partitions, which is known before anything is written.
pub fn has_room(manifest: &Manifest, disk_size: u64) -> Result<(), Trouble> {
    let end = manifest.partitions.iter().map(|p| p.start.saturating_add(p.size)).max();
    match seed_start(disk_size / SECTOR) {
        _ if !manifest.cloud_init => Ok(()),
        Some(start) if end.unwrap_or(0) <= start * SECTOR => Ok(()),
        _ => Err(no_room(disk_size)),
    }
}

/// Changes the table in the first MiB for a disk of `disk_size` bytes.
pub fn fit(first: &mut [u8], manifest: &Manifest, disk_size: u64, fitted: Fitted<'_>) -> Result<Layout, Trouble> {
    let sectors = disk_size / SECTOR;
    let usable_end = sectors
        .checked_sub(COPY + 1)
        .ok_or_else(|| wrong("the disk ends before its table"))?;
    let table = usize::try_from(SECTOR).map_err(|_| wrong("no room"))?;
    if first.len() < 2 * table + ENTRIES || first[510..512] != [0x55, 0xAA] {
        return Err(wrong("the image has no boot sector"));
    }
    check(first, table)?;
    let first_usable = get64(first, table + 40);
    let entries = &mut first[2 * table..2 * table + ENTRIES];
    let mut seed_at = 0;
    let grown = match fitted {
        Fitted::Root(size) => grow_root(entries, manifest, usable_end, size)?,
        Fitted::Seed(_) => {
            let start = seed_start(sectors).filter(|start| *start >= first_usable);
            let start = start.ok_or_else(|| no_room(disk_size))?;
            add_seed(entries, start, disk_size)?;
            seed_at = start * SECTOR;
            // cloud-init grows the last one, up to the seed.
            manifest.partitions.iter().map(|p| p.start).max().unwrap_or(seed_at)..seed_at
        }
    };

    let entries = first[2 * table..2 * table + ENTRIES].to_vec();
    let entries_crc = crc32(&entries);
    let header = &mut first[table..2 * table];
    put64(header, 32, sectors - 1);
    put64(header, 48, usable_end);
    put32(header, 88, entries_crc);
    let mut copy = header.to_vec();
    seal(header);
    // The copy's header names itself, the first one, and its own entries.
    put64(&mut copy, 24, sectors - 1);
    put64(&mut copy, 32, 1);
    put64(&mut copy, 72, sectors - COPY);
    seal(&mut copy);

    // The protective MBR covers the disk, or as much of it as 32 bits can say (5.2.3).
    put32(first, 446 + 12, u32::try_from(sectors - 1).unwrap_or(u32::MAX));

    let mut backup = entries;
    backup.extend(copy);
    Ok(Layout {
        backup,
        backup_at: (sectors - COPY) * SECTOR,
        seed_at,
        grown,
    })
}

/// The image is signed, but a table that does not add up would make a disk that does not boot.
fn check(first: &[u8], table: usize) -> Result<(), Trouble> {
    let header = &first[table..2 * table];
    let mut unsealed = header[..92].to_vec();
    unsealed[16..20].fill(0);
    let sound = header.starts_with(b"EFI PART")
        && get32(header, 12) == 92
        && get32(header, 16) == crc32(&unsealed)
        && get64(header, 72) == 2
        && get32(header, 80) == 128
        && get32(header, 84) == 128
        && get32(header, 88) == crc32(&first[2 * table..2 * table + ENTRIES])
        && first[446 + 4] == 0xEE;
    if sound {
        Ok(())
    } else {
        Err(wrong("the image's partition table is damaged"))
    }
}

fn grow_root(
    entries: &mut [u8],
    manifest: &Manifest,
    usable_end: u64,
    root_size: Option<u64>,
) -> Result<Range<u64>, Trouble> {
    let Some(root) = manifest.partitions.iter().find(|p| p.role == PartitionRole::Root) else {
        return Ok(0..0);
    };
    let at = (root.number as usize)
        .checked_sub(1)
        .ok_or_else(|| wrong("partitions count from 1"))?
        * ENTRY;
    let entry = entries
        .get_mut(at..at + ENTRY)
        .ok_or_else(|| wrong("the root partition is not in the table"))?;
    let (start, end) = (get64(entry, 32), get64(entry, 40).saturating_add(1));
    if start.checked_mul(SECTOR) != Some(root.start) || end <= start {
        return Err(wrong("the root partition is not where the manifest says"));
    }
    let wanted = root_size.map_or(u64::MAX, |bytes| start.saturating_add(bytes / SECTOR));
    let limit = (usable_end + 1) / ALIGNMENT * ALIGNMENT;
    // Never smaller than the file system that is in it.
    let grown = wanted.min(limit).max(end);
    if grown > usable_end + 1 {
        return Err(wrong(
            "the root partition reaches into the table's copy; the disk is too small by a MiB",
        ));
    }
    put64(entry, 40, grown - 1);
    Ok(root.start..grown * SECTOR)
}

/// The seed's first sector on a disk of so many: whole MiB, the last ones before the table's copy.
fn seed_start(sectors: u64) -> Option<u64> {
    let end = sectors.checked_sub(COPY)? / ALIGNMENT * ALIGNMENT;
    end.checked_sub(SEED_SIZE / SECTOR)
}

/// One entry more, in the first place that is free: numbers of partitions mean nothing to cloud-init, and nobody else's
/// change.
fn add_seed(entries: &mut [u8], start: u64, disk_size: u64) -> Result<(), Trouble> {
    let name: Vec<u8> = SEED_LABEL
        .to_ascii_lowercase()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for entry in entries.chunks_exact(ENTRY).filter(|entry| is_used(entry)) {
        let length = name.len();
        if entry[56..56 + length].to_ascii_lowercase() == name && entry[56 + length..].iter().all(|b| *b == 0) {
            return Err(Trouble::Seed(format!(
                "the image has a partition {SEED_LABEL} already, and cloud-init would take either"
            )));
        }
        if get64(entry, 40) >= start {
            return Err(no_room(disk_size));
        }
    }
    let free = entries.chunks_exact_mut(ENTRY).find(|entry| !is_used(entry));
    let entry =
        free.ok_or_else(|| Trouble::Seed("the image's partition table has no free entry, all 128 are in use".into()))?;
    entry.fill(0);
    entry[..16].copy_from_slice(&BASIC_DATA);
    entry[16..32].copy_from_slice(&SEED_GUID);
    put64(entry, 32, start);
    put64(entry, 40, start + SEED_SIZE / SECTOR - 1);
    entry[56..56 + name.len()].copy_from_slice(&name);
    Ok(())
}

/// An entry without a type is none (table 5-6).
fn is_used(entry: &[u8]) -> bool {
    entry[..16].iter().any(|byte| *byte != 0)
}

fn no_room(disk_size: u64) -> Trouble {
    Trouble::Seed(format!(
        "the disk of {disk_size} bytes has no room for {} MiB behind the image's partitions; a larger disk is needed",
        SEED_SIZE >> 20
    ))
}

/// A header's checksum covers itself with the checksum's place zero (table 5-5).
pub(crate) fn seal(header: &mut [u8]) {
    header[16..20].fill(0);
    let crc = crc32(&header[..92]);
    put32(header, 16, crc);
}

/// CRC-32 as in IEEE 802.3, bit by bit: 16 KiB, twice in a machine's life.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn wrong(what: &str) -> Trouble {
    Trouble::Layout(what.into())
}

pub(crate) fn put32(raw: &mut [u8], at: usize, value: u32) {
    raw[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put64(raw: &mut [u8], at: usize, value: u64) {
    raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get32(raw: &[u8], at: usize) -> u32 {
    raw.get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn get64(raw: &[u8], at: usize) -> u64 {
    raw.get(at..at + 8)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}
