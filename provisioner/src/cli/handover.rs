// SPDX-License-Identifier: Apache-2.0
//! A folder handed over to the server: what an admin built in a home folder, the unprivileged server may not read.
//!
//! Root puts it into the server's state; who is not root and may steer the server hands over what it can read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::{Gid, Uid};

use crate::config::Paths;
use crate::privileges;

/// How the names of such folders begin; what follows is the process that made it.
const PREFIX: &str = "handover-";
/// How often a folder is made that somebody removes at once: each of them does so once.
const TRIES: usize = 10;

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
        copy_folder(&folder, &copy.inside())
            .and_then(|()| copy.give())
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
        if let (Some((uid, gid)), Some(made)) = (self.owner, &self.made) {
            privileges::own_opened(&**made, Uid::from_raw(uid), Gid::from_raw(gid))
                .with_context(|| format!("giving {} to the server", self.folder.display()))?;
        }
        Ok(())
    }

    /// Where to fill it: the very folder that was made, whatever has its name by now. The state is the server's user's, who
    /// may put a link to anywhere in its place; in a folder of root's he may put nothing.
    pub(super) fn inside(&self) -> PathBuf {
        match &self.made {
            // Of this process by number: programs that it starts fill it as well.
            Some(made) => format!("/proc/{}/fd/{}", std::process::id(), made.as_raw_fd()).into(),
            None => self.folder.clone(),
        }
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

/// Makes the folder and holds it. Another import that tidies up may take it for one of the dead before it is held.
fn make(folder: &Path) -> Result<Flock<File>> {
    let making = || format!("making {}", folder.display());
    for _ in 0..TRIES {
        DirBuilder::new().mode(0o700).create(folder).with_context(making)?;
        match lock(folder) {
            Ok(made) if is_at(&made, folder) => return own(made, folder).with_context(making),
            // It was removed, or is held by whoever removes it now.
            Ok(_) | Err(_) => {
                let _ = fs::remove_dir(folder);
            }
        }
    }
    bail!("{} is removed again and again; try again", folder.display())
}

/// Whether the folder that is held is still the one at this path.
fn is_at(made: &File, folder: &Path) -> bool {
    let there = fs::symlink_metadata(folder);
    let held = made.metadata();
    held.is_ok_and(|held| there.is_ok_and(|there| (held.dev(), held.ino()) == (there.dev(), there.ino())))
}

fn own(made: Flock<File>, folder: &Path) -> Result<Flock<File>> {
    let making = || format!("looking at {}", folder.display());
    let about = made.metadata().with_context(making)?;
    // Somebody may have put another in its place meanwhile.
    ensure!(
        about.uid() == nix::unistd::geteuid().as_raw() && about.mode() & privileges::OTHERS == 0,
        "{} is not the folder that was made; try again",
        folder.display()
    );
    Ok(made)
}

fn lock(folder: &Path) -> Result<Flock<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY).bits())
        .open(folder)?;
    Flock::lock(opened, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}

/// Copies plain files and one level after the other of folders into one that is there; an image has nothing else.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target).with_context(|| format!("making {}", target.display()))?;
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
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

    #[test]
    fn a_link_in_the_place_of_the_folder_leads_nobody_elsewhere() {
        let state = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("initrd"), "x").unwrap();
        let folder = state.path().join("handover-1");
        let handover = Handover {
            made: Some(make(&folder).unwrap()),
            folder: folder.clone(),
            owner: None,
        };
        // What the server's user may do in his own folder.
        fs::rename(&folder, state.path().join("away")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &folder).unwrap();
        copy_folder(source.path(), &handover.inside()).unwrap();
        assert!(state.path().join("away/initrd").exists());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        assert!(lock(&folder).is_err(), "a link is no folder that was made");
    }
}
