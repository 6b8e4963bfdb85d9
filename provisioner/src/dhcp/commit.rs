// SPDX-License-Identifier: Apache-2.0
//! Promises become durable: a thread writes leases down, and sends the answers that waited for it.
//!
//! While the disk works, segments go on answering, and what they promise meanwhile goes into the next write: one
//! write serves the more promises the more there are. An offer promises nothing and never waits here.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tracing::debug;

use super::answer::Outgoing;
use super::outbox::Outbox;
use crate::leases::{Log, Record};
use crate::network::{Notice, Sightings};

/// Rounds of promises that may wait for the disk. A disk that holds up more than this is no disk to wait for: the
/// clients ask again.
const QUEUE: usize = 64;
/// Time between two writes at least. A lone client never waits for it; of a crowd it puts a dozen promises into each
/// write, which costs the processor more than answering does, for a millisecond that no client notices.
const PACE: Duration = Duration::from_millis(1);
/// Time between two notices that leases cannot be saved.
const NOTICE_EVERY: Duration = Duration::from_mins(1);

/// What one round promised, and the answers that say so.
pub(super) struct Promises {
    pub(super) records: Vec<Record>,
    pub(super) answers: Vec<Outgoing>,
    pub(super) outbox: Arc<Outbox>,
}

/// The way to the thread. It ends when the last of these is gone and all is written.
#[derive(Clone)]
pub(super) struct Committer(SyncSender<Promises>);

impl Committer {
    /// Starts the thread.
    pub(super) fn start(log: Log, sightings: Arc<dyn Sightings>) -> Result<Self> {
        let (queue, waiting) = sync_channel(QUEUE);
        let writer = Writer {
            log,
            sightings,
            noticed: None,
        };
        std::thread::Builder::new()
            .name("leases".into())
            .spawn(move || writer.run(&waiting))
            .context("starting the thread that writes leases")?;
        Ok(Self(queue))
    }

    /// Promises; the answers go out when that is durable.
    pub(super) fn promise(&self, promises: Promises) {
        if promises.records.is_empty() {
            return;
        }
        if self.0.try_send(promises).is_err() {
            metrics::counter!("gleaner_dhcp_unsent_total").increment(1);
            debug!("the disk is too slow for these promises, so they are not made");
        }
    }
}

struct Writer {
    log: Log,
    sightings: Arc<dyn Sightings>,
    noticed: Option<Instant>,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Promises>) {
        let mut round: Vec<Promises> = Vec::new();
        let mut records = Vec::new();
        let mut written: Option<Instant> = None;
        while let Ok(first) = waiting.recv() {
            round.push(first);
            let rest = written.and_then(|at| PACE.checked_sub(at.elapsed()));
            if let Some(rest) = rest {
                std::thread::sleep(rest);
            }
            written = Some(Instant::now());
            while let Ok(next) = waiting.try_recv() {
                round.push(next);
            }
            records.extend(round.iter().flat_map(|promises| &promises.records));
            if let Err(error) = self.log.append(&records) {
                self.unsaved(&error);
            }
            records.clear();
            for promises in round.drain(..) {
                for answer in &promises.answers {
                    promises.outbox.send(answer);
                }
            }
        }
    }

    /// The answers go out all the same: machines that boot are worth more than a promise that only a restart before
    /// the next write could break, and the log keeps it for that next write.
    fn unsaved(&mut self, error: &io::Error) {
        metrics::counter!("gleaner_dhcp_unsaved_total").increment(1);
        if self.noticed.is_none_or(|at| at.elapsed() >= NOTICE_EVERY) {
            self.noticed = Some(Instant::now());
            let detail = format!("leases cannot be saved ({error}); make room on the disk of the state folder");
            let kind = "leases-unsaved";
            self.sightings.notice(Notice { kind, detail });
        }
    }
}
