// SPDX-License-Identifier: Apache-2.0
//! Asks a UEFI firmware to start from the network the next time, and only then. BIOS machines have their order of
//! boot devices and nothing else.

use std::fs;
use std::io;
use std::path::Path;

/// Variables of the UEFI specification itself (`EFI_GLOBAL_VARIABLE`).
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Non-volatile, visible to boot services and to the system (UEFI 2.10 section 8.2): what `BootNext` must have.
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];

/// `LOAD_OPTION_ACTIVE`, UEFI 2.10 section 3.1.3: others are not tried.
const ACTIVE: u32 = 1;

/// Type and subtype of nodes of a device path, UEFI 2.10 section 10.3.4.
mod node {
    pub(super) const MESSAGING: u8 = 3;
    pub(super) const MAC: u8 = 11;
    pub(super) const IPV4: u8 = 12;
    pub(super) const URI: u8 = 24;
    pub(super) const END: u8 = 0x7f;
}

/// What a boot entry starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The firmware tries it.
    pub(super) active: bool,
    /// The firmware's words for it.
    pub(super) description: String,
    /// The card that it starts from, lower case with colons.
    pub(super) mac: Option<String>,
    /// By PXE over IPv4, which is what our boot server answers best.
    pub(super) ipv4: bool,
    /// By HTTP.
    pub(super) http: bool,
}

/// Sets `BootNext` to the entry for the card `mac`, or to the only card's entry. Returns its words.
pub(super) fn boot_from_network_next(root: &Path, mac: &str) -> io::Result<String> {
    let folder = root.join("sys/firmware/efi/efivars");
    let mut entries = Vec::new();
    for number in boot_order(&folder)? {
        let Ok(raw) = fs::read(folder.join(format!("Boot{number:04X}-{GLOBAL}"))) else {
            continue;
        };
        if let Some(entry) = raw.get(ATTRIBUTES.len()..).and_then(parse) {
            entries.push((number, entry));
        }
    }
    let (number, entry) = choose(&entries, mac).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("the firmware has no network entry for {mac}"),
        )
    })?;
    // One write: the kernel takes each write to efivarfs as the whole variable, attributes first.
    fs::write(
        folder.join(format!("BootNext-{GLOBAL}")),
        [&ATTRIBUTES[..], &number.to_le_bytes()].concat(),
    )?;
    Ok(entry.description.clone())
}

fn boot_order(folder: &Path) -> io::Result<Vec<u16>> {
    let raw = fs::read(folder.join(format!("BootOrder-{GLOBAL}")))?;
    let numbers = raw.get(ATTRIBUTES.len()..).unwrap_or_default();
    Ok(numbers
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
        .collect())
}

/// Our card over IPv4, else our card over whatever, else nothing: another card may hang on another network.
fn choose<'a>(entries: &'a [(u16, Entry)], mac: &str) -> Option<&'a (u16, Entry)> {
    let ours = |(_, entry): &&(u16, Entry)| entry.active && entry.mac.as_deref() == Some(mac);
    let best = entries.iter().filter(ours).find(|(_, entry)| entry.ipv4 && !entry.http);
    best.or_else(|| entries.iter().find(ours))
}

/// Reads an `EFI_LOAD_OPTION` (UEFI 2.10 section 3.1.3).
pub(super) fn parse(raw: &[u8]) -> Option<Entry> {
    let (attributes, rest) = raw.split_first_chunk::<4>()?;
    let (path_length, rest) = rest.split_first_chunk::<2>()?;
    let units = rest.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let words: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    let path = rest.get(words.len() * 2 + 2..)?;
    let path = path.get(..usize::from(u16::from_le_bytes(*path_length)))?;
    let mut entry = Entry {
        active: u32::from_le_bytes(*attributes) & ACTIVE != 0,
        description: String::from_utf16_lossy(&words),
        mac: None,
        ipv4: false,
        http: false,
    };
    read_path(path, &mut entry);
    Some(entry)
}

