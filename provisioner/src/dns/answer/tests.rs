// SPDX-License-Identifier: Apache-2.0
//! Packets in, packets out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_resolver::proto::rr::DNSClass;
use proptest::prelude::*;

use super::super::Host;
use super::super::question::{HEADER, LARGE, SMALL};
use super::*;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// Ten nodes that serve, and how often somebody looked at them.
#[derive(Default)]
struct Ten(AtomicUsize);

impl Hosts for Ten {
    fn hosts(&self) -> Vec<Host> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let host = |number: u8| Host {
            name: format!("node-{number:03}"),
            pools: vec!["compute".into()],
            address: Some([10, 77, 0, number].into()),
            heard: 1,
            serving: true,
        };
        let mut hosts: Vec<Host> = (21..31).map(host).collect();
        hosts.push(Host {
            name: "far".into(),
            address: Some([192, 0, 2, 7].into()),
            ..host(31)
        });
        hosts
    }
}

fn answerer(hosts: &Arc<Ten>) -> Answerer {
    let settings = Settings {
        domain: "lab.internal".into(),
        pools: vec!["compute".into(), "storage".into()],
        forward: vec![],
        behind_relays: vec![([198, 51, 100, 0].into(), 24)],
        serves: Arc::new(|_| true),
        answered: [SERVER].into(),
        port: 53,
    };
    let network = Interface {
        name: "br0".into(),
        index: 2,
        address: SERVER,
        prefix: 24,
        mac: None,
    };
    let answerer = Answerer::new(settings, Arc::clone(hosts) as Arc<dyn Hosts>);
    answerer.is_on(vec![network]);
    answerer
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn said(question: &Message) -> Message {
    said_to(question, CLIENT, Over::Udp).expect("an answer of our own")
}

fn said_to(question: &Message, from: Ipv4Addr, over: Over) -> Option<Message> {
    let packet = question.to_vec().unwrap();
    match answerer(&Arc::default()).answer(&packet, over, from, SERVER, Instant::now()) {
        Said::Now(bytes) => Some(Message::from_vec(&bytes).unwrap()),
        _ => None,
    }
}

fn code(reply: &Message) -> ResponseCode {
    reply.metadata.response_code
}

#[test]
fn a_name_is_answered_letter_by_letter_as_it_was_asked_whatever_the_case() {
    let reply = said(&question("nOdE-021.LaB.iNtErNaL.", RecordType::A));
    assert_eq!((reply.metadata.id, code(&reply)), (4711, ResponseCode::NoError));
    assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
    assert_eq!(reply.queries[0].name().to_ascii(), "nOdE-021.LaB.iNtErNaL.");
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].data, RData::A(A([10, 77, 0, 21].into())));
    assert_eq!(reply.answers[0].ttl, TTL);
}

#[test]
fn what_is_not_there_comes_with_the_time_for_which_that_may_be_believed() {
    let no_such_name = said(&question("node-099.lab.internal.", RecordType::A));
    assert_eq!(code(&no_such_name), ResponseCode::NXDomain);
    let no_such_kind = said(&question("node-021.lab.internal.", RecordType::AAAA));
    assert_eq!(code(&no_such_kind), ResponseCode::NoError);
    let nobody_in_it = said(&question("storage.lab.internal.", RecordType::A));
    assert_eq!(code(&nobody_in_it), ResponseCode::NoError);
    for reply in [no_such_name, no_such_kind, nobody_in_it] {
        assert!(reply.answers.is_empty());
        let [authority] = &reply.authorities[..] else {
            panic!("{reply:?}")
        };
        assert_eq!(authority.record_type(), RecordType::SOA);
        assert_eq!(authority.name.to_ascii(), "lab.internal.");
    }
}

#[test]
fn the_domain_has_a_server_and_addresses_have_names() {
    let server = said(&question("lab.internal.", RecordType::NS));
    assert!(format!("{:?}", server.answers).contains("controller"), "{server:?}");
    assert_eq!(said(&question("lab.internal.", RecordType::SOA)).answers.len(), 1);
    assert_eq!(said(&question("lab.internal.", RecordType::ANY)).answers.len(), 2);
    let pointer = said(&question("21.0.77.10.in-addr.arpa.", RecordType::PTR));
    let expected = Name::from_ascii("node-021.lab.internal.").unwrap();
    assert_eq!(pointer.answers[0].data, RData::PTR(PTR(expected)));
}

#[test]
fn the_nodes_of_a_pool_have_their_turns_also_where_both_kinds_of_address_are_asked_for() {
    let answerer = answerer(&Arc::default());
    let first = |kind| {
        let packet = question("compute.lab.internal.", kind).to_vec().unwrap();
        let Said::Now(bytes) = answerer.answer(&packet, Over::Udp, CLIENT, SERVER, Instant::now()) else {
            panic!("not answered")
        };
        let reply = Message::from_vec(&bytes).unwrap();
        reply.answers.first().map(|record| record.data.clone())
    };
    let mut firsts = Vec::new();
    for _ in 0..11 {
        firsts.extend(first(RecordType::A));
        assert_eq!(first(RecordType::AAAA), None);
    }
    firsts.dedup();
    assert_eq!(firsts.len(), 11, "{firsts:?}");
}

