// SPDX-License-Identifier: Apache-2.0
//! Who asks.
//!
//! The options by which firmware, loaders and systems tell what they are become a small struct of enums here,
//! once; no other module looks at their numbers.

use std::fmt;

use crate::Mac;

/// Who sent a DHCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The card.
    pub mac: Mac,
    /// Which programs the machine's firmware can start; `None` where it did not say.
    pub firmware: Option<Firmware>,
    /// Which program speaks.
    pub speaker: Speaker,
    /// SMBIOS UUID, where it was sent. A hint, never an identity: cheap boards share theirs.
    pub uuid: Option<Uuid>,
    /// What it says of itself that firmware should not: it is served all the same where that is possible.
    pub quirk: Option<Quirk>,
}

/// What a client says of itself wrongly, for people who wonder why it does not boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quirk {
    /// Names its architecture, but no option 60 says that it boots: it gets an address and no loader.
    NoVendorClass,
    /// The architecture is one of HTTP Boot's and option 60 does not say `HTTPClient`.
    HttpWithoutClass,
    /// iPXE by its option 175 that sends no user class `iPXE`.
    NoUserClass,
    /// iPXE that was built without HTTP or without the means to start a kernel.
    PoorIpxe,
}

/// Which programs the machine's firmware can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Firmware {
    /// PC BIOS, or UEFI in its compatibility mode.
    Bios,
    /// UEFI that starts 32-bit x86 programs.
    UefiIa32,
    /// UEFI that starts x86-64 programs.
    UefiX64,
    /// UEFI that starts 64-bit ARM programs.
    UefiArm64,
    /// Anything else, by its number in IANA's list of processor architecture types.
    Other(u16),
}

/// Which program speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// The firmware's own PXE, which loads a program over TFTP.
    PxeRom,
    /// The firmware's own HTTP Boot (UEFI 2.5), which loads a program from a URL.
    HttpBoot,
    /// iPXE that can fetch a script over HTTP and start what it names.
    Ipxe,
    /// An operating system, or nothing that boots from the network.
    System,
}

/// An SMBIOS UUID, in the byte order in which Linux prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

/// The options that tell who asks, raw and each on its own; an absent one is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// Option 60, vendor class.
    pub vendor_class: &'a [u8],
    /// Option 77, user class.
    pub user_class: &'a [u8],
    /// Option 93, client architecture (RFC 4578): one or several numbers of two bytes.
    pub architectures: &'a [u8],
    /// Option 97, machine identifier (RFC 4578): type 0 and a UUID.
    pub machine_id: &'a [u8],
    /// Option 175, iPXE's own, an option space inside.
    pub ipxe: &'a [u8],
}

/// Feature flag of iPXE, inside option 175: fetches over HTTP.
const IPXE_HTTP: u8 = 0x13;
/// Feature flag of iPXE, inside option 175: starts Linux kernels on BIOS.
const IPXE_BZIMAGE: u8 = 0x18;
/// Feature flag of iPXE, inside option 175: starts UEFI programs, Linux kernels among them.
const IPXE_EFI: u8 = 0x24;

impl Client {
    /// Classifies the sender of a packet.
    pub fn classify(mac: Mac, evidence: &Evidence<'_>) -> Self {
        let http_class = evidence.vendor_class.starts_with(b"HTTPClient");
        let pxe_class = evidence.vendor_class.starts_with(b"PXEClient");
        let (firmware, http_type) = architecture(evidence);
        // Some builds of iPXE that were chained by another loader send no user class, but all send option 175.
        let is_ipxe = is_user_class(evidence.user_class, b"iPXE") || !evidence.ipxe.is_empty();
        let speaker = if is_ipxe && is_capable(evidence.ipxe) {
            Speaker::Ipxe
        } else if http_class || (http_type && !pxe_class) {
            Speaker::HttpBoot
        } else if pxe_class || is_ipxe {
            // An iPXE that lacks what our scripts need is a ROM like any other: it gets a better iPXE from us.
            Speaker::PxeRom
        } else {
            Speaker::System
        };
        let quirk = match speaker {
            Speaker::System if firmware.is_some() && evidence.vendor_class.is_empty() => Some(Quirk::NoVendorClass),
            Speaker::HttpBoot if !http_class => Some(Quirk::HttpWithoutClass),
            Speaker::PxeRom if is_ipxe => Some(Quirk::PoorIpxe),
            Speaker::PxeRom if http_type => Some(Quirk::HttpWithoutClass),
            Speaker::Ipxe if !is_user_class(evidence.user_class, b"iPXE") => Some(Quirk::NoUserClass),
            _ => None,
        };
        Self {
            mac,
            firmware,
            speaker,
            uuid: uuid(evidence.machine_id),
            quirk,
        }
    }
}

