// SPDX-License-Identifier: Apache-2.0
//! What a machine is made of, as node-init found it.
//!
//! Every field is what was read, not what was concluded. `None` means "could not be read", never "zero".

use serde::{Deserialize, Serialize};

/// Everything that node-init could find out about the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Inventory {
    /// Processor.
    pub cpu: Cpu,
    /// Bytes of RAM that the kernel manages.
    pub memory: u64,
    /// Every disk, mounted or not, removable ones included, by kernel name.
    pub disks: Vec<Disk>,
    /// Every network card that has hardware behind it, by kernel name.
    pub nics: Vec<Nic>,
    /// The maker's labels.
    pub smbios: Smbios,
    /// How the machine was started.
    pub firmware: FirmwareType,
    /// Secure Boot, as the firmware reports it.
    pub secure_boot: SecureBoot,
    /// `1.2` or `2.0` where there is a trusted platform module.
    pub tpm: Option<String>,
    /// The battery-backed clock, read before node-init set it.
    pub rtc: Rtc,
    /// Hardware address by which the firmware booted, lower case with colons, where no card of the system has it: a dock
    /// or a USB card shows firmware the machine's address and the system its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware_mac: Option<String>,
}

/// The processor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cpu {
    /// Maker's name for itself: `GenuineIntel`, `AuthenticAMD`.
    pub vendor: String,
    /// Model name as the processor gives it.
    pub model: String,
    /// Physical processors.
    pub sockets: u32,
    /// Cores of all sockets.
    pub cores: u32,
    /// Threads of all cores.
    pub threads: u32,
    /// Whether it runs 64-bit code (flag `lm`).
    pub bits64: bool,
    /// Hardware virtualization that the processor announces.
    pub virtualization: Option<VirtExtension>,
    /// Whether `/dev/kvm` can really be used.
    pub kvm: Kvm,
    /// x86-64 micro-architecture level that all cores reach, 1 to 4; 0 on a 32-bit processor.
    #[cfg_attr(feature = "openapi", schema(maximum = 4))]
    pub level: u8,
}

/// Hardware virtualization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum VirtExtension {
    /// Intel, flag `vmx`.
    VtX,
    /// AMD, flag `svm`.
    AmdV,
}

/// Whether guests can run on hardware virtualization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Kvm {
    /// `/dev/kvm` answered `KVM_GET_API_VERSION` and created a virtual machine.
    Usable,
    /// It cannot be used, in words for a person: "switched off in the firmware set-up", "no VT-x or AMD-V".
    Unusable {
        /// Why, and what to do.
        why: String,
    },
}

impl Default for Kvm {
    fn default() -> Self {
        Self::Unusable {
            why: "not examined".into(),
        }
    }
}

/// One disk, as the kernel shows it, and what lies on it.
#[allow(clippy::struct_excessive_bools)] // four facts of sysfs that do not depend on each other
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Disk {
    /// Kernel name: `sda`, `nvme0n1`, `vda`. Changes from boot to boot; never identifies a disk.
    pub name: String,
    /// Stable place in the machine (`/dev/disk/by-path` without the folder), where it has one.
    pub by_path: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World-wide name.
    pub wwn: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Spinning.
    pub rotational: bool,
    /// The medium can be taken out.
    pub removable: bool,
    /// Cannot be written.
    pub read_only: bool,
    /// How it is attached.
    pub transport: Transport,
    /// What the disk says of its health, where it can be asked.
    pub health: Option<DiskHealth>,
    /// Whether any of it is mounted or otherwise in use.
    pub in_use: bool,
    /// What is on it.
    pub contents: DiskContents,
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names of the buses say it
pub enum Transport {
    Ata,
    Nvme,
    Usb,
    Scsi,
    Virtio,
    Mmc,
    #[default]
    Other,
}

/// SMART's verdict on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiskHealth {
    /// Whether the disk itself thinks that it works.
    pub passed: bool,
    /// Reallocated and pending sectors, or `NVMe`'s media errors, where told.
    pub bad_sectors: Option<u64>,
    /// Hours under power, where told.
    pub power_on_hours: Option<u64>,
    /// One line for a person.
    pub summary: String,
}

