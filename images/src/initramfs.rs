// SPDX-License-Identifier: Apache-2.0
//! The initramfs of the RAM environment: node-init in front, modules, firmware and other people's programs behind.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::cpio::Archive;
use crate::debian::Tree;
use crate::kernel::{FIRMWARE, Kernel, Modules};
use crate::recipe::Ram;
use crate::tool::{LOADER, Tools};

/// Bumped when the second part of the initramfs is packed in another way, so that old ones in the cache are left alone.
const FORMAT: u32 = 2;
/// Level of zstd for the initramfs. 19 would save 2 of 23 MB and cost ten times the time (60 s instead of 6 s of one core).
const LEVEL: i32 = 12;
/// zstd's window as a power of two: 16 MiB. Larger ones save little, and the kernel holds the window in RAM while it unpacks.
const WINDOW_LOG: u32 = 24;
/// Threads that compress.
const THREADS: u32 = 2;
/// Folders of the initramfs.
const FOLDERS: [&str; 13] = [
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "mnt",
    "root",
    "etc",
    "var",
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/lib64",
];
/// Folders that are links since Debian merged them into /usr.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// What an initramfs is packed from.
pub struct Parts<'a> {
    /// Which modules, programs and firmware.
    pub recipe: &'a Ram,
    /// Where they come from.
    pub tree: &'a Tree,
    /// The kernel in that tree.
    pub kernel: &'a Kernel<'a>,
    /// Seconds since 1970 that every file is dated to.
    pub created: u64,
}

/// The initramfs is two archives one behind the other. The first is node-init and the folders that it starts in: it
/// changes with every build of ours, and is unpacked even where RAM ends (see [`crate::cpio`]).
pub fn assemble(node_init: &Path, created: u64, system: &Path, out: &Path) -> Result<()> {
    let mut archive = Archive::new(Vec::new(), created);
    archive.file(
        "init",
        0o755,
        &fs::read(node_init).with_context(|| format!("reading {}", node_init.display()))?,
    )?;
    for folder in FOLDERS {
        archive.folder(folder)?;
    }
    for link in MERGED {
        archive.link(link, &format!("usr/{link}"))?;
    }
    // The kernel opens the console before /init can mount anything.
    archive.device("dev/console", 0o600, (5, 1))?;
    archive.device("dev/null", 0o666, (1, 3))?;
    let mut initrd = compress(&archive.finish()?)?;
    // The kernel looks for the next archive at a multiple of four bytes.
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(fs::read(system).with_context(|| format!("reading {}", system.display()))?);
    fs::write(out, initrd).with_context(|| format!("writing {}", out.display()))
}

/// The second archive: modules, firmware and other people's programs. It is large and seldom changes.
pub fn system(parts: &Parts, cache: &Cache) -> Result<PathBuf> {
    let Parts {
        recipe, tree, created, ..
    } = parts;
    let inputs = format!("format {FORMAT}\n{recipe:#?}\n{created}\n{:#?}\n", tree.packages()?);
    let entry = cache.entry("initrd", &inputs, |folder| {
        let archive = pack(parts, &folder.join("work"))?;
        fs::remove_dir_all(folder.join("work")).context("removing work in progress")?;
        fs::write(folder.join("system.zst"), compress(&archive)?).context("writing the packed system")
    })?;
    Ok(entry.join("system.zst"))
}

fn pack(parts: &Parts, scratch: &Path) -> Result<Vec<u8>> {
    let Parts {
        recipe,
        kernel,
        created,
        tree,
    } = parts;
    let tree = tree.files();
    let modules = kernel.take(&recipe.modules, &recipe.without_modules, scratch)?;
    let mut archive = Archive::new(Vec::new(), *created);
    for folder in FOLDERS {
        archive.known(folder);
    }
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    archive.file("etc/group", 0o644, b"root:x:0:\n")?;
    archive.copy("usr/bin/busybox", &tree.join("usr/bin/busybox"))?;
    for applet in &recipe.applets {
        archive.link(&format!("usr/bin/{applet}"), "busybox")?;
    }
    // What the kernel calls when it wants a module.
    archive.link("usr/sbin/modprobe", "../bin/busybox")?;
    for file in &modules.files {
        archive.copy(file, &modules.root.join(file))?;
    }
    for program in &recipe.programs {
        let libraries = Tools::new(tree.clone()).libraries(program)?;
        archive.copy(program, &tree.join(program))?;
        for library in libraries.iter().map(String::as_str).chain([LOADER]) {
            // Under the name that programs ask for, whatever versions the links behind it lead over.
            let bytes = fs::read(tree.join(library)).with_context(|| format!("reading {library}"))?;
            archive.file(library, 0o755, &bytes)?;
        }
    }
    for file in &recipe.files {
        archive.copy(file, &tree.join(file))?;
    }
    if recipe.firmware {
        pack_firmware(&mut archive, recipe, &tree, &modules)?;
    }
    archive.finish()
}

/// Puts in the firmware that the modules ask for, as far as Debian ships it.
fn pack_firmware(archive: &mut Archive<Vec<u8>>, recipe: &Ram, tree: &Path, modules: &Modules) -> Result<()> {
    for name in &modules.firmware {
        if recipe
            .without_firmware
            .iter()
            .any(|without| name.starts_with(without.as_str()))
        {
            continue;
        }
        let file = tree.join(FIRMWARE).join(name);
        // Behind a link may lie another name; a blob is small, so it is put in under the name that is asked for.
        if let Ok(bytes) = fs::read(&file) {
            archive.file(&format!("{FIRMWARE}/{name}"), 0o644, &bytes)?;
        }
    }
    Ok(())
}

fn compress(archive: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).context("starting zstd")?;
    encoder.window_log(WINDOW_LOG).context("starting zstd")?;
    encoder.include_checksum(true).context("starting zstd")?;
    encoder
        .set_pledged_src_size(Some(archive.len() as u64))
        .context("starting zstd")?;
    // The bytes do not depend on the number of threads, as long as there is one.
    encoder.multithread(THREADS).context("starting zstd")?;
    encoder.write_all(archive).context("compressing the initramfs")?;
    encoder.finish().context("compressing the initramfs")
}
