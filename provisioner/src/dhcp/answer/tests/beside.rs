// SPDX-License-Identifier: Apache-2.0
//! Another server leases the addresses.

use std::net::SocketAddrV4;

use pxe::dhcp::ReplyKind;

use super::*;
use crate::dhcp::beside::boot_server;

/// A BIOS ROM, a UEFI one, and what an iPXE says more.
const BIOS: (u8, &[u8]) = (60, b"PXEClient:Arch:00000:UNDI:002001");
const UEFI: (u8, &[u8]) = (60, b"PXEClient:Arch:00007:UNDI:003016");
const IPXE: (u8, &[u8]) = (77, b"iPXE");
/// The address that the other server has given.
const TAKEN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 101);

/// A segment on which another server was heard.
fn beside() -> (Segment, Core) {
    let (mut segment, core) = (segment(), Core::default());
    segment.watch.heard(&offer_of(OTHER), LATER);
    (segment, core)
}

/// A client asks at the boot server's port.
fn ask_again(segment: &mut Segment, core: &Core, packet: &[u8], peer: Ipv4Addr) -> Option<Vec<u8>> {
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
    boot_server(segment, &around, packet, SocketAddrV4::new(peer, 68), now).unwrap()
}

/// The field `file`.
fn file(answer: &[u8]) -> &str {
    std::str::from_utf8(&answer[108..236]).unwrap().trim_end_matches('\0')
}

fn has_option(answer: &[u8], code: u8, value: &[u8]) -> bool {
    let mut rest = &answer[240..];
    while let [other, length, tail @ ..] = rest {
        let (found, more) = tail.split_at(usize::from(*length).min(tail.len()));
        if *other == code && found == value {
            return true;
        }
        rest = more;
    }
    false
}

#[test]
fn firmware_hears_what_to_boot_and_gets_no_address() {
    let (mut segment, core) = beside();
    let offer = ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[BIOS]), 0).unwrap();
    assert_eq!((offer.kind, offer.destination), ("proxy-offer", Destination::Broadcast));
    assert_eq!(yiaddr(&offer), NOBODY);
    assert!(offer.bytes[108..].starts_with(b"undionly.kpxe\0") && has_option(&offer.bytes, 60, b"PXEClient"));
    assert!(!Heard::parse(&offer.bytes).unwrap().leases);
    assert!(segment.promises.is_empty() && segment.table.usage().0 == 0);
    let sighted = core.sighted.lock().unwrap();
    assert_eq!((sighted[0].address, sighted[0].told.as_str()), (None, "undionly.kpxe"));
}

#[test]
fn uefi_asks_again_and_hears_it_at_the_port_it_asked_from() {
    let (mut segment, core) = beside();
    let offer = ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[UEFI]), 0).unwrap();
    assert_eq!(offer.bytes[108], 0, "no file before it asks");
    assert_eq!(offer.bytes[20..24], SERVER.octets(), "siaddr");
    let ack = ask_again(&mut segment, &core, &packet(3, mac(1), TAKEN, &[UEFI]), TAKEN).unwrap();
    assert!(file(&ack).contains(".efi") && ack[16..20] == [0; 4]);
    assert_eq!(core.sighted.lock().unwrap().last().unwrap().address, Some(TAKEN));
}

#[test]
fn the_boot_server_answers_nobody_from_elsewhere_and_nobody_who_asks_another() {
    let (mut segment, core) = beside();
    let asks = packet(3, mac(1), TAKEN, &[UEFI]);
    assert_eq!(ask_again(&mut segment, &core, &asks, Ipv4Addr::new(192, 0, 2, 7)), None);
    let another = packet(3, mac(1), TAKEN, &[UEFI, (54, &OTHER.octets())]);
    assert_eq!(ask_again(&mut segment, &core, &another, TAKEN), None);
    let system = packet(3, mac(1), TAKEN, &[(60, b"MSFT 5.0")]);
    assert_eq!(ask_again(&mut segment, &core, &system, TAKEN), None);
}

#[test]
fn ipxe_hears_its_script_at_once_and_once_more() {
    let (mut segment, core) = beside();
    let offer = ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[BIOS, IPXE]), 0).unwrap();
    assert!(offer.bytes[108..].starts_with(b"http://10.77.0.1:8080/boot/ipxe?mac="));
    let due = segment.encores.next().unwrap();
    assert!(due > LATER && segment.encores.take_due(LATER).is_none());
    assert_eq!(segment.encores.take_due(due), Some(offer));
}

