// SPDX-License-Identifier: Apache-2.0
//! Building again from the same inputs gives the same bytes, wherever and by whomever it is done.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::artifacts::Artifacts;
use tests::folder::Folder;

/// The two things that are built.
const PRODUCTS: [&str; 2] = ["ram", "node"];

/// Where one build is made: a cache and results of its own, and ways of a machine that must not show in them.
struct Workshop {
    folder: Folder,
    umask: &'static str,
    zone: &'static str,
}

impl Workshop {
    fn new(umask: &'static str, zone: &'static str) -> Self {
        let folder = Folder::new().unwrap();
        Self { folder, umask, zone }
    }

    /// Takes over what was fetched from Debian, and nothing that was made of it.
    fn borrow_packages(&self, artifacts: &Artifacts) {
        for entry in fs::read_dir(&artifacts.cache).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if ["tools-", "ram-", "node-"].iter().any(|kind| name.starts_with(kind)) {
                symlink(entry.path(), self.folder.path().join(name)).unwrap();
            }
        }
    }

    fn build(&self, artifacts: &Artifacts, product: &str) -> PathBuf {
        let target = artifacts.programs.parent().unwrap();
        let node_init = match product {
            "ram" => target.join("x86_64-unknown-linux-gnu/node/node-init"),
            _ => target.join("node/node-init"),
        };
        let out = self.folder.path().join("out").join(product);
        let built = Command::new("sh")
            .args(["-c", "umask $0; exec \"$@\"", self.umask])
            .arg(artifacts.program("images").unwrap())
            .args(["build", product, "--out"])
            .arg(&out)
            .arg("--node-init")
            .arg(node_init)
            .arg("--node-init-libvirt")
            .arg(target.join("node/node-init-libvirt"))
            .env("GLEANER_CACHE", self.folder.path())
            .env("GLEANER_KEY", artifacts.secret_key().unwrap())
            .env("TZ", self.zone)
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        out
    }
}

/// The hash of every file in a folder. Signatures are left out: each has a random part.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|kind| kind != "minisig") {
                let hash = blake3::hash(&fs::read(&path).unwrap());
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), hash);
            }
        }
    }
    found
}

/// Names of files that are not the same, for a person.
fn differences(one: &Path, other: &Path) -> Vec<PathBuf> {
    let (one, other) = (bytes(one), bytes(other));
    assert!(!one.is_empty());
    let names = one.keys().chain(other.keys()).cloned();
    let mut differ: Vec<PathBuf> = names.filter(|name| one.get(name) != other.get(name)).collect();
    differ.sort();
    differ.dedup();
    differ
}

#[test]
fn a_ram_environment_built_again_from_the_same_packages_has_the_same_bytes() {
    let artifacts = Artifacts::find().unwrap();
    let again = Workshop::new("077", "Asia/Tokyo");
    again.borrow_packages(&artifacts);
    let built = again.build(&artifacts, "ram");
    assert_eq!(differences(&artifacts.ram().unwrap(), &built), Vec::<PathBuf>::new());
}

#[test]
#[ignore = "fetches and builds everything twice, in a quarter of an hour"]
fn two_builds_from_nothing_have_the_same_bytes() {
    let artifacts = Artifacts::find().unwrap();
    let one = Workshop::new("022", "UTC");
    let other = Workshop::new("077", "America/St_Johns");
    for product in PRODUCTS {
        let built = [&one, &other].map(|workshop| workshop.build(&artifacts, product));
        assert_eq!(differences(&built[0], &built[1]), Vec::<PathBuf>::new(), "{product}");
    }
}
