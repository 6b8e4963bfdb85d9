// SPDX-License-Identifier: Apache-2.0
//! The package cache: what may be fetched through it, what was wanted and not to be had, and whether installers are
//! sent to it.
//!
//! It is a program of its own (nginx, started by `provisioner packages serve`) under a user of its own. The server looks
//! at it from outside: whether it answers, and what it wrote down. An installer is sent to it only while it answers, so
//! a cache that is not there costs time, not installations.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use kickstart::words::Url;
use provisioner_api::{MissingPackage, PackageSource, PackagesReport, ServiceStatus};
use tokio::net::TcpStream;

use crate::app::App;
use crate::config::{Cache, Config, size_in_words};
use crate::doctor::installers::CacheDown;
use crate::doctor::look;

pub mod nginx;
pub mod serve;
pub mod sources;
pub mod wanted;
mod weed;

use sources::Source;
use wanted::{Missing, Reason};

/// Its name in the status report.
pub(crate) const SERVICE: &str = "packages";
/// Between two looks: an installer that starts in between fetches by itself, or finds nobody and tries again.
const PACE: Duration = Duration::from_secs(5);
/// How long it may take to answer on this machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes free below which nothing more is kept: what is under way must not end in the middle. It is a minute of a
/// gigabit, and the state of the server may be on the same disk.
pub const LITTLE: u64 = 500_000_000;
/// Milliseconds for which a source that could not be reached is a trouble of today.
const LATELY: i64 = 10 * 60_000;

/// What is known of the cache.
#[derive(Debug, Default)]
pub struct Packages {
    /// Whether it answered at the last look; `None` before the first.
    answers: Mutex<Option<bool>>,
}

/// Where the cache's files are below its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    folder: PathBuf,
}

impl Places {
    /// Below this folder.
    pub fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// What is kept.
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// What was wanted and not to be had, a line each time.
    pub fn wanted(&self) -> PathBuf {
        self.folder.join("wanted.log")
    }

    /// Is there while there is no room: nothing more is kept then.
    pub fn full(&self) -> PathBuf {
        self.folder.join("full")
    }

    /// Is there when the cache was stopped in order.
    fn stopped(&self) -> PathBuf {
        self.folder.join("stopped")
    }

    /// What is there only while it runs.
    pub fn run(&self) -> PathBuf {
        self.folder.join("run")
    }
}

impl App {
    /// Through what installers fetch packages that see this server at `server`: the site's other cache, or ours while it
    /// answers. With `offline` ours in any case: there is no other way.
    pub fn package_proxy(&self, server: IpAddr) -> Option<Url> {
        let ours = || {
            let at = SocketAddr::new(server, self.config.ports.packages);
            Url::new(format!("http://{at}")).ok()
        };
        match &self.config.packages.cache {
            Cache::Nowhere => None,
            Cache::There(url) => Some(url.clone()),
            Cache::Here if sources::of(&self.config).is_empty() => None,
            Cache::Here => (self.config.packages.offline || self.packages.answers() == Some(true))
                .then(ours)
                .flatten(),
        }
    }

    /// The cache that should answer here and does not.
    pub(crate) fn package_cache_down(&self) -> Option<CacheDown> {
        let config = &self.config;
        (is_wanted(config) && self.packages.answers() == Some(false)).then_some(CacheDown {
            port: config.ports.packages,
            offline: config.packages.offline,
        })
    }

    /// How the cache is, in full. Reads what it wrote down.
    pub fn packages_report(&self, now: i64) -> PackagesReport {
        let config = &self.config.packages;
        let places = Places::of(&config.folder);
        let sources = sources::of(&self.config);
        let missing = wanted::read(&places.wanted(), now);
        let status = self.packages_status(&sources, &missing, now);
        PackagesReport {
            detail: status.detail,
            ok: status.ok,
            proxy: self
                .package_proxy(Ipv4Addr::UNSPECIFIED.into())
                .map(|url| url.as_str().to_owned()),
            offline: config.offline,
            size: config.size,
            free: look::room(&config.folder).map(|(free, _)| free),
            missing: missing.iter().map(|missing| told(missing, &sources)).collect(),
            sources: sources.into_iter().map(listed).collect(),
        }
    }

