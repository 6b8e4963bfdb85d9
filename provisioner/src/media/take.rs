// SPDX-License-Identifier: Apache-2.0
//! A medium arrives: its files are gathered in a folder of their own, hashed, and put in place by one rename. And one
//! that nobody needs goes.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, MutexGuard};

use kickstart::families;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use provisioner_api::MediumImport;

use super::layout;
use super::{Media, Medium, MediumFile, NoRoom, RECORD, Record, UNFINISHED, room_for};
use crate::store::{self, StoreError, clear, sync, writing};

/// Bytes of the content's hash in a medium's name: enough that two never share one, few enough to be read.
const ID: usize = 16;
/// Bytes hashed at a time.
const PIECE: usize = 1 << 20;

/// Why nothing was taken or removed; the store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It is no medium that this server knows what to do with.
    #[error("{0}")]
    Refused(String),
    /// Another import runs.
    #[error("another import is running; wait until it is done")]
    Busy,
    /// It would not fit.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The folder could not be read, or the store not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Media {
    /// Takes the files of a medium in. `progress` hears bytes done and in all; `now` is Unix milliseconds.
    pub fn take(
        &self,
        arrival: &MediumImport,
        now: i64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Arc<Medium>, TakeError> {
        let _alone = self.alone()?;
        let os = families::named(&arrival.os)
            .ok_or_else(|| TakeError::Refused(format!("{:?} is no system that can be installed", arrival.os)))?;
        let wanted = layout::of(os.family);
        if wanted.is_empty() {
            let why = format!("{} is a ready-made image, which no medium installs", os.name);
            return Err(TakeError::Refused(why));
        }
        let folder = Path::new(&arrival.folder);
        let mut sources = Vec::new();
        for wanted in wanted {
            if wanted.needed || folder.join(wanted.place).exists() {
                sources.push((wanted.place, open(folder, wanted.place)?));
            }
        }
        let total = sources.iter().map(|(_, (_, size))| size).sum();
        let staging = self.folder.join(format!("{UNFINISHED}import"));
        let taken = clear(&staging)
            .and_then(|()| store::make(&staging))
            .map_err(TakeError::from)
            .and_then(|()| gather(folder, &staging, sources, total, progress))
            .and_then(|files| {
                let record = Record {
                    os: os.name.to_owned(),
                    release: arrival.release.clone(),
                    source: arrival.source.clone(),
                    verified: arrival.verified.clone(),
                    imported: now,
                    files,
                };
                self.place(&staging, &record)
            });
        if taken.is_err() {
            // The first error is the one to be told.
            let _ = fs::remove_dir_all(&staging);
        }
        let id = taken?;
        self.look_again()?;
        self.get(&id)
            .ok_or_else(|| TakeError::Refused(format!("{id} was gone as soon as it was there")))
    }

    /// Removes a medium. Who fetches from it at this moment gets what is open to its end.
    pub fn remove(&self, id: &str) -> Result<(), TakeError> {
        let _alone = self.alone()?;
        let Some(medium) = self.get(id) else { return Ok(()) };
        // Gone at once or not at all, whenever the power fails.
        let going = self.folder.join(format!("{UNFINISHED}removal"));
        clear(&going)?;
        store::rename(&medium.folder, &going)?;
        sync(&self.folder)?;
        self.look_again()?;
        Ok(clear(&going)?)
    }

    /// Puts a gathered medium in its place; its id.
    fn place(&self, staging: &Path, record: &Record) -> Result<String, TakeError> {
        let id = id(&record.files);
        let there = self.get(&id);
        if let Some(there) = there.as_ref().filter(|there| there.os.name != record.os) {
            let why = format!("the server has these very files as {} already", there.os.name);
            return Err(TakeError::Refused(why));
        }
        write_record(staging, record)?;
        let place = self.folder.join(&id);
        if there.is_some_and(|there| there.problem.is_none()) {
            // The same once more: what is known of it is the newer, its files may be under way to a machine.
            store::rename(&staging.join(RECORD), &place.join(RECORD))?;
            sync(&place)?;
            clear(staging)?;
        } else {
            // Whatever is there is damaged; this is not.
            clear(&place)?;
            store::rename(staging, &place)?;
        }
        sync(&self.folder)?;
        Ok(id)
    }

    fn alone(&self) -> Result<MutexGuard<'_, ()>, TakeError> {
        store::alone(&self.changing).ok_or(TakeError::Busy)
    }

    fn look_again(&self) -> Result<(), TakeError> {
        self.refresh().map_err(|error| TakeError::Refused(format!("{error:#}")))
    }
}

