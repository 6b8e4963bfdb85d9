// SPDX-License-Identifier: Apache-2.0
//! When to ask again.

use std::time::Duration;

/// First pause: a lost packet or a controller that is just starting.
const FIRST: Duration = Duration::from_millis(500);

/// Longest pause: a person who plugs the cable back in sees the machine go on before turning away.
const LONGEST: Duration = Duration::from_secs(15);

/// Pauses that grow from half a second to fifteen seconds, each shortened by up to a quarter at random, so that a
/// room full of machines does not knock at a restarted controller in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    random: fn() -> u8,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(random_byte)
    }
}

impl Backoff {
    /// A fresh series with its source of randomness.
    pub fn new(random: fn() -> u8) -> Self {
        Self { next: FIRST, random }
    }

    /// The next pause. The caller sleeps.
    pub fn pause(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(LONGEST);
        full.saturating_sub(full * u32::from((self.random)()) / 1024)
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

fn random_byte() -> u8 {
    use ring::rand::SecureRandom;
    let mut byte = [0];
    // Without random numbers the pauses are merely in step.
    let _ = ring::rand::SystemRandom::new().fill(&mut byte);
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::new(|| 0);
        let pauses: Vec<_> = (0..8).map(|_| backoff.pause()).collect();
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(pauses[7], LONGEST);
        backoff.reset();
        assert_eq!(backoff.pause(), FIRST);
    }

    #[test]
    fn a_room_does_not_knock_in_step() {
        assert!(Backoff::new(|| 255).pause() < Backoff::new(|| 0).pause());
        assert!(Backoff::new(|| 255).pause() >= FIRST * 3 / 4);
    }
}
