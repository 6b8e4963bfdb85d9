// SPDX-License-Identifier: Apache-2.0
//! Made-up images: small, signed with a made-up key, and in every other way what `images build` leaves behind.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use blake2::{Blake2b512, Digest};
use ed25519_dalek::{Signer, SigningKey};
use provisioner_api::{CHUNK_SIZE, Chunk, FIRST_MIB, Manifest, Partition, PartitionRole, RamFile, RamManifest};
use serde::Serialize;

pub mod changed;

/// Loaders in a made-up RAM environment: all that the ladder knows for PCs.
pub const LOADERS: [&str; 7] = [
    "ipxe-ia32.efi",
    "ipxe.efi",
    "ipxe.pxe",
    "local-grub.efi",
    "local-grub.pxe",
    "snponly.efi",
    "undionly.kpxe",
];
/// What Secure Boot lets in: with these there, x86-64 UEFI starts them first.
pub const SIGNED: [&str; 2] = ["grubx64.efi", "shimx64.efi"];
/// Name of the made-up node image.
pub const IMAGE: &str = "debian-13";
/// Name of made-up ready-made images.
pub const CLOUD_IMAGE: &str = "debian-13-cloud";
/// Bytes of a loader: several TFTP blocks, and not a whole number of them.
pub const LOADER: usize = 70_001;
/// Bytes of a kernel or initramfs.
pub const KERNEL: usize = 200_000;

/// Bytes of a program for systems that an installer made.
const PROGRAM: usize = 50_000;
/// Bytes of noise that a large file repeats.
const PIECE: usize = 4 << 20;

/// A key for signing, in minisign's format.
pub struct Signature {
    id: [u8; 8],
    key: SigningKey,
}

impl Signature {
    /// A fresh key.
    pub fn new() -> Self {
        Self {
            id: rand::random(),
            key: SigningKey::from_bytes(&rand::random()),
        }
    }

    /// Writes the public half as `NAME.pub` into a folder.
    pub fn trust(&self, folder: &Path, name: &str) -> Result<()> {
        let line = BASE64.encode([b"Ed", &self.id[..], self.key.verifying_key().as_bytes()].concat());
        let file = folder.join(format!("{name}.pub"));
        let text = format!("untrusted comment: minisign public key {}\n{line}\n", self.id_text());
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
    }

    /// Writes a signed document.
    pub fn write(&self, folder: &Path, name: &str, document: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(document).context("writing JSON")?;
        fs::write(folder.join(name), &bytes).with_context(|| format!("writing {name}"))?;
        let signature = self.key.sign(&Blake2b512::digest(&bytes)).to_bytes();
        let comment = "made up";
        let over_comment = self.key.sign(&[&signature, comment.as_bytes()].concat()).to_bytes();
        let text = format!(
            "untrusted comment: signature from minisign secret key {}\n{}\ntrusted comment: {comment}\n{}\n",
            self.id_text(),
            BASE64.encode([b"ED", &self.id[..], &signature].concat()),
            BASE64.encode(over_comment),
        );
        fs::write(folder.join(format!("{name}.minisig")), text).with_context(|| format!("signing {name}"))
    }

    fn id_text(&self) -> String {
        hex::encode_upper(self.id.iter().rev().copied().collect::<Vec<_>>())
    }
}

