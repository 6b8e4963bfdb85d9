// SPDX-License-Identifier: Apache-2.0
//! A real mirror of Debian at the end of a cable: a laboratory has no way out, so what is asked of it there is passed on
//! from here, and a name server there says that it is the mirror.

use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use kickstart::words::Url;

use crate::lab::Wire;

/// Says where a whole mirror is, with all parts of Debian's installer.
const WHOLE: &str = "GLEANER_MIRROR";

/// A mirror.
pub struct Mirror {
    url: Url,
    whole: bool,
    asked_by: Arc<Mutex<Vec<IpAddr>>>,
    names: Option<Child>,
}

impl Mirror {
    /// The one that `GLEANER_MIRROR` names, else the one from which this machine's apt would fetch `package`.
    pub fn find(package: &str) -> Result<Self> {
        let named = std::env::var(WHOLE).ok();
        let whole = named.is_some();
        let url = named.map_or_else(|| of_apt(package), Ok)?;
        let url = Url::new(url).context("the mirror's URL")?;
        ensure!(
            url.scheme() == "http",
            "{url} has TLS; name one that has none in {WHOLE}"
        );
        Ok(Self {
            url,
            whole,
            asked_by: Arc::default(),
            names: None,
        })
    }

    /// Its folder, as a configuration names it.
    pub fn url(&self) -> &str {
        self.url.folder()
    }

    /// Whether an installation can be finished with it.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Everybody who asked it for anything, each once.
    pub fn asked_by(&self) -> Vec<IpAddr> {
        self.asked_by.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts it at the end of `wire`, with a name server beside it.
    pub fn plug_into(&mut self, wire: &Wire) -> Result<()> {
        let here: IpAddr = wire.address().parse().context("the cable's address")?;
        let at = SocketAddr::new(here, self.url.port());
        let listener = wire.run(|| TcpListener::bind(at).context("listening for who asks the mirror"))?;
        let there = (self.url.host().to_owned(), self.url.port());
        let asked_by = Arc::clone(&self.asked_by);
        std::thread::spawn(move || {
            for asks in listener.incoming().flatten() {
                note(&asked_by, &asks);
                // This thread is in the network of this machine, whatever the listener is in.
                if let Ok(mirror) = TcpStream::connect((there.0.as_str(), there.1)) {
                    pass(&asks, &mirror);
                    pass(&mirror, &asks);
                }
            }
        });
        let mut command = Command::new("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
        ]);
        command.args(["--bind-interfaces", "--log-facility=/dev/null"]);
        command.arg(format!("--listen-address={here}"));
        command.arg(format!("--local=/{}/", self.url.host()));
        command.arg(format!("--address=/{}/{here}", self.url.host()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let names = wire.space().spawn(&mut command);
        self.names = Some(names.context("starting dnsmasq (package dnsmasq-base)")?);
        Ok(())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if let Some(mut names) = self.names.take() {
            let _ = names.kill();
            let _ = names.wait();
        }
    }
}

/// `'http://HOST/debian/pool/main/d/…' …`: the folder before `pool`.
fn of_apt(package: &str) -> Result<String> {
    let output = Command::new("apt-get")
        .args(["--print-uris", "download", package])
        .output()
        .context("asking apt for its mirror")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let url = text
        .lines()
        .find_map(|line| line.strip_prefix('\'')?.split_once("/pool/"));
    url.map(|(folder, _)| folder.to_owned())
        .with_context(|| format!("apt knows no mirror with {package}: {text}"))
}

fn note(all: &Mutex<Vec<IpAddr>>, asks: &TcpStream) {
    let Ok(peer) = asks.peer_addr() else { return };
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if !all.contains(&peer.ip()) {
        all.push(peer.ip());
    }
}

/// Copies one direction on a thread of its own until it ends.
fn pass(from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
