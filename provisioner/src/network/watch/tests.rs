// SPDX-License-Identifier: Apache-2.0
//! What is concluded from what was heard, in virtual time.

use super::*;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

const NETWORK: (Ipv4Addr, u8) = (OURS, 24);
const CLIENT: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);

fn offer(server: Ipv4Addr) -> Spoken {
    let heard = Heard {
        server,
        client: None,
        xid: 1,
        leases: true,
        offers: true,
        pxe: false,
    };
    Spoken { heard, from: server }
}

/// An acknowledgement.
fn ack(server: Ipv4Addr) -> Spoken {
    changed(offer(server), |heard| heard.offers = false)
}

fn changed(spoken: Spoken, change: impl FnOnce(&mut Heard)) -> Spoken {
    let mut heard = spoken.heard;
    change(&mut heard);
    Spoken { heard, ..spoken }
}

fn new(mode: DhcpMode) -> Watch {
    Watch::new(mode, Addresses::from([OURS]), NETWORK, Duration::ZERO)
}

fn named(server: Ipv4Addr) -> Named {
    Named { server, by: CLIENT }
}

/// A watch that has listened and heard nobody.
fn alone() -> Watch {
    let mut watch = new(DhcpMode::Auto);
    assert_eq!(watch.tick(SENSE).1, Some(News::Alone));
    watch
}

#[test]
fn nothing_is_leased_before_the_segment_was_listened_to() {
    let mut watch = new(DhcpMode::Auto);
    let mut probes = 0;
    while watch.next() < SENSE {
        assert!(!watch.may_lease());
        let (probe, news) = watch.tick(watch.next());
        probes += u32::from(probe);
        assert_eq!(news, None);
    }
    assert!(probes >= 3, "{probes} probes");
    assert_eq!(watch.tick(SENSE).1, Some(News::Alone));
    assert!(watch.may_lease());
}

#[test]
fn a_server_that_is_there_first_is_left_alone() {
    let mut watch = new(DhcpMode::Auto);
    assert_eq!(
        watch.heard(&offer(OTHER), Duration::from_secs(1)),
        [News::Beside(OTHER)]
    );
    assert_eq!(watch.tick(SENSE).1, None);
    assert_eq!(watch.manner(), Manner::Proxy);
    assert!(watch.in_words().contains("10.77.0.254") && !watch.is_interrupted());
}

#[test]
fn a_server_that_appears_later_stops_leasing_at_once() {
    for appears in [offer(OTHER), ack(OTHER)] {
        let mut watch = alone();
        assert_eq!(watch.heard(&appears, SENSE), [News::Beside(OTHER)]);
        assert_eq!(watch.manner(), Manner::Proxy);
        assert!(watch.is_interrupted());
        assert_eq!(watch.heard(&appears, SENSE), [], "said once");
        assert!(
            watch.in_words().contains("heard from 10.77.0.254"),
            "{}",
            watch.in_words()
        );
        assert_eq!(
            (watch.take_wanted_card(), watch.take_wanted_card()),
            (Some(OTHER), None)
        );
        assert!(watch.card_at(OTHER, CLIENT) && !watch.card_at(OTHER, CLIENT));
        assert!(
            watch.in_words().contains("10.77.0.254 at 52:54:00:00:00:01"),
            "{}",
            watch.in_words()
        );
    }
}

#[test]
fn the_word_of_a_client_makes_us_look_and_changes_nothing_else() {
    for server in [OTHER, ELSEWHERE] {
        let mut watch = alone();
        let mut probes = 0;
        for second in 0..600 {
            let now = SENSE + Duration::from_secs(second);
            let news = watch.chosen(named(server), now);
            assert_eq!(news.is_some(), second == 0, "said once");
            probes += u32::from(watch.tick(now).0);
            assert!(watch.may_lease(), "a client's word is no proof");
        }
        assert!((60..=600).contains(&probes), "{probes} probes");
        let words = watch.in_words();
        assert!(
            words.contains(&server.to_string()) && words.contains("52:54:00:00:00:01"),
            "{words}"
        );
        assert!(watch.is_well());
        // It answers the probe.
        assert_eq!(watch.heard(&offer(server), SENSE + GONE), [News::Beside(server)]);
        assert!(!watch.may_lease());
    }
}

#[test]
fn a_named_server_is_asked_for_within_a_second_of_the_last_question() {
    let mut watch = alone();
    let now = watch.next();
    assert!(watch.tick(now).0);
    watch.chosen(named(OTHER), now);
    assert!(!watch.tick(now).0);
    assert_eq!(watch.next(), now + PROBE_FIRST);
    assert!(watch.tick(now + PROBE_FIRST).0);
}

#[test]
fn what_no_server_can_have_for_an_address_is_not_looked_for() {
    let mut watch = alone();
    for nobody in [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
        OURS,
    ] {
        assert_eq!(watch.chosen(named(nobody), SENSE), None, "{nobody}");
    }
}

#[test]
fn a_server_of_another_network_counts_when_its_offer_was_heard() {
    let mut watch = alone();
    assert_eq!(watch.heard(&ack(ELSEWHERE), SENSE), []);
    assert!(watch.may_lease());
    assert!(watch.next() <= SENSE + PROBE_FIRST, "but it is looked for");
    assert_eq!(watch.heard(&offer(ELSEWHERE), SENSE), [News::Beside(ELSEWHERE)]);
    assert!(!watch.may_lease());
}

