// SPDX-License-Identifier: Apache-2.0
//! All transfers that are under way: who they are with, how many there may be, and when each wants to be looked at.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use pxe::tftp::transfer::{Action, Failure, Transfer};
use pxe::tftp::{ErrorCode, ReadRequest, error_packet};
use tracing::debug;

use super::connection::{Connection, Scratch, Unsent, is_gone};
use super::{Peer, wait_for};
use crate::config::Share;
use crate::network::{Content, Ended, Fetch, FetchProgress, Sightings};

/// A request that comes again from the same port within this time is the same one, sent twice. Later it is a new
/// start: ROMs take the same ports at every start.
const SAME_REQUEST: Duration = Duration::from_secs(3);
/// Time between two reports of how far a transfer is.
const REPORT: Duration = Duration::from_secs(1);

/// A transfer that is under way.
struct Active {
    peer: Peer,
    file: String,
    connection: Connection,
    transfer: Transfer,
    since: Duration,
    /// When it was told last how far it is.
    told: Duration,
    /// When its alarm rings. Its deadline moves with every packet; the alarm only when it would come too late.
    alarm: Duration,
}

/// All of them.
pub(super) struct Transfers<'a> {
    epoll: Epoll,
    limits: Share,
    sightings: &'a dyn Sightings,
    active: HashMap<u64, Active>,
    by_peer: HashMap<Peer, u64>,
    by_address: HashMap<Ipv4Addr, usize>,
    /// Alarms, the next one first. Those of transfers that have ended, or have a newer one, ring for nothing.
    alarms: BinaryHeap<Reverse<(Duration, u64)>>,
    next: u64,
    scratch: Scratch,
}

/// Whether a request starts a transfer.
pub(super) enum Admission {
    /// It does.
    Granted,
    /// It came before: its answer is on the way.
    SameAgain,
    /// There are too many.
    Full,
}

impl<'a> Transfers<'a> {
    /// None yet.
    pub(super) fn new(epoll: Epoll, limits: Share, sightings: &'a dyn Sightings) -> Self {
        Self {
            epoll,
            limits,
            sightings,
            active: HashMap::new(),
            by_peer: HashMap::new(),
            by_address: HashMap::new(),
            alarms: BinaryHeap::new(),
            next: 0,
            scratch: Scratch::new(),
        }
    }

