// SPDX-License-Identifier: Apache-2.0
//! The templates of answer files that are in force: those that are built in, and above them the site's own, a folder.
//!
//! A folder with anything wrong in it changes nothing: the set that was in force before stays, across restarts too, for
//! which the files of the last good one are kept in the state folder.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use kickstart::{Broken, Templates};

use crate::texts::{self, Texts};

pub mod trial;

use trial::Judge;

/// The files of the last good set, by path, as JSON in the state folder.
const KEPT: &str = "templates.json";
/// Bytes of a template at most: the longest of ours has a hundredth of it.
const LARGEST: u64 = 1 << 20;
/// Bytes of all together at most: all of ours have a hundredth of it.
const ALL: usize = 8 << 20;

/// Templates by their paths.
pub type Files = Texts;

/// The templates in force.
#[derive(Debug)]
pub struct SiteTemplates {
    folder: PathBuf,
    kept: PathBuf,
    judge: Judge,
    state: RwLock<State>,
}

/// What came of the last look at the folder.
#[derive(Clone, Debug)]
struct State {
    /// Nothing only where the folder was broken from the first look on.
    set: Option<Arc<Templates>>,
    /// What is wrong with the folder; empty where it is in force.
    refused: Vec<Broken>,
}

impl SiteTemplates {
    /// Reads the site's folder, and takes what `judge` lets pass. Where it is broken, what was in force at the last stop
    /// of the server is again.
    pub fn open(folder: &Path, state: &Path, judge: Judge) -> Result<Self> {
        let templates = Self {
            folder: folder.to_owned(),
            kept: state.join(KEPT),
            judge,
            state: RwLock::new(State {
                set: None,
                refused: Vec::new(),
            }),
        };
        if templates.reload()?.is_err()
            && let Some(kept) = templates.kept()?
        {
            // A newer program may have other templates, which these do not fit any more.
            let set = Templates::with_overrides(&kept).ok().map(Arc::new);
            templates.write(|state| state.set = set);
        }
        Ok(templates)
    }

    /// Reads the folder again: how many files of the site are in force now, or what is wrong with them.
    pub fn reload(&self) -> Result<std::result::Result<usize, Vec<Broken>>> {
        match self.look()? {
            Ok((files, set)) => {
                self.keep(&files)?;
                self.write(|state| {
                    *state = State {
                        set: Some(Arc::new(set)),
                        refused: Vec::new(),
                    };
                });
                Ok(Ok(files.len()))
            }
            Err(refused) => {
                self.write(|state| state.refused.clone_from(&refused));
                Ok(Err(refused))
            }
        }
    }

    /// The set in force, or why there is none.
    pub fn now(&self) -> std::result::Result<Arc<Templates>, String> {
        self.read(|state| state.set.clone()).ok_or_else(|| {
            "the site's templates are broken; the admin sees them with: provisioner template check".into()
        })
    }

    /// The set that these files make, tried out before.
    pub fn tried(&self, files: &Files) -> std::result::Result<Templates, Vec<Broken>> {
        (self.judge)(files)?;
        Templates::with_overrides(files)
    }

    /// What is wrong with the folder, so that it is not in force.
    pub fn refused(&self) -> Vec<Broken> {
        self.read(|state| state.refused.clone())
    }

    /// Where the site's own are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a person should know of the folder where it is not in force.
    pub fn warning(&self) -> Option<String> {
        let State { set, refused } = self.read(Clone::clone);
        let first = refused.first()?;
        let more = match refused.len() {
            1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        let instead = match set {
            Some(_) => "those from before stay in force",
            None => "installers get no answers until that is right",
        };
        let folder = self.folder.display();
        let first = said(first);
        Some(format!(
            "the templates in {folder} are refused, {instead}: {first}{more}"
        ))
    }

    fn look(&self) -> Result<std::result::Result<(Files, Templates), Vec<Broken>>> {
        // A folder that has gone is not an empty one: a disk may be missing.
        if !self.folder.exists() && self.kept()?.is_some_and(|kept| !kept.is_empty()) {
            let why = format!("{} is gone; make it again, empty to use none", self.folder.display());
            return Ok(Err(vec![whole("", why)]));
        }
        Ok(load(&self.folder, self.judge))
    }

    fn kept(&self) -> Result<Option<Files>> {
        let reading = || format!("reading {}", self.kept.display());
        match fs::read(&self.kept) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(reading)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(reading),
        }
    }

    fn keep(&self, files: &Files) -> Result<()> {
        if self.kept()?.as_ref() == Some(files) {
            return Ok(());
        }
        let half = self.kept.with_extension("half");
        let written = serde_json::to_vec(files).map_err(io::Error::from).and_then(|text| {
            let mut file = File::create(&half)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&half, &self.kept)
        });
        written.with_context(|| format!("writing {}", self.kept.display()))
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A fault in words: `FILE:LINE: why`, the line left out where it is the file as a whole.
pub fn said(broken: &Broken) -> String {
    match (broken.file.as_str(), broken.line) {
        ("", _) => broken.why.clone(),
        (file, 0) => format!("{file}: {}", broken.why),
        _ => broken.to_string(),
    }
}

/// The files of a folder and the set that they make, or all that is wrong with them. No folder is an empty one.
pub fn load(folder: &Path, judge: Judge) -> std::result::Result<(Files, Templates), Vec<Broken>> {
    let files = read(folder)?;
    judge(&files)?;
    let set = Templates::with_overrides(&files)?;
    Ok((files, set))
}

/// The files of a folder.
pub fn read(folder: &Path) -> std::result::Result<Files, Vec<Broken>> {
    if !folder.exists() {
        return Ok(Files::new());
    }
    let broken = |wrong: texts::Wrong| whole(&wrong.place, wrong.why);
    let files = texts::read(folder, LARGEST).map_err(|wrong| wrong.into_iter().map(broken).collect::<Vec<_>>())?;
    let strange = |(file, text): (&String, &String)| Some(whole(file, strange(text)?));
    let mut wrong: Vec<Broken> = files.iter().filter_map(strange).collect();
    if files.values().map(String::len).sum::<usize>() > ALL {
        wrong.push(whole("", format!("they have more than {ALL} bytes together")));
    }
    if wrong.is_empty() { Ok(files) } else { Err(wrong) }
}

/// What shells and installers take for part of a word.
fn strange(text: &str) -> Option<&'static str> {
    let marks = [
        ("\u{feff}", "it begins with a byte order mark; save it without"),
        ("\r", "its lines end as in DOS; save it with line feeds alone"),
        ("\0", "it holds a zero byte"),
    ];
    let (_, why) = marks.into_iter().find(|(mark, _)| text.contains(mark))?;
    Some(why)
}

