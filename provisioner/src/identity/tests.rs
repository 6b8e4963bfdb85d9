// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use provisioner_api::{Disk, DiskContents, Nic, Transport};

use super::*;

const UUID_A: &str = "4c4c4544-0031-4a10-8052-b4c04f333132";
const UUID_B: &str = "88776655-4433-2211-aabb-ccddeeff0011";

/// The same of approved nodes alone.
fn recognise<'a>(new: &Facts, known: impl Iterator<Item = (&'a str, &'a Facts)>) -> Option<&'a str> {
    let known = known.map(|(id, facts)| Known {
        id,
        facts,
        standing: Standing::Approved,
    });
    match super::recognise(new, known) {
        Recognised::As(id) => Some(id),
        Recognised::Like(_) | Recognised::New => None,
    }
}

#[derive(Clone, Default)]
struct Pc {
    macs: Vec<&'static str>,
    usb: Vec<&'static str>,
    uuid: &'static str,
    serial: &'static str,
    board: &'static str,
    disks: Vec<&'static str>,
}

impl Pc {
    fn facts(&self) -> Facts {
        let mut inventory = Inventory::default();
        let nic = |mac: &&str, usb| Nic {
            mac: (*mac).into(),
            usb,
            ..Nic::default()
        };
        inventory.nics.extend(self.macs.iter().map(|mac| nic(mac, false)));
        inventory.nics.extend(self.usb.iter().map(|mac| nic(mac, true)));
        inventory.disks.extend(self.disks.iter().map(|serial| disk(serial)));
        inventory.smbios.system_uuid = Some(self.uuid.into());
        inventory.smbios.system_serial = Some(self.serial.into());
        inventory.smbios.board_serial = Some(self.board.into());
        Facts::of(&inventory)
    }
}

fn disk(serial: &str) -> Disk {
    Disk {
        name: "sda".into(),
        by_path: None,
        model: None,
        serial: Some(serial.into()),
        wwn: None,
        size: 1 << 40,
        rotational: true,
        removable: false,
        read_only: false,
        transport: Transport::Ata,
        health: None,
        in_use: false,
        contents: DiskContents::default(),
    }
}

fn pc() -> Pc {
    Pc {
        macs: vec!["00:1e:4f:aa:bb:01"],
        uuid: UUID_A,
        serial: "5TQW2J1",
        board: "CN0KP561",
        disks: vec!["WD-WCAV12345678"],
        ..Pc::default()
    }
}

/// Whether `new` is taken for the only known machine.
fn is(new: &Pc, known: &Pc) -> bool {
    let known = known.facts();
    recognise(&new.facts(), [("known", &known)].into_iter()).is_some()
}

#[test]
fn the_same_machine_is_recognised() {
    assert!(is(&pc(), &pc()));
}

#[test]
fn two_machines_with_one_uuid_are_two_nodes() {
    let other = Pc {
        macs: vec!["00:1e:4f:cc:dd:02"],
        serial: "9ABC001",
        board: "CN0XX",
        disks: vec!["Z4YBCDEF"],
        ..pc()
    };
    assert!(!is(&other, &pc()));
    let bare = |mac| Pc {
        macs: vec![mac],
        uuid: UUID_A,
        ..Pc::default()
    };
    assert!(
        !is(&bare("00:1e:4f:cc:dd:02"), &bare("00:1e:4f:aa:bb:01")),
        "nothing but the UUID"
    );
    let clone = Pc {
        macs: vec!["00:1e:4f:cc:dd:02"],
        disks: vec!["Z4YBCDEF"],
        ..pc()
    };
    assert!(
        !is(&clone, &pc()),
        "one UUID, one serial, other disk and other card: a clone's board"
    );
}

#[test]
fn blank_uuids_and_oem_serials_make_no_two_machines_one() {
    for uuid in [
        "",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "00000000-0000-0000-0000-000000000000",
        "03000200-0400-0500-0006-000700080009",
    ] {
        for serial in [
            "To Be Filled By O.E.M.",
            "System Serial Number",
            "Default string",
            "0123456789",
            "xxxxxxxxxx",
            "None",
            " ",
        ] {
            let cheap = |mac, disks| Pc {
                macs: vec![mac],
                uuid,
                serial,
                board: serial,
                disks,
                ..Pc::default()
            };
            let first = cheap("00:1e:4f:aa:bb:01", vec![]);
            assert!(!is(&cheap("00:1e:4f:cc:dd:02", vec![]), &first), "{uuid} {serial}");
            assert!(
                is(&cheap("00:1e:4f:aa:bb:01", vec![]), &first),
                "its card is enough: {uuid} {serial}"
            );
        }
    }
}

