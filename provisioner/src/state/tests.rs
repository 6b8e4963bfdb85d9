// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use super::*;
use crate::registry::Registry;
use crate::tls::ServerKey;

/// A state folder that was in use: database with one node, key, lease log.
fn used() -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    let registry = Registry::open(state.path()).unwrap();
    crate::registry::tests::enrol(&registry);
    registry.checkpoint().unwrap();
    drop(registry);
    ServerKey::open_or_make(state.path()).unwrap();
    fs::write(state.path().join("leases"), "bound 192.0.2.7").unwrap();
    state
}

fn refused(state: &Path) -> String {
    whole(state).unwrap_err().to_string()
}

#[test]
fn a_new_folder_and_a_used_one_are_whole() {
    let state = tempfile::tempdir().unwrap();
    whole(state.path()).unwrap();
    whole(used().path()).unwrap();
}

#[test]
fn a_used_folder_without_its_database_is_refused_with_what_to_do() {
    type Loss = fn(&Path);
    let losses: [Loss; 3] = [
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, "").unwrap(),
        // The file alone, copied while all that was ever written was in its log.
        |file| {
            fs::remove_file(file).unwrap();
            let db = Connection::open(file).unwrap();
            db.pragma_update(None, "user_version", 0).unwrap();
            db.execute_batch("CREATE TABLE x (y); DROP TABLE x;").unwrap();
        },
    ];
    for loss in losses {
        let state = used();
        let file = state.path().join(registry::FILE);
        loss(&file);
        let before = fs::read(&file).ok();
        let says = refused(state.path());
        assert!(
            says.contains("backup") && says.contains("the server's key, leased addresses"),
            "{says}"
        );
        assert_eq!(fs::read(&file).ok(), before, "nothing is written");
    }
}

#[test]
fn any_trace_of_use_without_a_database_is_refused() {
    for trace in [
        "leases",
        "images/debian/manifest.json",
        "ram/1/kernel",
        "media/1/iso",
        "gleaner.db-wal",
        "tls/server.key",
    ] {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(trace);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "bound x").unwrap();
        assert!(refused(state.path()).contains("is missing, but"), "{trace}");
    }
    // Folders that an earlier start made and never filled.
    let state = tempfile::tempdir().unwrap();
    fs::create_dir(state.path().join("images")).unwrap();
    fs::write(state.path().join("leases"), [0; 64]).unwrap();
    whole(state.path()).unwrap();
}

#[test]
fn a_missing_key_is_no_reason_to_make_a_new_one() {
    let state = used();
    fs::remove_dir_all(state.path().join("tls")).unwrap();
    let says = refused(state.path());
    assert!(says.contains("1 nodes are known") && says.contains("backup"), "{says}");
    fs::create_dir(state.path().join("tls")).unwrap();
    fs::write(state.path().join("tls/server.key"), "").unwrap();
    assert!(refused(state.path()).contains("backup"), "an empty file is no key");
}

#[test]
fn the_second_program_on_one_state_folder_is_told_who_the_first_is() {
    let state = tempfile::tempdir().unwrap();
    let first = Claim::take(state.path()).unwrap();
    let says = Claim::take(state.path()).unwrap_err().to_string();
    let who = format!("another provisioner (process {}) is running", std::process::id());
    assert!(says.contains(&who), "{says}");
    drop(first);
    Claim::take(state.path()).unwrap();
}

#[test]
fn a_lock_that_is_a_link_to_something_else_is_not_written_to() {
    let state = tempfile::tempdir().unwrap();
    let precious = state.path().join("precious");
    fs::write(&precious, "secret").unwrap();
    let lock = state.path().join(LOCK);
    symlink(&precious, &lock).unwrap();
    Claim::take(state.path()).unwrap_err();
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&precious, &lock).unwrap();
    Claim::take(state.path()).unwrap_err();
    assert_eq!(fs::read_to_string(precious).unwrap(), "secret");
}

#[test]
fn who_looks_sees_what_keeps_the_server_from_starting_and_leaves_nothing_behind() {
    let state = used();
    let list = || {
        let mut names: Vec<_> = fs::read_dir(state.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(state.path().join(format!("{}{end}", registry::FILE)));
    }
    let before = list();
    assert_eq!(trouble(state.path()), None);
    assert_eq!(list(), before);
    let file = state.path().join(registry::FILE);
    let mut bytes = fs::read(&file).unwrap();
    bytes[2 * 4096..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    assert!(trouble(state.path()).unwrap().contains("is damaged"));
    fs::remove_file(&file).unwrap();
    assert!(trouble(state.path()).unwrap().contains("is missing"));
    assert_eq!(list().len() + 1, before.len());
}

#[test]
fn files_that_others_may_read_are_found() {
    let state = used();
    for path in [state.path().join("tls/server.key"), state.path().join("gleaner.db")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(readable_by_others(state.path()), [""; 0].map(PathBuf::from));
    for (name, mode) in [("tls/server.key", 0o640), ("gleaner.db", 0o604)] {
        let path = state.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(readable_by_others(state.path()).contains(&path), "{name}");
    }
}
