// SPDX-License-Identifier: Apache-2.0
//! Cuts a disk into the chunks of an image: 4 MiB each, hashed, compressed, equal ones once, holes not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;
use provisioner_api::{CHUNK_SIZE, Chunk};

/// zstd's level: an image is compressed once and written by a roomful of machines, and still has to be built within a
/// few minutes on two cores.
const LEVEL: i32 = 12;
/// Bumped when chunks are compressed in another way, so that old ones in the cache are left alone.
pub const FORMAT: u32 = 2;
/// Threads that compress: the two cores of the smallest build machine.
const THREADS: usize = 2;

/// What cutting gives.
#[derive(Debug)]
pub struct Cut {
    /// The chunks by rising index.
    pub chunks: Vec<Chunk>,
    /// Bytes of the `chunks` file.
    pub data_size: u64,
}

impl Cut {
    /// A hash of what is on the disk: of every chunk, and where it lies.
    pub fn contents(&self) -> blake3::Hash {
        let mut contents = blake3::Hasher::new();
        for chunk in &self.chunks {
            contents.update(&chunk.index.to_le_bytes());
            contents.update(chunk.hash.as_bytes());
        }
        contents.finalize()
    }
}

/// Cuts `disk` and writes the compressed chunks one after another to `out`. A chunk is left out when it is all zeros
/// and lies in `unused`, byte ranges that nobody relies on. Compressed chunks are kept in `store` for the next build.
pub fn cut(disk: &Path, unused: &[Range<u64>], store: &Path, out: &Path, bar: &ProgressBar) -> Result<Cut> {
    let file = File::open(disk).with_context(|| format!("opening {}", disk.display()))?;
    let size = file
        .metadata()
        .with_context(|| format!("examining {}", disk.display()))?
        .len();
    bar.set_length(size / CHUNK_SIZE);
    let found = hash_all(&file, size, unused, store, bar)?;

    let target = File::create(out).with_context(|| format!("creating {}", out.display()))?;
    let mut target = BufWriter::with_capacity(1 << 20, target);
    let mut cut = Cut {
        chunks: Vec::new(),
        data_size: 0,
    };
    let mut places: BTreeMap<String, Chunk> = BTreeMap::new();
    for (index, disk_hash) in found {
        if let Some(same) = places.get(&disk_hash) {
            cut.chunks.push(Chunk { index, ..same.clone() });
            continue;
        }
        let bytes = fs::read(store.join(&disk_hash)).context("reading a compressed chunk")?;
        target
            .write_all(&bytes)
            .with_context(|| format!("writing {}", out.display()))?;
        let (hash, length) = (blake3::hash(&bytes).to_hex().to_string(), bytes.len() as u64);
        let chunk = Chunk {
            index,
            hash,
            disk_hash: disk_hash.clone(),
            offset: cut.data_size,
            length,
        };
        cut.data_size += length;
        places.insert(disk_hash, chunk.clone());
        cut.chunks.push(chunk);
    }
    target.flush().with_context(|| format!("writing {}", out.display()))?;
    forget_others(store, &places.into_keys().collect())?;
    Ok(cut)
}

/// Hashes every chunk that is not a hole and sees to it that `store` has it compressed, under its hash.
fn hash_all(
    file: &File,
    size: u64,
    unused: &[Range<u64>],
    store: &Path,
    bar: &ProgressBar,
) -> Result<BTreeMap<u64, String>> {
    let next = Mutex::new(0..size.div_ceil(CHUNK_SIZE));
    let found = Mutex::new(BTreeMap::new());
    let poisoned = || anyhow!("another thread that compresses failed");
    let work = || -> Result<()> {
        let mut buffer = Vec::new();
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).context("starting zstd")?;
        // A PC whose memory is bad notices while it decompresses.
        compressor.include_checksum(true).context("starting zstd")?;
        loop {
            let Some(index) = next.lock().map_err(|_| poisoned())?.next() else {
                return Ok(());
            };
            bar.inc(1);
            let place = place(index, size);
            // A chunk is 4 MiB at most.
            buffer.resize(usize::try_from(place.end - place.start).unwrap_or(0), 0);
            file.read_exact_at(&mut buffer, place.start)
                .context("reading the disk")?;
            if is_zero(&buffer) && covers(unused, &place) {
                continue;
            }
            let hash = blake3::hash(&buffer).to_hex().to_string();
            let kept = store.join(&hash);
            if !kept.exists() {
                let bytes = compressor.compress(&buffer).context("compressing a chunk")?;
                put(store, &kept, &bytes)?;
            }
            found.lock().map_err(|_| poisoned())?.insert(index, hash);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| poisoned())?)
    })?;
    found.into_inner().map_err(|_| poisoned())
}

