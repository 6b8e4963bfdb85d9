// SPDX-License-Identifier: Apache-2.0
//! The provisioner as an admin runs it: a systemd unit on a machine of its own, which here is one of its nodes.

use std::path::Path;
use std::time::Duration;

use provisioner_api::NodeSummary;
use tests::journey::{EMPTY_DISKS, Journey, READY};
use tests::peer;
use tests::vm::{Firmware, Spec};

const UNIT: &str = include_str!("../../../provisioner/systemd/gleaner-provisioner.service");
const PACKAGES: &str = include_str!("../../../provisioner/systemd/gleaner-packages.service");
const USER: &str = include_str!("../../../provisioner/systemd/gleaner.sysusers");
/// Something to cache.
const CONFIG: &str = "[packages]\nsources = [\"http://source.example/\"]\n";
/// From the reset button to a program over SSH.
const REBOOT: Duration = Duration::from_mins(6);
/// systemd's own measure of how exposed a service is, times ten: below 2.0 it is called "OK" in green.
const EXPOSURE: &str = "20";

#[test]
#[ignore = "one more PC, eight minutes: make test-long"]
fn the_service_runs_unprivileged_under_systemd_and_is_back_after_a_reboot() {
    let mut journey = Journey::new(EMPTY_DISKS).unwrap();
    let mut pc = journey.pc(Spec::new(Firmware::Bios, 41)).unwrap();
    journey.power_on(&mut pc).unwrap();
    let node = journey.wait_for(&mut pc, "ready", READY).unwrap();
    let run = |script: &str| journey.ssh_until_it_works(&node, script).unwrap();

    install(&journey, &node);
    run("systemd-sysusers && systemctl daemon-reload && systemctl enable --now gleaner-provisioner");
    it_serves(&run);
    run(&format!(
        "systemd-analyze security --threshold={EXPOSURE} gleaner-provisioner && \
         systemd-analyze security --threshold={EXPOSURE} gleaner-packages"
    ));

    let boot = run("cat /proc/sys/kernel/random/boot_id");
    // SSH ends in the middle of it.
    let _ = journey.ssh(&node, "systemctl reboot");
    tests::wait::until("another start of the same machine", REBOOT, || {
        Ok(journey
            .ssh(&node, "cat /proc/sys/kernel/random/boot_id")
            .ok()
            .filter(|now| *now != boot))
    })
    .unwrap();
    it_serves(&run);
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
    std::fs::write(&config, CONFIG).unwrap();
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
    // Not root, and both capabilities given up once everything is bound.
    let process = run("cat /proc/$(systemctl show -P MainPID gleaner-provisioner)/status");
    let field = |name: &str| {
        let line = process.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!field("Uid:").contains(&"0".to_owned()), "{process}");
    assert_eq!(field("CapEff:"), ["0000000000000000"], "{process}");
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