#[test]
fn names_of_elsewhere_are_asked_for_there_only_by_those_who_wish_it() {
    let mut asked = question("example.org.", RecordType::A);
    let packet = asked.to_vec().unwrap();
    let answerer = answerer(&Arc::default());
    let answer = |packet: &[u8]| answerer.answer(packet, Over::Udp, CLIENT, SERVER, Instant::now());
    assert!(matches!(answer(&packet), Said::Elsewhere(_)));
    asked.metadata.recursion_desired = false;
    assert_eq!(code(&said(&asked)), ResponseCode::Refused);
}

#[test]
fn strangers_are_refused_and_machines_of_our_networks_and_nodes_are_not() {
    let asked = question("node-021.lab.internal.", RecordType::A);
    let heard = |from: [u8; 4]| code(&said_to(&asked, from.into(), Over::Udp).unwrap());
    assert_eq!(heard(STRANGER.octets()), ResponseCode::Refused);
    assert_eq!(heard([10, 77, 0, 9]), ResponseCode::NoError);
    assert_eq!(heard([198, 51, 100, 9]), ResponseCode::NoError, "behind a relay");
    assert_eq!(heard([127, 0, 0, 1]), ResponseCode::NoError);
    assert_eq!(heard([192, 0, 2, 7]), ResponseCode::NoError, "a node behind a router");
    assert_eq!(heard([192, 0, 2, 8]), ResponseCode::Refused);
    let elsewhere = question("example.org.", RecordType::A);
    assert_eq!(
        code(&said_to(&elsewhere, STRANGER, Over::Tcp).unwrap()),
        ResponseCode::Refused
    );
}

#[test]
fn the_zone_is_not_given_away_whole() {
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        for over in [Over::Udp, Over::Tcp] {
            let reply = said_to(&question("lab.internal.", kind), CLIENT, over).unwrap();
            assert_eq!((code(&reply), reply.answers.len()), (ResponseCode::Refused, 0));
        }
    }
}

#[test]
fn a_pool_fits_into_512_bytes_and_nobody_gets_more_than_fits_a_network() {
    let packet = question("compute.lab.internal.", RecordType::A).to_vec().unwrap();
    let Said::Now(bytes) = answerer(&Arc::default()).answer(&packet, Over::Udp, CLIENT, SERVER, Instant::now()) else {
        panic!("not answered")
    };
    assert!(bytes.len() <= 512, "{}", bytes.len());
    let longest = |claimed: Option<u16>, over| {
        let mut asked = question("example.org.", RecordType::TXT);
        asked.edns = claimed.map(|claimed| {
            let mut edns = Edns::new();
            edns.set_max_payload(claimed);
            edns
        });
        let question = Question::read(&asked.to_vec().unwrap(), over).unwrap().unwrap();
        question.longest
    };
    assert_eq!(longest(None, Over::Udp), 512);
    assert_eq!(longest(Some(0), Over::Udp), 512);
    assert_eq!(longest(Some(u16::MAX), Over::Udp), 1232);
    assert_eq!(longest(None, Over::Tcp), u16::MAX);
}

#[test]
fn an_answer_that_does_not_fit_says_that_it_is_cut() {
    let asked = question("example.org.", RecordType::A).to_vec().unwrap();
    let question = Question::read(&asked, Over::Udp).unwrap().unwrap();
    let mut reply = question.reply(ResponseCode::NoError);
    let name = Name::from_ascii("example.org.").unwrap();
    reply.answers = vec![Record::from_rdata(name, 1, RData::A(A(CLIENT))); 100];
    let bytes = question.encode(&reply);
    assert!(bytes.len() <= 512);
    assert!(Message::from_vec(&bytes).unwrap().metadata.truncation);
}

#[test]
fn edns_is_answered_with_edns_and_a_version_that_nobody_knows_is_named() {
    let mut asked = question("node-021.lab.internal.", RecordType::A);
    assert!(said(&asked).edns.is_none());
    asked.edns = Some(Edns::new());
    assert_eq!(said(&asked).edns.unwrap().max_payload(), LARGE);
    asked.edns.as_mut().unwrap().set_version(1);
    let reply = said(&asked);
    assert_eq!(reply.edns.unwrap().version(), 0);
    // 16 is also BADSIG.
    assert_eq!(u16::from(code(&said(&asked))), u16::from(ResponseCode::BADVERS));
}

