// SPDX-License-Identifier: Apache-2.0
//! The build of the RAM environment.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use provisioner_api::{RamFile, RamManifest};

use super::{companion, fetch_tool_tree, node_init, open_result, signing_key, version, write_list};
use crate::cache::Cache;
use crate::cli::BuildArgs;
use crate::debian::{Depth, Request, Tree};
use crate::grub;
use crate::initramfs::{self, Parts};
use crate::kernel::Kernel;
use crate::mirror::Mirror;
use crate::progress::{Progress, megabytes};
use crate::recipe::Ram;
use crate::tool::Tools;

/// Where cargo puts the static node-init.
const NODE_INIT: &str = "x86_64-unknown-linux-gnu/node/node-init";
/// How to get it there.
const HOW: &str = "RUSTFLAGS='-C target-feature=+crt-static' cargo build --profile node -p node-init --target x86_64-unknown-linux-gnu";
/// Builds the RAM environment.
pub fn build(args: &BuildArgs) -> Result<()> {
    let mut recipe = Ram::load(args.recipe.as_deref())?;
    recipe.firmware = args.firmware_choice().unwrap_or(recipe.firmware);
    let node_init = node_init(args, NODE_INIT, HOW)?;
    let companion = companion(args, &node_init)?;
    let key = signing_key(&args.key)?;
    let cache = Cache::open(&Cache::default_folder(), args.refresh)?;
    let scratch = cache.scratch("ram")?;
    let scratch = scratch.path();
    let list = args.out.join(RamManifest::FILE);
    let mut progress = Progress::default();

    let mirror = progress.verb("find the mirror", |_| Mirror::find(args.mirror.as_deref()))?;
    let toolbox = progress.verb("fetch the tools", |_| fetch_tool_tree(&recipe.suite, &mirror, &cache))?;
    let tools = Tools::new(toolbox.files());
    let tree = progress.verb("fetch kernel, firmware and loaders", |_| {
        fetch(&recipe, &mirror, &cache)
    })?;
    let files = tree.files();
    let created = args.date.map_or_else(|| tree.date(), Ok)?;
    let kernel = Kernel::find(&files, &tools)?;
    let parts = Parts {
        recipe: &recipe,
        tree: &tree,
        kernel: &kernel,
        created,
    };
    let system = progress.verb("pack and compress modules and programs", |_| {
        initramfs::system(&parts, &cache)
    })?;
    open_result(&args.out, &list)?;
    let initrd = args.out.join(RamManifest::INITRD);
    progress.verb("put node-init in front", |_| {
        initramfs::assemble(&node_init, created, &system, &initrd)
    })?;
    progress.verb("copy kernel, loaders and programs", |_| {
        copy_loaders(&recipe, &kernel, &files, &toolbox.files(), &args.out)?;
        copy_programs(
            &[
                (&node_init, RamManifest::NODE_INIT),
                (&companion, RamManifest::NODE_INIT_LIBVIRT),
            ],
            &args.out,
        )
    })?;
    let loaders = args.out.join(RamManifest::LOADERS);
    progress.verb("make the loaders of local disks", |_| {
        let mut grubs = grub::LOCAL_GRUBS.iter();
        grubs.try_for_each(|grub| grub::local(&tools, scratch, grub, &loaders.join(grub.file)))
    })?;
    let manifest = progress.verb("list the files", |_| {
        let mut packages = tree.packages()?;
        packages.extend(toolbox.packages()?.into_iter().filter(|package| is_signed(package)));
        packages.sort();
        describe(&recipe, &kernel, packages, created, &args.out)
    })?;
    progress.verb("sign", |_| write_manifest(&manifest, &key, &list))?;

    let size = |path| manifest.file(path).map_or(0, |file| file.size);
    eprintln!(
        "{} {}: kernel {} {} MB, initrd {} MB, in {}; {}",
        manifest.name,
        manifest.version,
        manifest.kernel,
        megabytes(size(RamManifest::KERNEL)),
        megabytes(size(RamManifest::INITRD)),
        args.out.display(),
        progress.summary(),
    );
    Ok(())
}

/// Fetches what files are picked from, or finds it in the cache.
pub(super) fn fetch(recipe: &Ram, mirror: &Mirror, cache: &Cache) -> Result<Tree> {
    let request = Request {
        what: "ram",
        suite: &recipe.suite,
        components: recipe.components(),
        packages: recipe.all_packages(),
        depth: Depth::Unpacked,
    };
    Tree::fetch(&request, mirror, cache)
}

/// Whether this is one of the packages whose files go into the result as they are signed.
fn is_signed(package: &str) -> bool {
    let name = package.split_once('=').map_or(package, |(name, _)| name);
    ["shim-signed", "grub-efi-amd64-signed"].contains(&name)
}

fn copy_loaders(recipe: &Ram, kernel: &Kernel, tree: &Path, toolbox: &Path, out: &Path) -> Result<()> {
    copy(&kernel.image(), &out.join(RamManifest::KERNEL))?;
    let loaders = out.join(RamManifest::LOADERS);
    fs::create_dir_all(&loaders).with_context(|| format!("making {}", loaders.display()))?;
    for loader in &recipe.loaders {
        copy(&tree.join("usr/lib/ipxe").join(loader), &loaders.join(loader))?;
    }
    for (name, path) in &recipe.signed {
        copy(&toolbox.join(path), &loaders.join(name))?;
    }
    Ok(())
}

/// What installers put on disks: of the same version as what is booted.
fn copy_programs(programs: &[(&Path, &str)], out: &Path) -> Result<()> {
    for (from, path) in programs {
        let to = out.join(path);
        let folder = to.parent().unwrap_or(out);
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        copy(from, &to)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    fs::write(to, bytes).with_context(|| format!("writing {}", to.display()))
}

fn describe(recipe: &Ram, kernel: &Kernel, packages: Vec<String>, created: u64, out: &Path) -> Result<RamManifest> {
    let loaders = recipe.loaders.iter().chain(recipe.signed.keys());
    let loaders = loaders
        .map(String::as_str)
        .chain(grub::LOCAL_GRUBS.map(|grub| grub.file));
    let mut paths: Vec<String> = loaders.map(|name| format!("{}/{name}", RamManifest::LOADERS)).collect();
    let others = [
        RamManifest::KERNEL,
        RamManifest::INITRD,
        RamManifest::NODE_INIT,
        RamManifest::NODE_INIT_LIBVIRT,
    ];
    paths.extend(others.map(str::to_owned));
    paths.sort();
    let mut files = Vec::new();
    let mut contents = blake3::Hasher::new();
    for path in paths {
        let bytes = fs::read(out.join(&path)).with_context(|| format!("reading {path}"))?;
        let hash = blake3::hash(&bytes);
        contents.update(hash.as_bytes());
        files.push(RamFile {
            path,
            size: bytes.len() as u64,
            blake3: hash.to_hex().to_string(),
        });
    }
    let manifest = RamManifest {
        format: 1,
        name: recipe.name.clone(),
        version: version(created, &contents.finalize())?,
        arch: "amd64".into(),
        created,
        kernel: kernel.release.clone(),
        nonfree_firmware: recipe.firmware,
        files,
        packages,
    };
    manifest.validate().context("checking the list of files")?;
    Ok(manifest)
}

fn write_manifest(manifest: &RamManifest, key: &crate::key::Key, list: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(manifest).context("writing the list of files")?;
    write_list(json, (&manifest.name, &manifest.version), key, list)
}
