// SPDX-License-Identifier: Apache-2.0
//! What starts have taught, over restarts of the server.

use pxe::Mac;
use rusqlite::params;

use super::{Registry, RegistryError, begin, store};
use crate::memory::Lessons;

impl Registry {
    /// Everything that was kept; a row that this version cannot read is left out.
    pub fn lessons(&self) -> Result<Vec<(Mac, Lessons)>, RegistryError> {
        let db = self.reader();
        let mut statement = db.prepare("SELECT mac, body FROM lessons")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut lessons = Vec::new();
        for row in rows {
            let (mac, body) = row?;
            if let (Ok(mac), Ok(body)) = (mac.parse(), store::from_json(&body)) {
                lessons.push((mac, body));
            }
        }
        Ok(lessons)
    }

    /// Keeps what has changed, in one transaction; forgets what has nothing to say any more.
    pub fn keep_lessons(&self, changed: &[(Mac, Option<Lessons>)], now: i64) -> Result<(), RegistryError> {
        let mut db = self.db();
        let transaction = begin(&mut db)?;
        for (mac, lessons) in changed {
            match lessons {
                Some(lessons) => transaction
                    .prepare_cached("INSERT OR REPLACE INTO lessons (mac, at, body) VALUES (?1, ?2, ?3)")?
                    .execute(params![mac.to_string(), now, store::to_json(lessons)?])?,
                None => transaction
                    .prepare_cached("DELETE FROM lessons WHERE mac = ?1")?
                    .execute([mac.to_string()])?,
            };
        }
        Ok(transaction.commit()?)
    }
}