#[test]
fn what_is_no_question_is_told_so_or_not_answered() {
    let answerer = answerer(&Arc::default());
    let answer = |packet: &[u8]| match answerer.answer(packet, Over::Udp, CLIENT, SERVER, Instant::now()) {
        Said::Now(bytes) => Some((bytes[3] & 15, bytes.len())),
        _ => None,
    };
    let mut packet = question("node-021.lab.internal.", RecordType::A).to_vec().unwrap();
    assert_eq!(answer(&packet[..11]), None, "no header");
    assert_eq!(answer(&packet[..20]), Some((1, HEADER)), "half a name");
    packet[2] |= 0x80;
    assert_eq!(answer(&packet), None, "an answer");
    packet[2] = 5 << 3;
    assert_eq!(answer(&packet), Some((4, HEADER)), "an update");
    // As many questions as can be counted, of which none is there.
    let liar = [0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    assert_eq!(answer(&liar), Some((1, HEADER)));
    let mut chaos = question("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&said(&chaos)), ResponseCode::Refused);
}

#[test]
fn a_flood_of_questions_looks_at_the_nodes_five_times_a_second() {
    let hosts = Arc::new(Ten::default());
    let answerer = answerer(&hosts);
    let packet = question("node-021.lab.internal.", RecordType::A).to_vec().unwrap();
    let start = Instant::now();
    for millisecond in 0..1000 {
        let now = start + Duration::from_millis(millisecond);
        answerer.answer(&packet, Over::Udp, CLIENT, SERVER, now);
    }
    assert_eq!(hosts.0.load(Ordering::Relaxed), 5);
}

/// A question with some of its bytes changed, or cut off.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let names = prop_oneof![
        Just("node-021.lab.internal."),
        Just("compute.lab.internal."),
        Just("21.0.77.10.in-addr.arpa."),
        Just("lab.internal.")
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (names, any::<u16>(), changes, 0..200_usize).prop_map(|(name, kind, changes, length)| {
        let mut asked = question(name, RecordType::from(kind));
        asked.edns = (kind % 2 == 0).then(Edns::new);
        let mut packet = asked.to_vec().unwrap();
        for (at, byte) in changes {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        packet.truncate(length);
        packet
    })
}

/// No panic; whatever is said is an answer to this very question, and not much longer. Whether it was understood.
fn is_sane(answerer: &Answerer, packet: &[u8], now: Instant) -> bool {
    let mut understood = false;
    for (from, over) in [(CLIENT, Over::Udp), (CLIENT, Over::Tcp), (STRANGER, Over::Udp)] {
        let Said::Now(bytes) = answerer.answer(packet, over, from, SERVER, now) else {
            continue;
        };
        understood |= bytes.len() > HEADER;
        assert_eq!(bytes[..2], packet[..2]);
        assert!(bytes[2] & 0x80 != 0 && bytes.len() <= usize::from(SMALL));
        if from == STRANGER {
            assert!(
                bytes.len() <= packet.len().max(HEADER) + 11,
                "a stranger gets no more than he sent"
            );
        }
        Message::from_vec(&bytes).unwrap();
    }
    understood
}

/// Questions, broken as wires and attackers break them.
fn no_mutation_panics(packets: usize) {
    // A small generator of our own: the same packets every time, and a million in a few seconds.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let names = [
        "NODE-021.lab.internal.",
        "compute.lab.internal.",
        "21.0.77.10.in-addr.arpa.",
        "lab.internal.",
    ];
    let kinds = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::PTR,
        RecordType::ANY,
        RecordType::AXFR,
    ];
    let questions: Vec<Vec<u8>> = names
        .into_iter()
        .flat_map(|name| kinds.map(|kind| question(name, kind)))
        .flat_map(|plain| {
            let mut edns = plain.clone();
            edns.edns = Some(Edns::new());
            [plain, edns].map(|question| question.to_vec().unwrap())
        })
        .collect();
    let answerer = answerer(&Arc::default());
    let now = Instant::now();
    let mut understood = 0;
    for _ in 0..packets {
        let mut bytes = questions[random(questions.len())].clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len() + 1);
            match random(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, u8::try_from(random(256)).unwrap()),
                2 => bytes.extend_from_within(at..),
                // Lengths, pointers, counts.
                _ if at < bytes.len() => {
                    bytes[at] = [0, 1, 12, 63, 64, 192, 255, u8::try_from(random(256)).unwrap()][random(8)];
                }
                _ => {}
            }
        }
        understood += usize::from(is_sane(&answerer, &bytes, now));
    }
    assert!(understood > packets / 10, "{understood}");
    assert!(answerer.book().turns.len() <= 3, "nothing grows by what is asked");
}

#[test]
fn mutated_questions_never_panic_and_their_answers_can_be_read() {
    no_mutation_panics(50_000);
}

#[test]
#[ignore = "takes minutes: part of make test-long"]
fn five_million_mutated_questions_never_panic_and_their_answers_can_be_read() {
    no_mutation_panics(5_000_000);
}

proptest! {
    #[test]
    fn no_bytes_panic(packet in prop::collection::vec(any::<u8>(), 0..300)) {
        is_sane(&answerer(&Arc::default()), &packet, Instant::now());
    }

    #[test]
    fn no_damaged_question_panics(packet in damaged()) {
        is_sane(&answerer(&Arc::default()), &packet, Instant::now());
    }
}
