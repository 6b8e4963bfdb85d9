// SPDX-License-Identifier: Apache-2.0
//! The secrets of one installation of a system that joins by itself. They begin with it and end with it: made in the
//! transaction in which a node comes to be installed, gone in the one in which it is not any more.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::store::{self, Document};
use super::{Entry, Node, Registry, RegistryError, history, secrets};
use crate::lifecycle::State;

/// Milliseconds that one installation may take, tries of power included: longer than any mirror is slow, and what was
/// overheard on the wire today is worth nothing tomorrow.
pub(super) const LASTS: i64 = 24 * 3_600_000;

/// What one installation is known by.
#[derive(Clone, PartialEq, Eq)]
pub struct Installation {
    /// In the URLs of its answers.
    pub token: String,
    /// By which the installed system introduces itself for the first time.
    pub join: String,
    /// When both end.
    pub until: i64,
}

impl std::fmt::Debug for Installation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installation")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// The secrets of a node's installation, while one is under way or its system has not come home yet.
    pub fn installation(&self, id: &str) -> Result<Option<Installation>, RegistryError> {
        let db = self.reader();
        let mut statement = db.prepare_cached("SELECT token, secret, until FROM installations WHERE node = ?1")?;
        let row = statement.query_row([id], |row| {
            Ok(Installation {
                token: row.get(0)?,
                join: row.get(1)?,
                until: row.get(2)?,
            })
        });
        Ok(row.optional()?)
    }

    /// The node whose installer, or whose first start, has this token. The lookup is by hash: how long it takes says
    /// nothing of the token.
    pub fn by_installation(&self, token: &str, now: i64) -> Result<Option<Arc<Node>>, RegistryError> {
        let db = self.reader();
        let mut statement = db.prepare_cached("SELECT node FROM installations WHERE hash = ?1 AND until > ?2")?;
        let id: Option<String> = statement
            .query_row(params![secrets::hash(token), now], |row| row.get(0))
            .optional()?;
        // It knows its own end: the state is what counts.
        Ok(id
            .and_then(|id| self.node(&id))
            .filter(|node| node.state.told_of().is_some()))
    }

    /// The installer of a node is at its last step: from here on its system may start. Writes.
    pub fn at_last_step(&self, id: &str, entry: &Entry, now: i64) -> Result<(), RegistryError> {
        let mut db = self.db();
        let transaction = super::begin(&mut db)?;
        transaction.execute(
            "UPDATE installations SET last_step = ?2 WHERE node = ?1",
            params![id, now],
        )?;
        history::write_down(&transaction, Some(id), entry, now)?;
        Ok(transaction.commit()?)
    }

    /// How the log of a node's last installer ended, a line each.
    pub fn installer_log(&self, id: &str) -> Result<Vec<String>, RegistryError> {
        Ok(store::load(&self.reader(), Document::InstallerLog, id)?.unwrap_or_default())
    }
}

/// When the installer of a node was heard to be at its last step.
pub(super) fn last_step(db: &Connection, id: &str) -> Result<Option<i64>, RegistryError> {
    let mut statement = db.prepare_cached("SELECT last_step FROM installations WHERE node = ?1")?;
    Ok(statement.query_row([id], |row| row.get(0)).optional()?.flatten())
}

/// A node comes from one state to another: secrets are made or forgotten.
pub(super) fn follow(db: &Connection, id: &str, (from, to): (&State, &State), now: i64) -> Result<(), RegistryError> {
    let with_secrets = |state: &State| matches!(state, State::Installing { plan, .. } if plan.joins());
    match (with_secrets(from), with_secrets(to)) {
        (false, true) => begin(db, id, now),
        (true, false) => end(db, id),
        _ => Ok(()),
    }
}

fn begin(db: &Connection, id: &str, now: i64) -> Result<(), RegistryError> {
    let (token, join) = (secrets::random(), secrets::random());
    let sql = "INSERT OR REPLACE INTO installations (node, hash, token, secret, until, join_hash) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (hash, join_hash) = (secrets::hash(&token), secrets::hash(&join));
    db.execute(
        sql,
        params![id, hash, token, join, now.saturating_add(LASTS), join_hash],
    )?;
    Ok(())
}

fn end(db: &Connection, id: &str) -> Result<(), RegistryError> {
    db.execute("DELETE FROM installations WHERE node = ?1", [id])?;
    Ok(())
}
