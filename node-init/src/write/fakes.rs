// SPDX-License-Identifier: Apache-2.0
//! A disk and an image in memory, for the tests of everything that writes.
#![allow(clippy::unwrap_used)]

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use provisioner_api::{CHUNK_SIZE, Chunk, Manifest, Partition, PartitionRole};

use super::{Source, Trouble};
use crate::disk::{Aligned, BlockDevice};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const IMAGE: u64 = 14 * MIB;
pub(crate) const ROOT: u64 = 4 * MIB;

/// A disk in memory that loses power in the middle of the operation number `cut`, counted from 0.
pub(crate) struct FakeDisk {
    pub(crate) bytes: Mutex<Vec<u8>>,
    pub(crate) cut: u64,
    pub(crate) operations: AtomicU64,
    pub(crate) error_at: Option<u64>,
    /// It knows no command for zeros, but takes them in a write.
    pub(crate) refuses_zero: bool,
}

impl FakeDisk {
    pub(crate) fn new(size: u64, fill: u8) -> Self {
        Self::holding(vec![fill; usize::try_from(size).unwrap()])
    }

    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Mutex::new(bytes),
            cut: u64::MAX,
            operations: AtomicU64::new(0),
            error_at: None,
            refuses_zero: false,
        }
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// Half of what is asked for reaches the medium when the power goes.
    fn apply(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let now = self.operations.fetch_add(1, Ordering::SeqCst);
        assert!(
            offset.is_multiple_of(512) && bytes.len().is_multiple_of(512),
            "direct I/O takes whole sectors"
        );
        let reached = match now.cmp(&self.cut) {
            std::cmp::Ordering::Less => bytes.len(),
            std::cmp::Ordering::Equal => bytes.len() / 2 / 512 * 512,
            std::cmp::Ordering::Greater => 0,
        };
        let start = usize::try_from(offset).unwrap();
        if self
            .error_at
            .is_some_and(|bad| (offset..offset + bytes.len() as u64).contains(&bad))
        {
            return Err(io::Error::from_raw_os_error(nix::libc::EIO));
        }
        self.bytes.lock().unwrap()[start..start + reached].copy_from_slice(&bytes[..reached]);
        if now >= self.cut {
            Err(io::ErrorKind::BrokenPipe.into())
        } else {
            Ok(())
        }
    }
}

impl BlockDevice for FakeDisk {
    fn size(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }
    fn sector(&self) -> u64 {
        512
    }
    fn read(&self, buffer: &mut Aligned, offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let length = buffer.len();
        buffer.copy_from_slice(&self.bytes.lock().unwrap()[start..start + length]);
        Ok(())
    }
    fn write(&self, buffer: &Aligned, length: usize, offset: u64) -> io::Result<()> {
        self.apply(&buffer[..length], offset)
    }
    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.refuses_zero {
            return Err(io::Error::from_raw_os_error(nix::libc::EREMOTEIO));
        }
        self.apply(&vec![0; usize::try_from(length).unwrap()], offset)
    }
    fn discard(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn reread_table(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Labels of former lives of a disk: whose, where in a partition or disk (from the end where negative), and the bytes.
pub(crate) const OLD_LABELS: [(&str, i64, &[u8]); 22] = [
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("LVM", 512, b"LABELONE"),
    ("md 1.1", 0, b"\xfc\x4e\x2b\xa9"),
    ("md 1.2", 4096, b"\xfc\x4e\x2b\xa9"),
    ("bcachefs", 4096, b"\xc6\x85\x73\xf6"),
    ("btrfs", 65536 + 64, b"_BHRfS_M"),
    ("ZFS, first label", 128 * 1024, b"\x0c\xb1\xba\0"),
    ("ZFS, second label", 384 * 1024, b"\x0c\xb1\xba\0"),
    ("UDF with large blocks", 1 << 20, b"\x02\0\x02\0"),
    ("VMFS", 2 << 20, b"\x5e\xf1\xab\x2f"),
    ("btrfs, second copy", (64 << 20) + 64, b"_BHRfS_M"),
    ("bcachefs, last copy", -(2 << 20), b"\xc6\x85\x73\xf6"),
    ("Promise", -3087 * 512, b"Promise Technology, Inc."),
    ("ZFS, third label", -640 * 1024, b"\x0c\xb1\xba\0"),
    ("ZFS, fourth label", -128 * 1024, b"\x0c\xb1\xba\0"),
    ("md 0.90", -128 * 1024, b"\xfc\x4e\x2b\xa9"),
    ("md 0.90 at the very last place", -64 * 1024, b"\xfc\x4e\x2b\xa9"),
    ("md 1.0", -8192, b"\xfc\x4e\x2b\xa9"),
    ("DRBD", -4096 + 56, b"\x83\x74\x02\x6b"),
    ("NVIDIA", -1024, b"NVIDIA"),
    ("Intel", -1024 + 64, b"Intel Raid ISM Cfg Sig. "),
    ("DDF", -512, b"\xde\x11\xde\x11"),
];

/// Where a label lies in a partition.
pub(crate) fn label_at(partition: &Range<u64>, at: i64) -> usize {
    let from = if at < 0 { partition.end } else { partition.start };
    usize::try_from(from.checked_add_signed(at).unwrap()).unwrap()
}

/// Puts one label of each kind into a partition of a disk.
pub(crate) fn put_old_labels(disk: &mut [u8], partition: &Range<u64>) {
    for (_, at, label) in OLD_LABELS {
        disk[label_at(partition, at)..][..label.len()].copy_from_slice(label);
    }
}

/// The labels that are still there.
pub(crate) fn old_labels(disk: &[u8], partition: &Range<u64>) -> Vec<&'static str> {
    let is_there = |at, label: &[u8]| disk[label_at(partition, at)..].starts_with(label);
    let left = OLD_LABELS.iter().filter(|(_, at, label)| is_there(*at, label));
    left.map(|(name, ..)| *name).collect()
}

/// An image in memory: its raw bytes, its manifest, its `chunks` file.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) raw: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) chunks: Vec<u8>,
}

