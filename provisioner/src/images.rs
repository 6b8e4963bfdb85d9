// SPDX-License-Identifier: Apache-2.0
//! The images that this server holds: node images and RAM environments, verified before they are served.
//!
//! An image is in the store or it is not: it arrives in a folder of its own beside the others, is verified to the
//! last byte there, and gets its name by one rename. What is in the store is looked at again at every start
//! (signature and sizes; nodes check each chunk themselves), and what does not hold is kept out of use, visibly.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context, Result};
use bytes::Bytes;
use provisioner_api::{ImageRef, ImageSummary, Manifest, RamManifest};

mod import;
mod programs;
mod trust;
mod verify;

pub use import::{ImportError, Imported};
pub use programs::StoredProgram;
pub use trust::{TrustedKey, TrustedKeys};

use crate::config::Image;
use crate::orders;

/// Folder of node images in the state folder.
const IMAGES: &str = "images";
/// Folder of RAM environments in the state folder.
const RAM: &str = "ram";
/// How the folders of unfinished imports begin; none survives a start.
const UNFINISHED: &str = ".import-";

/// The images on this server's disk, and what is known of them.
#[derive(Debug)]
pub struct ImageStore {
    state: PathBuf,
    keys: PathBuf,
    contents: RwLock<Contents>,
    /// Held by the one import that may run: two at once would only share the disk's speed.
    importing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Contents {
    trusted: TrustedKeys,
    images: Vec<Arc<StoredImage>>,
    ram: Vec<Arc<StoredRam>>,
    /// The newest of them that may be booted: asked for with every packet.
    booted: Option<Arc<StoredRam>>,
}

/// A node image in the store.
#[derive(Debug)]
pub struct StoredImage {
    /// Its folder: `manifest.json`, `manifest.json.minisig`, `chunks`.
    pub folder: PathBuf,
    /// Its manifest without the lists of chunks and packages, which the server has no use for once they are
    /// checked: a thousand nodes must fit in 64 MB.
    pub manifest: Manifest,
    /// Who signed it.
    pub signed_by: String,
    /// Why it may not be installed, where it may not.
    pub problem: Option<String>,
}

/// A RAM environment in the store.
#[derive(Debug)]
pub struct StoredRam {
    /// Its folder: `ram.json`, `vmlinuz`, `initrd`, `loaders/`.
    pub folder: PathBuf,
    /// Its list of files.
    pub manifest: RamManifest,
    /// The loaders, by file name, for TFTP.
    pub loaders: BTreeMap<String, Bytes>,
    /// The programs for systems on disks, by path in the list.
    pub programs: BTreeMap<String, StoredProgram>,
    /// Who signed it.
    pub signed_by: String,
    /// Why it may not be booted, where it may not.
    pub problem: Option<String>,
}

impl ImageStore {
    /// Opens the store in the state folder, makes it if there is none, and looks at everything in it. `keys` is the
    /// folder of trusted keys.
    pub fn open(state: &Path, keys: &Path) -> Result<Self> {
        for folder in [IMAGES, RAM] {
            let folder = state.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
            remove_unfinished(&folder)?;
        }
        let store = Self {
            state: state.to_owned(),
            keys: keys.to_owned(),
            contents: RwLock::default(),
            importing: Mutex::default(),
        };
        store.refresh()?;
        Ok(store)
    }

    /// Looks at the folder and the trusted keys again.
    pub fn refresh(&self) -> Result<()> {
        let trusted = TrustedKeys::load(&self.keys)?;
        let images = versions(&self.state.join(IMAGES), 2)?
            .into_iter()
            .map(|folder| verify::image(folder, &trusted));
        let ram = versions(&self.state.join(RAM), 1)?
            .into_iter()
            .map(|folder| verify::ram(folder, &trusted));
        let (images, ram): (_, Vec<_>) = (
            images.flatten().map(Arc::new).collect(),
            ram.flatten().map(Arc::new).collect(),
        );
        let booted = newest(&ram, true).cloned();
        *self.contents.write().unwrap_or_else(PoisonError::into_inner) = Contents {
            trusted,
            images,
            ram,
            booted,
        };
        Ok(())
    }

