// SPDX-License-Identifier: Apache-2.0
//! Several hands bring chunks, one pen writes them in order.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use provisioner_api::{CHUNK_SIZE, Chunk, FIRST_MIB, Manifest};

use super::decompress::Frames;
use super::{FIRST, Meter, Source, Trouble, verify};
use crate::disk::{Aligned, BlockDevice, zero};

/// Hands: while one decompresses, others wait for the wire. More only cost memory on the PCs that have two cores.
const HANDS: usize = 4;

/// Chunks in memory at once, in whichever layer: 6 × 4 MiB, and up to 4 MiB of compressed bytes in each hand: 40 MiB
/// at most, which a machine with 512 MB has.
const BUFFERS: usize = 6;

/// Longest piece of a hole that is zeroed in one call, so that progress moves and an error names its place.
const ZERO_PIECE: u64 = 64 * 1024 * 1024;

/// A chunk was fetched whole and is not what the manifest says. Once more, in case it was read while the image was
/// being replaced on the server; then it is corrupt there.
const FETCHES: u32 = 2;

/// Brings all chunks to the disk; bytes of the first MiB go to `first` instead.
pub(super) fn run(
    disk: &dyn BlockDevice,
    manifest: &Manifest,
    source: &dyn Source,
    first: &mut Aligned,
    meter: Meter<'_>,
) -> Result<(), Trouble> {
    let table = Table::new();
    thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                if let Err(trouble) = hand(&table, manifest, source) {
                    table.give_up(trouble);
                }
            });
        }
        let mut pen = Pen {
            disk,
            end: manifest.disk_size,
            at: 0,
            first,
            meter,
        };
        let written = write_all(&mut pen, &table, manifest);
        if let Err(trouble) = written {
            table.give_up(trouble);
        }
    });
    table.into_result()
}

/// One pair of hands: takes the next chunk, brings it, until there are no more.
fn hand(table: &Table, manifest: &Manifest, source: &dyn Source) -> Result<(), Trouble> {
    let mut frames = Frames::new()?;
    let mut compressed = Vec::new();
    while let Some((turn, mut buffer)) = table.take(manifest.chunks.len()) {
        let chunk = &manifest.chunks[turn];
        let length = chunk_length(manifest, chunk.index);
        bring(chunk, source, &mut frames, &mut compressed, &mut buffer[..length])?;
        table.put(turn, buffer);
    }
    Ok(())
}

/// One chunk through all layers.
fn bring(
    chunk: &Chunk,
    source: &dyn Source,
    frames: &mut Frames,
    compressed: &mut Vec<u8>,
    plain: &mut [u8],
) -> Result<(), Trouble> {
    let corrupt = |what: &str| Trouble::Corrupt(format!("chunk {}: {what}", chunk.index));
    let mut tries = 0;
    loop {
        source.chunk(chunk.offset, chunk.length, compressed)?;
        if verify::is(compressed, &chunk.hash) {
            break;
        }
        tries += 1;
        if tries == FETCHES {
            return Err(corrupt("its hash is not the one in the signed manifest"));
        }
    }
    // What was signed decompresses to one content. It is not hashed once more, which costs a PC without vector
    // instructions more than all the rest: zstd's own checksum tells when this machine's memory does not hold it.
    frames.fill(compressed, plain).map_err(|e| corrupt(&e))
}

fn write_all(pen: &mut Pen<'_>, table: &Table, manifest: &Manifest) -> Result<(), Trouble> {
    for (turn, chunk) in manifest.chunks.iter().enumerate() {
        let start = chunk.index * CHUNK_SIZE;
        pen.zeros_until(start)?;
        let Some(mut buffer) = table.wait_for(turn) else {
            return Ok(());
        };
        let length = chunk_length(manifest, chunk.index);
        pen.write(&mut buffer, length)?;
        table.free(buffer);
    }
    pen.zeros_until(manifest.disk_size)
}

/// Bytes of disk that a chunk covers: the last one may be short.
fn chunk_length(manifest: &Manifest, index: u64) -> usize {
    let left = manifest.disk_size - index * CHUNK_SIZE;
    usize::try_from(left.min(CHUNK_SIZE)).unwrap_or(0)
}

