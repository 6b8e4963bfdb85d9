// SPDX-License-Identifier: Apache-2.0
//! A machine in memory: one disk that can lose power, a folder for its root partition, a clock that is a number.
#![allow(clippy::unwrap_used)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Result;
use provisioner_api::{Disk, DiskContents, DiskRef, Partition, Transport};

use super::Host;
use crate::disk::{Aligned, BlockDevice};
use crate::write::fakes::FakeDisk;

pub(crate) struct FakeHost {
    pub(crate) disks: Vec<Disk>,
    pub(crate) memory: u64,
    pub(crate) device: Arc<FakeDisk>,
    /// Further disks, by kernel name.
    pub(crate) others: Vec<(String, Arc<FakeDisk>)>,
    pub(crate) target: tempfile::TempDir,
    pub(crate) clock: AtomicI64,
    pub(crate) rebooted: AtomicBool,
}

impl FakeHost {
    /// A PC with one SATA disk.
    pub(crate) fn with(device: FakeDisk) -> Self {
        let disk = Disk {
            name: "sda".into(),
            by_path: Some("pci-0000:00:1f.2-ata-1.0".into()),
            model: Some("FAKE".into()),
            serial: Some("D1".into()),
            wwn: None,
            size: device.size(),
            rotational: true,
            removable: false,
            read_only: false,
            transport: Transport::Ata,
            health: None,
            in_use: false,
            contents: DiskContents::default(),
        };
        Self {
            disks: vec![disk],
            memory: 480 << 20,
            device: Arc::new(device),
            others: Vec::new(),
            target: tempfile::tempdir().unwrap(),
            clock: AtomicI64::new(0),
            rebooted: AtomicBool::new(false),
        }
    }

    /// One disk more.
    pub(crate) fn plug_in(&mut self, name: &str, serial: &str, device: FakeDisk) -> Arc<FakeDisk> {
        self.disks.push(Disk {
            name: name.into(),
            serial: Some(serial.into()),
            by_path: None,
            size: device.size(),
            ..self.disks[0].clone()
        });
        let device = Arc::new(device);
        self.others.push((name.into(), Arc::clone(&device)));
        device
    }

    /// What an order calls the disk.
    pub(crate) fn disk(&self) -> DiskRef {
        DiskRef {
            wwn: None,
            serial: Some("D1".into()),
            by_path: None,
            size: self.disks[0].size,
        }
    }
}

impl Host for FakeHost {
    fn disks(&self) -> Vec<Disk> {
        self.disks.clone()
    }
    fn memory(&self) -> u64 {
        self.memory
    }
    fn open_disk(&self, name: &str) -> io::Result<Box<dyn BlockDevice>> {
        let others = self.others.iter().find(|(other, _)| other == name);
        let device = others.map_or(&self.device, |(_, device)| device);
        assert!(
            name == "sda" || !Arc::ptr_eq(device, &self.device),
            "there is no {name}"
        );
        Ok(Box::new(Shared(Arc::clone(device))))
    }
    fn with_partition(&self, _: &str, _: &Partition, fill: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
        fill(self.target.path())
    }
    fn partitions(&self) -> Vec<String> {
        vec!["sda1".into()]
    }
    fn read_file(&self, partition: &str, path: &str) -> Result<String> {
        assert_eq!(partition, "sda1");
        Ok(std::fs::read_to_string(self.target.path().join(path))?)
    }
    fn set_clock(&self, unix_ms: i64) -> Result<()> {
        self.clock.store(unix_ms, Ordering::SeqCst);
        Ok(())
    }
    fn reboot(&self) {
        self.rebooted.store(true, Ordering::SeqCst);
    }
    fn sleep(&self, _: Duration) {}
}

struct Shared(Arc<FakeDisk>);

impl BlockDevice for Shared {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn sector(&self) -> u64 {
        self.0.sector()
    }
    fn read(&self, buffer: &mut Aligned, offset: u64) -> io::Result<()> {
        self.0.read(buffer, offset)
    }
    fn write(&self, buffer: &Aligned, length: usize, offset: u64) -> io::Result<()> {
        self.0.write(buffer, length, offset)
    }
    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.zero(offset, length)
    }
    fn discard(&self) -> io::Result<()> {
        self.0.discard()
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn reread_table(&self) -> io::Result<()> {
        self.0.reread_table()
    }
}
