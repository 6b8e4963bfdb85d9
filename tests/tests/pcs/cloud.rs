// SPDX-License-Identifier: Apache-2.0
//! A PC that becomes a node by a ready-made image: as its makers publish it, with the real cloud-init in it, which obeys
//! the seed beside it at the first start and nothing ever after.
//!
//! The makers' own images cannot be fetched everywhere, so this one is made of Debian's packages (`make cloud-image`), laid
//! out as Debian's. What it lacks it fetches from a real mirror, through the package cache.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use provisioner_api::{NodeSummary, PackagesReport};
use tests::journey::{ENROL, Journey, READY};
use tests::lab::{SERVER, Wire};
use tests::packages::{Cache, Mirror};
use tests::peer;
use tests::vm::{Firmware, Pc, Spec};
use tests::wait::until;

/// What the image was published as.
const FILE: &str = "debian-13-generic-amd64.qcow2";
/// Where the mirror will be: the address of a laboratory's first cable.
const MIRROR: &str = "10.77.0.2";
/// Bytes of the root file system when it has grown: the disk of a virtual PC has 8 GiB, the image one.
const GROWN: u64 = 7 << 30;

#[test]
fn a_bios_pc_becomes_a_node_by_a_ready_made_image() {
    story(Spec::new(Firmware::Bios, 91));
}

#[test]
#[ignore = "the same from UEFI, some minutes more: make test-long"]
fn a_uefi_pc_becomes_a_node_by_a_ready_made_image() {
    story(Spec::new(Firmware::Uefi, 92));
}

#[test]
#[ignore = "takes seven minutes: make test-long"]
fn power_that_is_cut_at_the_first_start_costs_that_start_only() {
    let mut story = Story::begin(Spec::new(Firmware::Bios, 93));
    // Packages are about to be fetched.
    let begun = story.pc.serial().wait_for("running 'modules:final'", READY);
    begun.unwrap_or_else(|error| panic!("{error:#}\n{}", story.journey.evidence(&mut story.pc)));
    story.pc.cut_power();
    story.journey.power_on(&mut story.pc).unwrap();
    story.becomes_ready();
}

fn story(spec: Spec) {
    let mut story = Story::begin(spec);
    let node = story.becomes_ready();
    it_starts_again_and_cloud_init_does_nothing(&mut story.journey, &mut story.pc, &node);
}

/// A PC that was switched on, and all that is on its network.
struct Story {
    pc: Pc,
    _cache: Cache,
    mirror: Mirror,
    _wire: Wire,
    journey: Journey,
}

impl Story {
    fn begin(spec: Spec) -> Self {
        let mut mirror = Mirror::find("cloud-init").unwrap();
        let mut journey = laboratory(&mirror).unwrap();
        let wire = journey.lab.wire().unwrap();
        assert_eq!(wire.address(), MIRROR);
        mirror.plug_into(&wire).unwrap();
        let cache = Cache::start(&mut journey.lab).unwrap();
        until("the package cache", ENROL, || Ok(packages(&mut journey)?.proxy)).unwrap();
        let mut pc = journey.pc(spec.memory(1024)).unwrap();
        journey.power_on(&mut pc).unwrap();
        Self {
            pc,
            _cache: cache,
            mirror,
            _wire: wire,
            journey,
        }
    }

    fn becomes_ready(&mut self) -> NodeSummary {
        let node = self.journey.wait_for(&mut self.pc, "ready", READY).unwrap();
        cloud_init_made_it_what_it_is(&mut self.journey, &mut self.pc, &node);
        // All that was asked of the mirror was asked by the cache.
        assert_eq!(self.mirror.asked_by(), [SERVER.parse::<IpAddr>().unwrap()]);
        node
    }
}

/// A laboratory in which every empty disk is given the image.
fn laboratory(mirror: &Mirror) -> Result<Journey> {
    let mut journey = Journey::dark("")?;
    let folder = journey.lab.folder().join("packages");
    fs::create_dir_all(&folder).context("making the cache's folder")?;
    let key = fs::read_to_string(journey.lab.folder().join("ssh-key.pub")).context("reading the operator's key")?;
    let sections = format!(
        "[nodes]\nheartbeat = \"2s\"\n[dns]\nforward = [\"{MIRROR}\"]\n[packages]\nfolder = \"{}\"\n\
         [profiles.cloud]\ninstaller = \"cloud-debian\"\nimage = \"debian-13-cloud\"\nrole = \"plain\"\nbridge = \"\"\n\
         ssh_keys = [\"{key}\"]\n[profiles.cloud.system]\nmirror = \"{}\"\nsecurity = \"none\"\n\
         [[profiles.cloud.system.users]]\nname = \"ops\"\nadmin = true\nkeys = [\"{key}\"]\n\
         [[auto_approve]]\nname = \"empty disks\"\nprofile = \"cloud\"\ndisks_empty = true\n",
        folder.display(),
        mirror.url(),
        key = key.trim(),
    );
    journey.lab.server().configure(&sections)?;
    journey.lab.start_server()?;
    let (ram, image) = (journey.lab.artifacts.ram()?, image(&journey)?);
    journey.lab.server().import(&ram)?;
    journey.lab.server().import(&image)?;
    Ok(journey)
}

