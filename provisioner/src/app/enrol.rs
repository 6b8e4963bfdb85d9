// SPDX-License-Identifier: Apache-2.0
//! Unknown machines: who may come in, and the windows by which operators let batches of them in.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::PoisonError;

use provisioner_api::{EnrolmentWindow, OpenWindow, Register};
use pxe::Mac;
use tracing::{info, warn};

use super::machine::{Asks, Choice, Who};
use super::{App, AppError, Change};
use crate::config::{DhcpMode, is_host_name};
use crate::enrol::{self, Admission, Policy, Stranger, Whom, Window};
use crate::network::{Company, SegmentNow};
use crate::registry::{Door, Entry};

/// Seconds that a window stays open where nobody says: an afternoon's batch.
const OPEN: u64 = 2 * 3600;
/// Machines that it lets in where nobody says: a class room.
const BATCH: u32 = 30;
/// Seconds that a window may stay open: a permit for ever is a policy, and belongs into the configuration.
const LONGEST: u64 = 7 * 24 * 3600;
/// Machines that a window may let in.
const LARGEST: u32 = 10_000;
/// Labels of a window.
const TAGS: usize = 16;

impl App {
    /// What an unknown machine may do that asks for its script. A place in a window is taken, and a pressed key kept in
    /// mind, only where it is certain that the card asks that is named: anybody can write a card's address into a question.
    /// Whoever starts without one needs a place when it registers.
    pub(super) fn admit(&self, who: &Who<'_>, now: i64) -> Admission {
        if who.choice == Some(Choice::Disk) {
            return Admission::Ignore;
        }
        let policy = self.policy_at(who.from, who.mac);
        let stranger = self.stranger(who.mac);
        let pressed = who.choice == Some(Choice::Enrol);
        let ticket = who.mac.is_some_and(|mac| self.has_ticket(mac, now));
        let certain = who.mac.filter(|_| self.asks(who) == Asks::Itself);
        match (self.admission(policy, &stranger, pressed || ticket, now), certain) {
            (Admission::Through(id), Some(mac)) => self.through(id, mac, policy, now),
            (Admission::Enrol, Some(mac)) if pressed && !ticket => {
                // Kept, so that registering does not depend on this server's memory.
                if let Err(error) = self.registry.let_in(mac, None, now) {
                    warn!(%mac, %error, "keeping in mind that a key was pressed");
                }
                Admission::Enrol
            }
            (admission, _) => admission,
        }
    }

    /// Takes a place in a window; where the last one has just gone, the machine is asked.
    fn through(&self, id: i64, mac: Mac, policy: Policy, now: i64) -> Admission {
        let windows = self.registry.windows();
        let window = windows.iter().find(|window| window.id == id);
        let placed = match window {
            Some(window) => self.registry.let_in(mac, Some(window), now),
            None => Ok(false),
        };
        match placed {
            Ok(true) => {
                self.announce(Change::Services);
                Admission::Through(id)
            }
            Ok(false) if policy == Policy::Enrol => Admission::Enrol,
            Ok(false) => Admission::Ask,
            Err(error) => {
                warn!(%error, "taking a place in an enrolment window");
                Admission::Ask
            }
        }
    }

    /// Whether the machine that registers needs to have been let in. A machine that waits in RAM for a window comes in
    /// when one opens.
    pub(super) fn door(&self, key: &str, from: IpAddr, register: &Register, now: i64) -> Result<Door, AppError> {
        let from = match from.to_canonical() {
            IpAddr::V4(from) => Some(from),
            IpAddr::V6(_) => None,
        };
        let nics = &register.inventory.nics;
        let booted = nics.iter().find(|nic| nic.booted).or(nics.first());
        let mac = booted.and_then(|nic| nic.mac.parse().ok());
        let policy = self.policy_at(from, mac);
        let windows = self.registry.windows();
        let matters = policy != Policy::Enrol || windows.iter().any(|window| window.is_open(now));
        if !matters || self.registry.recognises(key, register) {
            return Ok(Door::Open);
        }
        if let Some(mac) = mac.filter(|mac| !self.has_ticket(*mac, now))
            && let Admission::Through(id) = self.admission(policy, &self.stranger(Some(mac)), false, now)
            && let Some(window) = windows.iter().find(|window| window.id == id)
        {
            self.registry.let_in(mac, Some(window), now)?;
        }
        Ok(match policy {
            Policy::Enrol => Door::Open,
            Policy::Ask | Policy::Ignore => Door::Guarded,
        })
    }

    fn admission(&self, policy: Policy, stranger: &Stranger, invited: bool, now: i64) -> Admission {
        // A window whose places cannot be counted has none.
        let taken = |id: i64| self.registry.places(id, now).unwrap_or(u32::MAX);
        enrol::admit(policy, stranger, invited, &self.registry.windows(), taken, now)
    }

    fn has_ticket(&self, mac: Mac, now: i64) -> bool {
        let ticket = self.registry.ticket(mac, now).unwrap_or_default();
        ticket.is_some_and(|ticket| !ticket.used)
    }

