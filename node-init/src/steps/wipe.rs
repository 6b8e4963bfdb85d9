// SPDX-License-Identifier: Apache-2.0
//! Discards the chosen disk where it can be discarded, and clears its tables and every label of a file system, an array
//! or a volume group, in its partitions too. That is not an erasure, and nobody is told that it was one.

use provisioner_api::{Disk, DiskRef, FailCause, Stage};

use super::report::Meter;
use crate::disk::{self, BlockDevice};
use crate::host::Host;
use crate::write::{Trouble, clear_ends, clear_labels};

/// Whether every disk took the discard. None is touched before all are found.
pub fn run(host: &dyn Host, wanted: &DiskRef, second: Option<&DiskRef>, meter: &Meter<'_>) -> Result<bool, FailCause> {
    let disks = host.disks();
    let wanted = std::iter::once(wanted).chain(second);
    let found: Vec<(&Disk, String)> = wanted
        .map(|wanted| Ok((disk::find(&disks, wanted)?, disk::label(wanted))))
        .collect::<Result<_, FailCause>>()?;
    let mut discarded = true;
    for (disk, label) in found {
        discarded &= wipe_one(host, disk, &label, meter)?;
    }
    Ok(discarded)
}

fn wipe_one(host: &dyn Host, disk: &Disk, label: &str, meter: &Meter<'_>) -> Result<bool, FailCause> {
    let device = host.open_disk(&disk.name).map_err(|e| FailCause::DiskWrite {
        disk: label.to_owned(),
        offset: 0,
        detail: e.to_string(),
    })?;
    wipe(&*device, disk, meter).map_err(|trouble| trouble.cause(label, ""))
}

fn wipe(device: &dyn BlockDevice, disk: &Disk, meter: &Meter<'_>) -> Result<bool, Trouble> {
    meter.progress(Stage::Wiping, 0, format!("discarding {}", disk.name));
    // Old disks have no notion of it, and some refuse; the tables go in any case.
    let discarded = device.discard().is_ok();
    meter.progress(Stage::Wiping, 700, format!("clearing the tables of {}", disk.name));
    // Partitions first: where they are is known only as long as there is a table.
    for partition in &disk.contents.partitions {
        clear_labels(
            device,
            &(partition.start..partition.start.saturating_add(partition.size)),
        )?;
    }
    clear_ends(device)?;
    // The kernel still shows the partitions that were there; it may go on doing so until the next start.
    let _ = device.reread_table();
    meter.progress(Stage::Wiping, 1000, format!("the tables of {} are cleared", disk.name));
    Ok(discarded)
}
