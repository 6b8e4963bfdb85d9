// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::path::Path;

use kickstart::spec::DiskRule;
use kickstart::words::{ByPath, Serial};

use super::*;
use crate::config::Config;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIClSxHYMguscWwtH7SZ2IlHMP/RDdQXQrvaXLqnEhmLg ops";

fn profile(profile: &str, system: &str) -> Profile {
    let text = format!(
        "[profiles.a]\ninstaller = \"debian-13\"\n{profile}\n[profiles.a.system]\n\
         mirror = \"http://mirror.example.org/debian\"\n{system}\n"
    );
    Config::parse(&text, Path::new("/etc/gleaner")).unwrap().profiles["a"].clone()
}

fn disk(name: &str, serial: Option<&str>, gb: u64) -> Disk {
    Disk {
        name: name.into(),
        by_path: Some(format!("pci-{name}")),
        serial: serial.map(Into::into),
        size: gb * GB,
        ..made_up(FirmwareType::Bios).disks.remove(0)
    }
}

fn machine(disks: Vec<Disk>) -> Inventory {
    Inventory {
        disks,
        ..made_up(FirmwareType::Uefi64)
    }
}

fn services() -> Services {
    Services {
        role: Role {
            name: Name::new("plain").unwrap(),
            packages: Vec::new(),
            files: Vec::new(),
            units: Vec::new(),
        },
        proxy: Some(Url::new("http://192.0.2.1:3142").unwrap()),
        through_ours: true,
        server: Some([192, 0, 2, 1].into()),
        networks: Networks::made_up(),
    }
}

fn reference(disk: &Disk) -> DiskRef {
    DiskRef {
        wwn: disk.wwn.clone(),
        serial: disk.serial.clone(),
        by_path: disk.by_path.clone(),
        size: disk.size,
    }
}

fn specified(profile: &Profile, inventory: &Inventory, chosen: usize) -> Result<Spec, String> {
    let disk = reference(&inventory.disks[chosen]);
    let also = second(profile, inventory, &disk)?;
    let machine = Machine {
        name: "node-001",
        inventory,
        disk: &disk,
        second: also.as_ref().map(|also| &also.disk),
    };
    specify(profile, profile.installer().unwrap(), &machine, services()).map(|spec| spec.spec().clone())
}

#[test]
fn a_machines_own_part_is_its_name_firmware_card_and_disk_and_the_servers_is_time_and_proxy() {
    let profile = profile(
        &format!("ntp = [\"198.51.100.1\"]\nkernel_args = \"quiet nosmt\"\nssh_keys = [\"{KEY}\"]"),
        "",
    );
    let mut inventory = machine(vec![disk("sda", Some("S-1"), 100), disk("sdb", Some("S-2"), 100)]);
    inventory.nics.insert(
        0,
        Nic {
            mac: "52:54:00:00:00:AA".into(),
            ..Nic::default()
        },
    );
    let spec = specified(&profile, &inventory, 1).unwrap();
    assert_eq!((spec.hostname.as_str(), spec.firmware), ("node-001", Firmware::Uefi));
    assert_eq!(spec.storage.disk, DiskRule::Serial(Serial::new("S-2").unwrap()));
    assert_eq!(
        spec.network.cards()[0].as_str(),
        "52:54:00:00:00:01",
        "the one that it booted from"
    );
    let servers: Vec<&str> = spec.ntp.iter().map(Host::as_str).collect();
    assert_eq!(servers, ["192.0.2.1", "198.51.100.1"], "this server first");
    assert_eq!(spec.proxy.unwrap().as_str(), "http://192.0.2.1:3142");
    assert_eq!(spec.kernel_arguments.len(), 2);
    assert!(spec.role.files[0].path.as_str().ends_with(KEYS_OF_ROOT));
    assert!(spec.role.files[0].private);
}

#[test]
fn a_proxy_that_the_profile_names_is_the_one() {
    let profile = profile("", "proxy = \"http://192.0.2.9:3128\"");
    let spec = specified(&profile, &machine(vec![disk("sda", Some("S"), 100)]), 0).unwrap();
    assert_eq!(spec.proxy.unwrap().as_str(), "http://192.0.2.9:3128");
}

#[test]
fn a_machine_asks_our_cache_without_tls_and_another_proxy_as_the_profile_says() {
    let repository = "repositories = [{ name = \"lab\", url = \"https://packages.example:8443/deb\", \
                      format = { deb = { suite = \"stable\", components = [\"main\"] } }, \
                      key = \"-----BEGIN PGP PUBLIC KEY BLOCK-----\\n\\nAAAA\\n-----END PGP PUBLIC KEY BLOCK-----\\n\" }]\n";
    for (proxy, url) in [
        ("", "http://packages.example:8443/deb"),
        ("proxy = \"http://192.0.2.9:3128\"", "https://packages.example:8443/deb"),
    ] {
        let security = "security = \"https://updates.example/debian-security\"";
        let profile = profile("", &format!("{security}\n{repository}{proxy}"));
        let spec = specified(&profile, &machine(vec![disk("sda", Some("S"), 100)]), 0).unwrap();
        assert_eq!(spec.repositories[0].url.as_str(), url);
        let scheme = url.split_once("://").unwrap().0;
        assert_eq!(spec.security.unwrap().scheme(), scheme, "security updates likewise");
    }
}

