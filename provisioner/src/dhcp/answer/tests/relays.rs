// SPDX-License-Identifier: Apache-2.0
//! Networks behind relays, and addresses that are kept for certain cards.

use pxe::dhcp::Request;

use super::*;

/// A relay on the network behind it, and what it adds to packets: circuit 3, in an order of its own.
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const AGENT: [u8; 8] = [2, 2, 0xff, 0xfe, 1, 2, 0, 3];

/// A segment with a network behind a relay.
fn with_relay() -> (Segment, Core) {
    let mut own = segment();
    let mut behind = segment();
    behind.interface = Interface {
        name: "198.51.100.0/24 behind br0".into(),
        address: Ipv4Addr::new(198, 51, 100, 0),
        ..behind.interface
    };
    behind.network.broadcast = behind.interface.broadcast();
    behind.pool = (Ipv4Addr::new(198, 51, 100, 100), Ipv4Addr::new(198, 51, 100, 199));
    behind.table = Table::new(behind.pool.0, behind.pool.1, &[]);
    behind.watch = Watch::behind_relays(DhcpMode::Auto, [SERVER].into(), (RELAY, 24), Duration::ZERO);
    own.relayed.push(behind);
    (own, Core::default())
}

fn relayed(mut packet: Vec<u8>, giaddr: Ipv4Addr, agent: &[u8]) -> Vec<u8> {
    packet[24..28].copy_from_slice(&giaddr.octets());
    packet.pop();
    packet.extend([82, u8::try_from(agent.len()).unwrap()]);
    packet.extend(agent);
    packet.push(255);
    packet
}

/// The options of an answer, in order.
fn options(answer: &Outgoing) -> Vec<(u8, Vec<u8>)> {
    let mut options = Vec::new();
    let mut rest = &answer.bytes[240..];
    while let [code, length, tail @ ..] = rest
        && *code != 255
    {
        let (value, more) = tail.split_at(usize::from(*length));
        options.push((*code, value.to_vec()));
        rest = more;
    }
    options
}

fn option(answer: &Outgoing, code: u8) -> Option<Vec<u8>> {
    options(answer)
        .into_iter()
        .find(|(other, _)| *other == code)
        .map(|(_, value)| value)
}

#[test]
fn a_client_behind_a_relay_gets_an_address_of_its_own_network() {
    let (mut segment, core) = with_relay();
    let discover = relayed(packet(1, mac(1), NOBODY, &[]), RELAY, &AGENT);
    let offer = ask(&mut segment, &core, &discover, 0).unwrap();
    assert_eq!((offer.kind, offer.destination), ("offer", Destination::Relay(RELAY)));
    let address = yiaddr(&offer);
    assert!(segment.relayed[0].serves(address), "{address}");
    assert_eq!(option(&offer, 54), Some(SERVER.octets().to_vec()));
    assert_eq!(
        option(&offer, 3),
        Some(RELAY.octets().to_vec()),
        "the relay is its router"
    );
    assert_eq!(options(&offer).last(), Some(&(82, AGENT.to_vec())));

    let wish = [(50, &address.octets()[..]), (54, &SERVER.octets())];
    let request = relayed(packet(3, mac(1), NOBODY, &wish), RELAY, &AGENT);
    assert_eq!(ask(&mut segment, &core, &request, 0).unwrap().kind, "ack");
    let Some(Record::Bound(bound)) = segment.promises.last() else {
        panic!("nothing is written down")
    };
    assert_eq!((bound.address, bound.mac), (address, mac(1)));

    // It renews past the relay.
    let ack = ask(&mut segment, &core, &packet(3, mac(1), address, &[]), 1800).unwrap();
    assert_eq!((ack.kind, ack.destination), ("ack", Destination::Address(address)));
}

#[test]
fn an_address_that_somebody_behind_a_relay_answers_for_is_not_offered() {
    let (mut segment, core) = with_relay();
    segment.relayed[0].checks = Checks::new(true);
    let discover = relayed(packet(1, mac(1), NOBODY, &[]), RELAY, &AGENT);
    assert_eq!(ask(&mut segment, &core, &discover, 0), None, "first it is asked for");
    assert!(segment.next_check().is_some());
    let [asked] = segment.relayed[0].checks.take_questions()[..] else {
        panic!("nobody is asked")
    };
    let lines = Lines::default();
    let around = Around {
        files: &All,
        sightings: &core,
        lines: &lines,
    };
    let now = Now {
        unix: 0,
        running: LATER,
    };
    let claim = Claim {
        address: asked,
        by: None,
    };
    assert_eq!(claimed(&mut segment, &around, claim, now), None);
    assert_eq!(*core.noticed.lock().unwrap(), ["address-in-use"]);
    let [offer] = &segment.take_checked(LATER + Duration::from_secs(1))[..] else {
        panic!("nothing is offered instead")
    };
    assert_eq!(offer.destination, Destination::Relay(RELAY));
    assert_ne!(yiaddr(offer), asked);
}

