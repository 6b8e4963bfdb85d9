// SPDX-License-Identifier: Apache-2.0
//! The provisioner as an admin runs it: systemd units on a machine of its own, which here is one of its nodes.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use provisioner_api::NodeSummary;
use tests::journey::{EMPTY_DISKS, Journey, READY};
use tests::peer;
use tests::vm::{Firmware, Pc, Spec};

const UNIT: &str = include_str!("../../../provisioner/systemd/gleaner-provisioner.service");
const PACKAGES: &str = include_str!("../../../provisioner/systemd/gleaner-packages.service");
const USER: &str = include_str!("../../../provisioner/systemd/gleaner.sysusers");
/// The laboratory's own server leases here. Two that find out by themselves who does might find each other.
const BESIDE: &str = "[dhcp]\nmode = \"proxy\"\n\n";
/// Who has something to cache.
const SOURCE: &str = "10.77.0.1:8099";
/// What it has.
const PACKAGE: &str = "/pool/kernel_1.0_all.deb";
/// What is in it.
const CONTENTS: &str = "a package\n";
/// The site's own template that the stories break.
const TEMPLATE: &str = "/etc/gleaner/templates/debian/late.sh";
/// From the reset button to a program over SSH.
const REBOOT: Duration = Duration::from_mins(6);
/// systemd's own measure of how exposed a service is, times ten: below 2.0 it is called "OK" in green.
const EXPOSURE: &str = "20";

#[test]
#[ignore = "one more PC, ten minutes: make test-long"]
fn the_services_run_unprivileged_under_systemd_and_are_back_after_a_reboot_and_a_power_cut() {
    let mut journey = Journey::new(EMPTY_DISKS).unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Bios, 41)).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
    let source = Source::start(&journey);
    let run = |script: &str| journey.ssh_until_it_works(&node, script).unwrap();

    install(&journey, &node);
    run("systemd-sysusers && systemctl daemon-reload && systemctl enable --now gleaner-provisioner");
    it_serves(&run);
    run(&format!(
        "systemd-analyze security --threshold={EXPOSURE} gleaner-provisioner && \
         systemd-analyze security --threshold={EXPOSURE} gleaner-packages"
    ));
    it_caches(&journey, &node);
    the_cache_may_read_nothing_of_the_server(&run);
    a_reload_takes_what_is_good_and_nothing_else(&run);
    the_cache_comes_back_by_itself(&run);
    it_caches(&journey, &node);

    let boot = run("cat /proc/sys/kernel/random/boot_id");
    // SSH ends in the middle of it.
    let _ = journey.ssh(&node, "systemctl reboot");
    another_start(&journey, &mut pc, &node, &boot);
    it_serves(&run);
    it_caches(&journey, &node);

    let boot = run("cat /proc/sys/kernel/random/boot_id");
    pc.cut_power();
    journey.power_on(&mut pc).unwrap();
    another_start(&journey, &mut pc, &node, &boot);
    it_serves(&run);
    it_caches(&journey, &node);
    assert_eq!(source.asked(), 1, "what was fetched once is kept over all of this");
}

fn another_start(journey: &Journey, pc: &mut Pc, node: &NodeSummary, boot: &str) {
    let again = tests::wait::until("another start of the same machine", REBOOT, || {
        Ok(journey
            .ssh(node, "cat /proc/sys/kernel/random/boot_id")
            .ok()
            .filter(|now| now != boot))
    });
    again.unwrap_or_else(|error| {
        let said = pc.serial().text();
        let said = &said[said.floor_char_boundary(said.len().saturating_sub(3000))..];
        panic!("{error:#}\n{said}\n{}", journey.lab.control().log_tail(60))
    });
}

/// A source of one package in the laboratory.
struct Source(Arc<AtomicUsize>);

impl Source {
    fn start(journey: &Journey) -> Self {
        let listener = journey.lab.space().run(|| TcpListener::bind(SOURCE)).unwrap().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            listener
                .incoming()
                .flatten()
                .for_each(|stream| answer(&stream, &counted));
        });
        Self(asked)
    }

    /// How often it was asked.
    fn asked(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: &TcpStream, asked: &AtomicUsize) {
    let head = BufReader::new(stream).lines();
    head.map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .for_each(drop);
    asked.fetch_add(1, Ordering::SeqCst);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        CONTENTS.len()
    );
    // Who hangs up asks again, and is counted again.
    let _ = stream.write_all(format!("{head}{CONTENTS}").as_bytes());
}

/// The package through the cache, as an installer on the served network fetches it.
fn it_caches(journey: &Journey, node: &NodeSummary) {
    let address = node.address.as_deref().unwrap().split('/').next().unwrap().to_owned();
    let fetched = tests::wait::until("the package through the cache", REBOOT, || {
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-m", "20", "-x", &format!("http://{address}:3142")]);
        Ok(journey
            .lab
            .space()
            .run_program(curl.arg(format!("http://{SOURCE}{PACKAGE}")))
            .ok())
    });
    assert_eq!(fetched.unwrap().trim(), CONTENTS.trim());
}

fn the_cache_may_read_nothing_of_the_server(run: &dyn Fn(&str) -> String) {
    let inside = "nsenter --mount --target $(systemctl show -P MainPID gleaner-packages)";
    let seen = run(&format!(
        "for folder in /var/lib/gleaner /run/gleaner /root; do {inside} ls -A $folder; done; \
         {inside} sh -c 'echo x >/etc/gleaner/x || echo x >/usr/x' 2>/dev/null || echo locked"
    ));
    assert_eq!(seen.trim(), "locked");
    run("test -e /var/lib/gleaner/server.key || ls -A /var/lib/gleaner | grep -q .");
}

