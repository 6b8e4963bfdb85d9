// SPDX-License-Identifier: Apache-2.0
//! An image arrives: verified to the last byte in a folder of its own, then put in place by one rename.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use provisioner_api::{CHUNK_SIZE, Chunk, Manifest, RamManifest};

use super::trust::TrustedKeys;
use super::verify::{Signed, read_signed};
use super::{IMAGES, ImageStore, RAM, UNFINISHED};
use crate::store::{self, StoreError, clear, sync, write, writing};

/// The list of a node image.
pub(super) const MANIFEST: &str = "manifest.json";
/// The data of a node image.
pub(super) const CHUNKS: &str = "chunks";
/// What the signature's name has behind the list's.
pub(super) const SIGNATURE_ENDING: &str = ".minisig";

/// What an import has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// A node image.
    Image {
        /// Name.
        name: String,
        /// Version.
        version: String,
    },
    /// A RAM environment.
    Ram {
        /// Version.
        version: String,
    },
}

/// Why nothing was imported; the store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no image in the folder.
    #[error("{} is no image: it has neither {MANIFEST} nor {}", .0.display(), RamManifest::FILE)]
    NotAnImage(PathBuf),
    /// It is not what was signed, or not by whom it should be.
    #[error("{0}")]
    Refused(String),
    /// Another image has its name and version.
    #[error("the server has another {0} already; give the new one a new version")]
    Exists(String),
    /// Another import runs.
    #[error("another import is running; wait until it is done")]
    Busy,
    /// The folder could not be read, or the store not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImageStore {
    /// Takes the image or RAM environment in `folder` into the store; `progress` hears bytes done and in all.
    pub fn import(&self, folder: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Imported, ImportError> {
        let _alone = store::alone(&self.importing).ok_or(ImportError::Busy)?;
        // A key that was added since the start counts.
        let trusted = TrustedKeys::load(&self.keys).map_err(|error| ImportError::Refused(format!("{error:#}")))?;
        let imported = if exists(&folder.join(MANIFEST))? {
            self.import_image(folder, &trusted, progress)
        } else if exists(&folder.join(RamManifest::FILE))? {
            self.import_ram(folder, &trusted, progress)
        } else {
            Err(ImportError::NotAnImage(folder.to_owned()))
        }?;
        self.refresh()
            .map_err(|error| ImportError::Refused(format!("{error:#}")))?;
        Ok(imported)
    }

    fn import_image(
        &self,
        folder: &Path,
        trusted: &TrustedKeys,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Imported, ImportError> {
        let signed: Signed<Manifest> = read_signed(folder, MANIFEST, trusted).map_err(ImportError::Refused)?;
        signed.signer.clone().map_err(ImportError::Refused)?;
        let manifest = &signed.content;
        manifest
            .validate()
            .map_err(|error| ImportError::Refused(error.to_string()))?;
        let parent = self.state.join(IMAGES).join(&manifest.name);
        self.place(&parent, &manifest.version, MANIFEST, &signed.files, |staging| {
            copy_chunks(folder, staging, manifest, progress)
        })?;
        Ok(Imported::Image {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
        })
    }

    fn import_ram(
        &self,
        folder: &Path,
        trusted: &TrustedKeys,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Imported, ImportError> {
        let signed: Signed<RamManifest> =
            read_signed(folder, RamManifest::FILE, trusted).map_err(ImportError::Refused)?;
        signed.signer.clone().map_err(ImportError::Refused)?;
        let manifest = &signed.content;
        manifest
            .validate()
            .map_err(|error| ImportError::Refused(error.to_string()))?;
        let parent = self.state.join(RAM);
        self.place(
            &parent,
            &manifest.version,
            RamManifest::FILE,
            &signed.files,
            |staging| copy_files(folder, staging, manifest, progress),
        )?;
        Ok(Imported::Ram {
            version: manifest.version.clone(),
        })
    }

    /// Fills a folder beside the place, the list last, and renames it.
    fn place(
        &self,
        parent: &Path,
        version: &str,
        list: &str,
        signed: &[Vec<u8>; 2],
        fill: impl FnOnce(&Path) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let place = parent.join(version);
        if fs::read(place.join(list)).is_ok_and(|content| content != signed[0]) {
            return Err(ImportError::Exists(format!("{list} of version {version}")));
        }
        // The store itself is the parent of what is unfinished: one look at the start finds it all.
        let home = if parent.ends_with(RAM) {
            parent.to_owned()
        } else {
            self.state.join(IMAGES)
        };
        let staging = home.join(format!("{UNFINISHED}{version}"));
        let filled = clear(&staging)
            .and_then(|()| store::make(&staging))
            .map_err(ImportError::from)
            .and_then(|()| fill(&staging))
            .and_then(|()| {
                write(&staging.join(format!("{list}{SIGNATURE_ENDING}")), &signed[1])?;
                write(&staging.join(list), &signed[0])?;
                sync(&staging)?;
                store::make(parent)?;
                // The same image once more: the one that is there may be damaged, this one is not.
                clear(&place)?;
                store::rename(&staging, &place)?;
                Ok(sync(parent)?)
            });
        if filled.is_err() {
            // The first error is the one to be told.
            let _ = fs::remove_dir_all(&staging);
        }
        filled
    }
}

/// Copies the data, and checks each chunk on the way.
fn copy_chunks(
    from: &Path,
    to: &Path,
    manifest: &Manifest,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ImportError> {
    let source_path = from.join(CHUNKS);
    let mut source = open(&source_path)?;
    let length = source.metadata().map_err(|error| reading(&source_path, error))?.len();
    if length != manifest.data_size {
        let need = manifest.data_size;
        return Err(ImportError::Refused(format!(
            "{CHUNKS} has {length} bytes instead of {need}; copy it again"
        )));
    }
    let path = to.join(CHUNKS);
    let mut target = File::create(&path).map_err(|error| writing(&path, error))?;
    // Equal chunks share a place; each place is checked once.
    let mut places: Vec<&Chunk> = manifest.chunks.iter().collect();
    places.sort_by_key(|chunk| (chunk.offset, chunk.length));
    places.dedup_by_key(|chunk| (chunk.offset, chunk.length, chunk.hash.as_str()));
    let mut at = 0;
    let mut buffer = Vec::new();
    for chunk in places {
        if chunk.offset < at {
            return Err(ImportError::Refused(format!(
                "chunk {} lies across another one",
                chunk.index
            )));
        }
        copy(
            &mut source,
            &mut target,
            &mut buffer,
            chunk.offset - at,
            &source_path,
            &path,
        )?;
        copy(&mut source, &mut target, &mut buffer, chunk.length, &source_path, &path)?;
        if blake3::hash(&buffer).to_hex().as_str() != chunk.hash {
            let index = chunk.index;
            return Err(ImportError::Refused(format!(
                "it is corrupt in chunk {index}: copy or build it again"
            )));
        }
        at = chunk.offset + chunk.length;
        progress(at, manifest.data_size);
    }
    copy(
        &mut source,
        &mut target,
        &mut buffer,
        manifest.data_size - at,
        &source_path,
        &path,
    )?;
    Ok(target.sync_all().map_err(|error| writing(&path, error))?)
}

/// Copies `length` bytes and leaves the last piece of at most a chunk in the buffer.
fn copy(
    source: &mut File,
    target: &mut File,
    buffer: &mut Vec<u8>,
    mut length: u64,
    source_path: &Path,
    target_path: &Path,
) -> Result<(), ImportError> {
    // What the format allows beyond a chunk of disk for one that does not compress.
    const PIECE: u64 = CHUNK_SIZE + CHUNK_SIZE / 128;
    while length > 0 {
        let piece = length.min(PIECE);
        // At most 4.03 MiB: fits any machine's usize.
        buffer.resize(usize::try_from(piece).unwrap_or(usize::MAX), 0);
        source.read_exact(buffer).map_err(|error| reading(source_path, error))?;
        target.write_all(buffer).map_err(|error| writing(target_path, error))?;
        length -= piece;
    }
    Ok(())
}

/// Copies the files of a RAM environment, and checks each on the way.
fn copy_files(
    from: &Path,
    to: &Path,
    manifest: &RamManifest,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ImportError> {
    let total = manifest.files.iter().map(|file| file.size).sum();
    let mut done = 0;
    for entry in &manifest.files {
        let (source, target) = (from.join(&entry.path), to.join(&entry.path));
        if let Some(folder) = target.parent() {
            store::make(folder)?;
        }
        let mut content = Vec::new();
        // One byte more than it should have is enough to know that it is another file.
        open(&source)?
            .take(entry.size + 1)
            .read_to_end(&mut content)
            .map_err(|error| reading(&source, error))?;
        if content.len() as u64 != entry.size || blake3::hash(&content).to_hex().as_str() != entry.blake3 {
            return Err(ImportError::Refused(format!(
                "{} is not what was signed: copy or build it again",
                entry.path
            )));
        }
        write(&target, &content)?;
        done += entry.size;
        progress(done, total);
    }
    let folders: BTreeSet<&Path> = manifest
        .files
        .iter()
        .filter_map(|entry| Path::new(&entry.path).parent())
        .collect();
    Ok(folders.into_iter().try_for_each(|folder| sync(&to.join(folder)))?)
}

fn exists(path: &Path) -> Result<bool, ImportError> {
    path.try_exists().map_err(|error| reading(path, error))
}

fn open(path: &Path) -> Result<File, ImportError> {
    File::open(path).map_err(|error| reading(path, error))
}

fn reading(path: &Path, error: io::Error) -> ImportError {
    let path = path.display();
    let words = match error.kind() {
        io::ErrorKind::PermissionDenied => format!("the server may not read {path}; put it where its user can read it"),
        io::ErrorKind::UnexpectedEof => format!("{path} ends too early; copy it again"),
        _ => format!("reading {path} ({error})"),
    };
    StoreError::Io(words, error).into()
}
