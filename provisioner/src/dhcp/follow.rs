// SPDX-License-Identifier: Apache-2.0
//! Begins to serve an interface when it comes, ends when it goes, and begins anew when it is another one or has another
//! address: sockets of an interface that was removed hear nothing for ever, and nothing tells them so.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::{info, warn};

use super::answer::{Around, Lines};
use super::commit::Committer;
use super::serve::{Shared, serve};
use super::{Clock, Listener, Settings, bound, networks};
use crate::network::{Addresses, Here, Link, Notice};

/// Before an interface is tried again that could not be served: another program has the port, mostly for long.
const PAUSE: Duration = Duration::from_secs(5);

/// What is served now.
struct Follower {
    settings: Settings,
    own: Addresses,
    clock: Clock,
    shared: Shared,
    /// By the name of the interface.
    running: BTreeMap<Arc<str>, Running>,
    /// Those that are there and cannot be served, and why.
    failed: BTreeMap<Arc<str>, String>,
    tasks: JoinSet<Result<()>>,
}

/// A segment that is served.
struct Running {
    link: Link,
    task: AbortHandle,
    /// Names of its networks: its own, and those behind its relays.
    networks: Vec<Arc<str>>,
}

/// Serves what is there for ever.
pub(super) async fn run(listener: Listener) -> Result<()> {
    let Listener {
        settings,
        segments,
        mut here,
        own,
        clock,
        log,
        files,
        sightings,
    } = listener;
    let mut follower = Follower {
        settings,
        own,
        clock,
        shared: Shared {
            committer: Committer::start(log, sightings.clone())?,
            files,
            sightings,
            lines: Arc::new(Lines::default()),
        },
        running: BTreeMap::new(),
        failed: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    for (link, bound) in segments {
        follower.start(link, bound);
    }
    loop {
        let now = here.borrow_and_update().clone();
        follower.keep_up(&now).await?;
        tokio::select! {
            () = changed(&mut here) => {}
            ended = ended(&mut follower.tasks) => follower.ended(ended)?,
            () = tokio::time::sleep(PAUSE), if !follower.failed.is_empty() => {}
        }
    }
}

/// Waits until something has changed; for ever where nobody follows the interfaces any more.
async fn changed(here: &mut watch::Receiver<Arc<Here>>) {
    if here.changed().await.is_err() {
        pending::<()>().await;
    }
}

/// Waits until a task ends; for ever where there is none.
async fn ended(tasks: &mut JoinSet<Result<()>>) -> Ended {
    match tasks.join_next_with_id().await {
        Some(ended) => ended,
        None => pending().await,
    }
}

/// How a task ended, and which.
type Ended = Result<(Id, Result<()>), JoinError>;

impl Follower {
    /// Serves what is there, and nothing else.
    async fn keep_up(&mut self, here: &Here) -> Result<()> {
        let gone = |running: &Running| !here.links.contains(&running.link);
        let names: Vec<_> = self.running.iter().filter(|(_, running)| gone(running)).collect();
        let names: Vec<Arc<str>> = names.into_iter().map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            self.stop(&name).await?;
        }
        self.failed.clear();
        for link in &here.links {
            if !self.running.contains_key(&link.interface.name) && self.settings.of(&link.interface).is_some() {
                self.begin(link);
            }
        }
        self.tell(here);
        Ok(())
    }

    /// Begins to serve an interface, or remembers why not.
    fn begin(&mut self, link: &Link) {
        let Some(dhcp) = self.settings.of(&link.interface) else {
            return;
        };
        let leases = self.shared.committer.leases();
        let now = self.clock.now();
        let segment = networks::segment(&self.settings, dhcp, &link.interface, &self.own, &leases, now);
        match bound::bind(&self.settings, segment) {
            Ok(bound) => self.start(link.clone(), bound),
            Err(error) => {
                warn!(
                    interface = &*link.interface.name,
                    error = format!("{error:#}"),
                    "cannot be served"
                );
                self.failed
                    .insert(Arc::clone(&link.interface.name), format!("{error:#}"));
            }
        }
    }

    fn start(&mut self, link: Link, bound: bound::Bound) {
        let name = Arc::clone(&link.interface.name);
        let networks = bound
            .segment
            .networks()
            .map(|network| Arc::clone(&network.interface.name))
            .collect();
        let task = self.tasks.spawn(serve(bound, self.clock, self.shared.clone()));
        self.running.insert(name, Running { link, task, networks });
    }

    /// Ends serving an interface, and waits until its sockets are closed: the next one binds the same ports.
    async fn stop(&mut self, name: &Arc<str>) -> Result<()> {
        let Some(running) = self.running.remove(name) else {
            return Ok(());
        };
        info!(
            interface = &**name,
            "not served any more: it is gone, or is another one now"
        );
        self.forget(&running);
        running.task.abort();
        while !running.task.is_finished() {
            let ended = ended(&mut self.tasks).await;
            self.ended(ended)?;
        }
        Ok(())
    }

    /// Takes what is told of a segment off the status page.
    fn forget(&self, running: &Running) {
        let around = self.around();
        for network in &running.networks {
            around.forget(network);
        }
    }

    /// A task has ended: where we did not end it, its interface is tried again.
    fn ended(&mut self, ended: Ended) -> Result<()> {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(error).context("a DHCP task crashed"),
        };
        let name = self.running.iter().find(|(_, running)| running.task.id() == id);
        if let Some(name) = name.map(|(name, _)| Arc::clone(name))
            && let Some(running) = self.running.remove(&name)
        {
            self.forget(&running);
            let why = outcome.map_or_else(|error| format!("{error:#}"), |()| "it ended by itself".into());
            warn!(interface = &*name, why, "serving DHCP has ended");
            self.failed.insert(name, why);
        }
        Ok(())
    }

    /// Says what is not served.
    fn tell(&self, here: &Here) {
        let around = self.around();
        for (name, why) in &self.failed {
            around.unserved(
                name,
                format!("{name} is not served: {why}; it is tried again every few seconds"),
            );
        }
        let served = |name: &&Arc<str>| self.settings.by_name(name).is_some();
        for name in here.absent.iter().filter(served) {
            let words = format!(
                "{name} is not served: it is gone, is down, or has no IPv4 address; it is served as soon as it has one"
            );
            if around.unserved(name, words.clone()) {
                let kind = "interface-gone";
                self.shared.sightings.notice(Notice { kind, detail: words });
            }
        }
    }

    fn around(&self) -> Around<'_> {
        Around {
            files: &*self.shared.files,
            sightings: &*self.shared.sightings,
            lines: &self.shared.lines,
        }
    }
}
