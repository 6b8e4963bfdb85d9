// SPDX-License-Identifier: Apache-2.0
//! Whether the database is sound, can be read and can be written: found out by doing it, on the disk.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{FILE, PATIENCE, READER_PAGES, Registry, RegistryError, moments};
use crate::clock::Reading;

/// Bytes of a database that is checked whole each time: some 20 milliseconds. Of a larger one a table at a time.
const SMALL: i64 = 16 * 1024 * 1024;

/// How long the check at the start may take; systemd waits 90 seconds for a server that starts.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// The files of an open database as they were when it was opened, to notice when somebody removes or replaces one:
/// the server would go on writing into files without a name, and lose all of it when it stops.
#[derive(Debug)]
pub(super) struct Files {
    files: Vec<(PathBuf, (u64, u64))>,
    /// The table that is checked next.
    next: AtomicUsize,
}

impl Files {
    /// The files of the database in `folder`, which is open.
    pub(super) fn of(folder: &Path) -> Self {
        let names = [FILE.to_owned(), format!("{FILE}-wal")];
        let files = names.into_iter().filter_map(|name| {
            let path = folder.join(name);
            identity(&path).map(|identity| (path, identity))
        });
        Self {
            files: files.collect(),
            next: AtomicUsize::new(0),
        }
    }

    fn are_there(&self) -> Result<(), RegistryError> {
        match self.files.iter().find(|(path, known)| identity(path) != Some(*known)) {
            Some((path, _)) => Err(RegistryError::Gone(path.clone())),
            None => Ok(()),
        }
    }

    fn database(&self) -> PathBuf {
        self.files.first().map(|(path, _)| path.clone()).unwrap_or_default()
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let about = fs::symlink_metadata(path).ok()?;
    Some((about.dev(), about.ino()))
}

impl Registry {
    /// Reads the database from the disk and writes the clocks into it, so that a fault is known before a machine meets
    /// it. Waits for the disk.
    pub fn check(&self, reading: &Reading) -> Result<(), RegistryError> {
        self.files.are_there()?;
        let file = self.files.database();
        self.try_out(&file, reading).map_err(|error| damaged_or(error, &file))
    }

    fn try_out(&self, file: &Path, reading: &Reading) -> Result<(), RegistryError> {
        // The connections that are open would answer from their own memory.
        let look = open_to_look(file)?;
        let bytes: i64 = look.query_row(
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
            [],
            |row| row.get(0),
        )?;
        if bytes <= SMALL {
            sound(&look, None, file)?;
        } else {
            let turn = self.files.next.fetch_add(1, Ordering::Relaxed);
            sound(&look, table(&look, turn)?.as_deref(), file)?;
        }
        moments::keep_clock(&self.db(), reading)
    }

    /// Brings as much of the write-ahead log into the database file as can be done without waiting for anybody.
    pub fn tidy(&self) -> Result<(), RegistryError> {
        Ok(self.db().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
    }

    /// Brings everything that was written into the database file itself, so that the one file is whole. Waits for who
    /// reads, for a while.
    pub fn checkpoint(&self) -> Result<(), RegistryError> {
        let db = self.db();
        let busy: i64 = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 { Ok(()) } else { Err(RegistryError::Busy) }
    }

    /// Makes every write fail from now on, as on a disk that was mounted read-only.
    #[cfg(test)]
    pub(crate) fn write_nothing_more(&self) {
        let set = self.db().pragma_update(None, "query_only", true);
        assert!(set.is_ok());
    }
}

/// Refuses a database that is damaged, before anything is written to it. One that is not there is not damaged.
pub(super) fn sound_at_start(file: &Path) -> Result<(), RegistryError> {
    if fs::metadata(file).map_or(0, |about| about.len()) == 0 {
        return Ok(());
    }
    let look = open_to_look(file).map_err(|error| damaged_or(error, file))?;
    let interrupt = look.get_interrupt_handle();
    let (done, wait) = mpsc::channel::<()>();
    let checked = std::thread::scope(|scope| {
        scope.spawn(move || {
            if wait.recv_timeout(START_PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        });
        let checked = sound(&look, None, file);
        drop(done);
        checked
    });
    match checked {
        Err(RegistryError::Database(error)) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::warn!(file = %file.display(), "the database is too large to be checked whole before the start");
            Ok(())
        }
        other => other,
    }
}

/// Makes the database, and its logs where there are any, readable by nobody else: capsules with private keys are in it.
/// `SQLite` gives its logs the permissions of the database.
pub(super) fn make_private(file: &Path) -> Result<(), RegistryError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| RegistryError::Permissions(path, error)
    };
    // `SQLite` would make it as wide as the umask lets it.
    let made = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
    made.map_err(failed(file))?;
    for end in ["", "-wal", "-shm"] {
        let mut path = file.as_os_str().to_owned();
        path.push(end);
        let path = PathBuf::from(path);
        match fs::set_permissions(&path, fs::Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// A connection that sees what is on the disk and changes nothing, not even when it is closed.
fn open_to_look(file: &Path) -> Result<Connection, RegistryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let look = Connection::open_with_flags(file, flags)?;
    look.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    look.busy_timeout(PATIENCE)?;
    look.pragma_update(None, "cache_size", READER_PAGES)?;
    Ok(look)
}

/// Asks `SQLite` whether the database, or one table of it, is sound.
fn sound(look: &Connection, table: Option<&str>, file: &Path) -> Result<(), RegistryError> {
    let sql = match table {
        // A name from the schema, which only this program writes.
        Some(table) => format!("PRAGMA quick_check({table})"),
        None => "PRAGMA quick_check(1)".to_owned(),
    };
    let said: Result<String, rusqlite::Error> = look.query_row(&sql, [], |row| row.get(0));
    match said {
        Ok(said) if said == "ok" => Ok(()),
        Ok(said) => Err(RegistryError::Damaged {
            file: file.to_owned(),
            says: said.lines().last().unwrap_or_default().to_owned(),
        }),
        Err(error) => Err(damaged_or(error.into(), file)),
    }
}

fn table(look: &Connection, turn: usize) -> Result<Option<String>, RegistryError> {
    let mut statement =
        look.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let names = statement.query_map([], |row| row.get(0))?;
    let mut names: Vec<String> = names.collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Ok(None);
    }
    let turn = turn % names.len();
    Ok(Some(names.swap_remove(turn)))
}

/// `SQLite` has words of its own for a file that is damaged.
pub(crate) fn damaged_or(error: RegistryError, file: &Path) -> RegistryError {
    let RegistryError::Database(sqlite) = &error else {
        return error;
    };
    match sqlite.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => RegistryError::Damaged {
            file: file.to_owned(),
            says: sqlite.to_string(),
        },
        _ => error,
    }
}
