// SPDX-License-Identifier: Apache-2.0
//! From what is written to what is meant: defaults are filled in, words become values, and what cannot be meant is
//! said with the name of its option.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::written::{self, Written};
use super::{
    Config, Dns, Enrolment, Http, Limits, Log, LogFormat, Nodes, Paths, Place, Ports, Profile, Share, Unknown,
    is_host_name,
};
use crate::rules::{Conditions, Rule};

mod networks;
mod profiles;

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
    let dhcp = networks::dhcp("dhcp", &written.dhcp, None)?;
    let approving = written.auto_approve.into_iter().map(|rule| rule_of(rule, &profiles));
    Ok(Config {
        site: written.site.unwrap_or_else(|| "Gleaner".into()),
        paths,
        segments: networks::segments(&written.segments, &dhcp, &interfaces)?,
        subnets: networks::subnets(&written.subnets, &dhcp)?,
        reservations: networks::reservations(written.reservations)?,
        interfaces,
        dhcp,
        ports: ports(&written.ports),
        dns: dns(written.dns)?,
        ntp: written.ntp.unwrap_or(true),
        limits: limits(&written.limits)?,
        http: http(written.http)?,
        nodes: nodes(written.nodes)?,
        ram_kernel_args: one_line(
            "ram_kernel_args",
            written.ram_kernel_args.unwrap_or_else(|| RAM_KERNEL_ARGS.into()),
        )?,
        default_profile,
        rules: approving.collect::<Result<_>>()?,
        roles,
        templates,
        profiles,
        enrolment: enrolment(&written.enrolment)?,
        packages: super::Packages::validate(written.packages)?,
        log: log(written.log),
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

fn enrolment(written: &written::Enrolment) -> Result<Enrolment> {
    let unknown = |written: written::Unknown| match written {
        written::Unknown::Auto => Unknown::Auto,
        written::Unknown::Enrol => Unknown::Enrol,
        written::Unknown::Ask => Unknown::Ask,
        written::Unknown::Ignore => Unknown::Ignore,
    };
    let segments = written
        .segments
        .iter()
        .map(|(name, written)| Ok((place(name)?, unknown(*written))));
    Ok(Enrolment {
        unknown: written.unknown.map_or(Unknown::Auto, unknown),
        segments: segments.collect::<Result<_>>()?,
    })
}

fn place(name: &str) -> Result<Place> {
    let Some((network, prefix)) = name.split_once('/') else {
        return Ok(Place::Interface(name.to_owned()));
    };
    let network = network
        .parse()
        .ok()
        .zip(prefix.parse().ok().filter(|prefix| *prefix <= 32));
    let (network, prefix) =
        network.with_context(|| format!("enrolment.segments: {name:?} is not like \"198.51.100.0/24\""))?;
    Ok(Place::Network(network, prefix))
}

fn dns(written: written::Dns) -> Result<Option<Dns>> {
    let domain = written.domain.unwrap_or_else(|| DOMAIN.into()).to_ascii_lowercase();
    // RFC 1035, 2.3.1: letters, digits and hyphens, up to 63 of them between dots.
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !(label.starts_with('-') || label.ends_with('-'))
    };
    ensure!(
        domain.len() <= LONGEST_DOMAIN && domain.split('.').all(is_label),
        "dns.domain: {domain:?} is no domain (letters, digits and hyphens between dots, no dot at the end)"
    );
    Ok(written.serve.unwrap_or(true).then(|| Dns {
        domain,
        forward: written.forward.unwrap_or_default(),
    }))
}

fn ports(written: &written::Ports) -> Ports {
    Ports {
        dhcp: written.dhcp.unwrap_or(67),
        pxe: written.pxe.unwrap_or(4011),
        tftp: written.tftp.unwrap_or(69),
        ntp: written.ntp.unwrap_or(123),
        dns: written.dns.unwrap_or(53),
        http: written.http.unwrap_or(8080),
        api: written.api.unwrap_or(8443),
        packages: written.packages.unwrap_or(3142),
    }
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

fn rule_of(written: written::Rule, profiles: &BTreeMap<String, Profile>) -> Result<Rule> {
    let name = written.name;
    let option = |option: &str| format!("auto_approve {name:?}: {option}");
    if let Some(profile) = &written.profile {
        ensure!(
            profiles.contains_key(profile),
            "{}: there is no [profiles.{profile}]",
            option("profile")
        );
    }
    let size = |what: &str, text: Option<String>| text.map(|text| size(&option(what), &text)).transpose();
    let when = Conditions {
        manufacturer: written.manufacturer,
        product: written.product,
        memory_min: size("memory_min", written.memory_min)?,
        disk_min: size("disk_min", written.disk_min)?,
        cpu_64bit: written.cpu_64bit,
        kvm: written.kvm,
        mac_prefix: written.mac_prefix.map(|prefix| prefix.to_lowercase().replace('-', ":")),
        firmware: written.firmware,
        disks_empty: written.disks_empty,
    };
    Ok(Rule {
        profile: written.profile,
        when,
        name,
    })
}

fn log(written: written::Log) -> Log {
    Log {
        format: match written.format {
            None | Some(written::Format::Pretty) => LogFormat::Pretty,
            Some(written::Format::Json) => LogFormat::Json,
        },
        filter: written.filter.unwrap_or_else(|| "info".into()),
    }
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

/// Kernel arguments become part of one line of a boot script.
pub(super) fn one_line(option: &str, text: String) -> Result<String> {
    ensure!(!text.chars().any(char::is_control), "{option}: must be one line");
    Ok(text)
}
