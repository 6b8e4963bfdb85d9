// SPDX-License-Identifier: Apache-2.0
//! The programs for systems that an installer puts on a disk. They come with the RAM environment, under its signature;
//! an installer checks them by their SHA-256, which is what it has a program for.

use std::path::PathBuf;
use std::sync::Arc;

use provisioner_api::RamManifest;

use super::ImageStore;

/// A program in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredProgram {
    /// File name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its SHA-256, hex.
    pub sha256: String,
}

impl ImageStore {
    /// The programs that make a system a node, node-init first, or why there are none.
    pub fn programs(&self) -> Result<[StoredProgram; 2], String> {
        let ram = self.ram()?;
        let program = |path| ram.programs.get(path).cloned();
        match [RamManifest::NODE_INIT, RamManifest::NODE_INIT_LIBVIRT].map(program) {
            [Some(node_init), Some(libvirt)] => Ok([node_init, libvirt]),
            _ => Err(format!(
                "the RAM environment {} was built without the programs that installers put on disks; build and import it anew",
                ram.manifest.version
            )),
        }
    }

    /// The program with this hash and name, of any RAM environment that may be used: an installation that has begun
    /// goes on with the version that it began with.
    pub fn program(&self, sha256: &str, name: &str) -> Option<StoredProgram> {
        let usable = |ram: &&Arc<super::StoredRam>| ram.problem.is_none();
        let is = |program: &&StoredProgram| program.sha256 == sha256 && program.name == name;
        self.read(|contents| {
            let mut all = contents.ram.iter().filter(usable).flat_map(|ram| ram.programs.values());
            all.find(is).cloned()
        })
    }
}
