// SPDX-License-Identifier: Apache-2.0
//! The file tree of a node image: the base from the cache, and our own files laid over it.
//!
//! Both are tar archives from beginning to end, so that owners, modes and devices survive without any privilege. Our
//! files come last: then only the end of the file system changes when they do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use tar::{Archive, Builder, EntryType, Header};

/// How pax headers name extended attributes; capabilities of programs are among them.
const XATTR: &str = "SCHILY.xattr.security.";

/// What is laid over the base, by path without a slash in front.
#[derive(Debug, Default)]
pub struct Layer {
    items: BTreeMap<String, Item>,
}

#[derive(Debug)]
enum Item {
    Folder { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { target: String },
}

impl Layer {
    /// Lays a folder over; the folders above it come with it.
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.items.insert(clean(path), Item::Folder { mode });
    }

    /// Lays a file over.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.items.insert(
            clean(path),
            Item::File {
                mode,
                content: content.into(),
            },
        );
    }

    /// Lays a symbolic link over.
    pub fn link(&mut self, path: &str, target: &str) {
        self.items.insert(
            clean(path),
            Item::Link {
                target: target.to_owned(),
            },
        );
    }
}

/// Writes the base without what is removed and with the layer over it. No date in it is later than `created`.
pub fn merge(base: &Path, removed: &[String], layer: &Layer, created: u64, out: &Path) -> Result<()> {
    let about = || format!("reading {}", base.display());
    let mut archive = Archive::new(BufReader::with_capacity(1 << 20, File::open(base).with_context(about)?));
    let file = File::create(out).with_context(|| format!("creating {}", out.display()))?;
    let mut merged = Builder::new(BufWriter::with_capacity(1 << 20, file));
    let mut folders = BTreeSet::new();
    for entry in archive.entries().with_context(about)? {
        let mut entry = entry.with_context(about)?;
        let path = clean(&entry.path().with_context(about)?.to_string_lossy());
        if removed.iter().any(|pattern| is_removed(pattern, &path)) || layer.items.contains_key(&path) {
            continue;
        }
        if entry.header().entry_type().is_dir() {
            folders.insert(path.clone());
        }
        copy(&mut entry, &path, created, &mut merged).with_context(|| format!("copying {path}"))?;
    }
    for (path, item) in &layer.items {
        put(path, item, created, &mut folders, &mut merged).with_context(|| format!("putting {path} into the tree"))?;
    }
    merged
        .into_inner()
        .and_then(|mut file| file.flush())
        .with_context(|| format!("writing {}", out.display()))
}