    /// Waits for a packet or for the next alarm; says how many sockets have something to read.
    pub(super) fn wait(&self, events: &mut [EpollEvent], now: Duration) -> nix::Result<usize> {
        let timeout = self.alarms.peek().map_or(EpollTimeout::NONE, |Reverse((alarm, _))| {
            // Rounded up: waking before the alarm would be waking twice.
            let wait = alarm.saturating_sub(now).as_micros().div_ceil(1000);
            EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::MAX)
        });
        self.epoll.wait(events, timeout)
    }

    /// Whether this request starts a transfer. One that comes again does not; one that comes much later from the
    /// same port does, and ends the old one.
    pub(super) fn admit(&mut self, peer: Peer, file: &str, now: Duration) -> Admission {
        if let Some(&id) = self.by_peer.get(&peer) {
            let same = |active: &Active| active.file == file && now < active.since + SAME_REQUEST;
            if self.active.get(&id).is_some_and(same) {
                return Admission::SameAgain;
            }
            // Nothing arrived of it that counts.
            self.remove(id);
        }
        let from_there = self.by_address.get(peer.ip()).copied().unwrap_or(0);
        if self.active.len() >= self.limits.total || from_there >= self.limits.per_address {
            return Admission::Full;
        }
        Admission::Granted
    }

    /// Starts a transfer that was admitted.
    pub(super) fn start(&mut self, local: Ipv4Addr, peer: Peer, request: ReadRequest, content: Content, now: Duration) {
        metrics::counter!("gleaner_tftp_requests_total").increment(1);
        let ReadRequest { file, options } = request;
        let size = content.size();
        debug!(%peer, file, ?options, size, "begins");
        let id = self.next;
        let opened = Connection::open(local, peer, content).and_then(|connection| {
            wait_for(&self.epoll, &connection, id)?;
            Ok(connection)
        });
        let connection = match opened {
            Ok(connection) => connection,
            Err(error) => {
                let why = format!("the network refused: {error}");
                return self.tell(peer, file, 0, Ended::Broken, Some(why));
            }
        };
        let (transfer, action) = Transfer::start(size, &options, now);
        let active = Active {
            peer,
            file,
            connection,
            transfer,
            since: now,
            told: now,
            alarm: Duration::MAX,
        };
        self.tell_progress(&active);
        self.next += 1;
        self.active.insert(id, active);
        self.by_peer.insert(peer, id);
        *self.by_address.entry(*peer.ip()).or_default() += 1;
        self.count();
        self.act(id, action, now);
    }

    /// The socket of a transfer has a packet.
    pub(super) fn heard(&mut self, id: u64, now: Duration) {
        // One that ended in this very round is still among its events.
        let Some(active) = self.active.get_mut(&id) else { return };
        let action = match active.connection.receive(&mut self.scratch.heard) {
            Ok(length) => active.transfer.receive(&self.scratch.heard[..length], now),
            Err(error) if is_gone(&error) => Action::Abandon(Failure::Silence),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => return self.end(id, Some((Ended::Broken, format!("the network refused: {error}")))),
        };
        if now >= active.told + REPORT {
            active.told = now;
            self.sightings.fetching(&active.progress());
        }
        self.act(id, action, now);
    }

    /// Rings the alarms that are due.
    pub(super) fn tick(&mut self, now: Duration) {
        while let Some(&Reverse((alarm, id))) = self.alarms.peek() {
            if alarm > now {
                return;
            }
            self.alarms.pop();
            let Some(active) = self.active.get_mut(&id).filter(|active| active.alarm == alarm) else {
                continue;
            };
            active.alarm = Duration::MAX;
            let action = active.transfer.tick(now);
            self.act(id, action, now);
        }
    }

    /// Does what the transfer says.
    fn act(&mut self, id: u64, action: Action, now: Duration) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let sent = match action {
            Action::Wait => Ok(()),
            Action::SendOptions(options) => active.connection.send(&options),
            Action::SendBlocks(blocks) => active
                .connection
                .send_blocks(&active.transfer, blocks, &mut self.scratch),
            Action::Done => return self.end(id, None),
            Action::Abandon(failure) => return self.end(id, Some(broken(&failure))),
            Action::Fail(error, failure) => {
                // It is over either way.
                let _ = active.connection.send(&error);
                return self.end(id, Some(broken(&failure)));
            }
        };
        match sent {
            Ok(()) => {}
            Err(Unsent::Gone) => return self.end(id, Some(broken(&Failure::Silence))),
            Err(Unsent::Unreadable(error)) => {
                let _ = active
                    .connection
                    .send(&error_packet(ErrorCode::Undefined, "the file cannot be read"));
                return self.end(id, Some((Ended::Broken, format!("the file cannot be read: {error}"))));
            }
        }
        // An alarm that comes early finds out what the deadline is now; one that comes late would cost a client time.
        let deadline = active.transfer.deadline().max(now);
        if deadline < active.alarm {
            active.alarm = deadline;
            self.alarms.push(Reverse((deadline, id)));
        }
    }

    fn end(&mut self, id: u64, failure: Option<(Ended, String)>) {
        if let Some(active) = self.remove(id) {
            let arrived = active.transfer.arrived();
            let (ended, failure) = match failure {
                None => (Ended::Whole, None),
                Some((ended, why)) => (ended, Some(why)),
            };
            self.tell(active.peer, active.file, arrived, ended, failure);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Active> {
        let active = self.active.remove(&id)?;
        self.by_peer.remove(&active.peer);
        if let Some(count) = self.by_address.get_mut(active.peer.ip()) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(active.peer.ip());
            }
        }
        self.count();
        Some(active)
    }

    fn count(&self) {
        let count = u32::try_from(self.active.len()).map_or(f64::INFINITY, f64::from);
        metrics::gauge!("gleaner_tftp_transfers").set(count);
    }

    fn tell_progress(&self, active: &Active) {
        self.sightings.fetching(&active.progress());
    }

    fn tell(&self, peer: Peer, file: String, bytes: u64, ended: Ended, failure: Option<String>) {
        metrics::counter!("gleaner_tftp_bytes_total").increment(bytes);
        let result = if failure.is_none() { "whole" } else { "broken" };
        metrics::counter!("gleaner_tftp_transfers_total", "result" => result).increment(1);
        self.sightings.fetched(Fetch {
            peer: *peer.ip(),
            file,
            bytes,
            failure,
            ended,
        });
    }
}

/// How a transfer ended that did not reach its end.
fn broken(failure: &Failure) -> (Ended, String) {
    let ended = match failure {
        Failure::SizeOnly => Ended::SizeOnly,
        _ => Ended::Broken,
    };
    (ended, failure.to_string())
}

impl Active {
    fn progress(&self) -> FetchProgress<'_> {
        FetchProgress {
            peer: *self.peer.ip(),
            file: &self.file,
            arrived: self.transfer.arrived(),
            size: self.connection.size(),
        }
    }
}
