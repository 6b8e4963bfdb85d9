// SPDX-License-Identifier: Apache-2.0
//! A medium opened: a folder, or an archive of any kind that libarchive reads (discs, tarballs, Debian packages).
//!
//! An archive never says where anything is written: files are asked for by name, one is what its list says it is, and
//! what comes is written where we want it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::listing::{self, Entry, Kind};
use super::tool::{self, bsdtar};

/// Bytes of a file that only says what a medium is.
const LARGEST_MARKER: u64 = 64 << 10;
/// ISO 9660 (ECMA-119), 8.4: the primary volume descriptor is in sector 16, its identifier at byte 2 of 8.4.2, the
/// volume's label at byte 41, of 32, and the sectors of the volume at byte 81.
const DESCRIPTOR: u64 = 16 * SECTOR;
/// Bytes of a sector.
const SECTOR: u64 = 2048;
/// The members of a Debian package (deb(5)).
const CONTROL: &str = "control.tar";
const DATA: &str = "data.tar";
/// Where Debian's packages have the installer without graphics.
const TEXT_INSTALLER: &str = "/amd64/text/";

/// A medium that is open.
#[derive(Debug)]
pub(super) enum Contents {
    /// Unpacked or mounted.
    Folder(PathBuf),
    /// In one file.
    Archive(Archive),
}

/// A medium in one file.
#[derive(Debug)]
pub(super) struct Archive {
    /// The file itself.
    pub(super) file: File,
    /// The volume's label, of a disc.
    pub(super) label: Option<String>,
    /// The control file, of a Debian package.
    pub(super) control: Option<String>,
    /// The member that has the files, of a Debian package.
    inner: Option<String>,
    entries: Vec<Entry>,
}

/// A file inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path, or as the archive lists it.
    listed: String,
    /// Bytes.
    pub(super) size: u64,
}

impl Contents {
    /// Opens a folder.
    pub(super) fn of_folder(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }

    /// Opens an archive and reads what is in it.
    pub(super) fn of_file(file: File) -> Result<Self> {
        let label = label(&file)?;
        let list = |inner: Option<&str>| -> Result<Vec<Entry>> {
            let list = bsdtar(&file, inner, &["--numeric-owner", "-tvvvf", "-"])?.text();
            // Of a file that it takes for no archive it says that, in words of its own.
            let list = list.inspect_err(|error| tracing::debug!(%error, "listing an archive"));
            listing::read(&list.unwrap_or_default()).map_err(anyhow::Error::msg)
        };
        let mut entries = list(None)?;
        let member = |name: &str| {
            entries
                .iter()
                .map(|entry| &entry.path)
                .find(|path| path.starts_with(name))
        };
        let is_package = entries.first().is_some_and(|first| first.path == "debian-binary");
        let (control, inner) = match (is_package, member(CONTROL).cloned(), member(DATA).cloned()) {
            (true, Some(control), Some(data)) => {
                let text = bsdtar(&file, Some(&control), &["-xqOf", "-", "./control"])?.text();
                entries = installer_of(list(Some(&data))?);
                (Some(text.context("reading the package's control file")?), Some(data))
            }
            (true, ..) => bail!("it is a Debian package with parts missing; fetch it again"),
            (false, ..) => (None, None),
        };
        Ok(Self::Archive(Archive {
            file,
            label,
            control,
            inner,
            entries,
        }))
    }