fn a_reload_takes_what_is_good_and_nothing_else(run: &dyn Fn(&str) -> String) {
    run(&format!(
        "install -D -m 644 /dev/null {TEMPLATE} && provisioner template show debian/late.sh >{TEMPLATE} && \
         echo '# ours' >>{TEMPLATE} && systemctl reload gleaner-provisioner && \
         provisioner template list | grep -F debian/late.sh | grep -F 'own'"
    ));
    let said = run(&format!(
        "echo '{{{{ nobody }}}}' >>{TEMPLATE}; systemctl reload gleaner-provisioner 2>/dev/null || echo refused; \
         journalctl -q -u gleaner-provisioner | grep -c 'late.sh:.*nobody'; rm -r /etc/gleaner/templates/debian; \
         systemctl reload gleaner-provisioner && systemctl is-active gleaner-provisioner gleaner-packages"
    ));
    let said: Vec<&str> = said.lines().collect();
    assert!(
        said[0] == "refused" && said[1] != "0" && said[2..] == ["active", "active"],
        "{said:?}"
    );
}

fn the_cache_comes_back_by_itself(run: &dyn Fn(&str) -> String) {
    // nginx dies; then all of it does; then the server is started anew, and the cache with it.
    let answers = "for i in $(seq 60); do provisioner packages status | grep -qF 'ok: port 3142' && \
                   systemctl is-active -q gleaner-packages && break; sleep 1; done; systemctl is-active gleaner-packages";
    for harm in [
        "kill -9 $(pgrep -x -o nginx)",
        "systemctl kill --signal=KILL gleaner-packages",
        "systemctl restart gleaner-provisioner",
    ] {
        let pid = "systemctl show -P MainPID gleaner-packages";
        let other = run(&format!(
            "before=$({pid}); {harm}; for i in $(seq 60); do now=$({pid}); [ $now != 0 ] && [ $now != $before ] && break; \
             sleep 1; done; [ $now != $before ] && {answers}"
        ));
        assert_eq!(other.trim(), "active", "{harm}");
    }
}

/// What `make install` puts where.
fn install(journey: &Journey, node: &NodeSummary) {
    journey.ssh_until_it_works(node, "true").unwrap();
    let put = |content: &Path, to: &str| journey.copy(node, content, to).unwrap();
    put(journey.lab.control().program(), "/usr/local/bin/provisioner");
    let folder = journey.lab.folder();
    for (content, to) in [
        (UNIT, "/usr/local/lib/systemd/system/gleaner-provisioner.service"),
        (PACKAGES, "/usr/local/lib/systemd/system/gleaner-packages.service"),
        (USER, "/usr/local/lib/sysusers.d/gleaner.conf"),
    ] {
        let file = folder.join("to-install");
        std::fs::write(&file, content).unwrap();
        put(&file, to);
    }
    let config = folder.join("to-install");
    std::fs::write(
        &config,
        format!("{BESIDE}[packages]\nsources = [\"http://{SOURCE}/\"]\n"),
    )
    .unwrap();
    put(&config, "/etc/gleaner/gleaner.toml");
    // As Debian's package has it; what it is linked with is on every Debian.
    put(peer::nginx().unwrap().path(), "/usr/local/sbin/nginx");
    journey
        .ssh(
            node,
            "chmod 755 /usr/local/bin/provisioner /usr/local/sbin/nginx && chmod 644 /etc/gleaner/gleaner.toml",
        )
        .unwrap();
}

fn it_serves(run: &dyn Fn(&str) -> String) {
    run("systemctl is-active gleaner-provisioner");
    let said = run("provisioner status && provisioner node list");
    assert!(!said.is_empty());
    // Not root, and no capability but CAP_NET_BIND_SERVICE and CAP_NET_RAW, of which programs that it starts have none.
    let process = run("cat /proc/$(systemctl show -P MainPID gleaner-provisioner)/status");
    let field = |name: &str| {
        let line = process.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!field("Uid:").contains(&"0".to_owned()), "{process}");
    assert_eq!(field("CapEff:"), ["0000000000002400"], "{process}");
    assert_eq!(field("CapPrm:"), ["0000000000002400"], "{process}");
    assert_eq!(field("CapInh:"), ["0000000000000000"], "{process}");
    assert_eq!(field("CapAmb:"), ["0000000000000000"], "{process}");
    assert_eq!(field("NoNewPrivs:"), ["1"], "{process}");
    // So does the package cache, beside it and as somebody else.
    run("systemctl is-active gleaner-packages && provisioner packages status | grep -F 'ok: port 3142'");
    let nginx = run("cat /proc/$(systemctl show -P MainPID gleaner-packages)/status && ps -o user= -C nginx | sort -u");
    assert!(nginx.contains("CapEff:\t0000000000000000"), "{nginx}");
    assert!(!nginx.lines().any(|line| line.trim() == "root"), "{nginx}");
    let bound = run("ss -lnup");
    assert!([":67 ", ":69 "].iter().all(|port| bound.contains(port)), "{bound}");
    // It is its own controller, at its own address, and not the one of the laboratory.
    run("here=$(ip -4 -o addr show br0 | sed 's|.*inet ||; s|/.*||') && \
         busybox nslookup controller.gleaner.internal $here | tail -n +3 | grep -F $here");
}
