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

fn log() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases");
    (folder, path)
}

#[test]
fn promises_survive_a_restart() {
    let (_folder, path) = log();
    let mut log = Log::open(&path).unwrap();
    log.append(&[Record::Bound(lease(1, 10)), Record::Bound(lease(2, 10))])
        .unwrap();
    log.append(&[Record::Bound(lease(1, 20)), Record::Freed(lease(2, 0).address)])
        .unwrap();
    for _ in 0..2 {
        let again = Log::open(&path).unwrap();
        assert_eq!(again.leases().collect::<Vec<_>>(), [lease(1, 20)]);
    }
}

#[test]
fn a_torn_last_line_is_forgotten_and_nothing_else() {
    let (_folder, path) = log();
    Log::open(&path)
        .unwrap()
        .append(&[Record::Bound(lease(1, 10)), Record::Bound(lease(2, 10))])
        .unwrap();
    let whole = fs::read(&path).unwrap();
    let end = whole.iter().position(|&byte| byte == 0).unwrap();
    let first = whole.iter().position(|&byte| byte == b'\n').unwrap();
    for cut in first + 1..end {
        // Cut to what reached the disk: by length, and as zeros where the file system had made room.
        let mut zeros = whole.clone();
        zeros[cut..].fill(0);
        for bytes in [&whole[..cut], &zeros] {
            fs::write(&path, bytes).unwrap();
            let leases: Vec<_> = Log::open(&path).unwrap().leases().collect();
            let all = cut >= end - 1;
            assert_eq!(leases.len(), if all { 2 } else { 1 }, "cut at {cut} of {end}");
        }
    }
}

#[test]
fn a_line_that_rotted_is_forgotten_and_nothing_else() {
    let (_folder, path) = log();
    Log::open(&path)
        .unwrap()
        .append(&[Record::Bound(lease(1, 10)), Record::Bound(lease(2, 10))])
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(Log::open(&path).unwrap().leases().collect::<Vec<_>>(), [lease(2, 10)]);
}

#[test]
fn a_log_that_has_grown_is_made_anew() {
    let (_folder, path) = log();
    let mut log = Log::open(&path).unwrap();
    let batch: Vec<_> = (0..10_000).map(|until| Record::Bound(lease(1, until))).collect();
    for _ in 0..20 {
        log.append(&batch).unwrap();
        assert!(log.end <= LARGE);
    }
    log.append(&[Record::Bound(lease(3, 7))]).unwrap();
    assert_eq!(
        Log::open(&path).unwrap().leases().collect::<Vec<_>>(),
        [lease(1, 9999), lease(3, 7)]
    );
}

#[test]
fn what_could_not_be_written_is_written_with_the_next_promise() {
    let (_folder, path) = log();
    let mut log = Log::open(&path).unwrap();
    // A file that cannot be written stands for a disk that is full.
    let good = std::mem::replace(&mut log.file, File::open(&path).unwrap());
    assert!(log.append(&[Record::Bound(lease(1, 10))]).is_err());
    log.file = good;
    log.append(&[Record::Bound(lease(2, 10))]).unwrap();
    assert_eq!(Log::open(&path).unwrap().leases().count(), 2);
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
