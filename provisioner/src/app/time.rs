// SPDX-License-Identifier: Apache-2.0
//! Keeping time: what the server does when the clock of its machine is set.

use tracing::{info, warn};

use super::{App, AppError};
use crate::clock::{self, Reading};
use crate::events;
use crate::registry::Entry;

impl App {
    /// Follows the machine's clock; the server's time afterwards. Waits for the disk when the clock was set.
    pub fn keep_time(&self) -> i64 {
        if let Some(by) = clock::follow() {
            let reading = Reading::take();
            let then = Reading {
                now: reading.now.saturating_add(by),
                ..reading
            };
            match self.clock_was_set(by, &then) {
                Ok(()) => clock::advance(by),
                // The server's own time goes on as before; the next look tries again.
                Err(error) => warn!(%error, by, "the machine's clock was set, and that cannot be written down yet"),
            }
        }
        clock::now()
    }

    /// Moves every moment that is kept by so many milliseconds: silences last as long as before, and what ends in an hour
    /// still does.
    pub fn clock_was_set(&self, by: i64, then: &Reading) -> Result<(), AppError> {
        self.registry.move_moments(by, then)?;
        self.presence.shift(by);
        self.journal.shift(by);
        info!(by, "the machine's clock was set");
        let entry = Entry::new("clock-set", in_words(by), events::PROVISIONER);
        if let Err(error) = self.registry.write_down(None, &entry, then.now) {
            warn!(%error, "writing down that the clock was set");
        }
        Ok(())
    }
}

/// How far a clock was set, in a unit that fits.
fn in_words(by: i64) -> String {
    let seconds = by.unsigned_abs() / 1000;
    let size = match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    let direction = if by < 0 { "back" } else { "forward" };
    format!("this machine's clock was set {direction} by {size}")
}
