// SPDX-License-Identifier: Apache-2.0
//! The builds: each a linear list of verbs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use provisioner_api::{CHUNK_SIZE, Manifest};

use crate::cache::Cache;
use crate::cli::{BuildArgs, PrepareArgs};
use crate::debian::{Depth, Request, Tree};
use crate::initramfs::{self, Parts};
use crate::kernel::Kernel;
use crate::key::{Key, public_path};
use crate::mirror::Mirror;
use crate::progress::{Progress, megabytes};
use crate::recipe::{Node, Ram};
use crate::roles;
use crate::sign;
use crate::tool::Tools;

pub mod cloud;
pub mod node;
pub mod ram;
pub mod stick;

/// The program beside node-init that speaks to libvirt.
const COMPANION: &str = "node-init-libvirt";

/// Packages whose programs do the work.
const TOOL_PACKAGES: [&str; 13] = [
    "e2fsprogs",
    "gdisk",
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-efi-amd64-signed",
    "grub-efi-amd64-unsigned",
    "grub-pc-bin",
    "kmod",
    "libarchive13t64",
    "mtools",
    "shim-signed",
    "shim-signed-common",
    "xz-utils",
];

/// Does everything that both builds can do without node-init. What is fetched does not wait for what is installed.
pub fn prepare(args: &PrepareArgs) -> Result<()> {
    let (mut ram, mut node) = (Ram::load(None)?, Node::load(None)?);
    let role = roles::find(&node.role, None)?;
    roles::add_to(&mut node, &role)?;
    ram.firmware &= !args.no_firmware;
    node.firmware &= !args.no_firmware;
    let cache = Cache::open(&Cache::default_folder(), args.refresh)?;
    let mut progress = Progress::default();
    let mirror = progress.verb("find the mirror", |_| Mirror::find(args.mirror.as_deref()))?;
    std::thread::scope(|scope| {
        let base = scope.spawn(|| node::install(&node, &mirror, &cache));
        let tools = progress.verb("fetch the tools", |_| fetch_tools(&ram.suite, &mirror, &cache))?;
        let tree = progress.verb("fetch kernel, firmware and loaders", |_| {
            ram::fetch(&ram, &mirror, &cache)
        })?;
        let files = tree.files();
        let kernel = Kernel::find(&files, &tools)?;
        let created = args.date.map_or_else(|| tree.date(), Ok)?;
        let parts = Parts {
            recipe: &ram,
            tree: &tree,
            kernel: &kernel,
            created,
        };
        progress.verb("pack and compress modules and programs", |_| {
            initramfs::system(&parts, &cache)
        })?;
        progress.verb("install the base system", |_| {
            base.join()
                .unwrap_or_else(|_| bail!("installing the base system failed"))
        })?;
        Ok(())
    })
}

/// Fetches the tree whose programs do the work, or finds it in the cache.
fn fetch_tools(suite: &str, mirror: &Mirror, cache: &Cache) -> Result<Tools> {
    Ok(Tools::new(fetch_tool_tree(suite, mirror, cache)?.files()))
}

/// The same as a tree, for whoever takes more from it than programs.
fn fetch_tool_tree(suite: &str, mirror: &Mirror, cache: &Cache) -> Result<Tree> {
    let request = Request {
        what: "tools",
        suite,
        components: "main",
        packages: TOOL_PACKAGES.to_vec(),
        depth: Depth::Unpacked,
    };
    Tree::fetch(&request, mirror, cache)
}

/// The key to sign with; a first build makes one, so that nothing unsigned ever leaves.
fn signing_key(file: &Path) -> Result<Key> {
    if file.exists() {
        return Key::read(file);
    }
    let key = Key::create(file)?;
    eprintln!(
        "made a new signing key: {} (keep it secret), {} (put it into the provisioner's trusted-keys)",
        file.display(),
        public_path(file).display()
    );
    Ok(key)
}

/// The node-init to put in: the given one, or the one that cargo made last at the place where it puts it.
fn node_init(args: &BuildArgs, built: &str, how: &str) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let file = args.node_init.clone().unwrap_or_else(|| target.join(built));
    if !file.is_file() {
        bail!(
            "{} is not there; build node-init with: {how} (or name another with --node-init)",
            file.display()
        );
    }
    Ok(file)
}

/// The program that speaks to libvirt: the given one, the one beside node-init, or the one that cargo made last.
fn companion(args: &BuildArgs, node_init: &Path) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let places = match &args.node_init_libvirt {
        Some(given) => vec![given.clone()],
        None => vec![node_init.with_file_name(COMPANION), target.join("node").join(COMPANION)],
    };
    let there = places.iter().find(|place| place.is_file()).cloned();
    there.with_context(|| {
        let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "{} is not there; build it with: {} (or name another with --node-init-libvirt)",
            looked.join(" or "),
            node::HOW
        )
    })
}

/// The version of what was built: its date and the beginning of the hash of its contents. Equal bytes have equal
/// versions, others do not.
fn version(created: u64, contents: &blake3::Hash) -> Result<String> {
    let seconds = i64::try_from(created).context("reading the date of the build")?;
    let date = jiff::Timestamp::from_second(seconds).context("reading the date of the build")?;
    let date = date.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y.%m.%d").to_string();
    Ok(format!("{date}-{}", &contents.to_hex()[..8]))
}

/// Writes the list of a node image and signs it.
fn write_manifest(manifest: &Manifest, key: &Key, list: &Path) -> Result<()> {
    let json = serde_json::to_string(manifest).context("writing the manifest")?;
    write_list(json, (&manifest.name, &manifest.version), key, list)
}

/// Writes the list of a result and signs it for this name and version.
fn write_list(mut json: String, (name, version): (&str, &str), key: &Key, list: &Path) -> Result<()> {
    json.push('\n');
    fs::write(list, json).with_context(|| format!("writing {}", list.display()))?;
    sign::sign_file(key, list, &format!("name={name} version={version}"))
}

/// Tells what a node image has become.
fn tell(manifest: &Manifest, out: &Path, progress: &Progress) {
    eprintln!(
        "{} {}: {} MB of chunks for {} MB of disk, in {}; {}",
        manifest.name,
        manifest.version,
        megabytes(manifest.data_size),
        megabytes(manifest.chunks.len() as u64 * CHUNK_SIZE),
        out.display(),
        progress.summary(),
    );
}

/// Makes the folder for the result and takes the list of an older one away: until the new list is there, the folder
/// holds nothing that anybody would take for finished.
fn open_result(folder: &Path, list: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for file in [list.to_owned(), sign::signature_path(list)] {
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("removing the old {}", file.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_version_is_the_date_and_the_contents() {
        assert_eq!(
            version(1_795_040_263, &blake3::hash(b"")).unwrap(),
            "2026.11.18-af1349b9"
        );
    }
}
