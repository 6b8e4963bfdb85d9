// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;

use nix::fcntl::Flock;
use proptest::prelude::*;

use super::*;

const CARD_FILE: &str = "[Match]\nPermanentMACAddress=52:54:00:77:00:01\n\n[Network]\nDHCP=ipv4\n";

/// A machine whose power goes after so many steps: from there on nothing it does has any effect.
#[derive(Default)]
struct Machine {
    files: RefCell<BTreeMap<String, String>>,
    power: Cell<Option<u32>>,
    armed: Cell<Option<u32>>,
    applied: Cell<u32>,
    steps: Cell<u32>,
    log: RefCell<Vec<String>>,
}

impl Machine {
    fn installed() -> Self {
        let machine = Self::default();
        machine.files.borrow_mut().insert(CARD_NETWORK.into(), CARD_FILE.into());
        machine
    }

    fn step(&self, what: String) -> io::Result<()> {
        match self.power.get() {
            Some(0) => return Err(io::Error::other("no power")),
            Some(left) => self.power.set(Some(left - 1)),
            None => {}
        }
        self.steps.set(self.steps.get() + 1);
        self.log.borrow_mut().push(what);
        Ok(())
    }

    fn deleted(&self) -> Vec<String> {
        self.log
            .borrow()
            .iter()
            .filter(|line| line.starts_with("delete"))
            .cloned()
            .collect()
    }

    /// What networkd finds at the next start: files of networkd alone.
    fn network(&self) -> BTreeMap<String, String> {
        self.files
            .borrow()
            .iter()
            .filter(|(path, _)| path.starts_with("etc/"))
            .map(|(p, t)| (p.clone(), t.clone()))
            .collect()
    }

    /// Comes up again: the unit before networkd runs if its condition holds.
    fn boot(&self) {
        self.power.set(None);
        self.armed.set(None);
        let nobody = super::super::links::Nobody;
        Change::new(self, &nobody).roll_back("the power went").unwrap();
    }
}

impl Store for Machine {
    fn read(&self, path: &str) -> io::Result<Option<String>> {
        Ok(self.files.borrow().get(path).cloned())
    }
    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        self.step(format!("write {path}"))?;
        self.files.borrow_mut().insert(path.into(), text.into());
        Ok(())
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.step(format!("remove {path}"))?;
        self.files.borrow_mut().remove(path);
        Ok(())
    }
    fn lock(&self) -> io::Result<Option<Flock<File>>> {
        Ok(None)
    }
}

impl Links for Machine {
    fn arm(&self, seconds: u32) -> anyhow::Result<()> {
        self.step("arm".into())?;
        self.armed.set(Some(seconds));
        Ok(())
    }
    fn disarm(&self) {
        if self.step("disarm".into()).is_ok() {
            self.armed.set(None);
        }
    }
    fn apply(&self, _: &str) -> anyhow::Result<()> {
        self.step("apply".into())?;
        self.applied.set(self.applied.get() + 1);
        Ok(())
    }
    fn restart(&self) -> anyhow::Result<()> {
        Ok(self.step("restart".into())?)
    }
    fn remove(&self, bridge: &str) {
        let _ = self.step(format!("delete {bridge}"));
    }
}

fn plan() -> Plan {
    Plan::new("br0", "52:54:00:77:00:01").unwrap()
}

#[test]
fn the_timer_is_armed_and_the_way_back_recorded_before_a_file_of_the_network_changes() {
    let machine = Machine::installed();
    let change = Change::new(&machine, &machine);
    assert_eq!(change.history(&plan()).unwrap(), History::Untried);
    assert_eq!(change.begin(&plan(), 60).unwrap(), Begun::Applied);
    assert_eq!(machine.armed.get(), Some(70));
    let log = machine.log.borrow();
    assert_eq!(log[..2], ["arm".to_owned(), format!("write {PENDING}")]);
    assert_eq!(log.last().unwrap(), "apply");
    assert_eq!(change.history(&plan()).unwrap(), History::Unconfirmed);
}

#[test]
fn a_confirmed_bridge_stays_and_is_not_built_again() {
    let machine = Machine::installed();
    let change = Change::new(&machine, &machine);
    change.begin(&plan(), 60).unwrap();
    assert!(change.confirm().unwrap());
    assert_eq!(machine.armed.get(), None);
    assert!(!change.roll_back("late timer").unwrap());
    machine.boot();
    assert_eq!(change.history(&plan()).unwrap(), History::Confirmed);
    assert_eq!(machine.network().len(), 4);
}

