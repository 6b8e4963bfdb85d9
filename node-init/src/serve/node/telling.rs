// SPDX-License-Identifier: Apache-2.0
//! What the node tells: events to the controller, progress to those who watch, a sign to those who stand before it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use provisioner_api::{ComputeReport, Event, Order, Progress, Stage};

use crate::capsule;

use super::super::checks::{self, Situation};
use super::super::console::Sign;
use super::{CAPSULE, LOOK_SOON, Node};

impl Node {
    /// Makes the report and tells the controller if it is news.
    pub(super) fn judge(&mut self) {
        let Some(facts) = &self.facts else { return };
        let wanted = self.bridge_order().map(|order| &order.name);
        let standing = facts
            .way
            .as_ref()
            .ok()
            .and_then(|(_, card)| card.as_ref().ok()?.bridge.as_ref());
        let other_role = self.role.as_ref() != Some(&facts.role);
        if other_role || (wanted.is_some() && wanted == standing && facts.bridge.as_ref() != wanted) {
            // The order came, or the bridge was built, while it was being looked at: that says nothing of now.
            self.due.look = Instant::now();
            return;
        }
        let situation = Situation {
            reachable: self.reachable(),
            bridge: self.bridge_order().map(|order| order.name.clone()),
            bridge_trouble: self.bridge_trouble.clone(),
            capsule: if self.kept.is_some() {
                Ok(())
            } else {
                Err(self.capsule_trouble.clone())
            },
        };
        let report = checks::report(facts, &situation);
        // Before the first order it is not known what is wanted, and so not whether the node has it. And a controller
        // that comes back must not be told first that it was away.
        let wanted = self.order.is_some() && self.reachable();
        if wanted && !self.told.as_ref().is_some_and(|told| same(told, &report)) {
            for check in report.checks.iter().filter(|check| !check.passed) {
                tracing::info!(check = check.name, detail = check.detail, "not yet");
            }
            tracing::info!(ready = report.ready(), "telling the controller what this node offers");
            self.told = Some(report.clone());
            self.tell(Event::CameHome { report });
        }
        self.due.look = Instant::now() + self.look_interval();
        self.tell_progress();
    }

    /// Queues an event, to be sent at the next turn.
    pub(super) fn tell(&mut self, event: Event) {
        self.outbox.push(event);
        self.due.event = Instant::now();
    }

    pub(super) fn send_events(&mut self) {
        while !self.outbox.is_empty() {
            let client = Arc::clone(&self.client);
            let sent = self.outbox.send_one(|event| client.send_event(event));
            if self.ask(|_| sent).is_err() {
                self.due.event = Instant::now() + LOOK_SOON;
                return;
            }
        }
    }

    /// For people to watch; whether it arrives does not matter.
    pub(super) fn tell_progress(&mut self) {
        let checks = self
            .told
            .as_ref()
            .map(|told| told.checks.as_slice())
            .unwrap_or_default();
        let missing = checks.iter().find(|check| !check.passed);
        let passed = checks.iter().filter(|check| check.passed).count();
        let stage = match missing {
            _ if self.bridging => Stage::Bridging,
            None if !checks.is_empty() => Stage::Serving,
            _ => Stage::FirstBoot,
        };
        let progress = Progress {
            boot_id: self.boot_id.clone(),
            stage,
            permille: u16::try_from(passed * 1000 / checks.len().max(1)).unwrap_or(1000),
            detail: missing
                .map(|check| format!("{}: {}", check.name, check.detail))
                .unwrap_or_default(),
        };
        if self.registered.is_none() || self.progress.as_ref() == Some(&progress) {
            return;
        }
        if self.ask(|client| client.send_progress(&progress)).is_ok() {
            self.progress = Some(progress);
        }
    }

    /// Leaves the node's identity with the controller when it differs from what that keeps.
    pub(super) fn leave_capsule(&mut self) {
        self.due.capsule = Instant::now() + if self.kept.is_some() { CAPSULE } else { LOOK_SOON };
        let collected = match capsule::collect(Path::new("/"), &self.identity.name) {
            Ok(collected) => collected,
            Err(error) => {
                self.capsule_trouble = format!("{error:#}");
                return;
            }
        };
        if self.kept.as_ref() == Some(&collected.capsule) {
            return;
        }
        for line in &collected.left_out {
            tracing::warn!(file = line, "left out of the capsule");
        }
        match self.ask(|client| client.put_capsule(&collected.capsule)) {
            Ok(()) => {
                tracing::info!("the controller keeps the capsule");
                self.kept = Some(collected.capsule);
                self.due.capsule = Instant::now() + CAPSULE;
                self.judge();
            }
            Err(error) => self.capsule_trouble = error.to_string(),
        }
    }

    /// Shows who this is on the console.
    pub(super) fn sign(&mut self) {
        let state = match (&self.order, &self.told) {
            _ if !self.reachable() => format!("the controller does not answer: {}", self.silence),
            (Some(Order::Wait { why }), _) => why.clone(),
            (Some(Order::Serve(serve)), _) if serve.draining => "draining: takes no new guests".into(),
            (_, Some(told)) => state_of(told),
            _ => "coming up".into(),
        };
        let site = self
            .registered
            .as_ref()
            .map(|registered| format!(" ({})", registered.site))
            .unwrap_or_default();
        let sign = Sign {
            name: self.identity.name.clone(),
            address: self
                .told
                .as_ref()
                .map(|told| told.network.address.clone())
                .unwrap_or_default(),
            controller: format!("{}{site}", self.identity.controller),
            state,
        };
        self.console.show(&sign, &self.programs);
    }
}

fn state_of(told: &ComputeReport) -> String {
    match told.checks.iter().find(|check| !check.passed) {
        None => match &told.hypervisor {
            Some(hypervisor) => format!("ready: serves guests ({})", hypervisor.virtualization),
            None => format!("ready: serves as {}", told.role),
        },
        Some(check) => format!("not ready: {}: {}", check.name, check.detail),
    }
}

/// Whether the controller would learn nothing: free space on the pool changes all the time and is no news.
fn same(told: &ComputeReport, now: &ComputeReport) -> bool {
    let mut now = now.clone();
    if let (Some(now), Some(told)) = (&mut now.storage, &told.storage) {
        now.available = told.available;
    }
    *told == now
}