/// Option 77 comes as plain text from iPXE and as counted strings (RFC 3004) from everybody who read the RFC.
fn is_user_class(option: &[u8], class: &[u8]) -> bool {
    if option == class {
        return true;
    }
    let mut rest = option;
    while let Some((&length, tail)) = rest.split_first() {
        let Some(item) = tail.get(..usize::from(length)) else {
            return false;
        };
        if item == class {
            return true;
        }
        rest = &tail[item.len()..];
    }
    false
}

/// Whether an iPXE can do what our scripts ask. One that lists no features at all is believed to have them.
fn is_capable(option: &[u8]) -> bool {
    let mut listed = false;
    let (mut http, mut starts_linux) = (false, false);
    let mut rest = option;
    while let [code, length, tail @ ..] = rest {
        let Some(value) = tail.get(..usize::from(*length)) else {
            break;
        };
        let on = value.iter().any(|&byte| byte != 0);
        match *code {
            IPXE_HTTP => http = on,
            IPXE_BZIMAGE | IPXE_EFI => starts_linux |= on,
            _ => {}
        }
        // Features are numbered from 0x10 to 0x2f; what lies beyond says nothing about them.
        listed |= (0x10..0x30).contains(code);
        rest = &tail[value.len()..];
    }
    !listed || (http && starts_linux)
}

/// The architecture, and whether the number is one of HTTP Boot's.
fn architecture(evidence: &Evidence<'_>) -> (Option<Firmware>, bool) {
    let listed = evidence
        .architectures
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let from_class = class_architecture(evidence.vendor_class);
    // Several values are allowed, and what comes after the first is not always something that we can serve. The
    // number in the vendor class is the one that is booting now.
    let number = match from_class {
        Some(number) if listed.clone().any(|other| other == number) => Some(number),
        _ => listed
            .clone()
            .find(|&number| !matches!(firmware(number).0, Firmware::Other(_)))
            .or(listed.clone().next()),
    };
    match number.or(from_class) {
        Some(number) => {
            let (firmware, http) = firmware(number);
            (Some(firmware), http)
        }
        None => (None, false),
    }
}

/// The number in `PXEClient:Arch:00007:UNDI:003016`.
fn class_architecture(vendor_class: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(vendor_class).ok()?;
    let (_, after) = text.split_once(":Arch:")?;
    after.get(..5)?.parse().ok()
}

/// IANA, "Processor Architecture Types": 7 is x64 UEFI by the list and EBC by RFC 4578's text, 9 the other way
/// round; boards send either for x64, and none that can be bought runs EBC only.
fn firmware(number: u16) -> (Firmware, bool) {
    match number {
        0 => (Firmware::Bios, false),
        6 => (Firmware::UefiIa32, false),
        7 | 9 => (Firmware::UefiX64, false),
        11 => (Firmware::UefiArm64, false),
        15 => (Firmware::UefiIa32, true),
        16 => (Firmware::UefiX64, true),
        19 => (Firmware::UefiArm64, true),
        20 => (Firmware::Bios, true),
        other => (Firmware::Other(other), false),
    }
}

/// What IANA's list calls the numbers that no PC of ours sends, for people who wonder.
fn architecture_name(number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "NEC PC-98",
        2 => "Itanium EFI",
        3 => "DEC Alpha",
        4 => "Arc x86",
        5 => "Intel Lean Client",
        8 => "EFI for XScale",
        10 | 18 => "UEFI for 32-bit ARM",
        12..=14 => "PowerPC",
        17 => "EFI byte code",
        21..=24 => "ARM U-Boot",
        25..=30 => "RISC-V",
        _ => return None,
    })
}

