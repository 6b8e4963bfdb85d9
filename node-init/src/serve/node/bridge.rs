// SPDX-License-Identifier: Apache-2.0
//! The order for a bridge: when to build it, and what to say of the outcome.

use std::path::Path;
use std::time::Instant;

use provisioner_api::{BridgeOrder, Event};

use crate::bridge::Plan;
use crate::key::NodeKey;

use super::super::bridging::{self, Ear, Need, Outcome};
use super::super::news::{self, News};
use super::{LOOK_SELDOM, LOOK_SOON, Node};

impl Node {
    /// Looks whether the bridge that is wanted is there, and starts building it if not.
    pub(super) fn tend_bridge(&mut self) {
        let Some(order) = self.bridge_order().cloned() else {
            return;
        };
        if self.bridging {
            return;
        }
        let now = Instant::now();
        self.due.bridge = now + LOOK_SOON;
        match bridging::need(Path::new("/"), &order, &self.identity.controller) {
            Ok(Need::Nothing) => {
                (self.bridge_trouble, self.bridge_pause) = (None, None);
                self.due.bridge = now + LOOK_SELDOM;
            }
            Ok(Need::Work(plan)) => self.build(plan, order),
            Ok(Need::Pause(pause, reason, plan)) => {
                // Counted from the first look: neither a restarted daemon nor a restarted machine tries at once.
                let until = *self.bridge_pause.get_or_insert(now + pause);
                if now >= until {
                    return self.build(plan, order);
                }
                let minutes = pause.as_secs().div_ceil(60);
                self.bridge_trouble = Some(format!("{reason}; waiting {minutes} minutes before the next try"));
                self.due.bridge = until;
            }
            Err(error) => self.bridge_trouble = Some(format!("{error:#}")),
        }
    }

    /// Builds in a thread of its own: heartbeats must go on, and the watchdog must hear of us.
    fn build(&mut self, plan: Plan, order: BridgeOrder) {
        // A key pair cannot be copied; its PEM can be read again.
        let key = match NodeKey::from_pem(&self.identity.key.to_pem()) {
            Ok(key) => key,
            Err(error) => {
                self.bridge_trouble = Some(error.to_string());
                return;
            }
        };
        let ear = Ear {
            controller: self.identity.controller.clone(),
            pin: self.identity.pin.clone(),
            key,
        };
        let news = self.news.clone();
        tracing::info!(
            bridge = plan.bridge(),
            card = plan.mac(),
            within = order.confirm_within,
            "building the bridge"
        );
        let started = news::spawn("bridge", move || {
            let outcome = bridging::carry_out(Path::new("/"), &plan, &order, &ear);
            // If nobody listens any more, the next process finds the outcome on the disk.
            let _ = news.send(News::Bridged(outcome));
        });
        self.bridging = started.is_ok();
        (self.bridge_pause, self.bridge_trouble) = (None, None);
        self.tell_progress();
    }

    /// The change of the network is done, one way or the other.
    pub(super) fn bridged(&mut self, outcome: Outcome) {
        self.bridging = false;
        let text = match outcome {
            Outcome::Confirmed(bridge) => format!("the bridge {bridge} stands; the controller was heard through it"),
            Outcome::Undone(reason) => format!("the change to a bridge was undone: {reason}"),
        };
        tracing::warn!("{text}");
        self.tell(Event::Note { text });
        let now = Instant::now();
        (self.due.bridge, self.due.look) = (now, now);
    }
}
