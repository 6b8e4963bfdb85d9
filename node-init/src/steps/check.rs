// SPDX-License-Identifier: Apache-2.0
//! Examines the machine and the chosen disk without writing a byte.

use provisioner_api::{Disk, DiskRef, FailCause, Stage};

use super::report::Meter;
use crate::disk::{self, Aligned, BlockDevice};
use crate::host::Host;

/// MB of RAM that the journey and the installed system need.
const NEED_MB: u64 = 512;

/// Bytes that a kernel manages of 512 MB: it keeps a few for itself (Debian 13's leaves 470 to 480 MB), and graphics
/// on the board take 8 to 64. Less than this was never 512.
const LEAST_MEMORY: u64 = 400 * 1024 * 1024;

/// Bytes of one read of the probe.
const PROBE: usize = 256 * 1024;

/// Places that are read besides the start, the middle and the end: enough to meet a disk that is dying all over, few
/// enough that a slow one is through in seconds.
const PLACES: u64 = 61;

/// Whether the machine's RAM is enough for anything at all.
pub fn memory(bytes: u64) -> Result<(), FailCause> {
    if bytes == 0 || bytes >= LEAST_MEMORY {
        return Ok(());
    }
    Err(FailCause::LowMemory {
        have_mb: bytes / (1024 * 1024),
        need_mb: NEED_MB,
    })
}

/// What was found, a line each, or what stands in the way.
pub fn run(host: &dyn Host, wanted: &DiskRef, need: u64, meter: &Meter<'_>) -> Result<Vec<String>, FailCause> {
    memory(host.memory())?;
    let disks = host.disks();
    let disk = disk::find(&disks, wanted)?;
    let label = disk::label(wanted);
    if disk.size < need {
        return Err(FailCause::DiskTooSmall {
            disk: label,
            need,
            have: disk.size,
        });
    }
    let mut findings = vec![
        format!("{} is {label}, {} bytes", disk.name, disk.size),
        health(disk, &label)?,
    ];
    let unhealthy = |detail: String| FailCause::DiskUnhealthy {
        disk: label.clone(),
        detail,
    };
    let device = host
        .open_disk(&disk.name)
        .map_err(|e| unhealthy(format!("it cannot be opened: {e}")))?;
    let places = places(device.size(), device.sector());
    for (n, place) in (0_u64..).zip(&places) {
        probe(&*device, *place).map_err(|e| unhealthy(format!("reading at byte {place} failed: {e}")))?;
        let permille = u16::try_from(n * 1000 / places.len().max(1) as u64).unwrap_or(1000);
        meter.progress(Stage::Checking, permille, format!("reading samples of {}", disk.name));
    }
    findings.push(format!(
        "{} samples of {} KiB were read without an error",
        places.len(),
        PROBE / 1024
    ));
    Ok(findings)
}

fn health(disk: &Disk, label: &str) -> Result<String, FailCause> {
    match &disk.health {
        Some(health) if !health.passed => Err(FailCause::DiskUnhealthy {
            disk: label.to_owned(),
            detail: health.summary.clone(),
        }),
        Some(health) => Ok(format!("SMART: {}", health.summary)),
        None => Ok("SMART: the disk does not tell".into()),
    }
}

/// Start, end, and between them evenly what looks random enough: the same places every time, so that a failure can
/// be seen again.
fn places(size: u64, sector: u64) -> Vec<u64> {
    let Some(last) = size.checked_sub(PROBE as u64) else {
        return Vec::new();
    };
    let mut places: Vec<u64> = (0..=PLACES + 1)
        .map(|n| (last / (PLACES + 1)).saturating_mul(n))
        .collect();
    places.push(last);
    for place in &mut places {
        *place = *place / sector * sector;
    }
    places.sort_unstable();
    places.dedup();
    places
}

fn probe(device: &dyn BlockDevice, place: u64) -> std::io::Result<()> {
    device.read(&mut Aligned::zeroed(PROBE), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_512_mb_goes_on_and_one_with_384_says_why_not() {
        assert_eq!(memory(470 << 20), Ok(()));
        assert_eq!(
            memory(355 << 20),
            Err(FailCause::LowMemory {
                have_mb: 355,
                need_mb: 512
            })
        );
    }

    #[test]
    fn samples_cover_the_disk_from_its_first_to_its_last_sector() {
        let size = 500_107_862_016;
        let places = places(size, 512);
        assert_eq!(places.first(), Some(&0));
        assert_eq!(places.last(), Some(&(size - PROBE as u64)));
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] <= size / 32));
        assert!(super::places(1000, 512).is_empty());
    }
}
