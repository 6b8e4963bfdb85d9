// SPDX-License-Identifier: Apache-2.0
//! What node-init can write into the system that it sets up: the one place that says which host names, time servers,
//! kernel arguments, keys, time zones and bridges those are.
//!
//! The provisioner asks here when it reads its settings, node-init before it writes: what the one accepts, the other
//! does not refuse on a disk that has been wiped already.

use std::net::IpAddr;

/// Bytes of kernel arguments: x86 keeps 2048 of the command line, and the image and the boot script have some of their own.
pub const LONGEST_KERNEL_LINE: usize = 1024;
/// Bytes of a key with its options and comment: an RSA key of 16384 bits is 2.8 kB.
pub const LONGEST_KEY_LINE: usize = 4096;
/// Bytes of a host name in Linux (`HOST_NAME_MAX`, hostname(7)).
const LONGEST_HOST_NAME: usize = 64;
/// Bytes of a name in DNS (RFC 1035, 2.3.4), without the dot at its end.
const LONGEST_DOMAIN: usize = 253;
/// Bytes of a zone's name: the longest is half of this.
const LONGEST_ZONE: usize = 64;
/// Bytes of a device's name: IFNAMSIZ less the zero at the end.
const LONGEST_DEVICE: usize = 15;

/// Text that cannot be written into a system, with what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {what}: {right}")]
pub struct Unwritable {
    /// How it begins.
    pub given: String,
    /// What it should be.
    pub what: &'static str,
    /// What would be right.
    pub right: &'static str,
}

fn written<'a>(text: &'a str, fits: bool, what: &'static str, right: &'static str) -> Result<&'a str, Unwritable> {
    if fits {
        Ok(text)
    } else {
        // Enough to recognise it; what is wrong may be a megabyte long.
        let given = text.chars().take(60).collect();
        Err(Unwritable { given, what, right })
    }
}

/// A label of a name in DNS (RFC 1123, 2.1).
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A host name (RFC 1123, 2.1), one label or several.
pub fn host_name(text: &str) -> Result<&str, Unwritable> {
    written(
        text,
        text.len() <= LONGEST_HOST_NAME && text.split('.').all(is_label),
        "a host name",
        "letters, digits and dashes, no dash first or last, 64 characters at most",
    )
}

/// A domain (RFC 1123, 2.1), no dot at the end.
pub fn domain(text: &str) -> Result<&str, Unwritable> {
    written(
        text,
        text.len() <= LONGEST_DOMAIN && text.split('.').all(is_label),
        "a domain",
        "letters, digits and dashes with dots between them, no dot at the end",
    )
}

/// A time server, by address or by name.
pub fn time_server(text: &str) -> Result<&str, Unwritable> {
    // What has digits and dots only is an address or a mistake: no top-level domain is a number.
    let number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let fits = text.parse::<IpAddr>().is_ok_and(|address| is_somebody(&address)) || (!number && domain(text).is_ok());
    written(
        text,
        fits,
        "a time server",
        "one address, or one name of letters, digits and dashes with dots between them, such as ntp1.example.org",
    )
}

fn is_somebody(address: &IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

/// Kernel arguments of an installed system, one line of words. [`for_grub`] writes them.
///
/// GRUB puts a backslash before quotes and backslashes on their way to the kernel, and expands `*` and `?` to names of
/// its own files: these cannot arrive as they are written here. What a dash begins is for `init`.
pub fn kernel_arguments(line: &str) -> Result<&str, Unwritable> {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric())
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.,:=/@+%!$~;()[]#".contains(c))
    };
    written(
        line,
        line.len() <= LONGEST_KERNEL_LINE
            && !line.chars().any(char::is_control)
            && line.split_ascii_whitespace().all(word),
        "a line of kernel arguments",
        "words that begin with a letter or digit, of letters, digits and _-.,:=/@+%!$~;()[]#, 1024 characters in all; quotes, \
         backslashes, * and ? do not get through GRUB",
    )
}

/// Kernel arguments as they stand between double quotes in a script of GRUB, where only `$`, `"` and `\` mean something.
pub fn for_grub(line: &str) -> Result<String, Unwritable> {
    Ok(kernel_arguments(line)?.trim().replace('$', "\\$"))
}

/// A line of `authorized_keys`, as far as its form goes. Whether OpenSSH knows the key is for whoever takes it.
pub fn authorized_key(line: &str) -> Result<&str, Unwritable> {
    let line = line.trim_matches(' ');
    written(
        line,
        (1..=LONGEST_KEY_LINE).contains(&line.len()) && !line.chars().any(char::is_control),
        "a line of authorized_keys",
        "one line without control characters, 4096 bytes at most",
    )
}

/// A time zone's name, as far as its form goes: a path below `/usr/share/zoneinfo`. An empty one is UTC.
pub fn time_zone(text: &str) -> Result<&str, Unwritable> {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "+-_".contains(c));
    let zone = if text.is_empty() { "UTC" } else { text };
    written(
        zone,
        zone.len() <= LONGEST_ZONE && zone.split('/').all(part),
        "a time zone",
        "a name of the IANA database: Europe/Berlin, UTC",
    )
}

/// How names begin that the kernel, systemd or libvirt give to devices themselves.
const GIVEN: [&str; 7] = ["eth", "en", "wl", "ww", "vnet", "virbr", "veth"];
/// The loopback, and names that mean all devices in `/proc/sys/net`.
const TAKEN: [&str; 3] = ["lo", "all", "default"];

/// A name for a bridge that is made over a node's card.
pub fn bridge(text: &str) -> Result<&str, Unwritable> {
    let fits = text.len() <= LONGEST_DEVICE
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && !TAKEN.contains(&text)
        && !GIVEN.iter().any(|given| text.starts_with(given));
    written(
        text,
        fits,
        "a name for a bridge",
        "1 to 15 letters, digits, dashes and underscores, a letter first, such as br0; not lo, all or default, and none that \
         begins like a card's or a guest's: eth, en, wl, ww, vnet, virbr, veth",
    )
}

/// Folders below which a role may keep files of its identity.
pub const ROLE_FOLDERS: [&str; 5] = ["etc", "var/lib", "root", "opt", "srv"];
/// Files that node-init itself writes; what a role keeps must not replace them.
const OWN_FILES: [&str; 6] = [
    "etc/hostname",
    "etc/hosts",
    "etc/machine-id",
    "etc/node-init/config.json",
    "etc/resolv.conf",
    "var/lib/node-init/node.key",
];

/// The absolute path of a file that the identity capsule can keep for a role; returned without its first slash.
pub fn kept_file(path: &str) -> Result<&str, Unwritable> {
    let relative = path.strip_prefix('/').unwrap_or_default();
    let plain = !path.contains(char::is_control)
        && relative
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
    let below = ROLE_FOLDERS
        .iter()
        .any(|folder| relative.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
    let foreign = !OWN_FILES.contains(&relative) && !relative.starts_with("etc/ssh/");
    written(
        path,
        plain && below && foreign,
        "a path that a role may keep files at",
        "the absolute path of a file below /etc, /var/lib, /root, /opt or /srv, and none that node-init keeps itself (/etc/ssh, \
         /etc/hostname, /etc/hosts, /etc/machine-id, /etc/resolv.conf and its own)",
    )
    .map(|_| relative)
}

#[cfg(test)]
mod tests;
