// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use std::time::Duration;

use pxe::dhcp::{Heard, probe};

use super::*;
use crate::config::DhcpMode;
use crate::network::{Content, Fetch, FetchProgress};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LATER: Duration = Duration::from_secs(10);

/// The core, as far as the edge sees it.
#[derive(Default)]
struct Core {
    known: Vec<Mac>,
    sighted: Mutex<Vec<Sighting>>,
    noticed: Mutex<Vec<&'static str>>,
}

impl Sightings for Core {
    fn is_known(&self, mac: Mac) -> bool {
        self.known.contains(&mac)
    }
    fn seen(&self, sighting: Sighting) {
        self.sighted.lock().unwrap().push(sighting);
    }
    fn fetching(&self, _: &FetchProgress<'_>) {}
    fn fetched(&self, _: Fetch) {}
    fn service(&self, _: &'static str, _: String, _: bool) {}
    fn notice(&self, notice: Notice) {
        self.noticed.lock().unwrap().push(notice.kind);
    }
}

/// All loaders there are.
struct All;

impl Files for All {
    fn get(&self, _: &str) -> Option<Content> {
        Some(Vec::new().into())
    }
    fn has(&self, _: &str) -> bool {
        true
    }
}

/// A segment with 100 addresses that has been listened to.
fn segment() -> Segment {
    let interface = Interface {
        name: "br0".into(),
        index: 2,
        address: SERVER,
        prefix: 24,
        mac: None,
    };
    let network = Network {
        server: SERVER,
        mask: interface.mask(),
        broadcast: interface.broadcast(),
        gateway: None,
        dns: vec![],
        domain: String::new(),
        ntp: vec![],
    };
    let mut watch = Watch::new(DhcpMode::Auto, [SERVER].into(), (SERVER, 24), Duration::ZERO);
    watch.tick(LATER);
    Segment {
        interface,
        network,
        names: None,
        relays: Vec::new(),
        server: bootfile::Server {
            address: SERVER,
            http_port: 8080,
        },
        table: Table::new(Ipv4Addr::new(10, 77, 0, 100), Ipv4Addr::new(10, 77, 0, 199), &[SERVER]),
        pool: (Ipv4Addr::new(10, 77, 0, 100), Ipv4Addr::new(10, 77, 0, 199)),
        watch,
        lease_time: 3600,
        probe: Mac([2, 9, 9, 9, 9, 9]),
        reserved: HashMap::new(),
        dialects: Dialects::default(),
        encores: Encores::default(),
        checks: Checks::default(),
        relayed: Vec::new(),
        promises: Vec::new(),
        troubles: Vec::new(),
        noticed: BTreeMap::new(),
    }
}

/// What another server says, from its own address.
fn spoken(heard: Heard) -> Spoken {
    let from = heard.server;
    Spoken { heard, from }
}

/// Another server's offer.
fn offer_of(server: Ipv4Addr) -> Spoken {
    spoken(Heard {
        server,
        client: None,
        xid: 1,
        leases: true,
        offers: true,
        pxe: false,
    })
}

fn mac(n: u32) -> Mac {
    let mut bytes = [0x52, 0x54, 0, 0, 0, 0];
    bytes[2..].copy_from_slice(&n.to_be_bytes());
    Mac(bytes)
}

/// A packet of a client: message type, the address it uses, and options.
fn packet(kind: u8, mac: Mac, ciaddr: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut packet = probe(mac, 7)[..240].to_vec();
    packet[12..16].copy_from_slice(&ciaddr.octets());
    packet.extend([53, 1, kind]);
    for (code, value) in options {
        packet.extend([*code, u8::try_from(value.len()).unwrap()]);
        packet.extend(*value);
    }
    packet.push(255);
    packet
}

fn ask(segment: &mut Segment, core: &Core, packet: &[u8], unix: u64) -> Option<Outgoing> {
    let now = Now { unix, running: LATER };
    let lines = Lines::default();
    answer(
        segment,
        &Around {
            files: &All,
            sightings: core,
            lines: &lines,
        },
        packet,
        now,
    )
    .unwrap()
}

/// The address in an answer.
fn yiaddr(answer: &Outgoing) -> Ipv4Addr {
    Ipv4Addr::from(<[u8; 4]>::try_from(&answer.bytes[16..20]).unwrap())
}

/// A client asks for an address and takes it.
fn lease(segment: &mut Segment, core: &Core, mac: Mac, unix: u64) -> Option<Ipv4Addr> {
    let offered = yiaddr(&ask(segment, core, &packet(1, mac, NOBODY, &[]), unix)?);
    let wish = [(50, &offered.octets()[..]), (54, &SERVER.octets())];
    let ack = ask(segment, core, &packet(3, mac, NOBODY, &wish), unix)?;
    assert_eq!((ack.kind, yiaddr(&ack)), ("ack", offered));
    Some(offered)
}

#[test]
fn a_client_gets_an_address_that_is_written_down_before_it_hears_so() {
    let (mut segment, core) = (segment(), Core::default());
    let offer = ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[]), 0).unwrap();
    assert_eq!(
        (offer.kind, segment.promises.len()),
        ("offer", 0),
        "an offer is no promise"
    );
    let address = lease(&mut segment, &core, mac(1), 0).unwrap();
    let Some(Record::Bound(bound)) = segment.promises.last() else {
        panic!("nothing is written down")
    };
    assert_eq!((bound.address, bound.mac, bound.until), (address, mac(1), 3600));
    assert_eq!(core.sighted.lock().unwrap().last().unwrap().address, Some(address));
}

