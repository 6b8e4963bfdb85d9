// SPDX-License-Identifier: Apache-2.0
//! Whose is this address? The question and its answer (RFC 826), as whole Ethernet frames.

use std::net::Ipv4Addr;

use crate::Mac;

/// `EtherType` of ARP.
pub const ETHER_TYPE: u16 = 0x0806;
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Ethernet, IPv4, addresses of 6 and 4 bytes: the only ARP there is in practice.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// Bytes of an ARP packet of that kind.
const LENGTH: usize = 28;

/// Somebody says that an address is his: in an answer, or as the sender of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose.
    pub mac: Mac,
}

/// Asks everybody for `address`, in the name of `from`.
pub fn question(from: Claim, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET + LENGTH);
    frame.extend([0xff; 6]);
    frame.extend(from.mac.0);
    frame.extend(ETHER_TYPE.to_be_bytes());
    frame.extend(KIND);
    frame.extend([0, 1]);
    frame.extend(from.mac.0);
    frame.extend(from.address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// What a frame claims; `None` where it claims nothing. A probe (RFC 5227, 1.1) has no sender's address: who sends it
/// only asks whether he may.
pub fn claim(frame: &[u8]) -> Option<Claim> {
    let packet = frame.get(ETHERNET..ETHERNET + LENGTH)?;
    let is_arp = frame[ETHERNET - 2..ETHERNET] == ETHER_TYPE.to_be_bytes() && packet[..6] == KIND;
    let mac = Mac(packet[8..14].try_into().ok()?);
    let address = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[14..18]).ok()?);
    (is_arp && mac.is_card() && !address.is_unspecified()).then_some(Claim { address, mac })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: Claim = Claim {
        address: Ipv4Addr::new(10, 77, 0, 1),
        mac: Mac([0x52, 0x54, 0, 0x77, 0, 1]),
    };

    #[test]
    fn a_question_goes_to_everybody_and_says_who_asks() {
        let frame = question(OURS, Ipv4Addr::new(10, 77, 0, 130));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[20..22], [0, 1], "a question");
        assert_eq!(frame[38..], [10, 77, 0, 130]);
        assert_eq!(claim(&frame), Some(OURS));
    }

    #[test]
    fn a_probe_and_what_is_no_arp_claim_nothing() {
        let good = question(OURS, Ipv4Addr::LOCALHOST);
        let changed = |at: usize, bytes: &[u8]| {
            let mut frame = good.clone();
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            claim(&frame)
        };
        assert_eq!(changed(28, &[0, 0, 0, 0]), None, "no address");
        assert_eq!(changed(22, &[0xff; 6]), None, "nobody's card");
        assert_eq!(changed(12, &[8, 0]), None, "IPv4");
        assert_eq!(changed(14, &[0, 6]), None, "not Ethernet");
        assert_eq!(claim(&good[..41]), None);
    }

    proptest! {
        #[test]
        fn no_frame_panics_and_who_asks_is_read_back(
            frame in prop::collection::vec(any::<u8>(), 0..80), ours in any::<[u8; 4]>(), wanted in any::<[u8; 4]>(),
        ) {
            claim(&frame);
            let from = Claim { address: ours.into(), ..OURS };
            let expected = (ours != [0; 4]).then_some(from);
            prop_assert_eq!(claim(&question(from, wanted.into())), expected);
        }
    }
}
