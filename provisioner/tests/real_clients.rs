// SPDX-License-Identifier: Apache-2.0
//! The edges against programs that others wrote: busybox's and ISC's DHCP clients, three TFTP clients.
//!
//! The server runs in a network namespace of this thread, the clients in one of a process that ends with the test;
//! nothing is left behind, however the test ends. Needs root and says so where it has none. Programs that are not
//! installed are named and left out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use provisioner::config::{Dhcp, DhcpMode, Share};
use provisioner::network::{Content, Ended, Fetch, FetchProgress, Files, Notice, Sighting, Sightings, interfaces};
use provisioner::{dhcp, ntp, tftp};
use pxe::Mac;

const SERVER: &str = "10.77.0.1";

/// The core, as far as the edges see it.
#[derive(Default)]
struct Core {
    sighted: Mutex<Vec<Sighting>>,
    fetched: Mutex<Vec<Fetch>>,
}

impl Sightings for Core {
    fn is_known(&self, _: Mac) -> bool {
        false
    }
    fn seen(&self, sighting: Sighting) {
        self.sighted.lock().unwrap().push(sighting);
    }
    fn fetching(&self, _: &FetchProgress<'_>) {}
    fn fetched(&self, fetch: Fetch) {
        self.fetched.lock().unwrap().push(fetch);
    }
    fn service(&self, _: &'static str, _: String, _: bool) {}
    fn notice(&self, _: Notice) {}
}

/// `small` and one that has more than 65,535 blocks of 512 bytes.
struct Loaders;

fn content(name: &str) -> Option<Vec<u8>> {
    let size = match name {
        "small" => 262_144,
        "large" => 512 * 66_000,
        _ => return None,
    };
    Some(
        (0..size)
            .map(|i: u32| i.to_le_bytes()[usize::from(i.is_multiple_of(3))])
            .collect(),
    )
}

impl Files for Loaders {
    fn get(&self, name: &str) -> Option<Content> {
        content(name).map(Content::from)
    }
    fn has(&self, name: &str) -> bool {
        content(name).is_some()
    }
}

/// The clients' namespace and folder.
struct Clients {
    keeper: Child,
    folder: tempfile::TempDir,
}

impl Clients {
    /// Makes the server's namespace this thread's, and the clients' one beside it.
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        // It ends when its standard input does, which is when the test does.
        let keeper = Command::new("unshare")
            .args(["-n", "cat"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let clients = Self {
            keeper,
            folder: tempfile::tempdir().unwrap(),
        };
        let pid = clients.keeper.id().to_string();
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let theirs = format!("/proc/{pid}/ns/net");
        while std::fs::read_link(&theirs).unwrap() == own {
            std::thread::yield_now();
        }
        for line in [
            "link set lo up",
            &format!("link add s0 type veth peer name c0 netns {pid}"),
            &format!("addr add {SERVER}/24 brd + dev s0"),
            "link set s0 up",
        ] {
            assert!(
                Command::new("ip").args(line.split(' ')).status().unwrap().success(),
                "ip {line}"
            );
        }
        clients.run("ip", &["link", "set", "c0", "up"]).unwrap();
        clients
    }

    /// Runs a client; `None`, said aloud, where it is not installed.
    fn run(&self, program: &str, arguments: &[&str]) -> Option<Output> {
        let path = std::env::var("PATH").unwrap();
        if !path
            .split(':')
            .chain(["/sbin", "/usr/sbin"])
            .any(|folder| Path::new(folder).join(program).exists())
        {
            eprintln!("SKIPPED: {program} is not installed");
            return None;
        }
        let namespace = format!("--net=/proc/{}/ns/net", self.keeper.id());
        let mut command = Command::new("timeout");
        command
            .args(["60", "nsenter", &namespace, program])
            .args(arguments)
            .current_dir(self.folder.path());
        Some(command.stdin(Stdio::null()).output().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Everything that a client said.
fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs the edges in this thread's namespace while `stories` asks them.
fn with_server(state: &Path, stories: impl FnOnce() + Send) -> Arc<Core> {
    let core = Arc::new(Core::default());
    let (files, sightings): (Arc<dyn Files>, Arc<dyn Sightings>) = (Arc::new(Loaders), core.clone());
    let served = interfaces(&["s0".into()], &[]).unwrap();
    let how = Dhcp {
        mode: DhcpMode::Full,
        pool: None,
        lease_time: Duration::from_hours(1),
        gateway: Some(Ipv4Addr::new(10, 77, 0, 254)),
        dns: vec![],
        check: true,
    };
    let settings = dhcp::Settings {
        names: None,
        segments: served.into_iter().map(|interface| (interface, how.clone())).collect(),
        subnets: vec![],
        reservations: vec![],
        ntp: true,
        port: 67,
        pxe_port: 4011,
        http_port: 8080,
        leases: state.join("leases"),
    };
    let dhcp = dhcp::bind(&settings, files.clone(), sightings.clone()).unwrap();
    let asked = tftp::Settings {
        port: 69,
        http_port: 8080,
        limits: Share {
            total: 1024,
            per_address: 8,
        },
    };
    let tftp = tftp::bind(&asked, files, sightings.clone()).unwrap();
    let clock = ntp::Settings {
        port: 123,
        addresses: vec![SERVER.parse().unwrap()],
        earliest: Duration::ZERO,
    };
    let ntp = ntp::bind(clock, sightings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        let (done, finished) = tokio::sync::oneshot::channel::<()>();
        scope.spawn(move || {
            // Also when a story fails: its channel closes, and the server below ends.
            let _done = done;
            stories();
        });
        runtime.block_on(async {
            tokio::select! {
                ended = dhcp.run() => panic!("DHCP ended: {ended:?}"),
                ended = tftp.run() => panic!("TFTP ended: {ended:?}"),
                ended = ntp.run() => panic!("NTP ended: {ended:?}"),
                _ = finished => {}
            }
        });
    });
    core
}

#[test]
fn programs_that_others_wrote_are_served() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: needs root for its network namespaces");
        return;
    }
    let clients = Clients::new();
    let state = tempfile::tempdir().unwrap();
    let core = with_server(state.path(), || {
        udhcpc_gets_one_address_however_it_asks(&clients);
        dhclient_gets_an_address(&clients);
        clients
            .run("ip", &["addr", "add", "10.77.0.20/24", "dev", "c0"])
            .unwrap();
        tftp_clients_fetch_whole_files(&clients);
        tftp_refuses_what_is_not_served(&clients);
    });
    let sighted = core.sighted.lock().unwrap();
    assert!(
        sighted.iter().all(|sighting| sighting.client == sighted[0].client),
        "one card: {sighted:?}"
    );
    let failures: Vec<_> = core
        .fetched
        .lock()
        .unwrap()
        .iter()
        .filter(|fetch| fetch.ended != Ended::Absent)
        .filter_map(|fetch| fetch.failure.clone())
        .collect();
    assert_eq!(failures, Vec::<String>::new());

    // The next server knows what this one promised.
    let log = std::fs::read_to_string(state.path().join("leases")).unwrap();
    assert!(
        log.starts_with(&format!("bound 10.77.0.128 {} ", sighted[0].client.mac)),
        "{}",
        log.trim_end_matches('\0')
    );
}

fn udhcpc_gets_one_address_however_it_asks(clients: &Clients) {
    let script = clients.file("told");
    std::fs::write(
        &script,
        "#!/bin/sh\n[ $1 = bound ] && echo \"$ip/$mask via $router, time $ntpsrv, for $lease\"\n",
    )
    .unwrap();
    let mut permissions = std::fs::metadata(&script).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&script, permissions).unwrap();
    let script = script.to_str().unwrap();
    // By unicast to a card without an address, by broadcast, and with a wish for another address.
    for extra in [&[][..], &["-B"], &["-r", "10.77.0.140"]] {
        let arguments: Vec<&str> = [&["udhcpc", "-i", "c0", "-n", "-q", "-t", "5", "-s", script], extra].concat();
        let Some(output) = clients.run("busybox", &arguments) else {
            return;
        };
        let expected = "10.77.0.128/24 via 10.77.0.254, time 10.77.0.1, for 3600";
        assert!(words(&output).contains(expected), "{extra:?}: {}", words(&output));
    }
}

fn dhclient_gets_an_address(clients: &Clients) {
    let [leases, pid, config] = ["dh.leases", "dh.pid", "dh.conf"].map(|name| clients.file(name).display().to_string());
    std::fs::write(&config, "").unwrap();
    let files = ["-cf", &config, "-lf", &leases, "-pf", &pid];
    let start = [&["-v", "-1", "-sf", "/bin/true"][..], &files, &["c0"]].concat();
    let Some(output) = clients.run("dhclient", &start) else {
        return;
    };
    assert!(words(&output).contains("bound to 10.77.0.128"), "{}", words(&output));
    clients.run("dhclient", &[&["-x"][..], &files, &["c0"]].concat());
}

fn tftp_clients_fetch_whole_files(clients: &Clients) {
    let fetches: [(&str, &str, &[&str]); 6] = [
        ("tftp", "small", &["-m", "binary", SERVER, "-c", "get", "small", "got"]),
        ("atftp", "small", &["-g", "-r", "small", "-l", "got", SERVER]),
        (
            "atftp",
            "small",
            &[
                "--option",
                "blksize 1468",
                "--option",
                "windowsize 16",
                "-g",
                "-r",
                "small",
                "-l",
                "got",
                SERVER,
            ],
        ),
        (
            "atftp",
            "large",
            &["--option", "windowsize 64", "-g", "-r", "large", "-l", "got", SERVER],
        ),
        (
            "busybox",
            "small",
            &["tftp", "-b", "1468", "-g", "-r", "small", "-l", "got", SERVER],
        ),
        ("busybox", "small", &["tftp", "-g", "-r", "/small", "-l", "got", SERVER]),
    ];
    for (program, file, arguments) in fetches {
        let Some(output) = clients.run(program, arguments) else {
            continue;
        };
        let got = std::fs::read(clients.file("got")).unwrap_or_default();
        assert!(
            Some(got) == content(file),
            "{program} {arguments:?}: {}",
            words(&output)
        );
        std::fs::remove_file(clients.file("got")).unwrap();
    }
}

fn tftp_refuses_what_is_not_served(clients: &Clients) {
    for name in ["../../etc/passwd", "/etc/passwd", "nothing", "..\\small"] {
        let Some(output) = clients.run("busybox", &["tftp", "-g", "-r", name, "-l", "got", SERVER]) else {
            return;
        };
        assert!(
            words(&output).contains("server error: (1)"),
            "{name}: {}",
            words(&output)
        );
    }
    std::fs::write(clients.file("up"), "up").unwrap();
    let output = clients
        .run("busybox", &["tftp", "-p", "-l", "up", "-r", "small", SERVER])
        .unwrap();
    assert!(words(&output).contains("server error: (2)"), "{}", words(&output));
    let output = clients
        .run("busybox", &["tftp", "-g", "-r", "autoexec.ipxe", "-l", "got", SERVER])
        .unwrap();
    let script = std::fs::read_to_string(clients.file("got")).unwrap_or_default();
    assert!(
        script.contains("http://10.77.0.1:8080/boot/ipxe?"),
        "{}{script}",
        words(&output)
    );
}