/// The image as a site makes it of what its makers publish: a qcow2 file and a list of checksums.
fn image(journey: &Journey) -> Result<PathBuf> {
    let (artifacts, folder) = (&journey.lab.artifacts, journey.lab.folder());
    let published = folder.join(FILE);
    let mut convert = peer::qemu_img()?.command();
    convert
        .args(["convert", "-O", "qcow2"])
        .arg(artifacts.cloud_disk()?)
        .arg(&published);
    run(&mut convert)?;
    let sums = run(Command::new("sha512sum").arg(FILE).current_dir(folder))?;
    let list = folder.join("SHA512SUMS");
    fs::write(&list, sums).context("writing the list of checksums")?;
    let made = folder.join("cloud");
    let mut build = Command::new(artifacts.program("images")?);
    build
        .args(["build", "cloud"])
        .arg(&published)
        .args(["--name", "debian-13-cloud"]);
    build.arg("--sums").arg(&list).arg("--out").arg(&made);
    run(build.arg("--key").arg(artifacts.secret_key()?))?;
    run(Command::new(artifacts.program("images")?)
        .arg("verify")
        .arg(&made)
        .arg("--key")
        .arg(artifacts.public_key()?))?;
    Ok(made)
}

fn cloud_init_made_it_what_it_is(journey: &mut Journey, pc: &mut Pc, node: &NodeSummary) {
    let detail = journey.lab.server().node(&node.name).unwrap();
    let report = detail.compute.as_ref().unwrap();
    assert!(report.ready() && report.role == "plain", "{:#?}", report.checks);
    assert!(detail.capsule, "its identity is kept");
    let kinds = kinds(journey, node);
    for kind in ["checked", "wiped", "written", "installer-began", "joined", "came-home"] {
        assert!(kinds.iter().any(|seen| seen == kind), "no {kind}: {kinds:?}");
    }
    let said = |script: &str| match journey.ssh_until_it_works(node, script) {
        Ok(said) => said.trim().to_owned(),
        Err(error) => panic!("{script}: {error:#}"),
    };
    let status = said("cloud-init status --long --wait || true");
    for word in ["status: done", "DataSourceNoCloud [seed=/dev/", "errors: []"] {
        assert!(status.contains(word), "no {word:?}: {status}");
    }
    assert_eq!(said("hostname"), node.name);
    let root: u64 = said("findmnt -bno SIZE /").parse().unwrap();
    assert!(root > GROWN, "the root file system has {root} bytes");
    assert_eq!(said("lsblk -no LABEL,FSTYPE | grep -c 'CIDATA *vfat'"), "1");
    assert_eq!(said("dpkg-query -Wf '${db:Status-Status}' smartmontools"), "installed");
    assert!(said("cat ~ops/.ssh/authorized_keys").contains("laboratory"));
    // A password is what is neither locked nor no hash of anything.
    assert_eq!(said("awk -F: '$2 !~ /^[!*]/' /etc/shadow"), "");
    pc.serial().skip_to_end();
}

/// The reset button: it is back by itself, with nothing done a second time.
fn it_starts_again_and_cloud_init_does_nothing(journey: &mut Journey, pc: &mut Pc, node: &NodeSummary) {
    const ITSELF: &str = "cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub; stat -c %Y /var/lib/gleaner/installed";
    let before = (
        journey.ssh_until_it_works(node, ITSELF).unwrap(),
        installed(journey, node),
    );
    let homecomings = |journey: &mut Journey| kinds(journey, node).iter().filter(|kind| *kind == "came-home").count();
    let home = homecomings(journey);
    pc.reset().unwrap();
    pc.serial().wait_for("starts from its own disk", ENROL).unwrap();
    let back = until("the node to come home", READY, || {
        Ok((homecomings(journey) > home).then_some(()))
    });
    if let Err(error) = back {
        panic!("{error:#}\n{}", journey.evidence(pc));
    }
    journey.wait_for(pc, "ready", ENROL).unwrap();
    let after = (
        journey.ssh_until_it_works(node, ITSELF).unwrap(),
        installed(journey, node),
    );
    assert_eq!(before, after);
}

/// What was told of installing this node.
fn installed(journey: &mut Journey, node: &NodeSummary) -> Vec<String> {
    let mut kinds = kinds(journey, node);
    kinds.retain(|kind| ["written", "installer-began", "installing", "joined"].contains(&kind.as_str()));
    kinds
}

fn kinds(journey: &mut Journey, node: &NodeSummary) -> Vec<String> {
    journey.lab.server().kinds(&node.name).unwrap()
}

fn packages(journey: &mut Journey) -> Result<PackagesReport> {
    let report = journey.lab.server().get("/api/v1/packages")?;
    serde_json::from_value(report).context("understanding the report of packages")
}

/// Runs a program to its end; what it prints.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?} failed: {}", said.trim());
    String::from_utf8(output.stdout).context("reading what it prints")
}