    /// Whether an unknown card gets no loader at all.
    pub(super) fn leaves(&self, mac: Mac, interface: &str, address: Option<Ipv4Addr>) -> bool {
        let ignores = |unknown: &crate::config::Unknown| *unknown == crate::config::Unknown::Ignore;
        let enrolment = &self.config.enrolment;
        let anywhere = ignores(&enrolment.unknown) || enrolment.segments.iter().any(|(_, unknown)| ignores(unknown));
        if !anywhere {
            return false;
        }
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let segment = segments.get(interface).cloned();
        drop(segments);
        let address = address.or(segment.as_ref().map(|segment| segment.address));
        enrol::policy(enrolment, address, segment.as_ref()) == Policy::Ignore && !self.knows_card(&mac.to_string())
    }

    /// What holds for an unknown machine with this address and card.
    fn policy_at(&self, address: Option<Ipv4Addr>, mac: Option<Mac>) -> Policy {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let none_gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if segments.is_empty() && none_gone && self.config.dhcp.mode != DhcpMode::Off {
            // The edges have not spoken yet; they do before they answer anybody.
            let silent = SegmentNow {
                interface: "".into(),
                address: Ipv4Addr::UNSPECIFIED,
                prefix: 32,
                company: Company::Unknown,
                serves: true,
                interrupted: false,
                relayed: false,
                server: Ipv4Addr::UNSPECIFIED,
            };
            return enrol::policy(&self.config.enrolment, address, Some(&silent));
        }
        let around = |segment: &&SegmentNow| address.is_some_and(|address| segment.contains(address));
        let by_address = segments.values().filter(around).max_by_key(|segment| segment.prefix);
        let by_card = mac
            .and_then(|mac| self.journal.of(mac))
            .and_then(|card| segments.get(&card.interface));
        enrol::policy(&self.config.enrolment, address, by_address.or(by_card))
    }

    fn stranger(&self, mac: Option<Mac>) -> Stranger {
        let card = mac.and_then(|mac| self.journal.of(mac));
        Stranger {
            mac,
            relay: card.as_ref().and_then(|card| card.relay),
            port: card.and_then(|card| card.port),
        }
    }

    /// Opens a window. Writes.
    pub fn open_window(&self, open: &OpenWindow, actor: &str, now: i64) -> Result<EnrolmentWindow, AppError> {
        let seconds = open.seconds.unwrap_or(OPEN);
        let max = open.max.unwrap_or(BATCH);
        if !(1..=LONGEST).contains(&seconds) || !(1..=LARGEST).contains(&max) {
            return Err(AppError::Invalid(format!(
                "a window is open for one second to seven days and lets in 1 to {LARGEST} machines"
            )));
        }
        if let Some(profile) = open
            .profile
            .as_ref()
            .filter(|name| !self.config.profiles.contains_key(*name))
        {
            let known: Vec<&str> = self.config.profiles.keys().map(String::as_str).collect();
            return Err(AppError::Refused(format!(
                "there is no profile {profile}; there are: {}",
                known.join(", ")
            )));
        }
        if open.tags.len() > TAGS || open.tags.iter().any(|tag| !is_host_name(tag)) {
            return Err(AppError::Invalid(format!(
                "tags are at most {TAGS} words of a-z, 0-9 and dash, like room-b"
            )));
        }
        let window = Window {
            id: 0,
            opened: now,
            until: now.saturating_add_unsigned(seconds.saturating_mul(1000)),
            max,
            whom: Whom {
                mac_prefix: open.mac_prefix.as_deref().map(mac_prefix).transpose()?,
                relay: open.relay,
                port: open.port.clone(),
            },
            tags: open.tags.clone(),
            profile: open.profile.clone(),
            by: actor.to_owned(),
            closed: None,
        };
        let detail = format!("for {max} machines and {} minutes", seconds.div_ceil(60));
        let entry = Entry::new("window-opened", detail, actor);
        let window = self.registry.open_window(&window, &entry, now)?;
        info!(id = window.id, actor, max, seconds, "enrolment window opened");
        self.announce(Change::Services);
        self.shown(&window, now)
    }

    /// All windows that are remembered, the newest first.
    pub fn windows(&self, now: i64) -> Result<Vec<EnrolmentWindow>, AppError> {
        let windows = self.registry.windows();
        windows.iter().rev().map(|window| self.shown(window, now)).collect()
    }

    /// Closes a window. Writes.
    pub fn close_window(&self, id: i64, actor: &str, now: i64) -> Result<(), AppError> {
        let entry = Entry::new("window-closed", format!("number {id}"), actor);
        if self.registry.close_window(id, &entry, now)? {
            self.announce(Change::Services);
            Ok(())
        } else {
            Err(AppError::NotFound(format!(
                "no window {id} is open; see: provisioner enrol list"
            )))
        }
    }

    fn shown(&self, window: &Window, now: i64) -> Result<EnrolmentWindow, AppError> {
        let used = self.registry.places(window.id, now)?;
        Ok(EnrolmentWindow {
            id: window.id,
            open: window.is_open(now) && used < window.max,
            opened: window.opened,
            until: window.closed.unwrap_or(window.until),
            max: window.max,
            used,
            mac_prefix: window.whom.mac_prefix.clone(),
            relay: window.whom.relay,
            port: window.whom.port.clone(),
            tags: window.tags.clone(),
            profile: window.profile.clone(),
            by: window.by.clone(),
        })
    }
}

/// The beginning of a hardware address, as they are written here.
fn mac_prefix(text: &str) -> Result<String, AppError> {
    crate::config::mac_prefix(text).map_err(|wrong| AppError::Invalid(wrong.to_string()))
}
