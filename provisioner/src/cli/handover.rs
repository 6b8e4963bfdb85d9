// SPDX-License-Identifier: Apache-2.0
//! A folder handed over to the server: what an admin built in a home folder, the unprivileged server may not read.
//!
//! Root puts it into the server's state; who is not root and may steer the server hands over what it can read.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::config::Paths;

/// How the names of such folders begin; what follows is the process that made it.
const PREFIX: &str = "handover-";

/// The folder that the server is to read, removed afterwards if it was made for that.
#[derive(Debug)]
pub(super) struct Handover {
    folder: PathBuf,
    made: bool,
    owner: Option<(u32, u32)>,
}

impl Handover {
    /// The folder itself, or a copy that belongs to the server where root asks a server that is not root.
    pub(super) fn of(folder: &Path, paths: &Paths) -> Result<Self> {
        let folder = folder
            .canonicalize()
            .with_context(|| format!("opening {}", folder.display()))?;
        let Some(owner) = server(paths) else {
            return Ok(Self {
                folder,
                made: false,
                owner: None,
            });
        };
        let copy = Self {
            folder: in_state(paths),
            made: true,
            owner: Some(owner),
        };
        copy_folder(&folder, &copy.folder, owner)
            .with_context(|| format!("handing {} over to the server", folder.display()))?;
        Ok(copy)
    }

    /// An empty folder, to be filled.
    pub(super) fn empty(paths: &Paths) -> Result<Self> {
        let root = nix::unistd::geteuid().is_root();
        let folder = if root {
            in_state(paths)
        } else {
            std::env::temp_dir().join(format!("gleaner-{}", std::process::id()))
        };
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self {
            folder,
            made: true,
            owner: server(paths),
        })
    }

    /// Gives what was filled in to the server.
    pub(super) fn give(&self) -> Result<()> {
        if let Some(owner) = self.owner {
            give(&self.folder, owner).with_context(|| format!("giving {} to the server", self.folder.display()))?;
        }
        Ok(())
    }

    /// Where the server finds it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if self.made {
            // The server has what it wants of it by now, or has refused; there is nobody left to tell.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The server's user and group, where root asks a server that is not root.
fn server(paths: &Paths) -> Option<(u32, u32)> {
    let root = nix::unistd::geteuid().is_root();
    let state = fs::metadata(&paths.state).ok()?;
    (root && state.uid() != 0).then(|| (state.uid(), state.gid()))
}

/// A name for a folder in the server's state, from which what dead processes have left is removed.
fn in_state(paths: &Paths) -> PathBuf {
    for entry in fs::read_dir(&paths.state).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|id| id.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists()) {
            // It takes room and harms nobody; the next import tries again.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    paths.state.join(format!("{PREFIX}{}", std::process::id()))
}

fn give(folder: &Path, owner: (u32, u32)) -> Result<()> {
    chown(folder, Some(owner.0), Some(owner.1))?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            give(&path, owner)?;
        } else {
            chown(&path, Some(owner.0), Some(owner.1))?;
        }
    }
    Ok(())
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
