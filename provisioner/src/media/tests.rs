// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::symlink;

use provisioner_api::MediumImport;

use super::*;

/// A server's state and a folder where media are unpacked.
struct Lab {
    folder: tempfile::TempDir,
    media: Media,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let media = Media::open(&folder.path().join("state")).unwrap();
        Self { folder, media }
    }

    fn reopen(&mut self) {
        self.media = Media::open(&self.folder.path().join("state")).unwrap();
    }

    fn unpacked(&self, files: &[(&str, &str)]) -> MediumImport {
        let folder = self.folder.path().join("unpacked");
        let _ = fs::remove_dir_all(&folder);
        for (place, text) in files {
            let path = folder.join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        MediumImport {
            folder: folder.to_str().unwrap().to_owned(),
            os: "debian-12".into(),
            release: "12 (bookworm)".into(),
            source: "netboot.tar.gz".into(),
            verified: Verified::Checksum,
        }
    }

    fn debian(&self, build: &str) -> MediumImport {
        let (kernel, initrd) = (format!("kernel {build}"), format!("initrd {build}"));
        self.unpacked(&[("linux", &kernel), ("initrd.gz", &initrd), ("secret", "never served")])
    }

    fn take(&self, arrival: &MediumImport, now: i64) -> Result<Arc<Medium>, TakeError> {
        self.media.take(arrival, now, &mut |_, _| {})
    }

    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut rest = vec![self.folder.path().join("state")];
        while let Some(folder) = rest.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                found.push(path.display().to_string());
                rest.extend(path.is_dir().then_some(path));
            }
        }
        found.sort();
        found
    }
}

fn debian_12() -> &'static Os {
    families::named("debian-12").unwrap()
}

#[test]
fn a_medium_is_found_by_its_system_and_serves_the_files_of_its_family_only() {
    let lab = Lab::new();
    let missing = lab.media.of(debian_12()).unwrap_err().to_string();
    assert!(missing.contains("provisioner os import"), "{missing}");
    let taken = lab.take(&lab.debian("a"), 5).unwrap();
    let medium = lab.media.of(debian_12()).unwrap();
    assert_eq!(medium.id, taken.id);
    assert_eq!(medium.path, format!("/media/{}", medium.id));
    let (path, file) = medium.file("linux").unwrap();
    assert_eq!((fs::read(path).unwrap(), file.size), (b"kernel a".to_vec(), 8));
    for outside in [
        "secret",
        "medium.json",
        "../medium.json",
        "",
        ".",
        "/etc/passwd",
        "linux/",
        "./linux",
        "linux\0",
    ] {
        assert!(medium.file(outside).is_none(), "{outside:?}");
        assert!(
            lab.media.boot_file(&format!("media/{}/{outside}", medium.id)).is_none(),
            "{outside:?}"
        );
    }
    assert!(lab.media.boot_file(&format!("media/{}/linux", medium.id)).is_some());
    assert!(lab.media.of(families::named("debian-13").unwrap()).is_err());
}

#[test]
fn the_same_files_are_kept_once_and_other_files_beside_them() {
    let mut lab = Lab::new();
    let first = lab.take(&lab.debian("a"), 1).unwrap().id.clone();
    let other = lab.take(&lab.debian("b"), 2).unwrap().id.clone();
    let again = MediumImport {
        verified: Verified::Nothing,
        ..lab.debian("a")
    };
    assert_eq!(lab.take(&again, 3).unwrap().id, first);
    assert_ne!(first, other);
    for _ in 0..2 {
        let ids: Vec<String> = lab.media.all().iter().map(|medium| medium.id.clone()).collect();
        assert_eq!(ids, [first.clone(), other.clone()], "newest first");
        assert_eq!(lab.media.of(debian_12()).unwrap().record.verified, Verified::Nothing);
        lab.reopen();
    }
}

