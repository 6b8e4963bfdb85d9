// SPDX-License-Identifier: Apache-2.0
//! Settings that cannot work are refused when they are read, and not when a disk is wiped: with the option's whole name,
//! the value, and what would be right.

use proptest::prelude::*;
use provisioner_api::words;

use super::parse;
use crate::disks::Choose;

/// Of nobody: its private half was thrown away.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIClSxHYMguscWwtH7SZ2IlHMP/RDdQXQrvaXLqnEhmLg";
const INSTALLER: &str =
    "installer = \"debian-13\"\n[profiles.a.system]\nmirror = \"http://mirror.example.org/debian\"\n";

/// A value as TOML writes it: JSON's strings are TOML's.
fn quoted(value: &str) -> String {
    serde_json::to_string(value).unwrap()
}

fn said(text: &str) -> String {
    match parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => format!("{error:#}"),
    }
}

fn refused(text: &str, words: &[&str]) {
    let said = said(text);
    for word in words {
        assert!(said.contains(word), "{text}: {said} lacks {word:?}");
    }
}

fn profile(option: &str) -> String {
    format!("[profiles.a]\n{option}\n")
}

#[test]
fn what_node_init_could_not_write_is_refused_before_anything_is_wiped() {
    for args in ["acpi_osi='!'", "a\"b", "a\\b", "quiet -- single", "a*", "x=?", "a\nb"] {
        let text = profile(&format!("kernel_args = {}", quoted(args)));
        refused(&text, &["profiles.a.kernel_args", "GRUB"]);
    }
    for server in [
        "time_server.lab",
        "pool ntp org",
        "a b\nallow all",
        "",
        "192.0.2",
        "0.0.0.0",
    ] {
        let text = profile(&format!("ntp = [{}]", quoted(server)));
        refused(&text, &["profiles.a.ntp", "ntp1.example.org"]);
    }
    for bridge in ["lo", "eth0", "-", "0br", "enp3s0", "a.b", "all"] {
        let text = profile(&format!("bridge = {}", quoted(bridge)));
        refused(&text, &["profiles.a.bridge", "br0", bridge]);
        refused(&format!("{text}{INSTALLER}"), &["profiles.a.bridge", bridge]);
    }
}

#[test]
fn what_old_laptops_need_is_accepted() {
    let args = "acpi_osi=! acpi_osi=Linux memmap=2M$0x1000000";
    let config = parse(&profile(&format!("kernel_args = {}", quoted(args)))).unwrap();
    assert_eq!(config.profiles["a"].kernel_args, args);
}

proptest! {
    /// node-init asks the same words, and a test there says that it writes what they accept.
    #[test]
    fn whatever_is_accepted_node_init_can_write(
        args in "[ -~]{0,20}", server in "[a-z0-9._ :-]{0,20}", bridge in "[a-zA-Z0-9 ._-]{0,17}", zone in "[A-Za-z/_]{0,12}",
    ) {
        let text = profile(&format!(
            "kernel_args = {}\nntp = [{}]\nbridge = {}\ntimezone = {}\nssh_keys = [{}]",
            quoted(&args), quoted(&server), quoted(&bridge), quoted(&zone), quoted(KEY)
        ));
        if let Ok(config) = parse(&text) {
            let profile = &config.profiles["a"];
            prop_assert!(words::kernel_arguments(&profile.kernel_args).is_ok());
            prop_assert!(profile.ntp.iter().all(|server| words::time_server(server).is_ok()));
            prop_assert!(profile.bridge.iter().all(|bridge| words::bridge(bridge).is_ok()));
            prop_assert!(words::time_zone(&profile.timezone).is_ok());
            prop_assert!(profile.ssh_keys.iter().all(|key| words::authorized_key(key).is_ok()));
        }
    }
}

#[test]
fn a_zone_is_taken_by_its_present_name_for_images_and_for_installers() {
    for (given, present) in [
        ("US/Pacific", "America/Los_Angeles"),
        ("PST8PDT", "America/Los_Angeles"),
        ("europe/berlin", "Europe/Berlin"),
        ("UTC", "UTC"),
    ] {
        let zone = format!("timezone = {}\n", quoted(given));
        assert_eq!(parse(&profile(&zone)).unwrap().profiles["a"].timezone, present);
        let config = parse(&format!("[profiles.a]\n{zone}{INSTALLER}")).unwrap();
        let profile = &config.profiles["a"];
        assert_eq!(profile.installer().unwrap().timezone.as_str(), present);
        assert_eq!(profile.timezone, present);
    }
    for rest in ["", INSTALLER] {
        let text = format!("[profiles.a]\ntimezone = \"Europe/Berln\"\n{rest}");
        refused(&text, &["profiles.a.timezone", "Europe/Berln", "Europe/Berlin"]);
    }
}

