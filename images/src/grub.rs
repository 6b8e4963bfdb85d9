// SPDX-License-Identifier: Apache-2.0
//! GRUB for disks and for the network: core images by grub-mkimage, and the boot sector that loads one without any
//! loop device or installer.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::tool::Tools;

/// Bytes of a disk sector, in BIOS's eyes.
pub const SECTOR: usize = 512;

/// Modules of the GRUB that starts the local disk: what its script needs, and the file systems, LVM and RAID of every
/// system that is installed.
const LOCAL_MODULES: [&str; 23] = [
    "memdisk",
    "tar",
    "part_gpt",
    "part_msdos",
    "fat",
    "ext2",
    "xfs",
    "btrfs",
    "lvm",
    "mdraid09",
    "mdraid1x",
    "regexp",
    "chain",
    "boot",
    "minicmd",
    "smbios",
    "normal",
    "configfile",
    "echo",
    "test",
    "sleep",
    "halt",
    "reboot",
];

/// A GRUB that starts the system on the machine's own disk.
#[derive(Clone, Copy, Debug)]
pub struct LocalGrub {
    /// Its file.
    pub file: &'static str,
    format: &'static str,
    /// Modules that its platform takes besides [`LOCAL_MODULES`].
    modules: &'static [&'static str],
}

/// For iPXE under UEFI and under BIOS. That one starts through iPXE's PXE interface and tells the server by TFTP; UEFI's
/// goes back to iPXE.
pub const LOCAL_GRUBS: [LocalGrub; 2] = [
    LocalGrub {
        file: "local-grub.efi",
        format: "x86_64-efi",
        modules: &[],
    },
    LocalGrub {
        file: "local-grub.pxe",
        format: "i386-pc-pxe",
        modules: &["biosdisk", "pxe", "tftp"],
    },
];

/// Makes a GRUB by which a machine that was told to boot its own disk over the network gets there.
///
/// The script is a file in a memory disk: what is put straight into a core image (`-c`) is read by GRUB's rescue
/// parser, which knows no comment, no `if` and no `for`, and leaves a machine at its prompt.
pub fn local(tools: &Tools, scratch: &Path, grub: &LocalGrub, out: &Path) -> Result<()> {
    let disk = scratch.join("local-grub.tar");
    fs::write(&disk, memory_disk(include_bytes!("../recipes/local.cfg"))?).context("writing GRUB's memory disk")?;
    let modules = [&LOCAL_MODULES, grub.modules].concat();
    mkimage(
        tools,
        grub.format,
        &[("-m", &disk)],
        "(memdisk)/boot/grub",
        out,
        &modules,
    )
}

/// A tar with the one file that GRUB looks for.
fn memory_disk(script: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(script.len() as u64);
    header.set_entry_type(tar::EntryType::Regular);
    let mut disk = tar::Builder::new(Vec::new());
    disk.append_data(&mut header, "boot/grub/grub.cfg", script)
        .context("packing GRUB's script")?;
    disk.into_inner().context("packing GRUB's script")
}

/// Runs grub-mkimage; `files` are options that take a file: `-c` a script for the rescue parser, `-m` a memory disk.
pub fn mkimage(
    tools: &Tools,
    format: &str,
    files: &[(&str, &Path)],
    prefix: &str,
    out: &Path,
    modules: &[&str],
) -> Result<()> {
    // BIOS has one set of modules, whatever loads the image.
    let platform = if format.starts_with("i386-pc") {
        "i386-pc"
    } else {
        format
    };
    let folder = tools.tree().join("usr/lib/grub").join(platform);
    let mut tool = tools
        .tool("usr/bin/grub-mkimage")
        .args(["-O", format, "-d"])
        .arg(folder);
    for (option, file) in files {
        tool = tool.arg(option).arg(file);
    }
    // A memory disk brings a prefix of its own; the last one counts.
    tool.args(["-p", prefix, "-o"]).arg(out).args(modules).run()
}

/// The boot sector and the core image for a disk whose BIOS boot partition begins at `sector`: boot.img, patched to
/// load the core from there, and the core, patched to find the rest of itself.
///
/// The offsets are GRUB's (`grub-core/boot/i386/pc/boot.S` and `diskboot.S`, unchanged since 2.00).
pub fn bios(boot: &[u8], mut core: Vec<u8>, sector: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    /// `GRUB_BOOT_MACHINE_KERNEL_SECTOR`: where boot.img loads the first sector of the core from, 64 bits.
    const KERNEL_SECTOR: usize = 0x5c;
    /// `GRUB_BOOT_MACHINE_DRIVE_CHECK`: two NOPs here skip a check that misjudges BIOSes which pass a wrong drive
    /// number; grub-install puts them here for every disk that is not a floppy.
    const DRIVE_CHECK: usize = 0x66;
    /// The first blocklist entry at the end of the core's first sector: start (64 bits), length (16), segment (16).
    const BLOCKLIST: usize = SECTOR - 12;
    /// Bytes of code in the boot sector; the disk's signature and MBR partitions are behind it.
    const CODE: usize = 440;

    ensure!(
        boot.len() == SECTOR,
        "boot.img of GRUB is {} bytes instead of {SECTOR}",
        boot.len()
    );
    let mut start = boot[..CODE].to_vec();
    start[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&sector.to_le_bytes());
    start[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);

    core.resize(core.len().next_multiple_of(SECTOR), 0);
    let rest = core.len() / SECTOR - 1;
    let length = u16::try_from(rest).context("placing GRUB's core image: it is too large")?;
    core[BLOCKLIST..BLOCKLIST + 8].copy_from_slice(&(sector + 1).to_le_bytes());
    core[BLOCKLIST + 8..BLOCKLIST + 10].copy_from_slice(&length.to_le_bytes());
    Ok((start, core))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_script_of_local_grub_lies_where_grub_looks_for_it() {
        let disk = memory_disk(b"sleep 1\n").unwrap();
        assert_eq!(disk.len() % SECTOR, 0);
        assert!(disk.starts_with(b"boot/grub/grub.cfg\0"));
        assert!(disk[SECTOR..].starts_with(b"sleep 1\n"));
    }

    #[test]
    fn the_boot_sector_points_at_the_core_and_the_core_at_its_rest() {
        let (boot, core) = bios(&[0xff; SECTOR], vec![0xee; 3 * SECTOR + 1], 2048).unwrap();
        assert_eq!(boot.len(), 440);
        assert_eq!(boot[0x5c..0x64], 2048_u64.to_le_bytes());
        assert_eq!(core.len(), 4 * SECTOR);
        assert_eq!(core[0x1f4..0x1fc], 2049_u64.to_le_bytes());
        assert_eq!(core[0x1fc..0x1fe], 3_u16.to_le_bytes());
        assert_eq!(core[0x1fe..0x200], [0xee; 2]);
    }
}
