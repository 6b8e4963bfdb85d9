// SPDX-License-Identifier: Apache-2.0
//! Packets of SNTP: the answer of a server that trusts its own clock (RFC 5905, 14; RFC 4330), and what to think of
//! another one's. Knows no socket and no clock.

use std::time::Duration;

/// Length of a packet without extensions.
pub(super) const PACKET: usize = 48;
/// Seconds from 1900, where NTP's time begins, to 1970 (RFC 5905, figure 4).
const NTP_TO_UNIX: u64 = 2_208_988_800;
/// Ten steps from a reference clock: any better source that a node has been given wins.
const STRATUM: u8 = 10;
/// Its own clock is all that it has: so clients know it from the reference implementation and from chrony.
const LOCAL_CLOCK: [u8; 4] = [127, 127, 1, 1];
/// A clock read takes a microsecond: 2 to the power of -20 s.
const PRECISION: i8 = -20;
/// Version 4, and what it is: a client's question, a server's answer (RFC 5905, 7.3).
const VERSION: u8 = 4 << 3;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
/// "Unknown (clock unsynchronized)" (RFC 5905, figure 9).
const UNSYNCHRONISED: u8 = 3 << 6;

/// Whether a client gets the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does.
    Fit,
    /// The clock is certainly wrong.
    Unset,
    /// It asks far too often.
    TooOften,
}

/// Why a server's answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is no answer to this question.
    Strange,
    /// It says that its own clock is not set.
    Unset,
}

/// What a client hears; `None` for anything but a client's question. `arrived` and `leaves` count from 1970.
pub(super) fn answer(
    question: &[u8],
    standing: Standing,
    arrived: Duration,
    leaves: impl Fn() -> Duration,
) -> Option<[u8; PACKET]> {
    let head = question.get(..PACKET)?;
    let (version, mode) = (head[0] & 0x38, head[0] & 7);
    // RFC 4330, 5: mode 3 is a client's question. Answering anything else could play ping-pong with a server.
    if mode != CLIENT || !(1..=4).contains(&(version >> 3)) {
        return None;
    }
    let mut packet = [0; PACKET];
    // The client's version; no leap second announced.
    packet[0] = version | SERVER;
    packet[2] = head[2];
    packet[3] = PRECISION.cast_unsigned();
    // "This is the timestamp of the request": by it the client knows its answer.
    packet[24..32].copy_from_slice(&head[40..48]);
    let kiss = match standing {
        Standing::Fit => None,
        Standing::Unset => Some(*b"INIT"),
        Standing::TooOften => Some(*b"RATE"),
    };
    // RFC 5905, 7.4: a code in place of the reference, stratum 0, and no time that anybody could take.
    if let Some(code) = kiss {
        packet[0] |= UNSYNCHRONISED;
        packet[12..16].copy_from_slice(&code);
        return Some(packet);
    }
    packet[1] = STRATUM;
    // Root delay 0. Root dispersion 10 ms: nobody has checked this clock.
    packet[8..12].copy_from_slice(&(65_536u32 / 100).to_be_bytes());
    packet[12..16].copy_from_slice(&LOCAL_CLOCK);
    // The clock was set when it was last read: it has no other source that we know of.
    packet[16..24].copy_from_slice(&timestamp(arrived));
    packet[32..40].copy_from_slice(&timestamp(arrived));
    packet[40..48].copy_from_slice(&timestamp(leaves()));
    Some(packet)
}

/// A question that is known again by its `stamp`.
pub(super) fn question(stamp: [u8; 8]) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    packet[0] = VERSION | CLIENT;
    packet[40..48].copy_from_slice(&stamp);
    packet
}

/// What to think of an answer to [`question`].
pub(super) fn judge(answer: &[u8], stamp: [u8; 8]) -> Result<(), Unfit> {
    let head = answer.get(..PACKET).ok_or(Unfit::Strange)?;
    if head[0] & 7 != SERVER || head[24..32] != stamp {
        return Err(Unfit::Strange);
    }
    // RFC 5905, 7.3: 0 is a kiss, 16 and more "unsynchronized".
    if head[0] & UNSYNCHRONISED == UNSYNCHRONISED || !(1..16).contains(&head[1]) {
        return Err(Unfit::Unset);
    }
    Ok(())
}