#[test]
fn firmware_is_told_what_to_load_and_a_system_is_not() {
    let (mut segment, core) = (segment(), Core::default());
    let class = (60, &b"PXEClient:Arch:00000:UNDI:002001"[..]);
    let offer = ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[class]), 0).unwrap();
    assert!(offer.bytes[108..].starts_with(b"undionly.kpxe\0"));
    assert_eq!(offer.bytes[20..24], SERVER.octets());
    let offer = ask(
        &mut segment,
        &core,
        &packet(1, mac(1), NOBODY, &[class, (77, b"iPXE")]),
        0,
    )
    .unwrap();
    assert!(offer.bytes[108..].starts_with(b"http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-00-00-01&arch=bios\0"));
    let offer = ask(
        &mut segment,
        &core,
        &packet(1, mac(1), NOBODY, &[(60, b"udhcp 1.35")]),
        0,
    )
    .unwrap();
    assert_eq!(offer.bytes[108], 0);
    let told: Vec<_> = core
        .sighted
        .lock()
        .unwrap()
        .iter()
        .map(|sighting| sighting.told.clone())
        .collect();
    assert_eq!((told[0].as_str(), told[2].as_str()), ("undionly.kpxe", ""));
}

#[test]
fn all_programs_of_one_machine_share_one_address() {
    let (mut segment, core) = (segment(), Core::default());
    let first = lease(&mut segment, &core, mac(1), 0).unwrap();
    for id in [
        &b"\x01\x52\x54\0\0\0\x01"[..],
        b"\0uuid-of-the-firmware",
        b"\xff\0\0\0\x01duid",
    ] {
        let offer = ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[(61, id)]), 5).unwrap();
        assert_eq!(yiaddr(&offer), first);
    }
}

#[test]
fn renewing_extends_the_lease_and_goes_to_the_client_itself() {
    let (mut segment, core) = (segment(), Core::default());
    let address = lease(&mut segment, &core, mac(1), 0).unwrap();
    let ack = ask(&mut segment, &core, &packet(3, mac(1), address, &[]), 1800).unwrap();
    assert_eq!((ack.kind, ack.destination), ("ack", Destination::Address(address)));
    let Some(Record::Bound(bound)) = segment.promises.last() else {
        panic!("nothing is written down")
    };
    assert_eq!(bound.until, 1800 + 3600);
}

