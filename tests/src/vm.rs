// SPDX-License-Identifier: Apache-2.0
//! Virtual PCs: real firmware, real cards, real disks, in QEMU.
//!
//! A [`Pc`] is a machine that stands there: its disks, its firmware settings and its serial log outlive power cuts.
//! It starts from the network first, then from its disks, as the machines that Gleaner is made for are set up.

mod accel;
mod disk;
mod qmp;
mod serial;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::json;

pub use accel::Accel;
pub use disk::{Bus, Disk};
pub use qmp::Qmp;
pub use serial::Serial;

use crate::space::Space;

/// Debian's OVMF: code that all machines share and the settings that each gets a copy of.
const OVMF: Flash = Flash {
    code: "/usr/share/OVMF/OVMF_CODE_4M.fd",
    settings: "/usr/share/OVMF/OVMF_VARS_4M.fd",
};
/// The same as it is sold: Microsoft's keys enrolled, Secure Boot on, settings that no program can change.
const OVMF_SECURE: Flash = Flash {
    code: "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
    settings: "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
};

/// What lies in a UEFI PC's flash memory.
struct Flash {
    code: &'static str,
    settings: &'static str,
}

/// What a PC starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// `SeaBIOS`, with iPXE as the card's boot ROM.
    Bios,
    /// OVMF, with EDK2's own PXE client.
    Uefi,
    /// The same with Secure Boot on and nothing but Microsoft's keys enrolled.
    SecureBoot,
}

impl Firmware {
    fn flash(self) -> Option<&'static Flash> {
        match self {
            Self::Bios => None,
            Self::Uefi => Some(&OVMF),
            Self::SecureBoot => Some(&OVMF_SECURE),
        }
    }
}

/// A network card.
#[derive(Clone, Debug)]
pub struct Card {
    /// QEMU's name of the model: `virtio-net-pci`, `e1000`.
    pub model: &'static str,
    /// Hardware address.
    pub mac: String,
    /// Where its cable is.
    pub cable: Cable,
    /// Whether firmware can boot from it: QEMU's ROM of the model, or EDK2's own driver of virtio.
    pub boots: bool,
}

/// Where a card's cable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// In the switch of the laboratory.
    Switch,
    /// In the switch of the network next door.
    NextDoor,
    /// Nowhere.
    Nowhere,
}

/// What a PC is made of.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Firmware.
    pub firmware: Firmware,
    /// MB of RAM.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// QEMU's name of their model, where it is not the usual one.
    pub processor: Option<&'static str>,
    /// Cards, in the order in which the firmware tries them.
    pub cards: Vec<Card>,
    /// Disks, tried after the cards.
    pub disks: Vec<Disk>,
    /// What the clock says at power-on, QEMU's `-rtc base=`: `utc`, `1970-01-01T00:00:00`.
    pub rtc: String,
    /// QEMU's `-smbios` arguments: `type=1,uuid=…`.
    pub smbios: Vec<String>,
    /// With a graphics card, for screenshots.
    pub screen: bool,
    /// UEFI skips PXE and goes on to HTTP Boot at once.
    pub http_boot: bool,
    /// Firmware tries the disks before the cards.
    pub disks_first: bool,
}

impl Spec {
    /// A PC with an empty 8 GB disk and a virtio card, 512 MB of RAM: what the whole journey must fit in.
    pub fn new(firmware: Firmware, number: u8) -> Self {
        Self {
            firmware,
            memory: 512,
            cpus: 1,
            processor: None,
            cards: vec![Card {
                model: "virtio-net-pci",
                mac: format!("52:54:00:77:00:{number:02x}"),
                cable: Cable::Switch,
                boots: true,
            }],
            disks: vec![Disk::new("disk", 8 << 30, Bus::Virtio)],
            rtc: "utc".into(),
            smbios: vec![format!(
                "type=1,manufacturer=Gleaner Laboratory,product=Virtual PC,serial=LAB{number:05},\
                 uuid=6c616230-7777-4000-8000-0000000000{number:02x}"
            )],
            screen: false,
            http_boot: false,
            disks_first: false,
        }
    }

