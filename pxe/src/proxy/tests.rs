// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]
use dhcproto::v4::Message;
use dhcproto::v4::borrowed::DhcpOptionIterator;
use dhcproto::{Decodable as _, Decoder};
use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::bootfile::{Server, choose};
use crate::dhcp::Heard;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Length of the fixed part of a packet with its magic cookie.
const HEADER: usize = 240;
const DIALECTS: [Dialect; 3] = [Dialect::InOffer, Dialect::AskAgain, Dialect::Plain];

macro_rules! packet {
    ($name:literal) => {
        include_bytes!(concat!("../testdata/packets/", $name, ".bin")).as_slice()
    };
}

/// What a request is to boot, in the dialect.
fn offer(packet: &[u8], dialect: Dialect) -> Vec<u8> {
    let request = Request::parse(packet).unwrap();
    let boot = boot(&request);
    let server = SERVER;
    let proxy = Proxy {
        server,
        boot: &boot,
        dialect,
    };
    proxy.offer(&request).unwrap()
}

fn boot(request: &Request) -> Bootfile {
    let server = Server {
        address: SERVER,
        http_port: 8080,
    };
    choose(&request.client, &server, None, |_| true)
}

/// A packet in words, by the codec's own decoder.
fn in_words(bytes: &[u8]) -> String {
    let message = Message::decode(&mut Decoder::new(bytes)).unwrap();
    let options = DhcpOptionIterator::new(&bytes[HEADER..])
        .map(|option| format!("{:3} {}\n", u8::from(option.code()), option.data().escape_ascii()));
    format!(
        "ciaddr {} yiaddr {} siaddr {} flags {:04x}\nfile {}\n{}",
        message.ciaddr(),
        message.yiaddr(),
        message.siaddr(),
        u16::from(message.flags()),
        message.fname_str().map_or("-", Result::unwrap).trim_end_matches('\0'),
        options.collect::<String>(),
    )
}