#[test]
fn after_a_restart_without_its_log_the_server_gives_clients_what_they_have() {
    let (mut segment, core) = (segment(), Core::default());
    let had = Ipv4Addr::new(10, 77, 0, 150);
    let ack = ask(&mut segment, &core, &packet(3, mac(1), had, &[]), 0).unwrap();
    assert_eq!((ack.kind, yiaddr(&ack)), ("ack", had));
    let reboot = [(50, &had.octets()[..])];
    assert_eq!(
        ask(&mut segment, &core, &packet(3, mac(1), NOBODY, &reboot), 1)
            .unwrap()
            .kind,
        "ack"
    );
}

#[test]
fn a_client_from_another_network_is_told_to_start_again() {
    let (mut segment, core) = (segment(), Core::default());
    let wish = [(50, &[192, 168, 0, 7][..])];
    let nak = ask(&mut segment, &core, &packet(3, mac(1), NOBODY, &wish), 0).unwrap();
    assert_eq!((nak.kind, nak.destination), ("nak", Destination::Broadcast));
    assert_eq!(yiaddr(&nak), NOBODY);
}

#[test]
fn an_answer_never_leaves_for_an_address_that_a_packet_makes_up() {
    let (mut segment, core) = (segment(), Core::default());
    let victim = Ipv4Addr::new(192, 0, 2, 7);
    for kind in [3, 8] {
        assert_eq!(ask(&mut segment, &core, &packet(kind, mac(1), victim, &[]), 0), None);
    }
    let mut relayed = packet(1, mac(1), NOBODY, &[]);
    relayed[24..28].copy_from_slice(&victim.octets());
    assert_eq!(ask(&mut segment, &core, &relayed, 0), None);
}

#[test]
fn a_relay_on_the_segment_is_answered() {
    let (mut segment, core) = (segment(), Core::default());
    let mut relayed = packet(1, mac(1), NOBODY, &[]);
    relayed[24..28].copy_from_slice(&[10, 77, 0, 2]);
    let offer = ask(&mut segment, &core, &relayed, 0).unwrap();
    assert_eq!(offer.destination, Destination::Relay(Ipv4Addr::new(10, 77, 0, 2)));
}

#[test]
fn inform_gives_settings_and_no_address() {
    let (mut segment, core) = (segment(), Core::default());
    let own = Ipv4Addr::new(10, 77, 0, 30);
    let ack = ask(&mut segment, &core, &packet(8, mac(1), own, &[]), 0).unwrap();
    assert_eq!((yiaddr(&ack), ack.destination), (NOBODY, Destination::Address(own)));
    assert!(segment.promises.is_empty());
}

#[test]
fn release_and_decline_are_not_answered_and_are_written_down() {
    let (mut segment, core) = (segment(), Core::default());
    let address = lease(&mut segment, &core, mac(1), 0).unwrap();
    assert_eq!(ask(&mut segment, &core, &packet(7, mac(1), address, &[]), 1), None);
    assert_eq!(segment.promises.last(), Some(&Record::Freed(address)));
    let address = lease(&mut segment, &core, mac(2), 2).unwrap();
    let declined = [(50, &address.octets()[..])];
    assert_eq!(ask(&mut segment, &core, &packet(4, mac(2), NOBODY, &declined), 3), None);
    assert_eq!(segment.promises.last(), Some(&Record::Freed(address)));
    assert_eq!(*core.noticed.lock().unwrap(), ["address-in-use"]);
}

#[test]
fn another_server_ends_leasing_at_once() {
    let (mut segment, core) = (segment(), Core::default());
    let address = lease(&mut segment, &core, mac(1), 0).unwrap();
    let news = segment.watch.heard(&offer_of(OTHER), LATER);
    let lines = Lines::default();
    let around = Around {
        files: &All,
        sightings: &core,
        lines: &lines,
    };
    tell(&mut segment, &around, news, 1);
    assert_eq!(*core.noticed.lock().unwrap(), ["dhcp-beside"]);
    assert!(segment.in_words().contains("10.77.0.254"), "{}", segment.in_words());
    assert_eq!(ask(&mut segment, &core, &packet(1, mac(3), NOBODY, &[]), 2), None);
    assert_eq!(
        ask(&mut segment, &core, &packet(3, mac(1), address, &[]), 2),
        None,
        "nor is it renewed"
    );
}

