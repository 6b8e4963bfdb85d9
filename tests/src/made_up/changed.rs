// SPDX-License-Identifier: Apache-2.0
//! The real RAM environment with other loaders: what no firmware can start, or what an older release did not have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use provisioner_api::{RamFile, RamManifest};

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
    let (folder, mut manifest) = begin(real, place)?;
    let fate = |path: &str| {
        let loader = path
            .strip_prefix(RamManifest::LOADERS)
            .and_then(|name| name.strip_prefix('/'));
        loader.map_or(Loader::Same, &change)
    };
    manifest.files.retain(|file| fate(&file.path) != Loader::Gone);
    for file in &mut manifest.files {
        let to = folder.join(&file.path);
        fs::create_dir_all(to.parent().context("a file without a folder")?).context("making a folder")?;
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

/// The same loaders, and these programs for installers to put on disks: node-init, and the one that speaks to libvirt.
pub fn with_programs(real: &Path, place: &Path, signature: &Signature, built: [&Path; 2]) -> Result<PathBuf> {
    let (folder, mut manifest) = begin(real, place)?;
    let programs = [RamManifest::NODE_INIT, RamManifest::NODE_INIT_LIBVIRT];
    manifest.files.retain(|file| !programs.contains(&file.path.as_str()));
    for file in &manifest.files {
        let to = folder.join(&file.path);
        fs::create_dir_all(to.parent().context("a file without a folder")?).context("making a folder")?;
        fs::copy(real.join(&file.path), to).with_context(|| format!("copying {}", file.path))?;
    }
    fs::create_dir_all(folder.join("programs")).context("making a folder")?;
    for (program, built) in programs.into_iter().zip(built) {
        let to = folder.join(program);
        // What a debugger needs of it is ten times what it needs itself.
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(&to).arg(built);
        ensure!(strip.status().context("running strip")?.success(), "strip failed");
        let content = fs::read(&to).with_context(|| format!("reading {program}"))?;
        manifest.files.push(RamFile {
            path: program.into(),
            size: content.len() as u64,
            blake3: blake3::hash(&content).to_hex().to_string(),
        });
    }
    manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
    manifest.version.push_str("-with-programs");
    signature.write(&folder, RamManifest::FILE, &manifest)?;
    Ok(folder)
}

fn begin(real: &Path, place: &Path) -> Result<(PathBuf, RamManifest)> {
    let folder = place.join("ram-changed");
    fs::create_dir_all(&folder).context("making a folder")?;
    let list = fs::read(real.join(RamManifest::FILE)).context("reading the list of files")?;
    let manifest = serde_json::from_slice(&list).context("understanding the list of files")?;
    Ok((folder, manifest))
}
