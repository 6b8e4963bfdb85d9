// SPDX-License-Identifier: Apache-2.0
//! What is wrong with the server itself: from facts that [`super::look`] has gathered to sentences. Pure.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use provisioner_api::Finding;

use super::firewall::{Door, Protocol};
use super::installers::{self, Installers};

/// Bytes below which an import fails: an image of a gigabyte and some room for the database.
const LITTLE: u64 = 2_000_000_000;
/// Bytes below which leases and states cannot be kept any more.
pub const NONE: u64 = 50_000_000;
/// Days after which a RAM environment has missed more than one round of security updates.
const STALE: i64 = 180;
/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// What was found out.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether a provisioner answers on the control socket.
    pub running: bool,
    /// The ports that it needs, and who has them.
    pub ports: Vec<Port>,
    /// Ports that the firewall does not let in.
    pub closed: Vec<Door>,
    /// Segments that were ours alone until another server appeared: interface and server.
    pub interrupted: Vec<(String, Ipv4Addr)>,
    /// Networks that are to be served and are not: their interfaces are gone, or their ports are not to be had.
    pub unserved: Vec<String>,
    /// Why no interface is served; `None` where some are.
    pub no_interface: Option<String>,
    /// Addresses of the settings that no machine can have on the networks of now, in words.
    pub addresses: Vec<String>,
    /// Bytes free where the state is, and where that is.
    pub room: Option<(u64, PathBuf)>,
    /// Why the server cannot start on its state; `None` where it can, or runs.
    pub state: Option<String>,
    /// Files of the state that others may read.
    pub exposed: Vec<PathBuf>,
    /// Whether any key is trusted to sign images.
    pub trusts: bool,
    /// When this program was built, Unix milliseconds: the clock cannot be earlier.
    pub built: i64,
    /// Unix milliseconds.
    pub now: i64,
    /// What a running server says of its images and services; nothing where it does not run.
    pub warnings: Vec<String>,
    /// What keeps installers from doing what the settings say.
    pub installers: Installers,
    /// Seconds since 1970 of the sources of the RAM environment that is booted.
    pub ram_created: Option<i64>,
}

/// A port that the server needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// `DHCP`, `TFTP`.
    pub name: &'static str,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
    /// The program that has it; `None` where nobody or nobody that may be seen.
    pub holder: Option<String>,
    /// What to do where the server goes on without it; `None` where it cannot.
    pub spare: Option<&'static str>,
}

/// Everything that is wrong.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    clock(facts, &mut findings);
    if !facts.running {
        findings.push(finding(
            "not-running",
            "the provisioner is not running",
            "start it: systemctl start gleaner-provisioner, or sudo provisioner serve",
        ));
        findings.extend(facts.ports.iter().filter_map(taken));
    }
    findings.extend(facts.state.as_deref().map(state));
    findings.extend(facts.exposed.iter().map(|path| exposed(path)));
    if let Some(why) = &facts.no_interface {
        let (says, action) = why.split_once("; ").unwrap_or((why, "give it a fixed address"));
        findings.push(finding("no-interface", says, action));
    }
    findings.extend(facts.addresses.iter().map(|wrong| impossible(wrong)));
    findings.extend(facts.closed.iter().map(closed));
    findings.extend(facts.unserved.iter().map(|network| unserved(network)));
    findings.extend(facts.interrupted.iter().map(interrupted));
    room(facts, &mut findings);
    if !facts.trusts {
        findings.push(finding(
            "no-trusted-key",
            "no key is trusted to sign images, so no image can be used",
            "trust the one that signs yours: provisioner init --trust FILE.pub",
        ));
    }
    if let Some(days) = facts.ram_created.map(|created| (facts.now - created * 1000) / DAY)
        && days > STALE
    {
        findings.push(Finding {
            grave: false,
            ..finding(
                "ram-stale",
                format!("the RAM environment is {days} days old"),
                "build and import a new one: make images, provisioner image import FOLDER",
            )
        });
    }
    findings.extend(installers::examine(&facts.installers));
    findings.extend(facts.warnings.iter().map(|warning| told(warning)));
    findings
}

