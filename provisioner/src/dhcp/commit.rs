// SPDX-License-Identifier: Apache-2.0
//! Promises become durable: a thread writes leases down, and sends the answers that waited for it.
//!
//! While the disk works, segments go on answering, and what they promise meanwhile goes into the next write: one
//! write serves the more promises the more there are. An offer promises nothing and never waits here, and what is
//! written down already is not written again: the log says more than clients are told.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pxe::lease::Lease;
use tracing::debug;

use super::answer::Outgoing;
use super::outbox::Outbox;
use crate::clock;
use crate::leases::{Log, Record};
use crate::network::{Notice, Sightings};

/// Rounds of promises that may wait for the disk. A disk that holds up more than this is no disk to wait for: the
/// clients ask again.
const QUEUE: usize = 64;
/// Time between two writes at least. A lone client never waits for it; of a crowd it puts a dozen promises into each
/// write, which costs the processor more than answering does, for half a millisecond that no client notices.
const PACE: Duration = Duration::from_micros(500);
/// Seconds for which the log keeps an address beyond what its client was told. A machine that boots asks for its
/// address three times in a minute, so that two of three promises cost no write. After a restart of the server an address
/// that nobody uses any more is free that much later.
const BEYOND: u64 = 600;
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
pub(super) struct Committer {
    queue: SyncSender<Promises>,
    written: Arc<Written>,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start(log: Log, sightings: Arc<dyn Sightings>) -> Result<Self> {
        let (queue, waiting) = sync_channel(QUEUE);
        let written = Arc::new(Written::default());
        written.promised(&log.leases().map(Record::Bound).collect::<Vec<_>>());
        let writer = Writer {
            log,
            sightings,
            noticed: None,
            written: Arc::clone(&written),
        };
        std::thread::Builder::new()
            .name("leases".into())
            .spawn(move || writer.run(&waiting))
            .context("starting the thread that writes leases")?;
        Ok(Self { queue, written })
    }

    /// Whether the log says this already, or more, and nothing else is on its way there.
    pub(super) fn has(&self, record: &Record) -> bool {
        self.written.has(record)
    }

    /// Every lease that was promised, run out or not.
    pub(super) fn leases(&self) -> Vec<Lease> {
        let promised = self.written.promised.lock().unwrap_or_else(PoisonError::into_inner);
        promised.values().copied().collect()
    }

    /// Promises; the answers go out when that is durable.
    pub(super) fn promise(&self, mut promises: Promises) {
        if promises.records.is_empty() {
            return;
        }
        for record in &mut promises.records {
            if let Record::Bound(lease) = record {
                lease.until += BEYOND;
            }
        }
        self.written.begin(&promises.records);
        if let Err(TrySendError::Full(promises) | TrySendError::Disconnected(promises)) = self.queue.try_send(promises)
        {
            self.written.end(&promises.records, false);
            metrics::counter!("gleaner_dhcp_unsent_total").increment(1);
            debug!("the disk is too slow for these promises, so they are not made");
        }
    }
}

/// What was promised of each address, and what the log says of it.
#[derive(Default)]
struct Written {
    said: Mutex<HashMap<Ipv4Addr, Said>>,
    /// Written down or not: a segment that begins anew keeps these.
    promised: Mutex<BTreeMap<Ipv4Addr, Lease>>,
}

/// What the log says of an address.
#[derive(Default)]
struct Said {
    lease: Option<Lease>,
    /// Records of it that are on their way to the disk: until they are there, anything may be.
    under_way: u32,
}

impl Written {
    fn has(&self, record: &Record) -> bool {
        let Record::Bound(wanted) = record else { return false };
        let said = self.lock();
        let said = said.get(&wanted.address).filter(|said| said.under_way == 0);
        said.and_then(|said| said.lease)
            .is_some_and(|lease| (lease.mac, lease.known) == (wanted.mac, wanted.known) && lease.until >= wanted.until)
    }

    fn promised(&self, records: &[Record]) {
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            match record {
                Record::Bound(lease) => promised.insert(lease.address, *lease),
                Record::Freed(address) => promised.remove(address),
            };
        }
    }

    fn begin(&self, records: &[Record]) {
        self.promised(records);
        let mut said = self.lock();
        for record in records {
            said.entry(record.address()).or_default().under_way += 1;
        }
    }

    /// Records have come to the disk, or not.
    fn end(&self, records: &[Record], durable: bool) {
        let mut all = self.lock();
        for record in records {
            let said = all.entry(record.address()).or_default();
            said.under_way = said.under_way.saturating_sub(1);
            said.lease = match *record {
                Record::Bound(lease) if durable => Some(lease),
                _ => None,
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ipv4Addr, Said>> {
        // Plain assignments: a panic elsewhere leaves nothing half done.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    log: Log,
    sightings: Arc<dyn Sightings>,
    noticed: Option<Instant>,
    written: Arc<Written>,
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
            let saved = self.log.append(&records, clock::running());
            self.written.end(&records, saved.is_ok());
            if let Err(error) = saved {
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

#[cfg(test)]
mod tests {
    use pxe::Mac;

    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    fn lease(card: u8, until: u64) -> Record {
        Record::Bound(Lease {
            address: ADDRESS,
            mac: Mac([2, 0, 0, 0, 0, card]),
            until,
            known: false,
        })
    }

    #[test]
    fn what_the_log_says_is_not_written_again_until_it_says_less_than_is_promised() {
        let written = Written::default();
        assert!(!written.has(&lease(1, 100)));
        written.begin(&[lease(1, 700)]);
        assert!(!written.has(&lease(1, 100)), "it is not on the disk yet");
        written.end(&[lease(1, 700)], true);
        assert!(written.has(&lease(1, 100)) && written.has(&lease(1, 700)));
        assert!(!written.has(&lease(1, 701)));
        assert!(!written.has(&lease(2, 100)), "another card");
    }

    #[test]
    fn an_address_that_is_on_its_way_to_somebody_else_is_nobodys_yet() {
        let written = Written::default();
        written.begin(&[lease(1, 700)]);
        written.end(&[lease(1, 700)], true);
        written.begin(&[Record::Freed(ADDRESS)]);
        assert!(!written.has(&lease(1, 100)));
        written.end(&[Record::Freed(ADDRESS)], true);
        assert!(!written.has(&lease(1, 100)));
    }

    #[test]
    fn what_could_not_be_written_is_not_taken_for_written() {
        let written = Written::default();
        written.begin(&[lease(1, 700)]);
        written.end(&[lease(1, 700)], false);
        assert!(!written.has(&lease(1, 100)));
    }
}
