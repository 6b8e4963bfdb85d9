// SPDX-License-Identifier: Apache-2.0
//! The package cache, with the real programs at both of its ends: it costs the source one download, whoever comes, and
//! it is no way to anything else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use provisioner_api::PackagesReport;
use tests::packages::{Market, PORT};
use tests::wait::until;

/// The server looks at the cache every five seconds, on a machine that is busy.
const NOTICED: Duration = Duration::from_mins(1);
/// Installs at once.
const MANY: usize = 50;
/// A package that is larger than a piece of the cache.
const LARGE: &str = "/pool/kernel_1.0_all.deb";

fn running(lines: &str) -> Market {
    let mut market = Market::new(lines).unwrap();
    market.start_source().unwrap();
    market.start_cache().unwrap();
    market
}

fn report(market: &mut Market) -> Result<PackagesReport> {
    let answer = market.lab.server().get("/api/v1/packages")?;
    serde_json::from_value(answer).context("understanding the report")
}

/// The source has sent at most 1.1 times what one install needs.
fn assert_one_download(market: &Market) {
    let (sent, one) = (market.sent().unwrap(), market.repository.one_install());
    assert!(
        sent * 10 <= one * 11,
        "the source sent {sent} bytes, one install takes {one}"
    );
}

#[test]
fn fifty_installs_at_once_cost_the_source_one_download() {
    let market = running("");
    market.installs(MANY).unwrap();
    assert_one_download(&market);
    market.installs(1).unwrap();
    assert_one_download(&market);
}

#[test]
fn a_cache_that_is_killed_keeps_what_it_had_and_goes_on() {
    let mut market = running("");
    market.installs(2).unwrap();
    market.kill_cache();
    market.start_cache().unwrap();
    market.installs(5).unwrap();
    assert_one_download(&market);
}

/// Every file below a folder loses the second half of itself.
fn cut_short(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            cut_short(&entry.path());
        } else {
            let file = std::fs::OpenOptions::new().write(true).open(entry.path()).unwrap();
            file.set_len(entry.metadata().unwrap().len() / 2).unwrap();
        }
    }
}

#[test]
fn what_a_power_cut_has_cut_short_is_fetched_again() {
    let mut market = running("");
    market.installs(1).unwrap();
    market.kill_cache();
    cut_short(&market.cache_folder().join("files"));
    market.start_cache().unwrap();
    until("the log to say so", NOTICED, || {
        Ok(market.log().contains("cut files of the cache short").then_some(()))
    })
    .unwrap();
    market.installs(2).unwrap();
    // A stop in order is none: all is kept and nothing looked at.
    let sent = market.sent().unwrap();
    market.stop_cache();
    market.start_cache().unwrap();
    market.installs(1).unwrap();
    assert!(market.sent().unwrap() < sent + market.repository.one_install() / 10);
    assert!(!market.log().contains("was not stopped in order"), "{}", market.log());
}

#[test]
fn when_the_source_is_gone_what_was_fetched_once_is_still_there_and_what_was_not_is_named() {
    let mut market = running("");
    market.installs(1).unwrap();
    market.stop_source();
    market.installs(3).unwrap();
    let (status, said) = market.fetch(&market.url("/pool/never_1.0_all.deb"), &[]).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(status == 504 && said.contains("never_1.0_all.deb"), "{status} {said}");
    let missing = market.lab.server().cli(&["packages", "missing"]).unwrap();
    assert!(
        missing.contains("never_1.0_all.deb") && missing.contains("did not answer"),
        "{missing}"
    );
    // The doctor says so by itself, soon.
    until("the doctor to notice", NOTICED, || {
        let doctor = market.lab.server().get("/api/v1/doctor")?.to_string();
        Ok(doctor.contains("never_1.0_all.deb").then_some(()))
    })
    .unwrap();
}

#[test]
fn offline_nobody_is_asked_and_what_is_lacking_is_listed() {
    let mut market = running("");
    market.installs(1).unwrap();
    let sent = market.sent().unwrap();
    market.stop_cache();
    market.configure("offline = true").unwrap();
    market.lab.server().stop().unwrap();
    market.lab.start_server().unwrap();
    market.start_cache().unwrap();
    market.installs(2).unwrap();
    let (status, said) = market.fetch(&market.url("/dists/testing/Release"), &[]).unwrap();
    assert_eq!(status, 410);
    assert!(String::from_utf8_lossy(&said).contains("packages.offline"));
    assert_eq!(market.sent().unwrap(), sent, "the source was asked");
    let report = report(&mut market).unwrap();
    let missing: Vec<_> = report.missing.iter().map(|missing| missing.url.as_str()).collect();
    let url = market.url("/dists/testing/Release");
    assert!(report.offline && missing.contains(&url.as_str()), "{report:#?}");
}

