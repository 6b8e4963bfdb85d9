// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use std::fmt::Write as _;
use std::path::Path;

use dhcproto::v4::{DhcpOption, Message as Owned};
use dhcproto::{Decodable as _, Decoder};
use expect_test::{expect, expect_file};
use proptest::prelude::*;

use super::*;
use crate::arp::claim;
use crate::bootfile::{Bootfile, Server, choose};
use crate::client::{Firmware, Speaker};
use crate::proxy::{Dialect, Dialects, Proxy};
use crate::tftp::ReadRequest;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const YOU: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 130);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

const PACKETS: [(&str, &[u8]); 13] = [
    (
        "seabios-ipxe-rom-discover",
        include_bytes!("../testdata/packets/seabios-ipxe-rom-discover.bin"),
    ),
    (
        "seabios-ipxe-rom-request",
        include_bytes!("../testdata/packets/seabios-ipxe-rom-request.bin"),
    ),
    (
        "ovmf-pxe-discover",
        include_bytes!("../testdata/packets/ovmf-pxe-discover.bin"),
    ),
    (
        "ovmf-pxe-request",
        include_bytes!("../testdata/packets/ovmf-pxe-request.bin"),
    ),
    (
        "ovmf-http-discover",
        include_bytes!("../testdata/packets/ovmf-http-discover.bin"),
    ),
    (
        "ovmf-http-request",
        include_bytes!("../testdata/packets/ovmf-http-request.bin"),
    ),
    (
        "ipxe-efi-discover",
        include_bytes!("../testdata/packets/ipxe-efi-discover.bin"),
    ),
    (
        "ipxe-efi-request",
        include_bytes!("../testdata/packets/ipxe-efi-request.bin"),
    ),
    (
        "intel-boot-agent-discover",
        include_bytes!("../testdata/packets/intel-boot-agent-discover.bin"),
    ),
    (
        "udhcpc-discover",
        include_bytes!("../testdata/packets/udhcpc-discover.bin"),
    ),
    (
        "ovmf-pxe-boot-server",
        include_bytes!("../testdata/packets/ovmf-pxe-boot-server.bin"),
    ),
    (
        "dhclient-discover",
        include_bytes!("../testdata/packets/dhclient-discover.bin"),
    ),
    (
        "windows-hostname-first-discover",
        include_bytes!("../testdata/packets/windows-hostname-first-discover.bin"),
    ),
];

fn packet(name: &str) -> &'static [u8] {
    PACKETS.iter().find(|(other, _)| *other == name).unwrap().1
}

fn network() -> Network {
    Network {
        server: SERVER,
        mask: Ipv4Addr::new(255, 255, 255, 0),
        broadcast: Ipv4Addr::new(10, 77, 0, 255),
        gateway: None,
        dns: vec![],
        domain: String::new(),
        ntp: vec![SERVER],
    }
}

fn reply<'a>(kind: ReplyKind, network: &'a Network, boot: &'a Bootfile) -> Reply<'a> {
    let (address, terms, message) = match kind {
        ReplyKind::Nak => (NOBODY, None, "that address is in use"),
        _ => (YOU, Some(Terms { lease: 3600 }), ""),
    };
    Reply {
        kind,
        address,
        terms,
        network,
        boot,
        host_name: "",
        message,
    }
}

/// A DISCOVER with these options after the message type.
fn discover(options: &[u8]) -> Vec<u8> {
    let mut packet = packet("udhcpc-discover")[..HEADER].to_vec();
    packet.extend([53, 1, 1]);
    packet.extend(options);
    packet.push(255);
    packet
}

