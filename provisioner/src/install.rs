// SPDX-License-Identifier: Apache-2.0
//! What a distribution's own installer, or the cloud-init of its ready-made image, is told of a machine: the profile's
//! part and the machine's own, in one specification. Pure: it knows no socket, no file and no clock.
//!
//! What cannot be installed is refused here with the name of its field: by [`try_out`] when the configuration is read,
//! by [`specify`] when a machine is approved. No machine boots before that.

use std::net::IpAddr;

use kickstart::site::{Hooks, NodeInit, Site};
use kickstart::spec::{Checked, File, Firmware, Layout, Role, SMALLEST_DISK_GB, Spec, Swap};
use kickstart::words::{Contents, FilePath, Host, HostName, Name, Unfit, Url};
use provisioner_api::{Disk, DiskRef, FirmwareType, Inventory, Nic, SEED_SIZE, Transport};

use crate::config::{Installer, Profile};

mod network;
mod storage;

pub use network::{Lan, Networks};
pub use storage::second;

/// Where installers fetch their answers and tell how far they are, before the token.
pub const PATH: &str = "/install";
/// Where they POST the word of a stage.
pub const PROGRESS: &str = "progress";
/// Where they POST why they stopped.
pub const FAILURE: &str = "failure";
/// Where Subiquity POSTs what it does.
pub const WEBHOOK: &str = "webhook";

/// Who may log in as root, below the installed system's root.
const KEYS_OF_ROOT: &str = "root/.ssh/authorized_keys";
/// Letters by which installations differ: of one machine there are a few in its life.
const INSTALLATION: usize = 16;
/// Where partitions begin, so that no disk has to read what it writes.
const ALIGNMENT: u64 = 1 << 20;
/// Bytes in a gigabyte, as labels of disks count.
const GB: u64 = 1_000_000_000;
/// Gigabytes that partition tables, boot partitions and what installers leave free take, generously.
const AROUND_THE_SYSTEM_GB: u32 = 2;

/// What is known of one machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is made of.
    pub inventory: &'a Inventory,
    /// The disk of its plan.
    pub disk: &'a DiskRef,
    /// The disk that its layout takes beside that one.
    pub second: Option<&'a DiskRef>,
}

/// What the server adds for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// What it serves as.
    pub role: Role,
    /// Through what it fetches packages.
    pub proxy: Option<Url>,
    /// Whether that is our cache, which speaks TLS with sources and none with machines.
    pub through_ours: bool,
    /// This server, for the time; `None` where its address is not known yet.
    pub server: Option<IpAddr>,
    /// Where its address can be one of its own.
    pub networks: Networks,
}

/// The specification of a machine, or the fields that stand against it.
pub fn specify(
    profile: &Profile,
    installer: &Installer,
    machine: &Machine<'_>,
    services: Services,
) -> Result<Checked, String> {
    let spec = compose(profile, installer, machine, services)?;
    if installer.os.has_installer() {
        storage::check(&spec.storage, machine)?;
    }
    check(installer, spec)
}

/// Whether a profile can be installed on any machine at all; says which field stands against it.
pub fn try_out(profile: &Profile) -> Result<(), String> {
    let Some(installer) = profile.installer() else {
        return Ok(());
    };
    for firmware in [FirmwareType::Bios, FirmwareType::Uefi64] {
        let inventory = made_up(firmware);
        let disk = DiskRef {
            serial: inventory.disks[0].serial.clone(),
            wwn: None,
            by_path: None,
            size: inventory.disks[0].size,
        };
        let machine = Machine {
            name: "any",
            inventory: &inventory,
            disk: &disk,
            second: None,
        };
        let role = Role {
            name: word("role", Name::new(profile.role.as_str()))?,
            packages: Vec::new(),
            files: Vec::new(),
            units: Vec::new(),
        };
        let services = Services {
            role,
            proxy: None,
            through_ours: false,
            server: None,
            networks: Networks::made_up(),
        };
        check(installer, compose(profile, installer, &machine, services)?)?;
    }
    Ok(())
}

/// Bytes that the disk must hold.
pub fn disk_size(installer: &Installer) -> u64 {
    let swap = match installer.swap {
        Swap::None => 0,
        Swap::Plain(gb) | Swap::Encrypted(gb) => gb,
    };
    let system = match &installer.layout {
        Layout::DataPartition { root_gb, .. } => root_gb.saturating_add(AROUND_THE_SYSTEM_GB),
        _ if swap > 0 => SMALLEST_DISK_GB.saturating_add(AROUND_THE_SYSTEM_GB),
        _ => SMALLEST_DISK_GB,
    };
    u64::from(system.saturating_add(swap)) * GB
}

/// Bytes that the disk must hold for a ready-made image of this size and its seed.
pub fn with_seed(image: u64) -> u64 {
    image.saturating_add(SEED_SIZE).saturating_add(ALIGNMENT)
}

/// Where one installation's answers are, whom it calls, and what it fetches: below the server's plain HTTP at `base`.
pub fn site(base: &str, token: &str, medium: &str, node_init: NodeInit) -> Result<Site, Unfit> {
    let answers = format!("{base}{PATH}/{token}");
    let installation = blake3::hash(token.as_bytes()).to_hex();
    Ok(Site {
        installation: Name::new(&installation[..INSTALLATION])?,
        media: Url::new(format!("{base}{medium}"))?,
        hooks: Hooks {
            progress: Url::new(format!("{answers}/{PROGRESS}"))?,
            failure: Url::new(format!("{answers}/{FAILURE}"))?,
            webhook: Url::new(format!("{answers}/{WEBHOOK}"))?,
        },
        answers: Url::new(answers)?,
        node_init,
    })
}

