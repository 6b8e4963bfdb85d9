// SPDX-License-Identifier: Apache-2.0
//! The server's parts in one place, and the things that can be asked of it.
//!
//! Every edge (DHCP, TFTP, HTTP, the monitor) holds an `Arc<App>` and calls these functions; none of them knows
//! a socket or reads a clock. `now` is always Unix milliseconds. What writes to the registry waits for the disk:
//! call it from `spawn_blocking`; what only reads answers from memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use provisioner_api::{Finding, Life, ServiceStatus};
use tokio::sync::{broadcast, watch};

use crate::budget::Budget;
use crate::config::Config;
use crate::images::{ImageStore, ImportError};
use crate::journal::Journal;
use crate::media::{Media, TakeError};
use crate::memory::Memory;
use crate::network::SegmentNow;
use crate::packages::Packages;
use crate::presence::Presence;
use crate::registry::{Registry, RegistryError};
use crate::store::StoreError;
use crate::templates::SiteTemplates;
use crate::tls::ServerKey;
use crate::visitors::Visitors;

mod approval;
mod boots;
mod callers;
mod doctor;
mod enrol;
mod health;
mod home;
mod install;
mod machine;
mod media;
mod operator;
mod public;
mod roles;
mod templates;
mod time;
mod view;
mod visitors;

pub use boots::{Fetched, keep_lessons};
pub use health::Health;
pub use install::Start;
pub use machine::{Choice, Who};
pub use operator::Command;
pub use view::ON_A_PAGE;

/// News that a slow reader of [`App::subscribe`] may lag behind before it loses some and must look at everything
/// again: a burst of a thousand machines that boot at once.
const CHANGES_KEPT: usize = 4096;

/// The server's parts.
#[derive(Debug)]
pub struct App {
    /// What the site wants.
    pub config: Config,
    /// Nodes, events, capsules, tokens.
    pub registry: Registry,
    /// Images and the RAM environment.
    pub images: ImageStore,
    /// Boot media of the distributions' own installers.
    pub media: Media,
    /// Templates of answer files.
    pub templates: SiteTemplates,
    /// What is known of nodes only while the server runs: who was heard when, progress, load.
    pub presence: Presence,
    /// Starts in RAM that show a node's facts and were not let in as it.
    pub visitors: Visitors,
    /// What was seen of cards on the wire lately, step by step.
    pub journal: Journal,
    /// What starts have taught about loaders and disks.
    pub memory: Memory,
    /// What is known of the package cache.
    pub packages: Packages,
    /// The segments that are served, by interface.
    pub segments: Mutex<BTreeMap<Arc<str>, SegmentNow>>,
    /// Networks that are not served any more, because their interface is gone.
    pub gone: Mutex<BTreeSet<Arc<str>>>,
    /// What kept machines from arriving at the last look.
    pub troubles: Mutex<Vec<Finding>>,
    /// The server's key, its pin.
    pub key: ServerKey,
    /// Each service as it is now; every edge keeps its own line up to date with [`App::report`].
    pub services: Mutex<Vec<ServiceStatus>>,
    /// When the state was last looked at.
    pub health: Health,
    /// Port of the API once it is bound: what the kernel chose where the configuration says 0.
    pub bound_api: OnceLock<u16>,
    budgets: Budgets,
    changes: broadcast::Sender<Change>,
    /// How many tokens were revoked: whoever holds an answer open looks again whether its token is valid.
    pub revocations: watch::Sender<u64>,
}

/// How often machines may say what is written down.
#[derive(Debug)]
struct Budgets {
    /// Introductions of machines that are not known, by address: a room behind one router comes at once.
    strangers: Budget<IpAddr>,
    /// Introductions of one node: a few each start, and again when its hardware changes.
    starts: Budget<String>,
    /// What one node tells: a dozen lines an installation.
    words: Budget<String>,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            strangers: Budget::new(60, 10_000),
            starts: Budget::new(30, 5000),
            words: Budget::new(120, 1000),
        }
    }
}

/// Something that a watcher of the page should look at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The node with this id.
    Node(String),
    /// The list of images, or what is wrong with one.
    Images,
    /// The server's own services.
    Services,
}

/// Who is calling, by the key of its TLS certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Id of the node.
    pub node: String,
    /// Which of its lives speaks.
    pub life: Life,
}

/// Why a call was not carried out; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no such node, image or token (404).
    #[error("{0}")]
    NotFound(String),
    /// The present state does not allow it (409).
    #[error("{0}")]
    Refused(String),
    /// The caller may not do this (403).
    #[error("{0}")]
    Forbidden(String),
    /// What was asked makes no sense (422).
    #[error("{0}")]
    Invalid(String),
    /// More than the server takes from this caller now (429); it may try again later.
    #[error("{0}")]
    TooMuch(String),
    /// The disk of the server is full (507); the caller may try again later, nothing is lost.
    #[error("the server's disk is full: make room in its state folder, then try again")]
    Full,
    /// Something that should not happen did (500).
    #[error("the server could not do this; its log says why")]
    Internal(#[source] anyhow::Error),
}