/// The bytes of a chunk on a disk of this size.
fn place(index: u64, size: u64) -> Range<u64> {
    index * CHUNK_SIZE..size.min((index + 1) * CHUNK_SIZE)
}

/// Writes a file so that it is there whole or not at all.
fn put(folder: &Path, file: &Path, bytes: &[u8]) -> Result<()> {
    let mut unfinished = tempfile::NamedTempFile::new_in(folder).context("keeping a compressed chunk")?;
    unfinished.write_all(bytes).context("keeping a compressed chunk")?;
    unfinished.persist(file).map(drop).context("keeping a compressed chunk")
}

/// Forgets the chunks of earlier builds that this one has no use for.
fn forget_others(store: &Path, used: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(store).context("reading the kept chunks")? {
        let entry = entry.context("reading the kept chunks")?;
        if !used.contains(&*entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).context("forgetting a kept chunk")?;
        }
    }
    Ok(())
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Whether sorted ranges together cover a place without a gap.
fn covers(ranges: &[Range<u64>], place: &Range<u64>) -> bool {
    let mut from = place.start;
    for range in ranges {
        if range.start > from {
            break;
        }
        from = from.max(range.end);
        if from >= place.end {
            return true;
        }
    }
    from >= place.end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// A whole chunk.
    const WHOLE: usize = 4 << 20;

    /// Lays chunks over a disk full of other people's bytes, as a writer does.
    fn written(cut: &Cut, data: &[u8], size: u64) -> Vec<u8> {
        let mut disk = vec![0xaa; usize::try_from(size).unwrap()];
        for chunk in &cut.chunks {
            let bytes = &data[usize::try_from(chunk.offset).unwrap()..][..usize::try_from(chunk.length).unwrap()];
            assert_eq!(blake3::hash(bytes).to_hex().as_str(), chunk.hash);
            let plain = zstd::decode_all(bytes).unwrap();
            assert_eq!(blake3::hash(&plain).to_hex().as_str(), chunk.disk_hash);
            disk[usize::try_from(chunk.index * CHUNK_SIZE).unwrap()..][..plain.len()].copy_from_slice(&plain);
        }
        disk
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]
        #[test]
        fn a_written_image_is_the_disk_but_for_what_nobody_relies_on(
            fill in proptest::collection::vec(0_u8..3, 1..4), short in 1_u64..CHUNK_SIZE, unused_to in 0_u64..4,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = folder.path().join("store");
            fs::create_dir(&store).unwrap();
            let size = (fill.len() as u64 - 1) * CHUNK_SIZE + short;
            let mut disk: Vec<u8> = fill.iter().flat_map(|byte| vec![*byte; WHOLE]).collect();
            disk.truncate(usize::try_from(size).unwrap());
            let (path, out) = (folder.path().join("disk"), folder.path().join("chunks"));
            fs::write(&path, &disk).unwrap();
            let unused = 0..(unused_to * CHUNK_SIZE).min(size);
            for _ in 0..2 {
                let cut = cut(&path, std::slice::from_ref(&unused), &store, &out, &ProgressBar::hidden()).unwrap();
                let data = fs::read(&out).unwrap();
                prop_assert_eq!(data.len() as u64, cut.data_size);
                let result = written(&cut, &data, size);
                for (index, (was, is)) in disk.chunks(WHOLE).zip(result.chunks(WHOLE)).enumerate() {
                    let free = is_zero(was) && covers(std::slice::from_ref(&unused), &place(index as u64, size));
                    prop_assert!(was == is || free, "chunk {}", index);
                }
                let kinds: BTreeSet<_> = cut.chunks.iter().map(|chunk| &chunk.disk_hash).collect();
                let places: BTreeSet<_> = cut.chunks.iter().map(|chunk| chunk.offset).collect();
                prop_assert_eq!(kinds.len(), places.len());
            }
        }

        #[test]
        fn covering_means_every_byte(starts in proptest::collection::btree_set(0_u64..50, 0..6), length in 1_u64..20, place in 0_u64..50, size in 1_u64..30) {
            let ranges: Vec<_> = starts.into_iter().map(|start| start..start + length).collect();
            let place = place..place + size;
            let every = place.clone().all(|byte| ranges.iter().any(|range| range.contains(&byte)));
            prop_assert_eq!(covers(&ranges, &place), every);
        }
    }
}
