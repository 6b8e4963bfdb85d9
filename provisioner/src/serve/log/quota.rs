// SPDX-License-Identifier: Apache-2.0
//! How much of the log one source may fill: a machine that asks ten thousand times a second gets its answers, and a few
//! lines. What is left out is counted.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// For how long is counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Lines of one kind about one source in that time: a machine that starts causes two or three of each.
const OF_A_SOURCE: u32 = 30;
/// Lines of one kind in that time: a thousand machines that start at once; sources can be made up.
const OF_A_KIND: u32 = 5000;
/// Sources that are counted at once; lines of others count for their kind alone.
const SOURCES: usize = 16_384;

/// The fields that say whom a line is about.
const WHOM: [&str; 8] = ["node", "mac", "from", "address", "peer", "client", "server", "card"];

/// A layer that lets only so many lines through.
#[derive(Debug, Default)]
pub(super) struct Quota {
    counts: Mutex<Counts>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Counts {
    since: Option<Instant>,
    kinds: HashMap<u64, u32>,
    sources: HashMap<u64, u32>,
}

impl Counts {
    /// Counts a line; whether there is room for it.
    fn admit(&mut self, kind: u64, source: Option<u64>, now: Instant) -> bool {
        if self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= WINDOW)
        {
            self.since = Some(now);
            self.kinds.clear();
            self.sources.clear();
        }
        let counted = |source: &u64| self.sources.len() < SOURCES || self.sources.contains_key(source);
        if let Some(source) = source.filter(counted)
            && !turn(self.sources.entry(source).or_default(), OF_A_SOURCE)
        {
            return false;
        }
        turn(self.kinds.entry(kind).or_default(), OF_A_KIND)
    }
}

/// Takes one of `most` turns.
fn turn(taken: &mut u32, most: u32) -> bool {
    *taken = taken.saturating_add(1);
    *taken <= most
}

impl<S: Subscriber> Layer<S> for Quota {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let kind = self.hasher.hash_one(event.metadata().callsite());
        let mut whom = Whom {
            hasher: self.hasher.build_hasher(),
            found: false,
        };
        kind.hash(&mut whom.hasher);
        event.record(&mut whom);
        let source = whom.found.then(|| whom.hasher.finish());
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let room = counts.admit(kind, source, Instant::now());
        drop(counts);
        if !room {
            metrics::counter!("gleaner_log_lines_left_out_total").increment(1);
        }
        room
    }
}

/// Reads whom a line is about.
struct Whom<H> {
    hasher: H,
    found: bool,
}

impl<H: std::hash::Hasher> Visit for Whom<H> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if WHOM.contains(&field.name()) {
            format!("{value:?}").hash(&mut self.hasher);
            self.found = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Counts the lines that come through.
    struct Count(Arc<AtomicU32>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lines(log: impl FnOnce()) -> u32 {
        let count = Arc::new(AtomicU32::new(0));
        let subscriber = tracing_subscriber::registry()
            .with(Count(count.clone()))
            .with(Quota::default());
        tracing::subscriber::with_default(subscriber, log);
        count.load(Ordering::Relaxed)
    }

    #[test]
    fn one_source_fills_no_log_and_silences_no_other() {
        let say = |mac: u32| tracing::info!(mac = %mac, "offered");
        assert_eq!(lines(|| (0..10_000).for_each(|_| say(1))), OF_A_SOURCE);
        assert_eq!(
            lines(|| (0..1000).for_each(say)),
            1000,
            "a thousand machines, a line each"
        );
        assert_eq!(lines(|| (0..20_000).for_each(say)), OF_A_KIND, "made-up sources");
    }

    #[test]
    fn after_a_minute_there_is_room_again() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        let mut heard = |now| (0..100).filter(|_| counts.admit(1, Some(2), now)).count();
        assert_eq!(heard(now), 30);
        assert_eq!(heard(now + WINDOW), 30);
    }
}