impl App {
    /// Puts the parts together.
    pub fn new(
        config: Config,
        registry: Registry,
        images: ImageStore,
        media: Media,
        templates: SiteTemplates,
        key: ServerKey,
        now: i64,
    ) -> Arc<Self> {
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let services = Mutex::new(Vec::new());
        // Without what was learnt machines still boot: some need a power cycle more.
        let lessons = registry.lessons().unwrap_or_else(|error| {
            tracing::warn!(%error, "reading what was learnt about loaders");
            Vec::new()
        });
        let presence = Presence::new(now);
        // Without it a silence is written down a second time.
        let lost = registry.lost().unwrap_or_else(|error| {
            tracing::warn!(%error, "reading which nodes are lost");
            Vec::new()
        });
        for node in lost {
            presence.update(&node, |seen| seen.lost = true);
        }
        Arc::new(Self {
            config,
            registry,
            images,
            media,
            templates,
            presence,
            visitors: Visitors::default(),
            journal: Journal::default(),
            memory: Memory::new(lessons),
            packages: Packages::default(),
            segments: Mutex::default(),
            gone: Mutex::default(),
            troubles: Mutex::default(),
            key,
            services,
            health: Health::default(),
            bound_api: OnceLock::new(),
            budgets: Budgets::default(),
            changes,
            revocations: watch::Sender::new(0),
        })
    }

    /// Port of the API.
    pub fn api_port(&self) -> u16 {
        self.bound_api.get().copied().unwrap_or(self.config.ports.api)
    }

    /// News from now on. A receiver that lags must look at everything again.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Tells watchers that something has changed.
    pub fn announce(&self, change: Change) {
        // Nobody watching is not an error.
        let _ = self.changes.send(change);
    }

    /// Sets a service's line in the status report.
    pub fn report(&self, service: ServiceStatus) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        match services.iter_mut().find(|line| line.name == service.name) {
            Some(line) if *line == service => return,
            Some(line) => *line = service,
            None => services.push(service),
        }
        drop(services);
        self.announce(Change::Services);
    }

    /// A segment is now like this.
    pub fn segment(&self, segment: SegmentNow) {
        let name = Arc::clone(&segment.interface);
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        self.segments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, segment);
    }

    /// A segment is not served any more.
    pub fn segment_gone(&self, interface: &Arc<str>) {
        let name = Arc::clone(interface);
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        self.segments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(interface);
    }

    /// Whether a node may say what is written down, or has said too much in the last minutes.
    fn hears(&self, node: &str, now: i64) -> Result<(), AppError> {
        if self.budgets.words.take(node.to_owned(), now) {
            return Ok(());
        }
        Err(AppError::TooMuch(
            "this node has told more than the server writes down in a minute; tell it again later".into(),
        ))
    }

    /// Whether a machine may introduce itself once more: a known one by its own count, all others by their address.
    fn listens(&self, key: &str, from: IpAddr, now: i64) -> Result<(), AppError> {
        let heard = match self.caller(key) {
            Some(caller) => self.budgets.starts.take(caller.node, now),
            None => self.budgets.strangers.take(from.to_canonical(), now),
        };
        if heard {
            return Ok(());
        }
        Err(AppError::TooMuch(format!(
            "too many introductions from {from} in the last minutes; this machine asks again by itself"
        )))
    }

    /// A node is not what it was: whoever watches it looks again, the node itself included.
    fn changed(&self, node: &str) {
        self.presence.wake(node);
        self.announce(Change::Node(node.to_owned()));
    }
}

impl From<RegistryError> for AppError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::NoNode(_) => Self::NotFound(error.to_string()),
            RegistryError::Refused(_) | RegistryError::NameTaken(_) => Self::Refused(error.to_string()),
            RegistryError::TooMany | RegistryError::TooMuch => Self::TooMuch(error.to_string()),
            RegistryError::UnknownKey(_)
            | RegistryError::NoJoin(_)
            | RegistryError::WrongLife
            | RegistryError::NotLetIn => Self::Forbidden(error.to_string()),
            RegistryError::Full => Self::Full,
            RegistryError::Document(_)
            | RegistryError::Migration(_)
            | RegistryError::Damaged { .. }
            | RegistryError::Gone(_)
            | RegistryError::Permissions(..)
            | RegistryError::Busy
            | RegistryError::ReadOnly
            | RegistryError::Database(_) => Self::Internal(error.into()),
        }
    }
}

impl From<ImportError> for AppError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(StoreError::Full) => Self::Full,
            ImportError::Busy | ImportError::Exists(_) => Self::Refused(error.to_string()),
            ImportError::NotAnImage(_) | ImportError::Refused(_) | ImportError::Store(StoreError::Io(..)) => {
                Self::Invalid(error.to_string())
            }
        }
    }
}

impl From<TakeError> for AppError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Store(StoreError::Full) => Self::Full,
            TakeError::Busy | TakeError::NoRoom(_) => Self::Refused(error.to_string()),
            TakeError::Refused(_) | TakeError::Store(StoreError::Io(..)) => Self::Invalid(error.to_string()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