/// A reply in words, by the codec's own decoder.
fn in_words(bytes: &[u8]) -> String {
    let message = Owned::decode(&mut Decoder::new(bytes)).unwrap();
    let mut words = format!(
        "ciaddr {} yiaddr {} siaddr {} giaddr {} flags {:04x}\nfile {}\n",
        message.ciaddr(),
        message.yiaddr(),
        message.siaddr(),
        message.giaddr(),
        u16::from(message.flags()),
        message.fname_str().map_or("-", Result::unwrap).trim_end_matches('\0'),
    );
    for option in DhcpOptionIterator::new(&bytes[HEADER..]) {
        let code = u8::from(option.code());
        writeln!(words, "{code:3} {}", option.data().escape_ascii()).unwrap();
    }
    words
}

#[test]
fn real_clients_are_understood() {
    for (name, bytes) in PACKETS {
        let request = Request::parse(bytes).unwrap();
        let file = Path::new("../testdata/packets").join(name).with_extension("txt");
        expect_file![file].assert_eq(&format!("{request:#?}\n"));
    }
}

#[test]
fn each_firmware_gets_its_loader() {
    let server = Server {
        address: SERVER,
        http_port: 8080,
    };
    let told = PACKETS.iter().fold(String::new(), |told, (name, bytes)| {
        let boot = choose(&Request::parse(bytes).unwrap().client, &server, None, |_| true);
        format!("{told}{name}: {boot:?}\n")
    });
    expect![[r#"
        seabios-ipxe-rom-discover: Url("http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01&uuid=00112233-4455-6677-8899-aabbccddeeff&arch=bios")
        seabios-ipxe-rom-request: Url("http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01&uuid=00112233-4455-6677-8899-aabbccddeeff&arch=bios")
        ovmf-pxe-discover: Tftp("shimx64.efi")
        ovmf-pxe-request: Tftp("shimx64.efi")
        ovmf-http-discover: Url("http://10.77.0.1:8080/loaders/shimx64.efi")
        ovmf-http-request: Url("http://10.77.0.1:8080/loaders/shimx64.efi")
        ipxe-efi-discover: Url("http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-02&uuid=00112233-4455-6677-8899-aabbccddeeff&arch=uefi-x64")
        ipxe-efi-request: Url("http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-02&uuid=00112233-4455-6677-8899-aabbccddeeff&arch=uefi-x64")
        intel-boot-agent-discover: Tftp("undionly.kpxe")
        udhcpc-discover: Nothing
        ovmf-pxe-boot-server: Tftp("shimx64.efi")
        dhclient-discover: Nothing
        windows-hostname-first-discover: Nothing
    "#]].assert_eq(&told);
}

#[test]
fn an_offer_to_uefi_pxe_is_what_its_specification_wants() {
    let request = Request::parse(packet("ovmf-pxe-discover")).unwrap();
    let (network, boot) = (network(), Bootfile::Tftp("ipxe.efi"));
    let offer = reply(ReplyKind::Offer, &network, &boot);
    expect![[r#"
        ciaddr 0.0.0.0 yiaddr 10.77.0.130 siaddr 10.77.0.1 giaddr 0.0.0.0 flags 8000
        file ipxe.efi
         53 \x02
         54 \nM\x00\x01
         51 \x00\x00\x0e\x10
         58 \x00\x00\x07\x08
         59 \x00\x00\x0cN
          1 \xff\xff\xff\x00
         28 \nM\x00\xff
         42 \nM\x00\x01
         66 10.77.0.1
         67 ipxe.efi
         97 \x003\"\x11\x00UDwf\x88\x99\xaa\xbb\xcc\xdd\xee\xff
    "#]]
    .assert_eq(&in_words(&offer.encode(&request)));
    assert_eq!(
        offer.destination(&request),
        Destination::Broadcast,
        "the client set the flag"
    );
}

/// The text of an option as old ROMs read it: from its first byte up to the next zero byte, whatever its length says.
fn up_to_zero(bytes: &[u8], wanted: u8) -> Option<String> {
    let mut rest = &bytes[HEADER..];
    loop {
        match rest {
            [0, tail @ ..] => rest = tail,
            [255, ..] | [] | [_] => return None,
            [code, _, text @ ..] if *code == wanted => {
                let end = text.iter().position(|byte| *byte == 0)?;
                return Some(text[..end].escape_ascii().to_string());
            }
            [_, length, tail @ ..] => rest = &tail[usize::from(*length)..],
        }
    }
}

#[test]
fn a_rom_that_reads_names_up_to_a_zero_byte_reads_no_further() {
    let file = "undionly.kpxe";
    let (network, boot) = (network(), Bootfile::Tftp(file));
    let plain = Request::parse(packet("intel-boot-agent-discover")).unwrap();
    let mut wants = plain.wants;
    wants.add(66);
    // With option 97 or 61 behind the name, a relay's option, or the end.
    for (machine_id, client_id, relay_agent) in [
        (plain.machine_id.clone(), vec![], vec![]),
        (vec![], vec![1; 7], vec![]),
        (vec![], vec![], vec![1, 1, 9]),
        (vec![], vec![], vec![]),
    ] {
        let request = Request {
            wants,
            client_id,
            machine_id,
            relay_agent,
            ..plain.clone()
        };
        let proxy = Proxy {
            server: SERVER,
            boot: &boot,
            dialect: Dialect::Plain,
        };
        for bytes in [
            reply(ReplyKind::Offer, &network, &boot).encode(&request),
            reply(ReplyKind::Ack, &network, &boot).encode(&request),
            proxy.offer(&request).unwrap(),
            proxy.ack(&request).unwrap(),
        ] {
            assert_eq!(up_to_zero(&bytes, 67).as_deref(), Some(file));
            assert_eq!(up_to_zero(&bytes, 66).as_deref(), Some("10.77.0.1"));
            // Who reads by length reads the same.
            assert!(in_words(&bytes).contains("\n 66 10.77.0.1\n 67 undionly.kpxe\n"));
        }
    }
}

#[test]
fn http_boot_hears_its_own_class_and_a_url() {
    let request = Request::parse(packet("ovmf-http-discover")).unwrap();
    let network = network();
    let boot = Bootfile::Url("http://10.77.0.1:8080/loaders/ipxe.efi".into());
    let offer = reply(ReplyKind::Offer, &network, &boot);
    expect![[r#"
        ciaddr 0.0.0.0 yiaddr 10.77.0.130 siaddr 10.77.0.1 giaddr 0.0.0.0 flags 8000
        file http://10.77.0.1:8080/loaders/ipxe.efi
         53 \x02
         54 \nM\x00\x01
         51 \x00\x00\x0e\x10
         58 \x00\x00\x07\x08
         59 \x00\x00\x0cN
          1 \xff\xff\xff\x00
         28 \nM\x00\xff
         42 \nM\x00\x01
         60 HTTPClient
         67 http://10.77.0.1:8080/loaders/ipxe.efi
         97 \x003\"\x11\x00UDwf\x88\x99\xaa\xbb\xcc\xdd\xee\xff
    "#]]
    .assert_eq(&in_words(&offer.encode(&request)));
}

#[test]
fn ipxe_hears_that_it_need_not_wait_for_proxies() {
    let request = Request::parse(packet("seabios-ipxe-rom-request")).unwrap();
    let network = network();
    let boot = Bootfile::Url("http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01".into());
    let ack = reply(ReplyKind::Ack, &network, &boot);
    expect![[r#"
        ciaddr 0.0.0.0 yiaddr 10.77.0.130 siaddr 10.77.0.1 giaddr 0.0.0.0 flags 0000
        file http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01
         53 \x05
         54 \nM\x00\x01
         51 \x00\x00\x0e\x10
         58 \x00\x00\x07\x08
         59 \x00\x00\x0cN
          1 \xff\xff\xff\x00
         28 \nM\x00\xff
         42 \nM\x00\x01
        175 \xb0\x01\x01
         67 http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01
         97 \x003\"\x11\x00UDwf\x88\x99\xaa\xbb\xcc\xdd\xee\xff
         61 \x01RT\x00w\x00\x01
    "#]]
    .assert_eq(&in_words(&ack.encode(&request)));
    assert_eq!(ack.destination(&request), Destination::Card(YOU));
}

#[test]
fn a_gateway_and_dns_are_told_only_where_they_exist() {
    let request = Request::parse(packet("udhcpc-discover")).unwrap();
    let network = Network {
        gateway: Some(Ipv4Addr::new(10, 77, 0, 254)),
        dns: vec![SERVER, YOU],
        domain: "lab.internal".into(),
        ..network()
    };
    let words = in_words(&reply(ReplyKind::Offer, &network, &Bootfile::Nothing).encode(&request));
    assert!(
        words.contains("\n  3 \\nM\\x00\\xfe\n") && words.contains("\n  6 "),
        "{words}"
    );
    let none = self::network();
    let words = in_words(&reply(ReplyKind::Offer, &none, &Bootfile::Nothing).encode(&request));
    assert!(!words.contains("\n  3 ") && !words.contains("\n  6 "), "{words}");
}

#[test]
fn replies_go_where_rfc_2131_sends_them() {
    let network = network();
    let nothing = Bootfile::Nothing;
    let request = Request::parse(packet("udhcpc-discover")).unwrap();
    let relay = Ipv4Addr::new(10, 77, 9, 1);
    let using = Ipv4Addr::new(10, 77, 0, 140);
    let to = |kind, request: &Request| reply(kind, &network, &nothing).destination(request);
    for kind in [ReplyKind::Offer, ReplyKind::Ack] {
        assert_eq!(to(kind, &request), Destination::Card(YOU));
        assert_eq!(
            to(
                kind,
                &Request {
                    broadcast: true,
                    ..request.clone()
                }
            ),
            Destination::Broadcast
        );
        assert_eq!(
            to(
                kind,
                &Request {
                    ciaddr: using,
                    ..request.clone()
                }
            ),
            Destination::Address(using)
        );
        let relayed = Request {
            giaddr: relay,
            ciaddr: using,
            broadcast: true,
            ..request.clone()
        };
        assert_eq!(to(kind, &relayed), Destination::Relay(relay));
    }
    let renewing = Request {
        ciaddr: using,
        ..request.clone()
    };
    assert_eq!(to(ReplyKind::Nak, &renewing), Destination::Broadcast);
    let relayed = Request {
        giaddr: relay,
        ..request
    };
    assert_eq!(to(ReplyKind::Nak, &relayed), Destination::Relay(relay));
    let nak = reply(ReplyKind::Nak, &network, &nothing).encode(&relayed);
    assert_eq!(nak[10] & 0x80, 0x80, "a refusal through a relay is broadcast by it");
}

#[test]
fn every_reply_has_at_least_300_bytes() {
    let (network, boot) = (network(), Bootfile::Nothing);
    for (_, bytes) in PACKETS {
        let request = Request::parse(bytes).unwrap();
        for kind in [ReplyKind::Offer, ReplyKind::Ack, ReplyKind::Nak] {
            assert!(reply(kind, &network, &boot).encode(&request).len() >= 300);
        }
    }
}

#[test]
fn what_a_relay_and_a_client_sent_for_themselves_comes_back_byte_for_byte() {
    let mut packet = discover(&[82, 8, 2, 2, 0xff, 0xfe, 1, 2, 3, 4, 61, 4, 0, 0xde, 0xad, 0xff]);
    packet[24..28].copy_from_slice(&[10, 77, 9, 1]);
    let request = Request::parse(&packet).unwrap();
    let (network, boot) = (network(), Bootfile::Nothing);
    let bytes = reply(ReplyKind::Offer, &network, &boot).encode(&request);
    let options: Vec<_> = DhcpOptionIterator::new(&bytes[HEADER..])
        .map(|o| (u8::from(o.code()), o.data().to_vec()))
        .collect();
    assert_eq!(
        options.last().unwrap(),
        &(82, vec![2, 2, 0xff, 0xfe, 1, 2, 3, 4]),
        "last, and in its own order"
    );
    assert!(options.contains(&(61, vec![0, 0xde, 0xad, 0xff])));
}

#[test]
fn a_broken_option_costs_only_itself() {
    // A host name that is not UTF-8 first, then an address of 3 bytes, then what matters.
    let request = Request::parse(&discover(&[
        12, 3, 0xff, 0xfe, 0, 50, 3, 1, 2, 3, 60, 9, b'P', b'X', b'E', b'C', b'l', b'i', b'e', b'n', b't', 93, 2, 0, 0,
    ]))
    .unwrap();
    assert_eq!(request.requested, None);
    assert_eq!(request.client.speaker, Speaker::PxeRom);
    assert_eq!(request.client.firmware, Some(Firmware::Bios));
}

#[test]
fn options_in_the_file_and_server_name_fields_count_too() {
    let mut packet = discover(&[52, 1, 3]);
    packet[108..115].copy_from_slice(&[50, 4, 10, 77, 0, 130, 255]);
    packet[44..51].copy_from_slice(&[54, 4, 10, 77, 0, 1, 255]);
    let request = Request::parse(&packet).unwrap();
    assert_eq!((request.requested, request.server), (Some(YOU), Some(SERVER)));
}

#[test]
fn what_is_no_request_is_named() {
    let good = packet("udhcpc-discover").to_vec();
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Request::parse(&bytes).unwrap_err()
    };
    assert_eq!(Request::parse(&good[..239]), Err(Unusable::Short));
    assert_eq!(change(0, 2), Unusable::NotARequest);
    assert_eq!(change(1, 6), Unusable::HardwareAddress);
    for hlen in [0, 5, 7, 16, 17, 255] {
        assert_eq!(change(2, hlen), Unusable::HardwareAddress, "hlen {hlen}");
    }
    assert_eq!(change(28, 0xff), Unusable::HardwareAddress);
    assert_eq!(change(236, 0), Unusable::NotDhcp);
    for server_message in [0, 2, 5, 6, 9, 255] {
        assert_eq!(change(242, server_message), Unusable::MessageType);
    }
}

#[test]
fn another_server_is_heard() {
    let request = Request::parse(packet("udhcpc-discover")).unwrap();
    let (network, boot) = (network(), Bootfile::Nothing);
    let offer = reply(ReplyKind::Offer, &network, &boot).encode(&request);
    let heard = Heard::parse(&offer).unwrap();
    assert_eq!(
        heard,
        Heard {
            server: SERVER,
            client: Some(request.client.mac),
            xid: request.xid,
            leases: true,
            offers: true,
            pxe: false
        }
    );
    // A proxy offers no address.
    let proxy = Reply {
        address: NOBODY,
        terms: None,
        ..reply(ReplyKind::Offer, &network, &boot)
    };
    assert!(!Heard::parse(&proxy.encode(&request)).unwrap().leases);
    assert_eq!(Heard::parse(packet("udhcpc-discover")), Err(Unusable::NotARequest));
}

#[test]
fn real_servers_are_heard() {
    for (name, bytes) in [
        (
            "dnsmasq-offer",
            &include_bytes!("../testdata/packets/dnsmasq-offer.bin")[..],
        ),
        ("kea-offer", &include_bytes!("../testdata/packets/kea-offer.bin")[..]),
    ] {
        let heard = Heard::parse(bytes).unwrap();
        let file = Path::new("../testdata/packets").join(name).with_extension("txt");
        expect_file![file].assert_eq(&format!("{heard:#?}\n"));
    }
}

#[test]
fn a_probe_is_a_discover_that_wants_a_broadcast() {
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let request = Request::parse(&probe(mac, 7)).unwrap();
    assert_eq!(
        (request.kind, request.client.mac, request.xid, request.broadcast),
        (Kind::Discover, mac, 7, true)
    );
}

/// Packets that firmware could send, broken as wires, attackers and bad firmware break them: each is read by every
/// parser, and what we answer can be read.
fn no_mutation_panics(packets: usize) {
    // A small generator of our own: the same packets every time, and a million in a few seconds.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    let (network, server) = (
        network(),
        Server {
            address: SERVER,
            http_port: 8080,
        },
    );
    let mut dialects = Dialects::default();
    let mut understood = 0;
    let mut bytes = Vec::new();
    for now in 0..packets {
        bytes.clear();
        bytes.extend_from_slice(PACKETS[random(PACKETS.len())].1);
        mutate(&mut bytes, &mut random);
        let _ = Heard::parse(&bytes);
        let Ok(request) = Request::parse(&bytes) else { continue };
        understood += 1;
        let _ = request.link_selection();
        let _ = (ReadRequest::parse(&bytes), claim(&bytes));
        let boot = choose(&request.client, &server, None, |_| true);
        let proxy = Proxy {
            server: SERVER,
            boot: &boot,
            dialect: dialects.choose(&request.client, now as u64),
        };
        dialects.understood(&request.client);
        let leased = reply(ReplyKind::Ack, &network, &boot).encode(&request);
        let proxied = [proxy.offer(&request), proxy.ack(&request)].into_iter().flatten();
        for (sent, leases) in [(leased, true)].into_iter().chain(proxied.map(|sent| (sent, false))) {
            assert!(
                sent.len() < 240 + 4 * bytes.len() + 600,
                "replies grow with nothing but what is echoed"
            );
            let heard = Heard::parse(&sent).unwrap();
            assert_eq!((heard.xid, heard.leases), (request.xid, leases));
        }
    }
    assert!(understood > packets / 15, "{understood}");
}

fn mutate(bytes: &mut Vec<u8>, random: &mut impl FnMut(usize) -> usize) {
    for _ in 0..=random(6) {
        let at = if random(3) == 0 {
            random(bytes.len())
        } else {
            HEADER.min(bytes.len()) + random(60)
        };
        match random(5) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at.min(bytes.len()), u8::try_from(random(256)).unwrap()),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.extend_from_within(at.min(bytes.len())..),
            _ if at < bytes.len() => {
                bytes[at] = [0, 1, 17, 43, 52, 82, 255, u8::try_from(random(256)).unwrap()][random(8)];
            }
            _ => {}
        }
    }
}

#[test]
fn mutated_packets_never_panic_and_their_replies_can_be_read() {
    no_mutation_panics(150_000);
}

#[test]
#[ignore = "takes minutes: part of make test-long"]
fn five_million_mutated_packets_never_panic_and_their_replies_can_be_read() {
    no_mutation_panics(5_000_000);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _ = Request::parse(&bytes);
        let _ = Heard::parse(&bytes);
    }

    #[test]
    fn no_options_panic(options in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Request::parse(&discover(&options));
    }

    #[test]
    fn what_is_read_and_written_and_read_again_is_the_same(
        wanted in any::<[u8; 4]>(), id in prop::collection::vec(any::<u8>(), 1..200), uuid in any::<[u8; 16]>(),
    ) {
        let mut options = vec![50, 4];
        options.extend(wanted);
        options.extend([61, u8::try_from(id.len()).unwrap()]);
        options.extend(&id);
        options.extend([97, 17, 0]);
        options.extend(uuid);
        let packet = discover(&options);
        let request = Request::parse(&packet).unwrap();
        let (network, boot) = (network(), Bootfile::Nothing);
        let bytes = reply(ReplyKind::Ack, &network, &boot).encode(&request);
        let message = Owned::decode(&mut Decoder::new(&bytes)).unwrap();
        prop_assert_eq!(message.xid(), request.xid);
        prop_assert_eq!(message.chaddr(), &request.client.mac.0);
        prop_assert_eq!(message.yiaddr(), YOU);
        let echoed = message.opts().get(OptionCode::ClientIdentifier);
        prop_assert_eq!(echoed, Some(&DhcpOption::ClientIdentifier(id)));
    }
}