/// The one that writes, from the first byte to the last.
struct Pen<'a> {
    disk: &'a dyn BlockDevice,
    end: u64,
    at: u64,
    first: &'a mut Aligned,
    meter: Meter<'a>,
}

impl Pen<'_> {
    fn write(&mut self, buffer: &mut Aligned, length: usize) -> Result<(), Trouble> {
        let (start, end) = (self.at, self.at + length as u64);
        // A short last chunk is filled up to a whole sector; the disk has room, its size is whole sectors.
        let sector = usize::try_from(self.disk.sector()).unwrap_or(4096);
        let padded = length.next_multiple_of(sector);
        buffer[length..padded].fill(0);
        if start == 0 {
            self.write_first(buffer, length, padded)?;
        } else {
            self.disk.write(buffer, padded, start).map_err(Trouble::disk(start))?;
        }
        self.done(end);
        Ok(())
    }

    /// The chunk that begins with the first MiB: that stays here, the rest moves to the buffer's begin.
    fn write_first(&mut self, buffer: &mut Aligned, length: usize, padded: usize) -> Result<(), Trouble> {
        let kept = length.min(FIRST);
        self.first[..kept].copy_from_slice(&buffer[..kept]);
        if padded > FIRST {
            buffer.copy_within(FIRST..padded, 0);
            self.disk
                .write(buffer, padded - FIRST, FIRST_MIB)
                .map_err(Trouble::disk(FIRST_MIB))?;
        }
        Ok(())
    }

    /// A hole of the image. What the disk held there before must not shine through.
    fn zeros_until(&mut self, end: u64) -> Result<(), Trouble> {
        while self.at < end {
            // The first MiB is zeros already.
            let from = self.at.max(FIRST_MIB).min(end);
            let to = end.min(from.saturating_add(ZERO_PIECE));
            let length = (to - from).next_multiple_of(self.disk.sector());
            if length > 0 {
                zero(self.disk, from, length).map_err(Trouble::disk(from))?;
            }
            self.done(to);
        }
        Ok(())
    }

    fn done(&mut self, at: u64) {
        self.at = at;
        (self.meter)(at, self.end);
    }
}

/// Where hands and pen meet.
struct Table {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Next chunk that nobody has taken.
    next: usize,
    free: Vec<Aligned>,
    ready: BTreeMap<usize, Aligned>,
    trouble: Option<Trouble>,
}

impl Table {
    fn new() -> Self {
        let length = usize::try_from(CHUNK_SIZE).unwrap_or(0);
        let free = (0..BUFFERS).map(|_| Aligned::zeroed(length)).collect();
        let state = State {
            next: 0,
            free,
            ready: BTreeMap::new(),
            trouble: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// The next chunk's number and a buffer for it, or `None` when there are no more or all is lost. The buffer comes
    /// first: so the pen's next chunk always has one, and nobody waits for ever.
    fn take(&self, chunks: usize) -> Option<(usize, Aligned)> {
        let mut state = self.lock();
        loop {
            if state.trouble.is_some() || state.next == chunks {
                return None;
            }
            if let Some(buffer) = state.free.pop() {
                state.next += 1;
                return Some((state.next - 1, buffer));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, turn: usize, buffer: Aligned) {
        self.lock().ready.insert(turn, buffer);
        self.changed.notify_all();
    }

    /// The chunk whose turn it is, or `None` when all is lost.
    fn wait_for(&self, turn: usize) -> Option<Aligned> {
        let mut state = self.lock();
        loop {
            if state.trouble.is_some() {
                return None;
            }
            if let Some(buffer) = state.ready.remove(&turn) {
                return Some(buffer);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn free(&self, buffer: Aligned) {
        self.lock().free.push(buffer);
        self.changed.notify_all();
    }

    /// The first trouble is the one that is told; what follows from it is not.
    fn give_up(&self, trouble: Trouble) {
        self.lock().trouble.get_or_insert(trouble);
        self.changed.notify_all();
    }

    fn into_result(self) -> Result<(), Trouble> {
        self.state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .trouble
            .map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
