// SPDX-License-Identifier: Apache-2.0
//! Made-up machines that between them have every field and every choice: what templates are tried out with before
//! anybody's machine gets them, and what measures and tests render.
//!
//! Their texts are as nasty as their types allow.

use std::net::Ipv4Addr;

use crate::site::{Hooks, NodeInit, Program, Site};
use crate::spec::{
    Address, BondMode, Checked, DiskRule, File, Firmware, Format, Layout, Network, Repository, Role, Spec, Storage,
    Swap, Uplink, User,
};
use crate::words::{
    BadWord, ByPath, Command, Contents, DeviceName, FilePath, FullName, Host, HostName, KernelArgument, Keyboard, Line,
    Locale, Mac, Name, PackageName, PublicKey, Serial, Sha256, SshKey, TimeZone, Unfit, UnitName, Url, UserName,
};

/// Text with everything in it that some parser takes for something else.
pub const NASTY: &str = r#"a'b"c\d {{ 7*7 }} {% x %} $HOME `id` <e/> ]]> & # ; | %end é 😀"#;

/// Keys of nobody: their private halves were thrown away.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIClSxHYMguscWwtH7SZ2IlHMP/RDdQXQrvaXLqnEhmLg";
/// Another one.
const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEnpOp5RQ8KhK2yhkIRdDBc2JqvZS7z9zhGuJ599uGRF";

/// All samples; a layout, a firmware and a network each.
pub fn all() -> Vec<Checked> {
    [plain(), full(), mirror(), volumes(), data_disk()]
        .into_iter()
        .flatten()
        .filter_map(|spec| spec.check().ok())
        .collect()
}

/// What a server adds to them.
///
/// # Panics
/// Never: the words are right, and a test says so.
pub fn site() -> Site {
    #[expect(
        clippy::expect_used,
        reason = "constant words, and every test of this crate comes through here"
    )]
    made_up_site().expect("the words of the sample are right")
}

fn made_up_site() -> Result<Site, BadWord> {
    Ok(Site {
        installation: Name::new("1b0a")?,
        answers: Url::new("http://10.77.0.1:8080/install/4f1c/")?,
        media: Url::new("http://10.77.0.1:8080/os/sample")?,
        hooks: Hooks {
            progress: Url::new("http://10.77.0.1:8080/install/4f1c/progress")?,
            failure: Url::new("http://10.77.0.1:8080/install/4f1c/failure")?,
            webhook: Url::new("http://10.77.0.1:8080/install/4f1c/webhook")?,
        },
        node_init: NodeInit {
            programs: vec![
                Program {
                    url: Url::new("http://10.77.0.1:8080/programs/9f86/node-init")?,
                    sha256: Sha256::new("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")?,
                    path: FilePath::new("/usr/sbin/node-init")?,
                },
                Program {
                    url: Url::new("http://10.77.0.1:8080/programs/60303/node-init-libvirt")?,
                    sha256: Sha256::new("60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752")?,
                    path: FilePath::new("/usr/libexec/node-init-libvirt")?,
                },
            ],
            files: vec![File {
                path: FilePath::new("/etc/systemd/system/node-init.service")?,
                executable: false,
                private: false,
                contents: Contents::new("[Service]\nExecStart=/usr/sbin/node-init serve\n")?,
            }],
            units: vec![UnitName::new("node-init.service")?],
        },
    })
}

/// As little as a specification can say.
pub fn plain() -> Result<Spec, BadWord> {
    Ok(Spec {
        hostname: HostName::new("node-01")?,
        label: None,
        firmware: Firmware::Uefi,
        storage: Storage {
            disk: DiskRule::SmallestAbove(20),
            layout: Layout::Whole,
            swap: Swap::None,
        },
        network: Network {
            uplink: Uplink::Card(Mac::new("52:54:00:77:00:01")?),
            vlan: None,
            bridge: None,
            address: Address::Dhcp,
        },
        users: Vec::new(),
        locale: Locale::new("en_US.UTF-8")?,
        keyboard: Keyboard::new("us")?,
        timezone: TimeZone::new("UTC")?,
        ntp: Vec::new(),
        mirror: Url::new("http://mirror.lab.example/os")?,
        security: None,
        proxy: None,
        packages: Vec::new(),
        kernel_arguments: Vec::new(),
        repositories: Vec::new(),
        early_commands: Vec::new(),
        late_commands: Vec::new(),
        role: Role {
            name: Name::new("plain")?,
            packages: Vec::new(),
            files: Vec::new(),
            units: Vec::new(),
        },
    })
}