#[test]
fn a_flood_of_offers_in_many_names_is_told_once() {
    let mut watch = alone();
    let mut news = 0;
    for n in 0..10_000 {
        let now = SENSE + Duration::from_millis(n);
        let server = Ipv4Addr::from(0x0a4d_0002 + u32::try_from(n % 250).unwrap_or(0));
        news += watch.heard(&offer(server), now).len();
        assert!(!watch.may_lease());
    }
    assert_eq!(news, 1);
}

#[test]
fn a_server_that_is_silent_for_long_is_gone() {
    let mut watch = alone();
    watch.heard(&offer(OTHER), SENSE);
    assert_eq!(watch.tick(GONE).1, None);
    assert_eq!(watch.tick(SENSE + GONE).1, Some(News::Alone));
    assert!(watch.may_lease() && !watch.is_interrupted());
}

#[test]
fn who_cannot_hear_others_leases_nothing_unless_told_to() {
    for (mode, manner) in [(DhcpMode::Auto, Manner::Proxy), (DhcpMode::Full, Manner::Lease)] {
        let mut watch = new(mode);
        watch.deafen();
        watch.tick(SENSE);
        assert_eq!(watch.manner(), manner, "{}", watch.in_words());
    }
}

#[test]
fn our_own_answers_and_proxies_are_not_other_servers() {
    let mut watch = alone();
    assert_eq!(watch.heard(&offer(OURS), SENSE), []);
    assert_eq!(
        watch.heard(&changed(offer(OTHER), |heard| heard.leases = false), SENSE),
        []
    );
    assert!(watch.may_lease());
}

#[test]
fn probing_never_ends_and_off_never_probes() {
    let mut watch = alone();
    for _ in 0..100 {
        assert!(watch.tick(watch.next()).0);
    }
    let mut off = new(DhcpMode::Off);
    assert!(!off.tick(Duration::ZERO).0 && !off.may_lease());
}

#[test]
fn a_pinned_mode_leases_beside_another_server_and_says_so() {
    let mut watch = new(DhcpMode::Full);
    assert!(watch.may_lease());
    assert_eq!(watch.heard(&offer(OTHER), SENSE), [News::Beside(OTHER)]);
    assert!(watch.may_lease() && !watch.is_well());
    assert!(watch.in_words().contains("twice"));
}

#[test]
fn while_machines_ask_others_are_asked_every_few_seconds() {
    let mut watch = alone();
    let now = watch.next();
    assert!(watch.tick(now).0);
    watch.asked(now + PROBE_BUSY / 2);
    assert!(!watch.tick(now + PROBE_BUSY / 2).0, "not with every machine");
    let later = now + PROBE_BUSY;
    watch.asked(later);
    assert!(watch.next() <= later && watch.tick(later).0);
    assert_eq!(watch.next(), later + PROBE_LATER);
}

#[test]
fn a_dhcp_server_that_claims_to_be_a_pxe_server_is_told_once_with_what_to_do() {
    let mut watch = alone();
    let windows = changed(offer(OTHER), |heard| heard.pxe = true);
    assert_eq!(
        watch.heard(&windows, SENSE),
        [News::Beside(OTHER), News::ClaimsPxe(OTHER)]
    );
    assert_eq!(watch.heard(&windows, SENSE), []);
    assert!(
        !watch.is_well() && watch.in_words().contains("remove option 60"),
        "{}",
        watch.in_words()
    );
    // Its other packets have no option 60 in any case.
    assert_eq!(watch.heard(&ack(OTHER), SENSE), []);
    assert!(!watch.is_well());
    assert_eq!(watch.heard(&offer(OTHER), SENSE), []);
    assert!(watch.is_well(), "somebody removed it");
}

#[test]
fn behind_a_relay_the_server_that_clients_name_is_asked_by_itself() {
    let mut watch = Watch::behind_relays(DhcpMode::Auto, Addresses::from([OURS]), NETWORK, Duration::ZERO);
    assert_eq!(watch.manner(), Manner::Lease);
    assert_eq!(watch.take_question(SENSE), None);
    assert_eq!(watch.chosen(named(OTHER), SENSE), Some(News::Named(named(OTHER))));
    assert_eq!(watch.take_question(SENSE), Some(OTHER));
    assert_eq!(watch.take_question(SENSE), None, "not with every packet");
    assert_eq!(
        watch.take_question(SENSE + PROBE_FIRST),
        Some(OTHER),
        "one may get lost"
    );
    assert!(
        watch.may_lease() && watch.in_words().contains("10.77.0.254"),
        "{}",
        watch.in_words()
    );
    assert_eq!(watch.heard(&offer(OTHER), SENSE), [News::Beside(OTHER)]);
    assert_eq!(watch.manner(), Manner::Proxy);
    assert_eq!(watch.take_question(SENSE + GONE / 2), None);
    assert!(!watch.tick(SENSE).0, "nobody else can be asked");
    assert_eq!(watch.tick(SENSE + GONE).1, Some(News::Alone));
}
