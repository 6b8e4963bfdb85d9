// SPDX-License-Identifier: Apache-2.0
//! What lies in a folder of the store: read, checked against signature and sizes, with its problem where it has one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use provisioner_api::{Manifest, RamManifest};
use ring::digest;
use serde::de::DeserializeOwned;

use super::import::{CHUNKS, MANIFEST, SIGNATURE_ENDING};
use super::trust::TrustedKeys;
use super::{StoredImage, StoredProgram, StoredRam};

/// Bytes of a manifest at most: 16 TB of chunks. A larger one is not ours.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// A signed document: what it says, and who signed it.
pub(super) struct Signed<T> {
    pub(super) content: T,
    /// The exact bytes, and those of the signature.
    pub(super) files: [Vec<u8>; 2],
    /// Who signed it, or why that does not count.
    pub(super) signer: Result<String, String>,
}

/// Reads a document and its signature; fails only where there is nothing to be shown.
pub(super) fn read_signed<T: DeserializeOwned>(
    folder: &Path,
    file: &str,
    trusted: &TrustedKeys,
) -> Result<Signed<T>, String> {
    let content = read(&folder.join(file))?;
    let signature = read(&folder.join(format!("{file}{SIGNATURE_ENDING}")));
    let signer = match &signature {
        Ok(signature) => {
            let text = String::from_utf8_lossy(signature);
            trusted.signer(&content, &text).map(super::trust::TrustedKey::label)
        }
        Err(why) => Err(format!("its signature is missing ({why})")),
    };
    let parsed = serde_json::from_slice(&content).map_err(|error| match &signer {
        // What nobody signed is not looked into for what else may be wrong with it.
        Err(why) => why.clone(),
        Ok(_) => format!("{file} is malformed ({error})"),
    })?;
    Ok(Signed {
        content: parsed,
        files: [content, signature.unwrap_or_default()],
        signer,
    })
}

/// The image in a folder of the store; `None` where nothing there can even be named.
pub(super) fn image(folder: PathBuf, trusted: &TrustedKeys) -> Option<StoredImage> {
    let signed: Signed<Manifest> = read_or_log(&folder, MANIFEST, trusted)?;
    let mut manifest = signed.content;
    let length = fs::metadata(folder.join(CHUNKS)).map(|chunks| chunks.len());
    let problem = match (&signed.signer, manifest.validate(), length) {
        (Err(why), _, _) => Some(why.clone()),
        (_, Err(error), _) => Some(error.to_string()),
        (_, _, Err(error)) => Some(format!("its chunks cannot be read ({error}); import it again")),
        (_, _, Ok(length)) if length != manifest.data_size => Some(format!(
            "its chunks have {length} bytes instead of {}; import it again",
            manifest.data_size
        )),
        _ => misplaced(&folder, &[&manifest.version, &manifest.name]),
    };
    manifest.chunks = Vec::new();
    manifest.packages = Vec::new();
    Some(StoredImage {
        folder,
        manifest,
        signed_by: signed.signer.unwrap_or_default(),
        problem,
    })
}

/// The RAM environment in a folder of the store.
pub(super) fn ram(folder: PathBuf, trusted: &TrustedKeys) -> Option<StoredRam> {
    let signed: Signed<RamManifest> = read_or_log(&folder, RamManifest::FILE, trusted)?;
    let mut manifest = signed.content;
    manifest.packages = Vec::new();
    let valid = signed
        .signer
        .clone()
        .and_then(|_| manifest.validate().map_err(|error| error.to_string()));
    let files = valid.and_then(|()| files(&folder, &manifest));
    let misplaced = misplaced(&folder, &[&manifest.version]);
    let signed_by = signed.signer.unwrap_or_default();
    let (files, problem) = match files {
        Ok(files) => (files, misplaced),
        Err(why) => (Files::default(), Some(why)),
    };
    Some(StoredRam {
        folder,
        manifest,
        loaders: files.loaders,
        programs: files.programs,
        signed_by,
        problem,
    })
}

/// What is kept of a RAM environment's files in memory.
#[derive(Default)]
struct Files {
    loaders: BTreeMap<String, Bytes>,
    programs: BTreeMap<String, StoredProgram>,
}

/// Checks every file and reads the loaders. All of it is booted as is, so all of it is hashed: 50 MB take a moment.
fn files(folder: &Path, manifest: &RamManifest) -> Result<Files, String> {
    let mut files = Files::default();
    for entry in &manifest.files {
        let path = folder.join(&entry.path);
        let mut hasher = blake3::Hasher::new();
        let read = File::open(&path).and_then(|file| hasher.update_reader(file).map(drop));
        read.map_err(|error| format!("{} cannot be read ({error}); import it again", entry.path))?;
        if hasher.finalize().to_hex().as_str() != entry.blake3 {
            return Err(format!("{} is not what was signed; import it again", entry.path));
        }
        if let Some(name) = entry
            .path
            .strip_prefix(RamManifest::LOADERS)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            let content = fs::read(&path).map_err(|error| format!("{} cannot be read ({error})", entry.path))?;
            files.loaders.insert(name.to_owned(), Bytes::from(content));
        }
        if [RamManifest::NODE_INIT, RamManifest::NODE_INIT_LIBVIRT].contains(&entry.path.as_str()) {
            let content = fs::read(&path).map_err(|error| format!("{} cannot be read ({error})", entry.path))?;
            let program = StoredProgram {
                name: entry.path.rsplit('/').next().unwrap_or_default().to_owned(),
                sha256: hex::encode(digest::digest(&digest::SHA256, &content)),
                path,
            };
            files.programs.insert(entry.path.clone(), program);
        }
    }
    Ok(files)
}

/// A signed image under another's name would be served as that one.
fn misplaced(folder: &Path, names: &[&str]) -> Option<String> {
    let mut parts = folder.components().rev();
    let placed = names
        .iter()
        .all(|name| parts.next().is_some_and(|part| part.as_os_str() == *name));
    (!placed).then(|| format!("it lies in the wrong folder ({}); import it again", folder.display()))
}

fn read_or_log<T: DeserializeOwned>(folder: &Path, file: &str, trusted: &TrustedKeys) -> Option<Signed<T>> {
    read_signed(folder, file, trusted)
        .inspect_err(|why| tracing::warn!(folder = %folder.display(), why, "this is no image"))
        .ok()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut content = Vec::new();
    let file = File::open(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    file.take(LARGEST_MANIFEST + 1)
        .read_to_end(&mut content)
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if content.len() as u64 > LARGEST_MANIFEST {
        return Err(format!("{name} is larger than any manifest"));
    }
    Ok(content)
}
