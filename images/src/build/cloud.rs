// SPDX-License-Identifier: Apache-2.0
//! The build of a node image out of a distribution's ready-made image for clouds. Nothing in it is changed: what it
//! becomes, its own cloud-init makes of it at its first start.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use provisioner_api::{CHUNK_SIZE, Manifest};

use super::{fetch_tools, open_result, signing_key, tell, version, write_manifest};
use crate::cache::Cache;
use crate::chunks::{self, Cut};
use crate::cli::CloudArgs;
use crate::debian::{Depth, Request, Tree};
use crate::disk::{self, MBR_ACTIVE};
use crate::foreign::{self, Table};
use crate::genuine;
use crate::mirror::Mirror;
use crate::progress::Progress;
use crate::qcow2;
use crate::recipe::{MIB, Node};
use crate::tool::Tools;
use crate::verify::{CHUNKS, MANIFEST};

/// The first bytes of a file compressed by xz.
const XZ: &[u8] = b"\xfd7zXZ\0";
/// Bytes of memory that xz may take.
const XZ_MEMORY: &str = "--memlimit-decompress=512MiB";
/// What names of images say whose kernel is for virtual machines: no drivers of real disks and cards are in it.
const VIRTUAL: [&str; 5] = ["genericcloud", "-kvm", "-azure", "-ec2", "-gce"];
/// Debian's name of an image without cloud-init, whose root has no password.
const WITHOUT: &str = "nocloud";

/// Builds a node image out of a ready-made one.
pub fn build(args: &CloudArgs) -> Result<()> {
    let key = signing_key(&args.key)?;
    let cache = Cache::open(&Cache::default_folder(), false)?;
    let scratch = cache.scratch("cloud")?;
    let list = args.out.join(MANIFEST);
    let mut progress = Progress::default();

    let genuine = progress.verb("check that it is genuine", |_| {
        genuine::check(&args.file, &args.evidence, args.keyring.as_deref())
            .with_context(|| format!("checking {}", args.file.display()))
    })?;
    eprintln!("{}: {genuine}", args.file.display());
    warn_of_name(&args.file);
    let disk = scratch.path().join("disk.img");
    progress.verb("read the disk", |_| {
        read_disk(args, &cache, scratch.path(), &disk).with_context(|| format!("reading {}", args.file.display()))
    })?;
    let table = progress.verb("read its partition table", |_| {
        let file = File::open(&disk).context("opening the disk")?;
        foreign::read(&file).with_context(|| format!("{} cannot be a node's disk", args.file.display()))
    })?;
    if let Some(which) = table.starts_not() {
        eprintln!("warning: {which}");
    }
    let created = args.date.or(table.made);
    let created =
        created.context("finding its date: no file of an EFI system partition tells; give one with --date SECONDS")?;
    let unused = progress.verb("make room for the seed", |_| prepare(&disk, &table))?;
    open_result(&args.out, &list)?;
    let cut = progress.verb("cut and compress chunks", |bar| {
        let store = cache.store(&format!("chunks/{}-{}", args.name, chunks::FORMAT))?;
        chunks::cut(&disk, &unused, &store, &args.out.join(CHUNKS), bar)
    })?;
    let manifest = manifest(args, &table, created, fs::metadata(&disk)?.len(), cut)?;
    progress.verb("sign", |_| write_manifest(&manifest, &key, &list))?;

    tell(&manifest, &args.out, &progress);
    Ok(())
}

/// What the makers call it says what it is not made for.
fn warn_of_name(file: &Path) {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if VIRTUAL.iter().any(|word| name.contains(word)) {
        eprintln!(
            "warning: by its name its kernel is one for virtual machines, without the drivers of most disks and network \
             cards of PCs; Debian's image for PCs is called `generic`"
        );
    }
    if name.contains(WITHOUT) {
        eprintln!(
            "warning: by its name it has no cloud-init, and would never become a node; Debian's `generic` has it"
        );
    }
}

/// The disk that is in the file, as it is, in a file of our own.
fn read_disk(args: &CloudArgs, cache: &Cache, scratch: &Path, disk: &Path) -> Result<()> {
    let unpacked = unpacked(args, cache, scratch)?;
    if qcow2::is(&start(&unpacked)?) {
        return qcow2::convert(&reader(args, cache)?, &unpacked, disk);
    }
    if unpacked == args.file {
        disk::copy(&unpacked, disk)
    } else {
        fs::rename(&unpacked, disk).context("taking what was unpacked")
    }
}

