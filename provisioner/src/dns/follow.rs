// SPDX-License-Identifier: Apache-2.0
//! Answers names at the addresses that this machine has, as they come and go.

use std::future::pending;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Bound, Desk, Sockets, Taken, packets, tcp};
use crate::network::{Addresses, Here, Interface, Notice, Sightings};

/// Before an address is tried again at which another program answers.
const PAUSE: Duration = Duration::from_secs(30);
/// Where another program has the port.
const WHAT_TO_DO: &str = "stop that program there, or set serve = false in [dns]";

/// What is answered now.
pub(super) struct Follower {
    pub(super) domain: String,
    pub(super) port: u16,
    /// Whether names are answered on the interface of this name.
    pub(super) serves: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Our addresses at which names are answered.
    pub(super) answered: Addresses,
    pub(super) desk: Arc<Desk>,
    pub(super) sightings: Arc<dyn Sightings>,
    pub(super) limits: Arc<tcp::Doors>,
    pub(super) running: Vec<Running>,
    pub(super) taken: Vec<Taken>,
}

/// An interface whose questions are answered, and the tasks that do so.
pub(super) struct Running {
    interface: Interface,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Follower {
    /// Answers for ever.
    pub(super) async fn run(mut self, sockets: Sockets, mut here: watch::Receiver<Arc<Here>>) -> Result<()> {
        self.take(sockets)?;
        self.tell();
        loop {
            tokio::select! {
                changed = here.changed() => if changed.is_err() { pending::<()>().await },
                () = tokio::time::sleep(PAUSE), if !self.taken.is_empty() => {}
            }
            let now = here.borrow_and_update().clone();
            self.keep_up(&now)?;
        }
    }

    /// Answers where we are now, and nowhere else.
    fn keep_up(&mut self, here: &Here) -> Result<()> {
        let wanted: Vec<&Interface> = here
            .interfaces()
            .filter(|interface| (self.serves)(&interface.name))
            .collect();
        // A socket stays good as long as its address does: a bridge changes its hardware address with each port.
        let is_same = |one: &Interface, other: &Interface| {
            (&one.name, one.address, one.prefix) == (&other.name, other.address, other.prefix)
        };
        self.running
            .retain(|running| wanted.iter().any(|interface| is_same(interface, &running.interface)));
        let mut sockets = Sockets::default();
        for interface in wanted {
            if self
                .running
                .iter()
                .any(|running| is_same(&running.interface, interface))
            {
                continue;
            }
            if let Err(error) = sockets.open(interface, self.port) {
                let at = SocketAddrV4::new(interface.address, self.port);
                let by = Some(error.to_string());
                sockets.taken.push(Taken { at, by });
            }
        }
        // Which program it is can be seen while the server starts; later it may not look.
        for taken in &mut sockets.taken {
            let before = self.taken.iter().find(|before| before.at == taken.at);
            taken.by = taken.by.take().or_else(|| before?.by.clone());
        }
        let news = !sockets.bound.is_empty() || sockets.taken != self.taken;
        let before = self.answered.all();
        self.take(sockets)?;
        if news || before != self.answered.all() {
            self.tell();
        }
        Ok(())
    }

    /// Begins to answer at these sockets too.
    fn take(&mut self, sockets: Sockets) -> Result<()> {
        for bound in sockets.bound {
            let running = self.start(bound)?;
            self.running.push(running);
        }
        self.taken = sockets.taken;
        let interfaces: Vec<Interface> = self.running.iter().map(|running| running.interface.clone()).collect();
        self.answered
            .set(interfaces.iter().map(|interface| interface.address).collect());
        self.desk.answerer.is_on(interfaces);
        Ok(())
    }

    fn start(&self, Bound { interface, udp, tcp }: Bound) -> Result<Running> {
        let server = interface.address;
        let handing = "handing a DNS socket to the runtime";
        let udp = UdpSocket::from_std(udp).context(handing)?;
        let tcp = TcpListener::from_std(tcp).context(handing)?;
        let (desk, limits) = (Arc::clone(&self.desk), Arc::clone(&self.limits));
        Ok(Running {
            interface,
            _tasks: [
                AbortOnDropHandle::new(tokio::spawn(packets(udp, server, Arc::clone(&desk)))),
                AbortOnDropHandle::new(tokio::spawn(tcp::connections(tcp, server, desk, limits))),
            ],
        })
    }

    /// Says where names are answered and where not.
    fn tell(&self) {
        let domain = &self.domain;
        for taken in &self.taken {
            let (at, by) = (taken.at, taken.by());
            self.sightings.notice(Notice {
                kind: "dns-port-taken",
                detail: format!("{at} is taken by {by}, so names of {domain} are not answered there; {WHAT_TO_DO}"),
            });
        }
        let addresses: Vec<String> = self.answered.all().iter().map(ToString::to_string).collect();
        let taken: Vec<String> = self
            .taken
            .iter()
            .map(|taken| format!("{} by {}", taken.at, taken.by()))
            .collect();
        let answered = format!("{domain} on {}", addresses.join(", "));
        let taken_by = format!("port taken: {}; {WHAT_TO_DO}", taken.join(", "));
        let detail = match (addresses.is_empty(), taken.is_empty()) {
            (true, true) => format!("{domain} nowhere: no interface that is served is there"),
            (false, true) => answered,
            (true, false) => taken_by,
            (false, false) => format!("{answered}, elsewhere the {taken_by}"),
        };
        let well = self.taken.is_empty() && !addresses.is_empty();
        self.sightings.service("dns", detail, well);
    }
}
