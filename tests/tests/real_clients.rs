// SPDX-License-Identifier: Apache-2.0
//! The real provisioner and clients that others wrote: busybox's and ISC's for DHCP, three for TFTP, curl.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use provisioner_api::RamManifest;
use tests::lab::{SERVER, Wire};
use tests::made_up;
use tests::peer::{self, Program};
use tests::server::{PATIENCE, Yard};
use tests::wait::until;

/// Where clients get from. Their network is ours alone, and addresses are asked for before they are offered.
const SECTIONS: &str = "[dhcp]\nmode = \"full\"\ngateway = \"10.77.0.254\"\nlease_time = \"1h\"\n\n[limits]\nhttp_connections_per_address = 200\n";
/// More than 65,535 blocks of 512 bytes: the block number begins anew.
const LARGE: usize = 512 * 66_000;

/// A provisioner with a large initramfs, and a cable for real clients.
struct Site {
    yard: Yard,
    clients: Wire,
    ram: PathBuf,
}

impl Site {
    fn new() -> Self {
        let mut yard = Yard::dark(24, SECTIONS).unwrap();
        // No fake has an address here.
        yard.wire
            .space()
            .ip("route flush table local dev lo root 10.77.0.128/25")
            .unwrap();
        let ram = made_up::ram_of(yard.lab.folder(), "1", &yard.signature, LARGE).unwrap();
        let clients = yard.lab.wire().unwrap();
        yard.lab.start_server().unwrap();
        yard.server().import(&ram).unwrap();
        Self { yard, clients, ram }
    }

    /// Runs a client to its end: whether it was content, and everything that it said.
    fn run(&self, program: &Program, arguments: &[&str]) -> (bool, String) {
        self.run_command(program.command().args(arguments))
    }

