// SPDX-License-Identifier: Apache-2.0
//! The file systems that the kernel shows itself through.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};

/// Source, place, type, options, flags. What a plain initramfs lacks and everything later reads.
const MOUNTS: [(&str, &str, &str, &str); 5] = [
    ("proc", "/proc", "proc", ""),
    ("sysfs", "/sys", "sysfs", ""),
    ("devtmpfs", "/dev", "devtmpfs", "mode=0755"),
    ("tmpfs", "/run", "tmpfs", "mode=0755,size=16m"),
    ("tmpfs", "/tmp", "tmpfs", "mode=1777,size=16m"),
];

/// UEFI's variables, for Secure Boot's state; only to look.
const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";

/// A kernel that panics says so and starts over after this many seconds, instead of standing there for ever.
const PANIC_REBOOT: &str = "30";

/// Mounts all of them. One that is mounted already, or that the kernel does not have, is nobody's trouble here.
pub fn mount_all() {
    let flags = MsFlags::MS_NOSUID;
    for (source, place, kind, options) in MOUNTS {
        let _ = fs::create_dir_all(place);
        let _ = mount(Some(source), place, Some(kind), flags, Some(options));
    }
    if Path::new(EFI_VARIABLES).is_dir() {
        let _ = mount(
            Some("efivarfs"),
            EFI_VARIABLES,
            Some("efivarfs"),
            flags | MsFlags::MS_RDONLY,
            None::<&str>,
        );
    }
    let _ = fs::write("/proc/sys/kernel/panic", PANIC_REBOOT);
}