    /// With a card of this model instead of virtio.
    #[must_use]
    pub fn card(mut self, model: &'static str) -> Self {
        self.cards[0].model = model;
        self
    }

    /// With this much RAM.
    #[must_use]
    pub fn memory(mut self, megabytes: u32) -> Self {
        self.memory = megabytes;
        self
    }

    /// With these disks instead of the one.
    #[must_use]
    pub fn disks(mut self, disks: Vec<Disk>) -> Self {
        self.disks = disks;
        self
    }
}

/// A PC in the laboratory.
pub struct Pc {
    spec: Spec,
    folder: PathBuf,
    accel: Accel,
    taps: Vec<Option<String>>,
    running: Option<Child>,
    serial: Serial,
    power_ons: u32,
}

impl Pc {
    /// Puts a PC into `folder` (short: it holds UNIX sockets); `taps` are its cards' cables, `None` an empty socket.
    pub fn new(spec: Spec, folder: &Path, taps: Vec<Option<String>>, accel: Accel) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        for disk in &spec.disks {
            disk.create(folder)?;
        }
        if let Some(flash) = spec.firmware.flash() {
            std::fs::copy(flash.settings, folder.join("vars.fd")).context("copying OVMF's settings (package ovmf)")?;
        }
        let serial = Serial::new(folder.join("serial.log"));
        Ok(Self {
            spec,
            folder: folder.to_owned(),
            accel,
            taps,
            running: None,
            serial,
            power_ons: 0,
        })
    }

    /// Presses the power button of a PC that is off.
    pub fn power_on(&mut self, space: &Space) -> Result<()> {
        if self.is_on() {
            bail!("the PC in {} is on already", self.folder.display());
        }
        let complaints = std::fs::File::create(self.path("qemu.log")).context("making qemu.log")?;
        // QEMU answers when it listens: a socket of the last life would be found and refuse.
        let _ = std::fs::remove_file(self.path("qmp"));
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
        self.running = Some(space.spawn(&mut command)?);
        self.power_ons += 1;
        Ok(())
    }

    /// Pulls the plug: SIGKILL, by process id.
    pub fn cut_power(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it is running; a PC that switched itself off, or whose QEMU ended, is not.
    pub fn is_on(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// QEMU's control socket.
    pub fn qmp(&self) -> Result<Qmp> {
        Qmp::connect(&self.path("qmp")).with_context(|| {
            let said = std::fs::read_to_string(self.path("qemu.log")).unwrap_or_default();
            format!("connecting to QEMU, which said: {}", said.trim())
        })
    }

    /// Presses the reset button.
    pub fn reset(&self) -> Result<()> {
        self.qmp()?.command("system_reset", &json!({})).map(drop)
    }

    /// Takes a picture of the screen (PNG); the PC needs one.
    pub fn screenshot(&self, file: &Path) -> Result<()> {
        self.qmp()?
            .command("screendump", &json!({ "filename": file, "format": "png" }))
            .map(drop)
    }

    /// Presses a key of the keyboard, by QEMU's name of it: `esc`, `ret`.
    pub fn press(&self, key: &str) -> Result<()> {
        let keys = json!({ "keys": [{ "type": "qcode", "data": key }] });
        self.qmp()?.command("send-key", &keys).map(drop)
    }

    /// Pulls or plugs the cable of a card.
    pub fn set_cable(&self, card: usize, plugged: bool) -> Result<()> {
        self.qmp()?
            .command("set_link", &json!({ "name": format!("card{card}"), "up": plugged }))
            .map(drop)
    }

    /// The serial line, across all lives.
    pub fn serial(&mut self) -> &mut Serial {
        &mut self.serial
    }

    /// What it is made of; changes take effect at the next power-on.
    pub fn spec_mut(&mut self) -> &mut Spec {
        &mut self.spec
    }

    /// What it is made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// How often it was switched on.
    pub fn power_ons(&self) -> u32 {
        self.power_ons
    }

    /// QEMU's process id while it is on.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Child::id)
    }

    /// The file behind a disk.
    pub fn disk_file(&self, disk: usize) -> PathBuf {
        self.spec.disks[disk].file(&self.folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn command(&self) -> Command {
        let spec = &self.spec;
        let mut q = Command::new("qemu-system-x86_64");
        // graphics=off sends SeaBIOS's own output to the serial line, where tests read it.
        // OVMF keeps the settings of Secure Boot where only system management mode can write.
        let machine = if spec.firmware == Firmware::SecureBoot {
            "q35,graphics=off,smm=on"
        } else {
            "q35,graphics=off"
        };
        q.args([
            "-machine",
            machine,
            "-nodefaults",
            "-display",
            "none",
            "-no-user-config",
        ]);
        q.args(self.accel.arguments());
        if let Some(model) = spec.processor {
            q.args(["-cpu", model]);
        }
        q.args([
            "-m",
            &spec.memory.to_string(),
            "-smp",
            &spec.cpus.to_string(),
            "-rtc",
            &format!("base={}", spec.rtc),
        ]);
        q.args(["-vga", if spec.screen { "std" } else { "none" }]);
        q.arg("-chardev").arg(format!(
            "file,id=line,append=on,path={}",
            self.path("serial.log").display()
        ));
        q.args(["-serial", "chardev:line"]);
        q.arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", self.path("qmp").display()));
        q.args([
            "-object",
            "rng-random,id=dice,filename=/dev/urandom",
            "-device",
            "virtio-rng-pci,rng=dice",
        ]);
        for smbios in &spec.smbios {
            q.args(["-smbios", smbios]);
        }
        q.args(self.flash_arguments());
        let (first_card, first_disk) = if spec.disks_first {
            (spec.disks.len(), 0)
        } else {
            (0, spec.cards.len())
        };
        for (number, (card, tap)) in spec.cards.iter().zip(&self.taps).enumerate() {
            let place = first_card + number;
            q.args(card_arguments(spec.firmware, number, card, tap.as_deref(), place));
        }
        for (number, disk) in spec.disks.iter().enumerate() {
            q.args(disk.arguments(&self.folder, number, first_disk + number));
        }
        q
    }

    fn flash_arguments(&self) -> Vec<String> {
        let Some(flash) = self.spec.firmware.flash() else {
            return Vec::new();
        };
        let code = format!("if=pflash,unit=0,format=raw,readonly=on,file={}", flash.code);
        let settings = format!("if=pflash,unit=1,format=raw,file={}", self.path("vars.fd").display());
        let mut arguments = vec!["-drive".into(), code, "-drive".into(), settings];
        if self.spec.firmware == Firmware::SecureBoot {
            arguments.extend(["-global".into(), "driver=cfi.pflash01,property=secure,value=on".into()]);
        }
        if self.spec.http_boot {
            for version in ["IPv4", "IPv6"] {
                let off = format!("name=opt/org.tianocore/{version}PXESupport,string=n");
                arguments.extend(["-fw_cfg".into(), off]);
            }
        }
        arguments
    }
}

impl Drop for Pc {
    fn drop(&mut self) {
        self.cut_power();
    }
}

fn card_arguments(firmware: Firmware, number: usize, card: &Card, tap: Option<&str>, place: usize) -> Vec<String> {
    let wire = match tap {
        Some(tap) => format!("tap,id=card{number},ifname={tap},script=no,downscript=no"),
        // A card whose socket nobody plugged a cable into: a hub of its own with nobody else on it.
        None => format!("hubport,id=card{number},hubid={}", 100 + number),
    };
    // virtio's own ROM is an iPXE that would take the place of EDK2's PXE client; without it OVMF uses its own.
    let rom = if firmware != Firmware::Bios && card.model.starts_with("virtio") || !card.boots {
        ",romfile="
    } else {
        ""
    };
    let order = if card.boots {
        format!(",bootindex={place}")
    } else {
        String::new()
    };
    let device = format!("{}{rom},netdev=card{number},mac={}{order}", card.model, card.mac);
    vec!["-netdev".into(), wire, "-device".into(), device]
}
