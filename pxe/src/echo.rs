// SPDX-License-Identifier: Apache-2.0
//! Does anybody have this address? The question and its answer across routers: ICMP echo (RFC 792), "ping".

use std::net::Ipv4Addr;

/// Type of an answer.
const REPLY: u8 = 0;
/// Type of a question.
const REQUEST: u8 = 8;
/// Bytes of an echo message without data.
const LENGTH: usize = 8;

/// A question; `identifier` comes back in its answer.
pub fn question(identifier: u16) -> [u8; LENGTH] {
    let [high, low] = identifier.to_be_bytes();
    let mut message = [REQUEST, 0, 0, 0, high, low, 0, 1];
    let [high, low] = checksum(&message).to_be_bytes();
    (message[2], message[3]) = (high, low);
    message
}

/// Who answers a question with this identifier in an IPv4 packet; `None` where it is anything else.
pub fn answer(packet: &[u8], identifier: u16) -> Option<Ipv4Addr> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    let message = packet.get(header..)?;
    let from = <[u8; 4]>::try_from(packet.get(12..16)?).ok()?;
    let is_answer = first >> 4 == 4
        && header >= 20
        && message.len() >= LENGTH
        && message[..2] == [REPLY, 0]
        && message[4..6] == identifier.to_be_bytes()
        && checksum(message) == 0;
    is_answer.then(|| from.into())
}

/// RFC 1071: the complement of the sum of all words, a carry added again.
fn checksum(message: &[u8]) -> u16 {
    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
    let sum = message.chunks(2).map(word).fold(0_u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    });
    !sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// What comes back to a question: the same message, as an answer, in an IPv4 packet.
    fn answered(identifier: u16, from: [u8; 4]) -> Vec<u8> {
        let mut message = question(identifier);
        (message[0], message[2], message[3]) = (REPLY, 0, 0);
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0];
        packet.extend(from);
        packet.extend([10, 77, 0, 1]);
        packet.extend(message);
        packet
    }

    #[test]
    fn a_question_has_the_checksum_that_the_rfc_wants() {
        assert_eq!(question(0x1234), [8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1]);
        assert_eq!(checksum(&question(0xffff)), 0);
    }

    #[test]
    fn only_an_answer_to_our_question_is_one() {
        let good = answered(7, [198, 51, 100, 9]);
        assert_eq!(answer(&good, 7), Some([198, 51, 100, 9].into()));
        assert_eq!(answer(&good, 8), None, "somebody else's");
        let changed = |at: usize, byte: u8| {
            let mut packet = good.clone();
            packet[at] = byte;
            answer(&packet, 7)
        };
        assert_eq!(changed(20, REQUEST), None, "a question");
        assert_eq!(changed(0, 0x65), None, "IPv6");
        assert_eq!(changed(0, 0x44), None, "a header that is too short");
        assert_eq!(changed(23, 0), None, "a broken checksum");
        assert_eq!(answer(&good[..27], 7), None, "cut off");
    }

    proptest! {
        #[test]
        fn no_packet_panics_and_every_answer_is_read(
            packet in prop::collection::vec(any::<u8>(), 0..80), identifier in any::<u16>(), from in any::<[u8; 4]>(),
        ) {
            answer(&packet, identifier);
            prop_assert_eq!(answer(&answered(identifier, from), identifier), Some(from.into()));
        }
    }
}
