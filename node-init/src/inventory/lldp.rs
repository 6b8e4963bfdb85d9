// SPDX-License-Identifier: Apache-2.0
//! The switch port at the other end of each cable, from LLDP frames (IEEE 802.1AB-2016).

mod listen;

use std::fmt::Write;
use std::net::Ipv4Addr;

use provisioner_api::SwitchPort;

pub use listen::Ears;

use super::text::label;

// Types of type-length-value units, clause 8.4, table 8-1.
const END: u8 = 0;
const CHASSIS_ID: u8 = 1;
const PORT_ID: u8 = 2;
const SYSTEM_NAME: u8 = 5;

/// Reads the payload of a frame with `EtherType` 0x88CC. Chassis and port are mandatory (8.2); a frame without them
/// is not one.
pub(crate) fn parse(payload: &[u8]) -> Option<SwitchPort> {
    let (mut chassis, mut port, mut system) = (None, None, None);
    let mut rest = payload;
    while let [high, low, tail @ ..] = rest {
        // 8.4.1: seven bits of type, nine of length.
        let (kind, length) = (high >> 1, usize::from(high & 1) << 8 | usize::from(*low));
        if kind == END {
            break;
        }
        let (value, tail) = tail.split_at_checked(length)?;
        match kind {
            CHASSIS_ID => chassis = chassis.or(id(value, 4, 5)),
            PORT_ID => port = port.or(id(value, 3, 4)),
            SYSTEM_NAME => system = system.or(label(value)),
            _ => {}
        }
        rest = tail;
    }
    Some(SwitchPort {
        chassis: chassis?,
        port: port?,
        system,
    })
}

/// An ID: one byte of subtype, then a MAC address, a network address or text. The subtypes' numbers differ between
/// chassis (table 8-2) and port (table 8-3).
fn id(value: &[u8], mac_subtype: u8, address_subtype: u8) -> Option<String> {
    let (subtype, id) = value.split_first()?;
    match id {
        [_, _, _, _, _, _] if *subtype == mac_subtype => Some(mac(id)),
        // IANA's address family 1 is IPv4.
        [1, a, b, c, d] if *subtype == address_subtype => Some(Ipv4Addr::new(*a, *b, *c, *d).to_string()),
        _ => label(id),
    }
}

fn mac(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (n, byte) in bytes.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{}{byte:02x}", if n == 0 { "" } else { ":" });
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// As a `ProCurve` switch sends it: chassis by MAC, port by name, lifetime, system name, end.
    const FRAME: &[u8] = b"\x02\x07\x04\x00\x1b\x3f\x00\x01\x02\x04\x03\x05B7\x06\x02\x00\x78\x0a\x05lab-1\x00\x00";

    #[test]
    fn the_port_of_a_switch_is_read() {
        let port = parse(FRAME).unwrap();
        assert_eq!(port.chassis, "00:1b:3f:00:01:02");
        assert_eq!((port.port.as_str(), port.system.as_deref()), ("B7", Some("lab-1")));
    }

    #[test]
    fn a_frame_cut_off_anywhere_is_refused_or_still_right() {
        for length in 0..FRAME.len() {
            if let Some(port) = parse(&FRAME[..length]) {
                assert_eq!(port.port, "B7");
            }
        }
    }

    proptest! {
        #[test]
        fn no_frame_is_too_hostile_to_read(
            units in prop::collection::vec((0_u8..9, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            garbage in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut frame = Vec::new();
            for (kind, value) in units {
                frame.extend([kind << 1, u8::try_from(value.len()).unwrap()]);
                frame.extend(value);
            }
            parse(&frame);
            frame.extend(&garbage);
            parse(&frame);
            if let Some(port) = parse(&garbage) {
                prop_assert!(!port.chassis.chars().any(char::is_control));
            }
        }
    }
}