/// What the server's own warnings say: what happened; what to do.
pub fn told(warning: &str) -> Finding {
    let (says, action) = warning
        .rsplit_once("; ")
        .or_else(|| warning.split_once(": "))
        .unwrap_or((warning, "see: provisioner status"));
    finding("warning", says, action)
}

/// The clock: certificates, tokens and leases live by it.
fn clock(facts: &Facts, findings: &mut Vec<Finding>) {
    if facts.now < facts.built {
        findings.push(finding(
            "clock-wrong",
            "this machine's clock is earlier than this program",
            "set it: timedatectl set-ntp true, or date -s; then look at its battery",
        ));
    }
}

fn state(why: &str) -> Finding {
    let (says, action) = why
        .split_once(". ")
        .or_else(|| why.split_once("; "))
        .unwrap_or((why, "see docs/admin.md"));
    finding("state", says, action)
}

fn exposed(path: &Path) -> Finding {
    finding(
        "files-exposed",
        format!(
            "others may read {}: keys of the server or of nodes are in it",
            path.display()
        ),
        format!("take that from them: chmod 600 {}", path.display()),
    )
}

fn room(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some((free, folder)) = &facts.room else { return };
    let says = format!("{} MB are free in {}", free / 1_000_000, folder.display());
    if *free < NONE {
        findings.push(finding(
            "disk-full",
            says,
            "make room: nothing can be remembered any more",
        ));
    } else if *free < LITTLE {
        findings.push(Finding {
            grave: false,
            ..finding("disk-low", says, "make room before the next image is imported")
        });
    }
}

fn taken(port: &Port) -> Option<Finding> {
    let holder = port.holder.as_ref()?;
    let action = "stop that program, or move this one's port in [ports]";
    let says = format!(
        "{} port {} ({}) is taken by {holder}",
        port.protocol.word(),
        port.number,
        port.name
    );
    Some(Finding {
        grave: port.spare.is_none(),
        ..finding("port-taken", says, port.spare.unwrap_or(action))
    })
}

/// The server refuses to start with them; one that runs gives them to nobody.
fn impossible(wrong: &str) -> Finding {
    let (says, action) = wrong.rsplit_once("; ").unwrap_or((wrong, "correct the settings"));
    finding(
        "addresses",
        says,
        format!("{action}; then: provisioner check-config, and restart the provisioner"),
    )
}

fn unserved(network: &str) -> Finding {
    finding(
        "interface-unserved",
        format!(
            "machines on {network} are not served: its interface is gone or down, has no IPv4 address, or cannot be used"
        ),
        "plug it in or bring it up with its address: it is then served by itself; why it is not is told by provisioner \
         status. If it is not to come back, leave it out of the settings and restart the provisioner",
    )
}

/// Not grave: machines boot on, with addresses from there.
fn interrupted((interface, server): &(String, Ipv4Addr)) -> Finding {
    Finding {
        grave: false,
        ..finding(
            "dhcp-interrupted",
            format!("{server} has begun to answer DHCP on {interface}, so no address is leased there any more"),
            "if it should not be there, unplug it: leasing begins again ten minutes later, or at a restart",
        )
    }
}

fn closed(door: &Door) -> Finding {
    let protocol = door.protocol.word();
    finding(
        "firewall",
        format!("the firewall drops {protocol} port {} ({})", door.port, door.rule),
        format!(
            "let it in: nft insert rule {} {} dport {} accept",
            door.chain,
            protocol.to_lowercase(),
            door.port
        ),
    )
}

