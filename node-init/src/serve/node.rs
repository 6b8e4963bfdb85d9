// SPDX-License-Identifier: Apache-2.0
//! The node as its main loop sees it: what it knows, and what is due.

mod bridge;
mod going;
mod new_card;
mod telling;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Context;
use provisioner_api::{BridgeOrder, Capsule, ComputeReport, Heartbeat, NodeRole, Order, Progress, Registered};
use sd_notify::NotifyState;

use crate::bridge::{CARD_NETWORK, card, replaced};
use crate::client::{Client, ClientError};
use crate::load::Meter;
use crate::programs::Shell;

use super::config::Identity;
use super::console::Console;
use super::facts::{self, Facts, Hardware};
use super::news::{self, News};
use super::outbox::Outbox;

/// Until the controller says how often: what it says by default.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A node that is not ready looks again soon, because people wait for it.
const LOOK_SOON: Duration = Duration::from_secs(5);

/// What is not there after a minute will hardly come in the next five seconds: the pauses grow to this, as a share
/// of the time that has gone by.
const LOOK_LATER: Duration = Duration::from_mins(1);
const LOOK_SHARE: u32 = 12;

/// A node that is ready looks seldom: looking starts a dozen programs.
const LOOK_SELDOM: Duration = Duration::from_mins(5);

/// How often chrony is asked for heartbeats' sake: a program started for one figure.
const CLOCK: Duration = Duration::from_mins(1);

/// How often the capsule is compared with what the controller keeps.
const CAPSULE: Duration = Duration::from_mins(5);

/// The controller counts as reachable so long after its last word: beyond the long poll's pause.
const HEARD: Duration = Duration::from_secs(90);

/// How long the controller may be silent after a start before it is asked whether the card is still there that the
/// system waits for: drivers and spanning tree need up to a minute.
const NO_CARD: Duration = Duration::from_secs(90);

/// What the last word to the controller gets before the machine goes down without it.
const FAREWELL: Duration = Duration::from_secs(3);

/// Programs that only send a message to systemd.
const QUICK: Duration = Duration::from_secs(20);

/// When things are due.
struct Due {
    heartbeat: Instant,
    look: Instant,
    clock: Instant,
    capsule: Instant,
    bridge: Instant,
    event: Instant,
    card: Instant,
}

/// An installed node.
pub(super) struct Node {
    identity: Identity,
    boot_id: String,
    client: Arc<Client>,
    news: Sender<News>,
    programs: Shell,
    /// Since when this order is being worked on.
    since: Instant,
    due: Due,
    registered: Option<Registered>,
    order: Option<Order>,
    role: Option<NodeRole>,
    heard: Option<Instant>,
    silence: String,
    facts: Option<Box<Facts>>,
    looking: bool,
    bridging: bool,
    bridge_pause: Option<Instant>,
    bridge_trouble: Option<String>,
    told: Option<ComputeReport>,
    progress: Option<Progress>,
    kept: Option<Capsule>,
    capsule_trouble: String,
    rebooting: bool,
    clock_offset: Option<f64>,
    meter: Meter,
    outbox: Outbox,
    console: Console,
}

impl Node {
    pub(super) fn new(identity: Identity, news: Sender<News>) -> anyhow::Result<Self> {
        let root = Path::new("/");
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("reading the boot id")?;
        let boot_id = boot_id.trim().to_owned();
        let client = Arc::new(Client::new(&identity.controller, &identity.pin, &identity.key)?);
        let now = Instant::now();
        Ok(Self {
            outbox: Outbox::open(root, &boot_id),
            console: Console::new(root),
            meter: Meter::new(root)?,
            identity,
            boot_id,
            client,
            news,
            programs: Shell,
            since: now,
            due: Due {
                heartbeat: now,
                look: now,
                clock: now,
                capsule: now,
                bridge: now,
                event: now,
                card: now + NO_CARD,
            },
            registered: None,
            order: None,
            role: None,
            heard: None,
            silence: "not asked yet".into(),
            facts: None,
            looking: false,
            bridging: false,
            bridge_pause: None,
            bridge_trouble: None,
            told: None,
            progress: None,
            kept: None,
            capsule_trouble: "not left with the controller yet".into(),
            rebooting: false,
            clock_offset: None,
        })
    }

