// SPDX-License-Identifier: Apache-2.0
//! Archives that were made to do harm. Honest ones, discs and real packages among them, are the laboratory's.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::os::unix::fs::symlink;

use tar::{Builder, EntryType, Header};

use super::*;

/// A thing in a tarball, under a name that no honest program writes.
fn entry(kind: EntryType, name: &str, link: &str, content: &[u8]) -> (Header, Vec<u8>) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    (header, content.to_vec())
}

fn tarball(entries: &[(Header, Vec<u8>)]) -> File {
    let mut builder = Builder::new(tempfile::tempfile().unwrap());
    for (header, content) in entries {
        builder.append(header, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn file(name: &str, content: &[u8]) -> (Header, Vec<u8>) {
    entry(EntryType::Regular, name, "", content)
}

#[test]
fn what_is_wanted_comes_out_whole_and_nothing_else_does() {
    let contents = Contents::of_file(tarball(&[
        file("./secret", b"not wanted"),
        file("./debian-installer/amd64/initrd.gz", b"the initramfs"),
        file("linux", &vec![7; 3 << 20]),
    ]))
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let find = |paths: &[&str]| contents.find(paths).unwrap().unwrap();
    let wanted = [
        (find(&["none", "linux"]), folder.path().join("linux")),
        (
            find(&["debian-installer/amd64/initrd.gz"]),
            folder.path().join("deep/initrd.gz"),
        ),
    ];
    let mut heard = 0;
    contents.unpack(&wanted, &mut |done| heard = done).unwrap();
    assert_eq!(fs::read(folder.path().join("linux")).unwrap(), vec![7; 3 << 20]);
    assert_eq!(
        fs::read(folder.path().join("deep/initrd.gz")).unwrap(),
        b"the initramfs"
    );
    assert_eq!(heard, (3 << 20) + 13);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(contents.find(&["none"]).unwrap(), None);
}

#[test]
fn a_link_in_the_place_of_a_file_is_refused() {
    for kind in [EntryType::Symlink, EntryType::Link] {
        let contents = Contents::of_file(tarball(&[
            file("initrd.gz", b"x"),
            entry(kind, "linux", "/etc/passwd", b""),
        ]))
        .unwrap();
        let why = contents.find(&["linux"]).unwrap_err().to_string();
        assert!(why.contains("is a link"), "{kind:?}: {why}");
    }
}

#[test]
fn an_archive_that_climbs_out_of_itself_is_refused_before_anything_is_written() {
    for name in ["../../etc/cron.d/evil", "/etc/cron.d/evil", "a/../../evil"] {
        let archive = tarball(&[file("linux", b"x"), file(name, b"evil")]);
        let why = Contents::of_file(archive).unwrap_err().to_string();
        assert!(why.contains("outside of itself"), "{name}: {why}");
    }
}

#[test]
fn a_file_that_is_there_twice_is_refused() {
    let contents = Contents::of_file(tarball(&[file("linux", b"good"), file("./linux", b"evil")])).unwrap();
    assert!(contents.find(&["linux"]).unwrap_err().to_string().contains("twice"));
}

#[test]
fn an_archive_that_is_a_list_of_this_machines_files_is_refused() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"#mtree\n./linux type=file size=9 contents=/etc/passwd\n")
        .unwrap();
    let why = Contents::of_file(file).unwrap_err().to_string();
    assert!(why.contains("no ISO"), "{why}");
}

#[test]
fn what_is_no_archive_or_cut_off_is_refused() {
    let bytes = |content: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    };
    for content in [b"".as_slice(), b"hello", &[0; 2048], &vec![0xff; 70_000]] {
        assert!(Contents::of_file(bytes(content)).is_err());
    }
    let mut whole = Vec::new();
    let mut archive = tarball(&[file("linux", &vec![7; 100_000])]);
    io::Seek::rewind(&mut archive).unwrap();
    archive.read_to_end(&mut whole).unwrap();
    let cut = Contents::of_file(bytes(&whole[..50_000]));
    let unpacked = cut.and_then(|contents| {
        let folder = tempfile::tempdir()?;
        let found = contents.find(&["linux"])?.context("it is not there")?;
        contents.unpack(&[(found, folder.path().join("linux"))], &mut |_| {})
    });
    assert!(unpacked.is_err());
}

#[test]
fn a_folder_gives_its_files_and_none_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("casper")).unwrap();
    fs::write(folder.path().join("casper/vmlinuz"), "kernel").unwrap();
    symlink("casper/vmlinuz", folder.path().join("linux")).unwrap();
    symlink("/etc/passwd", folder.path().join("initrd.gz")).unwrap();
    let contents = Contents::of_folder(folder.path());
    assert_eq!(contents.find(&["linux"]).unwrap().unwrap().size, 6);
    assert_eq!(contents.find(&["casper"]).unwrap(), None);
    assert!(
        contents
            .find(&["initrd.gz"])
            .unwrap_err()
            .to_string()
            .contains("a link out of it")
    );
}
