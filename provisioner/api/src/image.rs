// SPDX-License-Identifier: Apache-2.0
//! What a node image is: a signed manifest and one file of compressed chunks.
//!
//! An image on disk or on the wire is three files in one folder: `manifest.json`, `manifest.json.minisig`
//! (a minisign signature of the manifest's exact bytes) and `chunks` (compressed chunks one after another).

use serde::{Deserialize, Serialize};

/// Bytes of disk that one chunk covers. Small enough to hold several in 512 MB of RAM, large enough that
/// zstd and sequential writes work at full speed.
pub const CHUNK_SIZE: u64 = 4 * 1024 * 1024;

/// Bytes at the start of the disk that are written last, so that a half-written disk never boots: boot
/// sector, GPT and, on BIOS machines, the gap where GRUB lives.
pub const FIRST_MIB: u64 = 1024 * 1024;

/// The list of what an image puts on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub format: u32,
    /// Name of the image, `[a-z0-9][a-z0-9._-]{0,62}`.
    pub name: String,
    /// Version of the image, same alphabet as the name; `name` and `version` together name the image.
    pub version: String,
    /// Architecture in Debian's word: `amd64`.
    pub arch: String,
    /// Seconds since 1970: the source date of the build, not the time of day it ran.
    pub created: u64,
    /// Bytes of the disk that the image was laid out for; the smallest disk that it fits on.
    pub disk_size: u64,
    /// Bytes of disk a chunk covers: [`CHUNK_SIZE`].
    pub chunk_size: u64,
    /// Bytes of the `chunks` file.
    pub data_size: u64,
    /// Where the system's parts lie, in disk order.
    pub partitions: Vec<Partition>,
    /// The chunks that are not holes, by rising `index`.
    pub chunks: Vec<Chunk>,
    /// Packages and versions inside, `name=version`, sorted; what the image is made of.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What its nodes serve as. Every image from before there were roles is for libvirt.
    #[serde(default = "libvirt", skip_serializing_if = "is_libvirt")]
    pub role: String,
    /// Made by somebody else, and set up by the cloud-init in it: it is written together with a [`crate::Seed`], and
    /// no file system of it is ever touched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cloud_init: bool,
}

fn libvirt() -> String {
    "libvirt".into()
}

fn is_libvirt(role: &str) -> bool {
    role == "libvirt"
}

/// 4 MiB of disk (the last one may be shorter), compressed as one zstd frame in the `chunks` file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Position on the disk: `index * chunk_size`. A missing index is a hole: all zeros.
    pub index: u64,
    /// BLAKE3 of the compressed bytes, 64 hex digits: checked before anything is decompressed.
    pub hash: String,
    /// BLAKE3 of the bytes on disk, 64 hex digits: what a rebuild compares with the disk.
    pub disk_hash: String,
    /// Where the compressed bytes begin in the `chunks` file. Equal chunks may share one place.
    pub offset: u64,
    /// Compressed bytes.
    pub length: u64,
}

/// One partition of the image's GPT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Number in the GPT, from 1.
    pub number: u32,
    /// What it is for.
    pub role: PartitionRole,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PartitionRole {
    /// GRUB's core image on BIOS machines.
    BiosBoot,
    /// EFI system partition, FAT.
    Esp,
    /// The root file system, ext4, last on the disk so that it can grow.
    Root,
    /// Whatever the maker of an image for cloud-init has put there.
    Other,
}

/// Why a manifest is not one that may be written to a disk.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// Written by a newer builder.
    #[error("image format {0} is not supported (this version reads format 1)")]
    Format(u32),
    /// A name or version outside the alphabet, which becomes part of paths.
    #[error("{0:?} is not an image name or version (a-z, 0-9, dot, dash, underscore; at most 63)")]
    Name(String),
    /// Chunk size other than [`CHUNK_SIZE`].
    #[error("chunks of {0} bytes instead of 4 MiB")]
    ChunkSize(u64),
    /// A chunk that lies outside the disk or the data, is not in rising order, or has a malformed hash.
    #[error("chunk {0} is malformed or out of place")]
    Chunk(u64),
    /// A partition that lies outside the disk, overlaps another, a root partition that is not the last, or one that
    /// does not belong into an image of this kind.
    #[error("partition {0} is malformed or out of place")]
    Partition(u32),
}