    /// The first of these paths that is a file with something in it; a link there is refused.
    pub(super) fn find(&self, paths: &[&str]) -> Result<Option<Found>> {
        for path in paths {
            let found = match self {
                Self::Folder(folder) => within(folder, path)?.map(|(_, size)| Found {
                    listed: (*path).to_owned(),
                    size,
                }),
                Self::Archive(archive) => archive.find(path)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What a small file says; nothing where there is none.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>> {
        let Some(found) = self.find(&[path])? else {
            return Ok(None);
        };
        ensure!(
            found.size <= LARGEST_MARKER,
            "{path} is too large for what it should be"
        );
        let mut text = Vec::new();
        match self {
            Self::Folder(folder) => {
                if let Some((file, _)) = within(folder, path)? {
                    file.take(LARGEST_MARKER).read_to_end(&mut text)?;
                }
            }
            Self::Archive(archive) => {
                let words = ["-xqOf", "-", &found.listed];
                text = bsdtar(&archive.file, archive.inner.as_deref(), &words)?
                    .text()?
                    .into_bytes();
            }
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// Writes these files where they are wanted; `heard` gets the bytes done so far.
    pub(super) fn unpack(&self, wanted: &[(Found, PathBuf)], heard: &mut dyn FnMut(u64)) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                let mut done = 0;
                for (found, target) in wanted {
                    let opened = within(folder, &found.listed)?;
                    let (mut file, _) = opened.with_context(|| format!("{} is gone", found.listed))?;
                    write(&mut file, found, target, &mut done, heard)?;
                }
                Ok(())
            }
            Self::Archive(archive) => archive.unpack(wanted, heard),
        }
    }
}

impl Archive {
    fn find(&self, path: &str) -> Result<Option<Found>> {
        let mut named = self.entries.iter().filter(|entry| entry.path == path);
        let Some(entry) = named.next() else { return Ok(None) };
        ensure!(named.next().is_none(), "it has {path} twice; no honest medium has");
        ensure!(entry.kind != Kind::Link, "its {path} is a link; only files are taken");
        ensure!(
            !entry.listed.contains(['*', '?', '[', ']', '\\']),
            "{path} cannot be asked for by its name"
        );
        Ok((entry.kind == Kind::File && entry.size > 0).then(|| Found {
            listed: entry.listed.clone(),
            size: entry.size,
        }))
    }

    /// All in one pass, however it is compressed: what comes is one file after the other, in the order of the list.
    fn unpack(&self, wanted: &[(Found, PathBuf)], heard: &mut dyn FnMut(u64)) -> Result<()> {
        let place = |found: &Found| self.entries.iter().position(|entry| entry.listed == found.listed);
        let mut wanted: Vec<_> = wanted.iter().collect();
        wanted.sort_by_key(|(found, _)| place(found));
        if wanted.is_empty() {
            return Ok(());
        }
        let mut words = vec!["-xqOf", "-"];
        words.extend(wanted.iter().map(|(found, _)| found.listed.as_str()));
        let mut reading = bsdtar(&self.file, self.inner.as_deref(), &words)?;
        let mut done = 0;
        for (found, target) in wanted {
            write(&mut reading, found, target, &mut done, heard)?;
        }
        let more = reading.read(&mut [0])?;
        ensure!(more == 0, "it holds more than it lists; fetch it again");
        reading.end().context("unpacking it")
    }
}

/// Writes exactly what the list promised.
fn write(
    from: &mut impl io::Read,
    found: &Found,
    target: &Path,
    done: &mut u64,
    heard: &mut dyn FnMut(u64),
) -> Result<()> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let writing = || format!("writing {}", target.display());
    let mut file = File::create(target).with_context(writing)?;
    let mut buffer = vec![0; 1 << 20];
    let mut left = found.size;
    while left > 0 {
        let piece = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = from.read(&mut buffer[..piece])?;
        ensure!(read > 0, "{} ends too early; fetch the medium again", found.listed);
        file.write_all(&buffer[..read]).with_context(writing)?;
        left -= read as u64;
        *done += read as u64;
        heard(*done);
    }
    Ok(())
}

/// Debian's packages have the installer twice, and deep below; what it is without graphics is what counts.
fn installer_of(entries: Vec<Entry>) -> Vec<Entry> {
    let below = |entry: Entry| {
        let (_, path) = entry.path.split_once(TEXT_INSTALLER)?;
        Some(Entry {
            path: path.to_owned(),
            ..entry
        })
    };
    entries.into_iter().filter_map(below).collect()
}

/// A file below a folder and its size; links are followed as long as they stay inside.
fn within(folder: &Path, path: &str) -> Result<Option<(File, u64)>> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_BENEATH);
    let opened = File::open(folder).with_context(|| format!("opening {}", folder.display()))?;
    let file = match openat2(&opened, path, how) {
        Ok(file) => File::from(file),
        Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => return Ok(None),
        Err(nix::errno::Errno::EXDEV) => bail!("its {path} is a link out of it; copy it there"),
        Err(error) => return Err(error).with_context(|| format!("opening {}", folder.join(path).display())),
    };
    let about = file.metadata()?;
    Ok((about.is_file() && about.len() > 0).then_some((file, about.len())))
}

/// The volume's label, where the file is a disc; the whole of one.
fn label(file: &File) -> Result<Option<String>> {
    let mut descriptor = [0; 84];
    match file.read_exact_at(&mut descriptor, DESCRIPTOR) {
        Ok(()) if &descriptor[1..6] == b"CD001" => {}
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error).context("reading it"),
        _ => return Ok(None),
    }
    let sectors = descriptor[80..84]
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (is, says) = (file.metadata().context("reading it")?.len(), sectors * SECTOR);
    // What is needed at once may be in the half that is there.
    ensure!(
        is >= says,
        "it is cut short: it has {is} bytes of {says}; fetch it again"
    );
    Ok(Some(String::from_utf8_lossy(&descriptor[40..72]).trim().to_owned()))
}

/// Whether what opens archives is there; said before anything else is tried.
pub(super) fn need_bsdtar() -> Result<()> {
    ensure!(
        tool::is_there(Path::new("bsdtar")),
        "there is no program bsdtar on this machine, which opens discs and packages: apt install libarchive-tools"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