/// Seconds since 1900, of which 32 bits remain (they wrap in 2036, and clients know), and their fraction.
fn timestamp(since_1970: Duration) -> [u8; 8] {
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    let seconds = (since_1970.as_secs() + NTP_TO_UNIX) & u64::from(u32::MAX);
    (seconds << 32 | fraction).to_be_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const STAMP: [u8; 8] = *b"when???!";

    fn hear(packet: &[u8], standing: Standing) -> Option<[u8; PACKET]> {
        answer(packet, standing, Duration::from_secs(1_700_000_000), || {
            Duration::from_secs(1_700_000_000)
        })
    }

    #[test]
    fn a_client_hears_both_times_and_its_own() {
        let arrived = Duration::new(1_700_000_000, 500_000_000);
        let leaves = Duration::new(1_700_000_001, 250_000_000);
        let packet = answer(&question(STAMP), Standing::Fit, arrived, || leaves).unwrap();
        assert_eq!((packet[0], packet[1]), (0x24, STRATUM));
        assert_eq!(packet[24..32], STAMP);
        let seconds = u32::try_from(1_700_000_000 + NTP_TO_UNIX).unwrap();
        assert_eq!(packet[32..36], seconds.to_be_bytes());
        assert_eq!(packet[36..40], [0x80, 0, 0, 0]);
        assert_eq!(packet[40..44], (seconds + 1).to_be_bytes());
        assert_eq!(packet[44..48], [0x40, 0, 0, 0]);
        assert_eq!(judge(&packet, STAMP), Ok(()));
    }

    #[test]
    fn a_client_is_answered_in_its_own_version() {
        for version in 1..=4 {
            let mut asked = question(STAMP);
            asked[0] = version << 3 | CLIENT;
            assert_eq!(hear(&asked, Standing::Fit).unwrap()[0], version << 3 | SERVER);
        }
    }

    #[test]
    fn a_clock_that_is_wrong_and_a_client_without_manners_get_no_time() {
        for (standing, code) in [(Standing::Unset, b"INIT"), (Standing::TooOften, b"RATE")] {
            let packet = hear(&question(STAMP), standing).unwrap();
            assert_eq!((packet[0], packet[1], &packet[12..16]), (0xe4, 0, &code[..]));
            assert_eq!(packet[24..32], STAMP, "by it the client knows that this is for it");
            assert_eq!([&packet[16..24], &packet[32..48]].concat(), [0; 24]);
            assert_eq!(judge(&packet, STAMP), Err(Unfit::Unset));
        }
    }

    #[test]
    fn the_second_era_begins_in_2036() {
        let first = Duration::from_secs((1 << 32) - NTP_TO_UNIX);
        assert_eq!(timestamp(first), [0; 8]);
    }

    #[test]
    fn only_clients_questions_are_answered() {
        for head in [0x24, 0x26, 0x21, 0x03, 0x2b, 0xe4] {
            let mut packet = question(STAMP);
            packet[0] = head;
            assert_eq!(hear(&packet, Standing::Fit), None, "{head:02x}");
        }
        assert_eq!(hear(&question(STAMP)[..47], Standing::Fit), None);
    }

    #[test]
    fn another_server_is_believed_only_if_it_answers_this_question_and_its_clock_is_set() {
        let good = hear(&question(STAMP), Standing::Fit).unwrap();
        let with = |at: usize, byte: u8| {
            let mut packet = good;
            packet[at] = byte;
            judge(&packet, STAMP)
        };
        assert_eq!(with(1, 1), Ok(()));
        assert_eq!(with(1, 16), Err(Unfit::Unset));
        assert_eq!(with(0, 0xe4), Err(Unfit::Unset));
        assert_eq!(with(0, 0x23), Err(Unfit::Strange));
        assert_eq!(judge(&good, *b"another!"), Err(Unfit::Strange));
        assert_eq!(judge(&good[..40], STAMP), Err(Unfit::Strange));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), seconds in 0..u64::MAX / 2) {
            let _ = answer(&bytes, Standing::Fit, Duration::from_secs(seconds), || Duration::ZERO);
            let _ = judge(&bytes, STAMP);
        }
    }
}
