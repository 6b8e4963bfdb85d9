// SPDX-License-Identifier: Apache-2.0
//! The laboratory itself: before it says anything about Gleaner it has to be right.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::lab::{BRIDGE, Lab};
use tests::space::{Space, processes_in};
use tests::vm::{Accel, Firmware, Spec};
use tests::wait::until;

/// Under software virtualization OVMF takes half a minute to its first packet.
const FIRST_PACKET: Duration = Duration::from_mins(2);

#[test]
fn a_space_takes_its_processes_and_its_network_with_it() {
    let space = Space::new().unwrap();
    space.ip("link add b0 type bridge").unwrap();
    let mut child = space.spawn(Command::new("sleep").arg("1000")).unwrap();
    let namespace = std::fs::read_link(format!("/proc/{}/ns/net", child.id())).unwrap();
    let namespace = namespace.to_string_lossy().into_owned();
    assert!(processes_in(&namespace).unwrap() >= 1);
    drop(space);
    assert!(!child.wait().unwrap().success(), "it was killed");
    assert_eq!(processes_in(&namespace).unwrap(), 0);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("gleaner"), "{mounts}");
}

#[test]
fn a_virtual_pc_of_either_firmware_asks_for_its_loader() {
    // dnsmasq stands in for the provisioner, so that a failure here is the laboratory's and nobody else's.
    let mut lab = Lab::new().unwrap().with_router_advertisements().unwrap();
    let log = lab.folder().join("dnsmasq.log");
    let files = lab.folder().join("tftp");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("loader"), [0xeb, 0xfe]).unwrap();
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args([
        "--keep-in-foreground",
        "--port=0",
        "--user=root",
        "--conf-file=/dev/null",
        "--log-dhcp",
    ]);
    dnsmasq
        .arg(format!("--interface={BRIDGE}"))
        .arg("--dhcp-range=10.77.0.100,10.77.0.200,1h");
    dnsmasq
        .args(["--enable-tftp", "--dhcp-boot=loader"])
        .arg(format!("--tftp-root={}", files.display()));
    dnsmasq
        .arg(format!("--log-facility={}", log.display()))
        .arg("--dhcp-leasefile=/dev/null");
    let mut dnsmasq = lab
        .space()
        .spawn(dnsmasq.stdin(Stdio::null()).stderr(Stdio::null()))
        .unwrap();

    let mut pcs = Vec::new();
    for (number, firmware) in [(1, Firmware::Bios), (2, Firmware::Uefi)] {
        let mut pc = lab.pc(Spec::new(firmware, number).memory(256), Accel::Tcg).unwrap();
        pc.power_on(lab.space()).unwrap();
        pcs.push(pc);
    }
    until("both PCs to read the loader", FIRST_PACKET, || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let vendor = |arch: &str| said.contains(&format!("vendor class: PXEClient:Arch:{arch}"));
        Ok((vendor("00000") && vendor("00007") && said.matches("loader to 10.77.0.").count() >= 2).then_some(()))
    })
    .unwrap();
    for pc in &mut pcs {
        assert!(pc.is_on());
        pc.cut_power();
        assert!(!pc.is_on());
    }
    dnsmasq.kill().unwrap();
    dnsmasq.wait().unwrap();
}

#[test]
fn nothing_is_left_of_a_laboratory_that_was_killed() {
    let interfaces = || std::fs::read_dir("/sys/class/net").unwrap().count();
    let before = interfaces();
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(lab.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = |word: &str| {
        lines
            .find_map(|line| line.strip_prefix(word).map(str::to_owned))
            .unwrap()
    };
    let entrance = said("network: nsenter --net=");
    let namespace = std::fs::read_link(entrance).unwrap().to_string_lossy().into_owned();
    let folder = PathBuf::from(said("folder: "));
    let provisioner = said("provisioner: ");
    assert!(processes_in(&namespace).unwrap() >= 2 && folder.exists());

    lab.kill().unwrap();
    lab.wait().unwrap();
    until("its processes to end", Duration::from_mins(1), || {
        Ok((processes_in(&namespace)? == 0 && !Path::new("/proc").join(&provisioner).exists()).then_some(()))
    })
    .unwrap();
    // Files are the next laboratory's to remove.
    drop(Lab::new().unwrap());
    assert!(!folder.exists(), "{} is left", folder.display());
    assert_eq!(interfaces(), before);
}
