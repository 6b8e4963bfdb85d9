// SPDX-License-Identifier: Apache-2.0
//! From what is written to what is meant: defaults are filled in, words become values, and what cannot be meant is
//! said with the name of its option.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use provisioner_api::{cmdline, words};
use pxe::argument::Argument;

use super::written::{self, Written};
use super::{Config, Dns, Http, Limits, Log, LogFormat, Nodes, Paths, Ports, Share, addresses, is_host_name};

mod enrolment;
mod networks;
mod profiles;
mod rules;

pub use rules::mac_prefix;

/// The serial line for machines without a screen, the screen for everybody else; few kernel messages between
/// what node-init writes large; a kernel that dies starts over when a person has had time to read why; and a root file
/// system that may fill more than half of the RAM, or a machine with too little dies unpacking, before anything can
/// say so.
const RAM_KERNEL_ARGS: &str = "console=ttyS0,115200 console=tty0 loglevel=4 panic=60 rootfstype=ramfs";
/// The profile that is there when the file defines none.
pub(super) const PROFILE: &str = "compute";
/// One heartbeat in ten seconds costs a node 0.3 % of a core at most.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Four heartbeats: one may be lost on a busy wire, three are not.
const LOST_AFTER: Duration = Duration::from_secs(45);
/// A slow disk checks itself, grows its file system and starts libvirt in a few minutes; software-virtualized in ten.
const FIRST_BOOT: Duration = Duration::from_mins(20);
/// Between two words of an installer it may fetch and unpack hundreds of packages, on a slow wire onto a slow disk.
const INSTALLER: Duration = Duration::from_hours(2);

/// A thousand PCs that are switched on together fetch in turns; each tries again.
const TFTP: Share = Share {
    total: 1024,
    // UEFI keeps its question for the size open while it fetches, and a ROM that was restarted leaves an old one behind.
    per_address: 8,
};
/// A thousand nodes hold two each (long poll, heartbeat); what is beyond is a flood.
const HTTP: Share = Share {
    total: 4096,
    // A node in the middle of an image has about eight, a browser six.
    per_address: 64,
};

/// The domain for names that are nobody else's: `.internal` is set aside for private use for ever.
const DOMAIN: &str = "gleaner.internal";
/// RFC 1035, 2.3.4 allows 253 characters in all; a node's name is up to 63 of them.
const LONGEST_DOMAIN: usize = 189;

/// Means what is written. `folder` is where the file lies.
pub(super) fn validate(written: Written, folder: &Path) -> Result<Config> {
    let paths = paths(written.paths, folder);
    let own_roles = written.roles.unwrap_or_else(|| paths.config.join("roles"));
    let roles = crate::roles::load(&own_roles).context("roles")?;
    let profiles = profiles::profiles(written.profiles, &roles)?;
    let default_profile = match (written.default_profile, profiles.len()) {
        (Some(name), _) => name,
        // A file that defines one profile means that one.
        (None, 1) => profiles.keys().next().cloned().unwrap_or_default(),
        (None, _) => PROFILE.into(),
    };
    ensure!(
        profiles.contains_key(&default_profile),
        "default_profile: there is no [profiles.{default_profile}]"
    );
    let templates = written.templates.unwrap_or_else(|| paths.config.join("templates"));
    let interfaces = written.interfaces.unwrap_or_default();
    check_interfaces(&interfaces)?;
    let dhcp = networks::dhcp("dhcp", &written.dhcp, None)?;
    let (subnets, reservations) = (
        networks::subnets(&written.subnets, &dhcp)?,
        networks::reservations(written.reservations)?,
    );
    // What depends on our own addresses is looked at where they are known.
    let far = reservations
        .iter()
        .filter(|own| subnets.iter().any(|subnet| subnet.contains(own.address)));
    let far: Vec<_> = far.cloned().collect();
    let wrong = addresses::wrong(&[], &subnets, &far, true);
    if let Some(wrong) = wrong.first() {
        bail!("{wrong}");
    }
    Ok(Config {
        site: written.site.unwrap_or_else(|| "Gleaner".into()),
        paths,
        segments: networks::segments(&written.segments, &dhcp, &interfaces)?,
        subnets,
        reservations,
        enrolment: enrolment::enrolment(&written.enrolment, &interfaces)?,
        interfaces,
        dhcp,
        ports: ports(&written.ports)?,
        dns: dns(written.dns)?,
        ntp: written.ntp.unwrap_or(true),
        limits: limits(&written.limits)?,
        http: http(written.http)?,
        nodes: nodes(written.nodes)?,
        ram_kernel_args: ram_kernel_args(written.ram_kernel_args.as_deref().unwrap_or(RAM_KERNEL_ARGS))?,
        default_profile,
        rules: rules::rules(written.auto_approve, &profiles)?,
        roles,
        templates,
        profiles,
        packages: super::Packages::validate(written.packages)?,
        log: log(written.log)?,
    })
}

