// SPDX-License-Identifier: Apache-2.0
//! Whether the server can do its work: its services, and whether its state can be read and written.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use provisioner_api::ServiceStatus;

use super::App;
use crate::clock::Reading;
use crate::doctor::{look, server};
use crate::packages;
use crate::registry::{FILE, RegistryError};

/// Name of the database's line in the status report.
const DATABASE: &str = "database";

/// How long a look at the state counts: anybody may ask, and a look costs reads and a write.
const FRESH: Duration = Duration::from_secs(3);

/// A look that takes longer is a disk that does not answer.
const STUCK: Duration = Duration::from_secs(15);

/// When the state was looked at.
#[derive(Debug, Default)]
pub struct Health {
    looks: Mutex<Looks>,
}

#[derive(Debug, Default)]
struct Looks {
    /// The look that is under way.
    began: Option<Instant>,
    /// The last that ended.
    ended: Option<Instant>,
    /// What it found of the room on the disk.
    no_room: Option<String>,
    /// What was last logged of the database.
    logged: Option<String>,
}

/// The right to look at the state, one at a time.
#[derive(Debug)]
struct Turn<'a>(&'a Health);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut looks = self.0.lock();
        looks.began = None;
        looks.ended = Some(Instant::now());
    }
}

impl Health {
    fn lock(&self) -> std::sync::MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turn to look, if the last look is too old and nobody looks now.
    fn turn(&self) -> Option<Turn<'_>> {
        let mut looks = self.lock();
        let fresh = looks.ended.is_some_and(|ended| ended.elapsed() < FRESH);
        if fresh || looks.began.is_some() {
            return None;
        }
        looks.began = Some(Instant::now());
        Some(Turn(self))
    }

    fn stuck(&self) -> Option<String> {
        let looks = self.lock();
        match (looks.began, looks.ended) {
            (Some(began), _) if began.elapsed() > STUCK => {
                let seconds = began.elapsed().as_secs();
                Some(format!("{DATABASE}: its disk has not answered for {seconds} seconds"))
            }
            (_, None) => Some(format!("{DATABASE}: it was not looked at yet")),
            _ => None,
        }
    }
}

impl App {
    /// Finds out whether the state can be read and written, unless that was done a moment ago. Waits for the disk.
    pub fn look_at_state(&self) {
        if let Some(turn) = self.health.turn() {
            self.look_now(&Reading::take());
            drop(turn);
        }
    }

    /// Why the server cannot do its work, in words; nothing where it can. Does not wait for the disk.
    pub fn troubles_now(&self) -> Vec<String> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        // Without the package cache installers fetch by themselves.
        let down = services
            .iter()
            .filter(|service| !service.ok && service.name != packages::SERVICE);
        let mut troubles: Vec<String> = down
            .map(|service| format!("{}: {}", service.name, service.detail))
            .collect();
        drop(services);
        troubles.extend(self.health.stuck());
        troubles.extend(self.health.lock().no_room.clone());
        troubles
    }

    /// Logs what is news: anybody may make the server look.
    fn log_once(&self, detail: &str, ok: bool) {
        let logged = &mut self.health.lock().logged;
        match (ok, logged.as_deref()) {
            (false, before) if before != Some(detail) => {
                tracing::error!(detail, "the database does not work");
                *logged = Some(detail.to_owned());
            }
            (true, Some(_)) => {
                tracing::info!(detail, "the database works again");
                *logged = None;
            }
            _ => {}
        }
    }

    fn look_now(&self, reading: &Reading) {
        let (detail, ok) = match self.registry.check(reading) {
            Ok(()) => (format!("{FILE}, can be read and written"), true),
            Err(error) => (in_words(&error), false),
        };
        self.log_once(&detail, ok);
        self.report(ServiceStatus {
            name: DATABASE.into(),
            detail,
            ok,
        });
        let room = look::room(&self.config.paths.state);
        self.health.lock().no_room = room
            .filter(|(free, _)| *free < server::NONE)
            .map(|(free, folder)| format!("disk: {} MB are free in {}", free / 1_000_000, folder.display()));
    }
}

/// What is wrong with the database, and what to do.
fn in_words(error: &RegistryError) -> String {
    match (error, error.source()) {
        (RegistryError::Full, _) => format!("{error}; make room in the state folder"),
        (RegistryError::Database(_), Some(why)) => {
            format!("{error}: {why}; look for errors of the disk in the kernel's log (dmesg)")
        }
        (_, Some(why)) => format!("{error}: {why}"),
        (_, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::FileExt as _;

    use crate::app::tests::Lab;

    /// Bytes of a page of the database.
    const PAGE: u64 = 4096;

    fn look(app: &super::App) -> Vec<String> {
        // A look counts for a while; here it is needed each time.
        app.health.lock().ended = None;
        app.look_at_state();
        let mut troubles = app.troubles_now();
        troubles.retain(|trouble| trouble.starts_with("database"));
        troubles
    }

    #[test]
    fn a_server_that_can_read_and_write_its_state_is_well() {
        let app = &Lab::new("").app;
        assert_eq!(
            app.troubles_now(),
            ["database: it was not looked at yet"],
            "not known is not well"
        );
        assert_eq!(look(app), [""; 0]);
    }

    #[test]
    fn a_page_that_is_damaged_on_the_disk_is_told_though_it_is_in_memory_still() {
        let lab = Lab::new("");
        let (folder, app) = (lab.folder.path(), &lab.app);
        let file = folder.join("gleaner.db");
        let pages = fs::metadata(&file).unwrap().len() / PAGE;
        assert!(pages > 3, "{pages}");
        let disk = fs::OpenOptions::new().write(true).open(&file).unwrap();
        for page in 1..pages {
            disk.write_all_at(&[0xa5; 512], page * PAGE).unwrap();
        }
        let troubles = look(app);
        assert!(
            troubles[0].contains("is damaged") && troubles[0].contains(".recover"),
            "{troubles:?}"
        );
    }

    #[test]
    fn a_database_that_is_removed_or_replaced_under_the_server_is_told() {
        for name in ["gleaner.db", "gleaner.db-wal"] {
            let lab = Lab::new("");
            let (folder, app) = (lab.folder.path(), &lab.app);
            let file = folder.join(name);
            let content = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            assert!(look(app)[0].contains("removed or replaced"), "{name}");
            fs::write(folder.join("other"), content).unwrap();
            fs::rename(folder.join("other"), &file).unwrap();
            assert!(look(app)[0].contains("removed or replaced"), "{name}");
        }
    }

    #[test]
    fn a_database_that_can_only_be_read_is_told() {
        let app = &Lab::new("").app;
        app.registry.write_nothing_more();
        let troubles = look(app);
        assert!(troubles[0].contains("cannot be written"), "{troubles:?}");
    }

    #[test]
    fn who_asks_often_makes_no_work() {
        let app = &Lab::new("").app;
        assert_eq!(look(app), [""; 0]);
        app.registry.write_nothing_more();
        app.look_at_state();
        assert!(
            app.troubles_now()
                .iter()
                .all(|trouble| !trouble.starts_with("database")),
            "the look of a moment ago counts"
        );
    }
}