impl Default for Signature {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes a RAM environment in a new folder below `place`.
pub fn ram(place: &Path, version: &str, signature: &Signature) -> Result<PathBuf> {
    ram_of(place, version, signature, KERNEL)
}

/// Makes one with an initramfs of this many bytes.
pub fn ram_of(place: &Path, version: &str, signature: &Signature, initrd: usize) -> Result<PathBuf> {
    let loaders = LOADERS.map(|loader| (loader, LOADER));
    ram_with(place, version, signature, [initrd, KERNEL], &loaders)
}

/// Makes one with an initramfs and a kernel of these many bytes, and with these loaders, sorted by name.
pub fn ram_with(
    place: &Path,
    version: &str,
    signature: &Signature,
    [initrd, kernel]: [usize; 2],
    loaders: &[(&str, usize)],
) -> Result<PathBuf> {
    let folder = place.join(format!("ram-{version}"));
    for below in [RamManifest::LOADERS, "programs"] {
        fs::create_dir_all(folder.join(below)).context("making a folder")?;
    }
    let mut files = Vec::new();
    let mut file = |path: String, size: usize| -> Result<()> {
        let piece = noise(size.min(PIECE));
        let mut hasher = blake3::Hasher::new();
        let mut written = fs::File::create(folder.join(&path)).with_context(|| format!("making {path}"))?;
        let mut left = size;
        while left > 0 {
            let part = &piece[..left.min(PIECE)];
            hasher.update(part);
            written.write_all(part).with_context(|| format!("writing {path}"))?;
            left -= part.len();
        }
        files.push(RamFile {
            path,
            size: size as u64,
            blake3: hasher.finalize().to_hex().to_string(),
        });
        Ok(())
    };
    file(RamManifest::INITRD.into(), initrd)?;
    for (loader, size) in loaders {
        file(format!("{}/{loader}", RamManifest::LOADERS), *size)?;
    }
    for program in [RamManifest::NODE_INIT, RamManifest::NODE_INIT_LIBVIRT] {
        file(program.into(), PROGRAM)?;
    }
    file(RamManifest::KERNEL.into(), kernel)?;
    let manifest = RamManifest {
        format: 1,
        name: "ram".into(),
        version: version.into(),
        arch: "amd64".into(),
        created: 1_760_000_000,
        kernel: "6.12.0-made-up".into(),
        nonfree_firmware: false,
        files,
        packages: Vec::new(),
    };
    signature.write(&folder, RamManifest::FILE, &manifest)?;
    Ok(folder)
}

/// Makes a node image in a new folder below `place`; `size` bytes of it do not compress.
pub fn image(place: &Path, version: &str, size: usize, signature: &Signature) -> Result<PathBuf> {
    image_named(IMAGE, PartitionRole::Root, place, version, size, signature)
}

/// Makes the same of a distribution's ready-made image.
pub fn cloud_image(place: &Path, version: &str, size: usize, signature: &Signature) -> Result<PathBuf> {
    image_named(CLOUD_IMAGE, PartitionRole::Other, place, version, size, signature)
}

fn image_named(
    name: &str,
    role: PartitionRole,
    place: &Path,
    version: &str,
    size: usize,
    signature: &Signature,
) -> Result<PathBuf> {
    let folder = place.join(format!("{name}-{version}"));
    fs::create_dir_all(&folder).context("making a folder")?;
    let (mut chunks, mut data) = (Vec::new(), Vec::new());
    let whole = usize::try_from(CHUNK_SIZE).context("a chunk's size")?;
    for (index, piece) in noise(size).chunks(whole).enumerate() {
        let mut disk = piece.to_vec();
        disk.resize(whole, 0);
        let compressed = zstd::bulk::compress(&disk, 1).context("compressing")?;
        chunks.push(Chunk {
            index: index as u64,
            hash: blake3::hash(&compressed).to_hex().to_string(),
            disk_hash: blake3::hash(&disk).to_hex().to_string(),
            offset: data.len() as u64,
            length: compressed.len() as u64,
        });
        data.extend(compressed);
    }
    let disk_size = (chunks.len() as u64 + 16) * CHUNK_SIZE;
    let manifest = Manifest {
        format: 1,
        name: name.into(),
        version: version.into(),
        arch: "amd64".into(),
        created: 1_760_000_000,
        disk_size,
        chunk_size: CHUNK_SIZE,
        data_size: data.len() as u64,
        partitions: vec![Partition {
            number: 1,
            role,
            start: FIRST_MIB,
            size: disk_size - 2 * FIRST_MIB,
        }],
        chunks,
        packages: Vec::new(),
        role: "libvirt".into(),
        cloud_init: role == PartitionRole::Other,
    };
    fs::write(folder.join("chunks"), data).context("writing chunks")?;
    signature.write(&folder, "manifest.json", &manifest)?;
    Ok(folder)
}

/// Makes the boot medium of a system in a new folder below `place`: files of noise with the names that it needs.
pub fn medium(place: &Path, os: &str, files: &[&str]) -> Result<PathBuf> {
    let folder = place.join(format!("medium-{os}"));
    for file in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().context("a file without a folder")?).context("making a folder")?;
        fs::write(path, noise(KERNEL)).with_context(|| format!("writing {file}"))?;
    }
    Ok(folder)
}

/// Bytes that do not compress.
fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rand::Rng::fill(&mut rand::rng(), bytes.as_mut_slice());
    bytes
}
