// SPDX-License-Identifier: Apache-2.0
//! `provisioner packages serve`: nginx with the site's configuration, for as long as there is one, and what nginx does
//! not do by itself: it follows the interfaces, keeps nothing on a disk that is full, and its log stays small.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, geteuid};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::nginx::{self, Facts};
use super::{LITTLE, Places, is_there, weed};
use crate::config::Config;
use crate::network::interfaces;
use crate::privileges::{self, Privileges};
use crate::{dns, serve};

/// Who it runs as: somebody who may not read the server's state.
const USER: &str = "gleaner-packages";
/// Where programs of administrators lie, for a service that does not look there.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Debian's certificates of those who vouch for others.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Between two looks at disk, interfaces and log. A gigabit fills a tenth of [`LITTLE`] in it.
const PACE: Duration = Duration::from_millis(500);
/// Looks between two at the interfaces and at the log.
const SELDOM: u32 = 10;
/// Bytes of the log at most, and what is kept of it then.
const LOG: (u64, u64) = (8 << 20, 2 << 20);
/// Between two looks whether it has ended.
const END: Duration = Duration::from_millis(20);
/// How long requests under way may take when it is told to stop; systemd waits 90 seconds before it kills.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// Serves until it is told to stop, or until nginx ends.
pub fn run(config: &Config) -> Result<()> {
    serve::start_log(&config.log)?;
    if !super::is_wanted(config) {
        info!("nothing to cache: packages.cache is not true, or no profile has an installer");
        // To systemd an end before this would be a failure.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        return Ok(());
    }
    serve::many_files();
    // The server reads the log, and may not read what is kept.
    umask(Mode::from_bits_truncate(0o022));
    let places = Places::of(&config.packages.folder);
    for folder in [&config.packages.folder, &places.files(), &places.run()] {
        fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    if let Privileges::RootWithoutUser(user) =
        privileges::give_up(USER, &[&config.packages.folder], &[]).context("giving up privileges")?
    {
        warn!("there is no user {user}: the cache goes on as root without capabilities; make it with systemd-sysusers");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .context("starting the runtime")?
        .block_on(supervise(config, &places))
}

/// What this machine's own facts are.
pub fn facts(config: &Config) -> Result<Facts> {
    let served = interfaces(&config.interfaces, &config.mentioned())?;
    let networks = served.iter().map(|interface| (interface.address, interface.prefix));
    let behind_relays = config.subnets.iter().map(|subnet| (subnet.network, subnet.prefix));
    let named = config.dns.as_ref().map_or_else(Vec::new, |dns| dns.forward.clone());
    Ok(Facts {
        root: geteuid().is_root(),
        networks: networks.chain(behind_relays).collect(),
        resolvers: if named.is_empty() {
            dns::of_this_machine()
        } else {
            named
        },
        authorities: Some(PathBuf::from(AUTHORITIES)).filter(|file| file.exists()),
    })
}

async fn supervise(config: &Config, places: &Places) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut written = nginx::render(config, &facts(config)?)?;
    let file = places.run().join("nginx.conf");
    write(&file, &written)?;
    // Before the first request: nothing is kept on a disk that is full.
    note_room(places);
    if !weed::was_stopped_well(&places.stopped()) {
        let files = places.files();
        // Beside it: on a large slow disk it takes minutes.
        tokio::task::spawn_blocking(move || weed::weed(&files));
    }
    let mut nginx = Nginx::start(places, &file)?;
    let mut pace = tokio::time::interval(PACE);
    let mut looks = 0_u32;
    let mut ready = false;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = terminate.recv() => return stop(nginx, places).await,
            _ = interrupt.recv() => return stop(nginx, places).await,
        }
        if let Some(status) = nginx.ended()? {
            bail!("nginx has ended ({status}); what it said is above");
        }
        note_room(places);
        if !ready && is_there(config.ports.packages).await {
            ready = true;
            let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("serving packages")]);
            info!(port = config.ports.packages, "serving packages");
        }
        looks = looks.wrapping_add(1);
        if !looks.is_multiple_of(SELDOM) {
            continue;
        }
        shorten(&places.wanted(), LOG);
        // An interface that is gone for a moment is no reason to serve nobody.
        let Ok(now) = facts(config).and_then(|facts| nginx::render(config, &facts)) else {
            continue;
        };
        if now != written {
            info!("the interfaces or name servers have changed");
            write(&file, &now)?;
            written = now;
            nginx.tell(Signal::SIGHUP);
        }
    }
}