    /// Starts the thread that registers and asks for orders.
    pub(super) fn ask_controller(&self) -> anyhow::Result<()> {
        let booted = fs::read_to_string(Path::new("/").join(CARD_NETWORK))
            .ok()
            .and_then(|text| booted(&text))
            .or_else(|| card::booted(Path::new("/"), &self.identity.controller));
        news::watch_controller(
            Arc::clone(&self.client),
            self.boot_id.clone(),
            booted,
            self.news.clone(),
        )
    }

    /// Takes in what happened.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Registered(registered) => {
                self.settle_card();
                tracing::info!(node = registered.node_id, name = registered.name, "registered");
                self.registered = Some(registered);
                self.heard = Some(Instant::now());
                // Whatever it was told before, it may have forgotten.
                (self.told, self.progress, self.kept) = (None, None, None);
                self.look_now();
            }
            News::Orders(orders) => {
                self.heard = Some(Instant::now());
                self.obey(orders.order);
            }
            News::Silence(error) => self.miss(&error),
            News::Examined(facts) => {
                self.looking = false;
                if let Ok(clock) = &facts.clock {
                    self.clock_offset = clock.ahead();
                }
                self.facts = Some(facts);
                self.judge();
            }
            News::Bridged(outcome) => self.bridged(outcome),
            News::Terminate => {}
        }
    }

    /// Does what is due, one question to the controller at most of each kind.
    pub(super) fn tend(&mut self) {
        super::tell_systemd(&[NotifyState::Watchdog]);
        let now = Instant::now();
        if now >= self.due.look {
            self.look();
        }
        if now >= self.due.clock {
            self.due.clock = now + CLOCK;
            self.clock_offset = facts::clock(&self.programs).ok().and_then(|clock| clock.ahead());
        }
        if self.registered.is_none() {
            self.look_for_card();
            return self.sign();
        }
        if now >= self.due.bridge {
            self.tend_bridge();
        }
        if now >= self.due.capsule {
            self.leave_capsule();
        }
        if now >= self.due.event {
            self.send_events();
        }
        if now >= self.due.heartbeat {
            self.due.heartbeat = now + self.heartbeat_interval();
            let heartbeat = Heartbeat {
                boot_id: self.boot_id.clone(),
                load: self.meter.read(self.clock_offset),
            };
            let sent = self.ask(|client| client.heartbeat(&heartbeat));
            if let Err(error) = sent {
                tracing::debug!(%error, "heartbeat");
            }
        }
        self.sign();
    }

    /// How long nothing is due.
    pub(super) fn rest(&self) -> Duration {
        let due = &self.due;
        let mut next = due.clock;
        if !self.looking && self.role.is_some() {
            next = next.min(due.look);
        }
        if self.registered.is_some() {
            next = next.min(due.heartbeat).min(due.capsule);
            if self.bridge_order().is_some() && !self.bridging {
                next = next.min(due.bridge);
            }
            if !self.outbox.is_empty() {
                next = next.min(due.event);
            }
        }
        next.saturating_duration_since(Instant::now())
    }

    /// One question to the controller, which may take half a minute: the watchdog hears of it first.
    fn ask<T>(&mut self, question: impl FnOnce(&Client) -> Result<T, ClientError>) -> Result<T, ClientError> {
        super::tell_systemd(&[NotifyState::Watchdog]);
        let client = Arc::clone(&self.client);
        let answer = question(&client);
        match &answer {
            Ok(_) => self.heard = Some(Instant::now()),
            Err(error) => self.miss(error),
        }
        answer
    }

    fn miss(&mut self, error: &ClientError) {
        let text = error.to_string();
        if text != self.silence {
            tracing::warn!(error = text, "no answer");
            self.silence = text;
        }
    }

    fn reachable(&self) -> bool {
        self.heard.is_some_and(|heard| heard.elapsed() < HEARD)
    }

    fn heartbeat_interval(&self) -> Duration {
        match &self.order {
            Some(Order::Serve(serve)) => Duration::from_secs(serve.heartbeat.max(1).into()),
            _ => HEARTBEAT,
        }
    }

    fn bridge_order(&self) -> Option<&BridgeOrder> {
        match &self.order {
            Some(Order::Serve(serve)) => serve.bridge.as_ref(),
            _ => None,
        }
    }

    fn obey(&mut self, order: Order) {
        if self.order.as_ref() == Some(&order) {
            return;
        }
        tracing::info!(?order, "order");
        match &order {
            Order::Reboot { into, why } => self.reboot(*into, why),
            Order::Serve(serve) => {
                // A profile that is gone from the configuration takes nothing away from what a node is.
                self.role = serve
                    .role
                    .clone()
                    .or_else(|| self.role.take())
                    .or_else(|| Some(unnamed()));
            }
            Order::Wait { .. } => {}
            Order::Check { .. } | Order::Wipe { .. } | Order::Install(_) => {
                tracing::warn!("that is an order for the life in RAM; an installed system does not touch its disk");
            }
        }
        self.order = Some(order);
        let now = Instant::now();
        (self.since, self.due.bridge, self.due.heartbeat) = (now, now, now);
        self.look_now();
    }

    fn look_now(&mut self) {
        self.due.look = Instant::now();
    }

    /// Examines the system in a thread of its own, for what it is to serve as: before the first order to serve nobody
    /// knows what to look for.
    fn look(&mut self) {
        let Some(role) = self.role.clone().filter(|_| !self.looking) else {
            return;
        };
        let bridge = match self.bridge_order() {
            // Guests can be plugged only into what is there.
            Some(order) => Some(order.name.clone())
                .filter(|bridge| !self.bridging && Path::new("/sys/class/net").join(bridge).join("bridge").exists()),
            None => facts::standing_bridge(Path::new("/"), &self.identity.controller),
        };
        let (controller, news) = (self.identity.controller.clone(), self.news.clone());
        let hardware = self.facts.as_ref().map(|facts| facts.hardware.clone());
        let started = news::spawn("examine", move || {
            // Processor and memory stay as they are until the next start.
            let hardware = hardware.unwrap_or_else(|| Hardware::read(Path::new("/")));
            let facts = facts::examine(&Shell, Path::new("/"), &controller, bridge.as_deref(), (role, hardware));
            // If nobody listens any more, nobody wants to know.
            let _ = news.send(News::Examined(Box::new(facts)));
        });
        self.looking = started.is_ok();
        self.due.look = Instant::now() + self.look_interval();
    }

    fn look_interval(&self) -> Duration {
        if self.told.as_ref().is_some_and(ComputeReport::ready) {
            return LOOK_SELDOM;
        }
        (self.since.elapsed() / LOOK_SHARE).clamp(LOOK_SOON, LOOK_LATER)
    }
}

/// What a node is of which a controller from before there were roles says nothing.
fn unnamed() -> NodeRole {
    NodeRole {
        name: "libvirt".into(),
        guests: true,
        units: ["libvirtd.service", "chrony.service", "ssh.service"]
            .map(str::to_owned)
            .into(),
        checks: Vec::new(),
    }
}

/// The address that the life in RAM booted from, as it wrote it into the card's file.
fn booted(card_network: &str) -> Option<String> {
    let value = |line: &str| line.trim().strip_prefix("MACAddress=").map(str::to_owned);
    match replaced::named(card_network).as_slice() {
        [mac] => Some(mac.clone()),
        // Of several cards the way to the controller tells which it is.
        [_, _, ..] => None,
        [] => card_network.lines().find_map(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_that_booted_is_the_one_that_was_set_up() {
        assert_eq!(
            booted("[Match]\nPermanentMACAddress=52:54:00:77:00:01\n").as_deref(),
            Some("52:54:00:77:00:01")
        );
        assert_eq!(booted("[Match]\nName=eth0\n"), None);
    }
}
