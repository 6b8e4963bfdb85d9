// SPDX-License-Identifier: Apache-2.0
//! Giving what root has made to a user, in folders where that user may have put anything.
//!
//! Every file is opened first and looked at through what was opened, so that it cannot become another one between the
//! look and the gift. What could be somebody else's file by another name is left alone.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchownat};
use tracing::warn;

/// Folders in folders: far more than anything of ours has, and each takes an open file.
const DEEPEST: u32 = 64;

/// Gives the folders, and all that is in them, to a user: no link is followed, no other file system entered, and a file
/// that has a second name is nobody's to give.
pub(crate) fn own(folders: &[&Path], uid: Uid, gid: Gid) -> Result<()> {
    for folder in folders {
        let giving = || format!("giving {} to the user", folder.display());
        let opened: OwnedFd = fs::File::open(folder).with_context(giving)?.into();
        own_opened(&opened, uid, gid).with_context(giving)?;
    }
    Ok(())
}

/// The same for one folder that is open already.
pub(crate) fn own_opened(folder: impl AsFd, uid: Uid, gid: Gid) -> Result<()> {
    let about = fstat(&folder)?;
    let gift = Gift {
        uid,
        gid,
        device: about.st_dev,
    };
    gift.give(&folder, &about)?;
    gift.give_contents(&folder, 0)
}

struct Gift {
    uid: Uid,
    gid: Gid,
    device: nix::libc::dev_t,
}

impl Gift {
    fn give_contents(&self, folder: &impl AsFd, depth: u32) -> Result<()> {
        ensure!(depth < DEEPEST, "there are more than {DEEPEST} folders in each other");
        let list = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
        for entry in fs::read_dir(list).context("listing a folder")? {
            let name = entry.context("listing a folder")?.file_name();
            self.give_entry(folder, &name, depth)
                .with_context(|| name.display().to_string())?;
        }
        Ok(())
    }

    fn give_entry(&self, folder: &impl AsFd, name: &OsStr, depth: u32) -> Result<()> {
        let how = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = match openat(folder, name, how, Mode::empty()) {
            Ok(opened) => opened,
            // Removed meanwhile.
            Err(Errno::ENOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let about = fstat(&opened)?;
        let kind = SFlag::from_bits_truncate(about.st_mode & SFlag::S_IFMT.bits());
        match kind {
            SFlag::S_IFDIR if about.st_dev == self.device => {
                self.give(&opened, &about)?;
                let how = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let inside = openat(&opened, ".", how, Mode::empty())?;
                self.give_contents(&inside, depth + 1)
            }
            SFlag::S_IFREG | SFlag::S_IFLNK | SFlag::S_IFSOCK | SFlag::S_IFIFO if about.st_nlink == 1 => {
                self.give(&opened, &about)
            }
            _ => {
                if !self.has(&about) {
                    warn!(
                        ?name,
                        "not given to the user: it may be somebody else's file by another name"
                    );
                }
                Ok(())
            }
        }
    }

    /// Gives the file itself, whatever its name leads to by now.
    fn give(&self, opened: &impl AsFd, about: &FileStat) -> Result<()> {
        if self.has(about) {
            return Ok(());
        }
        Ok(fchownat(
            opened,
            "",
            Some(self.uid),
            Some(self.gid),
            AtFlags::AT_EMPTY_PATH,
        )?)
    }

    fn has(&self, about: &FileStat) -> bool {
        (about.st_uid, about.st_gid) == (self.uid.as_raw(), self.gid.as_raw())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    /// Nobody's number on any machine.
    const SOMEBODY: u32 = 54_321;

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn what_root_made_is_given_and_what_a_user_planted_is_not() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let outside = tempfile::tempdir().unwrap();
        let state = tempfile::tempdir().unwrap();
        let (shadow, etc) = (outside.path().join("shadow"), outside.path().join("etc"));
        fs::write(&shadow, "secret").unwrap();
        fs::create_dir(&etc).unwrap();
        fs::write(etc.join("passwd"), "root").unwrap();
        fs::create_dir(state.path().join("tls")).unwrap();
        let made = state.path().join("tls/server.key");
        fs::write(&made, "key").unwrap();
        let links = [("file", &shadow), ("folder", &etc)];
        for (name, to) in links {
            symlink(to, state.path().join(name)).unwrap();
        }
        fs::hard_link(&shadow, state.path().join("tls/hard")).unwrap();
        own(&[state.path()], Uid::from_raw(SOMEBODY), Gid::from_raw(SOMEBODY)).unwrap();
        for given in [
            state.path(),
            &state.path().join("tls"),
            &made,
            &state.path().join("folder"),
        ] {
            assert_eq!(owner(given), SOMEBODY, "{}", given.display());
        }
        for not in [&shadow, &etc, &etc.join("passwd")] {
            assert_eq!(owner(not), 0, "{}", not.display());
        }
    }

    #[test]
    fn folders_without_end_are_refused() {
        let state = tempfile::tempdir().unwrap();
        let mut deep = state.path().to_owned();
        for _ in 0..=DEEPEST {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
        own(&[state.path()], uid, gid).unwrap_err();
    }
}