/// In one step: nginx never reads half a file.
fn write(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, file))
        .with_context(|| format!("writing {}", file.display()))
}

/// nginx; it does not outlive this.
struct Nginx(Child);

impl Nginx {
    fn start(places: &Places, file: &Path) -> Result<Self> {
        let path = std::env::var("PATH").map_or_else(|_| PATH.to_owned(), |path| format!("{path}:{PATH}"));
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(places.run())
            .arg("-e")
            .arg("stderr")
            .arg("-c")
            .arg(file);
        match command.env("PATH", path).stdin(Stdio::null()).spawn() {
            Ok(child) => Ok(Self(child)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("nginx is not installed, and it is the package cache: apt install nginx-light")
            }
            Err(error) => Err(error).context("starting nginx"),
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().context("looking at nginx")
    }

    fn tell(&self, what: Signal) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), what);
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its own children end when it is asked to end, and are left alone when it is killed.
        if matches!(self.0.try_wait(), Ok(None)) {
            self.tell(Signal::SIGTERM);
            let _ = self.0.wait();
        }
    }
}

/// Lets requests under way end, for a while.
async fn stop(mut nginx: Nginx, places: &Places) -> Result<()> {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    nginx.tell(Signal::SIGQUIT);
    let end = async {
        while nginx.ended()?.is_none() {
            tokio::time::sleep(END).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(UNDER_WAY, end).await.unwrap_or(Ok(()))?;
    // Whoever is still there ends now, and writes nothing more.
    drop(nginx);
    weed::stopped_well(&places.stopped(), &places.files());
    Ok(())
}

/// Says to nginx whether there is room: it serves on where there is none, and keeps nothing.
fn note_room(places: &Places) {
    let flag = places.full();
    let was = flag.exists();
    let Some((free, _)) = crate::doctor::look::room(&places.files()) else {
        return;
    };
    // Twice as much as at which it stops: not on and off with every package.
    let full = free < if was { 2 * LITTLE } else { LITTLE };
    let done = match (was, full) {
        // A name takes no room where a file with contents would.
        (false, true) => File::create(&flag).map(drop),
        (true, false) => fs::remove_file(&flag),
        _ => return,
    };
    match done {
        Ok(()) if full => warn!(free, "the disk is full: packages are passed on and not kept"),
        Ok(()) => info!(free, "there is room again"),
        Err(error) => warn!(%error, "noting that the disk is full"),
    }
}

/// Keeps the end of a log that somebody else appends to, when it has grown too long.
fn shorten(log: &Path, (most, kept): (u64, u64)) {
    let cut = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(log)?;
        let length = file.metadata()?.len();
        if length <= most {
            return Ok(());
        }
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(length - kept))?;
        file.read_to_end(&mut end)?;
        // A line that is written in between is lost; it is wanted again, or it is not missed.
        file.set_len(0)?;
        let mut again = OpenOptions::new().append(true).open(log)?;
        again.write_all(&end)
    };
    match cut() {
        Err(error) if error.kind() != ErrorKind::NotFound => warn!(%error, "shortening {}", log.display()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn of_a_log_that_grew_too_long_the_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("wanted.log");
        shorten(&log, (10, 4));
        fs::write(&log, "0123456789").unwrap();
        shorten(&log, (10, 4));
        assert_eq!(fs::read_to_string(&log).unwrap(), "0123456789");
        fs::write(&log, "0123456789a").unwrap();
        shorten(&log, (10, 4));
        assert_eq!(fs::read_to_string(&log).unwrap(), "789a");
    }
}
