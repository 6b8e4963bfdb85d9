// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use std::path::Path;

use super::*;

fn interface(name: &str, address: [u8; 4], prefix: u8) -> Interface {
    Interface {
        name: name.into(),
        index: 2,
        address: address.into(),
        prefix,
        mac: None,
    }
}

/// What is wrong with these settings on a machine with br0 at 10.77.0.1/24 and br1 at 192.0.2.1/25.
fn told(text: &str) -> Vec<String> {
    let config = match Config::parse(text, Path::new("/etc/gleaner")) {
        Ok(config) => config,
        Err(error) => return vec![format!("{error:#}")],
    };
    let here = [
        interface("br0", [10, 77, 0, 1], 24),
        interface("br1", [192, 0, 2, 1], 25),
    ];
    wrong_here(&config, here.into())
}

fn reserved(address: &str) -> String {
    format!("[[reservations]]\nmac = \"52:54:00:b1:00:01\"\naddress = \"{address}\"\n")
}

#[test]
fn addresses_that_machines_can_have_are_good() {
    for text in [
        "",
        "[dhcp]\npool = \"10.77.0.2-10.77.0.254\"\ngateway = \"10.77.0.254\"",
        "[dhcp]\ngateway = \"10.77.0.1\"\npool = \"192.0.2.2-192.0.2.126\"",
        "[enrolment.segments]\nbr1 = \"ask\"",
        "[dhcp]\nmode = \"off\"\npool = \"10.77.0.0-10.77.0.255\"",
        &reserved("10.77.0.20"),
        &reserved("192.0.2.126"),
    ] {
        assert_eq!(told(text), [""; 0], "{text}");
    }
}

#[test]
fn addresses_that_nobody_can_have_are_told_each_with_why() {
    let gateway = "[dhcp]\ngateway = \"10.77.0.254\"\n";
    for (text, why) in [
        (reserved("10.77.0.1"), "this server's own address on br0"),
        (reserved("10.77.0.0"), "the network br0 itself"),
        (reserved("10.77.0.255"), "broadcast address of br0"),
        (reserved("192.0.2.127"), "broadcast address of br1"),
        (reserved("192.0.2.128"), "on no network that is served"),
        (gateway.to_owned() + &reserved("10.77.0.254"), "the gateway of br0"),
        (
            "[dhcp]\npool = \"10.77.0.0-10.77.0.200\"".into(),
            "the network br0 itself",
        ),
        ("[dhcp]\npool = \"10.77.0.2-10.77.0.255\"".into(), "broadcast"),
        (
            "[dhcp]\npool = \"192.0.2.2-192.0.2.127\"".into(),
            "broadcast address of br1",
        ),
        ("[dhcp]\npool = \"10.77.0.1-10.77.0.99\"".into(), "own address"),
        (
            "[segments.br1]\npool = \"192.0.2.2-192.0.2.200\"".into(),
            "on no network",
        ),
        ("[segments.br1]\npool = \"10.77.0.2-10.77.0.9\"".into(), "on no network"),
        ("[dhcp]\ngateway = \"192.168.1.1\"".into(), "no machine could reach it"),
        (
            "[segments.br1]\ngateway = \"10.77.0.9\"".into(),
            "no machine could reach it",
        ),
        ("[dhcp]\ngateway = \"10.77.0.0\"".into(), "the network br0 itself"),
        ("[enrolment.segments]\neth9 = \"enrol\"".into(), "eth9 is not served"),
    ] {
        let wrong = told(&text);
        assert!(wrong.len() == 1 && wrong[0].contains(why), "{text}: {wrong:?}");
    }
}

#[test]
fn on_a_network_behind_relays_it_is_the_same() {
    let subnet = |more: &str| format!("[[subnets]]\nnetwork = \"198.51.100.0/24\"\ninterface = \"br0\"\n{more}\n");
    assert_eq!(told(&subnet("pool = \"198.51.100.1-198.51.100.254\"")), [""; 0]);
    for (more, why) in [
        ("pool = \"198.51.100.0-198.51.100.9\"".to_owned(), "itself"),
        ("pool = \"198.51.100.9-198.51.100.255\"".to_owned(), "broadcast"),
        ("gateway = \"198.51.100.255\"".to_owned(), "broadcast"),
        (reserved("198.51.100.0"), "itself"),
        (
            format!("gateway = \"198.51.100.7\"\n{}", reserved("198.51.100.7")),
            "gateway",
        ),
    ] {
        let wrong = told(&subnet(&more));
        assert!(wrong.len() == 1 && wrong[0].contains(why), "{more}: {wrong:?}");
    }
}

#[test]
fn a_network_of_two_addresses_has_no_broadcast() {
    let config = Config::parse(&reserved("10.77.0.1"), Path::new("/")).unwrap();
    assert_eq!(wrong_here(&config, vec![interface("br0", [10, 77, 0, 0], 31)]), [""; 0]);
}