/// What a medium with these files is called.
pub(super) fn id(files: &[MediumFile]) -> String {
    let mut lines: Vec<String> = files
        .iter()
        .map(|file| format!("{}  {}\n", file.blake3, file.place))
        .collect();
    lines.sort();
    let hash = blake3::hash(lines.concat().as_bytes());
    hex::encode(&hash.as_bytes()[..ID])
}

/// Opens a file below `folder`, and says its size. No link is followed: it might lead to what the server alone may read.
fn open(folder: &Path, place: &str) -> Result<(File, u64), TakeError> {
    let path = folder.join(place);
    let how = OpenHow::new()
        // Opening a pipe would wait for somebody who writes into it.
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let within = File::open(folder).map_err(|error| match error.kind() {
        // systemd gives the server a /tmp of its own.
        io::ErrorKind::NotFound => {
            let folder = folder.display();
            TakeError::Refused(format!(
                "there is no {folder} where the server looks; import it with sudo"
            ))
        }
        _ => reading(folder, error),
    })?;
    let opened: OwnedFd = openat2(within.as_fd(), place, how).map_err(|error| match error {
        nix::errno::Errno::ELOOP | nix::errno::Errno::EXDEV => {
            TakeError::Refused(format!("{} is a link; only files are taken", path.display()))
        }
        other => reading(&path, other.into()),
    })?;
    let file = File::from(opened);
    let about = file.metadata().map_err(|error| reading(&path, error))?;
    if !about.is_file() || about.len() == 0 {
        let why = format!("{} is no file with something in it", path.display());
        return Err(TakeError::Refused(why));
    }
    Ok((file, about.len()))
}

/// Brings the files together in `staging` and says what they are.
fn gather(
    folder: &Path,
    staging: &Path,
    sources: Vec<(&str, (File, u64))>,
    total: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<MediumFile>, TakeError> {
    let mut files = Vec::new();
    let mut done = 0;
    for (place, (source, size)) in sources {
        let (from, target) = (folder.join(place), staging.join(place));
        if let Some(folder) = target.parent() {
            store::make(folder)?;
        }
        bring(source, &from, &target, size)?;
        let mut heard = |bytes: u64| progress(done + bytes, total);
        let (hash, hashed) = hash(&target, &mut heard)?;
        if hashed != size {
            let why = format!("{} has changed while it was taken; import it again", from.display());
            return Err(TakeError::Refused(why));
        }
        done += size;
        files.push(MediumFile {
            place: place.to_owned(),
            size,
            blake3: hash,
        });
    }
    Ok(files)
}

/// Moves a file that is the server's own already, copies any other.
fn bring(mut source: File, from: &Path, target: &Path, size: u64) -> Result<(), TakeError> {
    let about = source.metadata().map_err(|error| reading(from, error))?;
    // Whoever owns a file may change it later.
    let ours = about.uid() == nix::unistd::geteuid().as_raw() && about.nlink() == 1;
    if ours && fs::rename(from, target).is_ok() {
        let synced = File::open(target).and_then(|file| file.sync_all());
        return Ok(synced.map_err(|error| writing(target, error))?);
    }
    room_for(target.parent().unwrap_or(target), size)?;
    let copied = File::create(target).and_then(|mut file| {
        io::copy(&mut source, &mut file)?;
        file.sync_all()
    });
    Ok(copied.map_err(|error| writing(target, error))?)
}

/// Hash and length of a file.
fn hash(path: &Path, heard: &mut dyn FnMut(u64)) -> Result<(String, u64), TakeError> {
    let mut file = File::open(path).map_err(|error| reading(path, error))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE];
    let mut done = 0;
    loop {
        let read = io::Read::read(&mut file, &mut buffer).map_err(|error| reading(path, error))?;
        if read == 0 {
            return Ok((hasher.finalize().to_hex().to_string(), done));
        }
        hasher.update(&buffer[..read]);
        done += read as u64;
        heard(done);
    }
}

/// The list is the last thing that a medium gets.
fn write_record(folder: &Path, record: &Record) -> Result<(), TakeError> {
    for file in &record.files {
        let folders = Path::new(&file.place).ancestors().skip(1);
        for within in folders.filter(|within| !within.as_os_str().is_empty()) {
            sync(&folder.join(within))?;
        }
    }
    let path = folder.join(RECORD);
    let text = serde_json::to_vec_pretty(record).map_err(|error| writing(&path, error.into()))?;
    store::write(&path, &text)?;
    Ok(sync(folder)?)
}

fn reading(path: &Path, error: io::Error) -> TakeError {
    let path = path.display();
    let words = match error.kind() {
        io::ErrorKind::PermissionDenied => format!("the server may not read {path}; import it with sudo"),
        io::ErrorKind::NotFound => format!("there is no {path}"),
        _ => format!("reading {path} ({error})"),
    };
    StoreError::Io(words, error).into()
}
