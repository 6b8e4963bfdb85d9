// SPDX-License-Identifier: Apache-2.0
//! A fake node: one start of a machine, with its own key and invented inventory, that speaks the node API.
//!
//! Each call is one question on the wire, so that a test can lie, repeat, reorder or fall silent between any two.
//! What a whole machine does with it is in [`crate::machine`].

pub mod inventory;
pub mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use provisioner_api::{
    Capsule, Event, Heartbeat, Inventory, Join, Life, NodeEvent, Orders, PROBLEM_JSON, Problem, Progress, Register,
    Registered, Stage, Time, Vouch, path,
};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::{self, Reply};
use tls::{Key, Stream};

/// The server said no, in the one shape of every error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Problem);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server refused ({}): {}", self.0.status, self.0.detail)
    }
}

impl std::error::Error for Refused {}

/// The status of a refusal, if that is what an error is.
pub fn status(error: &anyhow::Error) -> Option<u16> {
    error.downcast_ref::<Refused>().map(|refused| refused.0.status)
}

/// One start of a machine.
pub struct Node {
    /// The key that it presents.
    pub key: Key,
    /// The kernel's random id of this start.
    pub boot_id: String,
    /// Number of the last event.
    pub sequence: u64,
    /// Whether it is a node-init that says that its key can be read from RAM; older ones do not.
    pub vouches: bool,
    tls: Arc<ClientConfig>,
    from: Ipv4Addr,
    controller: SocketAddr,
    connection: Option<Stream>,
}

impl Node {
    /// A start with this key, calling from this address.
    pub fn start(from: Ipv4Addr, controller: SocketAddr, pin: &str, key: Key) -> Result<Self> {
        let tls = tls::client(pin, Some(&key))?;
        Ok(Self {
            key,
            boot_id: boot_id(),
            sequence: 0,
            vouches: true,
            tls,
            from,
            controller,
            connection: None,
        })
    }

    /// The same start with another connection: a node waits for orders on one and speaks on the other.
    pub fn beside(&self) -> Result<Self> {
        Ok(Self {
            key: Key::from_pem(&self.key.to_pem())?,
            boot_id: self.boot_id.clone(),
            sequence: self.sequence,
            vouches: self.vouches,
            tls: Arc::clone(&self.tls),
            from: self.from,
            controller: self.controller,
            connection: None,
        })
    }

    /// The server's clock.
    pub fn time(&mut self) -> Result<Time> {
        self.get(path::TIME)
    }

    /// Introduces itself.
    pub fn register(&mut self, life: Life, inventory: &Inventory) -> Result<Registered> {
        self.register_with(life, inventory, None)
    }

    /// Introduces itself, with the secret that an installer left.
    pub fn register_with(&mut self, life: Life, inventory: &Inventory, join: Option<String>) -> Result<Registered> {
        let register = Register {
            boot_id: self.boot_id.clone(),
            life,
            version: env!("CARGO_PKG_VERSION").into(),
            inventory: inventory.clone(),
            join: join.map(Join),
            vouches: self.vouches && life == Life::Installed,
        };
        self.post(path::REGISTER, &register)
    }

    /// Says, with the key of an installed system, that the start with this key is on the same machine.
    pub fn vouch(&mut self, start: &Key) -> Result<()> {
        let key = start.fingerprint();
        self.tell("POST", path::VOUCH, &Vouch { key })
    }

    /// The current order; with `seen`, waits up to `wait` seconds for another one.
    pub fn orders(&mut self, seen: Option<u64>, wait: u32) -> Result<Orders> {
        match seen {
            Some(revision) => self.get(&format!("{}?seen={revision}&wait={wait}", path::ORDERS)),
            None => self.get(path::ORDERS),
        }
    }

    /// The next event of this start; it is not sent yet.
    pub fn event(&mut self, event: Event) -> NodeEvent {
        self.sequence += 1;
        NodeEvent {
            boot_id: self.boot_id.clone(),
            sequence: self.sequence,
            event,
        }
    }

    /// Sends an event, for the first time or again.
    pub fn send(&mut self, event: &NodeEvent) -> Result<()> {
        self.tell("POST", path::EVENTS, event)
    }

    /// Makes the next event and sends it.
    pub fn report(&mut self, event: Event) -> Result<()> {
        let event = self.event(event);
        self.send(&event)
    }

    /// Says how far it is.
    pub fn progress(&mut self, stage: Stage, permille: u16) -> Result<()> {
        let progress = Progress {
            boot_id: self.boot_id.clone(),
            stage,
            permille,
            detail: "a fake".into(),
        };
        self.tell("POST", path::PROGRESS, &progress)
    }

    /// Gives a sign of life.
    pub fn heartbeat(&mut self) -> Result<()> {
        let heartbeat = Heartbeat {
            boot_id: self.boot_id.clone(),
            load: inventory::load(),
        };
        self.tell("POST", path::HEARTBEAT, &heartbeat)
    }

    /// Its capsule; `None` where none is kept.
    pub fn capsule(&mut self) -> Result<Option<Capsule>> {
        match self.get(path::CAPSULE) {
            Ok(capsule) => Ok(Some(capsule)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leaves its capsule with the server.
    pub fn put_capsule(&mut self, capsule: &Capsule) -> Result<()> {
        self.tell("PUT", path::CAPSULE, capsule)
    }

    /// Asks anything.
    pub fn ask(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Reply> {
        let kept = self.connection.is_some();
        match self.ask_once(method, path, body) {
            // A kept connection may have been closed by the other side in the meantime.
            Err(_) if kept => self.ask_once(method, path, body),
            result => result,
        }
    }

    /// Ends the connection without a word.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    fn ask_once(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Reply> {
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => tls::connect(&self.tls, self.from, self.controller)?,
        };
        http::send(stream.get_mut(), method, path, &[], body)?;
        let reply = http::receive(&mut stream, method)?;
        if reply
            .header("connection")
            .is_none_or(|word| !word.eq_ignore_ascii_case("close"))
        {
            self.connection = Some(stream);
        }
        Ok(reply)
    }

    fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        let reply = self.ask("GET", path, None)?;
        understand(&accept(reply)?)
    }

    fn post<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).context("writing JSON")?;
        let reply = self.ask("POST", path, Some(&body))?;
        understand(&accept(reply)?)
    }

    fn tell(&mut self, method: &str, path: &str, body: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(body).context("writing JSON")?;
        accept(self.ask(method, path, Some(&body))?).map(drop)
    }
}

/// A random id as the kernel makes one at every start.
pub fn boot_id() -> String {
    inventory::uuid_text(rand::random())
}

/// A success, or what the server said against it; an error of any other shape is a broken promise of the API.
fn accept(reply: Reply) -> Result<Reply> {
    if (200..300).contains(&reply.status) {
        return Ok(reply);
    }
    let problem: Problem = serde_json::from_slice(&reply.body)
        .with_context(|| format!("HTTP status {} without a problem: {}", reply.status, reply.text()))?;
    anyhow::ensure!(
        reply.header("content-type") == Some(PROBLEM_JSON),
        "a problem of type {:?}",
        reply.header("content-type")
    );
    anyhow::ensure!(
        problem.status == reply.status,
        "a problem of status {} in an answer of {}",
        problem.status,
        reply.status
    );
    Err(Refused(problem).into())
}

fn understand<T: DeserializeOwned>(reply: &Reply) -> Result<T> {
    serde_json::from_slice(&reply.body).with_context(|| format!("understanding {}", reply.text()))
}