#[test]
fn a_bios_hears_all_in_the_offer() {
    expect![[r"
        ciaddr 0.0.0.0 yiaddr 0.0.0.0 siaddr 10.77.0.1 flags 8000
        file undionly.kpxe
         53 \x02
         54 \nM\x00\x01
         60 PXEClient
         97 \x00\x88iLL\x00NQ\x10\x808\xb7\xc0OYC1
         43 \x06\x01\x0b\x08\x07\x80\x00\x01\nM\x00\x01\t\n\x80\x00\x07Gleaner\n\x08\x00Gleaner\xff
         67 undionly.kpxe
    "]]
    .assert_eq(&in_words(&offer(
        packet!("intel-boot-agent-discover"),
        Dialect::InOffer,
    )));
}

#[test]
fn the_ipxe_in_a_rom_hears_its_script_with_a_menu() {
    expect![[r#"
        ciaddr 0.0.0.0 yiaddr 0.0.0.0 siaddr 10.77.0.1 flags 8000
        file http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01&uuid=00112233-4455-6677-8899-aabbccddeeff&arch=bios
         53 \x02
         54 \nM\x00\x01
         60 PXEClient
         97 \x003\"\x11\x00UDwf\x88\x99\xaa\xbb\xcc\xdd\xee\xff
         43 \x06\x01\x0b\x08\x07\x80\x00\x01\nM\x00\x01\t\n\x80\x00\x07Gleaner\n\x08\x00Gleaner\xff
         67 http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01&uuid=00112233-4455-6677-8899-aabbccddeeff&arch=bios
         61 \x01RT\x00w\x00\x01
    "#]]
    .assert_eq(&in_words(&offer(
        packet!("seabios-ipxe-rom-discover"),
        Dialect::InOffer,
    )));
}

#[test]
fn uefi_hears_only_that_we_are_here_and_the_rest_when_it_asks_again() {
    expect![[r#"
        ciaddr 0.0.0.0 yiaddr 0.0.0.0 siaddr 10.77.0.1 flags 8000
        file -
         53 \x02
         54 \nM\x00\x01
         60 PXEClient
         97 \x003\"\x11\x00UDwf\x88\x99\xaa\xbb\xcc\xdd\xee\xff
    "#]]
    .assert_eq(&in_words(&offer(packet!("ovmf-pxe-discover"), Dialect::AskAgain)));
    let request = asking_again(packet!("ovmf-pxe-request"));
    let proxy = Proxy {
        server: SERVER,
        boot: &boot(&request),
        dialect: Dialect::AskAgain,
    };
    expect![[r#"
        ciaddr 10.77.0.101 yiaddr 0.0.0.0 siaddr 10.77.0.1 flags 8000
        file shimx64.efi
         53 \x05
         54 \nM\x00\x01
         60 PXEClient
         97 \x003\"\x11\x00UDwf\x88\x99\xaa\xbb\xcc\xdd\xee\xff
         66 10.77.0.1
         67 shimx64.efi
    "#]]
    .assert_eq(&in_words(&proxy.ack(&request).unwrap()));
}

#[test]
fn plain_is_next_server_and_file() {
    expect![[r#"
        ciaddr 0.0.0.0 yiaddr 0.0.0.0 siaddr 10.77.0.1 flags 8000
        file shimx64.efi
         53 \x02
         54 \nM\x00\x01
         60 PXEClient
         97 \x003\"\x11\x00UDwf\x88\x99\xaa\xbb\xcc\xdd\xee\xff
         66 10.77.0.1
         67 shimx64.efi
    "#]]
    .assert_eq(&in_words(&offer(packet!("ovmf-pxe-discover"), Dialect::Plain)));
}

#[test]
fn http_boot_hears_its_class_and_a_url_in_every_dialect() {
    for dialect in DIALECTS {
        let words = in_words(&offer(packet!("ovmf-http-discover"), dialect));
        assert!(
            words.contains("\n 60 HTTPClient\n") && words.contains("\n 67 http://10.77.0.1:8080/loaders/"),
            "{words}"
        );
        assert!(!words.contains("\n 43 "), "{words}");
    }
}

/// The packet as its sender would send it again with an address, to us.
fn asking_again(packet: &[u8]) -> Request {
    let request = Request::parse(packet).unwrap();
    Request {
        kind: Kind::Request,
        ciaddr: Ipv4Addr::new(10, 77, 0, 101),
        server: Some(SERVER),
        ..request
    }
}

#[test]
fn only_who_has_an_address_and_names_us_asks_again() {
    let asking = asking_again(packet!("ovmf-pxe-request"));
    assert!(asks_again(&asking, SERVER));
    let wants_an_address = Request {
        ciaddr: Ipv4Addr::UNSPECIFIED,
        ..asking.clone()
    };
    let renews = Request {
        server: None,
        ..asking.clone()
    };
    let asks_another = Request {
        server: Some(Ipv4Addr::new(10, 77, 0, 254)),
        ..asking
    };
    let system = asking_again(packet!("udhcpc-discover"));
    for request in [wants_an_address, renews, asks_another, system] {
        assert!(!asks_again(&request, SERVER), "{request:?}");
    }
}

#[test]
fn the_item_of_a_menu_that_was_chosen_comes_back() {
    let request = Request {
        boot_item: Some([0x80, 0, 0, 1]),
        ..asking_again(packet!("intel-boot-agent-discover"))
    };
    let proxy = Proxy {
        server: SERVER,
        boot: &boot(&request),
        dialect: Dialect::InOffer,
    };
    let bytes = proxy.ack(&request).unwrap();
    let vendor = DhcpOptionIterator::new(&bytes[HEADER..]).find(|option| u8::from(option.code()) == 43);
    assert_eq!(vendor.unwrap().data(), [71, 4, 0x80, 0, 0, 1, 255]);
}

#[test]
fn a_system_is_told_nothing() {
    let request = Request::parse(packet!("udhcpc-discover")).unwrap();
    for dialect in DIALECTS {
        let proxy = Proxy {
            server: SERVER,
            boot: &boot(&request),
            dialect,
        };
        assert_eq!((proxy.offer(&request), proxy.ack(&request)), (None, None));
    }
}

proptest! {
    #[test]
    fn no_answer_of_a_proxy_has_an_address_in_it_and_relays_get_their_option_back_last(
        relay in any::<[u8; 4]>(),
        agent in prop::collection::vec(any::<u8>(), 1..255),
        id in prop::collection::vec(any::<u8>(), 1..60),
        from in prop::sample::select(vec![
            packet!("intel-boot-agent-discover"), packet!("seabios-ipxe-rom-discover"), packet!("ovmf-pxe-discover"),
            packet!("ovmf-http-discover"), packet!("ipxe-efi-discover"),
        ]),
        dialect in prop::sample::select(DIALECTS.to_vec()),
    ) {
        let request = Request {
            giaddr: relay.into(), relay_agent: agent.clone(), client_id: id, ..Request::parse(from).unwrap()
        };
        let boot = boot(&request);
        let proxy = Proxy { server: SERVER, boot: &boot, dialect };
        for (bytes, offer) in [(proxy.offer(&request).unwrap(), true), (proxy.ack(&request).unwrap(), false)] {
            let heard = Heard::parse(&bytes).unwrap();
            prop_assert!(!heard.leases && heard.server == SERVER && heard.xid == request.xid);
            prop_assert!(heard.pxe || request.client.speaker == Speaker::HttpBoot);
            prop_assert_eq!(&bytes[16..20], &[0; 4], "yiaddr");
            prop_assert_eq!(bytes[10] & 0x80 != 0, offer || request.broadcast);
            let options: Vec<_> = DhcpOptionIterator::new(&bytes[HEADER..])
                .map(|option| (u8::from(option.code()), option.data().to_vec()))
                .collect();
            prop_assert_eq!(options.last().unwrap(), &(82, agent.clone()));
            prop_assert!(!options.iter().any(|(code, _)| [51, 58, 59, 1, 3, 6].contains(code)), "no terms, no network");
        }
    }
}
