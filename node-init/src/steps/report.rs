// SPDX-License-Identifier: Apache-2.0
//! Tells the controller what happened and how far it is.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use provisioner_api::{Event, NodeEvent, Progress, Stage};

use crate::client::{Backoff, Client};
use crate::screen::Screen;

/// At most two a second: a thousand machines write at once, and a person's eye is slower.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The controller has it.
    Stored,
    /// The controller does not want it, and never will.
    Refused,
}

/// Numbers events and sends them until they are heard.
pub struct Reporter<'a> {
    client: &'a Client,
    screen: &'a Screen,
    boot_id: String,
    sequence: u64,
    slot: Arc<Slot>,
}

impl<'a> Reporter<'a> {
    /// A reporter for this boot.
    pub fn new(client: &'a Client, screen: &'a Screen, boot_id: String) -> Self {
        Self {
            client,
            screen,
            boot_id,
            sequence: 0,
            slot: Arc::default(),
        }
    }

    /// Sends an event until the controller has it.
    pub fn event(&mut self, event: Event) -> Heard {
        self.sequence += 1;
        let event = NodeEvent {
            boot_id: self.boot_id.clone(),
            sequence: self.sequence,
            event,
        };
        let mut backoff = Backoff::default();
        loop {
            match self.client.send_event(&event) {
                Ok(()) => return Heard::Stored,
                Err(error) if error.is_temporary() => self.screen.say(&format!("waiting for the controller: {error}")),
                Err(error) => {
                    self.screen.log(&error.to_string());
                    return Heard::Refused;
                }
            }
            std::thread::sleep(backoff.pause());
        }
    }

    /// Does `work` while progress that it leaves is shown and sent.
    pub fn with_progress<T>(&self, work: impl FnOnce(&Meter<'_>) -> T) -> T {
        let slot = Arc::clone(&self.slot);
        slot.lock().done = false;
        std::thread::scope(|scope| {
            scope.spawn(|| slot.send_all(self.client));
            let meter = Meter {
                slot: &slot,
                screen: self.screen,
                boot_id: &self.boot_id,
            };
            let result = work(&meter);
            slot.finish();
            result
        })
    }
}

/// Takes progress. Cheap: it may be told a thousand times a second.
pub struct Meter<'a> {
    slot: &'a Slot,
    screen: &'a Screen,
    boot_id: &'a str,
}

impl Meter<'_> {
    /// `permille` of `stage` is done; a few words beside it.
    pub fn progress(&self, stage: Stage, permille: u16, detail: String) {
        self.screen.update(|view| {
            view.permille = Some(permille);
            view.text.clone_from(&detail);
        });
        let progress = Progress {
            boot_id: self.boot_id.to_owned(),
            stage,
            permille,
            detail,
        };
        self.slot.lock().newest = Some(progress);
        self.slot.changed.notify_all();
    }

    /// Words on the screen alone.
    pub fn say(&self, text: &str) {
        self.screen.say(text);
    }
}

/// The newest progress that was not sent yet.
#[derive(Default)]
struct Slot {
    state: Mutex<SlotState>,
    changed: Condvar,
}

#[derive(Default)]
struct SlotState {
    newest: Option<Progress>,
    done: bool,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self) {
        let mut state = self.lock();
        state.done = true;
        state.newest = None;
        self.changed.notify_all();
    }

    fn send_all(&self, client: &Client) {
        let mut state = self.lock();
        loop {
            let Some(progress) = state.newest.take() else {
                if state.done {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let sent = Instant::now();
            // Losing one loses nothing.
            let _ = client.send_progress(&progress);
            state = self.lock();
            while !state.done && sent.elapsed() < PROGRESS_EVERY {
                let left = PROGRESS_EVERY.saturating_sub(sent.elapsed());
                state = self
                    .changed
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        }
    }
}
