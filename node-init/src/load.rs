// SPDX-License-Identifier: Apache-2.0
//! How busy the node is: what a heartbeat carries, read with as little work as can be.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sys::statvfs::statvfs;
use provisioner_api::Load;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, System};

/// Where libvirt's QEMU driver leaves one file a running guest; asking libvirt would cost a process a heartbeat.
const GUESTS: &str = "run/libvirt/qemu";

/// Keeps what the share of processors in use is measured against: the last heartbeat.
pub struct Meter {
    system: System,
    root: PathBuf,
}

impl Meter {
    /// A meter for the machine whose files are below `root` (`/` outside tests).
    pub fn new(root: &Path) -> anyhow::Result<Self> {
        let mut system = System::new().context("looking at the processors")?;
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        Ok(Self {
            system,
            root: root.into(),
        })
    }

    /// The load now, processors since the last call. `clock_offset` comes from chrony. What cannot be read is zero:
    /// a sign of life matters more than its figures.
    pub fn read(&mut self, clock_offset: Option<f64>) -> Load {
        self.system
            .refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        self.system
            .refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (disk_used, disk_total) = disk(&self.root);
        let (net_received, net_sent) = traffic(&self.root.join("sys/class/net"));
        Load {
            cpu: (self.system.global_cpu_usage() / 100.0).clamp(0.0, 1.0),
            load1: System::load_average().map_or(0.0, |load| load.one),
            memory_used: self.system.used_memory(),
            memory_total: self.system.total_memory(),
            disk_used,
            disk_total,
            net_received,
            net_sent,
            guests: guests(&self.root.join(GUESTS)),
            uptime: System::uptime().unwrap_or(0),
            clock_offset,
        }
    }
}

/// Bytes used and there on the root file system, as `df` counts them.
fn disk(root: &Path) -> (u64, u64) {
    statvfs(root).map_or((0, 0), |fs| {
        let total = fs.blocks().saturating_mul(fs.fragment_size());
        (
            total.saturating_sub(fs.blocks_free().saturating_mul(fs.fragment_size())),
            total,
        )
    })
}

/// Bytes received and sent by everything that has hardware behind it; bridges would count them twice.
fn traffic(class: &Path) -> (u64, u64) {
    let count = |card: &Path, name| {
        let text = fs::read_to_string(card.join("statistics").join(name));
        text.ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let entries = fs::read_dir(class)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    entries
        .filter(|card| card.join("device").exists())
        .fold((0_u64, 0_u64), |(received, sent), card| {
            (
                received.saturating_add(count(&card, "rx_bytes")),
                sent.saturating_add(count(&card, "tx_bytes")),
            )
        })
}

/// Running guests: libvirt keeps the state of each in `NAME.xml` from its start to its end.
fn guests(folder: &Path) -> u32 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let running = entries
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "xml"))
        .count();
    u32::try_from(running).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn traffic_is_counted_once_on_cards_and_not_again_on_bridges() {
        let root = machine(&[
            ("eth0/device/x", ""),
            ("eth0/statistics/rx_bytes", "1000\n"),
            ("eth0/statistics/tx_bytes", "20\n"),
            ("eth1/device/x", ""),
            ("eth1/statistics/rx_bytes", "garbage"),
            ("br0/statistics/rx_bytes", "1000\n"),
        ]);
        assert_eq!(traffic(root.path()), (1000, 20));
    }

    #[test]
    fn guests_are_counted_while_they_run() {
        let root = machine(&[
            ("run/libvirt/qemu/a.pid", "1"),
            ("run/libvirt/qemu/a.xml", ""),
            ("run/libvirt/qemu/b.c.xml", ""),
            ("run/libvirt/qemu/driver.pid", "2"),
        ]);
        assert_eq!(Meter::new(root.path()).unwrap().read(None).guests, 2);
        assert_eq!(guests(&root.path().join("nowhere")), 0);
    }

    #[test]
    fn a_load_is_of_this_machine_and_within_bounds() {
        let load = Meter::new(Path::new("/")).unwrap().read(Some(-0.5));
        assert!((0.0..=1.0).contains(&load.cpu) && load.clock_offset == Some(-0.5));
        assert!(load.memory_used <= load.memory_total && load.memory_total > 0);
        assert!(load.disk_used <= load.disk_total && load.disk_total > 0);
        assert!(load.uptime > 0);
    }
}
