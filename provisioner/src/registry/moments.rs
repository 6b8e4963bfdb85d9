// SPDX-License-Identifier: Apache-2.0
//! Moments that are kept, when the clock that they were read from is set.

use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::index::Index;
use super::{Registry, RegistryError, begin, store};
use crate::clock::{Reading, Since};
use crate::lifecycle::State;

/// Everything by which something is decided, or that is shown as a time ago. Events are not among it: they are history.
/// What lasts for ever is kept far from the end of the numbers.
const MOVE: [&str; 7] = [
    "UPDATE nodes SET since = since + ?1, created = created + ?1",
    "UPDATE windows SET opened = opened + ?1, until = min(until, 1000000000000000000) + ?1, closed = closed + ?1",
    "UPDATE places SET at = at + ?1",
    "UPDATE installations SET until = min(until, 1000000000000000000) + ?1, joined = joined + ?1",
    "UPDATE lessons SET at = at + ?1",
    "UPDATE capsules SET at = at + ?1",
    "UPDATE tokens SET created = created + ?1",
];

impl Registry {
    /// The clock was set by so much: every moment moves with it, so that as much time has passed and is left as before.
    /// `reading` is what the clocks say then.
    pub fn move_moments(&self, by: i64, reading: &Reading) -> Result<(), RegistryError> {
        let mut db = self.db();
        let transaction = begin(&mut db)?;
        for sql in MOVE {
            transaction.execute(sql, [by])?;
        }
        keep_clock(&transaction, reading)?;
        transaction.commit()?;
        self.refusals.shift(by);
        self.read_again(&db)?;
        drop(db);
        self.read_windows()
    }

    /// The server starts: brings what was kept in line with the clock of today; by how much the clock was set since.
    pub fn resume(&self, reading: &Reading) -> Result<Option<i64>, RegistryError> {
        let kept = kept_clock(&self.db())?;
        match kept.map(|kept| reading.since(&kept)) {
            Some(Since::Set(by)) => {
                self.move_moments(by, reading)?;
                return Ok(Some(by));
            }
            Some(Since::Off(gap)) => self.skip(gap, reading)?,
            Some(Since::Running) | None => keep_clock(&self.db(), reading)?,
        }
        Ok(None)
    }

    /// The machine was off for so long, or its clock says so: nobody was heard meanwhile, and no installation went on.
    /// Windows are not made longer by it: they let strangers in.
    fn skip(&self, gap: i64, reading: &Reading) -> Result<(), RegistryError> {
        let mut db = self.db();
        let transaction = begin(&mut db)?;
        for node in self.nodes() {
            if matches!(node.state, State::Enrolled) {
                let sql = "UPDATE nodes SET since = since + ?2 WHERE id = ?1";
                transaction.execute(sql, params![node.id, gap])?;
            }
        }
        let sql = "UPDATE installations SET until = min(until, 1000000000000000000) + ?1";
        transaction.execute(sql, [gap])?;
        keep_clock(&transaction, reading)?;
        transaction.commit()?;
        self.read_again(&db)
    }

    fn read_again(&self, db: &Connection) -> Result<(), RegistryError> {
        let mut index = Index::default();
        for node in store::load_nodes(db)? {
            index.put(Arc::new(node));
        }
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        Ok(())
    }
}

fn kept_clock(db: &Connection) -> Result<Option<Reading>, RegistryError> {
    let kept = db.query_row("SELECT at, running, boot FROM clock", [], |row| {
        Ok(Reading {
            now: row.get(0)?,
            running: row.get(1)?,
            boot: row.get(2)?,
        })
    });
    Ok(kept.optional()?)
}

/// Keeps what the clocks say, for the next start.
pub(super) fn keep_clock(db: &Connection, reading: &Reading) -> Result<(), RegistryError> {
    let sql = "INSERT OR REPLACE INTO clock (id, at, running, boot) VALUES (1, ?1, ?2, ?3)";
    db.prepare_cached(sql)?
        .execute(params![reading.now, reading.running, reading.boot])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What columns with moments are called.
    const NAMES: [&str; 7] = ["at", "since", "until", "opened", "closed", "created", "joined"];
    /// History, and what this module itself keeps.
    const NOT: [&str; 2] = ["events", "clock"];

    #[test]
    fn every_moment_in_the_database_moves_with_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let db = registry.db();
        let sql = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'";
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let columns: Vec<(String, String)> = rows.map(Result::unwrap).collect();
        let moments: Vec<_> = columns
            .iter()
            .filter(|(table, column)| NAMES.contains(&column.as_str()) && !NOT.contains(&table.as_str()))
            .collect();
        assert!(moments.len() >= 10, "{moments:?}");
        for (table, column) in moments {
            let moves =
                |sql: &&str| sql.starts_with(&format!("UPDATE {table} SET")) && sql.contains(&format!(" {column} = "));
            assert!(MOVE.iter().any(moves), "{table}.{column} stays where it was");
        }
    }

    #[test]
    fn an_installation_has_as_much_time_left_as_before_and_one_without_end_has_still_none() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let node = crate::registry::tests::enrol(&registry).id.clone();
        let put =
            "INSERT OR REPLACE INTO installations (node, hash, token, secret, until) VALUES (?1, 'h', 't', 's', ?2)";
        let reading = |now: i64, running: i64, boot: &str| Reading {
            now,
            running,
            boot: boot.into(),
        };
        let until = || registry.installation(&node).unwrap().unwrap().until;
        registry.db().execute(put, params![node, 7_200_000]).unwrap();
        registry.resume(&reading(3_600_000, 1000, "a")).unwrap();
        // The server was away for a minute, and the clock was set back to almost zero.
        let set = registry.resume(&reading(10_000, 61_000, "a")).unwrap();
        assert_eq!((set, until()), (Some(-3_650_000), 3_550_000));
        // The machine was off.
        registry.resume(&reading(100_010_000, 500, "b")).unwrap();
        assert_eq!(until(), 103_550_000);
        registry.db().execute(put, params![node, i64::MAX]).unwrap();
        registry.move_moments(1_000_000, &reading(0, 0, "b")).unwrap();
        assert!(until() > i64::MAX / 16);
    }
}
