// SPDX-License-Identifier: Apache-2.0
//! The machine that this process runs on.
#![allow(unsafe_code)] // the ioctl that sets the battery-backed clock, which no safe crate wraps

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use provisioner_api::{Disk, Partition};

use super::Host;
use crate::disk::{BlockDevice, KernelDisk, add_partition, delete_partition};
use crate::inventory::{self, Senses};

/// Where the new system is mounted while it is set up.
const TARGET: &str = "/run/target";

/// Where a system that is there already is mounted while it is looked at.
const LOOKED_AT: &str = "/run/looked-at";
/// Bytes of a small file: a key has some hundred.
const LARGEST: u64 = 16 * 1024;

/// The kernel makes a partition's device within milliseconds; a slow USB bridge is not a case here.
const DEVICE_TRIES: u32 = 50;
/// Pause between two looks.
const DEVICE_PAUSE: Duration = Duration::from_millis(100);

/// The real machine, its files below `/`.
pub struct RealHost;

impl Host for RealHost {
    fn disks(&self) -> Vec<Disk> {
        inventory::disks(Path::new("/"), &Senses::default())
    }

    fn memory(&self) -> u64 {
        inventory::memory(Path::new("/"))
    }

    fn open_disk(&self, name: &str) -> io::Result<Box<dyn BlockDevice>> {
        Ok(Box::new(KernelDisk::open(&Path::new("/dev").join(name))?))
    }

    fn with_partition(
        &self,
        disk: &str,
        partition: &Partition,
        fill: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<()> {
        let whole = File::options()
            .read(true)
            .write(true)
            .open(Path::new("/dev").join(disk))
            .context("opening the disk")?;
        // A leftover of an earlier try would be in the way.
        let _ = delete_partition(&whole, partition.number);
        add_partition(&whole, partition.number, partition.start, partition.size).context("announcing the partition")?;
        let filled = mounted(&device_of(disk, partition.number), fill);
        let forgotten = delete_partition(&whole, partition.number).context("forgetting the partition");
        filled.and(forgotten)
    }

    fn partitions(&self) -> Vec<String> {
        let Ok(devices) = fs::read_dir("/sys/class/block") else {
            return Vec::new();
        };
        let partitions = devices
            .flatten()
            .filter(|device| device.path().join("partition").exists());
        let mut names: Vec<String> = partitions
            .filter_map(|partition| partition.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn read_file(&self, partition: &str, path: &str) -> Result<String> {
        let device = Path::new("/dev").join(partition);
        let target = Path::new(LOOKED_AT);
        fs::create_dir_all(target).context("making the mount point")?;
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        // ext4(5), noload: a journal that was not played back stays as it is.
        mount(Some(&device), target, Some("ext4"), flags, Some("noload"))
            .with_context(|| format!("mounting {}", device.display()))?;
        let text = small_file(&target.join(path));
        let unmounted = umount(target).context("unmounting what was looked at");
        let text = text?;
        unmounted?;
        Ok(text)
    }

    fn set_clock(&self, unix_ms: i64) -> Result<()> {
        let time = TimeSpec::new(unix_ms.div_euclid(1000), unix_ms.rem_euclid(1000) * 1_000_000);
        clock_settime(ClockId::CLOCK_REALTIME, time).context("setting the clock")?;
        set_rtc(unix_ms).context("setting the battery-backed clock")
    }

    fn reboot(&self) {
        nix::unistd::sync();
        // Returns only when this process may not.
        let _ = reboot(RebootMode::RB_AUTOBOOT);
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}

fn small_file(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    // A file of any length may lie there.
    file.take(LARGEST).read_to_string(&mut text).context("reading it")?;
    Ok(text)
}

fn mounted(device: &Path, fill: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for _ in 0..DEVICE_TRIES {
        if device.exists() {
            break;
        }
        thread::sleep(DEVICE_PAUSE);
    }
    let target = Path::new(TARGET);
    fs::create_dir_all(target).context("making the mount point")?;
    mount(Some(device), target, Some("ext4"), MsFlags::MS_NOATIME, None::<&str>)
        .with_context(|| format!("mounting {}", device.display()))?;
    let filled = fill(target);
    let unmounted = umount(target).context("unmounting the new system");
    filled.and(unmounted)
}

/// `sda1`, but `nvme0n1p1`: the kernel puts a `p` after a name that ends in a digit.
fn device_of(disk: &str, number: u32) -> PathBuf {
    let p = if disk.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    Path::new("/dev").join(format!("{disk}{p}{number}"))
}

/// `struct rtc_time`, linux/rtc.h.
#[repr(C)]
#[derive(Default)]
struct RtcTime {
    seconds: libc::c_int,
    minutes: libc::c_int,
    hours: libc::c_int,
    day: libc::c_int,
    month: libc::c_int,
    year: libc::c_int,
    unused: [libc::c_int; 3],
}

nix::ioctl_write_ptr!(rtc_set_time, b'p', 0x0A, RtcTime);

/// The clock is kept in UTC, as Linux has it.
fn set_rtc(unix_ms: i64) -> Result<()> {
    let time = Timestamp::from_millisecond(unix_ms)?.to_zoned(TimeZone::UTC);
    let rtc = RtcTime {
        seconds: time.second().into(),
        minutes: time.minute().into(),
        hours: time.hour().into(),
        day: time.day().into(),
        // Months count from 0, years from 1900.
        month: libc::c_int::from(time.month()) - 1,
        year: libc::c_int::from(time.year()) - 1900,
        unused: [0; 3],
    };
    let device = File::open("/dev/rtc0").context("opening /dev/rtc0")?;
    // SAFETY: the kernel reads one rtc_time, which lives across the call.
    unsafe { rtc_set_time(device.as_raw_fd(), &raw const rtc) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_the_kernels_names() {
        assert_eq!(device_of("sda", 3), Path::new("/dev/sda3"));
        assert_eq!(device_of("nvme0n1", 3), Path::new("/dev/nvme0n1p3"));
    }
}
