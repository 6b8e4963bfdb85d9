// SPDX-License-Identifier: Apache-2.0
//! What a client is to load next: the ladder from firmware to a boot script.
//!
//! This is the only place with file names and paths. Which of the loaders exist is for the caller to say; what a
//! script contains is for [`crate::ipxe`].

use std::net::Ipv4Addr;

use crate::client::{Client, Firmware, Speaker};

/// GRUB that starts the system on the machine's own disk, for iPXE under UEFI. Which one, [`crate::home::Home::line`]
/// says.
pub const LOCAL_GRUB: &str = "local-grub.efi";
/// The same for iPXE under BIOS.
pub const LOCAL_GRUB_BIOS: &str = "local-grub.pxe";
/// What Debian's shim loads next, from where it came from itself: Debian's GRUB for the network.
pub const SIGNED_GRUB: &str = "grubx64.efi";
/// iPXE under UEFI asks for this script beside its own file before it asks DHCP for one.
pub const AUTOEXEC: &str = "autoexec.ipxe";

/// A rung of the ladder: a loader that firmware can start and that leads to a boot script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loader {
    /// iPXE for BIOS that drives the card through the firmware's own UNDI driver.
    Undionly,
    /// iPXE for BIOS with drivers of its own.
    IpxeBios,
    /// Debian's shim, signed by Microsoft, and behind it Debian's GRUB: starts with Secure Boot on or off, drives the
    /// card through the firmware, and fetches everything the way that it came itself.
    ShimX64,
    /// iPXE for x86-64 UEFI with drivers of its own.
    IpxeX64,
    /// iPXE for x86-64 UEFI that drives the card through the firmware.
    SnponlyX64,
    /// iPXE for 32-bit UEFI.
    IpxeIa32,
    /// iPXE for ARM64 UEFI.
    IpxeArm64,
}

impl Loader {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Undionly,
        Self::IpxeBios,
        Self::ShimX64,
        Self::IpxeX64,
        Self::SnponlyX64,
        Self::IpxeIa32,
        Self::IpxeArm64,
    ];

    /// The file that firmware is told to load. It names the rung wherever one is written down.
    pub fn file(self) -> &'static str {
        match self {
            Self::Undionly => "undionly.kpxe",
            Self::IpxeBios => "ipxe.pxe",
            Self::ShimX64 => "shimx64.efi",
            Self::IpxeX64 => "ipxe.efi",
            Self::SnponlyX64 => "snponly.efi",
            Self::IpxeIa32 => "ipxe-ia32.efi",
            Self::IpxeArm64 => "ipxe-arm64.efi",
        }
    }

    /// Every file without which it leads nowhere.
    pub fn files(self) -> impl Iterator<Item = &'static str> {
        let behind = (self == Self::ShimX64).then_some(SIGNED_GRUB);
        std::iter::once(self.file()).chain(behind)
    }

    /// The rung of this name, as [`Loader::file`] gives it.
    pub fn from_file(file: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|loader| loader.file() == file)
    }

    /// In words, for a person.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Undionly | Self::SnponlyX64 => "iPXE on the firmware's network driver",
            Self::IpxeBios | Self::IpxeX64 | Self::IpxeIa32 | Self::IpxeArm64 => "iPXE with network drivers of its own",
            Self::ShimX64 => "the signed GRUB, which Secure Boot lets in",
        }
    }
}

/// Path under which the HTTP server has the loaders, file name to follow.
pub const LOADERS_PATH: &str = "/loaders/";
/// Path of the boot script; the query says who asks.
pub const SCRIPT_PATH: &str = "/boot/ipxe";

/// Where a client finds us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Our address on the client's segment.
    pub address: Ipv4Addr,
    /// Port of the plain HTTP server.
    pub http_port: u16,
}

/// What a client is to load next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootfile {
    /// It does not boot from the network.
    Nothing,
    /// A file of our TFTP server.
    Tftp(&'static str),
    /// A URL of our HTTP server.
    Url(String),
    /// There is no loader for this machine, in words for a person.
    Missing {
        /// Why.
        why: String,
    },
}

impl Server {
    /// `http://10.77.0.1:8080`.
    pub fn base_url(&self) -> String {
        format!("http://{}:{}", self.address, self.http_port)
    }

    /// URL of a loader.
    pub fn loader_url(&self, file: &str) -> String {
        format!("{}{LOADERS_PATH}{file}", self.base_url())
    }

