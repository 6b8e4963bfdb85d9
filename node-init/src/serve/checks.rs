// SPDX-License-Identifier: Apache-2.0
//! What `Ready` means: facts in, one line a promise out.

use provisioner_api::{Check, ComputeReport, Kvm, NetworkReport};

use super::facts::{Clock, Facts, NODE_INIT};
use crate::bridge::card::{Card, Way};
use crate::compute::Offer;

/// What only the main loop knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Situation {
    /// Whether the controller was heard lately.
    pub(super) reachable: bool,
    /// The bridge that the controller wants, where it wants one.
    pub(super) bridge: Option<String>,
    /// Why there is no bridge yet or not any more.
    pub(super) bridge_trouble: Option<String>,
    /// The controller has the capsule, or the reason why not.
    pub(super) capsule: Result<(), String>,
}

/// Settings of sshd that would let a password in, and what they must be.
const NO_PASSWORDS: [(&str, &[&str]); 4] = [
    ("passwordauthentication", &["no"]),
    ("kbdinteractiveauthentication", &["no"]),
    ("permitemptypasswords", &["no"]),
    // sshd -T prints the old name of prohibit-password.
    (
        "permitrootlogin",
        &["no", "prohibit-password", "without-password", "forced-commands-only"],
    ),
];

/// The report, with every check.
pub(super) fn report(facts: &Facts, situation: &Situation) -> ComputeReport {
    let offer = facts.offer.as_ref().and_then(|offer| offer.as_ref().ok());
    let way = facts.way.as_ref().ok();
    let card = way.and_then(|(_, card)| card.as_ref().ok());
    ComputeReport {
        role: facts.role.name.clone(),
        hypervisor: offer.map(|offer| offer.hypervisor.clone()),
        cpu_model: offer.map(|offer| offer.cpu_model.clone()).unwrap_or_default(),
        cpu_baseline: baseline(facts.hardware.cpu.level),
        threads: offer.map_or(facts.hardware.cpu.threads, |offer| offer.threads),
        memory: facts.hardware.memory,
        storage: offer.and_then(|offer| offer.storage.clone().ok()),
        network: NetworkReport {
            bridge: card.and_then(|card| card.bridge.clone()),
            card: way.map(|(way, card)| under(way, card)).unwrap_or_default(),
            address: way
                .map(|(way, _)| format!("{}/{}", way.address, way.prefix))
                .unwrap_or_default(),
        },
        checks: checks(facts, situation),
    }
}

/// What its role asks for, around what every node must hold.
fn checks(facts: &Facts, situation: &Situation) -> Vec<Check> {
    let guests = facts.offer.as_ref().map(|offer| {
        [
            check("libvirt", libvirt(offer)),
            check("virtualization", virtualization(offer, facts)),
            check("storage", storage(offer)),
        ]
    });
    let every = [
        check("network", network(facts, situation)),
        check("clock", clock(facts)),
        check("capsule", capsule(situation)),
        check("services", services(facts)),
        check("ssh", ssh(facts)),
        check("system", system(facts)),
    ];
    let named = facts.role.checks.iter().zip(&facts.commands);
    let own = named.map(|(asked, said)| check(&asked.name, said.clone()));
    guests.into_iter().flatten().chain(every).chain(own).collect()
}

/// A promise that holds, or does not: with the words for a person either way.
type Verdict = Result<String, String>;

/// What libvirt offers, or why it does not.
type Offered = Result<Offer, String>;

/// Of what cannot be known without libvirt.
const SILENT: &str = "libvirt does not answer";

