// SPDX-License-Identifier: Apache-2.0
//! The state folder as a whole: one program at a time works on it, nothing of it is missing, nobody else reads it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag};
use rusqlite::{Connection, OpenFlags};

use crate::registry::{self, RegistryError};
use crate::{leases, privileges, tls};

/// Whoever works on the state holds a lock on this file, and its process id stands in it.
const LOCK: &str = "lock";

/// What else lies in a state folder that was in use.
const TRACES: [(&str, &str); 3] = [
    ("images", "node images"),
    ("ram", "RAM environments"),
    ("media", "media of installers"),
];

/// Why a server must not start on a state folder; nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another program works on it.
    #[error("another provisioner{} is running on the state in {}; stop it first", .by.map(|pid| format!(" (process {pid})")).unwrap_or_default(), .state.display())]
    InUse {
        /// The folder.
        state: PathBuf,
        /// Its process id, where it could be read.
        by: Option<u32>,
    },
    /// Machines have been served from here, and what is known of them is gone.
    #[error(
        "the database {} is {how}, but {} has {others}: what is known of all nodes is missing. Put it back from a \
         backup of the whole folder. If there is none, nodes go on serving and have to be enrolled anew; to begin with \
         nothing, move {} away, and run: provisioner init",
        .file.display(), .state.display(), .state.display()
    )]
    NoDatabase {
        /// The database.
        file: PathBuf,
        /// `missing`, `empty`.
        how: &'static str,
        /// The folder.
        state: PathBuf,
        /// What is there, in words.
        others: String,
    },
    /// Nodes are known, and the key that they trust is gone.
    #[error(
        "the server's key {} is missing, but {nodes} nodes are known, and each of them talks to no server with another \
         key. Put it back from a backup of the state folder. If there is none, a new key (provisioner init --new-key) \
         lets the server start, but every installed node then has to be rebuilt from its boot menu, and programs have to \
         learn the new pin",
        .key.display()
    )]
    NoKey {
        /// The key.
        key: PathBuf,
        /// How many nodes there are.
        nodes: i64,
    },
    /// Something could not be looked at, so nobody knows whether it is missing.
    #[error("{0}")]
    Unknown(String, #[source] io::Error),
}

/// The right to work on a state folder, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Claim {
    _lock: Flock<File>,
}

impl Claim {
    /// Claims the state folder, which exists, for this process.
    pub fn take(state: &Path) -> Result<Self, StateError> {
        let path = state.join(LOCK);
        let opening = |error| StateError::Unknown(format!("opening the lock {}", path.display()), error);
        // The folder may belong to another user than ours: no link of theirs leads us elsewhere.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)
            .map_err(opening)?;
        let about = file.metadata().map_err(opening)?;
        if !about.is_file() || about.nlink() != 1 {
            return Err(opening(io::Error::other("it is a link to something else; remove it")));
        }
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                let pid = format!("{}\n", std::process::id());
                // The number is for people; the lock is what counts.
                let _ = lock.set_len(0).and_then(|()| lock.write_all(pid.as_bytes()));
                Ok(Self { _lock: lock })
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                Err(StateError::InUse {
                    state: state.to_owned(),
                    by: pid.trim().parse().ok(),
                })
            }
            Err((_, error)) => Err(StateError::Unknown(format!("locking {}", path.display()), error.into())),
        }
    }
}

/// Refuses a state folder of which a part is plainly missing. A server that went on would begin with an empty database or a
/// key that no node trusts, and nobody would be told.
pub fn whole(state: &Path) -> Result<(), StateError> {
    let key = state.join(tls::FOLDER).join(tls::KEY);
    let file = state.join(registry::FILE);
    let has_key = is_there(&key)?;
    match nodes(&file)? {
        Known::Database { nodes } if nodes > 0 && !has_key => Err(StateError::NoKey { key, nodes }),
        Known::Database { .. } => Ok(()),
        Known::Nothing(how) => {
            let mut others = Vec::new();
            if has_key {
                others.push("the server's key");
            }
            if is_there(&state.join(format!("{}-wal", registry::FILE)))? {
                others.push("the log of a database");
            }
            if has_leases(&state.join(leases::FILE))? {
                others.push("leased addresses");
            }
            for (name, words) in TRACES {
                if is_there(&state.join(name))? {
                    others.push(words);
                }
            }
            if others.is_empty() {
                return Ok(());
            }
            Err(StateError::NoDatabase {
                file,
                how,
                state: state.to_owned(),
                others: others.join(", "),
            })
        }
    }
}

