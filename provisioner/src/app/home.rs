// SPDX-License-Identifier: Apache-2.0
//! Which system a machine starts from its own disks, and what is told where that is on none of them.

use std::sync::Arc;

use pxe::home::{Home, Mark};
use tracing::warn;

use super::machine::comes_home;
use super::{App, Who};
use crate::events;
use crate::registry::{Entry, Node};

/// Milliseconds after which it is told again that a node's system was not found.
const TOLD_AGAIN: u64 = 3_600_000;

impl App {
    /// Which system the machine that asks starts from its own disks.
    pub fn home(&self, who: &Who<'_>, now: i64) -> Home {
        home_of(&self.asking(who, now).nodes)
    }

    /// The loader of a node has found its system on none of its disks. Anybody can say so, so this is told and changes
    /// nothing; once an hour, so that it fills no list.
    pub(super) fn not_found(&self, nodes: &[Arc<Node>], now: i64) {
        let [node] = nodes else { return };
        let is_news = self.presence.update(&node.id, |seen| {
            let is_news = now.saturating_sub(seen.not_found).unsigned_abs() >= TOLD_AGAIN;
            if is_news {
                seen.not_found = now;
            }
            is_news
        });
        if !is_news {
            return;
        }
        warn!(node = node.name, "its own system was found on none of its disks");
        let entry = Entry {
            kind: "not-found",
            detail: "its loader says that its own system is on none of its disks".into(),
            actor: events::NODE.into(),
        };
        if let Err(error) = self.registry.write_down(Some(&node.id), &entry, now) {
            warn!(node = node.name, %error, "writing down that its system was not found");
        }
    }
}

/// Which system a machine starts from its own disks that is one of these nodes: its own, by the mark of its installation.
pub(super) fn home_of(nodes: &[Arc<Node>]) -> Home {
    let mark = |mark: &Option<String>| mark.clone().map_or(Mark::Unmarked, Mark::Named);
    let marks: Vec<Mark> = nodes
        .iter()
        .filter(|node| comes_home(&node.state))
        .map(|node| mark(&node.mark))
        .collect();
    if marks.is_empty() { Home::Any } else { Home::Own(marks) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use provisioner_api::{Event, Life};

    use super::*;
    use crate::app::Caller;
    use crate::app::tests::{Lab, MAC, NOW, WITH_RULE};
    use crate::boot::Boot;

    fn who(not_found: bool) -> Who<'static> {
        Who {
            mac: MAC.parse().ok(),
            from: Some(Ipv4Addr::new(192, 0, 2, 50)),
            not_found,
            ..Who::default()
        }
    }

    fn mark(lab: &Lab) -> Option<String> {
        lab.app.registry.find("node-001").unwrap().mark.clone()
    }

    /// Up to a system on the disk, by a node-init that knows marks; the mark.
    fn writes(lab: &Lab, boot: &str) -> String {
        written(lab, &lab.register("k1", MAC, boot, Life::Ram, NOW), boot)
    }

    fn written(lab: &Lab, caller: &Caller, boot: &str) -> String {
        lab.say(caller, boot, 1, Event::Checked { findings: vec![] }, NOW);
        lab.say(caller, boot, 2, Event::Wiped { discarded: true }, NOW);
        let mark = mark(lab);
        let event = Event::Written {
            bytes: 1,
            milliseconds: 1,
            mark: mark.clone(),
        };
        lab.say(caller, boot, 3, event, NOW);
        mark.unwrap()
    }

    #[test]
    fn a_node_starts_the_system_with_the_mark_of_its_own_installation() {
        let mut lab = Lab::new(WITH_RULE);
        assert_eq!(lab.app.home(&who(false), NOW), Home::Any, "it is no node");
        let first = writes(&lab, "ram-1");
        let own = Home::Own(vec![Mark::Named(first.clone())]);
        assert_eq!(lab.app.home(&who(false), NOW), own);
        lab.restart(NOW);
        assert_eq!(lab.app.home(&who(false), NOW), own, "it is stored");
        assert!(provisioner_api::is_mark(&first));
    }

    #[test]
    fn a_node_that_is_known_by_its_uuid_starts_its_own_system_too() {
        let lab = Lab::new(WITH_RULE);
        let uuid = "4c4c4544-0031-4a10-8052-b4c04f333132";
        let first = written(&lab, &lab.registers_with_uuid(MAC, uuid), "ram-1");
        let docked = Who {
            mac: "02:11:22:33:44:66".parse().ok(),
            uuid: Some(uuid),
            ..who(false)
        };
        // Long after its last word: it does not run, so that it is the one who asks.
        let later = NOW + 3_600_000;
        assert_eq!(lab.app.boot(&docked, later), Boot::LocalDisk);
        assert_eq!(lab.app.home(&docked, later), Home::Own(vec![Mark::Named(first)]));
    }

    #[test]
    fn a_node_of_before_there_were_marks_starts_a_system_without_one() {
        let lab = Lab::new(WITH_RULE);
        // Its RAM environment is of before, too: it says nothing of a mark.
        lab.ready();
        assert_eq!(lab.app.home(&who(false), NOW), Home::Own(vec![Mark::Unmarked]));
    }

    #[test]
    fn a_system_that_is_on_no_disk_is_told_once_and_nobody_elses_is_started() {
        let lab = Lab::new(WITH_RULE);
        writes(&lab, "ram-1");
        lab.leases(MAC, Ipv4Addr::new(192, 0, 2, 50));
        let told = || lab.kinds().iter().filter(|kind| *kind == "not-found").count();
        assert_eq!(lab.app.boot(&who(false), NOW), Boot::LocalDisk);
        assert_eq!(told(), 0);
        for _ in 0..100 {
            assert_eq!(lab.app.boot(&who(true), NOW), Boot::NotFound);
        }
        assert_eq!(told(), 1, "anybody can say so: it fills no list");
        let elsewhere = Who {
            from: Some(Ipv4Addr::new(192, 0, 2, 66)),
            ..who(true)
        };
        assert_eq!(lab.app.boot(&elsewhere, NOW + 2 * 3_600_000), Boot::NotFound);
        assert_eq!(told(), 1, "it is not certain that it was this machine");
        let before = lab.app.registry.find("node-001").unwrap();
        assert_eq!(lab.app.boot(&who(false), NOW), Boot::LocalDisk, "it changes nothing");
        assert_eq!(lab.app.registry.find("node-001").unwrap().state, before.state);
    }

    #[test]
    fn a_machine_that_is_no_node_stays_one_whatever_it_says() {
        let lab = Lab::new("");
        lab.register("k1", MAC, "ram-1", Life::Ram, NOW);
        let why = "not ours".to_owned();
        let reject = provisioner_api::Reject { why };
        lab.app.reject("node-001", &reject, "operator", NOW).unwrap();
        assert_eq!(lab.app.boot(&who(true), NOW), Boot::LocalDisk);
        assert_eq!(lab.app.home(&who(false), NOW), Home::Any);
    }
}
