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
/// An entry that the kernel has confirmed (`ATF_COM` of <`linux/if_arp.h`>). Without it, an entry that could not be confirmed
/// any more still shows the address that it had.
const COMPLETE: u32 = 0x2;

static KNOWN: Mutex<Known> = Mutex::new(Known {
    read: None,
    cards: BTreeMap::new(),
});

/// What the kernel said last, and when.
struct Known {
    read: Option<Instant>,
    cards: BTreeMap<Ipv4Addr, Mac>,
}

/// The card that the kernel last reached this address at. An old answer will do here: for what only people read.
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
            cards: table(),
        };
    }
    known.cards.get(&address).copied()
}

/// The card at which the kernel reaches this address now; `None` where it does not know, or knows two.
pub fn card_now(address: Ipv4Addr) -> Option<Mac> {
    table().get(&address).copied()
}

fn table() -> BTreeMap<Ipv4Addr, Mac> {
    parse(&std::fs::read_to_string("/proc/net/arp").unwrap_or_default())
}

/// Reads the kernel's table: address, hardware type, flags, hardware address, mask, device (proc(5)).
fn parse(table: &str) -> BTreeMap<Ipv4Addr, Mac> {
    let lines = table.lines().skip(1).map(str::split_ascii_whitespace);
    let entries = lines.filter_map(|mut fields| {
        let address: Ipv4Addr = fields.next()?.parse().ok()?;
        let flags = u32::from_str_radix(fields.nth(1)?.trim_start_matches("0x"), 16).ok()?;
        let mac: Mac = fields.next()?.parse().ok()?;
        (flags & COMPLETE != 0 && mac.is_card()).then_some((address, mac))
    });
    let mut cards: BTreeMap<Ipv4Addr, Option<Mac>> = BTreeMap::new();
    for (address, mac) in entries {
        // The same address on two interfaces may be two machines.
        let card = cards.entry(address).or_insert(Some(mac));
        *card = card.filter(|known| *known == mac);
    }
    let known = cards.into_iter().filter_map(|(address, mac)| Some((address, mac?)));
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "IP address       HW type     Flags       HW address            Mask     Device\n";

    #[test]
    fn a_card_is_found_by_its_address() {
        let table = "192.0.2.7        0x1         0x0         00:00:00:00:00:00     *        br0\n\
            192.0.2.17       0x1         0x2         52:54:00:77:00:01     *        br0\n\
            192.0.2.18       0x1         0x6         52:54:00:77:00:02     *        br0\n\
            short\n";
        // At the first one the kernel has asked and heard nothing.
        let expected = [
            (Ipv4Addr::new(192, 0, 2, 17), Mac([0x52, 0x54, 0, 0x77, 0, 1])),
            (Ipv4Addr::new(192, 0, 2, 18), Mac([0x52, 0x54, 0, 0x77, 0, 2])),
        ];
        assert_eq!(parse(&format!("{HEAD}{table}")), expected.into());
        assert!(parse("").is_empty());
    }

    #[test]
    fn what_the_kernel_does_not_know_any_more_or_knows_twice_is_not_known() {
        let failed = "192.0.2.17       0x1         0x0         52:54:00:77:00:01     *        br0\n";
        assert!(
            parse(&format!("{HEAD}{failed}")).is_empty(),
            "it asked again and heard nothing"
        );
        let twice = "192.0.2.17       0x1         0x2         52:54:00:77:00:01     *        br0\n\
            192.0.2.17       0x1         0x2         52:54:00:77:00:02     *        br1\n";
        assert!(parse(&format!("{HEAD}{twice}")).is_empty());
    }
}
