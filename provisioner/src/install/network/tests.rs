// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::path::Path;

use kickstart::spec::BondMode;

use super::*;
use crate::config::Config;
use crate::install::made_up;

fn installer(system: &str) -> Installer {
    let text = format!(
        "[profiles.a]\ninstaller = \"debian-13\"\n[profiles.a.system]\nmirror = \"http://mirror.example.org/debian\"\n{system}\n"
    );
    let config = Config::parse(&text, Path::new("/etc/gleaner")).unwrap();
    config.profiles["a"].installer().unwrap().clone()
}

fn inventory() -> Inventory {
    made_up(provisioner_api::FirmwareType::Bios)
}

fn connected(system: &str, inventory: &Inventory, networks: &Networks) -> Result<Network, String> {
    network(&installer(system), inventory, networks)
}

#[test]
fn without_a_word_it_is_the_card_that_booted_and_dhcp() {
    let network = connected("", &inventory(), &Networks::default()).unwrap();
    assert_eq!(network.cards().len(), 1);
    assert_eq!(network.address, Address::Dhcp);
}

#[test]
fn a_bond_is_every_card_with_a_cable_the_one_that_booted_first() {
    let mut machine = inventory();
    let nic = |mac: &str, link: bool, usb: bool| Nic {
        mac: mac.into(),
        link,
        usb,
        ..Nic::default()
    };
    machine.nics.insert(0, nic("52:54:00:00:00:AA", true, false));
    machine.nics.push(nic("52:54:00:00:00:bb", false, false));
    machine.nics.push(nic("52:54:00:00:00:cc", true, true));
    let network = connected("bond = \"802.3ad\"", &machine, &Networks::default()).unwrap();
    let Uplink::Bond { cards, mode } = network.uplink else {
        panic!("no bond");
    };
    let cards: Vec<&str> = cards.iter().map(Mac::as_str).collect();
    assert_eq!(cards, ["52:54:00:00:00:01", "52:54:00:00:00:aa", "52:54:00:00:00:02"]);
    assert_eq!(mode, BondMode::Lacp);
}

#[test]
fn a_machine_with_one_cable_cannot_be_bonded_and_is_told_what_to_do() {
    let mut machine = inventory();
    machine.nics[1].link = false;
    let error = connected("bond = \"active-backup\"", &machine, &Networks::default()).unwrap_err();
    assert!(
        error.starts_with("network.uplink.bond: only the card 52:54:00:00:00:01 "),
        "{error}"
    );
}

/// A network of ours, and one behind a relay.
fn networks() -> Networks {
    let lan = Lan {
        name: "eth1".into(),
        address: Ipv4Addr::new(10, 77, 0, 1),
        prefix: 16,
        gateway: Some(Ipv4Addr::new(10, 77, 0, 254)),
        relayed: false,
        dns: vec![Ipv4Addr::new(10, 77, 0, 1)],
        search: Some("gleaner.internal".into()),
    };
    let far = Lan {
        name: "198.51.100.0/24".into(),
        address: Ipv4Addr::new(198, 51, 100, 0),
        prefix: 24,
        gateway: None,
        relayed: true,
        ..lan.clone()
    };
    Networks {
        lans: vec![lan, far],
        reserved: vec![("52:54:00:00:00:01".into(), Ipv4Addr::new(10, 77, 3, 20))],
    }
}

#[test]
fn a_fixed_address_is_the_reserved_one_with_all_that_its_network_says() {
    // Of a bond too it is the address of the card that booted.
    for system in ["address = \"static\"", "address = \"static\"\nbond = \"balance-alb\""] {
        let network = connected(system, &inventory(), &networks()).unwrap();
        let expected = Address::Static {
            address: Ipv4Addr::new(10, 77, 3, 20),
            prefix: 16,
            gateway: Some(Ipv4Addr::new(10, 77, 0, 254)),
            dns: vec![Ipv4Addr::new(10, 77, 0, 1)],
            search: vec![Host::new("gleaner.internal").unwrap()],
        };
        assert_eq!(network.address, expected);
    }
}

#[test]
fn a_gateway_of_another_network_is_none_here() {
    let mut networks = networks();
    networks.lans[0].gateway = Some(Ipv4Addr::new(192, 0, 2, 1));
    let network = connected("address = \"static\"", &inventory(), &networks).unwrap();
    assert!(matches!(network.address, Address::Static { gateway: None, .. }));
}

#[test]
fn what_is_missing_for_a_fixed_address_is_said_with_what_to_write() {
    let refused = |networks: &Networks| connected("address = \"static\"", &inventory(), networks).unwrap_err();
    let nobodys = Networks {
        reserved: Vec::new(),
        ..networks()
    };
    let error = refused(&nobodys);
    assert!(
        error.starts_with("network.address: ") && error.contains("[[reservations]] with mac = \"52:54:00:00:00:01\""),
        "{error}"
    );
    let mut elsewhere = networks();
    elsewhere.reserved[0].1 = Ipv4Addr::new(203, 0, 113, 5);
    assert!(refused(&elsewhere).contains("is on no network that is served here"));
    let mut behind = networks();
    behind.reserved[0].1 = Ipv4Addr::new(198, 51, 100, 7);
    let error = refused(&behind);
    assert!(error.starts_with("network.address.static.gateway: "), "{error}");
}
