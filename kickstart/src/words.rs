// SPDX-License-Identifier: Apache-2.0
//! The words that a specification is made of: each is checked once, when it is made, and what is wrong with it is said
//! together with what would be right.
//!
//! None holds a control character: what one line of an answer file says ends where the line ends. Otherwise they allow
//! what their own standard allows, and the filters of the templates take care of the rest.

use std::fmt;

use serde::{Deserialize, Serialize};

mod ssh_key;
mod time_zone;

pub use ssh_key::{BadKey, SshKey};
pub use time_zone::{NoZone, TimeZone};

/// Longest text that is one line: a screen, a log and a person can take it in.
const LINE: usize = 200;
/// Longest command, key or address: an argument of a program may be longer, but then it belongs into a file.
const LONG: usize = 4096;
/// Largest file of a role, and largest key of a repository: answer files are held in memory, some in RAM of 512 MB.
const FILE: usize = 256 * 1024;

/// Text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {what}: {right}")]
pub struct Unfit {
    /// What it should be.
    pub what: &'static str,
    /// How it begins.
    pub given: String,
    /// What would be right.
    pub right: &'static str,
}

/// Any word that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub enum BadWord {
    /// Most of them.
    Unfit(#[from] Unfit),
    /// A key.
    Key(#[from] BadKey),
    /// A time zone.
    Zone(#[from] NoZone),
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $fits:expr, $right:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes text that is one.
            pub fn new(text: impl Into<String>) -> Result<Self, Unfit> {
                let text = text.into();
                let fits: fn(&str) -> bool = $fits;
                if fits(&text) {
                    Ok(Self(text))
                } else {
                    // Enough to recognise it; what is wrong may be ten thousand characters long.
                    let given = text.chars().take(40).collect();
                    Err(Unfit { what: $what, given, right: $right })
                }
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Unfit;

            fn try_from(text: String) -> Result<Self, Unfit> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

words! {
    /// Name of a machine, without a domain (RFC 1123, section 2.1).
    HostName: "a host name", is_label,
        "1 to 63 lower-case letters, digits and dashes, no dash first or last";
    /// A domain, a host in it, or an IPv4 address.
    Host: "a host", is_host,
        "names of letters, digits and dashes with dots between them, or an IPv4 address";
    /// Name of a network device that we make: a bridge.
    DeviceName: "a device name", |text| {
        starts(text, char::is_ascii_lowercase) && text.len() <= 12 && all(text, |c| lower(c) || c == '-')
            && !RESERVED_DEVICES.iter().any(|taken| text.starts_with(taken)) && !ALL_DEVICES.contains(&text)
    }, "1 to 12 lower-case letters, digits and dashes, a letter first, such as br0, and none that begins like what others give: lo, lan, bond, vlan, eth, en, wl, ww, vnet, virbr, veth";
    /// A hardware address of a card: `52:54:00:77:00:01`.
    Mac: "a card's hardware address", is_card,
        "six pairs of lower-case hexadecimal digits with colons between them, not all zeros and not a group's";
    /// An HTTP or HTTPS URL, without a user and without a question.
    Url: "a URL", is_url,
        "http:// or https://, a host, perhaps a port, and a path of letters, digits and -._~/%+=,:@";
    /// A serial number of a disk, as the disk says it.
    Serial: "a serial number", |text| {
        (1..=64).contains(&text.len()) && text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) && text.trim() == text
    }, "1 to 64 printable ASCII characters, no blank first or last";
    /// Where a disk is attached: a name in `/dev/disk/by-path`.
    ByPath: "a place of a disk", |text| {
        (1..=200).contains(&text.len()) && starts(text, char::is_ascii_alphanumeric)
            && all(text, |c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) && !is_partition(text)
    }, "a name of a whole disk in /dev/disk/by-path, without the folder, such as pci-0000:00:1f.2-ata-1";
    /// An absolute path.
    FilePath: "an absolute path", is_path,
        "a slash first, then names of letters, digits and -._@+ with slashes between them, no name . or ..";
    /// Name of a user (useradd(8)).
    UserName: "a user name", |text| {
        text.len() <= 31 && starts(text, |c| c.is_ascii_lowercase() || *c == '_')
            && all(text, |c| lower(c) || c == '-' || c == '_') && text != "root"
    }, "1 to 31 lower-case letters, digits, dashes and underscores, a letter first; root has no login";
    /// A locale: `en_US.UTF-8`.
    Locale: "a locale", is_locale, "a language, perhaps a country, and UTF-8: en_US.UTF-8, C.UTF-8";
    /// A keyboard layout of XKB: `us`, `de`.
    Keyboard: "a keyboard layout", |text| (2..=8).contains(&text.len()) && all(text, |c| c.is_ascii_lowercase()),
        "the name of an XKB layout, 2 to 8 lower-case letters: us, de, latam";
    /// Name of a package.
    PackageName: "a package name", |text| {
        text.len() <= 128 && starts(text, char::is_ascii_alphanumeric)
            && all(text, |c| c.is_ascii_alphanumeric() || "+-._".contains(c))
    }, "letters, digits and +-._, a letter or digit first";
    /// Name of a systemd unit.
    UnitName: "a unit's name", |text| {
        text.len() <= 128 && starts(text, char::is_ascii_alphanumeric)
            && all(text, |c| c.is_ascii_alphanumeric() || "-_.@:".contains(c))
            && [".service", ".socket", ".timer", ".path", ".mount", ".target"].iter().any(|kind| text.ends_with(kind))
    }, "a name with its kind, such as libvirtd.service";
    /// A word with a narrow alphabet: a role, a repository, a suite or a component of one.
    Name: "a name", |text| {
        text.len() <= 64 && starts(text, char::is_ascii_alphanumeric)
            && all(text, |c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    }, "1 to 64 letters, digits and -_., a letter or digit first";
    /// An argument of the installed system's kernel.
    KernelArgument: "a kernel argument", |text| {
        text.len() <= 256 && starts(text, char::is_ascii_alphanumeric)
            && all(text, |c| c.is_ascii_alphanumeric() || "._-=,:/@+%".contains(c))
    }, "one word of letters, digits and ._-=,:/@+%, a letter or digit first";
    /// A command for `sh -c`.
    Command: "a command", |text| (1..=LONG).contains(&text.len()) && one_line(text) && text.trim() == text,
        "1 to 4096 bytes in one line, no blank first or last; what is longer is a file of the role";
    /// Words for people, in one line.
    Line: "a line of text", |text| (1..=LINE).contains(&text.len()) && one_line(text) && text.trim() == text,
        "1 to 200 bytes in one line, no control characters, no blank first or last";
    /// What people call a user: a field of passwd(5).
    FullName: "a full name", |text| {
        (1..=LINE).contains(&text.len()) && one_line(text) && text.trim() == text && !text.contains([':', ','])
    }, "1 to 200 bytes in one line, without colons and commas, no blank first or last";
    /// A SHA-256 sum.
    Sha256: "a SHA-256 sum", |text| text.len() == 64 && all(text, |c| c.is_ascii_digit() || ('a'..='f').contains(&c)),
        "64 lower-case hexadecimal digits";
    /// An armoured `OpenPGP` public key.
    PublicKey: "an armoured OpenPGP public key", |text| {
        text.len() <= FILE && text.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
            && text.trim_end().ends_with("\n-----END PGP PUBLIC KEY BLOCK-----")
            && text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic())
    }, "the lines from BEGIN PGP PUBLIC KEY BLOCK to END PGP PUBLIC KEY BLOCK, 256 kB at most";
    /// What a file holds.
    Contents: "the text of a file", |text| text.len() <= FILE && !text.contains('\0'), "256 kB of text at most";
}

/// The kernel, systemd or libvirt give these, or we do.
const RESERVED_DEVICES: [&str; 11] = [
    "lo", "lan", "bond", "vlan", "eth", "en", "wl", "ww", "vnet", "virbr", "veth",
];
/// They mean all devices in `/proc/sys/net`.
const ALL_DEVICES: [&str; 2] = ["all", "default"];

impl Url {
    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.0.split("://").next().unwrap_or_default()
    }

    /// Host and path of it; the host with its port, the path with its slash.
    fn parts(&self) -> (&str, &str) {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash))
    }

    /// The host, with the port where one is written.
    pub fn authority(&self) -> &str {
        self.parts().0
    }

    /// The host.
    pub fn host(&self) -> &str {
        self.authority().split(':').next().unwrap_or_default()
    }

    /// The port that is written, or the scheme's.
    pub fn port(&self) -> u16 {
        let usual = if self.scheme() == "https" { 443 } else { 80 };
        let written = self.authority().split_once(':').and_then(|(_, port)| port.parse().ok());
        written.unwrap_or(usual)
    }

    /// The path, from its first slash.
    pub fn path(&self) -> &str {
        self.parts().1
    }

    /// Without slashes at its end.
    pub fn folder(&self) -> &str {
        self.0.trim_end_matches('/')
    }
}

