// SPDX-License-Identifier: Apache-2.0
//! The example is the documentation: it must say the truth, and all of it.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::disks::Choose;

mod never;

const FOLDER: &str = "/etc/gleaner";

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new(FOLDER))
}

/// The example with every commented option switched on.
fn everything() -> String {
    let on = |line: &str| {
        let option = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
        option.unwrap_or(line).to_owned()
    };
    EXAMPLE.lines().map(on).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_says_what_the_defaults_are() {
    assert_eq!(parse(EXAMPLE).unwrap(), parse("").unwrap());
}

#[test]
fn every_option_of_the_example_is_understood() {
    let config = parse(&everything()).unwrap();
    assert_eq!(config.rules.len(), 1);
    assert_eq!(
        config.profiles["compute"].image().unwrap().root_size,
        Some(40_000_000_000)
    );
    let installer = config.profiles["by-installer"].installer().unwrap();
    assert_eq!((installer.os.name, installer.vlan), ("debian-13", Some(12)));
    assert_eq!(
        config.dhcp.pool,
        Some(("192.0.2.128".parse().unwrap(), "192.0.2.254".parse().unwrap()))
    );
}

#[test]
fn every_option_that_is_read_is_in_the_example() {
    let source = include_str!("written.rs");
    let options = source.lines().filter_map(|line| {
        let field = line.trim().strip_prefix("pub(super) ")?;
        field.split_once(':').map(|(name, _)| name)
    });
    let example = everything();
    for option in options {
        let listed = [
            format!("\n{option} ="),
            format!("[{option}"),
            format!("[[{option}"),
            format!(".{option}]"),
        ];
        assert!(
            listed.iter().any(|form| example.contains(form)),
            "{option} is not in the example"
        );
    }
}

#[test]
fn a_mistake_is_named_with_its_option() {
    let refused = |text: &str, word: &str| {
        let error = format!("{:#}", parse(text).unwrap_err());
        assert!(error.contains(word), "{text}: {error}");
    };
    refused("sight = \"x\"", "sight");
    refused("[dhcp]\nmode = \"loud\"", "loud");
    refused("[dhcp]\npool = \"192.0.2.9-192.0.2.1\"", "dhcp.pool");
    refused(
        "interfaces = [\"eth0\"]\n[segments.eth1]\nmode = \"off\"",
        "segments.eth1",
    );
    refused("[segments.eth1]\npool = \"all\"", "segments.eth1.pool");
    refused("[[subnets]]\nnetwork = \"198.51.100.7/24\"", "198.51.100.7/24");
    refused(
        "[[subnets]]\nnetwork = \"198.51.100.0/24\"\npool = \"192.0.2.1-192.0.2.9\"",
        "pool",
    );
    refused(
        "[[subnets]]\nnetwork = \"198.51.100.0/24\"\n[[subnets]]\nnetwork = \"198.51.100.128/25\"",
        "overlaps",
    );
    let reserved = |mac: &str, address: &str, name: &str| {
        format!("[[reservations]]\nmac = \"{mac}\"\naddress = \"{address}\"\nname = \"{name}\"\n")
    };
    let printer = reserved("52:54:00:12:34:56", "192.0.2.20", "printer");
    refused(&reserved("52:54:00", "192.0.2.20", "printer"), "52:54:00");
    refused(&reserved("52:54:00:12:34:56", "192.0.2.20", "The Printer"), "host name");
    refused(
        &format!("{printer}{}", reserved("52-54-00-12-34-56", "192.0.2.21", "other")),
        "two addresses",
    );
    refused(
        &format!("{printer}{}", reserved("52:54:00:12:34:57", "192.0.2.20", "other")),
        "two cards",
    );
    refused("[nodes]\nheartbeat = \"often\"", "nodes.heartbeat");
    refused("[nodes]\nheartbeat = \"20s\"\nlost_after = \"5s\"", "nodes.lost_after");
    refused("[nodes]\nname = \"Node ##\"", "nodes.name");
    refused("[profiles.a]\ndisk = \"fastest\"", "profiles.a.disk");
    refused("[profiles.a]\nroot_size = \"40 parsecs\"", "profiles.a.root_size");
    refused("[profiles.a]\ntimezone = \"../../etc\"", "profiles.a.timezone");
    refused(
        "[profiles.a]\nbridge = \"a-bridge-with-a-long-name\"",
        "profiles.a.bridge",
    );
    refused("[profiles.a]\nssh_keys = [\"a\\nb\"]", "profiles.a.ssh_keys");
    refused("[profiles.a]\nrole = \"toaster\"", "profiles.a.role");
    refused("default_profile = \"b\"\n[profiles.a]", "profiles.b");
    refused("[[auto_approve]]\nname = \"r\"\nprofile = \"b\"", "profiles.b");
    refused("ram_kernel_args = \"a\\nb\"", "ram_kernel_args");
}

#[test]
fn what_an_installer_cannot_do_is_named_with_its_field() {
    const MIRROR: &str = "mirror = \"http://mirror.example.org/debian\"";
    let refused = |profile: &str, system: &str, words: &[&str]| {
        let text = format!("[profiles.a]\n{profile}\n[profiles.a.system]\n{system}\n");
        let error = format!("{:#}", parse(&text).unwrap_err());
        for word in words {
            assert!(error.contains(word), "{text}: {error}");
        }
    };
    let debian = "installer = \"debian-13\"";
    assert!(parse(&format!("[profiles.a]\n{debian}\n[profiles.a.system]\n{MIRROR}")).is_ok());
    refused(debian, "", &["profiles.a.system.mirror", "mirror.example.org"]);
    refused(
        "installer = \"beos-5\"",
        MIRROR,
        &["profiles.a.installer", "beos-5", "debian-12"],
    );
    let cloud = "installer = \"cloud-debian\"";
    let image = "image = \"debian-13-cloud\"";
    assert!(
        parse(&format!(
            "[profiles.a]\n{cloud}\n{image}\n[profiles.a.system]\n{MIRROR}"
        ))
        .is_ok()
    );
    refused(cloud, MIRROR, &["profiles.a.image", "images build cloud"]);
    refused(
        &format!("{cloud}\n{image}\nroot_size = \"9 GB\""),
        MIRROR,
        &["profiles.a.root_size"],
    );
    refused(
        &format!("{cloud}\n{image}\nkernel_args = \"quiet\""),
        MIRROR,
        &["kernel_arguments"],
    );
    refused(
        &format!("{cloud}\n{image}"),
        &format!("{MIRROR}\nlayout = {{ kind = \"lvm\" }}"),
        &["storage.layout"],
    );
    refused(
        "image = \"debian-13\"",
        MIRROR,
        &["profiles.a.system", "profiles.a.installer"],
    );
    refused(
        &format!("{debian}\nimage = \"debian-13\""),
        MIRROR,
        &["profiles.a.image"],
    );
    refused(
        &format!("{debian}\nroot_size = \"9 GB\""),
        MIRROR,
        &["profiles.a.root_size"],
    );
    refused(
        &format!("{debian}\nkernel_args = \"a'b\""),
        MIRROR,
        &["profiles.a.kernel_args"],
    );
    refused(
        &format!("{debian}\nssh_keys = [\"x\"]"),
        MIRROR,
        &["profiles.a.ssh_keys"],
    );
    refused(
        debian,
        &format!("{MIRROR}\nvlan = 5000"),
        &["profiles.a.system", "network.vlan"],
    );
    refused(
        debian,
        &format!("{MIRROR}\nlocale = \"klingon\""),
        &["locale", "en_US.UTF-8"],
    );
    refused(debian, &format!("{MIRROR}\nswap = {{ plain = 0 }}"), &["storage.swap"]);
    let rpm = "[[profiles.a.system.repositories]]\nname = \"x\"\nurl = \"http://192.0.2.1/x\"\nformat = \"rpm\"\n\
               key = \"-----BEGIN PGP PUBLIC KEY BLOCK-----\\n\\na\\n-----END PGP PUBLIC KEY BLOCK-----\\n\"";
    refused(
        debian,
        &format!("{MIRROR}\n{rpm}"),
        &["repositories[0].format", "debian-13"],
    );
}

#[test]
fn a_section_of_an_interface_says_only_what_differs() {
    let text = "[dhcp]\nlease_time = \"1h\"\ndns = [\"192.0.2.53\"]\n[segments.\"eth0.10\"]\nmode = \"proxy\"\n\
                [[subnets]]\nnetwork = \"198.51.100.0/24\"\nlease_time = \"2h\"";
    let config = parse(text).unwrap();
    let vlan = config.segment("eth0.10");
    assert_eq!((vlan.mode, vlan.lease_time), (DhcpMode::Proxy, Duration::from_hours(1)));
    assert_eq!(vlan.dns, config.dhcp.dns);
    assert_eq!(config.segment("eth0"), &config.dhcp);
    let subnet = &config.subnets[0];
    assert_eq!(
        (subnet.dhcp.mode, subnet.dhcp.lease_time),
        (DhcpMode::Auto, Duration::from_hours(2))
    );
    assert_eq!(subnet.dhcp.dns, config.dhcp.dns);
}

#[test]
fn one_profile_is_the_default_one() {
    let config = parse("[profiles.storage]\ndisk = \"serial:XYZ\"").unwrap();
    assert_eq!(config.default_profile, "storage");
    assert_eq!(config.profiles["storage"].disk.choose, Choose::Serial("XYZ".into()));
}
