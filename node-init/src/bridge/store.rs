// SPDX-License-Identifier: Apache-2.0
//! Where a change of the network keeps what it must not lose.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::durable;

/// Where a change keeps its files. Paths are relative to the root of the system.
pub trait Store {
    /// What is in the file; `None` if there is none.
    fn read(&self, path: &str) -> io::Result<Option<String>>;
    /// Replaces the file. On return it survives a power cut.
    fn write(&self, path: &str, text: &str) -> io::Result<()>;
    /// Removes the file if it is there. On return that survives a power cut.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Keeps other processes from changing the network as long as the guard lives.
    fn lock(&self) -> io::Result<Option<Flock<File>>>;
}

/// Lock of everybody who confirms or undoes a change.
const LOCK: &str = "var/lib/node-init/bridge/lock";

/// The disk below a root (`/` outside tests).
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// The disk below `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }
}

impl Store for Disk {
    fn read(&self, path: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.root.join(path)) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        // networkd reads its files as its own user; nothing written here is secret.
        durable::replace(&path, 0o644, None, text.as_bytes())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        durable::remove(&self.root, path)
    }

    fn lock(&self) -> io::Result<Option<Flock<File>>> {
        let path = self.root.join(LOCK);
        fs::create_dir_all(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map(Some)
            .map_err(|(_, e)| e.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_removed_twice_without_complaint() {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::new(root.path());
        assert_eq!(disk.read("a/b.network").unwrap(), None);
        disk.write("a/b.network", "one").unwrap();
        disk.write("a/b.network", "two").unwrap();
        assert_eq!(disk.read("a/b.network").unwrap().as_deref(), Some("two"));
        disk.remove("a/b.network").unwrap();
        disk.remove("a/b.network").unwrap();
        assert_eq!(fs::read_dir(root.path().join("a")).unwrap().count(), 0);
    }
}
