// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
use super::*;
use proptest::prelude::*;

const HOUR: u64 = 3600;

fn mac(n: u32) -> Mac {
    let mut bytes = [0x52, 0x54, 0, 0, 0, 0];
    bytes[2..].copy_from_slice(&n.to_be_bytes());
    Mac(bytes)
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// 100 addresses, one of them the server's.
fn table() -> Table {
    Table::new(address(101), address(200), &[address(101), address(1)])
}

#[test]
fn a_client_keeps_its_address_for_ever() {
    let mut table = table();
    let first = table.offer(mac(1), false, None, 0).unwrap();
    assert_eq!(
        table.offer(mac(1), false, None, 3),
        Some(first),
        "asked again before confirming"
    );
    table.bind(mac(1), false, first, HOUR, 4).unwrap();
    assert_eq!(
        table.offer(mac(1), false, None, 5),
        Some(first),
        "the next program of the same machine"
    );
    assert_eq!(
        table.offer(mac(1), false, None, 50 * HOUR),
        Some(first),
        "long after the lease ran out"
    );
}

#[test]
fn two_clients_never_share_an_address() {
    let mut table = table();
    let one = table.offer(mac(1), false, None, 0).unwrap();
    let two = table.offer(mac(2), false, Some(one), 0).unwrap();
    assert_ne!(one, two);
    assert_eq!(table.bind(mac(2), false, one, HOUR, 1), Err(Refusal::Taken));
    table.bind(mac(1), false, one, HOUR, 1).unwrap();
    assert_eq!(table.bind(mac(2), false, one, HOUR, 2), Err(Refusal::Taken));
}

#[test]
fn the_servers_own_address_and_foreign_ones_are_never_given() {
    let mut table = table();
    assert_eq!(table.bind(mac(1), true, address(101), HOUR, 0), Err(Refusal::Taken));
    assert_eq!(table.bind(mac(1), true, address(1), HOUR, 0), Err(Refusal::NotInPool));
    assert_eq!(
        table.bind(mac(1), true, Ipv4Addr::new(192, 168, 0, 101), HOUR, 0),
        Err(Refusal::NotInPool)
    );
    for n in 0..99 {
        assert_ne!(table.offer(mac(n), true, Some(address(101)), 0).unwrap(), address(101));
    }
    assert_eq!(table.offer(mac(200), true, None, 0), None);
}

#[test]
fn after_a_reboot_of_the_server_a_client_keeps_what_it_has() {
    let mut table = table();
    let lease = table.bind(mac(1), false, address(150), HOUR, 0).unwrap();
    let mut after = self::table();
    table.leases().for_each(|lease| after.restore(lease));
    assert_eq!(after.leases().collect::<Vec<_>>(), [lease]);
    assert_ne!(after.offer(mac(2), false, Some(address(150)), 1).unwrap(), address(150));
}

#[test]
fn a_declined_address_rests() {
    let mut table = table();
    let taken = table.offer(mac(1), false, None, 0).unwrap();
    assert!(!table.decline(mac(2), taken, 0), "it is not for others to decline");
    assert!(table.decline(mac(1), taken, 0));
    assert_ne!(table.offer(mac(1), false, Some(taken), 1).unwrap(), taken);
    assert_eq!(table.bind(mac(3), true, taken, HOUR, 2), Err(Refusal::Taken));
    assert!(table.bind(mac(3), true, taken, HOUR, REST + 1).is_ok());
}

#[test]
fn declining_again_and_again_does_not_empty_the_pool() {
    let mut table = table();
    for n in 0..1000 {
        let taken = table.offer(mac(n), false, None, u64::from(n)).unwrap();
        assert!(table.decline(mac(n), taken, u64::from(n)));
    }
    assert!(table.resting.len() <= 25);
    assert!(table.offer(mac(5000), false, None, 1000).is_some());
}

#[test]
fn a_released_address_is_free_but_remembered() {
    let mut table = table();
    let had = table.offer(mac(1), false, None, 0).unwrap();
    table.bind(mac(1), false, had, HOUR, 0).unwrap();
    assert!(!table.release(mac(2), had, 1), "it is not for others to release");
    assert!(table.release(mac(1), had, 1));
    assert_eq!(table.usage().0, 0);
    assert_ne!(
        table.offer(mac(2), false, Some(had), 2).unwrap(),
        had,
        "there are others"
    );
    assert_eq!(table.offer(mac(1), false, None, 2), Some(had));
}

#[test]
fn a_client_that_chose_another_server_holds_nothing() {
    let mut table = table();
    table.offer(mac(1), false, None, 0).unwrap();
    table.withdraw(mac(1));
    assert_eq!(table.usage().0, 0);
}

#[test]
fn a_hundred_thousand_cards_that_only_ask_leave_room_for_known_machines() {
    let mut table = table();
    for n in 0..100_000 {
        table.offer(mac(n), false, None, u64::from(n / 10_000));
    }
    for n in 0..99 {
        // Each tries as often as firmware does: a few times within a minute.
        let mut tries = (10..70).step_by(5);
        let got = tries.find_map(|now| table.offer(mac(1_000_000 + n), true, None, now).map(|got| (got, now)));
        let (got, now) = got.unwrap();
        table.bind(mac(1_000_000 + n), true, got, HOUR, now).unwrap();
    }
    assert!(
        table.by_mac.len() <= 100,
        "memory does not grow with the number of cards"
    );
}

#[test]
fn a_hundred_thousand_cards_that_take_addresses_leave_a_quarter_for_known_machines() {
    let mut table = table();
    for n in 0..100_000 {
        if let Some(got) = table.offer(mac(n), false, None, u64::from(n / 1000)) {
            let _ = table.bind(mac(n), false, got, HOUR, u64::from(n / 1000));
        }
        let _ = table.bind(mac(n), false, address(101 + (n % 100) as u8), HOUR, u64::from(n / 1000));
    }
    assert_eq!(table.usage().0, 75);
    for n in 0..24 {
        let got = table.offer(mac(1_000_000 + n), true, None, 200).unwrap();
        table.bind(mac(1_000_000 + n), true, got, HOUR, 200).unwrap();
    }
    assert!(table.by_mac.len() <= 100);
}

#[test]
fn a_flood_ends_with_its_leases() {
    let mut table = table();
    for n in 0..1000 {
        let _ = table
            .offer(mac(n), false, None, 0)
            .map(|got| table.bind(mac(n), false, got, HOUR, 0));
    }
    assert_eq!(table.offer(mac(5000), false, None, 100), None);
    assert!(table.offer(mac(5000), false, None, HOUR + 1).is_some());
}

#[test]
fn an_empty_or_absurd_range_gives_nothing() {
    assert_eq!(
        Table::new(address(9), address(8), &[]).offer(mac(1), true, None, 0),
        None
    );
    let mut all = Table::new(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, &[]);
    assert_eq!(all.usage(), (0, LARGEST));
    assert!(all.offer(mac(1), true, None, 0).is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Offer(u32, bool, u8),
    Bind(u32, bool, u8),
    Release(u32, u8),
    Decline(u32, u8),
    Withdraw(u32),
    Restore(u32, u8, u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (client, last) = (0..12u32, 99..114u8);
    prop_oneof![
        4 => (client.clone(), any::<bool>(), last.clone()).prop_map(|(m, k, a)| Step::Offer(m, k, a)),
        4 => (client.clone(), any::<bool>(), last.clone()).prop_map(|(m, k, a)| Step::Bind(m, k, a)),
        1 => (client.clone(), last.clone()).prop_map(|(m, a)| Step::Release(m, a)),
        1 => (client.clone(), last.clone()).prop_map(|(m, a)| Step::Decline(m, a)),
        1 => client.clone().prop_map(Step::Withdraw),
        1 => (client, last, 0..5000u64).prop_map(|(m, a, u)| Step::Restore(m, a, u)),
        2 => (0..3000u64).prop_map(Step::Wait),
    ]
}

/// What must hold whatever happened.
fn check(table: &Table) {
    let mut strangers = 0;
    let mut held = 0;
    for (index, slot) in table.slots.iter().enumerate() {
        let index = index as u32;
        if let Some(mac) = holder(*slot) {
            assert_eq!(table.by_mac.get(&mac), Some(&index), "a card has one address");
        }
        let listed = |list: &BTreeSet<(u64, u32)>| list.iter().filter(|(_, listed)| *listed == index).count();
        let (free, is_held, offered, resting) = match slot {
            Slot::Free { .. } | Slot::Was { .. } => (1, 0, 0, 0),
            Slot::Offered { known, .. } => {
                strangers += usize::from(!known);
                (0, 1, 1, 0)
            }
            Slot::Bound { known, .. } => {
                strangers += usize::from(!known);
                (0, 1, 0, 0)
            }
            Slot::Resting { .. } => (0, 0, 0, 1),
            Slot::Ours => (0, 0, 0, 0),
        };
        held += is_held;
        let lists = (
            listed(&table.free),
            listed(&table.held),
            listed(&table.offers),
            listed(&table.resting),
        );
        assert_eq!(lists, (free, is_held, offered, resting), "{index}: {slot:?}");
    }
    assert_eq!(table.strangers, strangers);
    assert_eq!(table.usage().0, held);
    assert_eq!(
        table.by_mac.len(),
        table.slots.iter().filter(|slot| holder(**slot).is_some()).count()
    );
}

proptest! {
    #[test]
    fn whatever_happens_every_list_agrees(steps in prop::collection::vec(step(), 1..120)) {
        let mut table = Table::new(address(100), address(111), &[address(105)]);
        let mut now = 0;
        for step in steps {
            match step {
                Step::Offer(m, known, wish) => {
                    if let Some(got) = table.offer(mac(m), known, Some(address(wish)), now) {
                        prop_assert!(table.contains(got) && got != address(105));
                    }
                }
                Step::Bind(m, known, wish) => {
                    let others = table.leases().filter(|lease| lease.mac != mac(m) && lease.until > now);
                    let taken = others.map(|lease| lease.address).any(|other| other == address(wish));
                    let bound = table.bind(mac(m), known, address(wish), 1000, now);
                    prop_assert!(!(taken && bound.is_ok()), "an address was given twice");
                }
                Step::Release(m, a) => { table.release(mac(m), address(a), now); }
                Step::Decline(m, a) => { table.decline(mac(m), address(a), now); }
                Step::Withdraw(m) => table.withdraw(mac(m)),
                Step::Restore(m, a, until) => {
                    table.restore(Lease { address: address(a), mac: mac(m), until, known: false });
                }
                Step::Wait(seconds) => now += seconds,
            }
            check(&table);
        }
    }
}
