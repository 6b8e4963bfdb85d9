// SPDX-License-Identifier: Apache-2.0
//! What the cache wrote down that was wanted and not to be had: a line each time, read from its end.
//!
//! `1763757000.123 504 10.77.0.50 deb.example /debian/dists/stable/InRelease`. What stands in a line comes from
//! whoever asked; a line that makes no sense is passed over.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// How the cache writes a line, in nginx's words.
pub const FORMAT: &str = "$msec $status $remote_addr $http_host $request_uri";
/// What is answered while nobody is asked: an installer that hears it does not try again for minutes.
pub const NOT_KEPT: u16 = 410;
/// What is answered when the source does not: an installer that hears it tries again.
pub const NO_ANSWER: u16 = 504;
/// Bytes of the end that are read: some ten thousand lines.
const READ: u64 = 1 << 20;
/// What nobody has wanted for so long (milliseconds) is wanted no more.
const FORGOTTEN: i64 = 7 * 24 * 3_600_000;
/// Different files that are listed: a person reads the first, a program fetches the rest with the next try.
const MOST: usize = 2000;
/// Longest host and path of a file that is believed.
const LONGEST: usize = 1024;

/// A file that was wanted and not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The host that was named, with its port where it is not the usual one.
    pub host: String,
    /// The path there.
    pub path: String,
    /// Why, the last time.
    pub reason: Reason,
    /// How often.
    pub times: u64,
    /// Who wanted it last.
    pub asked_by: String,
    /// When, Unix milliseconds.
    pub last: i64,
}

/// Why it was not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its source says that there is no such file.
    Absent,
    /// It is not kept, and its source was not to be asked.
    NotKept,
    /// It is not kept, and its source did not answer.
    Unreachable,
}

impl Missing {
    /// Where it would be, as the client named it.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.host, self.path)
    }
}

/// What the file at `path` tells of the last days, the last first; nothing where there is no file.
pub fn read(path: &Path, now: i64) -> Vec<Missing> {
    tail(path).map_or_else(|_| Vec::new(), |text| list(&text, now))
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ)))?;
    let mut bytes = Vec::new();
    file.take(READ).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What these lines tell, the last first.
pub fn list(text: &str, now: i64) -> Vec<Missing> {
    let mut all: HashMap<(String, String), Missing> = HashMap::new();
    for missing in text
        .lines()
        .filter_map(line)
        .filter(|missing| now - missing.last < FORGOTTEN)
    {
        let name = (missing.host.clone(), missing.path.clone());
        let times = all.get(&name).map_or(0, |known| known.times) + 1;
        all.insert(name, Missing { times, ..missing });
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.path.cmp(&b.path)));
    all.truncate(MOST);
    all
}

fn line(text: &str) -> Option<Missing> {
    let mut words = text.splitn(5, ' ');
    let (seconds, milliseconds) = words.next()?.split_once('.')?;
    let seconds: u32 = seconds.parse().ok()?;
    let milliseconds: u16 = milliseconds.parse().ok()?;
    let reason = match words.next()?.parse::<u16>().ok()? {
        404 => Reason::Absent,
        NOT_KEPT => Reason::NotKept,
        500 | 502 | 503 | NO_ANSWER => Reason::Unreachable,
        _ => return None,
    };
    let [asked_by, host, path] = [words.next()?, words.next()?, words.next()?];
    let good = path.starts_with('/') && host.len() + path.len() <= LONGEST && !path.contains(char::is_whitespace);
    good.then(|| Missing {
        host: host.to_ascii_lowercase(),
        path: path.to_owned(),
        reason,
        times: 1,
        asked_by: asked_by.to_owned(),
        last: i64::from(seconds) * 1000 + i64::from(milliseconds),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_763_757_100_000;

    #[test]
    fn a_file_is_listed_once_with_how_often_and_why_the_last_time() {
        let text = "1763757000.001 502 10.77.0.50 deb.example /debian/a.deb\n\
                    1763757001.000 404 10.77.0.51 deb.example /debian/b.deb\n\
                    half a line of an earlier time\n\
                    1763757002.500 404 10.77.0.52 DEB.example /debian/a.deb\n\
                    1763757003.000 200 10.77.0.52 deb.example /debian/c.deb\n\
                    1763000000.000 404 10.77.0.52 deb.example /debian/forgotten.deb\n";
        let listed = list(text, NOW);
        let brief: Vec<_> = listed
            .iter()
            .map(|it| (it.path.as_str(), it.times, it.reason))
            .collect();
        assert_eq!(
            brief,
            [
                ("/debian/a.deb", 2, Reason::Absent),
                ("/debian/b.deb", 1, Reason::Absent)
            ]
        );
        assert_eq!(listed[0].url(), "http://deb.example/debian/a.deb");
        assert_eq!(
            (listed[0].last, listed[0].asked_by.as_str()),
            (1_763_757_002_500, "10.77.0.52")
        );
    }

    proptest! {
        #[test]
        fn whatever_stands_in_the_log_is_read(text in "\\PC*") {
            list(&text, NOW);
        }

        #[test]
        fn what_was_written_is_what_is_read(path in "/[!-~]{0,200}", times in 1_usize..5) {
            let text = format!("1763757000.250 504 192.0.2.7 deb.example:8080 {path}\n").repeat(times);
            let listed = list(&text, NOW);
            prop_assert_eq!(listed.len(), 1);
            prop_assert_eq!(&listed[0].path, &path);
            prop_assert_eq!(listed[0].times, times as u64);
        }
    }
}