fn read_path(mut path: &[u8], entry: &mut Entry) {
    while let [kind, subtype, low, high, ..] = *path {
        let length = usize::from(u16::from_le_bytes([low, high]));
        let Some(node) = path.get(4..length) else { return };
        match (kind, subtype) {
            (node::END, _) => return,
            // A MAC address node has 32 bytes for the address, of which Ethernet uses the first six.
            (node::MESSAGING, node::MAC) => entry.mac = node.get(..6).map(hardware_address),
            (node::MESSAGING, node::IPV4) => entry.ipv4 = true,
            (node::MESSAGING, node::URI) => entry.http = true,
            _ => {}
        }
        path = &path[length..];
    }
}

fn hardware_address(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const MAC: &str = "52:54:00:77:00:01";

    fn device(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len() + 4).unwrap().to_le_bytes();
        [&[kind, subtype, length[0], length[1]], data].concat()
    }

    fn option(attributes: u32, words: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
        let path = [nodes.concat(), device(node::END, 0xff, &[])].concat();
        let words: Vec<u8> = words.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let length = u16::try_from(path.len()).unwrap().to_le_bytes();
        [&attributes.to_le_bytes()[..], &length, &words, &path].concat()
    }

    fn card(last: u8) -> Vec<u8> {
        let mut address = [0; 33];
        address[..6].copy_from_slice(&[0x52, 0x54, 0, 0x77, 0, last]);
        device(node::MESSAGING, node::MAC, &address)
    }

    fn firmware(entries: &[(u16, Vec<u8>)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("sys/firmware/efi/efivars");
        fs::create_dir_all(&folder).unwrap();
        let order: Vec<u8> = entries.iter().flat_map(|(number, _)| number.to_le_bytes()).collect();
        fs::write(
            folder.join(format!("BootOrder-{GLOBAL}")),
            [&ATTRIBUTES[..], &order].concat(),
        )
        .unwrap();
        for (number, raw) in entries {
            let path = folder.join(format!("Boot{number:04X}-{GLOBAL}"));
            fs::write(path, [&ATTRIBUTES[..], raw].concat()).unwrap();
        }
        root
    }

    #[test]
    fn the_next_start_is_from_our_card_over_ipv4() {
        let (v4, uri) = (
            device(node::MESSAGING, node::IPV4, &[0; 23]),
            device(node::MESSAGING, node::URI, b""),
        );
        let root = firmware(&[
            (1, option(ACTIVE, "debian", &[device(4, 1, &[0; 38])])),
            (2, option(ACTIVE, "HTTP", &[card(1), v4.clone(), uri])),
            (3, option(ACTIVE, "other card", &[card(2), v4.clone()])),
            (4, option(0, "switched off", &[card(1), v4.clone()])),
            (0x1a, option(ACTIVE, "UEFI PXEv4", &[card(1), v4])),
        ]);
        assert_eq!(boot_from_network_next(root.path(), MAC).unwrap(), "UEFI PXEv4");
        let path = root.path().join(format!("sys/firmware/efi/efivars/BootNext-{GLOBAL}"));
        assert_eq!(fs::read(path).unwrap(), [7, 0, 0, 0, 0x1a, 0]);
    }

    #[test]
    fn nothing_is_written_where_no_entry_is_ours() {
        let root = firmware(&[(3, option(ACTIVE, "other card", &[card(2)]))]);
        assert_eq!(
            boot_from_network_next(root.path(), MAC).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert!(boot_from_network_next(Path::new("/does/not/exist"), MAC).is_err());
    }

    proptest! {
        #[test]
        fn no_variable_of_a_firmware_panics(raw in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&raw);
        }

        #[test]
        fn no_broken_device_path_panics(nodes in prop::collection::vec(prop::collection::vec(prop_oneof![Just(3_u8), Just(11), Just(4), Just(0), any::<u8>()], 0..12), 0..6)) {
            parse(&option(ACTIVE, "x", &nodes));
        }

        #[test]
        fn what_is_written_is_read(words in "[a-zA-Z0-9 ]{0,20}", active in any::<bool>(), last in any::<u8>()) {
            let entry = parse(&option(u32::from(active), &words, &[card(last)])).unwrap();
            prop_assert_eq!((entry.active, entry.description), (active, words));
            prop_assert_eq!(entry.mac, Some(format!("52:54:00:77:00:{last:02x}")));
        }
    }
}
