// SPDX-License-Identifier: Apache-2.0
//! Looks at this machine: the facts from which [`super::server`] says what is wrong.

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;

use super::firewall::{Door, Protocol, closed_by_iptables, closed_by_nft};
use super::server::{Facts, Port};
use crate::config::{Config, addresses};
use crate::network::interfaces;
use crate::serve::{holder, holder_at};
use crate::state;

/// Where administrators' programs lie, for a shell that does not look there.
const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";
/// When this program was made can be told by its file: the date on it is the package's or the build's.
const PROGRAM: &str = "/proc/self/exe";

/// What can be found out with the caller's rights; `running` says whether a provisioner answers.
pub fn look(config: &Config, running: bool, now: i64) -> Facts {
    let ports = ports(config);
    // Time as well: whoever serves it on this machine, nodes must reach it.
    let time = (config.ntp && config.ports.ntp != 0).then_some((Protocol::Udp, config.ports.ntp));
    let wanted = ports.iter().map(|port| (port.protocol, port.number));
    let packages = crate::packages::is_wanted(config).then_some((Protocol::Tcp, config.ports.packages));
    let wanted: Vec<(Protocol, u16)> = wanted.chain(time).chain(packages).collect();
    let (no_interface, addresses) = match interfaces(&config.interfaces, &config.mentioned()) {
        Ok(here) => (None, addresses::wrong_here(config, here)),
        Err(error) => (config.serves_dhcp().then(|| format!("{error:#}")), Vec::new()),
    };
    Facts {
        running,
        ports,
        closed: closed(&wanted),
        no_interface,
        addresses,
        room: room(&config.paths.state),
        state: (!running).then(|| state::trouble(&config.paths.state)).flatten(),
        exposed: state::readable_by_others(&config.paths.state),
        trusts: trusts(&config.paths.trusted_keys()),
        built: built(now),
        now,
        ..Facts::default()
    }
}

fn ports(config: &Config) -> Vec<Port> {
    let needed = [
        ("DHCP", Protocol::Udp, config.ports.dhcp, config.serves_dhcp()),
        ("PXE boot server", Protocol::Udp, config.ports.pxe, config.serves_dhcp()),
        ("TFTP", Protocol::Udp, config.ports.tftp, true),
        ("HTTP", Protocol::Tcp, config.ports.http, true),
        ("API", Protocol::Tcp, config.ports.api, true),
    ];
    let needed = needed
        .into_iter()
        .filter(|(_, _, number, needed)| *needed && *number != 0);
    needed
        .map(|(name, protocol, number, _)| Port {
            name,
            protocol,
            number,
            holder: holder(&protocol.word().to_lowercase(), number),
            spare: None,
        })
        .chain(names(config))
        .collect()
}

/// The ports for names of nodes: on our own addresses only, other programs of this machine may have the rest.
fn names(config: &Config) -> Vec<Port> {
    let number = config.ports.dns;
    if config.dns.is_none() || number == 0 {
        return Vec::new();
    }
    let served = interfaces(&config.interfaces, &config.mentioned()).unwrap_or_default();
    let port = |protocol: Protocol| Port {
        name: "DNS",
        protocol,
        number,
        holder: served.iter().find_map(|interface| {
            let at = SocketAddrV4::new(interface.address, number);
            holder_at(&protocol.word().to_lowercase(), at)
        }),
        spare: Some("stop that program there, or set serve = false in [dns]: names of nodes are not answered"),
    };
    vec![port(Protocol::Udp), port(Protocol::Tcp)]
}

/// What the firewall closes, as far as this user may see it.
fn closed(wanted: &[(Protocol, u16)]) -> Vec<Door> {
    let nft = say("nft", &["list", "ruleset"]).map_or_else(Vec::new, |rules| closed_by_nft(&rules, wanted));
    let legacy = ["iptables-legacy-save", "iptables-save"]
        .into_iter()
        .find_map(|program| say(program, &["-t", "filter"]));
    let legacy = legacy.map_or_else(Vec::new, |rules| closed_by_iptables(&rules, wanted));
    let same = |door: &Door| {
        nft.iter()
            .any(|other| (other.protocol, other.port) == (door.protocol, door.port))
    };
    let legacy: Vec<Door> = legacy.into_iter().filter(|door| !same(door)).collect();
    nft.into_iter().chain(legacy).collect()
}

/// What a program prints; `None` where it is not installed or may not.
fn say(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env("PATH", PATH).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Bytes free where the state is, or will be.
pub fn room(state: &Path) -> Option<(u64, std::path::PathBuf)> {
    let there = state.ancestors().find(|folder| folder.exists())?;
    let about = nix::sys::statvfs::statvfs(there).ok()?;
    Some((about.blocks_available() * about.fragment_size(), state.to_owned()))
}

fn trusts(keys: &Path) -> bool {
    std::fs::read_dir(keys).is_ok_and(|files| {
        files
            .flatten()
            .any(|file| file.path().extension().is_some_and(|extension| extension == "pub"))
    })
}

/// Unix milliseconds at which this program was made; `now` where that cannot be told.
pub fn built(now: i64) -> i64 {
    let made = std::fs::metadata(PROGRAM).and_then(|about| about.modified());
    let since = made
        .ok()
        .and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(now, |since| i64::try_from(since.as_millis()).unwrap_or(now))
}
