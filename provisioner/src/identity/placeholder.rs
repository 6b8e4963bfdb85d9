// SPDX-License-Identifier: Apache-2.0
//! Labels that makers forgot to fill in.

/// Serial numbers, asset tags and names that say nothing, lower case.
const WORDS: &[&str] = &[
    "0123456789",
    "123456789",
    "1234567890",
    "12345678",
    "123456",
    "03000200-0400-0500-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "base board serial number",
    "baseboard serial number",
    "board serial number",
    "chassis serial number",
    "default",
    "default string",
    "empty",
    "english",
    "invalid",
    "mb-1234567890",
    "n/a",
    "na",
    "none",
    "not applicable",
    "not available",
    "not specified",
    "not set",
    "null",
    "o.e.m.",
    "oem",
    "serial",
    "serial number",
    "sn",
    "standard",
    "system serial number",
    "system serialnumber",
    "system uuid",
    "tbd",
    "to be filled by o.e.m",
    "to be filled by o.e.m.",
    "to be filled by oem",
    "type1serial",
    "type2 - board serial number",
    "undefined",
    "unknown",
];

/// Serial numbers shorter than this are counters or leftovers, not names of one machine.
const SHORTEST: usize = 4;

/// Whether a label says nothing about which machine this is.
pub fn is_placeholder(label: &str) -> bool {
    let label = label.trim().to_lowercase();
    let mut letters = label.chars().filter(|c| c.is_alphanumeric());
    let first = letters.next();
    // "FFFFFFFF-FFFF-…", "00000000", "xxxxxxx", "........": any single repeated character.
    let repeated = letters.all(|c| Some(c) == first);
    repeated || label.len() < SHORTEST || WORDS.contains(&label.as_str()) || is_qemu_default(&label)
}

/// QEMU numbers the ATA disks of every virtual PC from QM00001.
fn is_qemu_default(label: &str) -> bool {
    label
        .strip_prefix("qm")
        .is_some_and(|number| number.len() == 5 && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a hardware address says nothing about which card this is.
pub fn is_placeholder_mac(mac: &str) -> bool {
    let digits: String = mac.chars().filter(char::is_ascii_hexdigit).collect();
    let first = digits.chars().next();
    let repeated = digits.chars().all(|c| Some(c) == first);
    // The lowest bit of the first octet marks a group of cards (IEEE 802-2014 section 8.2.2), never one card.
    let group = u8::from_str_radix(digits.get(..2).unwrap_or("01"), 16).map_or(true, |octet| octet & 1 == 1);
    digits.len() != 12 || repeated || group
}

/// Whether two UUIDs are one. SMBIOS 2.6 swapped the byte order of the first three fields, and programs differ in
/// which order they print, so both count.
pub fn same_uuid(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || swapped(a).is_some_and(|swapped| swapped.eq_ignore_ascii_case(b))
}

fn swapped(uuid: &str) -> Option<String> {
    let fields: Vec<&str> = uuid.split('-').collect();
    let [low, mid, high, clock, node] = fields.as_slice() else {
        return None;
    };
    let swap = |field: &str| {
        let octets: Option<Vec<&str>> = (0..field.len()).step_by(2).map(|at| field.get(at..at + 2)).collect();
        Some(octets?.into_iter().rev().collect::<String>())
    };
    Some(
        [
            swap(low)?.as_str(),
            swap(mid)?.as_str(),
            swap(high)?.as_str(),
            clock,
            node,
        ]
        .join("-"),
    )
}
