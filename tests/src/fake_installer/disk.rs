// SPDX-License-Identifier: Apache-2.0
//! A ready system onto a disk: a node image from a mirror, chunk by chunk.

use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context, Result, ensure};
use provisioner_api::{Manifest, PartitionRole};

use crate::http;
use crate::rom;

/// Writes the image in this folder of a mirror onto a disk; the number of the partition with the system.
pub(super) fn write(mirror: &str, disk: &str) -> Result<u32> {
    let manifest = format!("{mirror}/manifest.json");
    let reply = rom::get(Ipv4Addr::UNSPECIFIED, &manifest)?;
    ensure!(reply.status == 200, "{manifest} was answered with {}", reply.status);
    let manifest: Manifest = serde_json::from_slice(&reply.body).context("understanding the mirror")?;
    let root = manifest.partitions.iter().find(|part| part.role == PartitionRole::Root);
    let root = root.context("a mirror without a system")?.number;
    let disk = OpenOptions::new()
        .write(true)
        .open(format!("/dev/{disk}"))
        .context("opening the disk")?;
    let (host, path) = rom::parts(&format!("{mirror}/chunks"))?;
    for chunk in &manifest.chunks {
        let range = format!("Range: bytes={}-{}", chunk.offset, chunk.offset + chunk.length - 1);
        let stream = rom::connect(Ipv4Addr::UNSPECIFIED, host)?;
        let reply = http::ask(stream, "GET", &path, &["Connection: close", &range], None)?;
        ensure!(reply.status == 206, "a chunk was answered with {}", reply.status);
        let size = usize::try_from(manifest.chunk_size).context("a chunk's size")?;
        let bytes = zstd::bulk::decompress(&reply.body, size).context("unpacking a chunk")?;
        disk.write_all_at(&bytes, chunk.index * manifest.chunk_size)
            .context("writing a chunk")?;
    }
    disk.sync_all().context("flushing the disk")?;
    Ok(root)
}