/// Firmware and iPXE send the UUID as it lies in SMBIOS, the first three fields little-endian.
fn uuid(option: &[u8]) -> Option<Uuid> {
    let [0, bytes @ ..] = option else { return None };
    let mut uuid: [u8; 16] = bytes.try_into().ok()?;
    uuid[..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    // "If the value is all FFh, the ID is not currently present; if all 00h, it is not present" (SMBIOS 7.2.1).
    (uuid != [0; 16] && uuid != [0xff; 16]).then_some(Uuid(uuid))
}

impl Firmware {
    /// One word, for URLs, logs and people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::UefiIa32 => "uefi-ia32",
            Self::UefiX64 => "uefi-x64",
            Self::UefiArm64 => "uefi-arm64",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(number) => match architecture_name(*number) {
                Some(name) => write!(f, "architecture {number} ({name})"),
                None => write!(f, "unknown architecture {number}"),
            },
            known => f.write_str(known.word()),
        }
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PxeRom => "PXE firmware",
            Self::HttpBoot => "HTTP Boot firmware",
            Self::Ipxe => "iPXE",
            Self::System => "system",
        })
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x52, 0x54, 0, 0x77, 0, 1]);

    fn classify(evidence: &Evidence<'_>) -> (Option<Firmware>, Speaker) {
        let client = Client::classify(MAC, evidence);
        (client.firmware, client.speaker)
    }

    fn rom(number: u16) -> (Option<Firmware>, Speaker) {
        let architectures = number.to_be_bytes();
        let class = format!("PXEClient:Arch:{number:05}:UNDI:003016");
        classify(&Evidence {
            vendor_class: class.as_bytes(),
            architectures: &architectures,
            ..Evidence::default()
        })
    }

    #[test]
    fn every_architecture_of_a_pc_has_its_name() {
        for (number, firmware) in [
            (0, Firmware::Bios),
            (6, Firmware::UefiIa32),
            (7, Firmware::UefiX64),
            (9, Firmware::UefiX64),
            (11, Firmware::UefiArm64),
            (10, Firmware::Other(10)),
            (4, Firmware::Other(4)),
        ] {
            assert_eq!(rom(number), (Some(firmware), Speaker::PxeRom), "{number}");
        }
    }

    #[test]
    fn http_boot_is_told_by_its_class_or_its_number() {
        for (number, firmware) in [
            (15, Firmware::UefiIa32),
            (16, Firmware::UefiX64),
            (19, Firmware::UefiArm64),
        ] {
            let architectures = u16::to_be_bytes(number);
            for vendor_class in [&b"HTTPClient:Arch:00016:UNDI:003001"[..], b""] {
                let evidence = Evidence {
                    vendor_class,
                    architectures: &architectures,
                    ..Evidence::default()
                };
                assert_eq!(classify(&evidence), (Some(firmware), Speaker::HttpBoot), "{number}");
            }
        }
    }

    #[test]
    fn of_several_architectures_the_one_that_boots_now_counts() {
        let evidence = Evidence {
            vendor_class: b"PXEClient:Arch:00007:UNDI:003016",
            architectures: &[0, 6, 0, 7],
            ..Evidence::default()
        };
        assert_eq!(classify(&evidence).0, Some(Firmware::UefiX64));
        let evidence = Evidence {
            vendor_class: b"PXEClient",
            architectures: &[0, 10, 0, 9, 0, 0, 1],
            ..Evidence::default()
        };
        assert_eq!(classify(&evidence).0, Some(Firmware::UefiX64));
    }

    #[test]
    fn the_vendor_class_alone_tells_the_architecture() {
        let evidence = Evidence {
            vendor_class: b"PXEClient:Arch:00000:UNDI:002001",
            ..Evidence::default()
        };
        assert_eq!(classify(&evidence), (Some(Firmware::Bios), Speaker::PxeRom));
        let evidence = Evidence {
            vendor_class: b"PXEClient:Arch:\xff\xff\xff",
            ..Evidence::default()
        };
        assert_eq!(classify(&evidence), (None, Speaker::PxeRom));
    }

    #[test]
    fn ipxe_is_known_by_either_form_of_its_user_class_or_by_its_option() {
        let vendor_class = b"PXEClient:Arch:00000:UNDI:002001";
        for evidence in [
            Evidence {
                vendor_class,
                user_class: b"iPXE",
                ..Evidence::default()
            },
            Evidence {
                vendor_class,
                user_class: b"\x04iPXE",
                ..Evidence::default()
            },
            Evidence {
                vendor_class,
                user_class: b"\x03foo\x04iPXE",
                ..Evidence::default()
            },
            Evidence {
                vendor_class,
                ipxe: &[0xb1, 5, 1, 0x80, 0x86, 0x10, 0x0e],
                ..Evidence::default()
            },
            Evidence {
                vendor_class,
                ipxe: &[0x13, 1, 1, 0x18, 1, 1],
                ..Evidence::default()
            },
        ] {
            assert_eq!(classify(&evidence).1, Speaker::Ipxe, "{evidence:?}");
        }
        for user_class in [&b"iPXe"[..], b"\x05iPXE", b"\x04gPXE", b"iPXE2"] {
            assert_eq!(
                classify(&Evidence {
                    vendor_class,
                    user_class,
                    ..Evidence::default()
                })
                .1,
                Speaker::PxeRom
            );
        }
    }

    #[test]
    fn an_ipxe_without_http_gets_a_better_one() {
        let vendor_class = b"PXEClient:Arch:00000:UNDI:002001";
        for ipxe in [&[0x15, 1, 1, 0x18, 1, 1][..], &[0x13, 1, 0, 0x18, 1, 1], &[0x13, 1, 1]] {
            let evidence = Evidence {
                vendor_class,
                user_class: b"iPXE",
                ipxe,
                ..Evidence::default()
            };
            assert_eq!(classify(&evidence).1, Speaker::PxeRom, "{ipxe:?}");
        }
    }

    #[test]
    fn a_system_is_not_booted() {
        for vendor_class in [&b"udhcp 1.35.0"[..], b"MSFT 5.0", b"", b"PXEclient"] {
            assert_eq!(
                classify(&Evidence {
                    vendor_class,
                    ..Evidence::default()
                }),
                (None, Speaker::System)
            );
        }
    }

    #[test]
    fn what_firmware_says_wrongly_has_a_name() {
        let quirk = |vendor_class: &[u8], number: u16, user_class: &[u8], ipxe: &[u8]| {
            let architectures = number.to_be_bytes();
            let evidence = Evidence {
                vendor_class,
                user_class,
                architectures: &architectures,
                ipxe,
                ..Evidence::default()
            };
            Client::classify(MAC, &evidence).quirk
        };
        let features = [0x13, 1, 1, 0x24, 1, 1];
        assert_eq!(quirk(b"PXEClient:Arch:00007:UNDI:003016", 7, b"", b""), None);
        assert_eq!(quirk(b"HTTPClient:Arch:00016:UNDI:003001", 16, b"", b""), None);
        assert_eq!(quirk(b"PXEClient", 7, b"iPXE", &features), None);
        assert_eq!(quirk(b"", 7, b"", b""), Some(Quirk::NoVendorClass));
        assert_eq!(quirk(b"", 16, b"", b""), Some(Quirk::HttpWithoutClass));
        assert_eq!(quirk(b"PXEClient", 16, b"", b""), Some(Quirk::HttpWithoutClass));
        assert_eq!(quirk(b"PXEClient", 7, b"", &features), Some(Quirk::NoUserClass));
        assert_eq!(quirk(b"PXEClient", 7, b"iPXE", &[0x13, 1, 0]), Some(Quirk::PoorIpxe));
        assert_eq!(quirk(b"MSFT 5.0", 7, b"", b""), None);
    }

    #[test]
    fn the_uuid_reads_as_linux_prints_it() {
        let uuid = |machine_id: &[u8]| {
            Client::classify(
                MAC,
                &Evidence {
                    machine_id,
                    ..Evidence::default()
                },
            )
            .uuid
            .map(|uuid| uuid.to_string())
        };
        let raw = b"\0\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        assert_eq!(uuid(raw).as_deref(), Some("00112233-4455-6677-8899-aabbccddeeff"));
        let mut all_ones = [0xff; 17];
        all_ones[0] = 0;
        for nothing in [&[0; 17][..], &all_ones, &[0; 16], &[1; 17], b""] {
            assert_eq!(uuid(nothing), None, "{nothing:?}");
        }
    }
}