impl Source for Image {
    fn chunk(&self, offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), Trouble> {
        let start = usize::try_from(offset).unwrap();
        into.clear();
        into.extend(&self.chunks[start..start + usize::try_from(length).unwrap()]);
        Ok(())
    }
}

/// Made once: compressing in an unoptimised test takes its time.
pub(crate) fn image() -> Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(build).clone()
}

/// The same as somebody else's image for cloud-init.
pub(crate) fn cloud_image() -> Image {
    let mut image = image();
    image.manifest.cloud_init = true;
    image.manifest.partitions[1].role = PartitionRole::Other;
    assert_eq!(image.manifest.validate(), Ok(()));
    image
}

/// 14 MiB with a real GPT by somebody else's code, a root partition from 4 MiB, a hole in the middle.
fn build() -> Image {
    let mut raw = vec![0_u8; usize::try_from(IMAGE).unwrap()];
    let mut file = io::Cursor::new(&mut raw[..]);
    ProtectiveMBR::with_lb_size(u32::try_from(IMAGE / 512 - 1).unwrap())
        .overwrite_lba0(&mut file)
        .unwrap();
    let mut disk = gpt::GptConfig::default()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(Box::new(file), None)
        .unwrap();
    disk.update_partitions(std::collections::BTreeMap::new()).unwrap();
    disk.add_partition("bios", 2 * MIB, gpt::partition_types::BIOS, 0, Some(2048))
        .unwrap();
    disk.add_partition("root", 9 * MIB, gpt::partition_types::LINUX_FS, 0, Some(8192))
        .unwrap();
    disk.write().unwrap();
    raw[..440].fill(0x90);
    for (n, byte) in raw[usize::try_from(ROOT).unwrap()..usize::try_from(5 * MIB).unwrap()]
        .iter_mut()
        .enumerate()
    {
        *byte = u8::try_from(n % 251).unwrap();
    }
    raw[usize::try_from(12 * MIB).unwrap()..usize::try_from(13 * MIB).unwrap()].fill(0xA5);
    let (mut chunks, mut list) = (Vec::new(), Vec::new());
    for (index, plain) in raw.chunks(usize::try_from(CHUNK_SIZE).unwrap()).enumerate() {
        if plain.iter().all(|b| *b == 0) {
            continue;
        }
        let packed = zstd::bulk::compress(plain, 3).unwrap();
        list.push(Chunk {
            index: index as u64,
            hash: blake3::hash(&packed).to_hex().to_string(),
            disk_hash: blake3::hash(plain).to_hex().to_string(),
            offset: chunks.len() as u64,
            length: packed.len() as u64,
        });
        chunks.extend(packed);
    }
    assert!(list.len() >= 3, "the image has a hole and still several chunks");
    let partition = |number, role, start, size| Partition {
        number,
        role,
        start,
        size,
    };
    let manifest = Manifest {
        format: 1,
        name: "test".into(),
        version: "1".into(),
        arch: "amd64".into(),
        created: 0,
        disk_size: IMAGE,
        chunk_size: CHUNK_SIZE,
        data_size: chunks.len() as u64,
        partitions: vec![
            partition(1, PartitionRole::BiosBoot, MIB, 2 * MIB),
            partition(2, PartitionRole::Root, ROOT, 9 * MIB),
        ],
        chunks: list,
        packages: Vec::new(),
        role: "libvirt".into(),
        cloud_init: false,
    };
    assert_eq!(manifest.validate(), Ok(()));
    Image { raw, manifest, chunks }
}
