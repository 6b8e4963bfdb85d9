// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use super::*;

fn gate() -> Arc<Gate> {
    of(3, 2)
}

fn of(total: usize, per_address: usize) -> Arc<Gate> {
    let limits = Limits {
        total,
        per_address,
        ..Limits::default()
    };
    Gate::new(limits, Arc::new(Site))
}

/// A site where keys say who has them, and all of 198.51.100.0/24 are nodes.
struct Site;

impl Callers for Site {
    fn by_key(&self, key: &str) -> Standing {
        match key {
            "node" => Standing::Known,
            "registered" => Standing::Registered,
            _ => Standing::Stranger,
        }
    }

    fn by_address(&self, address: IpAddr) -> Standing {
        if address.to_string().starts_with("198.51.100.") {
            Standing::Known
        } else {
            Standing::Stranger
        }
    }
}

/// As many connections from different addresses, all of which are busy.
fn crowd(gate: &Arc<Gate>, size: usize) -> Vec<(Admitted, Busy)> {
    let admitted = (0..size).map(|n| from(gate, &format!("10.0.{}.{}", n / 256, n % 256)).unwrap());
    admitted
        .map(|admitted| {
            let busy = admitted.place().busy();
            (admitted, busy)
        })
        .collect()
}

fn from(gate: &Arc<Gate>, address: &str) -> Option<Admitted> {
    gate.admit("http", Some(address.parse().unwrap()))
}

#[test]
fn one_address_cannot_take_all_the_places() {
    let gate = gate();
    let held = [from(&gate, "192.0.2.1"), from(&gate, "192.0.2.1")];
    assert!(held.iter().all(Option::is_some));
    assert!(from(&gate, "192.0.2.1").is_none());
    assert!(from(&gate, "192.0.2.2").is_some());
    drop(held);
    assert!(from(&gate, "192.0.2.1").is_some());
}

#[test]
fn all_together_cannot_take_more_than_there_are() {
    let gate = gate();
    let _held = crowd(&gate, 3);
    assert!(from(&gate, "192.0.2.9").is_none());
    assert!(gate.admit("control", None).is_none());
}

#[test]
fn of_strangers_the_one_that_was_idle_longest_gives_way() {
    let gate = gate();
    let first = from(&gate, "192.0.2.1").unwrap();
    let second = from(&gate, "192.0.2.2").unwrap();
    let third = from(&gate, "192.0.2.3").unwrap();
    // The first has said something since.
    drop(first.place().busy());
    let _fourth = from(&gate, "192.0.2.4").unwrap();
    let given_up = |admitted: &Admitted| admitted.place().seat.given_up.is_cancelled();
    assert!(given_up(&second) && !given_up(&first) && !given_up(&third));
    drop(second);
    assert_eq!(gate.open().seats.len(), 3, "its place is given back once");
}

#[test]
fn strangers_cannot_take_the_places_of_those_who_are_known() {
    let gate = of(80, 64);
    let held = crowd(&gate, 60);
    assert!(
        from(&gate, "192.0.2.9").is_none(),
        "strangers have what strangers may have"
    );
    let node = from(&gate, "198.51.100.7").unwrap();
    let this_machine = gate.admit("http", None).unwrap();
    drop((node, this_machine, held));
    from(&gate, "192.0.2.1").unwrap().place().is_operators();
    let _held = crowd(&gate, 60);
    assert!(from(&gate, "192.0.2.1").is_some(), "from where an operator came lately");
}

#[test]
fn who_shows_a_key_that_is_known_does_not_give_way_to_strangers() {
    let gate = of(80, 64);
    let node = from(&gate, "192.0.2.1").unwrap();
    node.place().has_key("node");
    let operator = from(&gate, "192.0.2.2").unwrap();
    operator.place().is_operators();
    let stranger = from(&gate, "192.0.2.3").unwrap();
    stranger.place().has_key("nobody's");
    let flood: Vec<_> = (0..1000)
        .map(|n| from(&gate, &format!("10.0.{}.{}", n / 256, n % 256)).unwrap())
        .collect();
    let given_up = |admitted: &Admitted| admitted.place().seat.given_up.is_cancelled();
    assert!(given_up(&stranger) && !given_up(&node) && !given_up(&operator));
    assert_eq!(gate.open().standing, [60, 0, 2]);
    drop(flood);
}

#[test]
fn machines_that_nobody_approved_leave_places_to_nodes() {
    let gate = of(80, 64);
    let held: Vec<_> = (0..200)
        .filter_map(|n| {
            let admitted = from(&gate, &format!("10.0.0.{n}"))?;
            admitted.place().has_key("registered");
            let busy = admitted.place().busy();
            Some((admitted, busy))
        })
        .collect();
    assert!(held.len() <= 70, "{}", held.len());
    assert!(from(&gate, "198.51.100.7").is_some());
}

#[test]
fn who_comes_to_a_crowd_may_not_stay_for_nothing() {
    let gate = Gate::new(Limits::default(), Arc::new(Site));
    let held: Vec<_> = (0..=CROWD).map(|_| gate.admit("api", None).unwrap()).collect();
    assert_eq!(held[0].head(), Limits::default().head);
    assert_eq!(held[CROWD].head(), Limits::default().crowded_head);
}

#[test]
fn an_ipv6_host_is_one_host_however_many_addresses_it_picks() {
    let gate = gate();
    let _held = [from(&gate, "2001:db8::1").unwrap(), from(&gate, "2001:db8::2").unwrap()];
    assert!(from(&gate, "2001:db8::3").is_none());
    assert!(from(&gate, "2001:db8:0:1::3").is_some());
}

#[test]
fn places_that_were_given_back_leave_nothing_behind() {
    let gate = gate();
    for n in 0..10_000 {
        drop(from(&gate, &format!("10.0.{}.{}", n / 256, n % 256)));
    }
    let open = gate.open();
    assert_eq!((open.seats.len(), open.by_address.len(), open.standing), (0, 0, [0; 3]));
}
