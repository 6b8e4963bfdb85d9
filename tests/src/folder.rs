// SPDX-License-Identifier: Apache-2.0
//! Folders of a laboratory, removed when it is over, or by the next one if it was killed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Short, because UNIX sockets in it must fit into 108 bytes.
const PLACE: &str = "gleaner-lab";

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A folder of this process.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one, and removes those of processes that are no more.
    pub fn new() -> Result<Self> {
        let place = place();
        std::fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
        sweep(&place);
        let path = place.join(format!(
            "{}.{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("GLEANER_KEEP").is_some() {
            let kept = place().join(format!("kept.{}", self.0.file_name().unwrap_or_default().display()));
            let _ = std::fs::rename(&self.0, &kept);
            eprintln!("kept {}", kept.display());
            return;
        }
        let _ = std::fs::remove_dir_all(&self.0);
        // Goes only when the last laboratory did.
        let _ = std::fs::remove_dir(place());
    }
}

/// Where all of them are.
pub fn place() -> PathBuf {
    std::env::temp_dir().join(PLACE)
}

fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_string_lossy()
            .split('.')
            .next()
            .and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