#[test]
fn an_unconfirmed_bridge_is_undone_with_its_reason_and_not_tried_again_at_once() {
    let machine = Machine::installed();
    let before = machine.network();
    let change = Change::new(&machine, &machine);
    for tries in 1..=5 {
        change.begin(&plan(), 60).unwrap();
        assert!(change.roll_back("nobody answered").unwrap());
        assert_eq!((machine.network(), machine.armed.get()), (before.clone(), None));
        let failure = Failure {
            bridge: "br0".into(),
            tries,
            reason: "nobody answered".into(),
        };
        assert_eq!(change.history(&plan()).unwrap(), History::Undone(failure.clone()));
        assert_eq!(failure.pause(), PAUSES[usize::try_from(tries.min(4) - 1).unwrap()]);
    }
    assert!(!change.confirm().unwrap(), "too late");
    let other = Plan::new("br1", "52:54:00:77:00:01").unwrap();
    assert_eq!(
        change.history(&other).unwrap(),
        History::Untried,
        "another bridge is another story"
    );
}

#[test]
fn a_second_change_does_not_forget_the_way_back_of_the_first() {
    let machine = Machine::installed();
    let before = machine.network();
    let change = Change::new(&machine, &machine);
    change.begin(&plan(), 60).unwrap();
    assert_eq!(change.begin(&plan(), 60).unwrap(), Begun::InTheWay);
    change.roll_back("").unwrap();
    assert_eq!(machine.network(), before);
}

#[test]
fn a_change_of_a_confirmed_bridge_goes_back_to_that_bridge() {
    let machine = Machine::installed();
    let change = Change::new(&machine, &machine);
    change.begin(&plan(), 60).unwrap();
    change.confirm().unwrap();
    let confirmed = machine.network();
    change
        .begin(&Plan::new("br1", "52:54:00:77:00:01").unwrap(), 60)
        .unwrap();
    assert_ne!(machine.network(), confirmed);
    change.roll_back("").unwrap();
    assert_eq!(machine.network(), confirmed);
    assert_eq!(machine.deleted(), ["delete br1"]);
}

#[test]
fn a_bridge_that_another_one_replaced_is_taken_away() {
    let machine = Machine::installed();
    let change = Change::new(&machine, &machine);
    for bridge in ["br0", "br1", "br1"] {
        change
            .begin(&Plan::new(bridge, "52:54:00:77:00:01").unwrap(), 60)
            .unwrap();
        change.confirm().unwrap();
    }
    assert_eq!(machine.deleted(), ["delete br0"]);
}

#[test]
fn a_damaged_record_still_leads_back_to_the_card_alone() {
    let machine = Machine::installed();
    let before = machine.network();
    Change::new(&machine, &machine).begin(&plan(), 60).unwrap();
    machine.files.borrow_mut().insert(PENDING.into(), "{".into());
    machine.boot();
    assert_eq!(machine.network(), before);
}

/// Cuts the power after every single step of a change and of its confirmation or rollback, and again during the
/// rollback at the next boot.
#[test]
fn power_cuts_at_every_step_leave_the_old_network_or_the_confirmed_one() {
    let whole = Machine::installed();
    Change::new(&whole, &whole).begin(&plan(), 60).unwrap();
    Change::new(&whole, &whole).confirm().unwrap();
    let (old, new, steps) = (Machine::installed().network(), whole.network(), whole.steps.get());
    for confirm in [true, false] {
        for first in 0..=steps + 3 {
            for second in 0..=steps {
                let machine = Machine::installed();
                machine.power.set(Some(first));
                let change = Change::new(&machine, &machine);
                let begun = change.begin(&plan(), 60).is_ok();
                let confirmed = begun && confirm && change.confirm().is_ok_and(|c| c);
                if begun && !confirm {
                    let _ = change.roll_back("");
                }
                machine.power.set(Some(second));
                let nobody = super::super::links::Nobody;
                let _ = Change::new(&machine, &nobody).roll_back("the power went again");
                machine.boot();
                let network = machine.network();
                assert!(
                    network == old || (network == new && confirm),
                    "{first} {second}: {network:?}"
                );
                assert!(
                    !confirmed || network == new,
                    "a confirmed change was lost: {first} {second}"
                );
                assert_ne!(change.history(&plan()).unwrap(), History::Unconfirmed);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_record_on_the_disk_stops_the_way_back(record in "\\PC*") {
        let machine = Machine::installed();
        let before = machine.network();
        Change::new(&machine, &machine).begin(&plan(), 60).unwrap();
        machine.files.borrow_mut().insert(PENDING.into(), record);
        machine.boot();
        prop_assert_eq!(machine.network(), before);
    }
}
