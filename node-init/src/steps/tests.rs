// SPDX-License-Identifier: Apache-2.0
//! Stories of orders carried out on a machine in memory, against a real TLS controller and a real image server.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use blake2::{Blake2b512, Digest};
use ed25519_dalek::{Signer, SigningKey};
use provisioner_api::{DiskPartition, DiskRef, FailCause, ImageRef, Install, RebootInto, Seed, SeedFile};

use super::report::Reporter;
use super::{check, clock, install, reboot, wipe};
use crate::client::Client;
use crate::client::tests::{client_of, controller};
use crate::host::fake::FakeHost;
use crate::key::NodeKey;
use crate::screen::Screen;
use crate::write::fakes::{FakeDisk, Image, MIB, cloud_image, image, old_labels, put_old_labels};

const NO_CAPSULE: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const STORED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A controller that gives this one answer, and its client.
fn connected(answer: &'static str) -> (Client, NodeKey) {
    let (server, node) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (address, _) = controller(&server, &node, answer);
    (client_of(&address, &server, &node), node)
}

fn screen() -> Screen {
    Screen::open(Path::new("/nowhere"), &[])
}

/// minisign's pre-hashed signature and the base64 line of its key.
fn sign(bytes: &[u8], seed: u8) -> (String, String) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let packed = |algorithm: &[u8], rest: &[u8]| BASE64.encode([algorithm, &[seed; 8], rest].concat());
    let signature = key.sign(&Blake2b512::digest(bytes)).to_bytes();
    let global = key.sign(&[&signature[..], b"test"].concat()).to_bytes();
    let text = format!(
        "untrusted comment: x\n{}\ntrusted comment: test\n{}\n",
        packed(b"ED", &signature),
        BASE64.encode(global)
    );
    (text, packed(b"Ed", key.verifying_key().as_bytes()))
}

/// Serves an image's three files; returns its address and the line of the key that signed it.
fn serve(image: Image, seed: u8) -> (String, String) {
    let manifest = serde_json::to_vec(&image.manifest).unwrap();
    let (signature, key) = sign(&manifest, seed);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/i", listener.local_addr().unwrap());
    let files = Arc::new((manifest, signature.into_bytes(), image.chunks));
    thread::spawn(move || {
        for tcp in listener.incoming().map(Result::unwrap) {
            let files = Arc::clone(&files);
            thread::spawn(move || answer_all(tcp, &files));
        }
    });
    (url, key)
}

fn answer_all(mut tcp: std::net::TcpStream, files: &(Vec<u8>, Vec<u8>, Vec<u8>)) {
    let mut reader = BufReader::new(tcp.try_clone().unwrap());
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.to_lowercase());
        }
        let whole = match head[0].split(' ').nth(1).unwrap() {
            "/i/manifest.json" => &files.0,
            "/i/manifest.json.minisig" => &files.1,
            _ => &files.2,
        };
        let range = head.iter().find_map(|line| line.strip_prefix("range: bytes="));
        let (status, body) = match range.and_then(|range| range.trim().split_once('-')) {
            Some((first, last)) => (206, &whole[first.parse().unwrap()..=last.parse().unwrap()]),
            None => (200, &whole[..]),
        };
        write!(tcp, "HTTP/1.1 {status} OK\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
        if tcp.write_all(body).is_err() {
            return;
        }
    }
}

fn order(host: &FakeHost, url: String, trusted: &str) -> Install {
    Install {
        disk: host.disk(),
        image: ImageRef {
            name: "test".into(),
            version: "1".into(),
            url,
            trusted_keys: vec![trusted.into()],
        },
        name: "node-7f3a".into(),
        root_size: None,
        controller: "10.77.0.1:8443".into(),
        pin: "ab".repeat(32),
        ntp: vec!["10.77.0.1".into()],
        names: None,
        ssh_keys: Vec::new(),
        kernel_args: String::new(),
        timezone: "UTC".into(),
        seed: None,
        mark: Some("0a1b2c".into()),
    }
}

/// Carries out an order to install `image` on `host`.
fn install_on(host: &FakeHost, image: Image, trusted_seed: u8) -> Result<install::Written, FailCause> {
    install_with(host, image, trusted_seed, None)
}

/// The same with what cloud-init shall obey.
fn install_with(
    host: &FakeHost,
    image: Image,
    trusted_seed: u8,
    seed: Option<Seed>,
) -> Result<install::Written, FailCause> {
    let (client, node) = connected(NO_CAPSULE);
    let (url, _) = serve(image, 7);
    let (_, trusted) = sign(b"", trusted_seed);
    let screen = screen();
    let reporter = Reporter::new(&client, &screen, "boot".into());
    let tools = install::Tools {
        host,
        client: &client,
        key: &node,
        mac: "52:54:00:77:00:01",
    };
    let order = Install {
        seed,
        ..order(host, url, &trusted)
    };
    reporter.with_progress(|meter| install::run(&tools, &order, meter))
}

