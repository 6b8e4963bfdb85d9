// SPDX-License-Identifier: Apache-2.0
//! What a RAM environment is: a folder with a kernel, an initramfs, loaders, and a signed list of them.
//!
//! The folder holds `ram.json` ([`RamManifest`]), `ram.json.minisig` (a minisign signature of its exact bytes) and
//! every file that it lists, under the paths that it lists. Beside what is booted these are the programs that an
//! installer puts on a disk, so that one import brings all of a version.

use serde::{Deserialize, Serialize};

/// The list of what a RAM environment consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RamManifest {
    /// Version of this format: 1.
    pub format: u32,
    /// Name, in the alphabet of image names.
    pub name: String,
    /// Version, same alphabet as the name; `name` and `version` together name the RAM environment.
    pub version: String,
    /// Architecture in Debian's word: `amd64`.
    pub arch: String,
    /// Seconds since 1970: the source date of the build, not the time of day it ran.
    pub created: u64,
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: String,
    /// Whether firmware that is not free software is inside.
    pub nonfree_firmware: bool,
    /// Every file but the list itself and its signature, sorted by path.
    pub files: Vec<RamFile>,
    /// Packages and versions that the files come from, `name=version`, sorted.
    #[serde(default)]
    pub packages: Vec<String>,
}

/// One file of a RAM environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RamFile {
    /// Path in the folder, with slashes: `vmlinuz`, `initrd`, `loaders/undionly.kpxe`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the file, 64 hex digits.
    pub blake3: String,
}

/// Why a list is not one that may be served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RamManifestError {
    /// Written by a newer builder.
    #[error("RAM environment format {0} is not supported (this version reads format 1)")]
    Format(u32),
    /// A name or version outside the alphabet, which becomes part of paths.
    #[error("{0:?} is not a name or version (a-z, 0-9, dot, dash, underscore; at most 63)")]
    Name(String),
    /// A path that leaves the folder, comes twice or is out of order, or a malformed hash.
    #[error("the file {0:?} is malformed or out of place in the list")]
    File(String),
    /// Without kernel or initramfs nothing boots.
    #[error("the file {0} is missing from the list")]
    Missing(&'static str),
}

impl RamManifest {
    /// File name of the list in its folder; the signature has `.minisig` behind it.
    pub const FILE: &'static str = "ram.json";
    /// Path of the kernel.
    pub const KERNEL: &'static str = "vmlinuz";
    /// Path of the initramfs.
    pub const INITRD: &'static str = "initrd";
    /// Folder of the loaders.
    pub const LOADERS: &'static str = "loaders";
    /// Path of node-init, linked with nothing: what an installer puts on a disk, whatever the distribution.
    pub const NODE_INIT: &'static str = "programs/node-init";
    /// Path of the program beside it that speaks to libvirt, linked with the system's own.
    pub const NODE_INIT_LIBVIRT: &'static str = "programs/node-init-libvirt";

    /// Checks everything that a server relies on; call it after the signature, before anything else.
    pub fn validate(&self) -> Result<(), RamManifestError> {
        if self.format != 1 {
            return Err(RamManifestError::Format(self.format));
        }
        for word in [&self.name, &self.version] {
            if !crate::image::is_name(word) {
                return Err(RamManifestError::Name(word.clone()));
            }
        }
        let mut previous = "";
        for file in &self.files {
            let rising = file.path.as_str() > previous;
            if !(rising && is_inside(&file.path) && crate::image::is_hash(&file.blake3)) {
                return Err(RamManifestError::File(file.path.clone()));
            }
            previous = &file.path;
        }
        for needed in [Self::KERNEL, Self::INITRD] {
            if self.file(needed).is_none() {
                return Err(RamManifestError::Missing(needed));
            }
        }
        Ok(())
    }

    /// The entry of a path.
    pub fn file(&self, path: &str) -> Option<&RamFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Whether a path stays in its folder and is made of harmless letters: each part is a name, none begins with a dot.
fn is_inside(path: &str) -> bool {
    let alphabet = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_part = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(alphabet);
    path.len() <= 255 && path.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> RamFile {
        RamFile {
            path: path.into(),
            size: 1,
            blake3: "0".repeat(64),
        }
    }

    fn manifest() -> RamManifest {
        RamManifest {
            format: 1,
            name: "ram".into(),
            version: "2026.11".into(),
            arch: "amd64".into(),
            created: 0,
            kernel: "6.12.0-amd64".into(),
            nonfree_firmware: false,
            files: vec![file("initrd"), file("loaders/undionly.kpxe"), file("vmlinuz")],
            packages: Vec::new(),
        }
    }

    #[test]
    fn a_well_formed_list_is_accepted() {
        assert_eq!(manifest().validate(), Ok(()));
    }

    #[test]
    fn a_list_that_reaches_outside_its_folder_or_cannot_boot_is_refused() {
        let refused = |change: fn(&mut RamManifest)| {
            let mut m = manifest();
            change(&mut m);
            assert!(m.validate().is_err(), "{m:?}");
        };
        refused(|m| m.format = 2);
        refused(|m| m.version = "../1".into());
        refused(|m| m.files[1].path = "loaders/../../etc/passwd".into());
        refused(|m| m.files[1].path = "loaders//x".into());
        refused(|m| m.files[2].path = "/vmlinuz".into());
        refused(|m| m.files[0].blake3 = "g".repeat(64));
        refused(|m| m.files.swap(0, 1));
        refused(|m| m.files.push(file("vmlinuz")));
        refused(|m| {
            m.files.remove(0);
        });
    }
}
