// SPDX-License-Identifier: Apache-2.0
//! The hub of news: what [`App::announce`] says goes to whoever watches, a few times a second.
//!
//! What is sent are not changes but the newest picture of what changed: losing an update loses nothing, and a
//! watcher that is too slow is told to look at everything again instead of being buffered for. While nobody
//! watches, nothing is read and nothing is rendered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use provisioner_api::{NodeSummary, StatusReport};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Change};

/// Changes within this time travel together: four pictures a second look live, and a thousand nodes that
/// report progress at once cost four renderings, not a thousand.
pub const PACE: Duration = Duration::from_millis(250);
/// Updates that a watcher may be behind (four seconds) before it is told to look at everything again.
const BEHIND: usize = 16;
/// Streams of operators at once. A lab has a handful; each holds a connection and some 20 KB.
const OPERATOR_STREAMS: usize = 64;
/// Streams of the page at once: anybody may have one, so they are counted apart from those of operators.
const PAGE_STREAMS: usize = 256;
/// Streams of the page that go to one address, so that no single machine takes the page from all others.
const PAGE_STREAMS_PER_ADDRESS: usize = 16;

/// A picture of what changed.
#[derive(Debug)]
pub struct Update {
    /// Rises with every change that the server announces; [`Hub::version`] after this update.
    pub version: u64,
    /// Nodes that changed or are new, as they are now.
    pub nodes: Vec<Changed>,
    /// Ids of nodes that are no longer there.
    pub gone: Vec<String>,
    /// The server as it is now, for everybody.
    pub status: StatusReport,
    /// When the picture was taken, Unix milliseconds.
    pub taken: i64,
    /// The same as text for the page, made once for all watchers, by the first that needs it.
    pub page: OnceLock<Arc<str>>,
}

/// A node that changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// As it is now, for operators.
    pub node: NodeSummary,
    /// The same for everybody.
    pub public: NodeSummary,
    /// Its state and liveness when watchers last heard of it; `None` if they did not since somebody watches.
    pub was: Option<(String, String)>,
}

/// Collects what changed and tells those who watch.
#[derive(Debug)]
pub struct Hub {
    version: AtomicU64,
    updates: broadcast::Sender<Arc<Update>>,
    open: Arc<Mutex<Open>>,
    pace: Duration,
}

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Watcher {
    /// An operator's program.
    Operator,
    /// Somebody with the page open, at this address where it is not this machine's own.
    Page(Option<IpAddr>),
}

/// The streams that are open, by who has them.
type Open = HashMap<Watcher, usize>;

/// One watcher's ear, and its place among all.
#[derive(Debug)]
pub struct Watch {
    updates: broadcast::Receiver<Arc<Update>>,
    _place: Place,
}

/// The right to one stream; given back when dropped.
#[derive(Debug)]
struct Place {
    open: Arc<Mutex<Open>>,
    watcher: Watcher,
}

impl Place {
    fn take(open: &Arc<Mutex<Open>>, watcher: Watcher) -> Option<Self> {
        let mut counts = open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_operator = watcher == Watcher::Operator;
        let own = counts.get(&watcher).copied().unwrap_or(0);
        let of_this_kind = count(&counts, is_operator);
        let (all, each) = match watcher {
            Watcher::Operator => (OPERATOR_STREAMS, OPERATOR_STREAMS),
            Watcher::Page(None) => (PAGE_STREAMS, PAGE_STREAMS),
            Watcher::Page(Some(_)) => (PAGE_STREAMS, PAGE_STREAMS_PER_ADDRESS),
        };
        if of_this_kind >= all || own >= each {
            return None;
        }
        counts.insert(watcher, own + 1);
        Some(Self {
            open: Arc::clone(open),
            watcher,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.watcher) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.watcher);
            }
        }
    }
}

/// Streams of operators, or of the page.
fn count(open: &Open, of_operators: bool) -> usize {
    let of_kind = |watcher: &Watcher| (*watcher == Watcher::Operator) == of_operators;
    open.iter()
        .filter(|(watcher, _)| of_kind(watcher))
        .map(|(_, count)| count)
        .sum()
}

/// What a watcher hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// This changed.
    Update(Arc<Update>),
    /// Something was missed: look at everything again.
    Missed,
    /// The server stops.
    Closed,
}

