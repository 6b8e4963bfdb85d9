// SPDX-License-Identifier: Apache-2.0
//! What the kernel does with block devices on request (linux/fs.h, linux/blkpg.h).
#![allow(unsafe_code)] // ioctls with pointers; every request's argument type is the header's

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc::{c_char, c_int, c_longlong, c_void};

nix::ioctl_read!(blkgetsize64, 0x12, 114, usize);
nix::ioctl_read_bad!(blksszget, 0x1268, c_int);
nix::ioctl_write_ptr_bad!(blkdiscard, 0x1277, [u64; 2]);
nix::ioctl_write_ptr_bad!(blkzeroout, 0x127F, [u64; 2]);
nix::ioctl_none_bad!(blkrrpart, 0x125F);
nix::ioctl_none_bad!(blkflsbuf, 0x1261);
nix::ioctl_write_ptr_bad!(blkpg, 0x1269, PartitionRequest);

const BLKPG_ADD_PARTITION: c_int = 1;
const BLKPG_DEL_PARTITION: c_int = 2;

/// `struct blkpg_ioctl_arg`
#[repr(C)]
pub(super) struct PartitionRequest {
    operation: c_int,
    flags: c_int,
    length: c_int,
    data: *const c_void,
}

/// `struct blkpg_partition`
#[repr(C)]
struct PartitionData {
    start: c_longlong,
    length: c_longlong,
    number: c_int,
    device_name: [c_char; 64],
    volume_name: [c_char; 64],
}

pub(super) fn size(disk: &File) -> io::Result<u64> {
    let mut bytes = 0_usize;
    // SAFETY: the kernel writes one usize (`_IOR(0x12, 114, size_t)`, filled with 64 bits).
    unsafe { blkgetsize64(disk.as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes as u64)
}

pub(super) fn sector(disk: &File) -> io::Result<u64> {
    let mut bytes: c_int = 0;
    // SAFETY: the kernel writes one int.
    unsafe { blksszget(disk.as_raw_fd(), &raw mut bytes) }?;
    u64::try_from(bytes).map_err(io::Error::other)
}

pub(super) fn discard(disk: &File, start: u64, length: u64) -> io::Result<()> {
    // SAFETY: the kernel reads two u64.
    unsafe { blkdiscard(disk.as_raw_fd(), &[start, length]) }?;
    Ok(())
}

pub(super) fn zero(disk: &File, start: u64, length: u64) -> io::Result<()> {
    // SAFETY: the kernel reads two u64.
    unsafe { blkzeroout(disk.as_raw_fd(), &[start, length]) }?;
    Ok(())
}

/// Makes the kernel forget what it cached of the disk and read its partition table again.
pub(super) fn reread(disk: &File) -> io::Result<()> {
    // SAFETY: neither request takes an argument.
    unsafe {
        blkflsbuf(disk.as_raw_fd())?;
        blkrrpart(disk.as_raw_fd())?;
    }
    Ok(())
}

/// Tells the kernel of a partition that is in no table yet.
pub(crate) fn add_partition(disk: &File, number: u32, start: u64, length: u64) -> io::Result<()> {
    partition(disk, BLKPG_ADD_PARTITION, number, start, length)
}

/// Makes the kernel forget a partition.
pub(crate) fn delete_partition(disk: &File, number: u32) -> io::Result<()> {
    partition(disk, BLKPG_DEL_PARTITION, number, 0, 0)
}

fn partition(disk: &File, operation: c_int, number: u32, start: u64, length: u64) -> io::Result<()> {
    let data = PartitionData {
        start: c_longlong::try_from(start).map_err(io::Error::other)?,
        length: c_longlong::try_from(length).map_err(io::Error::other)?,
        number: c_int::try_from(number).map_err(io::Error::other)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let request = PartitionRequest {
        operation,
        flags: 0,
        length: c_int::try_from(size_of::<PartitionData>()).map_err(io::Error::other)?,
        data: (&raw const data).cast(),
    };
    // SAFETY: the kernel reads `request` and `length` bytes behind `data`; both live across the call.
    unsafe { blkpg(disk.as_raw_fd(), &raw const request) }?;
    Ok(())
}
