// SPDX-License-Identifier: Apache-2.0
//! Disks of virtual PCs: sparse files, and blkdebug in front of the broken ones.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk.
    Virtio,
    /// SATA on the chipset's controller.
    Sata,
    /// On `PCIe`, the NVM Express way.
    Nvme,
    /// A stick or a case on USB.
    Usb,
}

/// A disk; its content is a raw file in the PC's folder.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Name of the file, without `.img`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// How it is attached.
    pub bus: Bus,
    /// Serial number; virtio carries 20 characters.
    pub serial: String,
    /// Every write at this byte or a later one fails with an I/O error.
    pub writes_fail_from: Option<u64>,
}

impl Disk {
    /// An empty disk.
    pub fn new(name: &str, size: u64, bus: Bus) -> Self {
        Self {
            name: name.into(),
            size,
            bus,
            serial: format!("LAB-{}", name.to_uppercase()),
            writes_fail_from: None,
        }
    }

    /// The file with its content.
    pub fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.img", self.name))
    }

    /// Makes the file, empty and sparse, unless it is there already.
    pub fn create(&self, folder: &Path) -> Result<()> {
        let path = self.file(folder);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("making {}", path.display()))?;
        if file.metadata().context("looking at a disk")?.len() == 0 {
            file.set_len(self.size)
                .with_context(|| format!("sizing {}", path.display()))?;
        }
        let Some(from) = self.writes_fail_from else {
            return Ok(());
        };
        // blkdebug: a rule meets the requests that touch its sector, so a stretch takes a rule each 32 KiB, which is less
        // than one request of a writer of images; 64 MiB of them are more than a writer has in flight.
        let rule = |step: u64| {
            format!(
                "[inject-error]\nevent = \"write_aio\"\nerrno = \"5\"\nsector = \"{}\"\n",
                from / 512 + step * 64
            )
        };
        let rules: Vec<String> = (0..2048).map(rule).collect();
        let rules = rules.join("\n");
        std::fs::write(self.rules(folder), rules).context("writing the rules of a broken disk")
    }

    /// QEMU's arguments for disk `number`, tried by the firmware in place `bootindex`.
    pub(super) fn arguments(&self, folder: &Path, number: usize, bootindex: usize) -> Vec<String> {
        let file = self.file(folder);
        let source = match self.writes_fail_from {
            Some(_) => format!(
                "driver=raw,file.driver=blkdebug,file.config={},file.image.driver=file,file.image.filename={}",
                self.rules(folder).display(),
                file.display()
            ),
            None => format!("format=raw,file={}", file.display()),
        };
        // cache=unsafe: the host's disk is not what is tested; a power cut loses what the guest has not handed over.
        let drive = format!("if=none,id=disk{number},cache=unsafe,discard=unmap,{source}");
        let serial = &self.serial;
        let device = match self.bus {
            Bus::Virtio => format!("virtio-blk-pci,drive=disk{number},serial={serial},bootindex={bootindex}"),
            Bus::Sata => format!("ide-hd,drive=disk{number},serial={serial},bootindex={bootindex},bus=ide.{number}"),
            Bus::Nvme => format!("nvme,drive=disk{number},serial={serial},bootindex={bootindex}"),
            Bus::Usb => format!("usb-storage,drive=disk{number},serial={serial},removable=on,bootindex={bootindex}"),
        };
        let mut arguments = vec!["-drive".into(), drive];
        if self.bus == Bus::Usb {
            arguments.extend(["-device".into(), format!("qemu-xhci,id=usb{number}")]);
        }
        arguments.extend(["-device".into(), device]);
        arguments
    }

    fn rules(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.blkdebug", self.name))
    }
}
