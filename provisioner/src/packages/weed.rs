// SPDX-License-Identifier: Apache-2.0
//! What a power cut leaves of the cache: nginx gives a file its name before the disk has it, so that some are shorter
//! than they say of themselves. nginx would send them so for ever, and every machine that wants one would wait in vain.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use nix::unistd::syncfs;
use tracing::{info, warn};

/// Bytes at the beginning of a file that have nginx's own notes, the key and the answer's head: it keeps no longer ones.
const HEAD: u64 = 64 << 10;
/// What stands before the key.
const KEY: &[u8] = b"\nKEY: ";
/// What ends the head of an answer (RFC 9112, section 2.1).
const END: &[u8] = b"\r\n\r\n";

/// Whether the cache was stopped in order, with all of it on the disk. Says so once.
pub(super) fn was_stopped_well(flag: &Path) -> bool {
    fs::remove_file(flag).is_ok()
}

/// The cache is stopped in order: nothing more is written. `files` is where it keeps what it has.
pub(super) fn stopped_well(flag: &Path, files: &Path) {
    let done = File::open(files)
        .and_then(|folder| syncfs(folder).map_err(io::Error::from))
        .and_then(|()| File::create(flag)?.sync_all());
    if let Err(error) = done {
        warn!(%error, "noting that the cache was stopped in order");
    }
}

/// Removes what is shorter than it says. nginx may run: what is gone it fetches again.
pub(super) fn weed(files: &Path) {
    let (mut seen, mut gone) = (0_u64, 0_u64);
    walk(files, &mut |path| {
        seen += 1;
        // What cannot be read now is nginx's affair: it may have removed it.
        if matches!(is_whole(path), Ok(false)) && fs::remove_file(path).is_ok() {
            gone += 1;
        }
    });
    if gone > 0 {
        warn!(
            gone,
            of = seen,
            "the last stop cut files of the cache short; they are fetched again"
        );
    } else if seen > 0 {
        info!(
            files = seen,
            "the cache was not stopped in order, and nothing of it is cut short"
        );
    }
}

fn walk(folder: &Path, look: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), look),
            Ok(kind) if kind.is_file() => look(&entry.path()),
            _ => {}
        }
    }
}

/// Whether a file holds the whole of the answer whose head it begins with.
fn is_whole(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    Ok(keeps_its_word(&head, size))
}

/// Whether a file of this size is as long as the head says that it begins with; some heads do not say.
fn keeps_its_word(text: &[u8], size: u64) -> bool {
    let head = position(text, KEY).and_then(|key| Some((key, key + position(&text[key..], END)? + END.len())));
    let Some((key, end)) = head else { return false };
    let head = String::from_utf8_lossy(&text[key..end]);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<u64>().ok()).flatten()
    });
    length.is_none_or(|length| length.saturating_add(end as u64) == size)
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// As nginx writes them: notes in its own form, the key, the answer.
    fn kept(head: &str, body: &str) -> Vec<u8> {
        let notes = [&[5, 0, 0, 0, 13, 10, 0xff][..], b"\nKEY: http://a/x.deb\n"].concat();
        [
            &notes,
            format!("HTTP/1.1 206 Partial Content\r\n{head}\r\n\r\n").as_bytes(),
            body.as_bytes(),
        ]
        .concat()
    }

    #[test]
    fn what_is_cut_short_goes_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("3/82");
        fs::create_dir_all(&below).unwrap();
        let whole = kept("content-length: 4\r\nETag: \"x\"", "body");
        let unknown = kept("Transfer-Encoding: chunked", "bo");
        for (name, text) in [
            ("whole", &whole[..]),
            ("short", &whole[..whole.len() - 1]),
            ("head", &whole[..60]),
            ("empty", &[][..]),
            ("unknown", &unknown[..]),
        ] {
            fs::write(below.join(name), text).unwrap();
        }
        weed(folder.path());
        let mut left: Vec<_> = fs::read_dir(&below)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["unknown", "whole"]);
    }

    #[test]
    fn a_stop_in_order_is_noted_once() {
        let folder = tempfile::tempdir().unwrap();
        let flag = folder.path().join("stopped");
        assert!(!was_stopped_well(&flag));
        stopped_well(&flag, folder.path());
        assert!(was_stopped_well(&flag) && !was_stopped_well(&flag));
    }
}
