// SPDX-License-Identifier: Apache-2.0
//! The boot media of the distributions' own installers that this server holds, kept by their content.
//!
//! A medium is in the store or it is not: its files arrive in a folder of their own beside the others and get their
//! name, which is the hash of all of them, by one rename. What is served is what the list in that folder names.
//! What a medium is, whether it is genuine, and what of it is needed, the command line finds out before ([`import`]): the
//! server itself opens no archive and runs no program.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context, Result};
use kickstart::{Os, families};
use provisioner_api::{MediumSummary, Verified};
use serde::{Deserialize, Serialize};

mod contents;
mod detect;
mod genuine;
pub mod import;
pub mod layout;
mod listing;
mod room;
mod sums;
mod take;
mod tool;

pub use room::{NoRoom, room_for};
pub use take::TakeError;

/// Folder of the media in the state folder, and of their paths on the wire.
const MEDIA: &str = "media";
/// The list of a medium's files; written last.
const RECORD: &str = "medium.json";
/// How the folders of unfinished imports and removals begin; none survives a start.
const UNFINISHED: &str = ".unfinished-";

/// The media on this server's disk.
#[derive(Debug)]
pub struct Media {
    folder: PathBuf,
    /// Newest first.
    held: RwLock<Vec<Arc<Medium>>>,
    /// Held by the one import or removal that may run.
    changing: Mutex<()>,
}

/// A medium in the store.
#[derive(Debug)]
pub struct Medium {
    /// Hash of its content.
    pub id: String,
    /// Where it is served: `/media/ID`, no slash at the end.
    pub path: String,
    /// What it installs.
    pub os: &'static Os,
    /// What is known of it, and its files.
    pub record: Record,
    /// Why it may not be used, where it may not.
    pub problem: Option<String>,
    folder: PathBuf,
}

/// What a medium's list says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it installs.
    os: String,
    /// Its release, as its makers say.
    pub release: String,
    /// Name of the file or folder that it came out of.
    pub source: String,
    /// How it is known to be genuine.
    pub verified: Verified,
    /// When it was imported, Unix milliseconds.
    pub imported: i64,
    /// Its files.
    pub files: Vec<MediumFile>,
}

/// A file of a medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediumFile {
    /// Its name below the medium's path.
    pub place: String,
    /// Bytes.
    pub size: u64,
    /// Hash.
    pub blake3: String,
}

/// There is no medium of a system that could be started, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoMedium(String);

impl Media {
    /// Opens the store in the state folder, makes it if there is none, and removes what an earlier server left half done.
    pub fn open(state: &Path) -> Result<Self> {
        let folder = state.join(MEDIA);
        fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
        remove_unfinished(&folder)?;
        let media = Self {
            folder,
            held: RwLock::default(),
            changing: Mutex::default(),
        };
        media.refresh()?;
        Ok(media)
    }

    /// The medium that installs this system now, the one that was imported last, or why there is none.
    pub fn of(&self, os: &'static Os) -> Result<Arc<Medium>, NoMedium> {
        let all: Vec<_> = self.all().into_iter().filter(|medium| medium.os == os).collect();
        if let Some(medium) = all.iter().find(|medium| medium.problem.is_none()) {
            return Ok(Arc::clone(medium));
        }
        Err(NoMedium(match all.first().and_then(|medium| medium.problem.as_ref()) {
            Some(problem) => format!("the installer of {} cannot be used: {problem}", os.name),
            None => format!(
                "there is no installer of {} on the server: provisioner os import FILE",
                os.name
            ),
        }))
    }

