// SPDX-License-Identifier: Apache-2.0
//! Events on their way to the controller: numbered, kept until acknowledged, in order.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use provisioner_api::{Event, NodeEvent};

use crate::client::ClientError;

/// Where the last number lives, below the root: on a file system that ends with the boot, as the numbers do.
const COUNTER: &str = "run/node-init/sequence";

/// A controller that is away for a month must not cost memory; what matters is reported anew when it is back.
const LIMIT: usize = 64;

/// Events that wait for the controller.
pub(super) struct Outbox {
    boot_id: String,
    counter: PathBuf,
    last: u64,
    waiting: VecDeque<NodeEvent>,
}

impl Outbox {
    /// Goes on where an earlier process of the same boot stopped.
    pub(super) fn open(root: &Path, boot_id: &str) -> Self {
        let counter = root.join(COUNTER);
        let last = fs::read_to_string(&counter)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        Self {
            boot_id: boot_id.into(),
            counter,
            last,
            waiting: VecDeque::new(),
        }
    }

    /// Takes an event in. A report replaces one that still waits: only the newest says how the node is.
    pub(super) fn push(&mut self, event: Event) {
        if matches!(event, Event::CameHome { .. }) {
            self.waiting
                .retain(|waiting| !matches!(waiting.event, Event::CameHome { .. }));
        }
        if self.waiting.len() == LIMIT {
            self.waiting.pop_front();
        }
        self.last += 1;
        // Without the file a restart would repeat numbers, and its events would be taken for echoes.
        if let Err(error) = write(&self.counter, self.last) {
            tracing::warn!(%error, path = %self.counter.display(), "cannot keep the number of the last event");
        }
        self.waiting.push_back(NodeEvent {
            boot_id: self.boot_id.clone(),
            sequence: self.last,
            event,
        });
    }

    /// Whether anything waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends the oldest. An event that the controller refuses for good is dropped: it would block all later ones.
    pub(super) fn send_one(
        &mut self,
        send: impl FnOnce(&NodeEvent) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let Some(event) = self.waiting.front() else {
            return Ok(());
        };
        match send(event) {
            Ok(()) => {}
            Err(error) if error.is_temporary() || error.status() == Some(401) => return Err(error),
            Err(error) => tracing::warn!(%error, sequence = event.sequence, "the controller refused an event"),
        }
        self.waiting.pop_front();
        Ok(())
    }
}

fn write(path: &Path, number: u64) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, number.to_string())?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use provisioner_api::Problem;

    use super::*;

    fn note(text: &str) -> Event {
        Event::Note { text: text.into() }
    }

    fn refused(status: u16) -> ClientError {
        ClientError::Refused(Problem {
            r#type: String::new(),
            title: String::new(),
            status,
            detail: String::new(),
        })
    }

    fn sent(outbox: &mut Outbox) -> Option<(u64, Event)> {
        let mut seen = None;
        outbox
            .send_one(|event| {
                seen = Some((event.sequence, event.event.clone()));
                Ok(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn numbers_rise_through_restarts_of_the_daemon() {
        let root = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(root.path(), "b");
        outbox.push(note("one"));
        outbox.push(note("two"));
        let mut outbox = Outbox::open(root.path(), "b");
        outbox.push(note("three"));
        assert_eq!(sent(&mut outbox), Some((3, note("three"))));
    }

    #[test]
    fn an_event_stays_until_the_controller_has_it() {
        let root = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(root.path(), "b");
        outbox.push(note("one"));
        assert!(outbox.send_one(|_| Err(refused(503))).is_err());
        assert_eq!(sent(&mut outbox), Some((1, note("one"))));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_refused_event_does_not_block_the_next() {
        let root = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(root.path(), "b");
        outbox.push(note("one"));
        outbox.push(note("two"));
        outbox.send_one(|_| Err(refused(409))).unwrap();
        assert_eq!(sent(&mut outbox), Some((2, note("two"))));
    }

    #[test]
    fn a_controller_that_is_away_for_a_month_costs_no_memory() {
        let root = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(root.path(), "b");
        for _ in 0..10 * LIMIT {
            outbox.push(note("x"));
        }
        assert_eq!(outbox.waiting.len(), LIMIT);
    }
}