/// The word of `known` that is most like a mistyped one; none where none is like it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Two letters that are exchanged, left out or wrong; beyond that it is another word.
    const LIKE: f64 = 0.75;
    let word = word.to_ascii_lowercase();
    let how_like = |other: &str| strsim::normalized_damerau_levenshtein(&word, &other.to_ascii_lowercase());
    let all = known.into_iter().map(|other| (how_like(other), other));
    let best = all.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(like, _)| *like >= LIKE).map(|(_, other)| other)
}

fn all(text: &str, fits: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(fits)
}

fn starts(text: &str, fits: impl Fn(&char) -> bool) -> bool {
    text.chars().next().is_some_and(|first| fits(&first))
}

/// `…-part1` is a partition's place.
fn is_partition(place: &str) -> bool {
    let number = place.rsplit_once("-part").map(|(_, number)| number);
    number.is_some_and(|number| all(number, |c| c.is_ascii_digit()))
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// Unicode's line breaks are control characters to some of the parsers behind us.
fn one_line(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'))
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && all(text, |c| lower(c) || c == '-') && !text.starts_with('-') && !text.ends_with('-')
}

fn is_host(text: &str) -> bool {
    let looks_like_address = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if looks_like_address {
        text.parse::<std::net::Ipv4Addr>().is_ok()
    } else {
        text.len() <= 253 && text.split('.').all(|label| is_label(&label.to_ascii_lowercase()))
    }
}

fn is_card(text: &str) -> bool {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|pair| {
            let fits = pair.len() == 2 && all(pair, |c| c.is_ascii_digit() || ('a'..='f').contains(&c));
            fits.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        })
        .collect();
    bytes.is_some_and(|bytes| bytes.len() == 6 && bytes.iter().any(|byte| *byte != 0) && bytes[0] & 1 == 0)
}

fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (host, port) = authority
        .split_once(':')
        .map_or((authority, None), |(host, port)| (host, Some(port)));
    let port_fits =
        port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0) && !port.starts_with('+'));
    let path_fits = path
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._~/%+=,:@".contains(c));
    text.len() <= LONG && is_host(host) && port_fits && path_fits
}

fn is_path(text: &str) -> bool {
    let name_fits =
        |name: &str| name != "." && name != ".." && all(name, |c| c.is_ascii_alphanumeric() || "-._@+".contains(c));
    text.len() <= 1024
        && text
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(name_fits))
}

fn is_locale(text: &str) -> bool {
    let (place, charset) = text.split_once('.').unwrap_or((text, ""));
    let (language, country) = place
        .split_once('_')
        .map_or((place, None), |(language, country)| (language, Some(country)));
    let language_fits = place == "C" || (2..=3).contains(&language.len()) && all(language, |c| c.is_ascii_lowercase());
    let country_fits = country.is_none_or(|country| country.len() == 2 && all(country, |c| c.is_ascii_uppercase()));
    charset == "UTF-8" && language_fits && country_fits
}

#[cfg(test)]
#[path = "words/tests.rs"]
mod tests;
