// SPDX-License-Identifier: Apache-2.0
//! A system joins, however often its power fails.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use provisioner_api::{CapsuleFile, Problem};

use super::*;
use crate::key::NodeKey;

const SECRET: &str = "5ec4e7";
const OLD_ID: &str = "0123456789abcdef0123456789abcdef";

/// A machine and its controller. Whatever changes something counts; at the count where the power fails, it fails: the
/// change was made and nobody has heard of it, or it was not made.
struct Lab {
    disk: BTreeMap<String, Vec<u8>>,
    boot: u32,
    changes: u32,
    power: Option<(u32, bool)>,
    keys: BTreeSet<String>,
    secret_is_good: bool,
    capsule: Option<Capsule>,
    away: u32,
    slept: u32,
    /// In which start the old identity was there when programs started.
    knew_itself: bool,
}

impl Lab {
    fn new(capsule: Option<Capsule>) -> Self {
        let config = NodeConfig {
            controller: "192.0.2.1:8443".into(),
            pin: "ab".into(),
            name: "node-001".into(),
        };
        let disk = [
            (CONFIG, serde_json::to_vec(&config).unwrap()),
            (JOIN, format!("{SECRET}\n").into_bytes()),
            ("etc/machine-id", b"the installer's\n".to_vec()),
        ];
        Self {
            disk: disk.map(|(path, content)| (path.to_owned(), content)).into(),
            boot: 1,
            changes: 0,
            power: None,
            keys: BTreeSet::new(),
            secret_is_good: true,
            capsule,
            away: 0,
            slept: 0,
            knew_itself: false,
        }
    }

    /// Makes a change unless the power fails before it, and fails if it fails after it.
    fn change<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> io::Result<T> {
        self.changes += 1;
        let lost = || io::Error::other("the power is gone");
        match self.power {
            Some((at, false)) if at == self.changes => Err(lost()),
            Some((at, true)) if at == self.changes => {
                change(self);
                Err(lost())
            }
            _ => Ok(change(self)),
        }
    }

    fn power_on(&mut self) {
        self.boot += 1;
        self.knew_itself = self.disk["etc/machine-id"].starts_with(OLD_ID.as_bytes());
    }

    /// Starts until it has joined; how often the machine was started again on purpose.
    fn live(&mut self) -> u32 {
        let mut restarts = 0;
        for _ in 0..10 {
            match join(self) {
                Ok(End::Joined) => return restarts,
                Ok(End::Restart) => restarts += 1,
                Err(_) => self.power = None,
            }
            self.power_on();
        }
        panic!("it never joins");
    }

    /// Starts until it has joined, with the process killed and started again while the machine goes on.
    fn live_without_power_cuts(&mut self) -> u32 {
        for _ in 0..10 {
            match join(self) {
                Ok(End::Joined) => return 0,
                Ok(End::Restart) => {
                    self.power_on();
                    return 1 + self.live();
                }
                Err(_) => self.power = None,
            }
        }
        panic!("it never joins");
    }
}

impl World for Lab {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.disk.get(path).cloned())
    }

    fn put(&mut self, file: &CapsuleEntry) -> io::Result<()> {
        let (path, content) = (file.path.clone(), file.content.clone());
        self.change(|lab| drop(lab.disk.insert(path, content)))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        let path = path.to_owned();
        self.change(|lab| drop(lab.disk.remove(&path)))
    }

    fn boot_id(&self) -> String {
        format!("boot {}", self.boot)
    }

    fn register(&mut self, _: &NodeConfig, key: &NodeKey, secret: &str) -> Result<(), ClientError> {
        if self.away > 0 {
            self.away -= 1;
            return Err(nobody());
        }
        let known = self.keys.contains(&key.fingerprint());
        let good = self.secret_is_good && secret == SECRET;
        if !known && !good {
            return Err(ClientError::Refused(Problem {
                r#type: String::new(),
                title: String::new(),
                status: 403,
                detail: "the secret was used before".into(),
            }));
        }
        let taken = self.change(|lab| {
            lab.keys.insert(key.fingerprint());
            lab.secret_is_good = false;
        });
        // The power, not the controller: the process ends here.
        taken.map_err(|error| ClientError::SetUp(error.to_string()))
    }

    fn capsule(&mut self, _: &NodeConfig, key: &NodeKey) -> Result<Option<Capsule>, ClientError> {
        assert!(
            self.keys.contains(&key.fingerprint()),
            "only a node that is known is given one"
        );
        Ok(self.capsule.clone())
    }

    fn say(&mut self, _: &str) {}

    fn sleep(&mut self, _: Duration) {
        self.slept += 1;
    }
}

