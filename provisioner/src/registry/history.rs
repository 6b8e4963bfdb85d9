// SPDX-License-Identifier: Apache-2.0
//! The list of events, and how much of it is kept: of each machine the newest, so that a machine which never stops
//! telling pushes out nothing but its own past; what people did for longest.

use provisioner_api::EventEntry;
use provisioner_api::limits::cut;
use rusqlite::{Connection, named_params, params};

use super::{Entry, RegistryError};

/// Events of one machine's own making: at a dozen an installation, years.
const OF_A_NODE: u32 = 1000;
/// Of a machine that nobody approved: enough to see what it does, and 5,000 of them fill no disk.
const OF_A_STRANGER: u32 = 20;
/// Events of a machine that the server itself wrote: its silences, and what became of them.
const OF_THE_SERVER: u32 = 1000;
/// What people, their programs and their rules did.
const OF_PEOPLE: i64 = 100_000;
/// Events of machines that were forgotten.
const OF_THE_FORGOTTEN: i64 = 10_000;
/// How many events are written between two looks at those two.
const PRUNE_EVERY: i64 = 1024;
/// Letters of an event's text: nodes write it, and a page must show it.
const LONGEST_DETAIL: usize = 1000;

/// Writes a line, and lets go of what is too much.
pub(super) fn write_down(db: &Connection, node: Option<&str>, entry: &Entry, now: i64) -> Result<(), RegistryError> {
    let detail: String = entry
        .detail
        .chars()
        .filter(|c| !provisioner_api::text::is_invisible(*c))
        .collect();
    db.prepare_cached("INSERT INTO events (at, node, kind, detail, actor) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            now,
            node,
            entry.kind,
            cut(&detail, LONGEST_DETAIL),
            entry.actor
        ])?;
    let id = db.last_insert_rowid();
    match entry.actor.as_str() {
        crate::events::NODE | crate::events::INSTALLER => prune_machine(db, node)?,
        crate::events::PROVISIONER => {
            let silence = entry.kind == "lost";
            db.prepare_cached(include_str!("prune_server.sql"))?
                .execute(params![node, OF_THE_SERVER, silence])?;
        }
        _ => {}
    }
    if id % PRUNE_EVERY == 0 {
        db.execute(include_str!("prune_people.sql"), [OF_PEOPLE])?;
        db.execute(include_str!("prune_forgotten.sql"), [OF_THE_FORGOTTEN])?;
    }
    Ok(())
}

fn prune_machine(db: &Connection, node: Option<&str>) -> Result<(), RegistryError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM nodes WHERE id = ?1 AND json_extract(state, '$.state') <> 'enrolled')";
    let approved: bool = db.prepare_cached(sql)?.query_row([node], |row| row.get(0))?;
    let kept = if approved { OF_A_NODE } else { OF_A_STRANGER };
    db.prepare_cached(include_str!("prune_machine.sql"))?
        .execute(params![node, kept])?;
    Ok(())
}

/// The newest `limit` events after `after`, of one node or of all, oldest first.
pub(super) fn events(
    db: &Connection,
    node: Option<&str>,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<EventEntry>, RegistryError> {
    let mut statement = db.prepare_cached(include_str!("events.sql"))?;
    let rows = statement.query_map(
        named_params! { ":node": node, ":after": after, ":limit": limit },
        |row| {
            Ok(EventEntry {
                id: row.get("id")?,
                at: row.get("at")?,
                node: row.get("node")?,
                kind: row.get("kind")?,
                detail: row.get("detail")?,
                actor: row.get("actor")?,
            })
        },
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Nodes whose silence was written down, and not yet its end. Silences are the server's own lines, and
/// counted apart: no machine can push one out.
pub(super) fn lost(db: &Connection) -> Result<Vec<String>, RegistryError> {
    // SQLite takes `kind` from the row with the largest id.
    let sql = "SELECT node FROM (SELECT node, kind, max(id) FROM events \
               WHERE node IS NOT NULL AND kind IN ('lost', 'back') GROUP BY node) WHERE kind = 'lost'";
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