#[test]
fn an_order_to_install_ends_with_a_disk_that_boots_and_a_system_that_knows_its_name() {
    let host = FakeHost::with(FakeDisk::new(16 * MIB, 0xEE));
    let image = image();
    let written = install_on(&host, image.clone(), 7).unwrap();
    assert_eq!(written.bytes, image.manifest.disk_size);
    let disk = host.device.content();
    assert_eq!(disk[510..512], [0x55, 0xAA]);
    let hostname = std::fs::read_to_string(host.target.path().join("etc/hostname")).unwrap();
    assert_eq!(hostname, "node-7f3a\n");
    assert!(host.target.path().join("var/lib/node-init/node.key").exists());
}

fn seed() -> Seed {
    let file = |name: &str| SeedFile {
        name: name.into(),
        content: format!("this is {name}"),
    };
    Seed {
        files: ["user-data", "meta-data"].map(file).into(),
    }
}

#[test]
fn an_image_for_cloud_init_gets_its_seed_and_no_file_of_ours() {
    let host = FakeHost::with(FakeDisk::new(20 * MIB, 0xEE));
    install_with(&host, cloud_image(), 7, Some(seed())).unwrap();
    let disk = host.device.content();
    assert_eq!(disk[510..512], [0x55, 0xAA]);
    let words = b"this is user-data";
    assert!(disk.windows(words.len()).any(|place| place == words));
    assert_eq!(std::fs::read_dir(host.target.path()).unwrap().count(), 0);
}

#[test]
fn an_image_and_an_order_of_different_kinds_are_told_so_before_the_disk_is_touched() {
    for (image, seed, word) in [
        (cloud_image(), None, "cloud-debian"),
        (image(), Some(seed()), "images build cloud"),
        (cloud_image(), Some(Seed::default()), "lacks the file user-data"),
    ] {
        let host = FakeHost::with(FakeDisk::new(20 * MIB, 0xEE));
        let Err(cause) = install_with(&host, image, 7, seed) else {
            panic!("{word}")
        };
        assert!(cause.to_string().contains(word), "{cause}");
        assert!(host.device.content().iter().all(|byte| *byte == 0xEE));
    }
}

#[test]
fn an_image_signed_with_a_foreign_key_does_not_touch_the_disk() {
    let host = FakeHost::with(FakeDisk::new(16 * MIB, 0xEE));
    let Err(cause) = install_on(&host, image(), 8) else {
        panic!("a foreign key must be refused")
    };
    assert!(matches!(cause, FailCause::ImageUntrusted { .. }), "{cause}");
    assert!(host.device.content().iter().all(|b| *b == 0xEE));
}

#[test]
fn a_disk_that_errors_on_write_fails_with_words_for_a_person_and_does_not_boot() {
    let host = FakeHost::with(FakeDisk {
        error_at: Some(9 * MIB),
        ..FakeDisk::new(16 * MIB, 0xEE)
    });
    let Err(cause) = install_on(&host, image(), 7) else {
        panic!("the disk is broken")
    };
    assert!(cause.to_string().contains("replace the disk or its cable"), "{cause}");
    assert_eq!(host.device.content()[510..512], [0, 0]);
}

#[test]
fn a_disk_that_is_gone_too_small_or_in_a_machine_without_memory_is_told_as_that() {
    let mut host = FakeHost::with(FakeDisk::new(16 * MIB, 0));
    let wanted = host.disk();
    let (client, _) = connected(STORED);
    let screen = screen();
    let reporter = Reporter::new(&client, &screen, "boot".into());
    let check = |host: &FakeHost, need| reporter.with_progress(|meter| check::run(host, &wanted, need, meter));
    assert_eq!(check(&host, MIB).unwrap().len(), 3);
    assert!(matches!(check(&host, 17 * MIB), Err(FailCause::DiskTooSmall { .. })));
    host.memory = 350 << 20;
    assert!(matches!(check(&host, MIB), Err(FailCause::LowMemory { .. })));
    host.memory = 480 << 20;
    host.disks.clear();
    assert!(matches!(check(&host, MIB), Err(FailCause::DiskGone { .. })));
    assert_eq!(host.device.operations.load(Ordering::SeqCst), 0, "a check never writes");
}

#[test]
fn a_wiped_disk_has_no_table_and_is_not_said_to_be_discarded_if_it_cannot_be() {
    let host = FakeHost::with(FakeDisk::new(16 * MIB, 0xEE));
    assert!(!wiped(&host).unwrap());
    let disk = host.device.content();
    let mib = usize::try_from(MIB).unwrap();
    assert!(disk[..mib].iter().chain(&disk[disk.len() - mib..]).all(|b| *b == 0));
}