#[test]
fn the_same_machine_with_another_card_is_one_node() {
    assert!(
        is(
            &Pc {
                macs: vec!["00:0a:cd:00:00:09"],
                ..pc()
            },
            &pc()
        ),
        "card replaced"
    );
    assert!(
        is(
            &Pc {
                macs: vec!["00:0a:cd:00:00:09", "00:1e:4f:aa:bb:01"],
                ..pc()
            },
            &pc()
        ),
        "card added"
    );
    let plain = Pc {
        uuid: UUID_A,
        macs: vec!["00:1e:4f:aa:bb:01"],
        disks: vec!["WD-WCAV12345678"],
        ..Pc::default()
    };
    assert!(
        is(
            &Pc {
                macs: vec!["00:0a:cd:00:00:09"],
                ..plain.clone()
            },
            &plain
        ),
        "only a UUID and a disk left"
    );
}

#[test]
fn the_same_machine_with_another_disk_is_one_node() {
    assert!(is(
        &Pc {
            disks: vec!["Z4YBCDEF"],
            ..pc()
        },
        &pc()
    ));
    let cheap = Pc {
        macs: vec!["00:1e:4f:aa:bb:01"],
        disks: vec!["WD-WCAV12345678"],
        ..Pc::default()
    };
    assert!(
        is(
            &Pc {
                disks: vec!["Z4YBCDEF"],
                ..cheap.clone()
            },
            &cheap
        ),
        "a board without labels, too"
    );
}

#[test]
fn a_uuid_that_changed_with_the_set_up_does_not_make_a_new_machine() {
    assert!(is(&Pc { uuid: UUID_B, ..pc() }, &pc()));
}

#[test]
fn a_uuid_in_the_other_byte_order_is_the_same_uuid() {
    assert!(same_uuid(
        "00112233-4455-6677-8899-aabbccddeeff",
        "33221100-5544-7766-8899-AABBCCDDEEFF"
    ));
    assert!(!same_uuid(UUID_A, UUID_B));
}

#[test]
fn a_moved_card_or_disk_takes_no_identity_along() {
    let other = Pc {
        macs: vec!["00:1e:4f:cc:dd:02"],
        uuid: UUID_B,
        serial: "9ABC001",
        board: "CN0XX",
        disks: vec!["Z4YBCDEF"],
        usb: vec![],
    };
    assert!(
        !is(
            &Pc {
                macs: vec!["00:1e:4f:aa:bb:01"],
                ..other.clone()
            },
            &pc()
        ),
        "card"
    );
    assert!(
        !is(
            &Pc {
                disks: vec!["WD-WCAV12345678"],
                ..other.clone()
            },
            &pc()
        ),
        "disk"
    );
    let dongle = Pc {
        usb: vec!["00:e0:4c:68:00:01"],
        ..pc()
    };
    assert!(
        !is(
            &Pc {
                usb: vec!["00:e0:4c:68:00:01"],
                ..other
            },
            &dongle
        ),
        "USB card"
    );
    let laptop = |disk| Pc {
        usb: vec!["00:e0:4c:68:00:01"],
        disks: vec![disk],
        ..Pc::default()
    };
    assert!(
        !is(&laptop("Z4YBCDEF"), &laptop("WD-WCAV12345678")),
        "one USB card for many laptops"
    );
}

#[test]
fn a_tie_is_no_answer() {
    let (one, two) = (pc().facts(), pc().facts());
    assert_eq!(
        recognise(&pc().facts(), [("one", &one), ("two", &two)].into_iter()),
        None
    );
}

#[test]
fn what_several_known_machines_share_tells_nothing() {
    let (one, two) = (
        pc(),
        Pc {
            macs: vec!["00:1e:4f:cc:dd:02"],
            disks: vec!["Z4YBCDEF"],
            ..pc()
        },
    );
    let (one, two) = (one.facts(), two.facts());
    let known = [("one", &one), ("two", &two)];
    let third = Pc {
        macs: vec!["00:1e:4f:ee:ff:03"],
        disks: vec!["S21XNSAG"],
        ..pc()
    };
    assert_eq!(recognise(&third.facts(), known.into_iter()), None);
    let second = Pc {
        macs: vec!["00:1e:4f:cc:dd:02"],
        disks: vec!["S21XNSAG"],
        ..pc()
    };
    assert_eq!(recognise(&second.facts(), known.into_iter()), Some("two"));
}

#[test]
fn placeholders_are_known() {
    for label in [
        "",
        "  ",
        "0",
        "...",
        "AAAAAAAA",
        "to be filled by o.e.m.",
        "Not Specified",
        "00:00:00",
    ] {
        assert!(is_placeholder(label), "{label}");
    }
    for label in ["5TQW2J1", "WD-WCAV12345678", UUID_A] {
        assert!(!is_placeholder(label), "{label}");
    }
    for mac in [
        "",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:01",
        "00:11:22",
    ] {
        assert!(is_placeholder_mac(mac), "{mac}");
    }
    assert!(!is_placeholder_mac("52:54:00:77:00:01"));
}

