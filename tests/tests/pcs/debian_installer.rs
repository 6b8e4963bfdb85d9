// SPDX-License-Identifier: Apache-2.0
//! Debian's own installer, from the power button over PXE, with nobody there.
//!
//! It needs a mirror with all parts of the installer (`.udeb`), which not every mirror has. Where `GLEANER_MIRROR` names
//! one the story ends with a node that is ready; elsewhere it ends where the installer says that its mirror lacks a part:
//! by then it has read its answers, called the server, and fetched the index of its parts through the package cache.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use provisioner_api::{EventEntry, PackagesReport};
use tests::journey::{ENROL, Journey};
use tests::lab::SERVER;
use tests::packages::{Cache, Mirror};
use tests::peer;
use tests::vm::{Firmware, Pc, Spec};
use tests::wait::until;

/// Debian's installer as Debian packages it.
const PACKAGE: &str = "debian-installer-12-netboot-amd64";
/// Where the mirror will be: the address of a laboratory's first cable.
const MIRROR: &str = "10.77.0.2";
/// Power-on to the first word of the installer: examined and wiped first, then 45 MB to a kernel that unpacks 137.
const BEGUN: Duration = Duration::from_mins(20);
/// From there to the index of its parts.
const STOPPED: Duration = Duration::from_mins(12);
/// From there to a node: some hundred packages under software virtualization.
const INSTALLED: Duration = Duration::from_hours(4);

#[test]
fn debians_installer_reads_its_answers_calls_home_and_fetches_through_the_cache() {
    story(Spec::new(Firmware::Bios, 51));
}

#[test]
#[ignore = "the same from UEFI, some minutes more: make test-long"]
fn debians_installer_does_the_same_from_uefi() {
    story(Spec::new(Firmware::Uefi, 52));
}

fn story(spec: Spec) {
    let mut mirror = Mirror::find(PACKAGE).unwrap();
    let mut journey = laboratory(&mirror);
    let wire = journey.lab.wire().unwrap();
    assert_eq!(wire.address(), MIRROR);
    mirror.plug_into(&wire).unwrap();
    let _cache = Cache::start(&mut journey.lab).unwrap();
    the_cache_is_there(&mut journey);
    let ram = journey.lab.artifacts.ram().unwrap();
    journey.lab.server().import(&ram).unwrap();
    let medium = peer::package(PACKAGE).unwrap();
    let medium = medium.display().to_string();
    journey.lab.server().cli(&["os", "import", &medium]).unwrap();

    let mut pc = journey
        .pc(Spec {
            screen: true,
            ..spec.memory(1024)
        })
        .unwrap();
    journey.power_on(&mut pc).unwrap();
    let name = journey.wait_for(&mut pc, "installing", ENROL).unwrap().name;
    wait_for_event(&mut journey, &mut pc, &name, "installer-began", BEGUN);
    if mirror.is_whole() {
        journey.wait_for(&mut pc, "ready", INSTALLED).unwrap();
    } else {
        it_says_what_its_mirror_lacks(&mut journey, &mut pc, &name);
    }
    // All that was asked of the mirror was asked by the cache.
    assert_eq!(mirror.asked_by(), [SERVER.parse::<IpAddr>().unwrap()]);
}

fn laboratory(mirror: &Mirror) -> Journey {
    let system = format!(
        "[profiles.debian]\ninstaller = \"debian-12\"\nrole = \"plain\"\n[profiles.debian.system]\nmirror = \"{}\"\n\
         [dns]\nforward = [\"{MIRROR}\"]\n\
         [[auto_approve]]\nname = \"empty disks\"\nprofile = \"debian\"\ndisks_empty = true\n",
        mirror.url()
    );
    let mut journey = Journey::dark("").unwrap();
    let folder = journey.lab.folder().join("packages");
    std::fs::create_dir_all(&folder).unwrap();
    journey
        .lab
        .server()
        .configure(&format!("{system}[packages]\nfolder = \"{}\"\n", folder.display()))
        .unwrap();
    journey.lab.start_server().unwrap();
    journey
}

fn the_cache_is_there(journey: &mut Journey) {
    until("the package cache", ENROL, || Ok(packages(journey).proxy)).unwrap();
}

fn packages(journey: &mut Journey) -> PackagesReport {
    let report = journey.lab.server().get("/api/v1/packages").unwrap();
    serde_json::from_value(report).unwrap()
}

fn it_says_what_its_mirror_lacks(journey: &mut Journey, pc: &mut Pc, name: &str) {
    let failed = wait_for_event(journey, pc, name, "failed", STOPPED);
    assert!(failed.detail.contains("package retrieval failed"), "{failed:?}");
    let missing = packages(journey).missing;
    let part = missing.iter().find(|missing| missing.url.contains(".udeb"));
    let part = part.unwrap_or_else(|| panic!("{missing:#?}"));
    assert!(
        part.profiles == ["debian (debian-12)"] && part.why.contains("does not have it"),
        "{part:?}"
    );
    // Past the test harness, which keeps what a passing test prints to itself.
    let said = format!(
        "Debian's installer came as far as its own parts: this machine's mirror lacks {}, so nothing was installed. Name \
         a whole one in GLEANER_MIRROR to see it finish.\n",
        part.url
    );
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}

fn wait_for_event(journey: &mut Journey, pc: &mut Pc, name: &str, kind: &str, limit: Duration) -> EventEntry {
    let found = until(&format!("the event {kind}"), limit, || {
        let events = journey.lab.server().events(name)?;
        Ok(events.into_iter().find(|event| event.kind == kind))
    });
    // What a person would see; kept with the laboratory.
    let picture = journey.lab.folder().join(format!("{kind}.png"));
    pc.screenshot(Path::new(&picture)).unwrap();
    found.unwrap_or_else(|error| panic!("{error:#}\n{}", journey.evidence(pc)))
}
