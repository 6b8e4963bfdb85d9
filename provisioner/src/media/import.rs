// SPDX-License-Identifier: Apache-2.0
//! A medium is examined and unpacked, for the command line: hashed, checked, opened, recognised; then the files that its
//! installer needs are written into a folder, of which the server takes them ([`super::Media::take`]).

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kickstart::{Family, Os};
use provisioner_api::{MediumImport, Verified};

use super::contents::{Contents, Found, need_bsdtar};
use super::detect::{self, Known, MARKERS};
use super::genuine;
pub use super::genuine::Evidence;
use super::layout::{self, From};

/// What the operator says of a medium.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What it installs, where it does not say itself.
    pub os: Option<String>,
    /// What to check it against.
    pub evidence: Evidence,
    /// To be taken even if nobody vouches for it.
    pub unverified: bool,
}

/// A medium that is known and whose files were found.
#[derive(Debug)]
pub struct Examined {
    /// What it installs.
    pub os: &'static Os,
    /// Its release, as its makers say.
    pub release: String,
    /// How it is known to be genuine.
    pub verified: Verified,
    source: String,
    contents: Contents,
    inside: Vec<(Found, &'static str)>,
    whole: Option<(&'static str, u64)>,
}

/// Examines a disc, a tarball, a package or a folder; `heard` gets bytes done and in all.
pub fn examine(path: &Path, wish: &Wish, heard: &mut dyn FnMut(u64, u64)) -> Result<Examined> {
    let path = path
        .canonicalize()
        .with_context(|| format!("opening {}", path.display()))?;
    let examined = if path.is_dir() {
        of_folder(&path, wish)
    } else {
        of_file(&path, wish, heard)
    };
    examined.with_context(|| format!("{} is not imported", path.display()))
}

fn of_folder(path: &Path, wish: &Wish) -> Result<Examined> {
    let evidence = &wish.evidence;
    ensure!(
        evidence.sha256.is_none() && evidence.list.is_none(),
        "a folder has no checksum; import the file that it came out of"
    );
    ensure!(
        wish.unverified,
        "nobody can vouch for a folder: import the ISO, tarball or package that it came out of, or take it as it is \
         with --unverified"
    );
    let contents = Contents::of_folder(path);
    recognise(path, contents, wish, Verified::Nothing)
}

fn of_file(path: &Path, wish: &Wish, heard: &mut dyn FnMut(u64, u64)) -> Result<Examined> {
    need_bsdtar()?;
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    ensure!(
        !is_disk(&file).context("reading it")?,
        "it is a ready-made disk, not the medium of an installer; a node image is made of it: images build cloud {} \
         --name NAME --out FOLDER --sha256 HEX",
        path.display()
    );
    let sha256 = sha256(&mut file, heard).context("reading it")?;
    // Nothing looks into what nobody vouches for before the operator has said that he does.
    let is_package = path.extension().is_some_and(|ending| ending == "deb");
    let verdict = genuine::check(path, &sha256, is_package, &wish.evidence)?;
    if !wish.unverified {
        verdict.vouch()?;
    }
    let contents = Contents::of_file(file)?;
    let examined = recognise(path, contents, wish, verdict.verified.clone())?;
    verdict.speaks_for(examined.os)?;
    Ok(examined)
}

/// Whether a file is a disk as clouds are given it: in QEMU's format, or with a GPT. Discs that also start from sticks have
/// one, too; those are discs (ECMA-119, 8.1.1).
fn is_disk(file: &File) -> io::Result<bool> {
    let has = |at: u64, word: &[u8]| {
        let mut found = vec![0; word.len()];
        let read = file.read_at(&mut found, at)?;
        Ok::<_, io::Error>(found[..read] == *word)
    };
    Ok(has(0, b"QFI\xfb")? || has(512, b"EFI PART")? && !has(32769, b"CD001")?)
}

fn recognise(path: &Path, contents: Contents, wish: &Wish, verified: Verified) -> Result<Examined> {
    let known = known(&contents)?;
    let told = detect::detect(&known).map_err(anyhow::Error::msg)?;
    let (os, release) = detect::settle(told, wish.os.as_deref()).map_err(anyhow::Error::msg)?;
    let mut inside = Vec::new();
    let mut whole = None;
    for wanted in layout::of(os.family) {
        match (wanted.from, &contents) {
            (From::Inside(paths), contents) => match contents.find(paths)? {
                Some(found) => inside.push((found, wanted.place)),
                None if wanted.needed => bail!("it lacks {}, which the installer of {} needs", paths[0], os.name),
                None => {}
            },
            (From::Whole, Contents::Archive(archive)) if archive.label.is_some() => {
                whole = Some((wanted.place, archive.file.metadata()?.size()));
            }
            (From::Whole, _) => bail!("the installer of {} fetches the whole disc; import the ISO", os.name),
        }
    }
    let source = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Examined {
        os,
        release,
        verified,
        source,
        contents,
        inside,
        whole,
    })
}

/// What a medium says of itself.
fn known(contents: &Contents) -> Result<Known> {
    let mut known = Known::default();
    if let Contents::Archive(archive) = contents {
        known.label.clone_from(&archive.label);
        known.control.clone_from(&archive.control);
    }
    // A package has said what it is, and a look into it takes seconds.
    for marker in MARKERS.into_iter().filter(|_| known.control.is_none()) {
        if let Some(text) = contents.text(marker)? {
            known.markers.insert(marker.to_owned(), text);
        }
    }
    for family in Family::ALL {
        let mut needed = layout::of(family).iter().filter(|wanted| wanted.needed).peekable();
        let some = needed.peek().is_some();
        let mut all = true;
        for wanted in needed {
            if let From::Inside(paths) = wanted.from {
                all &= contents.find(paths)?.is_some();
            }
        }
        if some && all {
            known.starts.push(family);
        }
    }
    Ok(known)
}

impl Examined {
    /// Bytes that it takes in the store.
    pub fn size(&self) -> u64 {
        let inside: u64 = self.inside.iter().map(|(found, _)| found.size).sum();
        inside + self.whole.map_or(0, |(_, size)| size)
    }