fn paths(written: written::Paths, folder: &Path) -> Paths {
    // systemd makes the folders and names them (systemd.exec(5)); several are separated by colons.
    let systemd = |variable: &str| {
        let named = std::env::var(variable).ok()?;
        named
            .split(':')
            .next()
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    Paths {
        config: written.config.unwrap_or_else(|| folder.to_owned()),
        state: written
            .state
            .or_else(|| systemd("STATE_DIRECTORY"))
            .unwrap_or_else(|| "/var/lib/gleaner".into()),
        run: written
            .run
            .or_else(|| systemd("RUNTIME_DIRECTORY"))
            .unwrap_or_else(|| "/run/gleaner".into()),
    }
}

fn limits(written: &written::Limits) -> Result<Limits> {
    let share = |option: &str, total: Option<usize>, each: Option<usize>, default: Share| {
        let share = Share {
            total: total.unwrap_or(default.total),
            per_address: each.unwrap_or(default.per_address),
        };
        ensure!(
            share.total > 0 && share.per_address > 0,
            "limits.{option}: 0 would serve nobody"
        );
        Ok(share)
    };
    let (all, each) = (written.tftp_transfers, written.tftp_transfers_per_address);
    let tftp = share("tftp_transfers", all, each, TFTP)?;
    let (all, each) = (written.http_connections, written.http_connections_per_address);
    let http = share("http_connections", all, each, HTTP)?;
    Ok(Limits { tftp, http })
}

fn http(written: written::Http) -> Result<Http> {
    let name = |name: String| {
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        let is_name = plain.len() <= LONGEST_DOMAIN && plain.split('.').all(is_host_name);
        ensure!(
            is_name || plain.parse::<IpAddr>().is_ok(),
            "http.names: {name:?} is no name of a host and no address, like \"gleaner.example.org\", without http:// and port"
        );
        Ok(plain)
    };
    Ok(Http {
        names: written.names.into_iter().map(name).collect::<Result<_>>()?,
    })
}

/// What both kinds of boot script can carry, and what does not take the place of our own words: the kernel and node-init
/// believe the last of two.
fn ram_kernel_args(line: &str) -> Result<Vec<Argument>> {
    ensure!(
        line.len() <= words::LONGEST_KERNEL_LINE && !line.contains(char::is_control),
        "ram_kernel_args: must be one line of {} bytes at most, or the kernel cuts it off",
        words::LONGEST_KERNEL_LINE
    );
    let arguments = Argument::several(line).context("ram_kernel_args")?;
    for argument in &arguments {
        let ours = [cmdline::CONTROLLER, cmdline::PIN, cmdline::BOOTIF, "initrd"].contains(&argument.key());
        ensure!(
            !ours,
            "ram_kernel_args: {argument} would take the place of what the boot script says itself; leave it out"
        );
    }
    Ok(arguments)
}

fn check_interfaces(interfaces: &[String]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in interfaces {
        // IFNAMSIZ less the zero at the end; the kernel takes neither slashes nor blanks in one (dev_valid_name).
        let fits =
            (1..=15).contains(&name.len()) && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
        ensure!(
            fits,
            "interfaces: {name:?} cannot be the name of an interface; `ip link` lists those that there are"
        );
        ensure!(
            name != "lo",
            "interfaces: no machine is on the loopback; name the interface that the machines are on"
        );
        ensure!(seen.insert(name), "interfaces: {name} is named twice");
    }
    Ok(())
}

fn dns(written: written::Dns) -> Result<Option<Dns>> {
    let domain = written.domain.unwrap_or_else(|| DOMAIN.into()).to_ascii_lowercase();
    ensure!(
        domain.len() <= LONGEST_DOMAIN && words::domain(&domain).is_ok(),
        "dns.domain: {domain:?} is no domain (letters, digits and hyphens between dots, no dot at the end)"
    );
    for server in written.forward.iter().flatten() {
        ensure!(
            !server.is_unspecified() && !server.is_multicast(),
            "dns.forward: {server} is nobody's address; name the address of a name server"
        );
    }
    Ok(written.serve.unwrap_or(true).then(|| Dns {
        domain,
        forward: written.forward.unwrap_or_default(),
    }))
}

fn ports(written: &written::Ports) -> Result<Ports> {
    let ports = Ports {
        dhcp: written.dhcp.unwrap_or(67),
        pxe: written.pxe.unwrap_or(4011),
        tftp: written.tftp.unwrap_or(69),
        ntp: written.ntp.unwrap_or(123),
        dns: written.dns.unwrap_or(53),
        http: written.http.unwrap_or(8080),
        api: written.api.unwrap_or(8443),
        packages: written.packages.unwrap_or(3142),
    };
    let Ports {
        dhcp,
        pxe,
        tftp,
        ntp,
        dns,
        http,
        api,
        packages,
    } = ports;
    apart(&[("dhcp", dhcp), ("pxe", pxe), ("tftp", tftp), ("ntp", ntp), ("dns", dns)])?;
    apart(&[("http", http), ("api", api), ("packages", packages), ("dns", dns)])?;
    Ok(ports)
}

/// Ports of one protocol; 0 is whichever the kernel gives.
fn apart(ports: &[(&str, u16)]) -> Result<()> {
    for (at, (name, port)) in ports.iter().enumerate() {
        let same = ports[..at].iter().find(|(_, other)| other == port && *port != 0);
        if let Some((other, _)) = same {
            bail!("ports.{name}: {port} is ports.{other} already; each needs a port of its own");
        }
    }
    Ok(())
}

fn nodes(written: written::Nodes) -> Result<Nodes> {
    let name_pattern = written.name.unwrap_or_else(|| "node-###".into());
    let hashes = name_pattern.trim_matches(|c| c != '#');
    // RFC 1123 section 2.1: letters, digits and dashes, and a name does not begin or end with a dash.
    let letters = name_pattern
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '#');
    ensure!(
        letters && !hashes.is_empty() && hashes.chars().all(|c| c == '#') && name_pattern.len() <= 50,
        "nodes.name: {name_pattern:?} is not like \"node-###\" (lower case letters, digits, dashes, one run of #)"
    );
    ensure!(
        !name_pattern.starts_with('-') && !name_pattern.ends_with('-'),
        "nodes.name: no dash at either end"
    );
    let heartbeat = time("nodes.heartbeat", written.heartbeat.as_deref(), HEARTBEAT)?;
    let lost_after = time(
        "nodes.lost_after",
        written.lost_after.as_deref(),
        LOST_AFTER.max(heartbeat * 3),
    )?;
    ensure!(
        heartbeat >= Duration::from_secs(1),
        "nodes.heartbeat: at least one second"
    );
    ensure!(
        lost_after > heartbeat,
        "nodes.lost_after: must be longer than nodes.heartbeat"
    );
    let first_boot_timeout = time(
        "nodes.first_boot_timeout",
        written.first_boot_timeout.as_deref(),
        FIRST_BOOT,
    )?;
    let installer_timeout = time(
        "nodes.installer_timeout",
        written.installer_timeout.as_deref(),
        INSTALLER,
    )?;
    Ok(Nodes {
        name_pattern,
        heartbeat,
        lost_after,
        first_boot_timeout,
        installer_timeout,
    })
}

fn log(written: written::Log) -> Result<Log> {
    let filter = written.filter.unwrap_or_else(|| "info".into());
    let tried = tracing_subscriber::EnvFilter::try_new(&filter);
    tried.with_context(|| format!("log.filter: {filter:?} is not like \"info\" or \"provisioner=debug\""))?;
    Ok(Log {
        format: match written.format {
            None | Some(written::Format::Pretty) => LogFormat::Pretty,
            Some(written::Format::Json) => LogFormat::Json,
        },
        filter,
    })
}

fn time(option: &str, text: Option<&str>, default: Duration) -> Result<Duration> {
    let Some(text) = text else { return Ok(default) };
    let parsed = text
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|span| Duration::try_from(span).ok());
    parsed
        .filter(|span| !span.is_zero())
        .with_context(|| format!("{option}: {text:?} is not a time like \"90s\", \"15m\" or \"1h 30m\""))
}

/// Bytes from "40 GB" (decimal, as on a disk's label) or "512 MiB".
pub(super) fn size(option: &str, text: &str) -> Result<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: Option<u64> = match unit.trim() {
        "B" => Some(1),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor));
    bytes.with_context(|| format!("{option}: {text:?} is not a size like \"40 GB\" or \"512 MiB\""))
}