#[test]
fn a_key_is_one_that_openssh_reads_for_images_installers_and_users() {
    let with = |key: &str, rest: &str| format!("[profiles.a]\nssh_keys = [{}]\n{rest}", quoted(key));
    let user = |key: &str| {
        format!(
            "[profiles.a]\n{INSTALLER}[[profiles.a.system.users]]\nname = \"ops\"\nkeys = [{}]\n",
            quoted(key)
        )
    };
    for key in [KEY.to_owned(), format!("from=\"192.0.2.0/24\",no-pty {KEY} of mine")] {
        for text in [with(&key, ""), with(&key, INSTALLER), user(&key)] {
            parse(&text).unwrap();
        }
    }
    for (key, why) in [
        ("hello world", "no line of authorized_keys"),
        ("---- BEGIN SSH2 PUBLIC KEY ----", "ssh-keygen -i"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", "cut off"),
        (&format!("form=\"192.0.2.1\" {KEY}"), "is from meant?"),
        (&format!("{KEY}\n"), "line breaks"),
    ] {
        refused(&with(key, ""), &["profiles.a.ssh_keys[0]", why]);
        refused(&with(key, INSTALLER), &["profiles.a.ssh_keys[0]", why]);
        refused(&user(key), &[why]);
    }
    let secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n";
    for text in [with(secret, ""), with(secret, INSTALLER), user(secret)] {
        let said = said(&text);
        assert!(said.contains("PRIVATE key") && !said.contains("b3BlbnNz"), "{said}");
    }
}

#[test]
fn arguments_of_the_ram_environment_are_those_that_a_boot_script_can_carry() {
    let text = |line: &str| format!("ram_kernel_args = {}\n", quoted(line));
    for line in ["memmap=2M$0x1000000", "x=a;b", "f(x)", "acpi_osi=!", ""] {
        parse(&text(line)).unwrap();
    }
    for line in [
        "video=\"x y\"",
        "quiet -- single",
        "a=${net0/ip}",
        "a\nb",
        "gleaner.controller=192.0.2.1:1",
        "gleaner.pin=ab",
        "BOOTIF=01-52-54-00-00-00-01",
        "initrd=x",
        &"a ".repeat(1000),
    ] {
        refused(&text(line), &["ram_kernel_args"]);
    }
}

#[test]
fn a_disk_is_named_as_disks_are_or_not_at_all() {
    let choose = |disk: &str| {
        let config = parse(&profile(&format!("disk = {}", quoted(disk))));
        config.map(|config| config.profiles["a"].disk.choose.clone())
    };
    let place = "pci-0000:00:1f.2-ata-1";
    for disk in [
        format!("by-path:{place}"),
        format!("by-path: /dev/disk/by-path/{place} "),
    ] {
        assert_eq!(choose(&disk).unwrap(), Choose::ByPath(place.into()));
    }
    assert_eq!(choose("serial: WD-1 ").unwrap(), Choose::Serial("WD-1".into()));
    for disk in [
        "by-path:",
        "by-path:/dev/sda",
        "by-path:../sda",
        &format!("by-path:{place}-part1"),
        "serial:",
        "serial: ",
        "serial:/dev/disk/by-id/ata-x",
        "serial:ä",
        "serial",
        "largest disk",
    ] {
        let error = format!("{:#}", choose(disk).unwrap_err());
        assert!(error.contains("profiles.a.disk"), "{disk}: {error}");
    }
}

#[test]
fn a_condition_that_no_machine_fulfils_is_refused() {
    let rule = |condition: &str| format!("[[auto_approve]]\nname = \"x\"\n{condition}\n");
    for (given, meant) in [
        ("AABBCC", "aa:bb:cc"),
        ("aa-bb-cc", "aa:bb:cc"),
        ("AABB.CC", "aa:bb:cc"),
        ("52", "52"),
    ] {
        let config = parse(&rule(&format!("mac_prefix = \"{given}\""))).unwrap();
        assert_eq!(config.rules[0].when.mac_prefix.as_deref(), Some(meant));
    }
    for prefix in [
        "aabb.c",
        "a",
        "",
        "aa:bb:",
        "aa:b:cc",
        "gg",
        "01:00:5e",
        "ff",
        "00:00:00:00:00:00",
        "aa:bb:cc:dd:ee:02:00",
        " aa",
    ] {
        refused(
            &rule(&format!("mac_prefix = \"{prefix}\"")),
            &["auto_approve", "mac_prefix"],
        );
    }
    for (condition, option) in [
        ("manufacturer = \"Dell \"", "manufacturer"),
        ("manufacturer = \"\"", "manufacturer"),
        ("product = \"Opti\\nPlex\"", "product"),
        ("cpu_64bit = false", "cpu_64bit"),
        ("memory_min = \"64 TB\"", "memory_min"),
        ("disk_min = \"9000 TB\"", "disk_min"),
        ("memory_min = \"2\"", "memory_min"),
    ] {
        refused(&rule(condition), &["auto_approve", "\"x\"", option]);
    }
    refused(
        &format!("{}{}", rule(""), rule("kvm = true")),
        &["another rule has this name"],
    );
    refused("[[auto_approve]]\nname = \" \"", &["auto_approve"]);
    refused(
        &format!(
            "{}[profiles.a]\n{INSTALLER}",
            rule("profile = \"a\"\nfirmware = \"uefi32\"")
        ),
        &["firmware", "32-bit UEFI"],
    );
}

#[test]
fn a_segment_of_enrolment_is_one_that_there_is() {
    let segment = |name: &str| format!("interfaces = [\"eth0\"]\n[enrolment.segments]\n{name} = \"ask\"\n");
    parse(&segment("eth0")).unwrap();
    parse(&segment("\"198.51.100.0/24\"")).unwrap();
    for name in [
        "eth9",
        "\"198.51.100.7/24\"",
        "\"198.51.100.0/33\"",
        "\"/24\"",
        "\"198.51.100.0\"",
        "\"eth0 \"",
    ] {
        refused(&segment(name), &["enrolment.segments", name.trim_matches('"')]);
    }
}

#[test]
fn an_address_that_nobody_has_anywhere_is_refused_without_a_look_at_the_interfaces() {
    let reserved = |mac: &str, address: &str, name: &str| {
        format!("[[reservations]]\nmac = \"{mac}\"\naddress = \"{address}\"\nname = \"{name}\"\n")
    };
    let good = reserved("52:54:00:b1:00:01", "10.77.0.20", "a");
    for mac in ["00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"] {
        refused(&reserved(mac, "10.77.0.20", "a"), &["reservations", mac, "no card's"]);
    }
    for address in ["0.0.0.0", "0.0.0.9", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        refused(&reserved("52:54:00:b1:00:01", address, "a"), &["reservations", address]);
        refused(&format!("[dhcp]\ngateway = \"{address}\""), &["dhcp.gateway", address]);
    }
    refused(
        &format!("{good}{}", reserved("52:54:00:b1:00:02", "10.77.0.21", "a")),
        &["reservations", "two cards have the name a"],
    );
    for name in ["controller", "nodes"] {
        refused(
            &reserved("52:54:00:b1:00:01", "10.77.0.20", name),
            &["reservations", "server's own"],
        );
        refused(&format!("[profiles.{name}]\n"), &["profiles", name]);
    }
    for time in ["10s", "119s", "9000h"] {
        let words = ["dhcp.lease_time", time, "2m"];
        refused(&format!("[dhcp]\nlease_time = \"{time}\""), &words);
        refused(
            &format!("[segments.eth0]\nlease_time = \"{time}\""),
            &["segments.eth0.lease_time"],
        );
    }
    let subnet = "[[subnets]]\nnetwork = \"198.51.100.0/24\"\n";
    refused(
        &format!("{subnet}pool = \"198.51.100.0-198.51.100.9\""),
        &["pool", "itself"],
    );
    refused(
        &format!("{subnet}gateway = \"198.51.100.255\""),
        &["gateway", "broadcast"],
    );
    refused(
        &format!("{subnet}{}", reserved("52:54:00:b1:00:01", "198.51.100.255", "a")),
        &["reservations", "broadcast"],
    );
}

#[test]
fn a_mistyped_word_is_told_with_the_one_that_was_meant() {
    for (text, given, meant) in [
        ("interface = [\"br0\"]", "interface", "interfaces"),
        ("[dhcp]\nlease-time = \"1h\"", "lease-time", "lease_time"),
        ("[dhcp]\nmode = \"ful\"", "ful", "full"),
        ("[profiles.a]\nkernel_arg = \"x\"", "kernel_arg", "kernel_args"),
        (
            "[[auto_approve]]\nname = \"x\"\nmac-prefix = \"aa\"",
            "mac-prefix",
            "mac_prefix",
        ),
        ("[profiles.a]\ninstaller = \"debian13\"", "debian13", "debian-13"),
        ("[enrolment]\nunknown = \"enroll\"", "enroll", "enrol"),
    ] {
        refused(text, &[given, &format!("is {meant} meant?")]);
    }
}

#[test]
fn names_and_ports_that_cannot_be_are_refused() {
    refused("[ports]\nhttp = 8443", &["ports.api", "8443", "ports.http"]);
    refused("[ports]\ndns = 67", &["ports.dns", "ports.dhcp"]);
    parse("[ports]\nhttp = 0\napi = 0\ndhcp = 0\npxe = 0").unwrap();
    refused("[log]\nfilter = \"provisioner=loud\"", &["log.filter", "loud"]);
    refused("interfaces = [\"eth 0\"]", &["interfaces", "eth 0"]);
    refused("interfaces = [\"lo\"]", &["interfaces", "loopback"]);
    refused("interfaces = [\"eth0\", \"eth0\"]", &["interfaces", "twice"]);
    refused(
        "[profiles.a]\nimage = \"Debian 13\"",
        &["profiles.a.image", "Debian 13"],
    );
    refused("[profiles.a]\nversion = \"../1\"", &["profiles.a.version"]);
    refused("[profiles.\"a b\"]\n", &["profiles", "a b"]);
    refused("[dns]\nforward = [\"0.0.0.0\"]", &["dns.forward"]);
}