/// How much is known of what a disk holds. Only [`Self::Empty`] means that nothing would be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ContentsState {
    /// Every place that was looked at could be read, and all of them hold one and the same byte.
    Empty,
    /// A partition table, a file system, or a member of an array was recognised.
    Known,
    /// A place could not be read: nobody knows what is there.
    Unreadable,
    /// There is data that nothing recognises: encryption without a header, a damaged table, a word of a later node-init.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What lies on a disk, found without writing to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiskContents {
    /// How much is known of what it holds. Absent in what an old node-init sends, which is then not known.
    #[serde(default)]
    pub state: ContentsState,
    /// Partition table: `gpt`, `mbr`, or nothing.
    pub table: Option<String>,
    /// Partitions in disk order.
    pub partitions: Vec<DiskPartition>,
    /// One line for a person: "empty", "Windows, 3 partitions, 212 GB", "unknown data", "cannot be read".
    pub summary: String,
}

/// One partition of a disk (or the whole disk, number 0, where a file system needs no table).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiskPartition {
    /// Number in the table.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What the table calls it: "EFI system", "Microsoft basic data", "Linux".
    pub kind: String,
    /// What lies in it: `ntfs`, `ext4`, `vfat`, `xfs`, `btrfs`, `swap`, `luks`, `lvm`, `raid`, else libblkid's name.
    pub filesystem: Option<String>,
    /// Label of the file system or partition.
    pub label: Option<String>,
}

/// One network card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Nic {
    /// Kernel name.
    pub name: String,
    /// Permanent hardware address, lower case with colons.
    pub mac: String,
    /// Kernel driver.
    pub driver: Option<String>,
    /// Whether a cable with somebody at its other end is plugged in.
    pub link: bool,
    /// Mbit/s, where there is a link and the driver tells.
    pub speed: Option<u32>,
    /// Stable place in the machine: the PCI address or USB path.
    pub bus_path: Option<String>,
    /// Whether this card moves from machine to machine (USB) and so says little about who this is.
    pub usb: bool,
    /// Whether this is the card that the machine booted from.
    pub booted: bool,
    /// The port at the other end of the cable, where LLDP was heard.
    pub switch_port: Option<SwitchPort>,
}

/// The other end of a cable, as LLDP (IEEE 802.1AB) announces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SwitchPort {
    /// Chassis ID.
    pub chassis: String,
    /// Port ID.
    pub port: String,
    /// System name, where announced.
    pub system: Option<String>,
}

/// The maker's labels (SMBIOS types 0 to 3), exactly as written, placeholders included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs)] // SMBIOS's own words
pub struct Smbios {
    pub system_manufacturer: Option<String>,
    pub system_product: Option<String>,
    pub system_serial: Option<String>,
    /// Lower case with dashes, in the byte order that Linux and iPXE print.
    pub system_uuid: Option<String>,
    pub board_manufacturer: Option<String>,
    pub board_product: Option<String>,
    pub board_serial: Option<String>,
    pub chassis_serial: Option<String>,
    pub asset_tag: Option<String>,
    pub bios_vendor: Option<String>,
    pub bios_version: Option<String>,
    pub bios_date: Option<String>,
}

/// How the machine was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FirmwareType {
    /// PC BIOS, or UEFI in its compatibility mode.
    #[default]
    Bios,
    /// 32-bit UEFI.
    Uefi32,
    /// 64-bit UEFI.
    Uefi64,
}

/// Secure Boot, as the firmware reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SecureBoot {
    /// The firmware checks signatures.
    On,
    /// The firmware could, and does not.
    Off,
    /// BIOS, or UEFI without it.
    #[default]
    Unsupported,
}

/// The battery-backed clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rtc {
    /// Seconds that it was ahead of the controller (negative: behind) when the machine came up.
    pub offset: Option<i64>,
    /// Off by more than a drifting crystal explains: the battery is empty.
    pub battery_suspect: bool,
}
