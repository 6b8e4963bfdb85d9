// SPDX-License-Identifier: Apache-2.0
//! Names that mean something, and those that do not.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

fn host(number: u8, serving: bool) -> Host {
    Host {
        name: format!("node-{number:03}"),
        pools: vec!["compute".into()],
        address: Some([10, 77, 0, number].into()),
        heard: 1,
        serving,
    }
}

fn table(hosts: &[Host]) -> Table {
    Table::new(hosts, &["compute".into(), "Storage".into()])
}

fn ask<'a>(table: &'a Table, name: &str) -> Meaning<'a> {
    let zone = Zone {
        domain: "lab.internal",
        server: SERVER,
        table,
    };
    zone.meaning(name)
}

fn at(number: u8) -> Meaning<'static> {
    Meaning::Host(Some([10, 77, 0, number].into()))
}

/// The last bytes of the addresses in a pool.
fn members(table: &Table, pool: &str) -> Vec<u8> {
    match ask(table, &format!("{pool}.lab.internal")) {
        Meaning::Pool(_, members) => members.iter().map(|address| address.octets()[3]).collect(),
        other => panic!("{pool} means {other:?}"),
    }
}

#[test]
fn a_node_has_its_name_and_its_address_has_the_node() {
    let table = table(&[host(21, true), host(22, false)]);
    assert_eq!(ask(&table, "node-021.lab.internal"), at(21));
    assert_eq!(
        ask(&table, "node-022.lab.internal"),
        at(22),
        "also while it serves nobody"
    );
    assert_eq!(ask(&table, "22.0.77.10.in-addr.arpa"), Meaning::Pointer("node-022"));
    assert_eq!(ask(&table, "controller.lab.internal"), at(1));
    assert_eq!(ask(&table, "1.0.77.10.in-addr.arpa"), Meaning::Pointer("controller"));
}

#[test]
fn a_node_that_was_not_heard_yet_has_a_name_and_no_address() {
    let silent = Host {
        address: None,
        ..host(21, false)
    };
    assert_eq!(ask(&table(&[silent]), "node-021.lab.internal"), Meaning::Host(None));
}

#[test]
fn a_node_is_in_the_pools_of_its_profile_of_its_tags_and_of_all_nodes() {
    let tagged = Host {
        pools: vec!["compute".into(), "Room-B".into()],
        ..host(23, true)
    };
    let table = table(&[host(24, true), host(21, false), tagged]);
    assert_eq!(members(&table, "compute"), [23, 24], "only those that serve");
    assert_eq!(members(&table, "room-b"), [23]);
    assert_eq!(members(&table, "nodes"), [23, 24]);
    assert_eq!(members(&table, "storage"), [0; 0], "there is such a pool");
    assert_eq!(ask(&table, "room-c.lab.internal"), Meaning::Nothing);
}

#[test]
fn the_name_of_a_node_goes_before_that_of_a_pool() {
    let named = Host {
        name: "nodes".into(),
        ..host(21, true)
    };
    assert_eq!(ask(&table(&[named]), "nodes.lab.internal"), at(21));
}

#[test]
fn an_address_that_went_from_one_node_to_another_is_only_the_second_ones() {
    let old = Host {
        heard: 1,
        ..host(21, true)
    };
    let new = Host {
        heard: 2,
        name: "node-099".into(),
        ..host(21, true)
    };
    for hosts in [[old.clone(), new.clone()], [new, old]] {
        let table = table(&hosts);
        assert_eq!(ask(&table, "node-021.lab.internal"), Meaning::Host(None));
        assert_eq!(ask(&table, "node-099.lab.internal"), at(21));
        assert_eq!(ask(&table, "21.0.77.10.in-addr.arpa"), Meaning::Pointer("node-099"));
        assert_eq!(members(&table, "compute"), [21]);
    }
}

#[test]
fn the_nodes_of_a_pool_come_first_by_turns() {
    let pool: Vec<Ipv4Addr> = (1..=3).map(|number| [10, 77, 0, number].into()).collect();
    let told = |at| turn(&pool, at).map(|address| address.octets()[3]).collect::<Vec<_>>();
    assert_eq!(told(0), [1, 2, 3]);
    assert_eq!(told(1), [2, 3, 1]);
    assert_eq!(told(usize::MAX - 1), [3, 1, 2]);
    assert_eq!(turn(&[], 7).count(), 0);
}

#[test]
fn a_large_pool_fits_into_a_packet_and_everybody_has_a_turn() {
    let pool: Vec<Ipv4Addr> = (0..100).map(|number| [10, 77, 0, number].into()).collect();
    let mut met: Vec<Ipv4Addr> = (0..100)
        .flat_map(|at| {
            let some: Vec<_> = turn(&pool, at).collect();
            assert_eq!(some.len(), MOST);
            some
        })
        .collect();
    met.sort_unstable();
    met.dedup();
    assert_eq!(met.len(), 100);
}

#[test]
fn what_is_not_ours_is_asked_elsewhere_and_what_is_ours_is_not() {
    let table = table(&[host(21, true)]);
    assert_eq!(ask(&table, "lab.internal"), Meaning::Domain);
    assert_eq!(ask(&table, "node-099.lab.internal"), Meaning::Nothing);
    assert_eq!(ask(&table, "a.b.lab.internal"), Meaning::Nothing);
    for name in [
        "example.org",
        "notlab.internal",
        "internal",
        "",
        "9.9.9.9.in-addr.arpa",
        "in-addr.arpa",
    ] {
        assert_eq!(ask(&table, name), Meaning::Elsewhere, "{name}");
    }
}

proptest! {
    #[test]
    fn no_name_is_too_strange(name in "\\PC{0,80}") {
        let table = table(&[host(21, true), host(22, true)]);
        ask(&table, &name);
        ask(&table, &format!("{name}.lab.internal"));
        ask(&table, &format!("{name}.in-addr.arpa"));
    }
}
