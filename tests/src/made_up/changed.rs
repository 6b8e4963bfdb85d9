// SPDX-License-Identifier: Apache-2.0
//! The real RAM environment with other loaders: what no firmware can start, or what an older release did not have.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use provisioner_api::RamManifest;

use super::{LOADER, Signature, noise};

/// What becomes of a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// It stays.
    Same,
    /// It is bytes that no firmware starts.
    Noise,
    /// It is not there.
    Gone,
}

/// Makes a copy of the RAM environment in `real` in a new folder below `place`, its loaders changed.
pub fn ram(real: &Path, place: &Path, signature: &Signature, change: impl Fn(&str) -> Loader) -> Result<PathBuf> {
    let folder = place.join("ram-changed");
    fs::create_dir_all(folder.join(RamManifest::LOADERS)).context("making a folder")?;
    let list = fs::read(real.join(RamManifest::FILE)).context("reading the list of files")?;
    let mut manifest: RamManifest = serde_json::from_slice(&list).context("understanding the list of files")?;
    let fate = |path: &str| {
        let loader = path
            .strip_prefix(RamManifest::LOADERS)
            .and_then(|name| name.strip_prefix('/'));
        loader.map_or(Loader::Same, &change)
    };
    manifest.files.retain(|file| fate(&file.path) != Loader::Gone);
    for file in &mut manifest.files {
        let to = folder.join(&file.path);
        if fate(&file.path) == Loader::Same {
            fs::copy(real.join(&file.path), to).with_context(|| format!("copying {}", file.path))?;
            continue;
        }
        let content = noise(LOADER);
        file.size = content.len() as u64;
        file.blake3 = blake3::hash(&content).to_hex().to_string();
        fs::write(to, content).with_context(|| format!("writing {}", file.path))?;
    }
    manifest.version.push_str("-changed");
    signature.write(&folder, RamManifest::FILE, &manifest)?;
    Ok(folder)
}