/// The file, or what xz has packed into it.
fn unpacked(args: &CloudArgs, cache: &Cache, scratch: &Path) -> Result<PathBuf> {
    if start(&args.file)? != XZ {
        return Ok(args.file.clone());
    }
    let unpacked = scratch.join("unpacked");
    let tools = fetch_tools(&Node::load(None)?.suite, &Mirror::find(args.mirror.as_deref())?, cache)?;
    let xz = tools.tool("usr/bin/xz").args(["--decompress", "--stdout", XZ_MEMORY]);
    xz.arg(&args.file)
        .run_into(File::create(&unpacked).context("making a file for what is unpacked")?)?;
    Ok(unpacked)
}

fn start(file: &Path) -> Result<Vec<u8>> {
    let about = || format!("reading {}", file.display());
    let mut start = Vec::new();
    let opened = File::open(file).with_context(about)?;
    ensure!(
        opened.metadata().with_context(about)?.is_file(),
        "{} is not a file",
        file.display()
    );
    opened
        .take(XZ.len() as u64)
        .read_to_end(&mut start)
        .with_context(about)?;
    Ok(start)
}

/// The program that reads qcow2: fetched when it is needed, which is not on most build machines.
fn reader(args: &CloudArgs, cache: &Cache) -> Result<Tools> {
    let mirror = Mirror::find(args.mirror.as_deref())?;
    let request = Request {
        what: "qemu-img",
        suite: &Node::load(None)?.suite,
        components: "main",
        packages: vec![qcow2::PACKAGE],
        depth: Depth::Unpacked,
    };
    Ok(Tools::new(Tree::fetch(&request, &mirror, cache)?.files()))
}

/// Makes the disk large enough for a seed behind it, and takes away what node-init makes anew on every disk. Returns what
/// of it nobody relies on: the gaps between partitions.
fn prepare(disk: &Path, table: &Table) -> Result<Vec<Range<u64>>> {
    let about = || "preparing the disk";
    let file = OpenOptions::new().write(true).open(disk).with_context(about)?;
    let size = file.metadata().with_context(about)?.len();
    let copy = usize::try_from(size.min(table.copy_at + MIB) - table.copy_at).with_context(about)?;
    file.write_all_at(&vec![0; copy], table.copy_at).with_context(about)?;
    file.write_all_at(&[MBR_ACTIVE.1], MBR_ACTIVE.0).with_context(about)?;
    let size = size.max(table.smallest()).next_multiple_of(MIB);
    file.set_len(size).with_context(about)?;

    let mut unused = Vec::new();
    let mut end = 0;
    for partition in &table.partitions {
        unused.push(end..partition.start);
        end = partition.start + partition.size;
    }
    unused.push(end..size);
    Ok(unused)
}

fn manifest(args: &CloudArgs, table: &Table, created: u64, size: u64, cut: Cut) -> Result<Manifest> {
    let manifest = Manifest {
        format: 1,
        name: args.name.clone(),
        version: version(created, &cut.contents())?,
        arch: "amd64".into(),
        created,
        disk_size: size,
        chunk_size: CHUNK_SIZE,
        data_size: cut.data_size,
        partitions: table.partitions.clone(),
        chunks: cut.chunks,
        packages: Vec::new(),
        // What it serves as is the profile's affair, as with installers.
        role: "plain".into(),
        cloud_init: true,
    };
    manifest.validate().context("checking the manifest")?;
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use provisioner_api::SEED_SIZE;

    use super::*;
    use crate::foreign::tests::usual;

    #[test]
    fn a_disk_is_left_as_it_is_but_for_what_every_disk_gets_anew_and_the_flag_of_old_bioses() {
        let before = usual();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::write(&path, &before).unwrap();
        let table = foreign::read(&File::open(&path).unwrap()).unwrap();
        let unused = prepare(&path, &table).unwrap();
        let after = fs::read(&path).unwrap();
        let copy = usize::try_from(table.copy_at).unwrap();
        assert_eq!((before[446], after[446]), (0, 0x80));
        assert_eq!(before[..446], after[..446]);
        assert_eq!(before[447..copy], after[447..copy]);
        assert!(after[copy..].iter().all(|byte| *byte == 0));
        for partition in &table.partitions {
            let inside = partition.start..partition.start + partition.size;
            assert!(
                unused
                    .iter()
                    .all(|gap| gap.end <= inside.start || gap.start >= inside.end)
            );
        }
        assert_eq!(unused.last().unwrap().end, after.len() as u64);
    }

    #[test]
    fn an_image_that_fills_its_disk_is_given_room_for_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::write(&path, usual()).unwrap();
        let mut table = foreign::read(&File::open(&path).unwrap()).unwrap();
        let last = table.partitions.last_mut().unwrap();
        last.size = table.copy_at - last.start;
        prepare(&path, &table).unwrap();
        let size = fs::metadata(&path).unwrap().len();
        assert_eq!(size, 16 * MIB + SEED_SIZE + MIB);
    }
}