    /// A node image by name and version, usable or not.
    pub fn image(&self, name: &str, version: &str) -> Option<Arc<StoredImage>> {
        let is = |image: &&Arc<StoredImage>| image.manifest.name == name && image.manifest.version == version;
        self.read(|contents| contents.images.iter().find(is).cloned())
    }

    /// The image that a profile installs now, or why there is none. Looks whether it is still on the disk.
    pub fn of_profile(&self, wanted: &Image) -> Result<Arc<StoredImage>, String> {
        let is_it = |image: &&Arc<StoredImage>| {
            image.manifest.name == wanted.name
                && wanted
                    .version
                    .as_ref()
                    .is_none_or(|version| image.manifest.version == *version)
        };
        let found: Vec<Arc<StoredImage>> =
            self.read(|contents| contents.images.iter().filter(is_it).cloned().collect());
        let newest = |images: &[&Arc<StoredImage>]| {
            images
                .iter()
                .max_by_key(|image| age(&image.manifest))
                .map(|image| Arc::clone(image))
        };
        let label = || match &wanted.version {
            Some(version) => format!("{} {version}", wanted.name),
            None => wanted.name.clone(),
        };
        let sound: Vec<_> = found.iter().filter(|image| image.problem.is_none()).collect();
        let Some(image) = newest(&sound) else {
            return Err(
                match newest(&found.iter().collect::<Vec<_>>()).and_then(|image| image.problem.clone()) {
                    Some(problem) => format!("the image {} cannot be used: {problem}", label()),
                    None => format!(
                        "there is no image {} on the server: provisioner image import FOLDER",
                        label()
                    ),
                },
            );
        };
        if image.folder.join(import::MANIFEST).is_file() {
            Ok(image)
        } else {
            Err(format!(
                "the image {} is gone from the server's disk; import it again",
                label()
            ))
        }
    }

    /// The same for an order; `base` is the server's plain HTTP address as a URL without a slash at the end.
    pub fn for_order(&self, wanted: &Image, base: &str) -> Result<orders::Image, String> {
        let image = self.of_profile(wanted)?;
        let Manifest {
            name,
            version,
            disk_size,
            ..
        } = &image.manifest;
        let from = ImageRef {
            name: name.clone(),
            version: version.clone(),
            url: format!("{base}/images/{name}/{version}"),
            trusted_keys: self.read(|contents| contents.trusted.lines()),
        };
        Ok(orders::Image {
            from,
            disk_size: *disk_size,
            seed: None,
        })
    }

    /// The RAM environment to boot, or why there is none.
    pub fn ram(&self) -> Result<Arc<StoredRam>, String> {
        self.read(|contents| {
            if let Some(ram) = &contents.booted {
                return Ok(Arc::clone(ram));
            }
            match newest(&contents.ram, false).and_then(|ram| ram.problem.as_ref()) {
                Some(problem) => Err(format!("the RAM environment cannot be used: {problem}")),
                None => Err("the server has no RAM environment: provisioner image import FOLDER".into()),
            }
        })
    }

    /// A RAM environment by version, usable or not.
    pub fn ram_version(&self, version: &str) -> Option<Arc<StoredRam>> {
        self.read(|contents| contents.ram.iter().find(|ram| ram.manifest.version == version).cloned())
    }

    /// The loader of this name, of the RAM environment that is booted.
    pub fn loader(&self, name: &str) -> Option<Bytes> {
        self.read(|contents| contents.booted.as_ref()?.loaders.get(name).cloned())
    }

