// SPDX-License-Identifier: Apache-2.0
//! Where the things under test are: programs from the build, images from the cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// What `make build` and `make images` leave behind.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// Folder with the programs `provisioner` and `images`.
    pub programs: PathBuf,
    /// Folder that survives runs: images, the key that signs them, what was found out about KVM.
    pub cache: PathBuf,
}

impl Artifacts {
    /// From `GLEANER_PROGRAMS` and `GLEANER_CACHE`, else beside this program and in `~/.cache/gleaner`.
    pub fn find() -> Result<Self> {
        let programs = match std::env::var_os("GLEANER_PROGRAMS") {
            Some(folder) => folder.into(),
            None => beside_this_program()?,
        };
        let cache = match std::env::var_os("GLEANER_CACHE") {
            Some(folder) => folder.into(),
            None => Path::new(&std::env::var_os("HOME").context("finding the home folder")?).join(".cache/gleaner"),
        };
        Ok(Self { programs, cache })
    }

    /// A program of ours.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        ensure!(path.exists(), "{} is not there; `make build` builds it", path.display());
        Ok(path)
    }

    /// The RAM environment's folder.
    pub fn ram(&self) -> Result<PathBuf> {
        self.built("ram", "ram.json")
    }

    /// The node image's folder.
    pub fn node_image(&self) -> Result<PathBuf> {
        self.built("node", "manifest.json")
    }

    /// The folder of the node image for the role `plain`.
    pub fn plain_image(&self) -> Result<PathBuf> {
        self.built("plain", "manifest.json")
    }

    /// A distribution's ready-made disk, as far as one can be made here.
    pub fn cloud_disk(&self) -> Result<PathBuf> {
        self.built("cloud", "disk.img").map(|folder| folder.join("disk.img"))
    }

    /// The public half of the key that signed them.
    pub fn public_key(&self) -> Result<PathBuf> {
        self.built("keys", "signing.pub")
            .map(|folder| folder.join("signing.pub"))
    }

    /// The secret half, to sign images that tests make up.
    pub fn secret_key(&self) -> Result<PathBuf> {
        self.built("keys", "signing.key")
            .map(|folder| folder.join("signing.key"))
    }

    fn built(&self, folder: &str, proof: &str) -> Result<PathBuf> {
        let folder = self.cache.join(folder);
        ensure!(
            folder.join(proof).exists(),
            "{} is not there; `make images` builds it",
            folder.display()
        );
        Ok(folder)
    }
}

/// Cargo puts programs into `target/PROFILE` and tests into `target/PROFILE/deps`.
fn beside_this_program() -> Result<PathBuf> {
    let this = std::env::current_exe().context("finding this program")?;
    let folder = this.parent().context("finding this program's folder")?;
    Ok(if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    }
    .to_owned())
}