impl Hub {
    /// A hub that nobody watches, with at least `pace` between two updates. `start` makes versions of an earlier life
    /// of the server different from those of this one: the time will do.
    pub fn new(start: i64, pace: Duration) -> Self {
        Self {
            // Thousandfold: faster than one change a microsecond no server announces them.
            version: AtomicU64::new(start.unsigned_abs().saturating_mul(1000)),
            updates: broadcast::channel(BEHIND).0,
            open: Arc::default(),
            pace,
        }
    }

    /// Changes with every change; equal versions mean that nothing was missed.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Begins to watch, unless too many of these watchers do already.
    pub fn watch(&self, watcher: Watcher) -> Option<Watch> {
        let place = Place::take(&self.open, watcher)?;
        self.tell_count();
        Some(Watch {
            updates: self.updates.subscribe(),
            _place: place,
        })
    }

    /// Tells watchers what changed, until `stop`. `now` reads the clock, Unix milliseconds.
    pub async fn run(&self, app: Arc<App>, now: fn() -> i64, stop: CancellationToken) {
        let mut news = app.subscribe();
        let mut changed = Collected::default();
        let mut told = Told::new();
        let mut due: Option<Instant> = None;
        loop {
            let pause = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                heard = news.recv() => {
                    match heard {
                        Ok(change) => changed.note(change),
                        Err(broadcast::error::RecvError::Lagged(_)) => changed.everything = true,
                        Err(broadcast::error::RecvError::Closed) => return,
                    }
                    self.version.fetch_add(1, Ordering::AcqRel);
                    due = due.or_else(|| Some(Instant::now() + self.pace));
                }
                () = pause => {
                    due = None;
                    let changed = std::mem::take(&mut changed);
                    if self.updates.receiver_count() > 0 {
                        told = self.tell(&app, changed, told, now).await;
                    } else {
                        told.clear();
                    }
                }
                () = stop.cancelled() => return,
            }
            self.tell_count();
        }
    }

    fn tell_count(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all = count(&open, true) + count(&open, false);
        // There are few, so the number is exact.
        metrics::gauge!("gleaner_live_streams").set(u32::try_from(all).map_or(0.0, f64::from));
    }

    async fn tell(&self, app: &Arc<App>, changed: Collected, mut told: Told, now: fn() -> i64) -> Told {
        let version = self.version();
        let app = app.clone();
        let read = tokio::task::spawn_blocking(move || {
            let update = changed.picture(&app, version, &mut told, now());
            (update, told)
        });
        match read.await {
            Ok((update, told)) => {
                // No receiver is no error: the last one left in between.
                let _ = self.updates.send(Arc::new(update));
                told
            }
            Err(error) => {
                tracing::warn!(%error, "reading what changed");
                Told::new()
            }
        }
    }
}

/// State and liveness of nodes, by id, as watchers heard of them last.
type Told = HashMap<String, (String, String)>;

/// What changed since the last update.
#[derive(Debug, Default)]
struct Collected {
    nodes: BTreeSet<String>,
    everything: bool,
}

impl Collected {
    fn note(&mut self, change: Change) {
        match change {
            Change::Node(id) => {
                self.nodes.insert(id);
            }
            // Both show in the status report, which goes along with every update.
            Change::Images | Change::Services => {}
        }
    }

    fn picture(self, app: &App, version: u64, told: &mut Told, taken: i64) -> Update {
        // From a handful on, one pass over the list is cheaper than a look-up each.
        const HANDFUL: usize = 32;
        let nodes: Vec<NodeSummary> = if self.everything {
            app.nodes(taken)
        } else if self.nodes.len() > HANDFUL {
            app.nodes(taken)
                .into_iter()
                .filter(|node| self.nodes.contains(&node.id))
                .collect()
        } else {
            self.nodes.iter().filter_map(|id| app.summary(id, taken).ok()).collect()
        };
        let there: HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        let gone: Vec<String> = self
            .nodes
            .iter()
            .filter(|id| !there.contains(id.as_str()))
            .cloned()
            .collect();
        for id in &gone {
            told.remove(id);
        }
        let mut changed = |node: NodeSummary| {
            let was = told.insert(node.id.clone(), (node.state.clone(), node.liveness.clone()));
            let public = app.public_summary(&node);
            Changed { node, public, was }
        };
        let nodes = nodes.into_iter().map(&mut changed).collect();
        Update {
            version,
            gone,
            status: app.public_status(taken),
            taken,
            page: OnceLock::new(),
            nodes,
        }
    }
}

