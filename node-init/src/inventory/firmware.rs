// SPDX-License-Identifier: Apache-2.0
//! How the machine was started, and the maker's labels, as the kernel shows them below `/sys`.

use std::path::Path;

use provisioner_api::{FirmwareType, SecureBoot, Smbios};

use super::sysfs;

/// UEFI specification 2.10, section 3.3: `EFI_GLOBAL_VARIABLE`.
const SECURE_BOOT_VARIABLE: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// BIOS, or UEFI of which width.
pub(crate) fn firmware(root: &Path) -> FirmwareType {
    match sysfs::number(&root.join("sys/firmware/efi/fw_platform_size")) {
        Some(32) => FirmwareType::Uefi32,
        Some(_) => FirmwareType::Uefi64,
        None if root.join("sys/firmware/efi").is_dir() => FirmwareType::Uefi64,
        None => FirmwareType::Bios,
    }
}

/// Secure Boot: four bytes of attributes, then the value.
pub(crate) fn secure_boot(root: &Path) -> SecureBoot {
    match sysfs::bytes(&root.join(SECURE_BOOT_VARIABLE)).as_deref() {
        Some([_, _, _, _, 1]) => SecureBoot::On,
        Some([_, _, _, _, _]) => SecureBoot::Off,
        _ => SecureBoot::Unsupported,
    }
}

/// Version of the trusted platform module.
pub(crate) fn tpm(root: &Path) -> Option<String> {
    let device = root.join("sys/class/tpm/tpm0");
    match sysfs::number(&device.join("tpm_version_major")) {
        Some(2) => Some("2.0".into()),
        Some(_) => Some("1.2".into()),
        // Kernels before 5.6 show the version nowhere, but 1.2 modules alone have `pcrs`.
        None if device.join("device/pcrs").exists() => Some("1.2".into()),
        None => None,
    }
}

/// The labels. The kernel has parsed the tables, checked the firmware's checksums and put the UUID's bytes in the
/// order of its SMBIOS version; a UUID of all ones or zeros it leaves out.
pub(crate) fn smbios(root: &Path) -> Smbios {
    let label = |name: &str| sysfs::label(&root.join("sys/class/dmi/id").join(name));
    Smbios {
        system_manufacturer: label("sys_vendor"),
        system_product: label("product_name"),
        system_serial: label("product_serial"),
        system_uuid: label("product_uuid").map(|uuid| uuid.to_lowercase()),
        board_manufacturer: label("board_vendor"),
        board_product: label("board_name"),
        board_serial: label("board_serial"),
        chassis_serial: label("chassis_serial"),
        asset_tag: label("chassis_asset_tag"),
        bios_vendor: label("bios_vendor"),
        bios_version: label("bios_version"),
        bios_date: label("bios_date"),
    }
}
