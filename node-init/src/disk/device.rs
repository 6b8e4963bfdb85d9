// SPDX-License-Identifier: Apache-2.0
//! A disk that is open for writing.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_DIRECT, O_EXCL};

use super::{Aligned, ioctl};

/// A disk that can be written. Offsets and lengths are multiples of [`Self::sector`], buffers are [`Aligned`].
pub trait BlockDevice: Send + Sync {
    /// Bytes.
    fn size(&self) -> u64;
    /// Bytes of a logical sector.
    fn sector(&self) -> u64;
    /// Fills the buffer from byte `offset`.
    fn read(&self, buffer: &mut Aligned, offset: u64) -> io::Result<()>;
    /// Writes the first `length` bytes of the buffer at byte `offset`.
    fn write(&self, buffer: &Aligned, length: usize, offset: u64) -> io::Result<()>;
    /// Asks the disk to make `length` bytes from `offset` read as zeros, whichever way it is quickest at. Some disks
    /// refuse that and are sound: [`super::zero`] is for everybody else.
    fn zero(&self, offset: u64, length: u64) -> io::Result<()>;
    /// Tells the disk that nothing on it is needed any more. `Unsupported` where it has no notion of that.
    fn discard(&self) -> io::Result<()>;
    /// Waits until everything written has reached the medium.
    fn sync(&self) -> io::Result<()>;
    /// Makes the kernel see the partition table that is now on the disk.
    fn reread_table(&self) -> io::Result<()>;
}

/// A disk as the kernel gives it: exclusive, past the page cache.
pub struct KernelDisk {
    file: File,
    size: u64,
    sector: u64,
}

impl KernelDisk {
    /// Opens `/dev/NAME`. Exclusive: the kernel refuses while anything on it is mounted or held.
    pub fn open(device: &Path) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(O_EXCL | O_DIRECT | O_CLOEXEC)
            .open(device)?;
        let (size, sector) = (ioctl::size(&file)?, ioctl::sector(&file)?);
        Ok(Self { file, size, sector })
    }
}

impl BlockDevice for KernelDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn sector(&self) -> u64 {
        self.sector
    }

    fn read(&self, buffer: &mut Aligned, offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write(&self, buffer: &Aligned, length: usize, offset: u64) -> io::Result<()> {
        self.file.write_all_at(&buffer[..length], offset)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        ioctl::zero(&self.file, offset, length)
    }

    fn discard(&self) -> io::Result<()> {
        match ioctl::discard(&self.file, 0, self.size) {
            Err(e) if matches!(e.raw_os_error(), Some(nix::libc::EOPNOTSUPP | nix::libc::EINVAL)) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            other => other,
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn reread_table(&self) -> io::Result<()> {
        ioctl::reread(&self.file)
    }
}