#[test]
fn a_serial_number_that_two_disks_have_gives_way_to_the_place() {
    let twins = machine(vec![disk("sda", Some("X"), 100), disk("sdb", Some("X"), 100)]);
    let spec = specified(&profile("", ""), &twins, 1).unwrap();
    assert_eq!(spec.storage.disk, DiskRule::ByPath(ByPath::new("pci-sdb").unwrap()));
    let mut nameless = machine(vec![disk("sda", None, 100)]);
    nameless.disks[0].by_path = None;
    nameless.disks[0].wwn = Some("0x5000".into());
    assert!(
        specified(&profile("", ""), &nameless, 0)
            .unwrap_err()
            .starts_with("storage.disk: ")
    );
}

#[test]
fn what_a_machine_cannot_be_is_said_with_the_field_before_it_boots() {
    let one = machine(vec![disk("sda", Some("S"), 100)]);
    let mirrored = profile("", "layout = { kind = \"raid1\", second = { smallest-above = 50 } }");
    let error = specified(&mirrored, &one, 0).unwrap_err();
    assert!(error.starts_with("storage.layout.second: no disk fits"), "{error}");
    let old = Inventory {
        firmware: FirmwareType::Uefi32,
        ..one.clone()
    };
    assert!(
        specified(&profile("", ""), &old, 0)
            .unwrap_err()
            .starts_with("firmware: ")
    );
    let dark = Inventory {
        nics: Vec::new(),
        ..one
    };
    assert!(
        specified(&profile("", ""), &dark, 0)
            .unwrap_err()
            .starts_with("network.uplink.card: ")
    );
}

#[test]
fn the_second_disk_is_the_one_that_was_shown_whatever_is_plugged_in_later() {
    let mirrored = profile("", "layout = { kind = \"raid1\", second = { smallest-above = 50 } }");
    let shown = machine(vec![disk("sda", Some("S-1"), 100), disk("sdb", Some("S-2"), 100)]);
    let first = reference(&shown.disks[0]);
    let choice = second(&mirrored, &shown, &first).unwrap().unwrap();
    assert_eq!(choice.name, "sdb");
    assert!(
        choice.why.starts_with("the other half of the mirror: sdb S-2 100 GB"),
        "{}",
        choice.why
    );
    let spec = specified(&mirrored, &shown, 0).unwrap();
    let named = Layout::Raid1 {
        second: DiskRule::Serial(Serial::new("S-2").unwrap()),
    };
    assert_eq!(spec.storage.layout, named);
    // A smaller one that comes later is not what somebody was shown.
    let mut later = shown.clone();
    later.disks.push(disk("sdc", Some("S-3"), 60));
    let of = |second| Machine {
        name: "node-001",
        inventory: &later,
        disk: &first,
        second,
    };
    let installer = mirrored.installer().unwrap();
    let spec = specify(&mirrored, installer, &of(Some(&choice.disk)), services()).unwrap();
    assert_eq!(spec.spec().storage.layout, named);
    let error = specify(&mirrored, installer, &of(None), services()).unwrap_err();
    assert!(error.starts_with("storage.layout: "), "{error}");
}

#[test]
fn a_second_disk_in_danger_is_refused_as_the_first_would_be() {
    type Harm = fn(&mut Disk);
    let cases: [(&str, Harm); 5] = [
        ("it is removable", |disk| disk.removable = true),
        ("it is attached by USB", |disk| {
            disk.transport = provisioner_api::Transport::Usb;
        }),
        ("it cannot be written", |disk| disk.read_only = true),
        ("it is in use", |disk| disk.in_use = true),
        ("it is failing", |disk| {
            disk.health = Some(provisioner_api::DiskHealth {
                passed: false,
                bad_sectors: Some(9),
                power_on_hours: None,
                summary: "9 bad sectors".into(),
            });
        }),
    ];
    let layouts = [
        (
            "storage.layout.second",
            "layout = { kind = \"raid1\", second = { serial = \"S-2\" } }",
        ),
        (
            "storage.layout.disk",
            "layout = { kind = \"data-disk\", disk = { serial = \"S-2\" }, mount = \"/data\" }",
        ),
    ];
    for (field, layout) in layouts {
        let profile = profile("", layout);
        for (why, harm) in cases {
            let mut machine = machine(vec![disk("sda", Some("S-1"), 100), disk("sdb", Some("S-2"), 100)]);
            assert!(specified(&profile, &machine, 0).is_ok());
            harm(&mut machine.disks[1]);
            let error = specified(&profile, &machine, 0).unwrap_err();
            assert!(error.starts_with(field) && error.contains(why), "{error}");
        }
        let one = machine(vec![disk("sda", Some("S-2"), 100)]);
        let error = specified(&profile, &one, 0).unwrap_err();
        assert!(
            error.starts_with(field) && error.contains("it is the system's"),
            "{error}"
        );
    }
    let mirrored = profile("", "layout = { kind = \"raid1\", second = { serial = \"S-2\" } }");
    let small = machine(vec![disk("sda", Some("S-1"), 100), disk("sdb", Some("S-2"), 4)]);
    assert!(specified(&mirrored, &small, 0).unwrap_err().contains("it is too small"));
}

#[test]
fn a_disk_holds_what_its_layout_says() {
    let size = |system: &str| disk_size(profile("", system).installer().unwrap()) / GB;
    assert_eq!(size(""), 8);
    assert_eq!(size("swap = { encrypted = 4 }"), 14);
    assert_eq!(
        size("layout = { kind = \"data-partition\", root_gb = 20, mount = \"/data\" }\nswap = { plain = 2 }"),
        24
    );
}