#[test]
fn files_of_one_system_are_not_taken_as_another_one() {
    let lab = Lab::new();
    lab.take(&lab.debian("a"), 1).unwrap();
    let other = MediumImport {
        os: "debian-13".into(),
        ..lab.debian("a")
    };
    let refused = lab.take(&other, 2).unwrap_err().to_string();
    assert!(refused.contains("debian-12 already"), "{refused}");
}

#[test]
fn what_is_no_whole_medium_is_refused_and_leaves_nothing() {
    let lab = Lab::new();
    let before = lab.files();
    let refused = |arrival: &MediumImport, why: &str| {
        let error = lab.take(arrival, 1).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(lab.files(), before, "{why}");
    };
    refused(&lab.unpacked(&[("linux", "kernel")]), "there is no");
    refused(
        &lab.unpacked(&[("linux", "kernel"), ("initrd.gz", "")]),
        "no file with something in it",
    );
    refused(
        &lab.unpacked(&[("linux", "kernel"), ("initrd.gz/x", "")]),
        "no file with something in it",
    );
    let pipe = lab.unpacked(&[("linux", "kernel")]);
    nix::unistd::mkfifo(
        &Path::new(&pipe.folder).join("initrd.gz"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    refused(&pipe, "no file with something in it");
    let named = |os: &str| MediumImport {
        os: os.into(),
        ..lab.debian("a")
    };
    refused(&named("../../etc"), "no system that can be installed");
    refused(&named("cloud-debian"), "ready-made image");
}

#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let lab = Lab::new();
    fs::write(lab.folder.path().join("state/server.key"), "key").unwrap();
    let arrival = lab.unpacked(&[("linux", "kernel")]);
    let before = lab.files();
    symlink("../state/server.key", Path::new(&arrival.folder).join("initrd.gz")).unwrap();
    let error = lab.take(&arrival, 1).unwrap_err().to_string();
    assert!(error.contains("is a link"), "{error}");
    assert_eq!(lab.files(), before);
}

#[test]
fn what_was_cut_short_leaves_nothing_after_a_restart() {
    let mut lab = Lab::new();
    lab.take(&lab.debian("a"), 1).unwrap();
    let before = lab.files();
    for half in [".unfinished-import", ".unfinished-removal"] {
        fs::create_dir_all(lab.folder.path().join("state/media").join(half).join("images")).unwrap();
    }
    lab.reopen();
    assert_eq!(lab.files(), before);
}

#[test]
fn a_damaged_medium_is_not_started_and_importing_it_again_heals_it() {
    let mut lab = Lab::new();
    let id = lab.take(&lab.debian("a"), 1).unwrap().id.clone();
    let place = lab.folder.path().join("state/media").join(&id);
    let damages: [(&str, &dyn Fn()); 4] = [
        ("bytes instead of", &|| fs::write(place.join("linux"), "kern").unwrap()),
        ("cannot be read", &|| fs::remove_file(place.join("linux")).unwrap()),
        ("bytes instead of", &|| {
            fs::remove_file(place.join("linux")).unwrap();
            symlink("/etc/passwd", place.join("linux")).unwrap();
        }),
        ("its list is not", &|| {
            let list = fs::read_to_string(place.join(RECORD)).unwrap();
            fs::write(place.join(RECORD), list.replace("initrd.gz", "secret")).unwrap();
        }),
    ];
    for (why, damage) in damages {
        damage();
        lab.reopen();
        let error = lab.media.of(debian_12()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("import it again"), "{error}");
        assert!(lab.media.boot_file(&format!("media/{id}/linux")).is_none());
        assert_eq!(lab.take(&lab.debian("a"), 2).unwrap().id, id);
        assert!(lab.media.of(debian_12()).is_ok());
    }
}

#[test]
fn a_removed_medium_is_gone_and_stays_gone() {
    let mut lab = Lab::new();
    let before = lab.files();
    let id = lab.take(&lab.debian("a"), 1).unwrap().id.clone();
    lab.media.remove(&id).unwrap();
    lab.media.remove(&id).unwrap();
    lab.reopen();
    assert!(lab.media.all().is_empty());
    assert_eq!(lab.files(), before);
}