#[test]
fn ipxe_that_asks_again_at_the_dhcp_port_is_answered_there() {
    let (mut segment, core) = beside();
    let ours = SERVER.octets();
    let asks = packet(3, mac(1), TAKEN, &[BIOS, IPXE, (54, &ours)]);
    let ack = ask(&mut segment, &core, &asks, 0).unwrap();
    assert_eq!((ack.kind, ack.destination), ("proxy-ack", Destination::Address(TAKEN)));
    assert!(ack.bytes[108..].starts_with(b"http://") && yiaddr(&ack) == NOBODY);
    let elsewhere = packet(3, mac(1), Ipv4Addr::new(192, 0, 2, 7), &[BIOS, IPXE, (54, &ours)]);
    assert_eq!(ask(&mut segment, &core, &elsewhere, 0), None);
}

#[test]
fn systems_are_left_alone_whatever_they_ask() {
    let (mut segment, core) = beside();
    for kind in [1, 3, 4, 7, 8] {
        for ciaddr in [NOBODY, TAKEN] {
            for class in [&b"MSFT 5.0"[..], b"udhcp 1.35"] {
                for wish in [&[][..], &[(50, &[10, 77, 0, 120][..])], &[(54, &[10, 77, 0, 1][..])]] {
                    let options = [&[(60, class)][..], wish].concat();
                    assert_eq!(
                        ask(&mut segment, &core, &packet(kind, mac(1), ciaddr, &options), 0),
                        None
                    );
                }
            }
        }
    }
    assert!(segment.promises.is_empty() && core.sighted.lock().unwrap().is_empty());
}

#[test]
fn a_client_that_wants_an_address_of_ours_is_neither_given_nor_refused_one() {
    let (mut segment, core) = (segment(), Core::default());
    let offered = yiaddr(&ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[UEFI]), 0).unwrap());
    segment.watch.heard(&offer_of(OTHER), LATER);
    let wish = [UEFI, (50, &offered.octets()[..]), (54, &SERVER.octets())];
    assert_eq!(ask(&mut segment, &core, &packet(3, mac(1), NOBODY, &wish), 1), None);
    let inform = packet(8, mac(1), TAKEN, &[UEFI]);
    assert_eq!(ask(&mut segment, &core, &inform, 1), None);
}

#[test]
fn what_was_leased_while_we_were_alone_can_be_given_back() {
    let (mut segment, core) = (segment(), Core::default());
    let address = lease(&mut segment, &core, mac(1), 0).unwrap();
    segment.watch.heard(&offer_of(OTHER), LATER);
    assert_eq!(ask(&mut segment, &core, &packet(7, mac(1), address, &[]), 1), None);
    assert_eq!(segment.promises.last(), Some(&Record::Freed(address)));
}

#[test]
fn firmware_that_comes_back_after_it_chose_hears_it_said_differently() {
    let (mut segment, core) = beside();
    let discover = packet(1, mac(1), NOBODY, &[UEFI]);
    let chose = packet(3, mac(1), NOBODY, &[UEFI, (50, &TAKEN.octets()), (54, &OTHER.octets())]);
    let first = ask(&mut segment, &core, &discover, 0).unwrap();
    assert_eq!(
        ask(&mut segment, &core, &discover, 4),
        Some(first.clone()),
        "one start, one dialect"
    );
    ask(&mut segment, &core, &chose, 5);
    let second = ask(&mut segment, &core, &discover, 30).unwrap();
    assert!(second != first && file(&second.bytes).contains(".efi"));
}

#[test]
fn our_own_offers_of_an_address_from_before_are_no_other_server() {
    let (mut segment, core) = beside();
    let offer = ask(&mut segment, &core, &packet(1, mac(1), NOBODY, &[BIOS]), 0).unwrap();
    let heard = Heard::parse(&offer.bytes).unwrap();
    assert_eq!(segment.watch.heard(&spoken(heard), LATER), []);
    let nak = pxe::dhcp::Reply {
        kind: ReplyKind::Nak,
        address: NOBODY,
        terms: None,
        network: &segment.network,
        boot: &Bootfile::Nothing,
        host_name: "",
        message: "no",
    };
    let request = Request::parse(&packet(1, mac(1), NOBODY, &[])).unwrap();
    assert_eq!(
        segment
            .watch
            .heard(&spoken(Heard::parse(&nak.encode(&request)).unwrap()), LATER),
        []
    );
}
