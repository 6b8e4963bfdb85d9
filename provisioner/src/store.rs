// SPDX-License-Identifier: Apache-2.0
//! What the stores of images and of media write by: what is in them is there as a whole or not at all, whenever the power
//! fails.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Why a store could not be written, or what it takes in not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room.
    #[error("the server's disk is full")]
    Full,
    /// Anything else.
    #[error("{0}")]
    Io(String, #[source] io::Error),
}

/// Whoever changes a store is alone; `None` while somebody else does.
pub(crate) fn alone(changing: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    match changing.try_lock() {
        Ok(guard) => Some(guard),
        // A panic in an earlier change has left an unfinished folder at most.
        Err(TryLockError::Poisoned(poisoned)) => Some(PoisonError::into_inner(poisoned)),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Writes a file, down to the disk.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|error| writing(path, error))
}

/// Makes a folder, with those that it is in.
pub(crate) fn make(folder: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(folder).map_err(|error| writing(folder, error))
}

/// Gives a file or folder another name, in the place of what has that.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| writing(to, error))
}

/// Brings the names in a folder down to the disk.
pub(crate) fn sync(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| writing(folder, error))
}

/// Removes a folder, if it is there.
pub(crate) fn clear(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(writing(folder, error)),
        _ => Ok(()),
    }
}

/// Why a place in the store could not be written.
pub(crate) fn writing(path: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Io(format!("writing {} ({error})", path.display()), error),
    }
}
