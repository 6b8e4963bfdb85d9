// SPDX-License-Identifier: Apache-2.0
//! Addresses that somebody uses who did not get them from us, and who may refuse what.

use super::*;

/// A segment on which addresses are asked for before they are offered.
fn checking() -> (Segment, Core) {
    let mut segment = segment();
    segment.checks = Checks::new(true);
    (segment, Core::default())
}

/// Somebody says that an address is his; what the client hears then.
fn claims(segment: &mut Segment, core: &Core, address: Ipv4Addr, by: Mac) -> Option<Outgoing> {
    let lines = Lines::default();
    let around = Around {
        files: &All,
        sightings: core,
        lines: &lines,
    };
    let now = Now {
        unix: 0,
        running: LATER,
    };
    let claim = Claim { address, by: Some(by) };
    claimed(segment, &around, claim, now)
}

/// The offer that has waited.
fn waited(segment: &mut Segment) -> Option<Outgoing> {
    segment.checks.take_due(LATER + Duration::from_secs(1))
}

#[test]
fn an_address_that_somebody_uses_is_not_offered_and_rests() {
    let (mut segment, core) = checking();
    let discover = packet(1, mac(1), NOBODY, &[]);
    assert_eq!(ask(&mut segment, &core, &discover, 0), None, "first it is asked for");
    let [asked] = segment.checks.take_questions()[..] else {
        panic!("nobody is asked")
    };
    // The next one has to be asked for as well.
    assert_eq!(claims(&mut segment, &core, asked, mac(99)), None);
    assert_eq!(*core.noticed.lock().unwrap(), ["address-in-use"]);
    let [next] = segment.checks.take_questions()[..] else {
        panic!("nobody is asked again")
    };
    assert_ne!(next, asked);
    let offer = waited(&mut segment).unwrap();
    assert_eq!((offer.kind, yiaddr(&offer)), ("offer", next));
    assert_eq!(waited(&mut segment), None);
    for n in 2..50 {
        ask(&mut segment, &core, &packet(1, mac(n), NOBODY, &[]), 0);
        assert_ne!(waited(&mut segment).map(|offer| yiaddr(&offer)), Some(asked));
    }
}

#[test]
fn a_machine_that_has_its_address_waits_for_nobody() {
    let (mut segment, core) = checking();
    ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[]), 0);
    let address = yiaddr(&waited(&mut segment).unwrap());
    let wish = [(50, &address.octets()[..]), (54, &SERVER.octets())];
    assert_eq!(
        ask(&mut segment, &core, &packet(3, mac(1), NOBODY, &wish), 0)
            .unwrap()
            .kind,
        "ack"
    );
    let offer = ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[]), 3000).unwrap();
    assert_eq!(yiaddr(&offer), address);
}

#[test]
fn somebody_who_claims_every_address_keeps_nobody_busy() {
    let (mut segment, core) = checking();
    for start in 0..20 {
        ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[]), start);
        let mut rounds = 0;
        while let [asked] = segment.checks.take_questions()[..] {
            // Each by a card of its own.
            assert_eq!(claims(&mut segment, &core, asked, mac(u32::from(asked))), None);
            rounds += 1;
        }
        assert!((1..=8).contains(&rounds), "{rounds}");
    }
    // A quarter of the pool rests at most: when he is gone, there is an address at once.
    ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[]), 30);
    assert!(waited(&mut segment).is_some());
}

#[test]
fn when_another_server_appears_an_offer_that_waits_is_dropped() {
    let (mut segment, core) = checking();
    ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[]), 0);
    let [asked] = segment.checks.take_questions()[..] else {
        panic!("nobody is asked")
    };
    segment.watch.heard(&offer_of(OTHER), LATER);
    assert_eq!(claims(&mut segment, &core, asked, mac(99)), None);
    assert_eq!(segment.checks.take_questions(), [] as [Ipv4Addr; 0]);
}

#[test]
fn beside_another_server_nobody_is_refused_what_that_one_may_have_given() {
    let (mut segment, core) = (segment(), Core::default());
    segment.watch = Watch::new(DhcpMode::Full, [SERVER].into(), (SERVER, 24), Duration::ZERO);
    let foreign = Ipv4Addr::new(10, 77, 0, 30);
    let reboots = packet(3, mac(1), NOBODY, &[(50, &foreign.octets())]);
    let rebinds = packet(3, mac(1), foreign, &[]);
    for packet in [&reboots, &rebinds] {
        assert_eq!(
            ask(&mut segment, &core, packet, 0),
            None,
            "not known yet who else is there"
        );
    }
    segment.watch.heard(&offer_of(OTHER), LATER);
    for packet in [&reboots, &rebinds] {
        assert_eq!(ask(&mut segment, &core, packet, 0), None);
    }
    // Who takes an offer of ours that is gone hears so.
    let ours = [(50, &foreign.octets()[..]), (54, &SERVER.octets())];
    let selects = packet(3, mac(1), NOBODY, &ours);
    assert_eq!(ask(&mut segment, &core, &selects, 0).unwrap().kind, "nak");
}
