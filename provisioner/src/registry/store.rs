// SPDX-License-Identifier: Apache-2.0
//! Rows and documents: the only place that speaks SQL about nodes and events.

use provisioner_api::{EventEntry, Inventory, Life};
use rusqlite::{Connection, Row, named_params, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Entry, Keys, Node, Outline, RegistryError, Start};
use crate::identity::Facts;

/// Events kept; the oldest go first. At a dozen events an installation this is years of a lab, and 20 MB.
const EVENTS_KEPT: i64 = 100_000;

/// How many events are written between two looks at whether there are too many.
const PRUNE_EVERY: i64 = 256;

/// Letters of an event's text: nodes write it, and a page must show it.
const LONGEST_DETAIL: usize = 1000;

pub(super) fn load_nodes(db: &Connection) -> Result<Vec<Node>, RegistryError> {
    let mut statement = db.prepare(include_str!("load_nodes.sql"))?;
    let mut rows = statement.query([])?;
    let mut nodes = Vec::new();
    while let Some(row) = rows.next()? {
        nodes.push(node(row)?);
    }
    Ok(nodes)
}

fn node(row: &Row<'_>) -> Result<Node, RegistryError> {
    let inventory: Option<String> = row.get("inventory")?;
    let inventory: Inventory = inventory.map(|body| from_json(&body)).transpose()?.unwrap_or_default();
    let life: Option<String> = row.get("life")?;
    let state: String = row.get("state")?;
    Ok(Node {
        id: row.get("id")?,
        name: row.get("name")?,
        state: from_json(&state)?,
        since: row.get("since")?,
        created: row.get("created")?,
        note: row.get("note")?,
        life: life.map(|life| from_json(&life)).transpose()?,
        ram: start(row, "ram_boot", "ram_seen")?,
        // What cannot be read is not known.
        ram_from: row
            .get::<_, Option<String>>("ram_from")?
            .and_then(|from| from.parse().ok()),
        installed: start(row, "installed_boot", "installed_seen")?,
        keys: Keys {
            ram: row.get("ram_key")?,
            written: row.get("written_key")?,
            home: row.get("home_key")?,
        },
        installs: row.get("installs")?,
        capsule: row.get("has_capsule")?,
        facts: Facts::of(&inventory),
        outline: Outline::of(&inventory),
        tags: from_json(&row.get::<_, String>("tags")?)?,
        profile: row.get("profile")?,
    })
}

fn start(row: &Row<'_>, boot: &str, seen: &str) -> Result<Option<Start>, RegistryError> {
    let boot_id: Option<String> = row.get(boot)?;
    let seen: i64 = row.get(seen)?;
    Ok(boot_id.map(|boot_id| Start {
        boot_id,
        seen: seen.cast_unsigned(),
    }))
}

pub(super) fn save_node(db: &Connection, node: &Node) -> Result<(), RegistryError> {
    let boot = |life| node.start(life).map(|start| start.boot_id.as_str());
    let seen = |life| node.start(life).map_or(0, |start| start.seen.cast_signed());
    db.prepare_cached(include_str!("save_node.sql"))?
        .execute(named_params! {
            ":id": node.id,
            ":name": node.name,
            ":state": to_json(&node.state)?,
            ":since": node.since,
            ":created": node.created,
            ":note": node.note,
            ":life": node.life.map(|life| to_json(&life)).transpose()?,
            ":ram_boot": boot(Life::Ram),
            ":ram_seen": seen(Life::Ram),
            ":ram_from": node.ram_from.map(|from| from.to_string()),
            ":installed_boot": boot(Life::Installed),
            ":installed_seen": seen(Life::Installed),
            ":ram_key": node.keys.ram,
            ":written_key": node.keys.written,
            ":home_key": node.keys.home,
            ":installs": node.installs,
            ":tags": to_json(&node.tags)?,
            ":profile": node.profile,
        })?;
    Ok(())
}

pub(super) fn delete_node(db: &Connection, id: &str) -> Result<(), RegistryError> {
    db.execute("DELETE FROM nodes WHERE id = ?1", [id])?;
    Ok(())
}

/// A large document of a node.
#[derive(Clone, Copy)]
pub(super) enum Document {
    Inventory,
    Report,
    InstallerLog,
}

impl Document {
    fn table(self) -> &'static str {
        match self {
            Self::Inventory => "inventories",
            Self::Report => "reports",
            Self::InstallerLog => "installer_logs",
        }
    }
}

pub(super) fn save<T: Serialize>(db: &Connection, what: Document, node: &str, body: &T) -> Result<(), RegistryError> {
    let sql = format!("INSERT OR REPLACE INTO {} (node, body) VALUES (?1, ?2)", what.table());
    db.prepare_cached(&sql)?.execute(params![node, to_json(body)?])?;
    Ok(())
}

pub(super) fn load<T: DeserializeOwned>(
    db: &Connection,
    what: Document,
    node: &str,
) -> Result<Option<T>, RegistryError> {
    let sql = format!("SELECT body FROM {} WHERE node = ?1", what.table());
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([node])?;
    match rows.next()? {
        Some(row) => Ok(Some(from_json(&row.get::<_, String>(0)?)?)),
        None => Ok(None),
    }
}

/// Whether `actor` told of `detail` since then.
pub(super) fn was_told(
    db: &Connection,
    node: &str,
    actor: &str,
    detail: &str,
    since: i64,
) -> Result<bool, RegistryError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE node = ?1 AND actor = ?2 AND detail = ?3 AND at >= ?4)";
    let mut statement = db.prepare_cached(sql)?;
    Ok(statement.query_row(params![node, actor, detail, since], |row| row.get(0))?)
}

pub(super) fn write_down(db: &Connection, node: Option<&str>, entry: &Entry, now: i64) -> Result<(), RegistryError> {
    let detail: String = entry
        .detail
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_DETAIL)
        .collect();
    db.prepare_cached("INSERT INTO events (at, node, kind, detail, actor) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![now, node, entry.kind, detail, entry.actor])?;
    let id = db.last_insert_rowid();
    if id % PRUNE_EVERY == 0 {
        db.execute("DELETE FROM events WHERE id <= ?1", [id - EVENTS_KEPT])?;
    }
    Ok(())
}

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

/// Nodes whose silence was written down, and not yet its end.
pub(super) fn lost(db: &Connection) -> Result<Vec<String>, RegistryError> {
    // SQLite takes `kind` from the row with the largest id.
    let sql = "SELECT node FROM (SELECT node, kind, max(id) FROM events \
               WHERE node IS NOT NULL AND kind IN ('lost', 'back') GROUP BY node) WHERE kind = 'lost'";
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A number that was never given before.
pub(super) fn next_number(db: &Connection) -> Result<u64, RegistryError> {
    let sql = "UPDATE counters SET value = value + 1 WHERE name = 'node-name' RETURNING value";
    let number: i64 = db.query_row(sql, [], |row| row.get(0))?;
    Ok(number.unsigned_abs())
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, RegistryError> {
    serde_json::to_string(value).map_err(RegistryError::Document)
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, RegistryError> {
    serde_json::from_str(text).map_err(RegistryError::Document)
}
