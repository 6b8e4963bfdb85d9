// SPDX-License-Identifier: Apache-2.0
//! A folder handed over to the server: what an admin built in a home folder, the unprivileged server may not read.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::config::Paths;

/// The folder that the server is to read, removed afterwards if it is a copy.
#[derive(Debug)]
pub(super) struct Handover {
    folder: PathBuf,
    copied: bool,
}

impl Handover {
    /// The folder itself, or a copy that belongs to the server where root asks a server that is not root.
    pub(super) fn of(folder: &Path, paths: &Paths) -> Result<Self> {
        let folder = folder
            .canonicalize()
            .with_context(|| format!("opening {}", folder.display()))?;
        let root = nix::unistd::geteuid().is_root();
        let server = fs::metadata(&paths.state).ok().filter(|state| root && state.uid() != 0);
        let Some(server) = server else {
            return Ok(Self { folder, copied: false });
        };
        let copy = Self {
            folder: paths.state.join(format!("handover-{}", std::process::id())),
            copied: true,
        };
        copy_folder(&folder, &copy.folder, (server.uid(), server.gid()))
            .with_context(|| format!("handing {} over to the server", folder.display()))?;
        Ok(copy)
    }

    /// Where the server finds it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if self.copied {
            // The server has its own copy by now, or has refused; there is nobody left to tell.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Copies plain files and one level after the other of folders; an image has nothing else.
fn copy_folder(from: &Path, to: &Path, owner: (u32, u32)) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("making {}", to.display()))?;
    chown(to, Some(owner.0), Some(owner.1))?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target, owner)?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
            chown(&target, Some(owner.0), Some(owner.1))?;
        }
    }
    Ok(())
}
