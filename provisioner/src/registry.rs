// SPDX-License-Identifier: Apache-2.0
//! Nodes, events, capsules and tokens: what survives the server.
//!
//! One `SQLite` file in the state folder, one connection that writes and one that reads. What boots and orders need most
//! is kept in memory as well and is changed only after the database has it on the disk; a reader never waits for a
//! writer's `fsync`. The registry knows no socket, no image and no clock.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use provisioner_api::{ComputeReport, EventEntry, Inventory, Life};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use rusqlite_migration::{M, Migrations};

use crate::enrol::Window;
use crate::lifecycle::Refused;

mod apply;
mod health;
mod history;
mod index;
mod installations;
mod join;
mod lessons;
mod moments;
mod node;
mod ram_start;
mod register;
mod secrets;
mod store;
mod windows;

pub use apply::Approval;
pub use installations::Installation;
pub use join::NoJoin;
pub use node::{Keys, Node, Outline, Start};
pub use ram_start::{Present, TurnedAway, Vouching};
pub use register::{Around, Door, Introduction, MAX_UNAPPROVED, Registration, UNAPPROVED_BYTES};
pub use windows::Ticket;

pub(crate) use health::damaged_or;

use index::Index;
use store::Document;

/// Name of the database in the state folder.
pub const FILE: &str = "gleaner.db";

/// How long a write waits for another process (`sqlite3`, a backup) to let go of the database.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pages of 4 KiB that `SQLite` keeps in memory: the nodes that are asked for are in our own.
const CACHE_PAGES: i64 = 256;

/// The same for the connection that only reads: single rows.
const READER_PAGES: i64 = 64;

/// The database, and what of it is kept in memory.
#[derive(Debug)]
pub struct Registry {
    reader: Mutex<Connection>,
    // Closed last: only what can write brings its log to an end.
    db: Mutex<Connection>,
    index: RwLock<Index>,
    windows: RwLock<Vec<Window>>,
    refusals: join::Refusals,
    files: health::Files,
}

/// A line for the list of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Short word.
    pub kind: &'static str,
    /// In words.
    pub detail: String,
    /// Who did it.
    pub actor: String,
}

impl Entry {
    /// A line.
    pub fn new(kind: &'static str, detail: impl Into<String>, actor: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            actor: actor.into(),
        }
    }
}