    /// Kernel or initramfs by the path that a boot script names it by, `ram/VERSION/FILE`: open, and its size.
    pub fn boot_file(&self, path: &str) -> Option<(File, u64)> {
        let (version, name) = path.strip_prefix("ram/")?.split_once('/')?;
        let ram = self.ram_version(version).filter(|ram| ram.problem.is_none())?;
        let entry = [RamManifest::KERNEL, RamManifest::INITRD].contains(&name);
        let entry = entry.then(|| ram.manifest.file(name)).flatten()?;
        let file = File::open(ram.folder.join(&entry.path)).ok()?;
        let size = file.metadata().ok()?.len();
        Some((file, size))
    }

    /// Whether the RAM environment that is booted has a loader of this name.
    pub fn has_loader(&self, name: &str) -> bool {
        self.read(|contents| {
            contents
                .booted
                .as_ref()
                .is_some_and(|ram| ram.loaders.contains_key(name))
        })
    }

    /// All, for people, by name and age.
    pub fn list(&self) -> Vec<ImageSummary> {
        self.read(|contents| {
            let images = contents.images.iter().map(|image| summary_of_image(image));
            let ram = contents.ram.iter().map(|ram| summary_of_ram(ram));
            let mut all: Vec<ImageSummary> = images.chain(ram).collect();
            all.sort_by(|a, b| (&a.name, a.created, &a.version).cmp(&(&b.name, b.created, &b.version)));
            all
        })
    }

    /// What a person should look at.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.ram().err().into_iter().collect();
        let bad = |image: ImageSummary| {
            image
                .problem
                .map(|why| format!("{} {}: {why}", image.name, image.version))
        };
        warnings.extend(self.list().into_iter().filter_map(bad));
        warnings
    }

    fn read<T>(&self, look: impl FnOnce(&Contents) -> T) -> T {
        look(&self.contents.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The newest RAM environment, of those that may be booted or of those that may not.
fn newest(ram: &[Arc<StoredRam>], sound: bool) -> Option<&Arc<StoredRam>> {
    let candidates = ram.iter().filter(|ram| ram.problem.is_none() == sound);
    candidates.max_by_key(|ram| (ram.manifest.created, ram.manifest.version.clone()))
}

/// What makes one image newer than another: its sources, then its version.
fn age(manifest: &Manifest) -> (u64, String) {
    (manifest.created, manifest.version.clone())
}

fn summary_of_image(image: &StoredImage) -> ImageSummary {
    ImageSummary {
        name: image.manifest.name.clone(),
        version: image.manifest.version.clone(),
        disk_size: image.manifest.disk_size,
        data_size: image.manifest.data_size,
        created: image.manifest.created,
        signed_by: image.signed_by.clone(),
        problem: image.problem.clone(),
    }
}

fn summary_of_ram(ram: &StoredRam) -> ImageSummary {
    ImageSummary {
        name: ram.manifest.name.clone(),
        version: ram.manifest.version.clone(),
        disk_size: 0,
        data_size: ram.manifest.files.iter().map(|file| file.size).sum(),
        created: ram.manifest.created,
        signed_by: ram.signed_by.clone(),
        problem: ram.problem.clone(),
    }
}

/// The folders `depth` levels below `folder`, but for unfinished imports and other hidden ones.
fn versions(folder: &Path, depth: u32) -> Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    for _ in 0..depth {
        let mut below = Vec::new();
        for folder in found {
            let entries = fs::read_dir(&folder).with_context(|| format!("reading the folder {}", folder.display()))?;
            for entry in entries {
                let entry = entry.with_context(|| format!("reading the folder {}", folder.display()))?;
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if !hidden && entry.path().is_dir() {
                    below.push(entry.path());
                }
            }
        }
        found = below;
    }
    found.sort();
    Ok(found)
}

fn remove_unfinished(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading the folder {}", folder.display()))?;
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            let path = entry.path();
            fs::remove_dir_all(&path).with_context(|| format!("removing the unfinished import {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
