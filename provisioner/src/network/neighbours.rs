// SPDX-License-Identifier: Apache-2.0
//! Whose an IP address is, as the kernel knows from ARP: where another server gives out the addresses, that is the only
//! way to tell which card fetches a file.

use std::net::Ipv4Addr;

use pxe::Mac;

/// The card that the kernel last reached this address at.
pub fn card_at(address: Ipv4Addr) -> Option<Mac> {
    find(&std::fs::read_to_string("/proc/net/arp").ok()?, address)
}

/// Reads the kernel's table: address, hardware type, flags, hardware address, mask, device (proc(5)).
fn find(table: &str, address: Ipv4Addr) -> Option<Mac> {
    let text = address.to_string();
    let mut lines = table.lines().skip(1).map(str::split_ascii_whitespace);
    lines.find_map(|mut fields| {
        let ours = fields.next()? == text;
        let mac: Mac = fields.nth(2)?.parse().ok()?;
        (ours && mac.is_card()).then_some(mac)
    })
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
        assert_eq!(
            find(table, Ipv4Addr::new(192, 0, 2, 17)),
            Some(Mac([0x52, 0x54, 0, 0x77, 0, 1]))
        );
        // The kernel has asked and heard nothing.
        assert_eq!(find(table, Ipv4Addr::new(192, 0, 2, 7)), None);
        assert_eq!(find("", Ipv4Addr::LOCALHOST), None);
    }
}