/// What a database file knows.
enum Known {
    /// It is a database of ours with so many nodes.
    Database { nodes: i64 },
    /// It is not there, or there is nothing in it.
    Nothing(&'static str),
}

fn nodes(file: &Path) -> Result<Known, StateError> {
    match fs::metadata(file) {
        Ok(about) if about.len() == 0 => return Ok(Known::Nothing("empty")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::Nothing("missing")),
        Err(error) => return Err(looking(file, error)),
    }
    let count = || -> rusqlite::Result<Option<i64>> {
        let db = look_into(file)?;
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'nodes'";
        let tables: i64 = db.query_row(sql, [], |row| row.get(0))?;
        if tables == 0 {
            return Ok(None);
        }
        db.query_row("SELECT count(*) FROM nodes", [], |row| row.get(0))
            .map(Some)
    };
    match count() {
        Ok(Some(nodes)) => Ok(Known::Database { nodes }),
        Ok(None) => Ok(Known::Nothing("empty")),
        // What is wrong with it is told by whoever opens it.
        Err(_) => Ok(Known::Database { nodes: 0 }),
    }
}

/// Opens a database to look. Where all of it is in the one file, nothing is made beside it: it may be root who looks, and a
/// log of root's would stop the server.
fn look_into(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    if has_log(file) {
        return Connection::open_with_flags(file, flags);
    }
    let mut uri = String::from("file:");
    for byte in file.as_os_str().as_encoded_bytes() {
        // Writing to a String cannot fail.
        let _ = match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => write!(uri, "{}", char::from(*byte)),
            other => write!(uri, "%{other:02x}"),
        };
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
}

fn has_log(file: &Path) -> bool {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).is_ok_and(|about| about.len() > 0)
}

/// Why a server would not start on this state, as far as can be seen without touching it; `None` too where the caller may
/// not look.
pub fn trouble(state: &Path) -> Option<String> {
    let file = state.join(registry::FILE);
    if has_log(&file) {
        // A server that was killed has left it: it is looked at when that starts again.
        return None;
    }
    match whole(state) {
        Err(StateError::Unknown(..)) => return None,
        Err(error) => return Some(error.to_string()),
        Ok(()) => {}
    }
    let look = look_into(&file).ok()?;
    let said: rusqlite::Result<String> = look.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match said {
        Ok(said) if said == "ok" => None,
        Ok(says) => Some(RegistryError::Damaged { file, says }.to_string()),
        Err(error) => Some(registry::damaged_or(error.into(), &file).to_string()),
    }
}

/// Whether there is something: a file that is not empty, a folder with something in it.
fn is_there(path: &Path) -> Result<bool, StateError> {
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(looking(path, error)),
    };
    if about.is_dir() {
        let mut entries = fs::read_dir(path).map_err(|error| looking(path, error))?;
        return Ok(entries.next().is_some());
    }
    Ok(about.len() > 0)
}

/// Whether an address was ever leased. The log is made at every start, and is longer than its text.
fn has_leases(path: &Path) -> Result<bool, StateError> {
    match fs::read(path) {
        Ok(log) => Ok(log.starts_with(b"bound ") || log.windows(7).any(|text| text == b"\nbound ")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(looking(path, error)),
    }
}

fn looking(path: &Path, error: io::Error) -> StateError {
    StateError::Unknown(format!("looking at {}", path.display()), error)
}

/// Files of the state that must be nobody else's to read, though others may: the key first.
pub fn readable_by_others(state: &Path) -> Vec<PathBuf> {
    let names = ["", "-wal", "-shm"].map(|end| state.join(format!("{}{end}", registry::FILE)));
    let key = state.join(tls::FOLDER).join(tls::KEY);
    let open =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|about| about.permissions().mode() & privileges::OTHERS != 0);
    std::iter::once(key).chain(names).filter(open).collect()
}

#[cfg(test)]
mod tests;
