// SPDX-License-Identifier: Apache-2.0
//! Checks a built folder as those who will trust it do: signature first, then the list, then every byte.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use minisign_verify::PublicKey;
use provisioner_api::{CHUNK_SIZE, Manifest, RamManifest};

use crate::sign;

/// Name of a node image's list.
pub const MANIFEST: &str = "manifest.json";
/// Name of its data.
pub const CHUNKS: &str = "chunks";

/// Checks a folder and says what it is.
pub fn verify(folder: &Path, key: Option<&Path>) -> Result<()> {
    let public = key.map(|file| {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        PublicKey::decode(&text).with_context(|| format!("reading the public key {}", file.display()))
    });
    let public = public.transpose()?;
    let list = |name: &str| -> Result<Vec<u8>> {
        let file = folder.join(name);
        match &public {
            Some(public) => sign::verified(&file, public),
            None => std::fs::read(&file).with_context(|| format!("reading {}", file.display())),
        }
    };
    let what = if folder.join(RamManifest::FILE).exists() {
        ram(folder, &list(RamManifest::FILE)?)?
    } else if folder.join(MANIFEST).exists() {
        node(folder, &list(MANIFEST)?)?
    } else {
        bail!(
            "{} holds neither {} nor {MANIFEST}: it is not (or not completely) built",
            folder.display(),
            RamManifest::FILE
        );
    };
    let signed = if public.is_some() {
        "signed by this key"
    } else {
        "signature not checked (give --key FILE.pub)"
    };
    println!("{what}: every byte is as listed; {signed}");
    Ok(())
}

fn ram(folder: &Path, list: &[u8]) -> Result<String> {
    let manifest: RamManifest = serde_json::from_slice(list).context("reading the list of files")?;
    manifest.validate().context("checking the list of files")?;
    for file in &manifest.files {
        let bytes = crate::disk::read(&folder.join(&file.path))?;
        let same = bytes.len() as u64 == file.size && blake3::hash(&bytes).to_hex().as_str() == file.blake3;
        ensure!(same, "{} is not the file that was signed", file.path);
    }
    Ok(format!("RAM environment {} {}", manifest.name, manifest.version))
}

fn node(folder: &Path, list: &[u8]) -> Result<String> {
    let manifest: Manifest = serde_json::from_slice(list).context("reading the manifest")?;
    manifest.validate().context("checking the manifest")?;
    let path = folder.join(CHUNKS);
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let size = file
        .metadata()
        .with_context(|| format!("examining {}", path.display()))?
        .len();
    ensure!(
        size == manifest.data_size,
        "{} has {size} bytes instead of {}",
        path.display(),
        manifest.data_size
    );
    for chunk in &manifest.chunks {
        use std::os::unix::fs::FileExt;
        // The manifest was checked: a length is a few MiB at most.
        let mut bytes = vec![0; usize::try_from(chunk.length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, chunk.offset)
            .with_context(|| format!("reading chunk {}", chunk.index))?;
        ensure!(
            blake3::hash(&bytes).to_hex().as_str() == chunk.hash,
            "chunk {} is corrupt",
            chunk.index
        );
        let mut plain = Vec::new();
        let decoder =
            zstd::Decoder::new(bytes.as_slice()).with_context(|| format!("decompressing chunk {}", chunk.index))?;
        decoder
            .take(CHUNK_SIZE + 1)
            .read_to_end(&mut plain)
            .with_context(|| format!("decompressing chunk {}", chunk.index))?;
        ensure!(
            blake3::hash(&plain).to_hex().as_str() == chunk.disk_hash,
            "chunk {} is not what it was cut from",
            chunk.index
        );
    }
    Ok(format!(
        "node image {} {}, {} chunks",
        manifest.name,
        manifest.version,
        manifest.chunks.len()
    ))
}
