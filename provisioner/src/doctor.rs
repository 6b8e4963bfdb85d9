// SPDX-License-Identifier: Apache-2.0
//! Why a boot does not arrive: the silence after what the server saw, turned into one sentence and one thing to do.
//!
//! A table of symptoms, each a pure function from what the journal knows of a card (and the time) to what it says. The
//! first that fits speaks; the order is from causes to consequences. No clock, no socket, no database.

use provisioner_api::Finding;
use pxe::bootfile::Loader;

use crate::journal::{Attempt, Card};
use crate::network::SegmentNow;

mod asking;
pub mod firewall;
pub mod installers;
mod loading;
pub mod look;
pub mod server;
mod starting;

/// Silence after which a machine is switched off or somewhere else, and nobody wonders about it any more.
const FORGOTTEN: i64 = 2 * 3_600_000;

/// One card, and what is known around it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What was seen of it.
    pub card: &'a Card,
    /// The name of the node that it belongs to, if it is known.
    pub node: Option<&'a str>,
    /// Where it was seen.
    pub segment: Option<&'a SegmentNow>,
    /// The loader that its next start gets if this one led nowhere; `None` where all have had their turn.
    pub next: Option<Loader>,
    /// Unix milliseconds.
    pub now: i64,
}

/// What a symptom says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    /// What is seen.
    says: String,
    /// What to do.
    action: String,
    /// Whether the machine does not arrive because of it.
    grave: bool,
}

/// A symptom: what its last start looks like with it.
type Symptom = fn(&Case<'_>, &Attempt) -> Option<Said>;

/// The table.
const SYMPTOMS: [(&str, Symptom); 23] = [
    ("shared-mac", asking::shared_mac),
    ("not-found", starting::not_found),
    ("disk-loop", starting::disk_loop),
    ("no-vendor-class", asking::no_vendor_class),
    ("http-without-class", asking::http_without_class),
    ("no-loader", asking::no_loader),
    ("stranded", asking::stranded),
    ("no-address", asking::no_address),
    ("not-answered", asking::not_answered),
    ("stopped", starting::stopped),
    ("too-old", starting::too_old),
    ("kernel-without-initramfs", starting::kernel_without_initramfs),
    ("kernel-without-register", starting::kernel_without_register),
    ("kernel-without-node-init", starting::kernel_without_node_init),
    ("script-without-kernel", starting::script_without_kernel),
    ("loader-loop", loading::loader_loop),
    ("ipxe-without-script", loading::ipxe_without_script),
    ("loader-silent", loading::loader_silent),
    ("loader-broken", loading::loader_broken),
    ("missing-file", loading::missing_file),
    ("refused-file", loading::refused_file),
    ("offers-ignored", asking::offers_ignored),
    ("loader-unfetched", loading::loader_unfetched),
];

/// Symptoms that do not keep a machine from arriving.
const NOTES: [(&str, Symptom); 1] = [("late-link", asking::late_link)];

/// What keeps this card's machine from arriving, if anything does, and what else is worth knowing.
pub fn diagnose(case: &Case<'_>) -> Vec<Finding> {
    let Some(attempt) = case.card.last() else {
        return Vec::new();
    };
    if case.now - case.card.at > FORGOTTEN {
        return Vec::new();
    }
    let speak = |(word, symptom): &(&str, Symptom)| {
        let said = symptom(case, attempt)?;
        Some(Finding {
            about: case.name(),
            symptom: (*word).to_owned(),
            says: said.says,
            action: said.action,
            grave: said.grave,
            since: Some(attempt.began()),
        })
    };
    let first = SYMPTOMS.iter().find_map(speak);
    first.into_iter().chain(NOTES.iter().filter_map(speak)).collect()
}

impl Case<'_> {
    /// What people call the machine.
    fn name(&self) -> String {
        match self.node {
            Some(node) => node.to_owned(),
            None => self.card.mac.to_string(),
        }
    }

    /// Seconds since a moment.
    fn since(&self, then: i64) -> i64 {
        (self.now - then).max(0) / 1000
    }

    /// Seconds since anything was heard of the last start.
    fn silent(&self, attempt: &Attempt) -> i64 {
        self.since(attempt.ended())
    }
}

impl Said {
    #[allow(clippy::unnecessary_wraps)] // what every symptom returns
    fn grave(says: impl Into<String>, action: impl Into<String>) -> Option<Self> {
        Some(Self {
            says: says.into(),
            action: action.into(),
            grave: true,
        })
    }
}

#[cfg(test)]
mod tests;
