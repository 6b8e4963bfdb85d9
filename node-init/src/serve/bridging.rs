// SPDX-License-Identifier: Apache-2.0
//! Carries the order for a bridge out and waits for the controller's voice through it.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use provisioner_api::BridgeOrder;

use crate::bridge::{self, Begun, Change, Disk, History, Networkd, Plan, card};
use crate::client::{Client, Pin};
use crate::key::NodeKey;

/// Between two tries to hear the controller; DHCP over the fresh bridge takes about as long.
const GLANCE: Duration = Duration::from_secs(1);

/// How the change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The bridge stands and was confirmed.
    Confirmed(String),
    /// It was undone, for a reason.
    Undone(String),
}

/// What is to be done about an order for a bridge.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It stands.
    Nothing,
    /// It was undone so often; wait so long before the next try.
    Pause(Duration, String, Plan),
    /// Build it, or see an unconfirmed one through.
    Work(Plan),
}

/// Looks where the machine stands with the order.
pub(super) fn need(root: &Path, order: &BridgeOrder, controller: &str) -> anyhow::Result<Need> {
    let way = card::way_to(controller)?;
    let card = card::under(&root.join("sys"), &way.interface)?;
    let plan = bridge::plan(order, &card)?;
    let (disk, links) = (Disk::new(root), Networkd::new());
    Ok(match Change::new(&disk, &links).history(&plan)? {
        History::Confirmed => Need::Nothing,
        History::Undone(failure) => Need::Pause(failure.pause(), failure.reason, plan),
        History::Untried | History::Unconfirmed => Need::Work(plan),
    })
}

/// Builds the bridge and confirms it, or undoes it. Takes little longer than the order allows.
pub(super) fn carry_out(root: &Path, plan: &Plan, order: &BridgeOrder, ear: &Ear) -> Outcome {
    let (disk, links) = (Disk::new(root), Networkd::new());
    let change = Change::new(&disk, &links);
    let heard = match change.begin(plan, order.confirm_within) {
        Ok(Begun::Applied | Begun::InTheWay) => {
            listen(plan.bridge(), Duration::from_secs(order.confirm_within.into()), ear)
        }
        Err(error) => Err(format!("{error:#}")),
    };
    let confirmed = heard.and_then(|()| match change.confirm() {
        Ok(true) => Ok(()),
        Ok(false) => Err("the timer was faster than the controller's answer".into()),
        Err(error) => Err(format!("{error:#}")),
    });
    let Err(reason) = confirmed else {
        return Outcome::Confirmed(plan.bridge().into());
    };
    match change.roll_back(&reason) {
        Ok(_) => Outcome::Undone(reason),
        Err(error) => Outcome::Undone(format!("{reason}; going back: {error:#}")),
    }
}

/// Hears the controller on a fresh connection: an old one would say nothing about the network of now.
pub(super) struct Ear {
    /// `HOST:PORT`.
    pub(super) controller: String,
    /// The controller's key.
    pub(super) pin: Pin,
    /// Ours.
    pub(super) key: NodeKey,
}

impl Ear {
    fn hears_through(&self, bridge: &str) -> Result<(), String> {
        let way = card::way_to(&self.controller).map_err(|e| e.to_string())?;
        if way.interface != bridge {
            return Err(format!(
                "the way to the controller leads over {} and not over {bridge}",
                way.interface
            ));
        }
        let client = Client::new(&self.controller, &self.pin, &self.key).map_err(|e| e.to_string())?;
        client.time().map(drop).map_err(|e| e.to_string())
    }
}

fn listen(bridge: &str, limit: Duration, ear: &Ear) -> Result<(), String> {
    let end = Instant::now() + limit;
    loop {
        let why = match ear.hears_through(bridge) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        if Instant::now() + GLANCE > end {
            let seconds = limit.as_secs();
            return Err(format!(
                "the controller was not heard through {bridge} within {seconds} s: {why}"
            ));
        }
        thread::sleep(GLANCE);
    }
}
