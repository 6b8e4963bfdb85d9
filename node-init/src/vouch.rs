// SPDX-License-Identifier: Apache-2.0
//! The key of the installed system vouches for the start in RAM that is to install it again.
//!
//! Cards, serials and UUIDs can be copied; the key on the disk cannot be read off a label. The installed life says whether
//! the life in RAM will find its key; that one reads it, without a write to the disk, only when the controller asks for it.

use std::path::Path;

use crate::client::Client;
use crate::host::Host;
use crate::key::NodeKey;
use crate::screen::Screen;
use crate::serve::KEY;

/// The only file system that the life in RAM has for sure: it is the one of our images.
const FILE_SYSTEM: &str = "ext4";

/// Mount points that would hide the key from whoever looks at the root file system alone.
const IN_BETWEEN: [&str; 3] = ["/var", "/var/lib", "/var/lib/node-init"];

/// Partitions that are looked at; a PC has a handful.
const MOST: usize = 64;

/// Whether the next start in RAM can read this system's key: it lies on an ext4 that is a partition of a disk by itself.
pub fn is_readable_from_ram(root: &Path) -> bool {
    let mounts = std::fs::read_to_string(root.join("proc/self/mounts")).unwrap_or_default();
    let mounts: Vec<[&str; 3]> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            Some([fields.next()?, fields.next()?, fields.next()?])
        })
        .collect();
    let is_partition = |device: &str| {
        let name = device.strip_prefix("/dev/").filter(|name| !name.contains('/'));
        name.is_some_and(|name| root.join("sys/class/block").join(name).join("partition").exists())
    };
    let hidden = mounts.iter().any(|[_, point, _]| IN_BETWEEN.contains(point));
    let plain = mounts
        .iter()
        .any(|[device, point, kind]| *point == "/" && *kind == FILE_SYSTEM && is_partition(device));
    plain && !hidden
}

/// Looks for the key of an installed system on the disks, and lets it vouch for the start with the key `start` (SHA-256,
/// hex). Whether the controller has taken its word.
pub fn by_disk(host: &dyn Host, client: &Client, start: &str, screen: &Screen) -> bool {
    screen.say("looking for the key of the installed system");
    for partition in host.partitions().into_iter().take(MOST) {
        // Most are no ext4, or no system of ours.
        let Ok(pem) = host.read_file(&partition, KEY) else {
            continue;
        };
        let Ok(key) = NodeKey::from_pem(&pem) else { continue };
        let vouched = client.with_key(&key).and_then(|client| client.vouch(start));
        match vouched {
            Ok(()) => {
                screen.log(&format!("the key on {partition} vouches for this start"));
                return true;
            }
            Err(error) => screen.log(&format!("the key on {partition}: {error}")),
        }
    }
    screen.log("no key on the disks vouches for this start");
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn machine(mounts: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        file("proc/self/mounts", mounts);
        file("sys/class/block/sda2/partition", "2\n");
        file("sys/class/block/dm-0/dm/name", "vg-root\n");
        root
    }

    #[test]
    fn a_key_on_a_plain_ext4_will_be_found_and_one_behind_lvm_another_file_system_or_mount_will_not() {
        let found = |mounts: &str| is_readable_from_ram(machine(mounts).path());
        assert!(found(
            "proc /proc proc rw 0 0\n/dev/sda2 / ext4 rw,relatime 0 0\n/dev/sda1 /boot/efi vfat rw 0 0\n"
        ));
        for hidden in [
            "/dev/mapper/vg-root / ext4 rw 0 0\n",
            "/dev/dm-0 / ext4 rw 0 0\n",
            "/dev/sda2 / btrfs rw 0 0\n",
            "/dev/root / ext4 rw 0 0\n",
            "/dev/sda2 / ext4 rw 0 0\n/dev/sdb1 /var ext4 rw 0 0\n",
            "",
        ] {
            assert!(!found(hidden), "{hidden}");
        }
    }
}