fn whole(file: &str, why: impl Into<String>) -> Broken {
    Broken {
        file: file.to_owned(),
        line: 0,
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A site's folder and a server's state.
    struct Lab(tempfile::TempDir);

    impl Lab {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn folder(&self) -> PathBuf {
            self.0.path().join("templates")
        }

        fn write(&self, path: &str, text: impl AsRef<[u8]>) {
            let path = self.folder().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn open(&self) -> SiteTemplates {
            SiteTemplates::open(&self.folder(), self.0.path(), |_| Ok(())).unwrap()
        }
    }

    const FILE: &str = "debian/late.sh";

    /// The built-in template with a line more.
    fn with(line: &str) -> String {
        Templates::paths()[FILE].clone() + line + "\n"
    }

    fn in_force(templates: &SiteTemplates) -> Vec<String> {
        templates.now().unwrap().overridden().to_vec()
    }

    #[test]
    fn without_a_folder_the_built_in_ones_are_in_force() {
        let templates = Lab::new().open();
        assert!(in_force(&templates).is_empty());
        assert!(templates.warning().is_none());
    }

    #[test]
    fn a_broken_override_is_refused_and_the_set_from_before_stays_across_restarts() {
        let lab = Lab::new();
        lab.write(FILE, with("echo good"));
        let templates = lab.open();
        assert_eq!(in_force(&templates), [FILE]);
        lab.write(FILE, with("echo {{ spec.hotsname }}"));
        lab.write("debian/partman.sh", "{% if %}");
        let refused = templates.reload().unwrap().unwrap_err();
        assert!(!refused.is_empty());
        for templates in [templates, lab.open()] {
            assert_eq!(in_force(&templates), [FILE]);
            assert_eq!(templates.refused(), refused);
            let warning = templates.warning().unwrap();
            assert!(warning.contains("stay in force"), "{warning}");
        }
        fs::remove_file(lab.folder().join("debian/partman.sh")).unwrap();
        lab.write(FILE, with("echo better"));
        let templates = lab.open();
        assert!(templates.warning().is_none());
        assert_eq!(templates.reload().unwrap(), Ok(1));
    }

    #[test]
    fn a_folder_that_was_never_right_gives_no_answers_instead_of_others() {
        let lab = Lab::new();
        lab.write(FILE, "{{ nobody }}");
        let templates = lab.open();
        assert!(templates.now().unwrap_err().contains("template check"));
        assert!(templates.warning().unwrap().contains("no answers"));
        lab.write(FILE, with("echo good"));
        assert_eq!(templates.reload().unwrap(), Ok(1));
        assert_eq!(in_force(&templates), [FILE]);
    }

    #[test]
    fn a_folder_that_is_gone_is_not_an_empty_one() {
        let lab = Lab::new();
        lab.write(FILE, with("echo good"));
        let templates = lab.open();
        fs::remove_dir_all(lab.folder()).unwrap();
        assert!(templates.reload().unwrap().unwrap_err()[0].why.contains("is gone"));
        assert_eq!(in_force(&templates), [FILE]);
        fs::create_dir(lab.folder()).unwrap();
        assert_eq!(templates.reload().unwrap(), Ok(0));
        assert!(in_force(&templates).is_empty());
    }

    #[test]
    fn what_an_editor_leaves_is_passed_over_and_what_is_no_text_is_told() {
        let lab = Lab::new();
        lab.write("debian/.late.sh.swp", [0xff]);
        lab.write("debian/late.sh~", "{{ nobody }}");
        assert_eq!(read(&lab.folder()).unwrap(), Files::new());
        lab.write("debian/early.sh", [0xff, 0xfe]);
        lab.write("debian/late.sh", "x".repeat(2 << 20));
        let wrong: Vec<String> = read(&lab.folder())
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            wrong.contains(&"debian/early.sh:0: it is not UTF-8".to_owned()),
            "{wrong:?}"
        );
        assert!(
            wrong
                .iter()
                .any(|wrong| wrong.starts_with("debian/late.sh:0: it has more")),
            "{wrong:?}"
        );
    }

    #[test]
    fn what_another_systems_editor_leaves_in_a_file_is_told() {
        for (text, why) in [
            (with("echo good").replace('\n', "\r\n"), "end as in DOS"),
            (format!("\u{feff}{}", with("echo good")), "byte order mark"),
            (with("echo \0"), "zero byte"),
        ] {
            let lab = Lab::new();
            lab.write(FILE, text);
            assert!(read(&lab.folder()).unwrap_err()[0].why.contains(why), "{why}");
        }
    }
}