impl Watch {
    /// Waits for news.
    pub async fn next(&mut self) -> Heard {
        match self.updates.recv().await {
            Ok(update) => Heard::Update(update),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                metrics::counter!("gleaner_live_resyncs_total").increment(1);
                // Everything is looked at again, so what is still queued is old.
                self.updates = self.updates.resubscribe();
                Heard::Missed
            }
            Err(broadcast::error::RecvError::Closed) => Heard::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use tempfile::TempDir;

    use super::*;
    use crate::config::Config;
    use crate::images::ImageStore;
    use crate::media::Media;
    use crate::registry::Registry;
    use crate::templates::SiteTemplates;
    use crate::tls::ServerKey;

    const HANG: Duration = Duration::from_secs(20);

    /// A hub that runs on an app without nodes: whatever changes is gone.
    fn start() -> (Arc<Hub>, Arc<App>, TempDir) {
        let folder = TempDir::new().unwrap();
        let app = App::new(
            Config::parse("", folder.path()).unwrap(),
            Registry::open(folder.path()).unwrap(),
            ImageStore::open(folder.path(), folder.path()).unwrap(),
            Media::open(folder.path()).unwrap(),
            SiteTemplates::open(&folder.path().join("templates"), folder.path(), |_| Ok(())).unwrap(),
            ServerKey::open_or_make(folder.path()).unwrap(),
            0,
        );
        let hub = Arc::new(Hub::new(7, Duration::from_millis(1)));
        let running = hub.clone();
        let served = app.clone();
        tokio::spawn(async move { running.run(served, || 0, CancellationToken::new()).await });
        (hub, app, folder)
    }

    /// The hub hears of changes from its first poll on.
    async fn listening(app: &App, hub: &Hub) {
        let before = hub.version();
        tokio::time::timeout(HANG, async {
            while hub.version() == before {
                app.announce(Change::Services);
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_watcher_that_falls_behind_is_told_to_look_at_everything_again() {
        let (hub, app, _folder) = start();
        listening(&app, &hub).await;
        let mut slow = hub.watch(Watcher::Operator).unwrap();
        let mut quick = hub.watch(Watcher::Operator).unwrap();
        for number in 0..3 * BEHIND {
            app.announce(Change::Node(format!("node-{number}")));
            let heard = tokio::time::timeout(HANG, quick.next()).await.unwrap();
            assert!(matches!(heard, Heard::Update(_)), "{heard:?}");
        }
        assert!(matches!(slow.next().await, Heard::Missed));
        app.announce(Change::Node("the-last".into()));
        loop {
            match tokio::time::timeout(HANG, slow.next()).await.unwrap() {
                Heard::Update(update) if update.gone.contains(&"the-last".to_owned()) => break,
                Heard::Update(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_page_takes_no_places_from_operators_and_nobody_takes_the_page_from_all() {
        let hub = Hub::new(0, PACE);
        let address = |last: u8| Watcher::Page(Some([192, 0, 2, last].into()));
        let greedy: Vec<_> = (0..1000).filter_map(|_| hub.watch(address(9))).collect();
        assert_eq!(greedy.len(), PAGE_STREAMS_PER_ADDRESS);
        let others: Vec<_> = (0..1000)
            .filter_map(|n| hub.watch(address(u8::try_from(n % 200).unwrap())))
            .collect();
        assert_eq!(greedy.len() + others.len(), PAGE_STREAMS);
        let operators: Vec<_> = (0..1000).filter_map(|_| hub.watch(Watcher::Operator)).collect();
        assert_eq!(operators.len(), OPERATOR_STREAMS);
        drop((greedy, others, operators));
        assert!(hub.open.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_burst_of_changes_is_one_update() {
        let (hub, app, _folder) = start();
        listening(&app, &hub).await;
        let mut watch = hub.watch(Watcher::Operator).unwrap();
        for number in 0..1000 {
            app.announce(Change::Node(format!("node-{}", number % 10)));
        }
        let mut heard = 0;
        let mut gone = BTreeSet::new();
        while gone.len() < 10 {
            let Heard::Update(update) = tokio::time::timeout(HANG, watch.next()).await.unwrap() else {
                panic!()
            };
            gone.extend(update.gone.iter().cloned());
            heard += 1;
        }
        assert!(heard <= 5, "{heard} updates");
    }

    #[tokio::test]
    async fn a_version_says_whether_anything_was_missed_even_while_nobody_watched() {
        let (hub, app, _folder) = start();
        listening(&app, &hub).await;
        let before = hub.version();
        app.announce(Change::Node("node-1".into()));
        tokio::time::timeout(HANG, async {
            while hub.version() == before {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_ne!(
            Hub::new(8, PACE).version(),
            Hub::new(7, PACE).version(),
            "another life of the server"
        );
    }
}