/// Why something could not be remembered; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such node.
    #[error("there is no node {0}")]
    NoNode(String),
    /// The state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// An installed system whose key nobody knows claims to be a known machine.
    #[error("this looks like {0}, but its key is not known; rebuild {0} to give it a new one")]
    UnknownKey(String),
    /// A system that an installer made may not join.
    #[error(transparent)]
    NoJoin(#[from] NoJoin),
    /// A report that only the other life of the node can make.
    #[error("this cannot be reported from this life of the node")]
    WrongLife,
    /// Too many machines wait for approval.
    #[error("{MAX_UNAPPROVED} machines wait for approval already; approve or reject some first")]
    TooMany,
    /// What machines say that wait for approval is too much.
    #[error(
        "the machines that wait for approval have said {} MB about themselves, which is all that is kept; approve or reject some first",
        UNAPPROVED_BYTES >> 20
    )]
    TooMuch,
    /// Nobody has let the machine in.
    #[error(
        "nobody has let this machine in: open an enrolment window (provisioner enrol open), or choose to join in its start menu"
    )]
    NotLetIn,
    /// Another node or token has the name.
    #[error("the name {0} is taken")]
    NameTaken(String),
    /// No room on the server's disk.
    #[error("the server's disk is full")]
    Full,
    /// A stored document is not what this version writes.
    #[error("reading a stored document")]
    Document(#[source] serde_json::Error),
    /// The database was made by a newer version, or cannot be brought to this one.
    #[error("bringing the database to this version")]
    Migration(#[source] rusqlite_migration::Error),
    /// Its file is not what `SQLite` wrote; nothing was written to it.
    #[error(
        "the database {} is damaged ({says}); stop the provisioner and put a backup in its place, or save what can be read: \
         sqlite3 {} .recover | sqlite3 recovered.db (docs/admin.md, \"Back up\")",
        .file.display(), .file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What `SQLite` says.
        says: String,
    },
    /// A file of the open database was removed or replaced.
    #[error(
        "{} was removed or replaced while the provisioner runs, and what is remembered now is lost at its end; stop the \
         provisioner and put back a backup of the state folder",
        .0.display()
    )]
    Gone(PathBuf),
    /// What others may read of it could not be taken from them.
    #[error("setting the permissions of {}", .0.display())]
    Permissions(PathBuf, #[source] std::io::Error),
    /// Another program holds the database.
    #[error("another program holds the database; close it (sqlite3, a backup)")]
    Busy,
    /// Nothing can be written where it is.
    #[error(
        "the database cannot be written; look at the permissions of the state folder, and whether its disk is read-only"
    )]
    ReadOnly,
    /// `SQLite`'s word.
    #[error("using the database")]
    Database(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for RegistryError {
    fn from(error: rusqlite::Error) -> Self {
        let full = error.sqlite_error().is_some_and(|error| {
            // A write-ahead log that cannot grow tells of the full disk by way of these two.
            let no_room = [rusqlite::ffi::SQLITE_IOERR_SHMSIZE, rusqlite::ffi::SQLITE_IOERR_WRITE];
            error.code == ErrorCode::DiskFull || no_room.contains(&error.extended_code)
        });
        match error.sqlite_error_code() {
            _ if full => Self::Full,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Database(error),
        }
    }
}

impl Registry {
    /// Opens the database in `folder`, makes it if there is none, and brings it to this version.
    pub fn open(folder: &Path) -> Result<Self, RegistryError> {
        let file = folder.join(FILE);
        health::sound_at_start(&file)?;
        health::make_private(&file)?;
        let mut db = Connection::open(&file)?;
        db.busy_timeout(PATIENCE)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        // A node acts on what was acknowledged: what is said to be stored must survive a power cut.
        db.pragma_update(None, "synchronous", "full")?;
        db.pragma_update(None, "foreign_keys", true)?;
        db.pragma_update(None, "cache_size", CACHE_PAGES)?;
        let migrations = Migrations::new(vec![
            M::up(include_str!("registry/schema.sql")),
            M::up(include_str!("registry/lessons.sql")),
            M::up(include_str!("registry/windows.sql")),
            M::up(include_str!("registry/installations.sql")),
            M::up(include_str!("registry/joins.sql")),
            M::up(include_str!("registry/clock.sql")),
            M::up(include_str!("registry/ram_start.sql")),
            M::up(include_str!("registry/history.sql")),
            M::up(include_str!("registry/marks.sql")),
            M::up(include_str!("registry/vouching.sql")),
        ]);
        migrations.to_latest(&mut db).map_err(RegistryError::Migration)?;
        let mut index = Index::default();
        for node in store::load_nodes(&db)? {
            index.put(Arc::new(node));
        }
        let reader = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        reader.busy_timeout(PATIENCE)?;
        reader.pragma_update(None, "cache_size", READER_PAGES)?;
        let registry = Self {
            reader: Mutex::new(reader),
            db: Mutex::new(db),
            index: RwLock::new(index),
            windows: RwLock::default(),
            refusals: join::Refusals::default(),
            files: health::Files::of(folder),
        };
        registry.read_windows()?;
        // The file alone is whole from now on: who copies only that has all that there was.
        if let Err(error) = registry.checkpoint() {
            tracing::warn!(%error, "bringing the write-ahead log into the database");
        }
        Ok(registry)
    }

    /// A node by id.
    pub fn node(&self, id: &str) -> Option<Arc<Node>> {
        self.read(|index| index.get(id))
    }

    /// A node by name or id.
    pub fn find(&self, name_or_id: &str) -> Option<Arc<Node>> {
        self.read(|index| index.find(name_or_id))
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.read(|index| index.all().cloned().collect())
    }

    /// The node with this key, and which of its lives has it.
    pub fn by_key(&self, key: &str) -> Option<(Arc<Node>, Life)> {
        self.read(|index| index.by_key(key))
    }

    /// The nodes that a card may belong to: none, one, or several that cannot be told apart by it.
    pub fn by_card(&self, mac: &str, uuid: Option<&str>) -> Vec<Arc<Node>> {
        self.read(|index| index.by_card(mac, uuid))
    }

    /// The one node with this UUID; none where it is a placeholder, or several nodes have it.
    pub fn by_uuid(&self, uuid: &str) -> Option<Arc<Node>> {
        self.read(|index| index.by_uuid(uuid))
    }

    /// Whether a card, USB or not, is in the inventory of a node.
    pub fn knows_mac(&self, mac: &str) -> bool {
        self.read(|index| index.knows_mac(mac))
    }

    /// A node's inventory, as it last registered.
    pub fn inventory(&self, id: &str) -> Result<Inventory, RegistryError> {
        let inventory = store::load(&self.reader(), Document::Inventory, id)?;
        inventory.ok_or_else(|| RegistryError::NoNode(id.to_owned()))
    }

    /// What a node offers, as it last came home.
    pub fn report(&self, id: &str) -> Result<Option<ComputeReport>, RegistryError> {
        store::load(&self.reader(), Document::Report, id)
    }

    /// The newest `limit` events after `after`, of one node or of all, oldest first.
    pub fn events(&self, node: Option<&str>, after: Option<i64>, limit: u32) -> Result<Vec<EventEntry>, RegistryError> {
        history::events(&self.reader(), node, after, limit)
    }

    /// Ids of the nodes that are lost: their silence was written down, and not yet its end.
    pub fn lost(&self) -> Result<Vec<String>, RegistryError> {
        history::lost(&self.reader())
    }

    /// Writes down something that changes no state.
    pub fn write_down(&self, node: Option<&str>, entry: &Entry, now: i64) -> Result<(), RegistryError> {
        history::write_down(&self.db(), node, entry, now)
    }

    /// Forgets a node and all that is kept of it, but for its events.
    pub fn forget(&self, id: &str, entry: &Entry, now: i64) -> Result<(), RegistryError> {
        let mut db = self.db();
        let transaction = begin(&mut db)?;
        store::delete_node(&transaction, id)?;
        history::write_down(&transaction, Some(id), entry, now)?;
        transaction.commit()?;
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The writer. A panic while it was held rolled its transaction back, so that it is as good as before.
    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What only reads.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets readers see what the database has on the disk.
    fn publish(&self, node: Node) -> Arc<Node> {
        let node = Arc::new(node);
        self.index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .put(Arc::clone(&node));
        node
    }
}

fn begin(db: &mut Connection) -> Result<Transaction<'_>, RegistryError> {
    Ok(db.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

#[cfg(test)]
pub(crate) mod tests;
