// SPDX-License-Identifier: Apache-2.0
//! Everything by which node-init changes the machine: disks, mounts, the clock, the power.
//!
//! The steps get it as an argument, so that a test can hand them a machine whose disk loses power, whose clock is
//! memory, and whose reboot is a flag.

#[cfg(test)]
pub(crate) mod fake;
mod real;

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use provisioner_api::{Disk, Partition};

use crate::disk::BlockDevice;

pub use real::RealHost;

/// A machine that can be changed.
pub trait Host: Sync {
    /// The disks as they are now.
    fn disks(&self) -> Vec<Disk>;
    /// Bytes of RAM.
    fn memory(&self) -> u64;
    /// Opens a disk by kernel name, for itself alone.
    fn open_disk(&self, name: &str) -> io::Result<Box<dyn BlockDevice>>;
    /// Mounts a partition that is in no table yet, lets `fill` write into it, and unmounts it: everything is on the
    /// medium when this returns.
    fn with_partition(
        &self,
        disk: &str,
        partition: &Partition,
        fill: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<()>;
    /// Partitions of the disks, by kernel name.
    fn partitions(&self) -> Vec<String>;
    /// A small text file of the system on a partition. Nothing is written to the disk for it, the file system's journal
    /// included.
    fn read_file(&self, partition: &str, path: &str) -> Result<String>;
    /// Sets the system's clock and the battery-backed one.
    fn set_clock(&self, unix_ms: i64) -> Result<()>;
    /// Goes down and comes up again. Returns only where there is nothing to reboot.
    fn reboot(&self);
    /// Waits.
    fn sleep(&self, time: Duration);
}
