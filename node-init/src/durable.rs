// SPDX-License-Identifier: Apache-2.0
//! Files of a running system that are there whole or not at all, also after a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::capsule::CapsuleEntry;

/// What is in a file; `None` if there is none.
pub fn read(root: &Path, path: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(root.join(path)) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Replaces a file, with its owner. On return it survives a power cut.
pub fn put(root: &Path, file: &CapsuleEntry) -> io::Result<()> {
    let path = root.join(&file.path);
    make_folders(root, path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    replace(&path, file.mode, Some((file.uid, file.gid)), &file.content)
}

/// Replaces a file in a folder that is there. On return it survives a power cut.
pub fn replace(path: &Path, mode: u32, owner: Option<(u32, u32)>, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // In the same folder, so that a rename puts it in place; of an earlier try there may be one.
    let fresh = beside(path)?;
    remove_if_there(&fresh)?;
    let mut created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    created.write_all(content)?;
    if let Some((user, group)) = owner {
        chown(&fresh, Some(user), Some(group))?;
    }
    created.set_permissions(fs::Permissions::from_mode(mode))?;
    created.sync_all()?;
    fs::rename(&fresh, path)?;
    sync(folder)
}

/// Removes a file if it is there. On return that survives a power cut.
pub fn remove(root: &Path, path: &str) -> io::Result<()> {
    let path = root.join(path);
    remove_if_there(&path)?;
    path.parent().map_or(Ok(()), |folder| match sync(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    })
}

/// Folders on the way, none of them a link: a file of one system must not land in another's tree.
fn make_folders(root: &Path, folder: &Path) -> io::Result<()> {
    let mut way = root.to_owned();
    for part in folder.strip_prefix(root).map_err(io::Error::other)?.components() {
        way.push(part);
        match way.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(io::Error::other(format!("{} is not a folder", way.display()))),
            Err(_) => fs::create_dir(&way)?,
        }
    }
    Ok(())
}

/// Its ending keeps those from reading it who read a whole folder, as networkd does.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".node-init-new");
    Ok(path.with_file_name(name))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn file(path: &str, content: &str) -> CapsuleEntry {
        CapsuleEntry {
            path: path.into(),
            mode: 0o640,
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            content: content.into(),
        }
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_removed_twice_without_complaint() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), &file("etc/a", "one")).unwrap();
        fs::write(root.path().join("etc/a.node-init-new"), "of a try that was cut short").unwrap();
        put(root.path(), &file("etc/a", "two")).unwrap();
        assert_eq!(read(root.path(), "etc/a").unwrap().as_deref(), Some(b"two".as_slice()));
        assert_eq!(fs::metadata(root.path().join("etc/a")).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(root.path().join("etc")).unwrap().count(), 1);
        remove(root.path(), "etc/a").unwrap();
        remove(root.path(), "etc/a").unwrap();
        remove(root.path(), "nowhere/a").unwrap();
        assert_eq!(read(root.path(), "etc/a").unwrap(), None);
    }

    #[test]
    fn a_link_is_replaced_and_never_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), root.path().join("opt")).unwrap();
        assert!(put(root.path(), &file("opt/a", "x")).is_err());
        symlink(outside.path().join("a"), root.path().join("a")).unwrap();
        put(root.path(), &file("a", "x")).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