pub(super) fn finding(symptom: &str, says: impl Into<String>, action: impl Into<String>) -> Finding {
    Finding {
        about: "server".into(),
        symptom: symptom.into(),
        says: says.into(),
        action: action.into(),
        grave: true,
        since: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Facts {
        Facts {
            running: true,
            trusts: true,
            room: Some((100_000_000_000, "/var/lib/gleaner".into())),
            now: 1_800_000_000_000,
            built: 1_790_000_000_000,
            ..Facts::default()
        }
    }

    fn symptoms(facts: &Facts) -> Vec<String> {
        let findings = examine(facts);
        assert!(
            findings
                .iter()
                .all(|finding| !finding.says.is_empty() && !finding.action.is_empty()),
            "{findings:#?}"
        );
        findings.into_iter().map(|finding| finding.symptom).collect()
    }

    #[test]
    fn a_server_that_is_well_has_no_symptom() {
        assert_eq!(symptoms(&well()), [""; 0]);
    }

    #[test]
    #[allow(clippy::too_many_lines)] // a table
    fn every_fault_of_the_server_is_told_with_what_to_do() {
        let door = Door {
            protocol: Protocol::Udp,
            port: 69,
            chain: "inet filter input".into(),
            rule: "policy drop".into(),
        };
        let no_interface = "no interface is up with an IPv4 address; give the one that the PCs are on a fixed address";
        for (facts, symptom) in [
            (Facts { now: 0, ..well() }, "clock-wrong"),
            (
                Facts {
                    running: false,
                    ..well()
                },
                "not-running",
            ),
            (
                Facts {
                    closed: vec![door],
                    ..well()
                },
                "firewall",
            ),
            (
                Facts {
                    no_interface: Some(no_interface.into()),
                    ..well()
                },
                "no-interface",
            ),
            (
                Facts {
                    room: Some((1, "/".into())),
                    ..well()
                },
                "disk-full",
            ),
            (
                Facts {
                    room: Some((LITTLE - 1, "/".into())),
                    ..well()
                },
                "disk-low",
            ),
            (
                Facts {
                    state: Some("the database is damaged (x); put a backup in its place".into()),
                    ..well()
                },
                "state",
            ),
            (
                Facts {
                    exposed: vec!["/var/lib/gleaner/tls/server.key".into()],
                    ..well()
                },
                "files-exposed",
            ),
            (
                Facts {
                    trusts: false,
                    ..well()
                },
                "no-trusted-key",
            ),
            (
                Facts {
                    interrupted: vec![("br0".into(), Ipv4Addr::new(192, 0, 2, 1))],
                    ..well()
                },
                "dhcp-interrupted",
            ),
            (
                Facts {
                    addresses: vec!["reservations: 10.77.0.1 is this server's own; choose another".into()],
                    ..well()
                },
                "addresses",
            ),
            (
                Facts {
                    unserved: vec!["eth1".into()],
                    ..well()
                },
                "interface-unserved",
            ),
            (
                Facts {
                    ram_created: Some(1_700_000_000),
                    ..well()
                },
                "ram-stale",
            ),
            (
                Facts {
                    warnings: vec!["no RAM environment; import one".into()],
                    ..well()
                },
                "warning",
            ),
        ] {
            assert_eq!(symptoms(&facts), [symptom]);
        }
    }

    #[test]
    fn a_port_that_is_taken_is_grave_where_the_server_cannot_do_without() {
        let port = Port {
            name: "DHCP",
            protocol: Protocol::Udp,
            number: 67,
            holder: Some("dnsmasq (process 7)".into()),
            spare: None,
        };
        let spare = Port {
            name: "DNS",
            spare: Some("stop it there"),
            ..port.clone()
        };
        let facts = Facts {
            running: false,
            ports: vec![port, spare],
            ..well()
        };
        assert_eq!(symptoms(&facts), ["not-running", "port-taken", "port-taken"]);
        let findings = examine(&facts);
        assert!(findings[1].says.contains("dnsmasq (process 7)"));
        assert!(
            findings[1].grave && !findings[2].grave,
            "the server goes on without DNS"
        );
    }
}
