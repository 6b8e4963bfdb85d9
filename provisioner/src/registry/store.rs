// SPDX-License-Identifier: Apache-2.0
//! Rows and documents: the only place that speaks SQL about nodes.

use provisioner_api::{Inventory, Life, limits};
use rusqlite::{Connection, Row, named_params, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Keys, Node, Outline, RegistryError, Start};
use crate::identity::Facts;

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
    let weight = inventory.as_ref().map_or(0, String::len);
    let inventory: Inventory = inventory.map(|body| document(&body)).transpose()?.unwrap_or_default();
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
        vouches: row.get("vouches")?,
        vouching: from_json(&row.get::<_, String>("vouching")?)?,
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
        weight,
        tags: from_json(&row.get::<_, String>("tags")?)?,
        profile: row.get("profile")?,
        mark: row.get("mark")?,
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
            ":vouches": node.vouches,
            ":vouching": to_json(&node.vouching)?,
            ":installed_boot": boot(Life::Installed),
            ":installed_seen": seen(Life::Installed),
            ":ram_key": node.keys.ram,
            ":written_key": node.keys.written,
            ":home_key": node.keys.home,
            ":installs": node.installs,
            ":tags": to_json(&node.tags)?,
            ":profile": node.profile,
            ":mark": node.mark,
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

/// Keeps a document; tells how many bytes it has.
pub(super) fn save<T: Serialize>(
    db: &Connection,
    what: Document,
    node: &str,
    body: &T,
) -> Result<usize, RegistryError> {
    let body = to_json(body)?;
    let sql = format!("INSERT OR REPLACE INTO {} (node, body) VALUES (?1, ?2)", what.table());
    db.prepare_cached(&sql)?.execute(params![node, body])?;
    Ok(body.len())
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
        Some(row) => Ok(Some(document(&row.get::<_, String>(0)?)?)),
        None => Ok(None),
    }
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

/// A document of a node within the bounds of today: one that was stored before there were bounds may be of any size, and
/// the server must start, and answer, with it.
fn document<T: DeserializeOwned>(body: &str) -> Result<T, RegistryError> {
    let mut body = from_json(body)?;
    limits::fit(&mut body);
    serde_json::from_value(body).map_err(RegistryError::Document)
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, RegistryError> {
    serde_json::from_str(text).map_err(RegistryError::Document)
}
