// SPDX-License-Identifier: Apache-2.0
//! The time for nodes: from the time server of this machine where there is one, and that is looked after; else from
//! here, by SNTP.
//!
//! Nodes need to agree with the controller, whether it is right to the second or not; a clock that is certainly wrong
//! is not given to anybody.

mod other;
mod packet;
mod rates;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tracing::debug;

use self::other::Other;
use self::packet::{Standing, answer};
use self::rates::Rates;
use crate::network::datagram::{self, Received};
use crate::network::{Here, Sightings};
use crate::serve::holder;

/// Between two looks at a clock, ours or another program's.
const PACE: Duration = Duration::from_mins(1);

/// What the site wants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Port of the server, 123.
    pub port: u16,
    /// The interfaces at whose addresses nodes ask.
    pub here: watch::Receiver<Arc<Here>>,
    /// Since 1970: the clock cannot be earlier, because this program was made then.
    pub earliest: Duration,
}

/// Whoever serves time on this machine.
pub enum Clock {
    /// We do.
    Ours(Listener),
    /// Another program has the port.
    Others(Other),
}

/// The bound socket, before anything is answered.
pub struct Listener {
    socket: std::net::UdpSocket,
    settings: Settings,
    sightings: Arc<dyn Sightings>,
}

/// Binds the port, or finds out who has it.
pub fn bind(settings: Settings, sightings: Arc<dyn Sightings>) -> Result<Clock> {
    let port = settings.port;
    match datagram::bind(port) {
        Ok(socket) => Ok(Clock::Ours(Listener {
            socket,
            settings,
            sightings,
        })),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(Clock::Others(Other {
            program: holder("udp", port).unwrap_or_else(|| "another program".into()),
            here: settings.here,
            port,
            sightings,
        })),
        Err(error) => Err(error).with_context(|| format!("binding UDP port {port} for NTP")),
    }
}

impl Clock {
    /// Serves time, or looks after who does, for ever; dropping the future stops it.
    pub async fn run(self) -> Result<()> {
        match self {
            Self::Ours(listener) => listener.run().await,
            Self::Others(other) => other.look_after().await,
        }
    }
}

impl Listener {
    async fn run(self) -> Result<()> {
        let socket = UdpSocket::from_std(self.socket).context("handing the NTP socket to the runtime")?;
        let port = socket.local_addr()?.port();
        let mut rates = Rates::default();
        let mut buffer = [0; 128];
        let mut pace = tokio::time::interval(PACE);
        loop {
            tokio::select! {
                _ = pace.tick() => {
                    let (detail, ok) = tell(port, unix() >= self.settings.earliest);
                    self.sightings.service("ntp", detail, ok);
                    continue;
                }
                ready = socket.readable() => ready.context("waiting for NTP packets")?,
            }
            // Nothing to read, or the ICMP error of an earlier answer.
            let Ok(received) = socket.try_io(Interest::READABLE, || datagram::receive(&socket, &mut buffer)) else {
                continue;
            };
            let arrived = unix();
            let Received { length, peer, local } = received;
            let standing = match rates.admit(*peer.ip(), Instant::now()) {
                rates::Turn::Heard if arrived < self.settings.earliest => Standing::Unset,
                rates::Turn::Heard => Standing::Fit,
                rates::Turn::Warned => Standing::TooOften,
                rates::Turn::Ignored => continue,
            };
            let Some(answer) = answer(&buffer[..length], standing, arrived, unix) else {
                metrics::counter!("gleaner_ntp_unusable_total").increment(1);
                continue;
            };
            metrics::counter!("gleaner_ntp_answers_total").increment(1);
            if let Err(error) = datagram::send(&socket, &answer, local, peer) {
                debug!(%peer, %error, "could not send");
            }
        }
    }
}

fn tell(port: u16, fit: bool) -> (String, bool) {
    let why = "this machine's clock is earlier than this program, so nodes do not get the time from it; set it: \
               timedatectl set-ntp true, or date -s";
    if fit {
        (format!("port {port}"), true)
    } else {
        (why.into(), false)
    }
}

/// This machine's clock, since 1970.
fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