fn copy(entry: &mut tar::Entry<impl Read>, path: &str, created: u64, out: &mut Builder<impl Write>) -> Result<()> {
    let mut attributes = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            let key = extension.key().unwrap_or_default();
            if key.starts_with(XATTR) {
                attributes.push((key.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    if !attributes.is_empty() {
        out.append_pax_extensions(attributes.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
    }
    let old = entry.header();
    let mut header = header(old.entry_type(), old.mode()?, old.mtime()?.min(created));
    header.set_uid(old.uid()?);
    header.set_gid(old.gid()?);
    header.set_size(entry.size());
    let kind = old.entry_type();
    let device = kind.is_character_special() || kind.is_block_special();
    if let (true, Some(major), Some(minor)) = (
        device,
        old.device_major().ok().flatten(),
        old.device_minor().ok().flatten(),
    ) {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    match entry.link_name()?.filter(|_| kind.is_symlink() || kind.is_hard_link()) {
        Some(target) if kind.is_hard_link() => out.append_link(&mut header, path, clean(&target.to_string_lossy()))?,
        Some(target) => out.append_link(&mut header, path, target)?,
        None if path.is_empty() => out.append_data(&mut header, "./", entry)?,
        None => out.append_data(&mut header, path, entry)?,
    }
    Ok(())
}

fn put(
    path: &str,
    item: &Item,
    created: u64,
    folders: &mut BTreeSet<String>,
    out: &mut Builder<impl Write>,
) -> Result<()> {
    let above = path.match_indices('/').map(|(end, _)| path[..end].to_owned());
    for folder in above.collect::<Vec<_>>() {
        if folders.insert(folder.clone()) {
            let mut header = header(EntryType::Directory, 0o755, created);
            out.append_data(&mut header, &folder, std::io::empty())?;
        }
    }
    match item {
        Item::Folder { mode } => {
            folders.insert(path.to_owned());
            out.append_data(
                &mut header(EntryType::Directory, *mode, created),
                path,
                std::io::empty(),
            )?;
        }
        Item::File { mode, content } => {
            let mut header = header(EntryType::Regular, *mode, created);
            header.set_size(content.len() as u64);
            out.append_data(&mut header, path, content.as_slice())?;
        }
        Item::Link { target } => {
            out.append_link(&mut header(EntryType::Symlink, 0o777, created), path, target)?;
        }
    }
    Ok(())
}

fn header(kind: EntryType, mode: u32, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

fn clean(path: &str) -> String {
    path.trim_start_matches("./").trim_matches('/').to_owned()
}

/// Whether a path is meant: `a/b` is that and all below it, `a/b/` only what is below it, and a `*` in it any letters.
fn is_removed(pattern: &str, path: &str) -> bool {
    let inside = |pattern: &str| {
        let ends = path.match_indices('/').map(|(end, _)| &path[..end]);
        ends.into_iter().any(|above| is_like(pattern, above))
    };
    let pattern = pattern.trim_start_matches('/');
    pattern
        .strip_suffix('/')
        .map_or_else(|| is_like(pattern, path) || inside(pattern), inside)
}

/// Shell-like comparison with `*` only, which does not stand for a slash.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let end = rest.find('/').unwrap_or(rest.len());
            (0..=end)
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| is_like(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn base(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("base.tar");
        let mut tar = Builder::new(File::create(&path).unwrap());
        for (name, kind, uid) in [("./", EntryType::Directory, 0), ("./etc/", EntryType::Directory, 0)] {
            let mut entry = header(kind, 0o755, 900);
            entry.set_uid(uid);
            entry.set_path(name).unwrap();
            entry.set_cksum();
            tar.append(&entry, std::io::empty()).unwrap();
        }
        for (name, uid) in [("./etc/hostname", 0), ("./etc/keep", 7), ("./etc/replaced", 0)] {
            let mut entry = header(EntryType::Regular, 0o640, 900);
            entry.set_uid(uid);
            entry.set_size(3);
            tar.append_data(&mut entry, name, b"old".as_slice()).unwrap();
        }
        tar.finish().unwrap();
        path
    }

    fn listing(path: &Path) -> Vec<(String, u64, u64, String)> {
        let mut archive = Archive::new(File::open(path).unwrap());
        let list = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            (path, header.uid().unwrap(), header.mtime().unwrap(), content)
        });
        list.collect()
    }

    #[test]
    fn the_layer_wins_owners_stay_and_no_date_is_later_than_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.tar");
        let mut layer = Layer::default();
        layer.file("/etc/replaced", 0o644, "new");
        layer.file("/usr/lib/x/unit", 0o644, "unit");
        merge(&base(folder.path()), &["etc/hostname".into()], &layer, 500, &out).unwrap();
        let row = |path: &str, uid, content: &str| (path.to_owned(), uid, 500, content.to_owned());
        let expected = [
            row("./", 0, ""),
            row("etc", 0, ""),
            row("etc/keep", 7, "old"),
            row("etc/replaced", 0, "new"),
            row("usr", 0, ""),
            row("usr/lib", 0, ""),
            row("usr/lib/x", 0, ""),
            row("usr/lib/x/unit", 0, "unit"),
        ];
        assert_eq!(listing(&out), expected);
    }

    #[test]
    fn patterns_mean_a_path_what_is_below_it_or_both() {
        for (pattern, path, expected) in [
            ("etc/hostname", "etc/hostname", true),
            ("/etc/hostname", "etc/hostname", true),
            ("etc/hostname", "etc/hostname2", false),
            ("var/log", "var/log/apt/x", true),
            ("var/log/", "var/log", false),
            ("var/log/", "var/log/apt/x", true),
            ("etc/ssh/ssh_host_*", "etc/ssh/ssh_host_rsa_key", true),
            ("etc/*-", "etc/passwd-", true),
            ("etc/*-", "etc/apt/x-", false),
            ("", "etc", false),
        ] {
            assert_eq!(is_removed(pattern, path), expected, "{pattern} {path}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_makes_the_comparison_panic(pattern in "[a*/é]{0,12}", path in "[a/é]{0,12}") {
            is_removed(&pattern, &path);
        }
    }
}