    fn run_command(&self, command: &mut Command) -> (bool, String) {
        command.current_dir(self.yard.lab.folder());
        let output = self.clients.space().run(|| command.output()).unwrap().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// A file of the laboratory's folder.
    fn file(&self, name: &str) -> PathBuf {
        self.yard.lab.folder().join(name)
    }

    /// Writes a script into the laboratory's folder.
    fn script(&self, name: &str, text: &str) -> String {
        let file = self.file(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file.display().to_string()
    }

    /// The lease log.
    fn leases(&self) -> String {
        let log = fs::read_to_string(self.yard.lab.control().state().join("leases")).unwrap_or_default();
        log.trim_end_matches('\0').to_owned()
    }

    /// Whether an event of this kind says this.
    fn told(&self, kind: &str, words: &str) -> Result<bool> {
        let events = self.yard.lab.control().get("/api/v1/events?limit=1000")?;
        let events = events.as_array().context("no events")?;
        Ok(events
            .iter()
            .any(|event| event["kind"] == kind && event.to_string().contains(words)))
    }
}

#[test]
fn dhcp_clients_keep_one_address_however_they_ask() {
    let site = Site::new();
    let busybox = peer::busybox().unwrap();
    let told = "[ $1 = bound ] && echo \"$ip/$mask via $router, time $ntpsrv, for $lease\"\nexit 0";
    let script = site.script("told", told);
    let mac = fs_mac(&site);
    // By unicast to a card without an address, by broadcast, with a wish, with other identifiers, and after asking by
    // ARP itself.
    let ways: [&[&str]; 6] = [
        &[],
        &["-B"],
        &["-r", "10.77.0.140"],
        &["-C"],
        &["-x", "0x3d:00deadbeef"],
        &["-a"],
    ];
    for way in ways {
        let ask = ["udhcpc", "-i", "wire", "-n", "-q", "-t", "5", "-s", &script];
        let (_, said) = site.run(&busybox, &[&ask[..], way].concat());
        let expected = "10.77.0.128/24 via 10.77.0.254, time 10.77.0.1, for 3600";
        assert!(said.contains(expected), "{way:?}: {said}");
    }
    let bound = format!("bound 10.77.0.128 {mac} ");
    assert!(
        site.leases().lines().any(|line| line.starts_with(&bound)),
        "{}",
        site.leases()
    );
}

#[test]
fn a_dhcp_client_gives_back_declines_and_is_told_when_it_comes_from_elsewhere() {
    let site = Site::new();
    let dhclient = peer::dhclient().unwrap();
    let [leases, pid, config] = ["dh.leases", "dh.pid", "dh.conf"].map(|name| site.file(name).display().to_string());
    fs::write(&config, "timeout 30;\nretry 1;\ninitial-interval 1;\n").unwrap();
    let files = ["-4", "-v", "-cf", &config, "-lf", &leases, "-pf", &pid];
    let asks = |what: &[&str]| site.run(&dhclient, &[&files[..], what, &["wire"]].concat()).1;
    let content = site.script("content", "exit 0");
    // Its script says that the address is no good.
    let picky = site.script("picky", "[ $reason = BOUND ] && exit 1\nexit 0");

    let said = asks(&["-1", "-sf", &content]);
    assert!(said.contains("bound to 10.77.0.128"), "{said}");
    let said = asks(&["-r", "-sf", &content]);
    assert!(said.contains("DHCPRELEASE"), "{said}");
    until("the address to be free", PATIENCE, || {
        Ok(site.leases().contains("freed 10.77.0.128").then_some(()))
    })
    .unwrap();

    // From a network that it was in yesterday: it is refused that address, and asks anew.
    let yesterday = "lease {\n interface \"wire\";\n fixed-address 192.0.2.7;\n option subnet-mask 255.255.255.0;\n \
        option dhcp-lease-time 86400;\n option dhcp-message-type 5;\n option dhcp-server-identifier 192.0.2.1;\n \
        renew never;\n rebind never;\n expire never;\n}\n";
    fs::write(&leases, yesterday).unwrap();
    let said = asks(&["-1", "-sf", &content]);
    let refused = said.find("DHCPNAK from 10.77.0.1");
    let bound = said.find("bound to 10.77.0.128");
    assert!(refused.is_some() && refused < bound, "{said}");
    asks(&["-r", "-sf", &content]);

    fs::write(&leases, "").unwrap();
    let said = asks(&["-1", "-sf", &picky]);
    assert!(said.contains("DHCPDECLINE"), "{said}");
    until("the event", PATIENCE, || {
        Ok(site.told("address-in-use", "found 10.77.0.128 in use")?.then_some(()))
    })
    .unwrap();
    fs::write(&leases, "").unwrap();
    let said = asks(&["-1", "-sf", &content]);
    assert!(
        said.contains("bound to 10.77.0.1") && !said.contains("bound to 10.77.0.128"),
        "{said}"
    );
}

#[test]
fn tftp_clients_fetch_whole_files_also_where_packets_are_lost() {
    let site = Site::new();
    let small = fs::read(site.ram.join("loaders/ipxe.efi")).unwrap();
    let large = fs::read(site.ram.join(RamManifest::INITRD)).unwrap();
    let clients = [peer::tftp().unwrap(), peer::atftp().unwrap(), peer::busybox().unwrap()];
    let [tftp, atftp, busybox] = &clients;
    let curl = |options: &str, path: &str| {
        let mut command = Command::new("curl");
        command.args(["-s", "-S", "-o", "got"]).args(options.split_whitespace());
        command.arg(format!("tftp://{SERVER}/{path}"));
        site.run_command(&mut command).1
    };
    let fetched = |wanted: &[u8], how: &str, said: String| {
        let got = fs::read(site.file("got")).unwrap_or_default();
        assert!(
            got == wanted,
            "{how}: {} of {} bytes: {said}
{}",
            got.len(),
            wanted.len(),
            site.yard.lab.control().log_tail(3)
        );
        fs::remove_file(site.file("got")).unwrap();
    };
    let initrd = format!("ram/1/{}", RamManifest::INITRD);
    let get = |file: &str, words: &str| -> Vec<String> {
        let words = words.split_whitespace().map(str::to_owned);
        words
            .map(|word| if word == "FILE" { file.to_owned() } else { word })
            .collect()
    };
    for lossy in [false, true] {
        if lossy {
            lose(&site, 5);
        }
        let downloads: [(&Program, &str, &[u8], Vec<String>); 6] = [
            (
                tftp,
                "tftp-hpa",
                &small,
                get("ipxe.efi", "-m binary 10.77.0.1 -c get FILE got"),
            ),
            (atftp, "atftp", &small, get("ipxe.efi", "-g -r FILE -l got 10.77.0.1")),
            (
                busybox,
                "busybox",
                &small,
                get("/ipxe.efi", "tftp -g -r FILE -l got 10.77.0.1"),
            ),
            (
                busybox,
                "busybox, large blocks",
                &small,
                get("ipxe.efi", "tftp -b 1468 -g -r FILE -l got 10.77.0.1"),
            ),
            (
                tftp,
                "tftp-hpa, large",
                &large,
                get(&initrd, "-m binary 10.77.0.1 -c get FILE got"),
            ),
            (
                atftp,
                "atftp, large",
                &large,
                [
                    vec!["--option".into(), "windowsize 64".into()],
                    get(&initrd, "-g -r FILE -l got 10.77.0.1"),
                ]
                .concat(),
            ),
        ];
        for (program, how, wanted, arguments) in downloads {
            // The large one takes many losses, and atftp waits for five seconds at some of them.
            if lossy && (wanted.len() > small.len() || how == "atftp") {
                continue;
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let (_, said) = site.run(program, &arguments);
            fetched(wanted, how, said);
        }
        fetched(&small, "curl", curl("", "ipxe.efi"));
        fetched(&small, "curl, large blocks", curl("--tftp-blksize 1400", "ipxe.efi"));
        fetched(&small, "curl, no options", curl("--tftp-no-options", "ipxe.efi"));
    }
}

#[test]
fn nothing_that_is_not_served_is_read_or_written_by_tftp() {
    let site = Site::new();
    let busybox = peer::busybox().unwrap();
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "nothing",
        "..\\ipxe.efi",
        "ram/1/../../server/state/leases",
    ] {
        let (content, said) = site.run(&busybox, &["tftp", "-g", "-r", name, "-l", "got", SERVER]);
        assert!(!content && said.contains("server error: (1)"), "{name}: {said}");
    }
    fs::write(site.file("up"), "up").unwrap();
    let (content, said) = site.run(&busybox, &["tftp", "-p", "-l", "up", "-r", "ipxe.efi", SERVER]);
    assert!(!content && said.contains("server error: (2)"), "{said}");
}

#[test]
fn curl_gets_loaders_and_pieces_of_the_kernel() {
    let site = Site::new();
    let large = fs::read(site.ram.join(RamManifest::INITRD)).unwrap();
    let url = format!("http://{SERVER}:8080/ram/1/{}", RamManifest::INITRD);
    let curl = |options: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-s", "-S", "-f", "-o", "got"]).args(options);
        let (content, said) = site.run_command(&mut command);
        assert!(content, "{options:?}: {said}");
        fs::read(site.file("got")).unwrap()
    };
    assert!(curl(&[&url]) == large);
    assert!(curl(&["-r", "1000-1999", &url]) == large[1000..2000]);
    assert!(curl(&["-r", "-7", &url]) == large[large.len() - 7..]);
    // A download that was cut goes on where it was.
    fs::write(site.file("got"), &large[..5_000_000]).unwrap();
    assert!(curl(&["-C", "-", &url]) == large);
    assert!(curl(&["--http1.0", &url]) == large);
}

/// The address of the clients' card.
fn fs_mac(site: &Site) -> String {
    let show = ["-br", "link", "show", "dev", "wire"];
    let said = site.clients.space().run_program(Command::new("ip").args(show)).unwrap();
    said.split_whitespace().nth(2).unwrap().to_owned()
}

/// From now on this share of UDP packets is lost, in both directions.
fn lose(site: &Site, percent: u32) {
    let nft = |rule: &str| {
        let mut command = Command::new("nft");
        site.yard
            .lab
            .space()
            .run_program(command.args(rule.split(' ')))
            .unwrap();
    };
    nft("add table ip loss");
    for hook in ["input", "output"] {
        nft(&format!(
            "add chain ip loss {hook} {{ type filter hook {hook} priority -300 ; }}"
        ));
        nft(&format!(
            "add rule ip loss {hook} meta l4proto udp numgen random mod 100 < {percent} drop"
        ));
    }
}