    /// URL of a client's boot script. It fits the 128 bytes of the packet's `file` field, with its zero.
    pub fn script_url(&self, client: &Client) -> String {
        let mut url = format!("{}{SCRIPT_PATH}?mac={}", self.base_url(), client.mac.dashed());
        if let Some(uuid) = client.uuid {
            url = format!("{url}&uuid={uuid}");
        }
        if let Some(firmware) = client.firmware {
            url = format!("{url}&arch={}", firmware.word());
        }
        url
    }

    /// URL of a boot script in which iPXE itself fills in who asks.
    pub fn script_url_by_ipxe(&self) -> String {
        // netX is the card that iPXE opened last: the one over which it got here.
        format!(
            "{}{SCRIPT_PATH}?mac=${{netX/mac:hexhyp}}&uuid=${{uuid}}&platform=${{platform}}",
            self.base_url()
        )
    }
}

/// The ladder of a kind of firmware, the rung to try first first.
pub fn rungs(firmware: Firmware) -> &'static [Loader] {
    match firmware {
        // The firmware's driver has just loaded a file over this card, so it works.
        Firmware::Bios => &[Loader::Undionly, Loader::IpxeBios],
        // No request tells whether Secure Boot is on. Where it is, firmware refuses iPXE and a person has to come.
        Firmware::UefiX64 => &[Loader::ShimX64, Loader::IpxeX64, Loader::SnponlyX64],
        Firmware::UefiIa32 => &[Loader::IpxeIa32],
        Firmware::UefiArm64 => &[Loader::IpxeArm64],
        Firmware::Other(_) => &[],
    }
}

/// What `client` is to load next, of the loaders whose files `exists` knows: the rung that is known to suit it,
/// else the first one of its ladder.
pub fn choose(client: &Client, server: &Server, suits: Option<Loader>, exists: impl Fn(&str) -> bool) -> Bootfile {
    match client.speaker {
        Speaker::System => return Bootfile::Nothing,
        Speaker::Ipxe => return Bootfile::Url(server.script_url(client)),
        Speaker::PxeRom | Speaker::HttpBoot => {}
    }
    // PXE 2.1 made option 93 mandatory; the ROMs from before that are all BIOS.
    let firmware = client.firmware.unwrap_or(Firmware::Bios);
    let ladder = rungs(firmware);
    let suits = suits.filter(|loader| ladder.contains(loader));
    let there = |loader: &Loader| loader.files().all(&exists);
    let Some(loader) = suits.into_iter().chain(ladder.iter().copied()).find(there) else {
        return Bootfile::Missing {
            why: missing(firmware, ladder),
        };
    };
    match client.speaker {
        Speaker::HttpBoot => Bootfile::Url(server.loader_url(loader.file())),
        _ => Bootfile::Tftp(loader.file()),
    }
}

