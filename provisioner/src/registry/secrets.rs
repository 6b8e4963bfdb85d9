// SPDX-License-Identifier: Apache-2.0
//! Capsules and tokens: what must never be in a list or a log.

use std::sync::Arc;

use provisioner_api::Capsule;
use ring::digest;
use rusqlite::{OptionalExtension, params};

use super::history;
use super::{Entry, Node, Registry, RegistryError, begin, store};

/// Random bytes of a token: beyond guessing, so that a plain hash of it can be stored.
const TOKEN_BYTES: usize = 32;

/// What a token begins with: people and secret scanners see what it is.
const TOKEN_PREFIX: &str = "gleaner_";

impl Registry {
    /// A node's capsule, where one is kept.
    pub fn capsule(&self, id: &str) -> Result<Option<Capsule>, RegistryError> {
        let db = self.reader();
        let mut statement = db.prepare_cached("SELECT body FROM capsules WHERE node = ?1")?;
        let body: Option<String> = statement.query_row([id], |row| row.get(0)).optional()?;
        body.map(|body| store::from_json(&body)).transpose()
    }

    /// Keeps a node's capsule.
    pub fn keep_capsule(&self, id: &str, capsule: &Capsule, now: i64) -> Result<Arc<Node>, RegistryError> {
        let body = store::to_json(capsule)?;
        let mut db = self.db();
        let known = self.node(id).ok_or_else(|| RegistryError::NoNode(id.to_owned()))?;
        let transaction = begin(&mut db)?;
        let sql = "INSERT OR REPLACE INTO capsules (node, at, body) VALUES (?1, ?2, ?3)";
        transaction.execute(sql, params![id, now, body])?;
        transaction.commit()?;
        if known.capsule {
            return Ok(known);
        }
        Ok(self.publish(Node {
            capsule: true,
            ..Node::clone(&known)
        }))
    }

    /// Makes a token; the secret is in the answer and nowhere else.
    pub fn create_token(&self, name: &str, entry: &Entry, now: i64) -> Result<String, RegistryError> {
        let secret = format!("{TOKEN_PREFIX}{}", random());
        let mut db = self.db();
        let transaction = begin(&mut db)?;
        let sql = "INSERT OR IGNORE INTO tokens (name, hash, created) VALUES (?1, ?2, ?3)";
        if transaction.execute(sql, params![name, hash(&secret), now])? == 0 {
            return Err(RegistryError::NameTaken(name.to_owned()));
        }
        history::write_down(&transaction, None, entry, now)?;
        transaction.commit()?;
        Ok(secret)
    }

    /// Names of the tokens and when they were made.
    pub fn tokens(&self) -> Result<Vec<(String, i64)>, RegistryError> {
        let db = self.reader();
        let mut statement = db.prepare_cached("SELECT name, created FROM tokens ORDER BY name")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets a token; whether there was one.
    pub fn revoke_token(&self, name: &str, entry: &Entry, now: i64) -> Result<bool, RegistryError> {
        let mut db = self.db();
        let transaction = begin(&mut db)?;
        let found = transaction.execute("DELETE FROM tokens WHERE name = ?1", [name])? > 0;
        if found {
            history::write_down(&transaction, None, entry, now)?;
        }
        transaction.commit()?;
        Ok(found)
    }

    /// The name of the token with this secret. The lookup is by hash: how long it takes says nothing of the secret.
    pub fn check_token(&self, secret: &str) -> Result<Option<String>, RegistryError> {
        let db = self.reader();
        let mut statement = db.prepare_cached("SELECT name FROM tokens WHERE hash = ?1")?;
        Ok(statement.query_row([hash(secret)], |row| row.get(0)).optional()?)
    }
}

/// A secret that nobody guesses, in hex.
pub(super) fn random() -> String {
    hex::encode(rand::random::<[u8; TOKEN_BYTES]>())
}

/// The mark of an installation. No secret, but unlike every other.
pub(super) fn mark() -> String {
    hex::encode(rand::random::<[u8; 8]>())
}

/// What is stored of a secret.
pub(super) fn hash(secret: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}
