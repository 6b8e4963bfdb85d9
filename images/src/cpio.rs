// SPDX-License-Identifier: Apache-2.0
//! An initramfs: a `newc` archive whose bytes depend only on what is put into it, in the order it is put in.
//!
//! The order matters: on a machine with too little RAM the kernel unpacks until memory runs out and starts `/init` all the same.
//! So what says "too little RAM" comes first and what can be done without comes last.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use cpio::newc::{Builder, trailer};

/// Type bits of a mode (`S_IFMT` of stat(2)).
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive in the making.
pub struct Archive<W: Write> {
    out: W,
    created: u32,
    next: u32,
    seen: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty archive in which everything has the same date, in seconds since 1970.
    pub fn new(out: W, created: u64) -> Self {
        // The format has 32 bits; they last until 2106.
        Self {
            out,
            created: u32::try_from(created).unwrap_or(u32::MAX),
            next: 1,
            seen: BTreeSet::new(),
        }
    }

    /// Puts in a folder and those above it, where they are not there yet.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        if path.is_empty() || self.seen.contains(path) {
            return Ok(());
        }
        self.parent(path)?;
        let mode = if path == "tmp" { 0o1777 } else { 0o755 };
        self.entry(path, FOLDER | mode, (0, 0), &[])
    }

    /// Says that a folder is in an archive before this one.
    pub fn known(&mut self, folder: &str) {
        let mut path = String::new();
        for part in folder.split('/') {
            path = if path.is_empty() {
                part.to_owned()
            } else {
                format!("{path}/{part}")
            };
            self.seen.insert(path.clone());
        }
    }

    /// Puts in a file.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.parent(path)?;
        self.entry(path, FILE | mode, (0, 0), content)
    }

    /// Puts in a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parent(path)?;
        self.entry(path, LINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Puts in a character device by its numbers.
    pub fn device(&mut self, path: &str, mode: u32, number: (u32, u32)) -> Result<()> {
        self.parent(path)?;
        self.entry(path, CHARACTER_DEVICE | mode, number, &[])
    }

    /// Puts in a file or symbolic link from disk; whether it may be executed is kept, nothing else.
    pub fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let about = || format!("putting {} into the initramfs", from.display());
        let meta = fs::symlink_metadata(from).with_context(about)?;
        if meta.is_symlink() {
            let target = fs::read_link(from).with_context(about)?;
            return self.link(path, &target.to_string_lossy());
        }
        let mode = if meta.permissions().mode() & 0o111 == 0 {
            0o644
        } else {
            0o755
        };
        self.file(path, mode, &fs::read(from).with_context(about)?)
    }

    /// Ends the archive and gives back what it was written to.
    pub fn finish(self) -> Result<W> {
        trailer(self.out).context("ending the initramfs")
    }

    fn parent(&mut self, path: &str) -> Result<()> {
        path.rsplit_once('/').map_or(Ok(()), |(parent, _)| self.folder(parent))
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        if !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        let size = u32::try_from(content.len()).with_context(|| format!("putting {path} in: it is too large"))?;
        let entry = Builder::new(path)
            .ino(self.next)
            .nlink(if mode & FOLDER == FOLDER { 2 } else { 1 })
            .mode(mode)
            .mtime(self.created)
            .rdev_major(device.0)
            .rdev_minor(device.1);
        self.next += 1;
        let mut writer = entry.write(&mut self.out, size);
        writer
            .write_all(content)
            .with_context(|| format!("putting {path} into the initramfs"))?;
        writer
            .finish()
            .map(drop)
            .with_context(|| format!("putting {path} into the initramfs"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use cpio::newc::Reader;
    use proptest::prelude::*;

    use super::*;

    fn read(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut rest = archive;
        let mut entries = Vec::new();
        loop {
            let mut reader = Reader::new(rest).unwrap();
            let entry = reader.entry().clone();
            if entry.is_trailer() {
                return entries;
            }
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            entries.push((entry.name().to_owned(), entry.mode(), content));
            rest = reader.finish().unwrap();
        }
    }

    #[test]
    fn folders_come_before_what_lies_in_them_and_once() {
        let mut archive = Archive::new(Vec::new(), 7);
        archive.file("init", 0o755, b"#!").unwrap();
        archive.file("usr/bin/a", 0o755, b"a").unwrap();
        archive.link("usr/bin/b", "a").unwrap();
        archive.folder("tmp").unwrap();
        archive.device("dev/console", 0o600, (5, 1)).unwrap();
        let entries = read(&archive.finish().unwrap());
        let names: Vec<&str> = entries.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "init",
                "usr",
                "usr/bin",
                "usr/bin/a",
                "usr/bin/b",
                "tmp",
                "dev",
                "dev/console"
            ]
        );
        assert_eq!(entries[5].1, 0o041_777);
        assert_eq!(entries[4].2, b"a");
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out(files in proptest::collection::btree_map("[a-z]{1,8}", proptest::collection::vec(any::<u8>(), 0..100), 0..8)) {
            let mut archive = Archive::new(Vec::new(), 1);
            for (name, content) in &files {
                archive.file(name, 0o644, content).unwrap();
            }
            let out: std::collections::BTreeMap<_, _> =
                read(&archive.finish().unwrap()).into_iter().map(|(name, _, content)| (name, content)).collect();
            prop_assert_eq!(out, files);
        }
    }
}
