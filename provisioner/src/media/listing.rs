// SPDX-License-Identifier: Apache-2.0
//! What is in an archive, as libarchive's tar lists it. Knows text only.

/// One thing in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As it is listed, by which it is read.
    pub(super) listed: String,
    /// Its path in the archive: no `./` before it, nothing behind it.
    pub(super) path: String,
    /// What it is.
    pub(super) kind: Kind,
    /// Bytes.
    pub(super) size: u64,
}

/// What something in an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file.
    File,
    /// A link of either sort: what it holds is elsewhere.
    Link,
    /// A folder, a device.
    Other,
}

/// Why something is not even looked into.
pub(super) const NO_MEDIUM: &str = "it is no ISO, no tarball and no Debian package";

/// Columns before the name: mode, links, owner, group, size, and the three of the time.
const COLUMNS: usize = 8;

/// The formats of media, as libarchive begins their names. It knows others, one of which (mtree) takes what it says is
/// in the archive from the files of this machine.
const FORMATS: [&str; 6] = ["ISO9660", "GNU tar ", "POSIX ustar ", "POSIX pax ", "tar (", "ar,"];
/// What the last line of a list begins with.
const FORMAT: &str = "Archive Format: ";

/// Reads a list, or says what makes it one of no honest medium.
pub(super) fn read(list: &str) -> Result<Vec<Entry>, String> {
    let format = list.lines().last().and_then(|line| line.strip_prefix(FORMAT));
    if !format.is_some_and(|format| FORMATS.iter().any(|known| format.starts_with(known))) {
        return Err(NO_MEDIUM.into());
    }
    list.lines().filter_map(line).map(checked).collect()
}

/// `-rw-r--r--  0 0      0          66 Jul  6 18:34 ./text/version.info`; nothing where it is no such line.
fn line(line: &str) -> Option<Entry> {
    let mut rest = line;
    let mut columns = [""; COLUMNS];
    for column in &mut columns {
        rest = rest.trim_start_matches(' ');
        let end = rest.find(' ')?;
        (*column, rest) = rest.split_at(end);
    }
    // A name may begin with blanks of its own.
    let listed = rest.strip_prefix(' ')?;
    let (kind, listed) = match (columns[0].chars().next()?, listed) {
        ('l', name) => (Kind::Link, name.split(" -> ").next()?),
        ('h', name) => (Kind::Link, name.split(" link to ").next()?),
        // A hard link is listed as a file; one whose name has these words is none that we look for.
        ('-', name) => match name.split_once(" link to ") {
            Some((name, _)) => (Kind::Link, name),
            None => (Kind::File, name),
        },
        (_, name) => (Kind::Other, name),
    };
    let path = listed.strip_prefix("./").unwrap_or(listed).trim_end_matches('/');
    Some(Entry {
        listed: listed.to_owned(),
        path: path.to_owned(),
        kind,
        size: columns[4].parse().unwrap_or(0),
    })
}

/// Nothing is ever written where an archive says; one that says such a thing was made to do harm all the same.
fn checked(entry: Entry) -> Result<Entry, String> {
    let climbs = entry.path.split('/').any(|part| part == "..");
    if climbs || entry.path.starts_with('/') {
        return Err(format!(
            "it has a file outside of itself ({}); no honest medium has",
            entry.path.escape_debug()
        ));
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const TAR: &str = "Archive Format: POSIX ustar format,  Compression: none\n";

    #[test]
    fn formats_that_no_medium_has_are_refused() {
        let line = "-rw-r--r--  0 0      0          66 Jul  6 18:34 linux";
        for format in [
            "mtree,  Compression: gzip",
            "ZIP 2.0 (uncompressed),  Compression: none",
            "",
        ] {
            let list = format!("{line}\nArchive Format: {format}\n");
            assert_eq!(read(&list).unwrap_err(), NO_MEDIUM, "{format}");
        }
        let forged = format!("{TAR}{line}\n");
        assert_eq!(read(&forged).unwrap_err(), NO_MEDIUM);
        assert_eq!(read("").unwrap_err(), NO_MEDIUM);
    }

    #[test]
    fn files_links_and_others_are_told_apart() {
        let list = "-rw-r--r--  0 0      0    40810276 Jul  7 20:29 ./text/initrd.gz\n\
            drwxr-xr-x  2 0      0        2048 Nov 21  2024 casper/\n\
            lrwxrwxrwx  1 0      0           0 Nov 21 20:14 casper/link -> ../casper/initrd\n\
            -rw-r--r--  0 1000   1000        0 Nov 21 20:14 linux link to other\n\
            crw-r--r--  0 0      0         8,1 Nov 21 20:14 dev/sda1\n\
            -rw-r--r--  0 0      0           2 Nov 21 20:14  two words \n\
            no line at all\n\
            Archive Format: GNU tar format,  Compression: gzip\n";
        let found: Vec<(String, Kind, u64)> = read(list)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.path, entry.kind, entry.size))
            .collect();
        let expected = [
            ("text/initrd.gz", Kind::File, 40_810_276),
            ("casper", Kind::Other, 2048),
            ("casper/link", Kind::Link, 0),
            ("linux", Kind::Link, 0),
            ("dev/sda1", Kind::Other, 0),
            (" two words ", Kind::File, 2),
        ];
        assert_eq!(found, expected.map(|(path, kind, size)| (path.to_owned(), kind, size)));
    }

    #[test]
    fn an_archive_that_climbs_out_of_itself_is_refused() {
        for path in ["../linux", "./a/../../linux", "/etc/passwd", "a/.."] {
            let list = format!("-rw-r--r--  0 0      0          66 Jul  6 18:34 {path}\n{TAR}");
            assert!(read(&list).unwrap_err().contains("outside of itself"), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_listed_name_is_read_back(path in "[a-zA-Z0-9._-]{1,12}(/[a-zA-Z0-9_-]{1,12}){0,3}", size in any::<u32>()) {
            prop_assume!(!path.split('/').any(|part| part == ".."));
            let list = format!("-rw-r--r--  0 0      0 {size:>11} Jul  6 18:34 ./{path}\n{TAR}");
            let entries = read(&list).unwrap();
            prop_assert_eq!(&entries[0].path, &path);
            prop_assert_eq!(entries[0].size, u64::from(size));
        }

        #[test]
        fn no_list_is_too_strange(list in "([-ldhc]?\\PC{0,60}\n){0,5}") {
            let _ = read(&(list + TAR));
        }
    }
}