    /// The medium with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Medium>> {
        self.all().into_iter().find(|medium| medium.id == id)
    }

    /// All, newest first.
    pub fn all(&self) -> Vec<Arc<Medium>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A file by the path that a boot script names it by, `media/ID/FILE`: open, and its size.
    pub fn boot_file(&self, path: &str) -> Option<(File, u64)> {
        let (id, place) = path.strip_prefix(MEDIA)?.strip_prefix('/')?.split_once('/')?;
        let medium = self.get(id).filter(|medium| medium.problem.is_none())?;
        let file = File::open(medium.file(place)?.0).ok()?;
        let size = file.metadata().ok()?.len();
        Some((file, size))
    }

    /// Looks at the folder again.
    fn refresh(&self) -> Result<()> {
        let mut held = Vec::new();
        let reading = || format!("reading the folder {}", self.folder.display());
        for entry in fs::read_dir(&self.folder).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                held.extend(read(&name, entry.path()).map(Arc::new));
            }
        }
        held.sort_by_key(|medium| (std::cmp::Reverse(medium.record.imported), medium.id.clone()));
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }
}

impl Medium {
    /// Where a file of it lies, and what is known of it; `place` is as on the wire.
    pub fn file(&self, place: &str) -> Option<(PathBuf, &MediumFile)> {
        // What is served is what the list names; a name of a request never becomes a path of the disk.
        let file = self.record.files.iter().find(|file| file.place == place)?;
        Some((self.folder.join(&file.place), file))
    }

    /// Bytes of its files.
    pub fn size(&self) -> u64 {
        self.record.files.iter().map(|file| file.size).sum()
    }

    /// The same for people and programs.
    pub fn summary(&self, used_by: Vec<String>) -> MediumSummary {
        MediumSummary {
            id: self.id.clone(),
            os: self.os.name.to_owned(),
            release: self.record.release.clone(),
            source: self.record.source.clone(),
            size: self.size(),
            verified: self.record.verified.clone(),
            imported: self.record.imported,
            used_by,
            problem: self.problem.clone(),
        }
    }
}

/// The medium in a folder of the store; `None` where nothing there can even be named.
fn read(id: &str, folder: PathBuf) -> Option<Medium> {
    let record = fs::read(folder.join(RECORD))
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(serde_json::from_slice::<Record>(&text)?))
        .inspect_err(|error| tracing::warn!(folder = %folder.display(), %error, "this is no medium"))
        .ok()?;
    let Some(os) = families::named(&record.os) else {
        tracing::warn!(folder = %folder.display(), os = record.os, "this medium is of an unknown system");
        return None;
    };
    let problem = wrong(id, &folder, os, &record);
    Some(Medium {
        id: id.to_owned(),
        path: format!("/{MEDIA}/{id}"),
        os,
        record,
        problem,
        folder,
    })
}

/// What is wrong with it. Sizes are looked at and not hashes: discs have gigabytes, and a start must not take minutes.
fn wrong(id: &str, folder: &Path, os: &Os, record: &Record) -> Option<String> {
    const AGAIN: &str = "import it again";
    if take::id(&record.files) != id {
        return Some(format!("its list is not the one of its content; {AGAIN}"));
    }
    for wanted in layout::of(os.family) {
        let Some(file) = record.files.iter().find(|file| file.place == wanted.place) else {
            if !wanted.needed {
                continue;
            }
            return Some(format!("{} is missing; {AGAIN}", wanted.place));
        };
        match fs::symlink_metadata(folder.join(wanted.place)) {
            Ok(about) if about.is_file() && about.size() == file.size => {}
            Ok(about) => {
                let (is, was) = (about.size(), file.size);
                return Some(format!("{} has {is} bytes instead of {was}; {AGAIN}", file.place));
            }
            Err(error) => return Some(format!("{} cannot be read ({error}); {AGAIN}", file.place)),
        }
    }
    // A list may name no more than the layout does: what else it named would be served as well.
    let stranger = |file: &&MediumFile| layout::wanted(os.family, &file.place).is_none();
    record
        .files
        .iter()
        .find(stranger)
        .map(|file| format!("it lists {}, which is none of its files; {AGAIN}", file.place))
}

fn remove_unfinished(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading the folder {}", folder.display()))?;
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            let path = entry.path();
            fs::remove_dir_all(&path).with_context(|| format!("removing the unfinished {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
