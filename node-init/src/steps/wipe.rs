// SPDX-License-Identifier: Apache-2.0
//! Discards the chosen disk where it can be discarded, and clears its tables. That is not an erasure, and nobody is
//! told that it was one.

use provisioner_api::{Disk, DiskRef, FailCause, Stage};

use super::report::Meter;
use crate::disk::{self, BlockDevice};
use crate::host::Host;
use crate::write::{Trouble, clear_ends};

/// Bytes cleared at the start of each partition: every file system's magic number lies in the first 128 KiB.
const MAGIC: u64 = 128 * 1024;

/// Whether the disk took the discard.
pub fn run(host: &dyn Host, wanted: &DiskRef, meter: &Meter<'_>) -> Result<bool, FailCause> {
    let disks = host.disks();
    let disk = disk::find(&disks, wanted)?;
    let label = disk::label(wanted);
    let device = host.open_disk(&disk.name).map_err(|e| FailCause::DiskWrite {
        disk: label.clone(),
        offset: 0,
        detail: e.to_string(),
    })?;
    wipe(&*device, disk, meter).map_err(|trouble| trouble.cause(&label, ""))
}

fn wipe(device: &dyn BlockDevice, disk: &Disk, meter: &Meter<'_>) -> Result<bool, Trouble> {
    meter.progress(Stage::Wiping, 0, format!("discarding {}", disk.name));
    // Old disks have no notion of it, and some refuse; the tables go in any case.
    let discarded = device.discard().is_ok();
    meter.progress(Stage::Wiping, 700, format!("clearing the tables of {}", disk.name));
    for partition in &disk.contents.partitions {
        let start = partition.start / device.sector() * device.sector();
        let length = MAGIC.min(device.size().saturating_sub(start)) / device.sector() * device.sector();
        if length > 0 {
            device.zero(start, length).map_err(|e| Trouble::Disk {
                offset: start,
                detail: e.to_string(),
            })?;
        }
    }
    clear_ends(device)?;
    // The kernel still shows the partitions that were there; it may go on doing so until the next start.
    let _ = device.reread_table();
    meter.progress(Stage::Wiping, 1000, format!("{} is empty", disk.name));
    Ok(discarded)
}