impl Manifest {
    /// Checks everything that a writer relies on; call it after the signature, before anything else.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.format != 1 {
            return Err(ManifestError::Format(self.format));
        }
        for word in [&self.name, &self.version, &self.role] {
            if !is_name(word) {
                return Err(ManifestError::Name(word.clone()));
            }
        }
        if self.chunk_size != CHUNK_SIZE {
            return Err(ManifestError::ChunkSize(self.chunk_size));
        }
        self.validate_chunks()?;
        self.validate_partitions()
    }

    /// Whether a word may be the name or the version of an image.
    pub fn is_name(word: &str) -> bool {
        is_name(word)
    }

    /// The root partition, where there is one.
    pub fn root(&self) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.role == PartitionRole::Root)
    }

    fn validate_chunks(&self) -> Result<(), ManifestError> {
        let mut next = 0;
        for chunk in &self.chunks {
            let on_disk = chunk
                .index
                .checked_mul(CHUNK_SIZE)
                .is_some_and(|start| start < self.disk_size);
            let in_data = chunk
                .offset
                .checked_add(chunk.length)
                .is_some_and(|end| end <= self.data_size);
            // A frame of 4 MiB never grows by more than zstd's bound; anything longer is an attack on memory.
            let sane = (1..=CHUNK_SIZE + CHUNK_SIZE / 128).contains(&chunk.length);
            let rising = chunk.index >= next;
            if !(on_disk && in_data && sane && rising && is_hash(&chunk.hash) && is_hash(&chunk.disk_hash)) {
                return Err(ManifestError::Chunk(chunk.index));
            }
            next = chunk.index + 1;
        }
        Ok(())
    }

    fn validate_partitions(&self) -> Result<(), ManifestError> {
        let mut free_from = 0;
        let mut numbers = Vec::new();
        for (place, partition) in self.partitions.iter().enumerate() {
            let last = place + 1 == self.partitions.len();
            let end = partition.start.checked_add(partition.size);
            let inside = partition.start >= free_from && end.is_some_and(|end| end <= self.disk_size);
            let root_is_last = partition.role != PartitionRole::Root || last;
            let numbered = (1..=128).contains(&partition.number) && !numbers.contains(&partition.number);
            // What grows an image for cloud-init is in the image; what is unknown in one of ours is a mistake.
            let of_this_kind = match partition.role {
                PartitionRole::Root => !self.cloud_init,
                PartitionRole::Other => self.cloud_init,
                PartitionRole::BiosBoot | PartitionRole::Esp => true,
            };
            if !(inside && root_is_last && numbered && of_this_kind && partition.size > 0) {
                return Err(ManifestError::Partition(partition.number));
            }
            free_from = end.unwrap_or(u64::MAX);
            numbers.push(partition.number);
        }
        Ok(())
    }
}

pub(crate) fn is_name(word: &str) -> bool {
    let alphabet = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    word.len() <= 63 && word.chars().all(alphabet) && word.starts_with(|c: char| c.is_ascii_alphanumeric())
}

pub(crate) fn is_hash(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let chunk = |index, offset| Chunk {
            index,
            hash: "0".repeat(64),
            disk_hash: "f".repeat(64),
            offset,
            length: 100,
        };
        Manifest {
            format: 1,
            name: "debian-13".into(),
            version: "2026.11".into(),
            arch: "amd64".into(),
            created: 0,
            disk_size: 64 * CHUNK_SIZE,
            chunk_size: CHUNK_SIZE,
            data_size: 200,
            partitions: vec![Partition {
                number: 1,
                role: PartitionRole::Root,
                start: FIRST_MIB,
                size: 32 * CHUNK_SIZE,
            }],
            chunks: vec![chunk(0, 0), chunk(9, 100)],
            packages: Vec::new(),
            role: "libvirt".into(),
            cloud_init: false,
        }
    }

    #[test]
    fn a_well_formed_manifest_is_accepted() {
        assert_eq!(manifest().validate(), Ok(()));
    }

    #[test]
    fn an_image_for_cloud_init_says_so_and_its_root_is_not_ours() {
        let mut theirs = manifest();
        theirs.cloud_init = true;
        theirs.partitions[0].role = PartitionRole::Other;
        assert_eq!(theirs.validate(), Ok(()));
    }

    #[test]
    fn a_manifest_that_reaches_outside_its_disk_its_data_or_its_folder_is_refused() {
        let refused = |change: fn(&mut Manifest)| {
            let mut m = manifest();
            change(&mut m);
            assert!(m.validate().is_err(), "{m:?}");
        };
        refused(|m| m.format = 2);
        refused(|m| m.name = "../etc".into());
        refused(|m| m.name = String::new());
        refused(|m| m.version = "a/b".into());
        refused(|m| m.chunk_size = 1);
        refused(|m| m.chunks[1].index = 0);
        refused(|m| m.chunks[1].index = 64);
        refused(|m| m.chunks[1].index = u64::MAX);
        refused(|m| m.chunks[1].offset = u64::MAX);
        refused(|m| m.chunks[1].length = 0);
        refused(|m| m.chunks[1].length = 101);
        refused(|m| m.chunks[1].hash = "G".repeat(64));
        refused(|m| m.partitions[0].size = 64 * CHUNK_SIZE);
        refused(|m| m.partitions[0].number = 0);
        refused(|m| m.partitions.push(m.partitions[0].clone()));
        refused(|m| m.partitions[0].role = PartitionRole::Other);
        refused(|m| m.cloud_init = true);
    }
}
