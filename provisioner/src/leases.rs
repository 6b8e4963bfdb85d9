// SPDX-License-Identifier: Apache-2.0
//! The lease log: what was promised to clients, durable before they hear it.
//!
//! One line a promise, appended; the last one for an address counts. The file is made anew at start and when it has
//! grown, and is longer than its text by zeros: room that was written already costs the file system's journal nothing a
//! promise, and a disk that fills up does not stop the next thousands of them. A line that was cut by a power failure is not whole
//! (each ends with a checksum) and is forgotten, as is right: its client never heard of it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pxe::Mac;
use pxe::lease::Lease;

/// Name of the log in the state folder.
pub const FILE: &str = "leases";
/// Room that is made at a time: some 3,500 promises.
const ROOM: u64 = 256 * 1024;
/// Size at which the log is made anew; a pool of 1,000 addresses needs 70 KB.
const LARGE: u64 = 8 * 1024 * 1024;

/// One promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// The address is the card's.
    Bound(Lease),
    /// The address is nobody's.
    Freed(Ipv4Addr),
}

impl Record {
    /// The address that it is about.
    pub fn address(&self) -> Ipv4Addr {
        match self {
            Self::Bound(lease) => lease.address,
            Self::Freed(address) => *address,
        }
    }
}

/// The log, open at its end.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// Where the next line goes.
    end: u64,
    /// How far there is room.
    room: u64,
    /// Every lease, to make the log anew without asking anybody.
    leases: BTreeMap<Ipv4Addr, Lease>,
    /// Lines that could not be written yet.
    unsaved: Vec<u8>,
}

impl Log {
    /// Opens the log, or begins one, and makes it anew.
    pub fn open(path: &Path) -> Result<Self> {
        let old = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("reading the lease log {}", path.display())),
        };
        let leases = replay(&old);
        let (file, end, room) = rewrite(path, &leases)
            // Making it anew saves room, and a full disk is no reason to leave a lab without its server: the old log
            // serves on.
            .or_else(|error| reopen(path, &old).map_err(|_| error))
            .with_context(|| format!("writing the lease log {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            end,
            room,
            leases,
            unsaved: Vec::new(),
        })
    }

    /// Every lease that was promised, run out or not.
    pub fn leases(&self) -> impl Iterator<Item = Lease> {
        self.leases.values().copied()
    }

    /// Makes promises durable; they may be told when this returns. What fails is kept and tried again with the
    /// next promise.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        for record in records {
            apply(&mut self.leases, *record);
            // All leases are known, so a log that could not be written for hours is made anew as a whole.
            if (self.unsaved.len() as u64) < ROOM {
                self.unsaved.extend(line(record).bytes());
            }
        }
        if self.end + self.unsaved.len() as u64 > LARGE || self.unsaved.len() as u64 >= ROOM {
            (self.file, self.end, self.room) = rewrite(&self.path, &self.leases)?;
        } else {
            self.write()?;
        }
        self.unsaved.clear();
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let after = self.end + self.unsaved.len() as u64;
        if after > self.room {
            self.room = make_room(&self.file, self.room, after)?;
        }
        self.file.write_all_at(&self.unsaved, self.end)?;
        self.file.sync_data()?;
        self.end = after;
        Ok(())
    }
}

/// Reads as many whole lines as there are.
fn replay(bytes: &[u8]) -> BTreeMap<Ipv4Addr, Lease> {
    let mut leases = BTreeMap::new();
    for line in text(bytes).split(|&byte| byte == b'\n') {
        if let Some(record) = std::str::from_utf8(line).ok().and_then(parse) {
            apply(&mut leases, record);
        }
    }
    leases
}

/// The log without the room behind it.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn apply(leases: &mut BTreeMap<Ipv4Addr, Lease>, record: Record) {
    match record {
        Record::Bound(lease) => {
            leases.insert(lease.address, lease);
        }
        Record::Freed(address) => {
            leases.remove(&address);
        }
    }
}

/// Goes on behind the text of the log that is there.
fn reopen(path: &Path, old: &[u8]) -> io::Result<(File, u64, u64)> {
    let file = OpenOptions::new().write(true).open(path)?;
    // A line that was cut is written over; what may stay of it has no checksum that fits.
    let whole = text(old).iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    Ok((file, whole as u64, old.len() as u64))
}

/// Writes a new file beside the old one, and puts it in its place when it is whole.
fn rewrite(path: &Path, leases: &BTreeMap<Ipv4Addr, Lease>) -> io::Result<(File, u64, u64)> {
    let new = path.with_extension("new");
    let written = write_new(path, &new, leases);
    if written.is_err() {
        // It may be what fills the disk; that it could not be written is the news, not this.
        let _ = fs::remove_file(&new);
    }
    written
}

fn write_new(path: &Path, new: &Path, leases: &BTreeMap<Ipv4Addr, Lease>) -> io::Result<(File, u64, u64)> {
    let text: String = leases.values().map(|lease| line(&Record::Bound(*lease))).collect();
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o640)
        .open(new)?;
    let end = text.len() as u64;
    let room = make_room(&file, end, end)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok((file, end, room))
}

/// Extends the file, which is `long` by now, by zeros beyond `end`; says how far. Room that is only set aside
/// (`fallocate`) would be changed into written room, and that noted in the journal, with every promise.
fn make_room(file: &File, long: u64, end: u64) -> io::Result<u64> {
    let room = (end / ROOM + 1) * ROOM;
    let zeros = usize::try_from(room - long).map_err(io::Error::other)?;
    file.write_all_at(&vec![0; zeros], long)?;
    file.sync_all()?;
    Ok(room)
}

/// `bound 10.77.0.130 52:54:00:77:00:01 1700003600 known 1f2e3d4c`
fn line(record: &Record) -> String {
    let words = match record {
        Record::Bound(Lease {
            address,
            mac,
            until,
            known,
        }) => {
            format!(
                "bound {address} {mac} {until} {}",
                if *known { "known" } else { "unknown" }
            )
        }
        Record::Freed(address) => format!("freed {address}"),
    };
    format!("{words} {:08x}\n", checksum(&words))
}

fn parse(line: &str) -> Option<Record> {
    let (words, sum) = line.rsplit_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != checksum(words) {
        return None;
    }
    let words: Vec<&str> = words.split(' ').collect();
    match words[..] {
        ["bound", address, mac, until, known] => Some(Record::Bound(Lease {
            address: address.parse().ok()?,
            mac: mac.parse::<Mac>().ok()?,
            until: until.parse().ok()?,
            known: known == "known",
        })),
        ["freed", address] => Some(Record::Freed(address.parse().ok()?)),
        _ => None,
    }
}

/// FNV-1a: tells a line that was cut from a whole one. Nobody is kept out by it.
fn checksum(words: &str) -> u32 {
    words.bytes().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests;
