// SPDX-License-Identifier: Apache-2.0
//! Going down: because the controller says so, or because somebody else told the machine to.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use provisioner_api::{Event, RebootInto};

use crate::bridge::card;
use crate::programs::{ProgramError, Programs};

use super::super::{firmware, news};
use super::{FAREWELL, Node, QUICK};

impl Node {
    /// Carries out an order to reboot, once: the order stands until the machine is up again.
    pub(super) fn reboot(&mut self, into: RebootInto, why: &str) {
        if std::mem::replace(&mut self.rebooting, true) {
            return;
        }
        tracing::warn!(?into, why, "rebooting");
        if into == RebootInto::Network {
            self.start_from_network();
        }
        self.tell(Event::Rebooting);
        self.send_events();
        if let Err(error) = self.programs.run(&["systemctl", "--no-block", "reboot"], QUICK) {
            tracing::error!(%error, "cannot reboot");
            self.rebooting = false;
        }
    }

    /// As good as the firmware allows: a network-first machine needs nothing, a BIOS offers nothing.
    fn start_from_network(&self) {
        let card = card::way_to(&self.identity.controller)
            .and_then(|way| card::under(Path::new("/sys"), &way.interface))
            .map_err(anyhow::Error::from);
        match card.and_then(|card| Ok(firmware::boot_from_network_next(Path::new("/"), &card.mac)?)) {
            Ok(entry) => tracing::info!(entry, "the firmware starts from the network next"),
            Err(error) => tracing::info!(error = format!("{error:#}"), "the firmware's own boot order decides"),
        }
    }

    /// Says goodbye if the whole machine goes down; a restart of this service alone is nobody's business.
    pub(in super::super) fn leave(mut self) {
        let state = self.programs.run(&["systemctl", "is-system-running"], QUICK);
        // It fails for every word but "running", and prints the word all the same.
        let stopping = matches!(&state, Err(ProgramError::Failed { stdout, .. }) if stdout.trim() == "stopping");
        if !stopping || self.registered.is_none() || self.rebooting {
            return;
        }
        self.tell(Event::Rebooting);
        let (done, ended) = mpsc::channel();
        let client = Arc::clone(&self.client);
        let farewell = news::spawn("farewell", move || {
            while !self.outbox.is_empty() && self.outbox.send_one(|event| client.send_event(event)).is_ok() {}
            // If nobody waits any more, the machine is on its way down already.
            let _ = done.send(());
        });
        if farewell.is_ok() {
            // Without an answer in time the controller finds out by itself.
            let _ = ended.recv_timeout(FAREWELL);
        }
    }
}