#[test]
fn a_relay_of_a_network_that_nobody_configured_is_told_to_a_person() {
    let (mut segment, core) = with_relay();
    let discover = relayed(packet(1, mac(1), NOBODY, &[]), Ipv4Addr::new(203, 0, 113, 1), &[]);
    assert_eq!(ask(&mut segment, &core, &discover, 0), None);
    assert_eq!(*core.noticed.lock().unwrap(), ["relay-unknown"]);
}

#[test]
fn a_relay_may_name_another_network_than_the_one_it_stands_on() {
    let (mut segment, core) = with_relay();
    let here = Ipv4Addr::new(10, 77, 0, 2);
    let link = [&[5, 4][..], &[198, 51, 100, 0]].concat();
    let discover = relayed(packet(1, mac(1), NOBODY, &[]), here, &link);
    let offer = ask(&mut segment, &core, &discover, 0).unwrap();
    assert!(segment.relayed[0].serves(yiaddr(&offer)));
    assert_eq!(offer.destination, Destination::Relay(here));
    assert_eq!(
        option(&offer, 3),
        None,
        "a network's own address is no router, and that relay is on another network than its client"
    );
    // RFC 3527: the relay's address on its client's network.
    let link = [&[5, 4][..], &RELAY.octets()].concat();
    let discover = relayed(packet(1, mac(1), NOBODY, &[]), here, &link);
    let offer = ask(&mut segment, &core, &discover, 0).unwrap();
    assert!(segment.relayed[0].serves(yiaddr(&offer)));
    assert_eq!(
        option(&offer, 3),
        Some(RELAY.octets().to_vec()),
        "it is the client's router"
    );
    let gateway = Ipv4Addr::new(198, 51, 100, 7);
    segment.relayed[0].network.gateway = Some(gateway);
    let offer = ask(&mut segment, &core, &discover, 0).unwrap();
    assert_eq!(
        option(&offer, 3),
        Some(gateway.octets().to_vec()),
        "unless the site says another"
    );
    let nowhere = [&[5, 4][..], &[203, 0, 113, 0]].concat();
    let discover = relayed(packet(1, mac(1), NOBODY, &[]), here, &nowhere);
    assert_eq!(ask(&mut segment, &core, &discover, 0), None);
}

#[test]
fn another_server_behind_a_relay_is_asked_and_its_answer_ends_leasing_there_and_only_there() {
    let (mut segment, core) = with_relay();
    let other = Ipv4Addr::new(198, 51, 100, 254);
    let chosen = [(50, &[198, 51, 100, 9][..]), (54, &other.octets())];
    let request = relayed(packet(3, mac(1), NOBODY, &chosen), RELAY, &[]);
    assert_eq!(ask(&mut segment, &core, &request, 0), None);
    assert_eq!(*core.noticed.lock().unwrap(), ["dhcp-named"]);
    let discover = relayed(packet(1, mac(2), NOBODY, &[]), RELAY, &AGENT);
    let offer = ask(&mut segment, &core, &discover, 0).unwrap();
    assert_eq!(offer.kind, "offer", "a client's word is no proof");

    // The server is asked as a relay asks, for that network, and would answer us.
    let [(question, to)] = &segment.take_questions(LATER)[..] else {
        panic!("it is not asked")
    };
    let question = Request::parse(question).unwrap();
    assert_eq!((*to, question.giaddr), (other, SERVER));
    assert!(segment.relayed[0].serves(question.link_selection().unwrap()));
    assert_eq!(segment.take_questions(LATER), [], "not with every packet");
    let answer = |client| {
        let mut spoken = offer_of(other);
        spoken.heard.client = Some(client);
        spoken
    };
    let lines = Lines::default();
    let around = Around {
        files: &All,
        sightings: &core,
        lines: &lines,
    };
    let now = Now {
        unix: 0,
        running: LATER,
    };
    assert!(!replied(&mut segment, &around, &answer(mac(99)), now));
    assert!(segment.relayed[0].watch.may_lease(), "we did not ask for that card");
    assert!(replied(&mut segment, &around, &answer(question.client.mac), now));
    assert_eq!(*core.noticed.lock().unwrap(), ["dhcp-named", "dhcp-beside"]);
    let class = (60, &b"PXEClient:Arch:00000:UNDI:002001"[..]);
    let discover = relayed(packet(1, mac(2), NOBODY, &[class]), RELAY, &AGENT);
    let offer = ask(&mut segment, &core, &discover, 0).unwrap();
    assert_eq!(
        (offer.kind, offer.destination, yiaddr(&offer)),
        ("proxy-offer", Destination::Relay(RELAY), NOBODY)
    );
    assert_eq!(options(&offer).last(), Some(&(82, AGENT.to_vec())));
    let offer = ask(&mut segment, &core, &packet(1, mac(3), NOBODY, &[]), 0).unwrap();
    assert_eq!(offer.kind, "offer", "on the segment itself nothing has changed");
}

