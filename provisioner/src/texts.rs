// SPDX-License-Identifier: Apache-2.0
//! Folders of texts that a site writes: its roles, its templates.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Folders inside of each other at most: a loop of links ends here.
const DEEPEST: usize = 8;
/// Files at most, which is ten times what is built in: several loops of links would go on for days.
const MOST: usize = 1000;

/// Texts by their paths below the folder: `debian/preseed.preseed`.
pub type Texts = BTreeMap<String, String>;

/// What lies there and cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its path below the folder, which has none itself.
    pub place: String,
    /// Why not.
    pub why: String,
}

/// All that lies below a folder, each text of at most `largest` bytes; or all that cannot be taken.
pub fn read(folder: &Path, largest: u64) -> Result<Texts, Vec<Wrong>> {
    let mut reader = Reader {
        largest,
        texts: Texts::new(),
        wrong: Vec::new(),
    };
    reader.collect(folder, "", 0);
    if reader.wrong.is_empty() {
        Ok(reader.texts)
    } else {
        Err(reader.wrong)
    }
}

/// What lies in a folder, by name, but for what is hidden and for editors' copies.
pub fn entries(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !name.ends_with('~') {
            found.insert(name, entry.path());
        }
    }
    Ok(found)
}

struct Reader {
    largest: u64,
    texts: Texts,
    wrong: Vec<Wrong>,
}

impl Reader {
    fn collect(&mut self, folder: &Path, below: &str, depth: usize) {
        if depth == DEEPEST {
            return self.say(below, "folders go too deep");
        }
        let entries = match entries(folder) {
            Ok(entries) => entries,
            Err(error) => return self.say(below, format!("it cannot be read: {error}")),
        };
        for (name, path) in entries {
            if self.texts.len() + self.wrong.len() >= MOST {
                return self.say(below, format!("there are more than {MOST} files"));
            }
            let place = format!("{below}{name}");
            if path.is_dir() {
                self.collect(&path, &format!("{place}/"), depth + 1);
                continue;
            }
            match text(&path, self.largest) {
                Ok(text) => _ = self.texts.insert(place, text),
                Err(why) => self.say(&place, why),
            }
        }
    }

    fn say(&mut self, place: &str, why: impl Into<String>) {
        self.wrong.push(Wrong {
            place: place.to_owned(),
            why: why.into(),
        });
    }
}

fn text(path: &Path, largest: u64) -> Result<String, String> {
    // Opening a pipe would wait for somebody who writes into it, and a device has no end.
    if !path.is_file() {
        return Err("it is no file, or a link to none".into());
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(largest + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > largest {
        return Err(format!("it has more than {largest} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    const ENOUGH: u64 = 100;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    /// What is wrong, a line a place.
    fn wrong(folder: &tempfile::TempDir) -> Vec<String> {
        let wrong = read(folder.path(), ENOUGH).unwrap_err();
        let lines = wrong.iter().map(|wrong| format!("{}: {}", wrong.place, wrong.why));
        lines.collect()
    }

    #[test]
    fn texts_are_known_by_their_paths_and_what_an_editor_leaves_is_passed_over() {
        let folder = folder(&[
            ("a.sh", b"a"),
            ("b/c/d.ini", b"d"),
            ("b/.d.ini.swp", b"\xff"),
            ("b/d.ini~", b"\xff"),
            (".git/config", b"\xff"),
        ]);
        let texts = read(folder.path(), ENOUGH).unwrap();
        let expected = [("a.sh", "a"), ("b/c/d.ini", "d")];
        assert_eq!(texts, expected.map(|(path, text)| (path.into(), text.into())).into());
    }

    #[test]
    fn all_that_is_no_text_is_told_at_once_and_nothing_is_waited_for() {
        let folder = folder(&[
            ("a/no-text", b"\xff\xfe"),
            ("a/too-large", &[b'x'; 101]),
            ("a/good", b"x"),
        ]);
        let place = |name: &str| folder.path().join("a").join(name);
        nix::unistd::mkfifo(&place("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", place("device")).unwrap();
        symlink("/nowhere", place("dangling")).unwrap();
        let expected = [
            "a/dangling: it is no file, or a link to none",
            "a/device: it is no file, or a link to none",
            "a/no-text: it is not UTF-8",
            "a/pipe: it is no file, or a link to none",
            "a/too-large: it has more than 100 bytes",
        ];
        assert_eq!(wrong(&folder), expected);
    }

    #[test]
    fn loops_of_links_end() {
        let folder = folder(&[]);
        symlink(".", folder.path().join("loop")).unwrap();
        assert!(wrong(&folder)[0].ends_with("folders go too deep"));
        for name in 0..9 {
            symlink(".", folder.path().join(name.to_string())).unwrap();
        }
        assert!(wrong(&folder).last().unwrap().contains("more than 1000"));
    }
}
