// SPDX-License-Identifier: Apache-2.0
//! What a client is to load next: the ladder from firmware to a boot script.
//!
//! This is the only place with file names and paths. Which of the loaders exist is for the caller to say; what a
//! script contains is for [`crate::ipxe`].

use std::net::Ipv4Addr;

use crate::client::{Client, Firmware, Speaker};

/// iPXE for BIOS that drives the card through the firmware's own UNDI driver.
pub const UNDIONLY: &str = "undionly.kpxe";
/// iPXE for BIOS with drivers of its own.
pub const IPXE_BIOS: &str = "ipxe.pxe";
/// iPXE for x86-64 UEFI with drivers of its own.
pub const IPXE_X64: &str = "ipxe.efi";
/// iPXE for x86-64 UEFI that drives the card through the firmware.
pub const SNPONLY_X64: &str = "snponly.efi";
/// iPXE for 32-bit UEFI.
pub const IPXE_IA32: &str = "ipxe-ia32.efi";
/// iPXE for ARM64 UEFI.
pub const IPXE_ARM64: &str = "ipxe-arm64.efi";
/// GRUB that chains the local disk's `/EFI/BOOT/BOOTX64.EFI`.
pub const LOCAL_GRUB: &str = "local-grub.efi";
/// iPXE under UEFI asks for this script beside its own file before it asks DHCP for one.
pub const AUTOEXEC: &str = "autoexec.ipxe";

/// Every file that may lie beside the RAM environment as a loader.
pub const LOADERS: [&str; 7] = [
    UNDIONLY,
    IPXE_BIOS,
    IPXE_X64,
    SNPONLY_X64,
    IPXE_IA32,
    IPXE_ARM64,
    LOCAL_GRUB,
];

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

/// The loaders for a kind of firmware, the one to try first first.
pub fn rungs(firmware: Firmware) -> &'static [&'static str] {
    match firmware {
        // The firmware's driver has just loaded a file over this card, so it works.
        Firmware::Bios => &[UNDIONLY, IPXE_BIOS],
        Firmware::UefiX64 => &[IPXE_X64, SNPONLY_X64],
        Firmware::UefiIa32 => &[IPXE_IA32],
        Firmware::UefiArm64 => &[IPXE_ARM64],
        Firmware::Other(_) => &[],
    }
}

/// What `client` is to load next, of the loaders that `exists` knows.
pub fn choose(client: &Client, server: &Server, exists: impl Fn(&str) -> bool) -> Bootfile {
    match client.speaker {
        Speaker::System => return Bootfile::Nothing,
        Speaker::Ipxe => return Bootfile::Url(server.script_url(client)),
        Speaker::PxeRom | Speaker::HttpBoot => {}
    }
    // PXE 2.1 made option 93 mandatory; the ROMs from before that are all BIOS.
    let firmware = client.firmware.unwrap_or(Firmware::Bios);
    let Some(file) = rungs(firmware).iter().copied().find(|file| exists(file)) else {
        let why = match rungs(firmware) {
            [] => format!("{firmware}: there is no loader for this kind of machine"),
            files => format!("{firmware}: no loader is imported (wanted {})", files.join(" or ")),
        };
        return Bootfile::Missing { why };
    };
    match client.speaker {
        Speaker::HttpBoot => Bootfile::Url(server.loader_url(file)),
        _ => Bootfile::Tftp(file),
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
        }
    }

    #[test]
    fn firmware_gets_the_first_loader_that_is_there() {
        let all = |_: &str| true;
        let choice =
            |firmware, exists: &dyn Fn(&str) -> bool| choose(&client(firmware, Speaker::PxeRom), &SERVER, exists);
        assert_eq!(choice(Some(Firmware::Bios), &all), Bootfile::Tftp(UNDIONLY));
        assert_eq!(choice(None, &all), Bootfile::Tftp(UNDIONLY));
        assert_eq!(choice(Some(Firmware::UefiX64), &all), Bootfile::Tftp(IPXE_X64));
        assert_eq!(
            choice(Some(Firmware::UefiX64), &|file| file == SNPONLY_X64),
            Bootfile::Tftp(SNPONLY_X64)
        );
        assert_eq!(choice(Some(Firmware::UefiIa32), &all), Bootfile::Tftp(IPXE_IA32));
    }

    #[test]
    fn http_boot_gets_a_url_of_the_loader() {
        let choice = choose(&client(Some(Firmware::UefiX64), Speaker::HttpBoot), &SERVER, |_| true);
        assert_eq!(choice, Bootfile::Url("http://10.77.0.1:8080/loaders/ipxe.efi".into()));
    }

    #[test]
    fn a_machine_without_a_loader_is_told_in_words() {
        let Bootfile::Missing { why } = choose(&client(Some(Firmware::Other(4)), Speaker::PxeRom), &SERVER, |_| true)
        else {
            panic!("there is no loader for architecture 4")
        };
        assert!(why.contains("architecture 4"), "{why}");
        let Bootfile::Missing { why } = choose(&client(Some(Firmware::Bios), Speaker::PxeRom), &SERVER, |_| false)
        else {
            panic!("no loader exists")
        };
        assert!(why.contains(UNDIONLY), "{why}");
    }

    #[test]
    fn ipxe_gets_its_script_and_a_system_gets_nothing() {
        let ipxe = client(Some(Firmware::UefiX64), Speaker::Ipxe);
        let url = "http://10.77.0.1:8080/boot/ipxe?mac=52-54-00-77-00-01&arch=uefi-x64";
        assert_eq!(choose(&ipxe, &SERVER, |_| false), Bootfile::Url(url.into()));
        assert_eq!(
            choose(&client(None, Speaker::System), &SERVER, |_| true),
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
