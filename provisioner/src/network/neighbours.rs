// SPDX-License-Identifier: Apache-2.0
//! Whose an IP address is, as the kernel knows from ARP: where another server gives out the addresses, that is the only
//! way to tell which card fetches a file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pxe::Mac;

/// For how long an answer of the kernel counts: an address does not change its card faster than that.
const FRESH: Duration = Duration::from_secs(5);
/// Time between two looks at the kernel's table at least. With a thousand neighbours it has 80 KB, and it is asked
/// about every file.
const PACE: Duration = Duration::from_millis(100);

static KNOWN: Mutex<Known> = Mutex::new(Known {
    read: None,
    cards: BTreeMap::new(),
});

/// What the kernel said last, and when.
struct Known {
    read: Option<Instant>,
    cards: BTreeMap<Ipv4Addr, Mac>,
}

/// The card that the kernel last reached this address at.
pub fn card_at(address: Ipv4Addr) -> Option<Mac> {
    // Replaced as a whole: a panic elsewhere leaves nothing half done.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let age = known.read.map(|read| read.elapsed());
    let wanted = if known.cards.contains_key(&address) {
        FRESH
    } else {
        PACE
    };
    if age.is_none_or(|age| age >= wanted) {
        *known = Known {
            read: Some(Instant::now()),
            cards: parse(&std::fs::read_to_string("/proc/net/arp").unwrap_or_default()),
        };
    }
    known.cards.get(&address).copied()
}

/// Reads the kernel's table: address, hardware type, flags, hardware address, mask, device (proc(5)).
fn parse(table: &str) -> BTreeMap<Ipv4Addr, Mac> {
    let lines = table.lines().skip(1).map(str::split_ascii_whitespace);
    lines
        .filter_map(|mut fields| {
            let address = fields.next()?.parse().ok()?;
            let mac: Mac = fields.nth(2)?.parse().ok()?;
            mac.is_card().then_some((address, mac))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_found_by_its_address() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
            192.0.2.7        0x1         0x0         00:00:00:00:00:00     *        br0\n\
            192.0.2.17       0x1         0x2         52:54:00:77:00:01     *        br0\n\
            short\n";
        // At the first one the kernel has asked and heard nothing.
        let expected = [(Ipv4Addr::new(192, 0, 2, 17), Mac([0x52, 0x54, 0, 0x77, 0, 1]))];
        assert_eq!(parse(table), expected.into());
        assert!(parse("").is_empty());
    }
}