    /// Writes what is needed into an empty folder, and says what to tell the server.
    pub fn unpack(&self, folder: &Path, heard: &mut dyn FnMut(u64, u64)) -> Result<MediumImport> {
        let total = self.size();
        let targets: Vec<(Found, PathBuf)> = self
            .inside
            .iter()
            .map(|(found, place)| (found.clone(), folder.join(place)))
            .collect();
        self.contents.unpack(&targets, &mut |done| heard(done, total))?;
        if let (Some((place, _)), Contents::Archive(archive)) = (self.whole, &self.contents) {
            let target = folder.join(place);
            let mut file = archive.file.try_clone().context("opening the disc once more")?;
            file.rewind().context("rewinding the disc")?;
            let copied = File::create(&target).and_then(|mut copy| io::copy(&mut file, &mut copy));
            copied.with_context(|| format!("writing {}", target.display()))?;
            heard(total, total);
        }
        let folder = fs::canonicalize(folder).with_context(|| format!("opening {}", folder.display()))?;
        Ok(MediumImport {
            folder: folder
                .to_str()
                .context("the folder's path is not UTF-8; rename it")?
                .to_owned(),
            os: self.os.name.to_owned(),
            release: self.release.clone(),
            source: self.source.clone(),
            verified: self.verified.clone(),
        })
    }
}

/// The checksum that distributions publish, of a whole file.
fn sha256(file: &mut File, heard: &mut dyn FnMut(u64, u64)) -> Result<String> {
    let total = file.metadata()?.size();
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(context.finish()));
        }
        context.update(&buffer[..read]);
        done += read as u64;
        heard(done, total);
    }
}