#[test]
fn a_relay_that_speaks_from_an_address_of_its_own_is_answered_where_the_settings_name_it() {
    let loopback = Ipv4Addr::new(10, 255, 0, 1);
    let link = [&[5, 4][..], &RELAY.octets()].concat();
    let (mut segment, core) = with_relay();
    let discover = relayed(packet(1, mac(1), NOBODY, &[]), loopback, &link);
    assert_eq!(
        ask(&mut segment, &core, &discover, 0),
        None,
        "anybody could write that address"
    );
    assert_eq!(*core.noticed.lock().unwrap(), ["relay-unknown"]);

    segment.relayed[0].relays = vec![loopback];
    let offer = ask(&mut segment, &core, &discover, 0).unwrap();
    assert!(segment.relayed[0].serves(yiaddr(&offer)));
    assert_eq!(offer.destination, Destination::Relay(loopback));
    assert_eq!(option(&offer, 3), Some(RELAY.octets().to_vec()));
    // One network only: the relay need not say which.
    let discover = relayed(packet(1, mac(2), NOBODY, &[]), loopback, &AGENT);
    let offer = ask(&mut segment, &core, &discover, 0).unwrap();
    assert!(segment.relayed[0].serves(yiaddr(&offer)));
    assert_eq!(option(&offer, 3), None, "a loopback is no router");
    // Another network that nobody configured is none of ours, whoever names it.
    let nowhere = [&[5, 4][..], &[203, 0, 113, 1]].concat();
    let discover = relayed(packet(1, mac(3), NOBODY, &[]), loopback, &nowhere);
    assert_eq!(ask(&mut segment, &core, &discover, 0), None);

    // Where it speaks for two, it has to say for which.
    let (mut other, _) = with_relay();
    let mut other = other.relayed.remove(0);
    other.interface.address = Ipv4Addr::new(203, 0, 113, 0);
    other.relays = vec![loopback];
    segment.relayed.push(other);
    let discover = relayed(packet(1, mac(4), NOBODY, &[]), loopback, &AGENT);
    assert_eq!(ask(&mut segment, &core, &discover, 0), None);
    let discover = relayed(packet(1, mac(4), NOBODY, &[]), loopback, &link);
    assert!(ask(&mut segment, &core, &discover, 0).is_some());
}

#[test]
fn a_network_behind_a_relay_is_told_with_the_address_of_the_server() {
    let (segment, _) = with_relay();
    let words = segment.relayed[0].in_words();
    assert!(words.starts_with("198.51.100.0/24 behind br0 10.77.0.1,"), "{words}");
}

#[test]
fn a_card_with_a_reservation_always_has_its_address_and_its_name() {
    let (mut segment, core) = with_relay();
    for address in [Ipv4Addr::new(10, 77, 0, 20), Ipv4Addr::new(10, 77, 0, 100)] {
        let reservation = Reservation {
            mac: mac(7),
            address,
            name: Some("printer".into()),
        };
        segment.table = Table::new(segment.pool.0, segment.pool.1, &[SERVER, address]);
        segment.reserved = HashMap::from([(mac(7), reservation)]);
        let offer = ask(&mut segment, &core, &packet(1, mac(7), NOBODY, &[]), 0).unwrap();
        assert_eq!(
            (yiaddr(&offer), option(&offer, 12)),
            (address, Some(b"printer".to_vec()))
        );
        let wish = [(50, &address.octets()[..]), (54, &SERVER.octets())];
        assert_eq!(
            ask(&mut segment, &core, &packet(3, mac(7), NOBODY, &wish), 0)
                .unwrap()
                .kind,
            "ack"
        );
        // What it had before is not its any more.
        let before = packet(3, mac(7), Ipv4Addr::new(10, 77, 0, 150), &[]);
        assert_eq!(ask(&mut segment, &core, &before, 1).unwrap().kind, "nak");
        // And nobody else gets its address, however many ask.
        for n in 1000..1200 {
            assert_ne!(lease(&mut segment, &core, mac(n), 2), Some(address));
        }
    }
}

#[test]
fn what_relays_add_is_read_without_trusting_it() {
    for agent in [
        &[][..],
        &[5],
        &[5, 4],
        &[5, 4, 1],
        &[5, 3, 1, 2, 3],
        &[1, 200, 5, 4, 198, 51, 100, 0],
    ] {
        let request = Request::parse(&relayed(packet(1, mac(1), NOBODY, &[]), RELAY, agent)).unwrap();
        assert_eq!(request.link_selection(), None, "{agent:?}");
    }
}
