// SPDX-License-Identifier: Apache-2.0
//! Results that are worth keeping between builds, each in a folder named by a hash of everything it was made from.
//!
//! The cache lies outside the source tree. Anything in it may be deleted at any time; it is only time that is lost.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Digits of the key in a folder's name: 64 bits are enough among a few dozen entries.
const KEY_DIGITS: usize = 16;

/// The folder with one sub-folder for each kept result.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    /// Whether what is there is to be made again from today's archive.
    refresh: bool,
}

impl Cache {
    /// Opens the cache, making its folder.
    pub fn open(folder: &Path, refresh: bool) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making the cache folder {}", folder.display()))?;
        let folder = folder
            .canonicalize()
            .with_context(|| format!("opening the cache folder {}", folder.display()))?;
        Ok(Self { folder, refresh })
    }

    /// `GLEANER_CACHE`, else `gleaner` in the user's cache folder.
    pub fn default_folder() -> PathBuf {
        let set = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let user = || set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        set("GLEANER_CACHE").unwrap_or_else(|| user().unwrap_or_else(|| PathBuf::from("/var/cache")).join("gleaner"))
    }

    /// The folder of what was made from `inputs`; `make` fills it if it is not there yet. It appears all at once: a
    /// build that is cut short leaves nothing that looks finished.
    pub fn entry(&self, what: &str, inputs: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let key = blake3::hash(inputs.as_bytes()).to_hex();
        let entry = self.folder.join(format!("{what}-{}", &key[..KEY_DIGITS]));
        if entry.is_dir() && !self.refresh {
            return Ok(entry);
        }
        let unfinished = self.scratch(what)?;
        make(unfinished.path())?;
        fs::write(unfinished.path().join("inputs"), inputs).context("noting what a cache entry was made from")?;
        if entry.is_dir() {
            remove(&entry)?;
        }
        // Somebody else may have finished the same entry meanwhile: theirs is as good.
        let kept = unfinished.keep();
        if let Err(error) = fs::rename(&kept, &entry) {
            remove(&kept)?;
            if !entry.is_dir() {
                return Err(error).with_context(|| format!("putting {} into the cache", entry.display()));
            }
        }
        Ok(entry)
    }

    /// A folder for work in progress, on the cache's file system because it is large; gone when dropped.
    pub fn scratch(&self, what: &str) -> Result<tempfile::TempDir> {
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{what}-");
        builder
            .prefix(&prefix)
            .tempdir_in(&self.folder)
            .context("making a folder for work in progress")
    }

    /// A folder that stays from build to build and holds files named by what they are made from.
    pub fn store(&self, what: &str) -> Result<PathBuf> {
        let folder = self.folder.join(what);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&folder)
            .context("making a folder in the cache")?;
        Ok(folder)
    }
}

fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_entry_is_made_once_and_again_only_for_other_inputs_or_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), false).unwrap();
        let make = |text: &'static str| move |dir: &Path| Ok(fs::write(dir.join("x"), text)?);
        let read = |entry: PathBuf| fs::read_to_string(entry.join("x")).unwrap();
        assert_eq!(read(cache.entry("t", "a", make("first")).unwrap()), "first");
        assert_eq!(read(cache.entry("t", "a", make("second")).unwrap()), "first");
        assert_eq!(read(cache.entry("t", "b", make("third")).unwrap()), "third");
        let fresh = Cache::open(folder.path(), true).unwrap();
        assert_eq!(read(fresh.entry("t", "a", make("fourth")).unwrap()), "fourth");
    }

    #[test]
    fn a_failed_entry_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), false).unwrap();
        let failed = cache.entry("t", "a", |dir| {
            fs::write(dir.join("half"), "done")?;
            anyhow::bail!("no")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
