// SPDX-License-Identifier: Apache-2.0
//! A small repository of Debian packages, with what else installers fetch.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::peer::run;

/// Packages, and bytes of each; they do not compress.
const PACKAGES: [(&str, usize); 6] = [
    ("kernel", 16_000_000),
    ("library", 3_000_000),
    ("shell", 700_000),
    ("editor", 900_000),
    ("daemon", 400_000),
    ("small", 20_000),
];
/// What is fetched by its name alone, and its bytes: parts of Debian's installer, a package of another distribution.
const OTHERS: [(&str, usize); 3] = [
    ("/pool/base_1_amd64.udeb", 300_000),
    ("/pool/disk_1_amd64.udeb", 500_000),
    ("/pool/tool-1-1.x86_64.rpm", 5_000_000),
];
/// Where its index is, below `dists/stable`.
const INDEX: &str = "main/binary-amd64/Packages";

/// A repository in a folder.
pub struct Repository {
    folder: PathBuf,
    one: u64,
}

impl Repository {
    /// Makes one.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let pool = folder.join("pool");
        std::fs::create_dir_all(&pool).context("making a repository")?;
        let mut repository = Self {
            folder: folder.to_owned(),
            one: 0,
        };
        let mut index = String::new();
        for (name, size) in PACKAGES {
            let control = format!(
                "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Laboratory <lab@lab.example>\n\
                 Description: made for a test\n"
            );
            let path = format!("pool/{name}_1.0_all.deb");
            package(&folder.join(&path), &control, size)?;
            let bytes = std::fs::read(folder.join(&path)).context("reading a package")?;
            // Writing to a String cannot fail.
            let _ = writeln!(
                index,
                "{control}Filename: {path}\nSize: {}\nSHA256: {}\n",
                bytes.len(),
                sum(&bytes)
            );
            repository.one += bytes.len() as u64;
        }
        for (path, size) in OTHERS {
            std::fs::write(folder.join(&path[1..]), noise(size)).context("writing a file")?;
            repository.one += size as u64;
        }
        repository.write_index(&index)?;
        Ok(repository)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes that one install fetches, without what is said around them.
    pub fn one_install(&self) -> u64 {
        self.one
    }

    /// Names of its packages.
    pub fn packages(&self) -> [&'static str; PACKAGES.len()] {
        PACKAGES.map(|(name, _)| name)
    }

    /// Paths of what else is there.
    pub fn others(&self) -> [&'static str; OTHERS.len()] {
        OTHERS.map(|(path, _)| path)
    }

    /// A file of it.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        std::fs::read(self.folder.join(&path[1..])).context("reading a file of the repository")
    }

    /// Fails unless `got` has every file as it is here.
    pub(super) fn compare(&self, got: &Path) -> Result<()> {
        let packages = PACKAGES.map(|(name, _)| format!("/pool/{name}_1.0_all.deb"));
        for path in packages.iter().map(String::as_str).chain(self.others()) {
            let name = path.rsplit('/').next().unwrap_or(path);
            let arrived = std::fs::read(got.join(name)).with_context(|| format!("{name} did not arrive"))?;
            ensure!(arrived == self.read(path)?, "{name} arrived as something else");
        }
        Ok(())
    }

    fn write_index(&mut self, index: &str) -> Result<()> {
        let suite = self.folder.join("dists/stable");
        let file = suite.join(INDEX);
        let hash = sum(index.as_bytes());
        let by_hash = file.with_file_name("by-hash").join("SHA256");
        std::fs::create_dir_all(&by_hash).context("making the index's folder")?;
        std::fs::write(&file, index).context("writing the index")?;
        std::fs::write(by_hash.join(&hash), index).context("writing the index by its hash")?;
        let release = format!(
            "Origin: Laboratory\nSuite: stable\nCodename: stable\nArchitectures: all amd64\nComponents: main\n\
             Acquire-By-Hash: yes\nSHA256:\n {hash} {} {INDEX}\n",
            index.len()
        );
        std::fs::write(suite.join("Release"), &release).context("writing Release")?;
        self.one += (index.len() + release.len()) as u64;
        Ok(())
    }
}

fn package(to: &Path, control: &str, size: usize) -> Result<()> {
    let tree = to.with_extension("tree");
    std::fs::create_dir_all(tree.join("DEBIAN")).context("making a package")?;
    std::fs::write(tree.join("DEBIAN/control"), control).context("writing a package's control")?;
    std::fs::write(tree.join("contents"), noise(size)).context("writing a package's contents")?;
    run(Command::new("dpkg-deb")
        .args(["-Znone", "--root-owner-group", "--build"])
        .arg(&tree)
        .arg(to))?;
    std::fs::remove_dir_all(&tree).context("removing a package's tree")
}

fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rand::Rng::fill(&mut rand::rng(), bytes.as_mut_slice());
    bytes
}

fn sum(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
