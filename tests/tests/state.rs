// SPDX-License-Identifier: Apache-2.0
//! The state folder of the real server: whole after a stop, refused where a part of it is lost, one server's at a time,
//! and told of while it does not work.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::rom;
use tests::server::{ALONE, Street, Yard};
use tests::wait::until;

/// Bytes of a page of the database.
const PAGE: u64 = 4096;
/// A look at the state counts for three seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that has made some state and was stopped.
fn stopped() -> Yard {
    let mut yard = Yard::new(ALONE).unwrap();
    yard.server().stop().unwrap();
    yard
}

/// What the server says when it is started and refuses.
fn refused(yard: &mut Yard) -> String {
    let error = yard.lab.start_server().map(|()| "it started").unwrap_err();
    yard.server().kill();
    format!("{error:#}")
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

#[test]
fn a_clean_stop_leaves_everything_in_one_file_that_nobody_else_reads() {
    let mut yard = stopped();
    let state = yard.server().state();
    assert_eq!(size(&state.join("gleaner.db-wal")), 0);
    assert!(size(&state.join("gleaner.db")) > PAGE);
    for name in ["gleaner.db", "tls/server.key", "leases", "lock"] {
        let mode = fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    // That file alone is the whole state of nodes and tokens.
    let copy = fs::read(state.join("gleaner.db")).unwrap();
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(state.join(format!("gleaner.db{end}")));
    }
    fs::write(state.join("gleaner.db"), copy).unwrap();
    yard.lab.start_server().unwrap();
    let events = yard.server().get("/api/v1/events").unwrap().to_string();
    assert!(events.contains("import"), "{events}");
}

#[test]
fn a_server_does_not_start_where_a_part_of_its_state_is_lost() {
    type Loss = fn(&Path);
    let losses: [(Loss, &[&str]); 4] = [
        (
            |state| fs::remove_file(state.join("gleaner.db")).unwrap(),
            &["is missing", "backup"],
        ),
        (
            |state| fs::write(state.join("gleaner.db"), "").unwrap(),
            &["is empty", "backup"],
        ),
        (
            |state| {
                let file = fs::OpenOptions::new()
                    .write(true)
                    .open(state.join("gleaner.db"))
                    .unwrap();
                file.write_all_at(&[0xa5; 512], 2 * PAGE).unwrap();
            },
            &["is damaged", ".recover"],
        ),
        (
            |state| {
                let key = state.join("tls/server.key");
                fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
            },
            &["chmod 600"],
        ),
    ];
    let mut yard = stopped();
    let state = yard.server().state();
    for (loss, words) in losses {
        let before = fs::read(state.join("gleaner.db")).unwrap();
        loss(&state);
        let damaged = fs::read(state.join("gleaner.db")).ok();
        let says = refused(&mut yard);
        assert!(words.iter().all(|word| says.contains(word)), "{words:?}: {says}");
        assert!(
            fs::read(state.join("gleaner.db")).ok() == damaged,
            "{words:?}: nothing is written"
        );
        fs::write(state.join("gleaner.db"), before).unwrap();
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(state.join("tls/server.key"), private).unwrap();
    }
    yard.lab.start_server().unwrap();
}

#[test]
fn a_second_server_on_the_same_state_is_told_who_the_first_is_and_touches_nothing() {
    let mut yard = Yard::new(ALONE).unwrap();
    let leases = fs::read(yard.server().state().join("leases")).unwrap();
    let error = yard.server().cli(&["serve"]).unwrap_err();
    let says = format!("{error:#}");
    // Its number is that of the laboratory's own list of processes.
    assert!(
        says.contains("another provisioner (process ") && says.contains("stop it first"),
        "{says}"
    );
    assert!(fs::read(yard.server().state().join("leases")).unwrap() == leases);
    assert!(yard.server().is_running());
    // What has nothing to make does not mind.
    yard.server().cli(&["init"]).unwrap();
}

#[test]
fn health_status_and_doctor_tell_of_a_database_that_is_damaged_while_the_server_runs() {
    let mut yard = Yard::new(ALONE).unwrap();
    let file = yard.server().state().join("gleaner.db");
    yard.tell(|street: &mut Street<'_>| -> Result<()> {
        let from = street.address()?;
        let url = street.url("/healthz");
        let health = || rom::get(from, &url);
        ensure!(health()?.status == 200, "{}", health()?.text());
        let disk = fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .context("opening the database")?;
        let pages = size(&file) / PAGE;
        for page in 1..pages {
            disk.write_all_at(&[0xa5; 512], page * PAGE)?;
        }
        until("bad health", PATIENCE, || {
            let answer = health()?;
            Ok((answer.status == 503 && answer.text().contains("is damaged")).then_some(()))
        })?;
        for path in ["/api/v1/status", "/api/v1/doctor"] {
            let told = street.server.get(path)?.to_string();
            ensure!(told.contains("is damaged"), "{path}: {told}");
        }
        Ok(())
    })
    .unwrap();
}
