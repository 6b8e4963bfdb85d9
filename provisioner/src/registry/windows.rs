// SPDX-License-Identifier: Apache-2.0
//! Enrolment windows and the places in them. Counted in the same transaction that takes a place: never one too many.

use std::net::Ipv4Addr;

use pxe::Mac;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::history;
use super::{Entry, Registry, RegistryError, begin, store};
use crate::enrol::{HOLD, Whom, Window};

/// Keys that are remembered: a person presses a few a day, a liar as many as fit here.
const KEYS: i64 = 1000;
/// Closed windows that are kept for the list.
const CLOSED_KEPT: i64 = 100;

/// How a card was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The window; `None` for a key that somebody pressed.
    pub window: Option<i64>,
    /// Whether a node has come of it.
    pub used: bool,
    /// When.
    pub at: i64,
}

/// `whom` as it is stored.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredWhom {
    mac_prefix: Option<String>,
    relay: Option<Ipv4Addr>,
    port: Option<String>,
}

impl Registry {
    /// Opens a window; its id is made here.
    pub fn open_window(&self, window: &Window, entry: &Entry, now: i64) -> Result<Window, RegistryError> {
        let mut db = self.db();
        let transaction = begin(&mut db)?;
        let whom = StoredWhom {
            mac_prefix: window.whom.mac_prefix.clone(),
            relay: window.whom.relay,
            port: window.whom.port.clone(),
        };
        transaction.execute(
            "INSERT INTO windows (opened, until, max, whom, tags, profile, by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                window.opened,
                window.until,
                window.max,
                store::to_json(&whom)?,
                store::to_json(&window.tags)?,
                window.profile,
                window.by
            ],
        )?;
        let id = transaction.last_insert_rowid();
        transaction.execute(
            "DELETE FROM windows WHERE id <= ?1 AND (until <= ?2 OR closed IS NOT NULL)",
            params![id - CLOSED_KEPT, now],
        )?;
        history::write_down(&transaction, None, entry, now)?;
        transaction.commit()?;
        drop(db);
        self.read_windows()?;
        Ok(Window { id, ..window.clone() })
    }

    /// Closes a window before its time; whether it was open.
    pub fn close_window(&self, id: i64, entry: &Entry, now: i64) -> Result<bool, RegistryError> {
        let mut db = self.db();
        let transaction = begin(&mut db)?;
        let sql = "UPDATE windows SET closed = ?2 WHERE id = ?1 AND closed IS NULL AND until > ?2";
        let closed = transaction.execute(sql, params![id, now])? > 0;
        if closed {
            history::write_down(&transaction, None, entry, now)?;
        }
        transaction.commit()?;
        drop(db);
        self.read_windows()?;
        Ok(closed)
    }

    /// All windows, the newest last.
    pub fn windows(&self) -> Vec<Window> {
        self.windows
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Places of a window that are taken: by nodes, and by machines that are on their way.
    pub fn places(&self, window: i64, now: i64) -> Result<u32, RegistryError> {
        places(&self.reader(), window, now)
    }

    /// How a card was let in, if it was and that still counts.
    pub fn ticket(&self, mac: Mac, now: i64) -> Result<Option<Ticket>, RegistryError> {
        ticket(&self.reader(), &mac.to_string(), now)
    }

    /// Lets a card in: through a window that has a place left, or by a key. Whether that was possible.
    pub fn let_in(&self, mac: Mac, window: Option<&Window>, now: i64) -> Result<bool, RegistryError> {
        let mut db = self.db();
        let transaction = begin(&mut db)?;
        let mac = mac.to_string();
        let held = ticket(&transaction, &mac, now)?.is_some_and(|ticket| ticket.window == window.map(|w| w.id));
        if !held {
            if let Some(window) = window
                && places(&transaction, window.id, now)? >= window.max
            {
                return Ok(false);
            }
            transaction.execute(
                "INSERT OR REPLACE INTO places (mac, window, at) VALUES (?1, ?2, ?3)",
                params![mac, window.map(|window| window.id), now],
            )?;
            transaction.execute(
                "DELETE FROM places WHERE window IS NULL AND mac IN (SELECT mac FROM places WHERE window IS NULL
                 ORDER BY at DESC LIMIT -1 OFFSET ?1)",
                [KEYS],
            )?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// Brings what is in memory up to date with the database.
    pub(super) fn read_windows(&self) -> Result<(), RegistryError> {
        let read = load(&self.db())?;
        *self.windows.write().unwrap_or_else(std::sync::PoisonError::into_inner) = read;
        Ok(())
    }
}

/// What a node brings from the window that it came in through.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// Labels.
    pub(super) tags: Vec<String>,
    /// What it becomes where its approval does not say otherwise.
    pub(super) profile: Option<String>,
}

/// A new node came of a card that was let in: its place is taken for good. Tells what comes with it;
/// `None` where no card was let in.
pub(super) fn settle(db: &Connection, macs: &[String], node: &str, now: i64) -> Result<Option<Brought>, RegistryError> {
    for mac in macs {
        let Some(ticket) = ticket(db, mac, now)?.filter(|ticket| !ticket.used) else {
            continue;
        };
        db.execute("UPDATE places SET node = ?2 WHERE mac = ?1", params![mac, node])?;
        let Some(window) = ticket.window else {
            return Ok(Some(Brought::default()));
        };
        let sql = "SELECT tags, profile FROM windows WHERE id = ?1";
        let found: Option<(String, Option<String>)> = db
            .query_row(sql, [window], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (tags, profile) = found.unwrap_or_else(|| ("[]".into(), None));
        return Ok(Some(Brought {
            tags: store::from_json(&tags)?,
            profile,
        }));
    }
    Ok(None)
}

fn places(db: &Connection, window: i64, now: i64) -> Result<u32, RegistryError> {
    let sql = "SELECT count(*) FROM places WHERE window = ?1 AND (node IS NOT NULL OR at > ?2)";
    Ok(db
        .prepare_cached(sql)?
        .query_row(params![window, now - HOLD], |row| row.get(0))?)
}

fn ticket(db: &Connection, mac: &str, now: i64) -> Result<Option<Ticket>, RegistryError> {
    let sql = "SELECT window, node IS NOT NULL, at FROM places WHERE mac = ?1 AND (node IS NOT NULL OR at > ?2)";
    let ticket = db.prepare_cached(sql)?.query_row(params![mac, now - HOLD], |row| {
        Ok(Ticket {
            window: row.get(0)?,
            used: row.get(1)?,
            at: row.get(2)?,
        })
    });
    Ok(ticket.optional()?)
}

fn load(db: &Connection) -> Result<Vec<Window>, RegistryError> {
    let mut statement =
        db.prepare_cached("SELECT id, opened, until, max, whom, tags, profile, by, closed FROM windows ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next()? {
        windows.push(window(row)?);
    }
    Ok(windows)
}

fn window(row: &Row<'_>) -> Result<Window, RegistryError> {
    let whom: StoredWhom = store::from_json(&row.get::<_, String>("whom")?)?;
    Ok(Window {
        id: row.get("id")?,
        opened: row.get("opened")?,
        until: row.get("until")?,
        max: row.get("max")?,
        whom: Whom {
            mac_prefix: whom.mac_prefix,
            relay: whom.relay,
            port: whom.port,
        },
        tags: store::from_json(&row.get::<_, String>("tags")?)?,
        profile: row.get("profile")?,
        by: row.get("by")?,
        closed: row.get("closed")?,
    })
}