fn nobody() -> ClientError {
    ClientError::Unreachable {
        controller: "192.0.2.1:8443".into(),
        detail: "no route".into(),
    }
}

fn capsule() -> Capsule {
    let entry = CapsuleFile {
        content: "aWQ=".into(),
        mode: 0o600,
        uid: 0,
        gid: 0,
    };
    Capsule {
        name: "node-001".into(),
        machine_id: OLD_ID.into(),
        node_key: "the old one".into(),
        ssh_host_keys: BTreeMap::from([("ssh_host_ed25519_key".into(), "old ssh".into())]),
        entries: BTreeMap::from([("/var/lib/web/id".into(), entry)]),
    }
}

fn is_itself(lab: &Lab) {
    assert_eq!(lab.disk["etc/machine-id"], format!("{OLD_ID}\n").into_bytes());
    assert_eq!(lab.disk["etc/ssh/ssh_host_ed25519_key"], b"old ssh");
    assert_eq!(lab.disk["var/lib/web/id"], b"id");
    assert!(lab.knew_itself, "all that runs was started with its identity");
    has_joined(lab);
}

fn has_joined(lab: &Lab) {
    assert!(!lab.disk.contains_key(JOIN), "the secret is gone");
    let key = NodeKey::from_pem(&String::from_utf8_lossy(&lab.disk[KEY])).unwrap();
    assert_eq!(
        lab.keys,
        BTreeSet::from([key.fingerprint()]),
        "one key, and it is this one"
    );
}

#[test]
fn a_new_node_joins_and_serves_in_its_first_start() {
    let mut lab = Lab::new(None);
    assert_eq!(lab.live(), 0);
    has_joined(&lab);
    assert_eq!(lab.disk["etc/machine-id"], b"the installer's\n");
}

#[test]
fn a_rebuilt_node_gets_its_identity_back_and_starts_again_once() {
    let mut lab = Lab::new(Some(capsule()));
    assert_eq!(lab.live(), 1);
    is_itself(&lab);
}

#[test]
fn whenever_the_power_fails_it_goes_on_and_ends_the_same() {
    let mut whole = Lab::new(Some(capsule()));
    whole.live();
    for at in 1..=whole.changes {
        for made in [false, true] {
            let mut lab = Lab::new(Some(capsule()));
            lab.power = Some((at, made));
            assert!(lab.live() <= 2, "at {at}");
            is_itself(&lab);
        }
    }
}

#[test]
fn whenever_it_is_killed_it_goes_on_and_ends_the_same() {
    let mut whole = Lab::new(Some(capsule()));
    whole.live();
    for at in 1..=whole.changes {
        for made in [false, true] {
            let mut lab = Lab::new(Some(capsule()));
            lab.power = Some((at, made));
            lab.live_without_power_cuts();
            is_itself(&lab);
        }
    }
}

#[test]
fn a_new_node_may_be_killed_at_every_step_too() {
    let mut whole = Lab::new(None);
    whole.live();
    for at in 1..=whole.changes {
        for made in [false, true] {
            let mut lab = Lab::new(None);
            lab.power = Some((at, made));
            lab.live_without_power_cuts();
            has_joined(&lab);
        }
    }
}

#[test]
fn it_waits_for_a_controller_that_is_away_and_takes_its_no_for_an_answer() {
    let mut lab = Lab::new(None);
    lab.away = 5;
    lab.live();
    assert_eq!(lab.slept, 5);
    let mut lab = Lab::new(None);
    lab.secret_is_good = false;
    let why = format!("{:#}", join(&mut lab).unwrap_err());
    assert!(why.contains("the secret was used before"), "{why}");
    assert!(
        lab.disk.contains_key(JOIN),
        "a person may look, and it tries again at the next start"
    );
}

#[test]
fn a_capsule_that_is_not_sound_changes_nothing() {
    let broken = Capsule {
        machine_id: "../../x".into(),
        ..capsule()
    };
    let mut lab = Lab::new(Some(broken));
    assert!(join(&mut lab).is_err());
    assert_eq!(lab.disk["etc/machine-id"], b"the installer's\n");
    assert!(lab.disk.contains_key(JOIN));
}