    fn packages_status(&self, sources: &[Source], missing: &[Missing], now: i64) -> ServiceStatus {
        let config = &self.config;
        let say = |ok: bool, detail: String| ServiceStatus {
            name: SERVICE.into(),
            detail,
            ok,
        };
        match &config.packages.cache {
            Cache::Nowhere => return say(true, "no cache: every installer fetches packages by itself".into()),
            Cache::There(url) => return say(true, format!("installers fetch packages through {url}")),
            Cache::Here if sources.is_empty() => {
                return say(true, "no profile has an installer, so there is nothing to cache".into());
            }
            Cache::Here => {}
        }
        let offline = config.packages.offline;
        if self.packages.answers() == Some(false) {
            let consequence = if offline {
                "nothing can be installed"
            } else {
                "every installer fetches packages by itself"
            };
            return say(
                false,
                format!(
                    "nobody answers on port {}, so {consequence}; start it: systemctl start gleaner-packages (it needs \
                     nginx: apt install nginx-light)",
                    config.ports.packages
                ),
            );
        }
        if Places::of(&config.packages.folder).full().exists() {
            return say(
                false,
                format!(
                    "the disk of {} is full, so nothing more is kept; make room there, or set packages.size lower",
                    config.packages.folder.display()
                ),
            );
        }
        let why = if offline { Reason::NotKept } else { Reason::Unreachable };
        let lately = |missing: &&Missing| missing.reason == why && now - missing.last < LATELY;
        if let Some(missing) = missing.iter().find(lately) {
            let (says, action) = if offline {
                (
                    "is not in the cache",
                    "let it in once: packages.offline = false and one installation; all that is missing: provisioner \
                     packages missing",
                )
            } else {
                (
                    "could not be fetched",
                    "see whether this machine reaches it; all that is missing: provisioner packages missing",
                )
            };
            return say(false, format!("{} {says}; {action}", missing.url()));
        }
        let mode = if offline { "offline, " } else { "" };
        say(
            true,
            format!(
                "{mode}port {}, up to {}",
                config.ports.packages,
                size_in_words(config.packages.size)
            ),
        )
    }
}

impl Packages {
    fn answers(&self) -> Option<bool> {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the cache for ever, for the status report and for [`App::package_proxy`].
pub async fn watch(app: Arc<App>) -> Result<()> {
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        let sources = sources::of(&app.config);
        let ours = app.config.packages.cache == Cache::Here && !sources.is_empty();
        if ours {
            let answers = is_there(app.config.ports.packages).await;
            *app.packages.answers.lock().unwrap_or_else(PoisonError::into_inner) = Some(answers);
        }
        let looking = Arc::clone(&app);
        tokio::task::spawn_blocking(move || {
            let now = crate::serve::now();
            let missing = wanted::read(&Places::of(&looking.config.packages.folder).wanted(), now);
            looking.report(looking.packages_status(&sources, &missing, now));
        })
        .await?;
    }
}

async fn is_there(port: u16) -> bool {
    let connect = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    matches!(tokio::time::timeout(PATIENCE, connect).await, Ok(Ok(_)))
}

/// Whether there is anything for a cache of this configuration to do.
pub fn is_wanted(config: &Config) -> bool {
    config.packages.cache == Cache::Here && !sources::of(config).is_empty()
}

fn told(missing: &Missing, sources: &[Source]) -> MissingPackage {
    let profiles = sources
        .iter()
        .filter(|source| source.holds(missing))
        .flat_map(|source| &source.profiles);
    MissingPackage {
        url: missing.url(),
        profiles: profiles.cloned().collect(),
        why: match missing.reason {
            Reason::Absent => "the source does not have it",
            Reason::NotKept => "not in the cache, and packages.offline kept it from asking",
            Reason::Unreachable => "the source did not answer",
        }
        .into(),
        times: missing.times,
        asked_by: missing.asked_by.clone(),
        last: missing.last,
    }
}

fn listed(source: Source) -> PackageSource {
    PackageSource {
        url: source.url.as_str().to_owned(),
        profiles: source.profiles,
    }
}
