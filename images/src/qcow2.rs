// SPDX-License-Identifier: Apache-2.0
//! QEMU's format of disks in files, in which most ready-made images are published. Its own program reads it, under
//! limits and only where the file stands for itself: the format can name other files, and whoever reads it reads them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::tool::{Tool, Tools};

/// The package that reads it.
pub const PACKAGE: &str = "qemu-utils";
const PROGRAM: &str = "usr/bin/qemu-img";
/// The first bytes of such a file.
const MAGIC: &[u8; 4] = b"QFI\xfb";
/// Bytes of the header that every version since 2 has; version 3 has 32 more.
const HEADER: usize = 72;
/// Features that a reader must know: not closed properly, another compression, finer clusters. Another file with the data
/// (bit 2) is not among them, nor is a file that knows itself to be damaged (bit 1).
const KNOWN_FEATURES: u64 = 1 | 1 << 3 | 1 << 4;
/// Bytes of the largest disk that is read: images are made to grow, those that are larger are made to harm.
const LARGEST: u64 = 128 << 30;
/// Seconds of processor time, and bytes of address space, that reading may cost.
const LIMITS: [&str; 2] = ["--cpu=1800", "--as=4294967296"];

/// Whether a file begins as such a file does.
pub fn is(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// Writes what is in a file of that format as a disk, holes as holes.
pub fn convert(tools: &Tools, from: &Path, to: &Path) -> Result<()> {
    let file = File::open(from).with_context(|| format!("opening {}", from.display()))?;
    let mut header = [0; HEADER + 8];
    let read = file.read_at(&mut header, 0).context("reading its header")?;
    let size = check(&header[..read])?;
    // A path from the root is never taken for the name of a protocol.
    let from = fs::canonicalize(from).with_context(|| format!("opening {}", from.display()))?;
    tools
        .tool(PROGRAM)
        .args(["convert", "-f", "qcow2", "-O", "raw"])
        .args([from.as_path(), to])
        .started_by(Tool::host("prlimit")?.args(LIMITS).arg(format!("--fsize={size}")))
        .run()
}

/// Checks that it names no other file, and returns the disk's size.
fn check(header: &[u8]) -> Result<u64> {
    ensure!(header.len() >= HEADER, "it ends within its header; fetch it again");
    let number = |at: usize| {
        let bytes = header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_be_bytes)
    };
    let (version, encrypted) = (number(4) >> 32, number(32) >> 32);
    let features = match version {
        2 => 0,
        3 => number(HEADER),
        other => bail!("it is of version {other} of its format, which nobody knows"),
    };
    ensure!(
        number(8) == 0,
        "it is only what differs from another file (its backing file); take the image as its makers publish it"
    );
    ensure!(encrypted == 0, "it is encrypted");
    ensure!(
        features & !KNOWN_FEATURES == 0,
        "it is damaged, or its data is in another file (features {features:#x}); take the image as its makers publish it"
    );
    let size = number(24);
    ensure!(
        (1..=LARGEST).contains(&size),
        "it is a disk of {size} bytes; those up to {} GiB are read",
        LARGEST >> 30
    );
    Ok(size)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn header(version: u32) -> Vec<u8> {
        let mut header = vec![0; HEADER + 8];
        header[..4].copy_from_slice(MAGIC);
        header[4..8].copy_from_slice(&version.to_be_bytes());
        header[24..32].copy_from_slice(&(3_u64 << 30).to_be_bytes());
        header
    }

    #[test]
    fn a_disk_that_stands_for_itself_is_read() {
        for version in [2, 3] {
            assert!(is(&header(version)));
            assert_eq!(check(&header(version)).unwrap(), 3 << 30);
        }
    }

    #[test]
    fn a_file_that_leads_to_other_files_is_refused_with_words() {
        let refused = |at: usize, bytes: &[u8]| {
            let mut header = header(3);
            header[at..at + bytes.len()].copy_from_slice(bytes);
            check(&header).unwrap_err().to_string()
        };
        assert!(refused(8, &104_u64.to_be_bytes()).contains("backing file"));
        assert!(refused(72, &4_u64.to_be_bytes()).contains("in another file"));
        assert!(refused(72, &2_u64.to_be_bytes()).contains("damaged"));
        assert!(refused(32, &1_u32.to_be_bytes()).contains("encrypted"));
        assert!(refused(24, &(1_u64 << 60).to_be_bytes()).contains("128 GiB"));
        assert!(refused(4, &9_u32.to_be_bytes()).contains("version 9"));
        assert!(check(&header(3)[..40]).is_err());
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(header in prop::collection::vec(any::<u8>(), 0..90)) {
            let _ = check(&header);
        }
    }
}
