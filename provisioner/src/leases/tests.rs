// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn lease(last: u8, until: u64) -> Lease {
    Lease {
        address: Ipv4Addr::new(10, 77, 0, last),
        mac: Mac([2, 0, 0, 0, 0, last]),
        until,
        known: last.is_multiple_of(2),
    }
}

/// The clocks when a log is opened.
fn today(now: i64, running: i64, boot: &str) -> Reading {
    Reading {
        now,
        running,
        boot: boot.into(),
    }
}

fn open(path: &Path) -> Result<Log> {
    Log::open(path, &Reading::default())
}

fn log() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    (folder, path)
}

#[test]
fn promises_survive_a_restart() {
    let (_folder, path) = log();
    let mut log = open(&path).unwrap();
    log.append(&[Record::Bound(lease(1, 10)), Record::Bound(lease(2, 10))], 0)
        .unwrap();
    log.append(&[Record::Bound(lease(1, 20)), Record::Freed(lease(2, 0).address)], 0)
        .unwrap();
    for _ in 0..2 {
        let again = open(&path).unwrap();
        assert_eq!(again.leases().collect::<Vec<_>>(), [lease(1, 20)]);
    }
}

#[test]
fn a_torn_last_line_is_forgotten_and_nothing_else() {
    let (_folder, path) = log();
    open(&path)
        .unwrap()
        .append(&[Record::Bound(lease(1, 10)), Record::Bound(lease(2, 10))], 0)
        .unwrap();
    let whole = fs::read(&path).unwrap();
    let end = whole.iter().position(|&byte| byte == 0).unwrap();
    // The time comes first.
    let lines = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let first = lines.map(|(at, _)| at).nth(1).unwrap();
    for cut in first + 1..end {
        // Cut to what reached the disk: by length, and as zeros where the file system had made room.
        let mut zeros = whole.clone();
        zeros[cut..].fill(0);
        for bytes in [&whole[..cut], &zeros] {
            fs::write(&path, bytes).unwrap();
            let leases: Vec<_> = open(&path).unwrap().leases().collect();
            let all = cut >= end - 1;
            assert_eq!(leases.len(), if all { 2 } else { 1 }, "cut at {cut} of {end}");
        }
    }
}

#[test]
fn a_line_that_rotted_is_forgotten_and_nothing_else() {
    let (_folder, path) = log();
    open(&path)
        .unwrap()
        .append(&[Record::Bound(lease(1, 10)), Record::Bound(lease(2, 10))], 0)
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let time = bytes.iter().position(|&byte| byte == b'\n').unwrap();
    bytes[time + 10] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(open(&path).unwrap().leases().collect::<Vec<_>>(), [lease(2, 10)]);
}

#[test]
fn a_log_that_has_grown_is_made_anew() {
    let (_folder, path) = log();
    let mut log = open(&path).unwrap();
    let batch: Vec<_> = (0..10_000).map(|until| Record::Bound(lease(1, until))).collect();
    for _ in 0..20 {
        log.append(&batch, 0).unwrap();
        assert!(log.end <= LARGE);
    }
    log.append(&[Record::Bound(lease(3, 7))], 0).unwrap();
    assert_eq!(
        open(&path).unwrap().leases().collect::<Vec<_>>(),
        [lease(1, 9999), lease(3, 7)]
    );
}

#[test]
fn what_could_not_be_written_is_written_with_the_next_promise() {
    let (_folder, path) = log();
    let mut log = open(&path).unwrap();
    // A file that cannot be written stands for a disk that is full.
    let good = std::mem::replace(&mut log.file, File::open(&path).unwrap());
    assert!(log.append(&[Record::Bound(lease(1, 10))], 0).is_err());
    log.file = good;
    log.append(&[Record::Bound(lease(2, 10))], 0).unwrap();
    assert_eq!(open(&path).unwrap().leases().count(), 2);
}

proptest! {
    #[test]
    fn every_line_reads_back(last in any::<u8>(), until in any::<u64>(), mac in any::<[u8; 6]>()) {
        let record = Record::Bound(Lease { mac: Mac(mac), ..lease(last, until) });
        prop_assert_eq!(parse(line(&record).trim_end()), Some(record));
    }

    #[test]
    fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = replay(&bytes);
    }

    #[test]
    fn no_line_panics(line in "(bound|freed)?[ -~]{0,60}") {
        let _ = parse(&line);
    }
}

/// Opens the log at the second of two moments, with a lease that had an hour left at the first.
fn left(first: &Reading, second: &Reading) -> i64 {
    let (_folder, path) = log();
    let end = u64::try_from(first.now / 1000 + 3600).unwrap();
    let mut log = Log::open(&path, first).unwrap();
    log.append(&[Record::Bound(lease(1, end))], 0).unwrap();
    drop(log);
    let again = Log::open(&path, second).unwrap();
    let until = again.leases().next().unwrap().until;
    i64::try_from(until).unwrap() - second.now / 1000
}

#[test]
fn a_clock_that_is_set_frees_no_address_that_is_in_use_and_keeps_none_for_ever() {
    let now = 1_800_000_000_000;
    let before = today(now, 5_000_000, "a");
    // Ten minutes later by the running time, whatever the clock says.
    for clock in [now + 600_000, now + 40 * 86_400_000, 86_400_000] {
        assert_eq!(left(&before, &today(clock, 5_600_000, "a")), 3000, "{clock}");
    }
    // The machine was started again: nobody knows how long it was off.
    for clock in [now + 600_000, now + 40 * 86_400_000, 86_400_000] {
        assert_eq!(left(&before, &today(clock, 1000, "b")), 3600, "{clock}");
    }
}

#[test]
fn the_time_is_written_down_again_as_it_goes_by() {
    let (_folder, path) = log();
    let mut log = Log::open(&path, &today(1_000_000, 10_000, "a")).unwrap();
    log.note_clock(10_000 + NOTE_EVERY - 1);
    assert!(log.unsaved.is_empty());
    log.note_clock(10_000 + NOTE_EVERY);
    log.write().unwrap();
    let kept = last_clock(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(kept, today(1_060_000, 70_000, "a"));
}

#[test]
fn no_link_is_followed_to_a_file_of_somebody_else() {
    for name in ["leases", "leases.new"] {
        let (folder, path) = log();
        let precious = folder.path().join("precious");
        fs::write(&precious, "secret").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join(name)).unwrap();
        let _ = open(&path);
        assert_eq!(fs::read_to_string(precious).unwrap(), "secret", "{name}");
    }
}