fn check(name: &str, verdict: Verdict) -> Check {
    let (passed, detail) = match verdict {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    Check {
        name: name.into(),
        passed,
        detail,
    }
}

/// The names that compilers and libvirt share for the levels of x86-64.
fn baseline(level: u8) -> String {
    match level {
        0 => "none (32-bit processor)".into(),
        1 => "x86-64".into(),
        level => format!("x86-64-v{level}"),
    }
}

fn libvirt(offer: &Offered) -> Verdict {
    let hypervisor = &offer.as_ref().map_err(Clone::clone)?.hypervisor;
    Ok(format!(
        "{} {} by libvirt {}",
        hypervisor.name, hypervisor.version, hypervisor.libvirt
    ))
}

fn virtualization(offer: &Offered, facts: &Facts) -> Verdict {
    let offer = offer.as_ref().map_err(|_| SILENT.to_owned())?;
    match (offer.hypervisor.virtualization.as_str(), &facts.hardware.cpu.kvm) {
        ("kvm", _) => Ok("KVM".into()),
        (_, Kvm::Unusable { why }) => Ok(format!("software virtualization (QEMU); no KVM: {why}")),
        (_, Kvm::Usable) => Ok("software virtualization (QEMU); KVM works, but libvirt does not offer it".into()),
    }
}

fn storage(offer: &Offered) -> Verdict {
    let offer = offer.as_ref().map_err(|_| SILENT.to_owned())?;
    let pool = offer.storage.as_ref().map_err(Clone::clone)?;
    Ok(format!("pool {} in {}", pool.name, pool.path))
}

/// What carries the way: the card, or what is known of it.
fn under(way: &Way, card: &Result<Card, String>) -> String {
    card.as_ref()
        .map_or_else(|_| way.interface.clone(), |card| card.name.clone())
}

fn network(facts: &Facts, situation: &Situation) -> Verdict {
    let (way, card) = facts.way.as_ref().map_err(Clone::clone)?;
    if !situation.reachable {
        return Err(format!(
            "the controller does not answer (this node is {} on {})",
            way.address, way.interface
        ));
    }
    let Some(wanted) = &situation.bridge else {
        return Ok(format!("{} on {}, no bridge wanted", way.address, under(way, card)));
    };
    let card = card.as_ref().map_err(Clone::clone)?;
    if card.bridge.as_ref() != Some(wanted) {
        let why = situation.bridge_trouble.as_deref().unwrap_or("it is being set up");
        return Err(format!("no bridge {wanted} over {} yet: {why}", card.name));
    }
    let stands = format!("{} on {wanted} over {}", way.address, card.name);
    let Some(offer) = &facts.offer else {
        return Ok(stands);
    };
    let plug = offer.as_ref().map_err(|_| SILENT.to_owned())?.network.clone()?;
    let plug = plug.ok_or("libvirt has no network for guests yet")?;
    Ok(format!("{stands}; guests plug into {plug}"))
}

fn clock(facts: &Facts) -> Verdict {
    match facts.clock.as_ref().map_err(Clone::clone)? {
        Clock::Chrony(tracking) => match tracking.judge(&facts.servers) {
            (true, detail) => Ok(detail),
            (false, detail) => Err(detail),
        },
        Clock::Other(true) => Ok("in step, says systemd".into()),
        Clock::Other(false) => Err("not in step with a time server yet, says systemd".into()),
    }
}

fn capsule(situation: &Situation) -> Verdict {
    situation.capsule.clone().map(|()| "kept by the controller".into())
}

fn services(facts: &Facts) -> Verdict {
    let on = |unit: &&str| {
        facts
            .units
            .get(*unit)
            .is_some_and(|state| matches!(state.as_str(), "enabled" | "alias" | "static" | "indirect"))
    };
    let off: Vec<String> = wanted(facts)
        .filter(|unit| !on(unit))
        .map(|unit| say(facts, unit))
        .collect();
    if off.is_empty() {
        Ok("all start by themselves".into())
    } else {
        Err(off.join(", "))
    }
}

/// The units that this node is for.
fn wanted(facts: &Facts) -> impl Iterator<Item = &str> {
    std::iter::once(NODE_INIT).chain(facts.role.units.iter().map(String::as_str))
}

/// Whether the system is up, but for what nobody needs here.
fn system(facts: &Facts) -> Verdict {
    let system = facts.system.as_ref().map_err(Clone::clone)?;
    let broken: Vec<&str> = wanted(facts)
        .filter(|unit| system.failed.iter().any(|failed| failed == unit))
        .collect();
    if !broken.is_empty() {
        return Err(format!("{} failed; systemctl status says why", broken.join(", ")));
    }
    match system.word.as_str() {
        "initializing" | "starting" if system.starting.is_empty() => Err("the system is still starting".into()),
        "initializing" | "starting" => Err(format!("the system still starts {}", system.starting.join(", "))),
        "running" => Ok("up".into()),
        "degraded" => Ok(format!("up; failed, and not needed here: {}", system.failed.join(", "))),
        word => Err(format!("systemd calls the system {word:?}")),
    }
}

fn say(facts: &Facts, unit: &str) -> String {
    format!(
        "{unit} is {}",
        facts.units.get(unit).map_or("not there", String::as_str)
    )
}

fn ssh(facts: &Facts) -> Verdict {
    let settings = facts
        .sshd
        .as_ref()
        .map_err(|e| format!("sshd's settings cannot be read: {e}"))?;
    for (name, allowed) in NO_PASSWORDS {
        let value = settings
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .unwrap_or("not set");
        if !allowed.contains(&value.trim()) {
            return Err(format!("sshd has {name} {value}, so a password could log in"));
        }
    }
    Ok("keys only".into())
}

#[cfg(test)]
mod tests;