fn compose(
    profile: &Profile,
    installer: &Installer,
    machine: &Machine<'_>,
    services: Services,
) -> Result<Spec, String> {
    let mut role = services.role;
    role.files.extend(keys_of_root(profile)?);
    let server = services
        .server
        .map(|address| word("ntp", Host::new(address.to_string())))
        .transpose()?;
    let ours = services.through_ours && services.proxy.is_some() && installer.proxy.is_none();
    let source = |url: &Url| if ours { without_tls(url) } else { Ok(url.clone()) };
    let mut repositories = installer.repositories.clone();
    for repository in &mut repositories {
        repository.url = source(&repository.url)?;
    }
    Ok(Spec {
        hostname: word("hostname", HostName::new(machine.name))?,
        label: None,
        firmware: firmware(machine.inventory)?,
        storage: storage::storage(installer, machine)?,
        network: network::network(installer, machine.inventory, &services.networks)?,
        users: installer.users.clone(),
        locale: installer.locale.clone(),
        keyboard: installer.keyboard.clone(),
        timezone: installer.timezone.clone(),
        ntp: server.into_iter().chain(installer.ntp.iter().cloned()).collect(),
        mirror: source(&installer.mirror)?,
        security: installer.security.as_ref().map(source).transpose()?,
        proxy: installer.proxy.clone().or(services.proxy),
        packages: installer.packages.clone(),
        kernel_arguments: installer.kernel_arguments.clone(),
        repositories,
        early_commands: installer.early_commands.clone(),
        late_commands: installer.late_commands.clone(),
        role,
    })
}

/// How a machine names a source to our cache: a client asks a proxy for what has TLS by CONNECT, and there is none.
fn without_tls(url: &Url) -> Result<Url, String> {
    let text = url.as_str();
    let plain = text.strip_prefix("https://").map(|rest| format!("http://{rest}"));
    word("mirror", Url::new(plain.unwrap_or_else(|| text.to_owned())))
}

fn check(installer: &Installer, spec: Spec) -> Result<Checked, String> {
    let checked = spec.check().map_err(|wrong| joined(&wrong))?;
    let site = nowhere().map_err(|unfit| unfit.to_string())?;
    let unsupported = kickstart::supports(installer.os, &checked, &site);
    if unsupported.is_empty() {
        Ok(checked)
    } else {
        Err(joined(&unsupported))
    }
}

/// Addresses that nobody has (RFC 5737): whether a family can do what is asked depends on their form alone.
fn nowhere() -> Result<Site, Unfit> {
    let node_init = NodeInit {
        programs: Vec::new(),
        files: Vec::new(),
        units: Vec::new(),
    };
    site("http://192.0.2.1:8080", "token", "/media/medium", node_init)
}

/// Root has no password; the profile's keys let in whom they let into an image.
fn keys_of_root(profile: &Profile) -> Result<Option<File>, String> {
    if profile.ssh_keys.is_empty() {
        return Ok(None);
    }
    Ok(Some(File {
        path: word("ssh_keys", FilePath::new(format!("/{KEYS_OF_ROOT}")))?,
        executable: false,
        private: true,
        contents: word("ssh_keys", Contents::new(profile.ssh_keys.join("\n") + "\n"))?,
    }))
}

fn firmware(inventory: &Inventory) -> Result<Firmware, String> {
    match inventory.firmware {
        FirmwareType::Bios => Ok(Firmware::Bios),
        FirmwareType::Uefi64 => Ok(Firmware::Uefi),
        FirmwareType::Uefi32 => Err(
            "firmware: this machine has a 32-bit UEFI, which the installers and ready-made images of 64-bit systems do not \
             start from; give it a profile with an image of `images build node`"
                .into(),
        ),
    }
}

fn word<T>(field: &str, made: Result<T, Unfit>) -> Result<T, String> {
    made.map_err(|unfit| format!("{field}: {unfit}"))
}

fn joined(all: &[impl ToString]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The cards of a machine that nobody has; it booted from the first.
const MADE_UP_CARDS: [&str; 2] = ["52:54:00:00:00:01", "52:54:00:00:00:02"];

/// A machine that nobody has, which any profile could be for.
pub(crate) fn made_up(firmware: FirmwareType) -> Inventory {
    let mut inventory = Inventory {
        firmware,
        ..Inventory::default()
    };
    inventory.nics.extend(MADE_UP_CARDS.map(|mac| Nic {
        mac: mac.into(),
        link: true,
        booted: mac == MADE_UP_CARDS[0],
        ..Nic::default()
    }));
    inventory.disks.push(Disk {
        name: "sda".into(),
        by_path: None,
        model: None,
        serial: Some("ANY".into()),
        wwn: None,
        size: u64::MAX,
        rotational: false,
        removable: false,
        read_only: false,
        transport: Transport::Ata,
        health: None,
        in_use: false,
        contents: provisioner_api::DiskContents::default(),
    });
    inventory
}

#[cfg(test)]
mod tests;