#[test]
fn our_own_probe_is_not_answered() {
    let (mut segment, core) = (segment(), Core::default());
    let question = probe(segment.probe, 1);
    assert_eq!(ask(&mut segment, &core, &question, 0), None);
    assert!(core.sighted.lock().unwrap().is_empty());
}

#[test]
fn a_hundred_thousand_cards_do_not_shut_out_known_machines_nor_fill_the_log() {
    let known: Vec<_> = (1_000_000..1_000_020).map(mac).collect();
    let (mut segment, core) = (
        segment(),
        Core {
            known: known.clone(),
            ..Core::default()
        },
    );
    for n in 0..100_000 {
        let unix = 1000 + u64::from(n / 1000);
        if let Some(offer) = ask(&mut segment, &core, &packet(1, mac(n), NOBODY, &[]), unix) {
            let wish = [(50, &yiaddr(&offer).octets()[..]), (54, &SERVER.octets())];
            ask(&mut segment, &core, &packet(3, mac(n), NOBODY, &wish), unix);
        }
    }
    assert!(segment.promises.len() <= 100, "{} promises", segment.promises.len());
    let notices = core.noticed.lock().unwrap().len();
    assert!((1..=3).contains(&notices), "{notices} notices");
    for machine in known {
        assert!(lease(&mut segment, &core, machine, 2000).is_some());
    }
}

#[test]
fn a_request_that_names_another_server_stops_nothing_however_often_it_comes() {
    let (mut segment, core) = (segment(), Core::default());
    let mut probes = 0;
    for n in 0..1000 {
        let other = [10, 77, 0, u8::try_from(2 + n % 250).unwrap()];
        let chosen = [(50, &[10, 77, 0, 9][..]), (54, &other)];
        assert_eq!(ask(&mut segment, &core, &packet(3, mac(n), NOBODY, &chosen), 1), None);
        probes += u32::from(segment.watch.tick(LATER + Duration::from_secs(1)).0);
        assert!(lease(&mut segment, &core, mac(1_000_000), 1).is_some(), "{other:?}");
    }
    assert!(
        (1..=2).contains(&probes),
        "it is looked for, and not a thousand times: {probes}"
    );
    // Who said so is told, once a minute.
    assert_eq!(*core.noticed.lock().unwrap(), ["dhcp-named"]);
    assert!(
        segment.in_words().contains("says that it chose the DHCP server"),
        "{}",
        segment.in_words()
    );
}

#[test]
fn what_we_send_is_recognised_as_ours() {
    let (mut segment, core) = (segment(), Core::default());
    let offer = ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[]), 0).unwrap();
    let heard = Heard::parse(&offer.bytes).unwrap();
    assert_eq!(segment.watch.heard(&spoken(heard), LATER), []);
}

mod beside;
mod conflicts;
mod lossy;
mod relays;

#[test]
fn an_address_of_the_server_the_router_or_the_network_is_never_given_whatever_the_settings_say() {
    let router = Ipv4Addr::new(10, 77, 0, 9);
    for last in [0, 1, 9, 255] {
        let address = Ipv4Addr::new(10, 77, 0, last);
        let (mut segment, core) = (segment(), Core::default());
        segment.network.gateway = Some(router);
        // As from a lease log and a pool of before the interface got its present address.
        segment.table = Table::new(address, address, &[]);
        assert!(
            ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[]), 1000).is_none(),
            "{address}"
        );
        let wish = [(50, &address.octets()[..]), (54, &SERVER.octets())];
        let answer = ask(&mut segment, &core, &packet(3, mac(1), NOBODY, &wish), 1000);
        assert!(answer.is_none_or(|answer| answer.kind == "nak"), "{address}");
        assert!(segment.promises.is_empty());
        let own = Reservation {
            mac: mac(2),
            address,
            name: None,
        };
        segment.reserved.insert(mac(2), own);
        assert!(
            ask(&mut segment, &core, &packet(1, mac(2), NOBODY, &[]), 1000).is_none(),
            "{address}"
        );
        let answer = ask(&mut segment, &core, &packet(3, mac(2), NOBODY, &wish), 1000);
        assert!(answer.is_none_or(|answer| answer.kind == "nak"), "{address}");
    }
}
