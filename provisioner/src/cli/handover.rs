// SPDX-License-Identifier: Apache-2.0
//! A folder handed over to the server: what an admin built in a home folder, the unprivileged server may not read.
//!
//! Root puts it into the server's state; who is not root and may steer the server hands over what it can read.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::config::Paths;

/// How the names of such folders begin; what follows is the process that made it.
const PREFIX: &str = "handover-";

/// The folder that the server is to read, removed afterwards if it was made for that.
#[derive(Debug)]
pub(super) struct Handover {
    folder: PathBuf,
    /// Held as long as somebody works in it; nothing where it was not made for that.
    made: Option<Flock<File>>,
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
                made: None,
                owner: None,
            });
        };
        let target = in_state(paths);
        let copy = Self {
            made: Some(make(&target)?),
            folder: target,
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
        Ok(Self {
            made: Some(make(&folder)?),
            folder,
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
        if self.made.is_some() {
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
        // Numbers of processes come again, after a restart very soon; a lock does not outlive its owner.
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && lock(&entry.path()).is_ok() {
            // It takes room and harms nobody; the next import tries again.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    paths.state.join(format!("{PREFIX}{}", std::process::id()))
}

fn make(folder: &Path) -> Result<Flock<File>> {
    let making = || format!("making {}", folder.display());
    fs::create_dir(folder).with_context(making)?;
    lock(folder).with_context(making)
}

fn lock(folder: &Path) -> Result<Flock<File>> {
    Flock::lock(File::open(folder)?, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
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
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_the_dead_have_left_is_removed_whatever_their_numbers_and_nobodys_work() {
        let state = tempfile::tempdir().unwrap();
        let paths = Paths {
            config: state.path().into(),
            state: state.path().into(),
            run: state.path().into(),
        };
        // A process with this number runs, and knows nothing of it.
        let left = state.path().join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("initrd"), "x").unwrap();
        let worked_in = state.path().join(format!("{PREFIX}0"));
        let held = make(&worked_in).unwrap();
        assert_eq!(in_state(&paths), left);
        assert!(!left.exists() && worked_in.exists());
        drop(held);
        in_state(&paths);
        assert!(!worked_in.exists());
    }
}