/// Why nothing is offered, and what a person can do.
fn missing(firmware: Firmware, ladder: &[Loader]) -> String {
    let wanted: Vec<&str> = ladder.iter().map(|loader| loader.file()).collect();
    let wanted = wanted.join(" or ");
    match firmware {
        Firmware::Other(_) => format!("{firmware}: there is no loader for this kind of machine"),
        Firmware::UefiArm64 => format!(
            "{firmware}: no loader is imported for 64-bit ARM machines (wanted {wanted}); nodes are x86 PCs so far"
        ),
        Firmware::UefiIa32 => format!(
            "{firmware}: no loader is imported for 32-bit UEFI (wanted {wanted}); switch its firmware to legacy or \
             CSM boot, if it has that"
        ),
        Firmware::Bios | Firmware::UefiX64 => {
            format!("{firmware}: no loader is imported (wanted {wanted}): provisioner image import FOLDER")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mac;
    use crate::client::Uuid;

    const SERVER: Server = Server {
        address: Ipv4Addr::new(10, 77, 0, 1),
        http_port: 8080,
    };

    fn client(firmware: Option<Firmware>, speaker: Speaker) -> Client {
        Client {
            mac: Mac([0x52, 0x54, 0, 0x77, 0, 1]),
            firmware,
            speaker,
            uuid: None,
            quirk: None,
        }
    }

    /// What firmware is told to load when these files are there.
    fn told(firmware: Option<Firmware>, suits: Option<Loader>, there: &[&str]) -> Bootfile {
        choose(&client(firmware, Speaker::PxeRom), &SERVER, suits, |file| {
            there.contains(&file)
        })
    }

    const ALL: [&str; 8] = [
        "undionly.kpxe",
        "ipxe.pxe",
        "shimx64.efi",
        "grubx64.efi",
        "ipxe.efi",
        "snponly.efi",
        "ipxe-ia32.efi",
        "ipxe-arm64.efi",
    ];

    #[test]
    fn firmware_gets_the_first_loader_that_is_there() {
        assert_eq!(told(Some(Firmware::Bios), None, &ALL), Bootfile::Tftp("undionly.kpxe"));
        assert_eq!(told(None, None, &ALL), Bootfile::Tftp("undionly.kpxe"));
        assert_eq!(told(Some(Firmware::UefiX64), None, &ALL), Bootfile::Tftp("shimx64.efi"));
        assert_eq!(
            told(Some(Firmware::UefiX64), None, &["snponly.efi"]),
            Bootfile::Tftp("snponly.efi")
        );
        assert_eq!(
            told(Some(Firmware::UefiX64), None, &["shimx64.efi", "ipxe.efi"]),
            Bootfile::Tftp("ipxe.efi"),
            "shim without the GRUB behind it leads nowhere"
        );
        assert_eq!(
            told(Some(Firmware::UefiIa32), None, &ALL),
            Bootfile::Tftp("ipxe-ia32.efi")
        );
        assert_eq!(
            told(Some(Firmware::UefiArm64), None, &ALL),
            Bootfile::Tftp("ipxe-arm64.efi")
        );
    }

    #[test]
    fn the_rung_that_suits_a_machine_comes_before_its_ladder() {
        let x64 = Some(Firmware::UefiX64);
        assert_eq!(told(x64, Some(Loader::SnponlyX64), &ALL), Bootfile::Tftp("snponly.efi"));
        assert_eq!(
            told(x64, Some(Loader::SnponlyX64), &["ipxe.efi"]),
            Bootfile::Tftp("ipxe.efi"),
            "a rung that is gone is passed over"
        );
        assert_eq!(
            told(x64, Some(Loader::Undionly), &ALL),
            Bootfile::Tftp("shimx64.efi"),
            "what was learnt in BIOS mode says nothing about UEFI"
        );
    }

    #[test]
    fn a_rung_is_found_by_its_file_and_stands_on_one_ladder() {
        for loader in Loader::ALL {
            assert_eq!(Loader::from_file(loader.file()), Some(loader));
            let ladders = [
                Firmware::Bios,
                Firmware::UefiX64,
                Firmware::UefiIa32,
                Firmware::UefiArm64,
            ];
            let on = ladders.iter().filter(|firmware| rungs(**firmware).contains(&loader));
            assert_eq!(on.count(), 1, "{loader:?}");
        }
        assert_eq!(Loader::from_file(SIGNED_GRUB), None);
    }

    #[test]
    fn http_boot_gets_a_url_of_the_loader() {
        let http = client(Some(Firmware::UefiX64), Speaker::HttpBoot);
        let choice = choose(&http, &SERVER, None, |_| true);
        assert_eq!(
            choice,
            Bootfile::Url("http://10.77.0.1:8080/loaders/shimx64.efi".into())
        );
    }

    #[test]
    fn a_machine_without_a_loader_is_told_in_words() {
        for (firmware, there, words) in [
            (Firmware::Other(4), &ALL[..], "architecture 4"),
            (Firmware::Bios, &[], "undionly.kpxe"),
            (Firmware::UefiIa32, &["ipxe.efi"], "legacy"),
            (Firmware::UefiArm64, &["ipxe.efi"], "ARM"),
        ] {
            let Bootfile::Missing { why } = told(Some(firmware), None, there) else {
                panic!("{firmware} was told to load something")
            };
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn ipxe_gets_its_script_and_a_system_gets_nothing() {
        let ipxe = client(Some(Firmware::UefiX64), Speaker::Ipxe);
        let url = "http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01&arch=uefi-x64";
        assert_eq!(choose(&ipxe, &SERVER, None, |_| false), Bootfile::Url(url.into()));
        assert_eq!(
            choose(&client(None, Speaker::System), &SERVER, None, |_| true),
            Bootfile::Nothing
        );
    }

    #[test]
    fn the_longest_script_url_fits_the_file_field() {
        let server = Server {
            address: Ipv4Addr::BROADCAST,
            http_port: 65535,
        };
        let client = Client {
            uuid: Some(Uuid([0xaa; 16])),
            ..client(Some(Firmware::UefiArm64), Speaker::Ipxe)
        };
        assert!(server.script_url(&client).len() < 128, "{}", server.script_url(&client));
    }
}