/// Wipes the disk of a machine; whether it took the discard.
fn wiped(host: &FakeHost) -> Result<bool, FailCause> {
    let (client, _) = connected(STORED);
    let screen = screen();
    let reporter = Reporter::new(&client, &screen, "boot".into());
    reporter.with_progress(|meter| wipe::run(host, &host.disk(), None, meter))
}

#[test]
fn a_wiped_disk_has_no_label_of_a_former_life_left_at_its_ends_or_at_those_of_its_partitions() {
    let size = 200 * MIB;
    // The second one begins between the sectors of the first one's grid and ends with the disk's last MiB.
    let old = [3 * MIB..90 * MIB + 7 * 512, 92 * MIB + 512..199 * MIB];
    let mut content = vec![0xEE; usize::try_from(size).unwrap()];
    for whole in old.iter().chain([&(0..size)]) {
        put_old_labels(&mut content, whole);
    }
    let mut host = FakeHost::with(FakeDisk::holding(content));
    host.disks[0].contents.partitions = (1..)
        .zip(&old)
        .map(|(number, place)| DiskPartition {
            number,
            start: place.start,
            size: place.end - place.start,
            kind: "Linux".into(),
            filesystem: None,
            label: None,
        })
        .collect();
    wiped(&host).unwrap();
    let left = host.device.content();
    for whole in old.iter().chain([&(0..size)]) {
        assert_eq!(old_labels(&left, whole), [""; 0], "{whole:?}");
    }
}

#[test]
fn the_second_disk_of_a_layout_is_wiped_too_and_none_if_one_of_them_is_gone() {
    let mut host = FakeHost::with(FakeDisk::new(16 * MIB, 0xEE));
    let second = FakeDisk::new(16 * MIB, 0xEE);
    let first = host.disk();
    let wanted = DiskRef {
        serial: Some("D2".into()),
        ..first.clone()
    };
    let (client, _) = connected(STORED);
    let screen = screen();
    let reporter = Reporter::new(&client, &screen, "boot".into());
    let wipe = |host: &FakeHost| reporter.with_progress(|meter| wipe::run(host, &first, Some(&wanted), meter));
    assert!(matches!(wipe(&host), Err(FailCause::DiskGone { .. })));
    assert!(host.device.content().iter().all(|byte| *byte == 0xEE));
    let second = host.plug_in("sdb", "D2", second);
    wipe(&host).unwrap();
    for disk in [host.device.content(), second.content()] {
        assert!(disk[..1 << 20].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_disk_that_refuses_the_command_for_zeros_is_wiped_and_installed_by_plain_writes() {
    let refusing = || FakeDisk {
        refuses_zero: true,
        ..FakeDisk::new(16 * MIB, 0xEE)
    };
    let host = FakeHost::with(refusing());
    wiped(&host).unwrap();
    assert!(host.device.content()[..1 << 20].iter().all(|byte| *byte == 0));
    install_on(&host, image(), 7).unwrap();
    let (disk, image) = (host.device.content(), image());
    assert_eq!(disk[1 << 20..image.raw.len()], image.raw[1 << 20..]);
}

#[test]
fn an_order_to_reboot_is_reported_before_the_machine_goes() {
    let host = FakeHost::with(FakeDisk::new(MIB, 0));
    let (server, node) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let (address, heard) = controller(&server, &node, STORED);
    let client = client_of(&address, &server, &node);
    let screen = screen();
    let mut reporter = Reporter::new(&client, &screen, "boot".into());
    reboot::run(&host, &mut reporter, RebootInto::Disk, "installed", &screen);
    assert!(heard.recv().unwrap().contains("POST /api/v1/node/events"));
    assert!(host.rebooted.load(Ordering::SeqCst));
    assert_eq!(screen.view().text, "installed. The machine starts again from its disk.");
}

#[test]
fn a_clock_that_stopped_in_1970_or_ran_on_to_2040_is_set_by_the_controller_and_its_battery_suspected() {
    const TIME: &str = "HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{\"unix_ms\":1795219200000}";
    for seconds in ["0", "2208988800"] {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/class/rtc/rtc0")).unwrap();
        std::fs::write(root.path().join("sys/class/rtc/rtc0/since_epoch"), seconds).unwrap();
        let host = FakeHost::with(FakeDisk::new(MIB, 0));
        let (client, _) = connected(TIME);
        let found = clock::set(&host, &client, clock::read_rtc(root.path()), &screen());
        assert!(found.battery_suspect, "{seconds}");
        assert_eq!(host.clock.load(Ordering::SeqCst), 1_795_219_200_000);
    }
}