fn weighed(new: &Pc, known: &[(&'static str, &Pc, Standing)]) -> String {
    let facts: Vec<Facts> = known.iter().map(|(_, pc, _)| pc.facts()).collect();
    let known = known.iter().zip(&facts).map(|((id, _, standing), facts)| Known {
        id,
        facts,
        standing: *standing,
    });
    format!("{:?}", super::recognise(&new.facts(), known))
}

#[test]
fn five_liars_that_claim_a_fact_each_make_no_node_unrecognisable() {
    let own = pc();
    let liars = [
        Pc {
            macs: own.macs.clone(),
            ..liar_of("1")
        },
        Pc {
            uuid: own.uuid,
            ..liar_of("2")
        },
        Pc {
            serial: own.serial,
            ..liar_of("3")
        },
        Pc {
            board: own.board,
            ..liar_of("4")
        },
        Pc {
            disks: own.disks.clone(),
            ..liar_of("5")
        },
    ];
    let mut known = vec![("node", &own, Standing::Approved)];
    known.extend(liars.iter().map(|liar| ("liar", liar, Standing::Unapproved)));
    assert_eq!(weighed(&own, &known), r#"As("node")"#);
    // Nor a machine that waits for approval itself.
    known[0].2 = Standing::Unapproved;
    assert_eq!(weighed(&own, &known), r#"As("node")"#);
}

/// A machine with labels of its own.
fn liar_of(number: &'static str) -> Pc {
    let [mac, uuid, serial, disk] = match number {
        "1" => [
            "00:16:3e:00:00:01",
            "11111111-0031-4a10-8052-b4c04f333132",
            "LIAR0001",
            "LIARDISK1",
        ],
        "2" => [
            "00:16:3e:00:00:02",
            "22222222-0031-4a10-8052-b4c04f333132",
            "LIAR0002",
            "LIARDISK2",
        ],
        "3" => [
            "00:16:3e:00:00:03",
            "33333333-0031-4a10-8052-b4c04f333132",
            "LIAR0003",
            "LIARDISK3",
        ],
        "4" => [
            "00:16:3e:00:00:04",
            "44444444-0031-4a10-8052-b4c04f333132",
            "LIAR0004",
            "LIARDISK4",
        ],
        _ => [
            "00:16:3e:00:00:05",
            "55555555-0031-4a10-8052-b4c04f333132",
            "LIAR0005",
            "LIARDISK5",
        ],
    };
    Pc {
        macs: vec![mac],
        uuid,
        serial,
        board: serial,
        disks: vec![disk],
        ..Pc::default()
    }
}

#[test]
fn a_shared_fact_weighs_nothing_and_never_less_than_nothing() {
    let own = pc();
    let other = |change: &dyn Fn(&mut Pc)| {
        let mut other = liar_of("1");
        change(&mut other);
        other
    };
    let another_card = || vec!["00:1e:4f:aa:bb:77"];
    // Its card was replaced; its disk had once been seen in another node.
    let new = Pc {
        macs: another_card(),
        ..own.clone()
    };
    let has_disk = other(&|pc| pc.disks.clone_from(&own.disks));
    let nodes = [
        ("node", &own, Standing::Approved),
        ("other", &has_disk, Standing::Approved),
    ];
    assert_eq!(weighed(&new, &nodes), r#"As("node")"#);
    // The same with its UUID, and with its serial number, in the place of the disk.
    for shares in [other(&|pc| pc.uuid = own.uuid), other(&|pc| pc.serial = own.serial)] {
        let nodes = [
            ("node", &own, Standing::Approved),
            ("other", &shares, Standing::Approved),
        ];
        assert_eq!(weighed(&new, &nodes), r#"As("node")"#);
    }
    // What a retired machine had weakens nobody.
    let nodes = [
        ("node", &own, Standing::Approved),
        ("other", &has_disk, Standing::Retired),
    ];
    let less = Pc {
        serial: "",
        board: "",
        ..new
    };
    assert_eq!(weighed(&less, &nodes), r#"As("node")"#, "by its UUID and its disk");
}

#[test]
fn a_machine_that_may_be_a_node_is_not_called_new() {
    let own = pc();
    let nodes = [("node", &own, Standing::Approved)];
    // Card and disk were replaced at once.
    let repaired = Pc {
        macs: vec!["00:1e:4f:aa:bb:77"],
        disks: vec!["WD-NEW"],
        ..own.clone()
    };
    assert_eq!(weighed(&repaired, &nodes), r#"Like("node")"#);
    assert_eq!(weighed(&liar_of("1"), &nodes), "New");
    let twin = Pc {
        uuid: own.uuid,
        ..liar_of("1")
    };
    assert_eq!(weighed(&twin, &nodes), "New", "boards of one series share their UUID");
    let claims = [("claims", &own, Standing::Unapproved)];
    assert_eq!(
        weighed(&repaired, &claims),
        "New",
        "of those that nobody approved there is nothing to protect"
    );
}
