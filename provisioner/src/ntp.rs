// SPDX-License-Identifier: Apache-2.0
//! SNTP: the server's clock, for machines whose own is dead.
//!
//! The answer of a server that trusts its own clock (RFC 5905, 14; RFC 4330). Nodes need to agree with the
//! controller, whether it is right or not; where it keeps good time by itself, they do, too.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::debug;

use crate::network::Sightings;
use crate::network::datagram;

/// Length of a packet without extensions.
const PACKET: usize = 48;
/// Seconds from 1900, where NTP's time begins, to 1970 (RFC 5905, figure 4).
const NTP_TO_UNIX: u64 = 2_208_988_800;
/// Ten steps from a reference clock: any better source that a node has been given wins.
const STRATUM: u8 = 10;
/// A clock read takes a microsecond: 2 to the power of -20 s.
const PRECISION: i8 = -20;

/// The bound socket, before anything is answered.
pub struct Listener {
    socket: std::net::UdpSocket,
    sightings: Arc<dyn Sightings>,
}

/// Binds the port (123). `None` where another program serves time on this machine already: that is as good.
pub fn bind(port: u16, sightings: Arc<dyn Sightings>) -> Result<Option<Listener>> {
    match datagram::bind(port) {
        Ok(socket) => Ok(Some(Listener { socket, sightings })),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error).with_context(|| format!("binding UDP port {port} for NTP")),
    }
}

impl Listener {
    /// Answers for ever; dropping the future stops it.
    pub async fn run(self) -> Result<()> {
        let socket = UdpSocket::from_std(self.socket).context("handing the NTP socket to the runtime")?;
        self.sightings
            .service("ntp", format!("port {}", socket.local_addr()?.port()), true);
        let mut buffer = [0; 128];
        loop {
            socket.readable().await.context("waiting for NTP packets")?;
            // Nothing to read, or the ICMP error of an earlier answer.
            let Ok(received) = socket.try_io(Interest::READABLE, || datagram::receive(&socket, &mut buffer)) else {
                continue;
            };
            let arrived = unix();
            let Some(answer) = answer(&buffer[..received.length], received.local, arrived, unix) else {
                metrics::counter!("gleaner_ntp_unusable_total").increment(1);
                continue;
            };
            metrics::counter!("gleaner_ntp_answers_total").increment(1);
            if let Err(error) = datagram::send(&socket, &answer, received.local, received.peer) {
                debug!(peer = %received.peer, %error, "could not send");
            }
        }
    }
}

fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What a client hears; `None` for anything but a client's question. `arrived` and `leaves` count from 1970.
fn answer(question: &[u8], server: Ipv4Addr, arrived: Duration, leaves: impl Fn() -> Duration) -> Option<[u8; PACKET]> {
    let head = question.get(..PACKET)?;
    let (version, mode) = (head[0] >> 3 & 7, head[0] & 7);
    // RFC 4330, 5: mode 3 is a client's question. Answering anything else could play ping-pong with a server.
    if mode != 3 || !(1..=4).contains(&version) {
        return None;
    }
    let mut packet = [0; PACKET];
    // No leap second announced, the client's version, mode 4: server.
    packet[0] = version << 3 | 4;
    packet[1] = STRATUM;
    packet[2] = head[2];
    packet[3] = PRECISION.cast_unsigned();
    // Root delay 0. Root dispersion 10 ms: nobody has checked this clock.
    packet[8..12].copy_from_slice(&(65_536u32 / 100).to_be_bytes());
    packet[12..16].copy_from_slice(&server.octets());
    // The clock was set when it was last read: it has no other source that we know of.
    packet[16..24].copy_from_slice(&timestamp(arrived));
    packet[24..32].copy_from_slice(&head[40..48]);
    packet[32..40].copy_from_slice(&timestamp(arrived));
    packet[40..48].copy_from_slice(&timestamp(leaves()));
    Some(packet)
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
    use super::*;
    use proptest::prelude::*;

    const US: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    /// What chrony sends: version 4, client.
    fn question() -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[0] = 0x23;
        packet[40..].copy_from_slice(b"when???!");
        packet
    }

    #[test]
    fn a_client_hears_both_times_and_its_own() {
        let arrived = Duration::new(1_700_000_000, 500_000_000);
        let leaves = Duration::new(1_700_000_001, 250_000_000);
        let packet = answer(&question(), US, arrived, || leaves).unwrap();
        assert_eq!((packet[0], packet[1]), (0x24, STRATUM));
        assert_eq!(&packet[24..32], b"when???!");
        let seconds = u32::try_from(1_700_000_000 + NTP_TO_UNIX).unwrap();
        assert_eq!(packet[32..36], seconds.to_be_bytes());
        assert_eq!(packet[36..40], [0x80, 0, 0, 0]);
        assert_eq!(packet[40..44], (seconds + 1).to_be_bytes());
        assert_eq!(packet[44..48], [0x40, 0, 0, 0]);
    }

    #[test]
    fn the_second_era_begins_in_2036() {
        let first = Duration::from_secs((1 << 32) - NTP_TO_UNIX);
        assert_eq!(timestamp(first), [0; 8]);
    }

    #[test]
    fn only_clients_questions_are_answered() {
        for head in [0x24, 0x26, 0x21, 0x03, 0x2b, 0xe4] {
            let mut packet = question();
            packet[0] = head;
            assert_eq!(
                answer(&packet, US, Duration::ZERO, || Duration::ZERO),
                None,
                "{head:02x}"
            );
        }
        assert_eq!(answer(&question()[..47], US, Duration::ZERO, || Duration::ZERO), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), seconds in 0..u64::MAX / 2) {
            let _ = answer(&bytes, US, Duration::from_secs(seconds), || Duration::ZERO);
        }
    }
}
