// SPDX-License-Identifier: Apache-2.0
//! What `Ready` means: facts in, one line a promise out.

use provisioner_api::{Check, ComputeReport, Hypervisor, Kvm, NetworkReport};

use super::facts::{Facts, UNITS};

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
    let offer = facts.offer.as_ref().ok();
    let unknown = || Hypervisor {
        name: "unknown".into(),
        version: String::new(),
        libvirt: String::new(),
        virtualization: String::new(),
    };
    let (way, card) = facts
        .way
        .as_ref()
        .ok()
        .map_or((None, None), |(way, card)| (Some(way), Some(card)));
    ComputeReport {
        hypervisor: offer.map_or_else(unknown, |offer| offer.hypervisor.clone()),
        cpu_model: offer.map(|offer| offer.cpu_model.clone()).unwrap_or_default(),
        cpu_baseline: baseline(facts.hardware.cpu.level),
        threads: offer.map_or(facts.hardware.cpu.threads, |offer| offer.threads),
        memory: facts.hardware.memory,
        storage: offer.and_then(|offer| offer.storage.clone().ok()),
        network: NetworkReport {
            bridge: card.and_then(|card| card.bridge.clone()),
            card: card.map(|card| card.name.clone()).unwrap_or_default(),
            address: way
                .map(|way| format!("{}/{}", way.address, way.prefix))
                .unwrap_or_default(),
        },
        checks: vec![
            check("libvirt", libvirt(facts)),
            check("virtualization", virtualization(facts)),
            check("storage", storage(facts)),
            check("network", network(facts, situation)),
            check("clock", clock(facts)),
            check("capsule", capsule(situation)),
            check("services", services(facts)),
            check("ssh", ssh(facts)),
        ],
    }
}

/// A promise that holds, or does not: with the words for a person either way.
type Verdict = Result<String, String>;

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

fn libvirt(facts: &Facts) -> Verdict {
    let hypervisor = &facts.offer.as_ref().map_err(Clone::clone)?.hypervisor;
    Ok(format!(
        "{} {} by libvirt {}",
        hypervisor.name, hypervisor.version, hypervisor.libvirt
    ))
}

fn virtualization(facts: &Facts) -> Verdict {
    let offer = facts.offer.as_ref().map_err(|_| "libvirt does not answer".to_owned())?;
    match (offer.hypervisor.virtualization.as_str(), &facts.hardware.cpu.kvm) {
        ("kvm", _) => Ok("KVM".into()),
        (_, Kvm::Unusable { why }) => Ok(format!("software virtualization (QEMU); no KVM: {why}")),
        (_, Kvm::Usable) => Ok("software virtualization (QEMU); KVM works, but libvirt does not offer it".into()),
    }
}

fn storage(facts: &Facts) -> Verdict {
    let offer = facts.offer.as_ref().map_err(|_| "libvirt does not answer".to_owned())?;
    let pool = offer.storage.as_ref().map_err(Clone::clone)?;
    Ok(format!("pool {} in {}", pool.name, pool.path))
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
        return Ok(format!("{} on {}, no bridge wanted", way.address, card.name));
    };
    if card.bridge.as_ref() != Some(wanted) {
        let why = situation.bridge_trouble.as_deref().unwrap_or("it is being set up");
        return Err(format!("no bridge {wanted} over {} yet: {why}", card.name));
    }
    let plug = facts
        .offer
        .as_ref()
        .map_err(|_| "libvirt does not answer".to_owned())?
        .network
        .clone()?;
    let plug = plug.ok_or("libvirt has no network for guests yet")?;
    Ok(format!(
        "{} on {wanted} over {}; guests plug into {plug}",
        way.address, card.name
    ))
}

fn clock(facts: &Facts) -> Verdict {
    let tracking = facts.tracking.as_ref().map_err(Clone::clone)?;
    let (passed, detail) = tracking.judge(&facts.servers);
    if passed { Ok(detail) } else { Err(detail) }
}

fn capsule(situation: &Situation) -> Verdict {
    situation.capsule.clone().map(|()| "kept by the controller".into())
}

fn services(facts: &Facts) -> Verdict {
    let on = |unit: &&str| {
        facts
            .units
            .get(*unit)
            .is_some_and(|state| matches!(state.as_str(), "enabled" | "alias"))
    };
    let off: Vec<String> = UNITS
        .iter()
        .filter(|unit| !on(unit))
        .map(|unit| say(facts, unit))
        .collect();
    if off.is_empty() {
        Ok("all start by themselves".into())
    } else {
        Err(off.join(", "))
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
