// SPDX-License-Identifier: Apache-2.0
//! The build of the boot stick: what machines start from whose cards have no boot ROM, or whose firmware has no network.
//!
//! It brings iPXE with its own drivers to the network, and from there a machine goes the way of all others. With Secure
//! Boot on, firmware lets only the signed GRUB in, which says what to do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{fetch_tool_tree, ram};
use crate::cache::Cache;
use crate::cli::StickArgs;
use crate::disk::{self, Layout};
use crate::grub;
use crate::mirror::Mirror;
use crate::progress::{Progress, megabytes};
use crate::recipe::Ram;
use crate::tool::Tools;

/// MiB of the file system: the smallest that is a FAT32, which all firmware reads.
const FILES_MIB: u64 = 40;
/// What all UUIDs on the stick are derived from.
const SEED: &str = "gleaner boot stick";
/// Modules in GRUB's core image for BIOS: what its script needs.
const BIOS_MODULES: [&str; 10] = [
    "biosdisk",
    "part_gpt",
    "part_msdos",
    "fat",
    "search",
    "search_fs_file",
    "linux16",
    "echo",
    "sleep",
    "reboot",
];

/// Builds the boot stick.
pub fn build(args: &StickArgs) -> Result<()> {
    // From the same trees as the RAM environment, so that a site fetches them once.
    let recipe = Ram::load(None)?;
    let cache = Cache::open(&Cache::default_folder(), args.refresh)?;
    let scratch = cache.scratch("stick")?;
    let scratch = scratch.path();
    let mut progress = Progress::default();

    let mirror = progress.verb("find the mirror", |_| Mirror::find(args.mirror.as_deref()))?;
    let toolbox = progress.verb("fetch the tools", |_| fetch_tool_tree(&recipe.suite, &mirror, &cache))?;
    let tools = Tools::new(toolbox.files());
    let tree = progress.verb("fetch the loaders", |_| ram::fetch(&recipe, &mirror, &cache))?;
    let created = args.date.map_or_else(|| tree.date(), Ok)?;
    let layout = Layout::stick(FILES_MIB);
    let esp = scratch.join("esp.img");
    progress.verb("make the file system", |_| {
        let files = files(&tools, &tree.files(), scratch)?;
        let files: Vec<(&str, &Path)> = files.iter().map(|(path, file)| (*path, file.as_path())).collect();
        disk::esp(&tools, &layout, SEED, created, &files, &esp)
    })?;
    let unfinished = scratch.join("stick.img");
    progress.verb("make the stick", |_| {
        let (boot, core) = bios_loader(&tools, &layout, scratch)?;
        let parts = disk::Parts {
            boot: &boot,
            core: &core,
            esp: &esp,
            root: None,
        };
        disk::assemble(&tools, &layout, SEED, &parts, &unfinished)
    })?;
    progress.verb("write the result", |_| disk::copy(&unfinished, &args.out))?;

    eprintln!(
        "{}: {} MB, copy it onto a stick as it is (dd if={} of=/dev/STICK bs=4M conv=fsync); {}",
        args.out.display(),
        megabytes(layout.size),
        args.out.display(),
        progress.summary(),
    );
    Ok(())
}

/// What lies on the stick, and where it comes from.
fn files(tools: &Tools, tree: &Path, scratch: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let signed = |path: &str| tools.tree().join("usr/lib").join(path);
    let ipxe = |name: &str| tree.join("usr/lib/ipxe").join(name);
    let script = |name: &str, text: &str| -> Result<PathBuf> {
        let file = scratch.join(name);
        fs::write(&file, text).with_context(|| format!("writing {name}"))?;
        Ok(file)
    };
    Ok(vec![
        ("/EFI/BOOT/BOOTX64.EFI", signed("shim/shimx64.efi.signed")),
        (
            "/EFI/BOOT/grubx64.efi",
            signed("grub/x86_64-efi-signed/grubnetx64.efi.signed"),
        ),
        (
            "/grub/grub.cfg",
            script("grub.cfg", include_str!("../../recipes/stick.cfg"))?,
        ),
        // Also how scripts that look for the machine's own disk know the stick.
        (
            "/autoexec.ipxe",
            script("autoexec.ipxe", include_str!("../../recipes/stick.ipxe"))?,
        ),
        ("/ipxe.efi", ipxe("ipxe.efi")),
        ("/ipxe.lkrn", ipxe("ipxe.lkrn")),
    ])
}

/// The GRUB by which BIOS gets to iPXE.
fn bios_loader(tools: &Tools, layout: &Layout, scratch: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let (script, core) = (scratch.join("bios.cfg"), scratch.join("core.img"));
    fs::write(&script, include_str!("../../recipes/stick-bios.cfg")).context("writing GRUB's script")?;
    grub::mkimage(tools, "i386-pc", &[("-c", &script)], "/grub", &core, &BIOS_MODULES)?;
    let boot = disk::read(&tools.tree().join("usr/lib/grub/i386-pc/boot.img"))?;
    grub::bios(&boot, disk::read(&core)?, layout.core_sector())
}
