// SPDX-License-Identifier: Apache-2.0
//! Whether guests can run on hardware virtualization: really tried, and if not, why not.
#![allow(unsafe_code)] // two ioctls without arguments on /dev/kvm, which no safe crate wraps

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use provisioner_api::{Cpu, Kvm, VirtExtension};

/// `KVM_GET_API_VERSION`, linux/kvm.h: `_IO(0xAE, 0x00)`.
const KVM_GET_API_VERSION: u64 = 0xAE00;
/// `KVM_CREATE_VM`, linux/kvm.h: `_IO(0xAE, 0x01)`; its argument is the machine type, 0 the default.
const KVM_CREATE_VM: u64 = 0xAE01;
/// The only version there has been since Linux 2.6.22.
const API_VERSION: i32 = 12;

/// Intel's `IA32_FEATURE_CONTROL` (SDM volume 4, table 2-2).
const IA32_FEATURE_CONTROL: u64 = 0x3A;
/// AMD's `VM_CR` (APM volume 2, section 15.30.1).
const AMD_VM_CR: u64 = 0xC001_0114;

/// Tries `/dev/kvm` below `root`; a processor that hides its extension because the firmware switched it off is
/// recognised by its model-specific register and gets its extension back in `cpu`.
pub(crate) fn examine(root: &Path, cpu: &mut Cpu) {
    let switched_off = switched_off_by_firmware(root, &cpu.vendor);
    if let (Some(extension), None) = (switched_off, cpu.virtualization) {
        cpu.virtualization = Some(extension);
    }
    cpu.kvm = match create_guest(&root.join("dev/kvm")) {
        Ok(()) => Kvm::Usable,
        Err(detail) => Kvm::Unusable {
            why: reason(cpu.virtualization, switched_off.is_some(), &detail),
        },
    };
}

fn reason(extension: Option<VirtExtension>, switched_off: bool, detail: &str) -> String {
    let name = match extension {
        None => return "the processor has no VT-x or AMD-V".into(),
        Some(VirtExtension::VtX) => "VT-x",
        Some(VirtExtension::AmdV) => "AMD-V",
    };
    if switched_off {
        format!("{name} is switched off in the firmware set-up; switch it on there")
    } else {
        format!("the processor has {name}, but {detail}")
    }
}

fn create_guest(device: &Path) -> Result<(), String> {
    let kvm = File::options()
        .read(true)
        .write(true)
        .open(device)
        .map_err(|e| format!("/dev/kvm: {e}"))?;
    // SAFETY: the request takes no pointer, and the descriptor is open for the whole call.
    let version = unsafe { nix::libc::ioctl(kvm.as_raw_fd(), KVM_GET_API_VERSION as _, 0) };
    if version != API_VERSION {
        return Err(format!("/dev/kvm speaks version {version} instead of {API_VERSION}"));
    }
    // SAFETY: as above; a result that is not negative is a new descriptor that nobody else owns.
    let guest = unsafe { nix::libc::ioctl(kvm.as_raw_fd(), KVM_CREATE_VM as _, 0) };
    if guest < 0 {
        return Err(format!("creating a guest failed: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: see above; closing it ends the guest that never ran.
    drop(unsafe { OwnedFd::from_raw_fd(guest) });
    Ok(())
}

/// The extension that the firmware switched off and locked, if it did. Linux since 5.6 then hides the flag.
fn switched_off_by_firmware(root: &Path, vendor: &str) -> Option<VirtExtension> {
    let msr = File::open(root.join("dev/cpu/0/msr")).ok()?;
    let read = |register: u64| {
        let mut raw = [0; 8];
        // A processor without the register makes the kernel answer EIO.
        msr.read_exact_at(&mut raw, register).ok()?;
        Some(u64::from_le_bytes(raw))
    };
    match vendor {
        // Bit 0: locked. Bit 2: VMX outside SMX.
        "GenuineIntel" => (read(IA32_FEATURE_CONTROL)? & 0b101 == 0b001).then_some(VirtExtension::VtX),
        // Bit 4: SVMDIS.
        "AuthenticAMD" => (read(AMD_VM_CR)? & 0b1_0000 != 0).then_some(VirtExtension::AmdV),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_machine_without_kvm_says_why() {
        let root = tempfile::tempdir().unwrap();
        let mut cpu = Cpu::default();
        examine(root.path(), &mut cpu);
        assert_eq!(
            cpu.kvm,
            Kvm::Unusable {
                why: "the processor has no VT-x or AMD-V".into()
            }
        );
    }

    #[test]
    fn vt_x_that_the_firmware_locked_away_is_told_from_none() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("dev/cpu/0")).unwrap();
        let mut msr = vec![0; 0x3A];
        msr.extend(1_u64.to_le_bytes());
        std::fs::write(root.path().join("dev/cpu/0/msr"), msr).unwrap();
        let mut cpu = Cpu {
            vendor: "GenuineIntel".into(),
            ..Cpu::default()
        };
        examine(root.path(), &mut cpu);
        assert_eq!(cpu.virtualization, Some(VirtExtension::VtX));
        let Kvm::Unusable { why } = cpu.kvm else {
            panic!("there is no /dev/kvm")
        };
        assert_eq!(why, "VT-x is switched off in the firmware set-up; switch it on there");
    }
}