/// Everything at once; its repository is of RPM packages.
pub fn full() -> Result<Spec, BadWord> {
    let plain = plain()?;
    Ok(Spec {
        label: Some(Line::new(NASTY)?),
        firmware: Firmware::Bios,
        storage: Storage {
            disk: DiskRule::Serial(Serial::new(r#"S'3"R \I;A$L"#)?),
            layout: Layout::DataPartition {
                root_gb: 20,
                mount: FilePath::new("/srv/data")?,
            },
            swap: Swap::Encrypted(4),
        },
        network: Network {
            uplink: Uplink::Bond {
                cards: vec![Mac::new("52:54:00:77:00:01")?, Mac::new("52:54:00:77:00:02")?],
                mode: BondMode::ActiveBackup,
            },
            vlan: Some(77),
            bridge: Some(DeviceName::new("guests")?),
            address: Address::Static {
                address: Ipv4Addr::new(10, 77, 1, 5),
                prefix: 24,
                gateway: Some(Ipv4Addr::new(10, 77, 1, 1)),
                dns: vec![Ipv4Addr::new(10, 77, 1, 1), Ipv4Addr::new(10, 77, 1, 2)],
                search: vec![Host::new("lab.example")?],
            },
        },
        users: vec![
            User {
                name: UserName::new("ada")?,
                full_name: Some(FullName::new(NASTY.replace([':', ','], ""))?),
                keys: vec![SshKey::new(format!("{KEY} {NASTY}"))?],
                admin: true,
            },
            User {
                name: UserName::new("ben")?,
                full_name: None,
                keys: vec![SshKey::new(OTHER_KEY)?],
                admin: false,
            },
        ],
        ntp: vec![Host::new("10.77.0.1")?, Host::new("time.lab.example")?],
        proxy: Some(Url::new("http://10.77.0.1:3142")?),
        packages: vec![PackageName::new("htop")?, PackageName::new("g++")?],
        kernel_arguments: vec![
            KernelArgument::new("console=ttyS0,115200")?,
            KernelArgument::new("mitigations=auto")?,
        ],
        repositories: vec![Repository {
            name: Name::new("lab")?,
            url: Url::new("https://packages.lab.example/rpm/")?,
            format: Format::Rpm,
            key: key()?,
            packages: vec![PackageName::new("lab-agent")?],
        }],
        early_commands: vec![Command::new(format!("echo {NASTY}"))?],
        late_commands: vec![Command::new(format!(": {NASTY}"))?],
        role: Role {
            name: Name::new("libvirt")?,
            packages: vec![PackageName::new("qemu-kvm")?, PackageName::new("htop")?],
            files: vec![File {
                path: FilePath::new("/etc/lab/token")?,
                executable: false,
                private: true,
                contents: Contents::new(format!("{NASTY}\n%end\nEND\n{NASTY}"))?,
            }],
            units: vec![UnitName::new("libvirtd.service")?],
        },
        ..plain
    })
}

/// Two disks with the same on both, and sources of Debian packages.
pub fn mirror() -> Result<Spec, BadWord> {
    let full = full()?;
    Ok(Spec {
        firmware: Firmware::Uefi,
        storage: Storage {
            disk: DiskRule::SmallestAbove(100),
            layout: Layout::Raid1 {
                second: DiskRule::SmallestAbove(100),
            },
            swap: Swap::Encrypted(8),
        },
        network: Network {
            uplink: Uplink::Card(Mac::new("52:54:00:77:00:01")?),
            vlan: None,
            bridge: Some(DeviceName::new("br")?),
            address: Address::Dhcp,
        },
        security: Some(Url::new("http://mirror.lab.example/os-security")?),
        repositories: vec![Repository {
            name: Name::new("lab")?,
            url: Url::new("https://packages.lab.example/debian")?,
            format: Format::Deb {
                suite: Name::new("stable")?,
                components: vec![Name::new("main")?],
            },
            key: key()?,
            packages: vec![PackageName::new("lab-agent")?],
        }],
        ..full
    })
}

/// A volume group, and an address in a network without a way out.
pub fn volumes() -> Result<Spec, BadWord> {
    Ok(Spec {
        storage: Storage {
            disk: DiskRule::SmallestAbove(20),
            layout: Layout::Lvm,
            swap: Swap::Plain(2),
        },
        network: Network {
            uplink: Uplink::Card(Mac::new("52:54:00:77:00:01")?),
            vlan: Some(5),
            bridge: None,
            address: Address::Static {
                address: Ipv4Addr::new(10, 77, 5, 9),
                prefix: 16,
                gateway: None,
                dns: Vec::new(),
                search: Vec::new(),
            },
        },
        ..plain()?
    })
}

/// A disk for data beside the system's.
pub fn data_disk() -> Result<Spec, BadWord> {
    let data = Layout::DataDisk {
        disk: DiskRule::ByPath(ByPath::new("pci-0000:00:1f.2-ata-2")?),
        mount: FilePath::new("/var/lib/libvirt/images")?,
    };
    Ok(Spec {
        firmware: Firmware::Bios,
        storage: Storage {
            disk: DiskRule::SmallestAbove(20),
            layout: data,
            swap: Swap::None,
        },
        network: Network {
            uplink: Uplink::Bond {
                cards: vec![Mac::new("52:54:00:77:00:01")?, Mac::new("52:54:00:77:00:02")?],
                mode: BondMode::Lacp,
            },
            vlan: None,
            bridge: None,
            address: Address::Dhcp,
        },
        ..plain()?
    })
}

fn key() -> Result<PublicKey, Unfit> {
    PublicKey::new("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBFsample\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n")
}