#[test]
fn it_is_no_way_to_anything_but_the_sources_and_for_nobody_but_the_served_networks() {
    let market = running("");
    let own = format!("http://10.77.0.1:{PORT}/");
    for url in [
        "http://10.77.0.1:8080/",
        "http://127.0.0.1:8080/api/v1/about",
        "http://localhost:22/",
        "http://[::1]:8080/",
        "http://elsewhere.example/x.deb",
        own.as_str(),
    ] {
        let (status, said) = market.fetch(url, &[]).unwrap();
        assert!(status == 403, "{url}: {status} {}", String::from_utf8_lossy(&said));
    }
    // A host that is named in one place and another in the other: what is fetched is the source's.
    let lie = format!("Host: {}", market.url("").split('/').nth(2).unwrap());
    let (status, _) = market
        .fetch("http://10.77.0.1:8080/debian/pool/x.deb", &["-H", &lie])
        .unwrap();
    assert!(status == 403 || status == 404, "{status}");
    let (status, _) = market
        .fetch(&market.url("/pool/x"), &["-X", "POST", "-d", "x"])
        .unwrap();
    assert_eq!(status, 405);
    // CONNECT, to the source itself even.
    let tunnel = market.fetch(&market.url("").replace("http:", "https:"), &[]).unwrap();
    assert_eq!(tunnel.0, 0);
    // Somebody whose network is not served.
    market.wire.space().ip("addr add 192.0.2.9/32 dev lo").unwrap();
    market.lab.space().ip("route add 192.0.2.9/32 dev br0").unwrap();
    let (status, _) = market.fetch(&market.url(LARGE), &["--interface", "192.0.2.9"]).unwrap();
    assert_eq!(status, 403);
    assert_eq!(market.fetch(&market.url(LARGE), &[]).unwrap().0, 200);
}

#[test]
fn a_machines_secrets_do_not_leave_the_site() {
    let market = running("");
    let secrets = ["-H", "Authorization: Bearer tell-nobody", "-H", "Cookie: tell-nobody"];
    for path in [LARGE, "/dists/stable/Release"] {
        assert_eq!(market.fetch(&market.url(path), &secrets).unwrap().0, 200);
    }
    let asked = market.asked().unwrap();
    assert!(
        asked.contains(LARGE) && asked.contains("Release") && !asked.contains("tell-nobody"),
        "{asked}"
    );
}

#[test]
fn ranges_are_served_from_what_is_kept() {
    let market = running("");
    let whole = market.repository.read(LARGE).unwrap();
    for (range, part) in [
        ("5000000-9000000", &whole[5_000_000..=9_000_000]),
        ("0-0", &whole[..1]),
        ("-100", &whole[whole.len() - 100..]),
    ] {
        let (status, body) = market.fetch(&market.url(LARGE), &["-r", range]).unwrap();
        assert!(status == 206 && body == part, "{range}: {status}, {} bytes", body.len());
    }
    assert!(market.fetch(&market.url(LARGE), &[]).unwrap().1 == whole);
}

#[test]
fn a_full_disk_keeps_nobody_from_installing() {
    let mut market = Market::new("").unwrap();
    // Smaller than what must be left free: full from the start.
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
        .arg(market.cache_folder());
    market.lab.space().run_program(&mut mount).unwrap();
    market.start_source().unwrap();
    market.start_cache().unwrap();
    market.installs(5).unwrap();
    let folder = market.cache_folder();
    until("the log to say so", NOTICED, || {
        Ok(market.log().contains("disk is full").then_some(()))
    })
    .unwrap();
    let flag = market.lab.space().run(|| folder.join("full").exists()).unwrap();
    assert!(flag, "{}", market.log());
}

#[test]
fn installers_are_sent_to_it_while_it_answers_and_the_server_says_when_it_does_not() {
    let mut market = running("");
    let has_proxy = |market: &mut Market, wanted: bool| {
        until("the server to notice", NOTICED, || {
            let report = report(market)?;
            ensure!(report.sources.len() == 1, "{report:#?}");
            Ok((report.proxy.is_some() == wanted && report.ok == wanted).then_some(report))
        })
        .unwrap()
    };
    has_proxy(&mut market, true);
    market.kill_cache();
    let down = has_proxy(&mut market, false);
    assert!(down.detail.contains("gleaner-packages"), "{}", down.detail);
    let status = market.lab.server().cli(&["packages", "status"]).unwrap();
    assert!(
        status.contains("NOT OK") && status.contains("fetch by themselves"),
        "{status}"
    );
    market.start_cache().unwrap();
    has_proxy(&mut market, true);
}
