// SPDX-License-Identifier: Apache-2.0
//! The lease log: what was promised to clients, durable before they hear it.
//!
//! One line a promise, appended; the last one for an address counts. The file is made anew at start and when it has
//! grown, and is longer than its text by zeros: room that was written already costs the file system's journal nothing a
//! promise, and a disk that fills up does not stop the next thousands of them. A line that was cut by a power failure is not whole
//! (each ends with a checksum) and is forgotten, as is right: its client never heard of it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::fcntl::OFlag;
use pxe::Mac;
use pxe::lease::Lease;

use crate::clock::{Reading, Since};

/// Name of the log in the state folder.
pub const FILE: &str = "leases";
/// Room that is made at a time: some 3,500 promises.
const ROOM: u64 = 256 * 1024;
/// Size at which the log is made anew; a pool of 1,000 addresses needs 70 KB.
const LARGE: u64 = 8 * 1024 * 1024;
/// Milliseconds between two notes of the time: after a power cut leases last that much longer at most.
const NOTE_EVERY: i64 = 60_000;

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
    clock: Clock,
}

/// The clock by which the ends of leases are counted: it runs evenly from the start on, like those of their clients.
#[derive(Debug)]
struct Clock {
    /// What the clocks said at the start.
    opened: Reading,
    /// The running time at which it was last written into the log.
    noted: i64,
}

impl Clock {
    /// What it says when the machine has run so long.
    fn at(&self, running: i64) -> Reading {
        Reading {
            now: self.opened.now.saturating_add(running - self.opened.running),
            running,
            boot: self.opened.boot.clone(),
        }
    }
}

impl Log {
    /// Opens the log, or begins one, and makes it anew, by the clock of today.
    pub fn open(path: &Path, today: &Reading) -> Result<Self> {
        let old = match read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("reading the lease log {}", path.display())),
        };
        let mut leases = replay(&old);
        in_time(&mut leases, last_clock(&old).as_ref(), today);
        let clock = Clock {
            opened: today.clone(),
            noted: today.running,
        };
        let (file, end, room) = rewrite(path, &leases, &clock)
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
            clock,
        })
    }

    /// Every lease that was promised, run out or not.
    pub fn leases(&self) -> impl Iterator<Item = Lease> {
        self.leases.values().copied()
    }

    /// Makes promises durable; they may be told when this returns. What fails is kept and tried again with the
    /// next promise. `running` is how long the machine has run, in milliseconds.
    pub fn append(&mut self, records: &[Record], running: i64) -> io::Result<()> {
        self.note_clock(running);
        for record in records {
            apply(&mut self.leases, *record);
            // All leases are known, so a log that could not be written for hours is made anew as a whole.
            if (self.unsaved.len() as u64) < ROOM {
                self.unsaved.extend(line(record).bytes());
            }
        }
        if self.end + self.unsaved.len() as u64 > LARGE || self.unsaved.len() as u64 >= ROOM {
            (self.file, self.end, self.room) = rewrite(&self.path, &self.leases, &self.clock)?;
        } else {
            self.write()?;
        }
        self.unsaved.clear();
        Ok(())
    }

    /// Writes down what time it is, with the next promise: the next start counts on from there.
    fn note_clock(&mut self, running: i64) {
        if running - self.clock.noted >= NOTE_EVERY {
            self.clock.noted = running;
            self.unsaved.extend(clock_line(&self.clock.at(running)).bytes());
        }
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

/// Reads the log, as root in a folder that another user may write to: a link there may lead anywhere.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Brings the ends of leases in line with the clock of today: a client counts its lease by a clock of its own, and
/// an address in use must not be free because this machine's clock was set. How long the machine was off nobody knows; then
/// leases last as long as they did when it was last heard of.
fn in_time(leases: &mut BTreeMap<Ipv4Addr, Lease>, kept: Option<&Reading>, today: &Reading) {
    let Some(kept) = kept else { return };
    let (Since::Set(by) | Since::Off(by)) = today.since(kept) else {
        return;
    };
    for lease in leases.values_mut() {
        lease.until = lease.until.saturating_add_signed(by / 1000);
    }
}

/// What the clocks said when that was last written down.
fn last_clock(bytes: &[u8]) -> Option<Reading> {
    let lines = text(bytes).split(|&byte| byte == b'\n').rev();
    lines
        .filter_map(|line| std::str::from_utf8(line).ok())
        .find_map(parse_clock)
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
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    // A line that was cut is written over; what may stay of it has no checksum that fits.
    let whole = text(old).iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    Ok((file, whole as u64, old.len() as u64))
}

/// Writes a new file beside the old one, and puts it in its place when it is whole.
fn rewrite(path: &Path, leases: &BTreeMap<Ipv4Addr, Lease>, clock: &Clock) -> io::Result<(File, u64, u64)> {
    let new = path.with_extension("new");
    let written = write_new(path, &new, leases, clock);
    if written.is_err() {
        // It may be what fills the disk; that it could not be written is the news, not this.
        let _ = fs::remove_file(&new);
    }
    written
}

fn write_new(
    path: &Path,
    new: &Path,
    leases: &BTreeMap<Ipv4Addr, Lease>,
    clock: &Clock,
) -> io::Result<(File, u64, u64)> {
    let lines = leases.values().map(|lease| line(&Record::Bound(*lease)));
    let text: String = lines.chain([clock_line(&clock.at(clock.noted))]).collect();
    // What an earlier try has left, or somebody has put there.
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(new)?;
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

/// `clock 1700000000000 86400000 0d5c2c5e-… 1f2e3d4c`: the time, how long the machine ran, which start of it that was.
fn clock_line(reading: &Reading) -> String {
    let Reading { now, running, boot } = reading;
    let words = format!("clock {now} {running} {boot}");
    format!("{words} {:08x}\n", checksum(&words))
}

fn parse_clock(line: &str) -> Option<Reading> {
    match whole(line)?.split(' ').collect::<Vec<_>>()[..] {
        ["clock", now, running, boot] => Some(Reading {
            now: now.parse().ok()?,
            running: running.parse().ok()?,
            boot: boot.to_owned(),
        }),
        _ => None,
    }
}

/// The words of a line, if it is as it was written.
fn whole(line: &str) -> Option<&str> {
    let (words, sum) = line.rsplit_once(' ')?;
    (u32::from_str_radix(sum, 16).ok()? == checksum(words)).then_some(words)
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
    let words: Vec<&str> = whole(line)?.split(' ').collect();
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
