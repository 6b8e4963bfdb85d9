// SPDX-License-Identifier: Apache-2.0
//! Boot media of the distributions' own installers: taken in as they are published, refused when anything is wrong with
//! them, and served to machines.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provisioner_api::{MediumSummary, Verified};
use sha2::{Digest as _, Sha256};
use tests::peer::{self, Program};
use tests::rom;
use tests::server::{ALONE, Street, Yard};

/// Debian's own package of its installer.
const PACKAGE: &str = "debian-installer-12-netboot-amd64";
/// What follows the first sector of a Linux kernel for PCs (the kernel's boot protocol: `HdrS` at 0x202).
const KERNEL: (usize, &[u8]) = (0x202, b"HdrS");
/// RFC 1952, 2.3.1.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The marks of a maker: files and what they say.
struct Maker {
    os: &'static str,
    label: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// What must be served of it.
    served: &'static [&'static str],
}

const MAKERS: [Maker; 6] = [
    Maker {
        os: "ubuntu-24.04",
        label: "Ubuntu-Server 24.04.3 LTS amd64",
        files: &[
            (
                ".disk/info",
                "Ubuntu-Server 24.04.3 LTS \"Noble Numbat\" - Release amd64 (20250805.1)",
            ),
            ("casper/vmlinuz", "kernel of ubuntu"),
            ("casper/initrd", "initramfs of ubuntu"),
        ],
        served: &["casper/vmlinuz", "casper/initrd", "installer.iso"],
    },
    Maker {
        os: "rocky-9",
        label: "Rocky-9-4-x86_64-dvd",
        files: &[
            (
                ".treeinfo",
                "[general]\narch = x86_64\nfamily = Rocky Linux\nversion = 9.4\n[release]\nname = Rocky Linux\nversion = 9.4\n",
            ),
            ("images/pxeboot/vmlinuz", "kernel of rocky"),
            ("images/pxeboot/initrd.img", "initramfs of rocky"),
            ("images/install.img", "second stage of rocky"),
        ],
        served: &["images/pxeboot/vmlinuz", "images/install.img", ".treeinfo"],
    },
    Maker {
        os: "fedora-43",
        label: "Fedora-E-dvd-x86_64-43",
        files: &[
            (".discinfo", "1760000000.0\n43\nx86_64\n"),
            ("images/pxeboot/vmlinuz", "kernel of fedora"),
            ("images/pxeboot/initrd.img", "initramfs of fedora"),
            ("images/install.img", "second stage of fedora"),
        ],
        served: &["images/pxeboot/initrd.img", "images/install.img"],
    },
    Maker {
        os: "opensuse-leap-15",
        label: "openSUSE-Leap-15.6-DVD-x86_64",
        files: &[
            ("media.1/products", "/ openSUSE-Leap 15.6-1"),
            ("boot/x86_64/loader/linux", "kernel of leap"),
            ("boot/x86_64/loader/initrd", "initramfs of leap"),
        ],
        served: &["boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"],
    },
    Maker {
        os: "opensuse-leap-16",
        label: "Install-Leap-16.0-x86_64",
        files: &[
            ("boot/x86_64/loader/linux", "kernel of agama"),
            ("boot/x86_64/loader/initrd", "initramfs of agama"),
            ("LiveOS/squashfs.img", "agama"),
        ],
        served: &["boot/x86_64/loader/linux", "LiveOS/squashfs.img"],
    },
    Maker {
        os: "debian-13",
        label: "Debian 13 amd64 netboot",
        files: &[
            (
                ".disk/info",
                "Debian GNU/Linux 13.1 \"Trixie\" - Official amd64 NETBOOT 20250803+deb13u1",
            ),
            ("linux", "kernel of debian"),
            ("initrd.gz", "initramfs of debian"),
        ],
        served: &["linux", "initrd.gz"],
    },
];

fn yard() -> Yard {
    let mut yard = Yard::dark(24, ALONE).unwrap();
    yard.lab.start_server().unwrap();
    yard
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// A disc with this label of what is in a folder.
fn disc(xorriso: &Program, folder: &Path, label: &str) -> PathBuf {
    let file = folder.with_extension("iso");
    let made = xorriso
        .command()
        .args(["-as", "mkisofs", "-quiet", "-R", "-J", "-V", label, "-o"])
        .args([&file, folder])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    file
}

/// `provisioner os import`, as an operator types it.
fn import(street: &Street<'_>, medium: &Path, more: &[&str]) -> Result<String> {
    let medium = medium.to_str().context("a strange path")?;
    street.server.cli(&[&["os", "import", medium], more].concat())
}

/// The same, refused for this reason, with nothing left behind.
fn refused(street: &Street<'_>, medium: &Path, more: &[&str], why: &str) -> Result<()> {
    let before = (held(street)?, listing(&street.server.state()));
    let said = match import(street, medium, more) {
        Ok(said) => anyhow::bail!("{} was taken: {said}", medium.display()),
        Err(error) => format!("{error:#}"),
    };
    ensure!(said.contains(why), "{}: {said}", medium.display());
    ensure!(before == (held(street)?, listing(&street.server.state())), "{said}");
    Ok(())
}

fn held(street: &Street<'_>) -> Result<Vec<MediumSummary>> {
    serde_json::from_value(street.server.get("/api/v1/media")?).context("understanding the list of media")
}

/// Every file and folder of the server's media, and what is handed over to it.
fn listing(state: &Path) -> Vec<String> {
    let find = Command::new("find")
        .arg(state)
        .args(["-not", "-name", "gleaner.db*", "-printf", "%P %y %s\n"])
        .output();
    let said = String::from_utf8_lossy(&find.unwrap().stdout).into_owned();
    let mut lines: Vec<String> = said
        .lines()
        .filter(|line| line.starts_with("media") || line.contains("handover"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

/// What a machine gets of a medium.
fn fetch(street: &Street<'_>, id: &str, file: &str) -> Result<Vec<u8>> {
    let reply = rom::get(street.address()?, &street.url(&format!("/media/{id}/{file}")))?;
    ensure!(reply.status == 200, "{file} was answered with {}", reply.status);
    Ok(reply.body)
}

fn sha256(file: &Path) -> String {
    hex::encode(Sha256::digest(fs::read(file).unwrap()))
}

#[test]
fn debians_own_package_is_taken_as_apt_brings_it() {
    let package = peer::package(PACKAGE).unwrap();
    let mut yard = yard();
    let place = yard.lab.folder().to_owned();
    yard.tell(|street| {
        let said = import(street, &package, &[])?;
        ensure!(said.contains("imported debian-12: 12, build"), "{said}");
        let all = held(street)?;
        let [medium] = all.as_slice() else {
            anyhow::bail!("{all:?}")
        };
        ensure!(medium.verified == Verified::PackageIndex, "{medium:?}");
        let kernel = fetch(street, &medium.id, "linux")?;
        ensure!(&kernel[KERNEL.0..KERNEL.0 + 4] == KERNEL.1, "this is no kernel");
        ensure!(fetch(street, &medium.id, "initrd.gz")?.starts_with(GZIP));
        // Once more: the same content is the same medium.
        import(street, &package, &[])?;
        ensure!(held(street)?.len() == 1);
        // One bit of it, and apt's index does not have it.
        let damaged = place.join("damaged.deb");
        let mut bytes = fs::read(&package)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&damaged, bytes)?;
        refused(street, &damaged, &[], "nobody vouches for it")
    })
    .unwrap();
}

#[test]
fn every_makers_disc_is_known_by_what_it_says_of_itself_and_served() {
    let xorriso = peer::xorriso().unwrap();
    let mut yard = yard();
    let place = yard.lab.folder().to_owned();
    yard.tell(|street| {
        for maker in &MAKERS {
            let folder = place.join(maker.os);
            write(&folder, maker.files);
            let disc = disc(&xorriso, &folder, maker.label);
            let sum = sha256(&disc);
            import(street, &disc, &["--sha256", &sum]).context(maker.os)?;
            let media = held(street)?;
            let medium = media.iter().find(|medium| medium.os == maker.os);
            let medium = medium.with_context(|| format!("{} was taken for another one: {media:?}", maker.os))?;
            ensure!(medium.verified == Verified::Checksum, "{medium:?}");
            for file in maker.served {
                let expected = if *file == "installer.iso" {
                    fs::read(&disc)?
                } else {
                    fs::read(folder.join(file))?
                };
                ensure!(fetch(street, &medium.id, file)? == expected, "{}: {file}", maker.os);
            }
            refused(
                street,
                &disc,
                &["--os", "debian-12", "--sha256", &sum],
                "not of debian-12",
            )?;
        }
        // Nobody has a profile for them.
        street.server.cli(&["os", "prune", "--yes"])?;
        ensure!(held(street)?.is_empty());
        Ok(())
    })
    .unwrap();
}

#[test]
fn debians_tarball_and_a_folder_are_taken_where_somebody_answers_for_them() {
    let mut yard = yard();
    let place = yard.lab.folder().to_owned();
    yard.tell(|street| {
        let folder = place.join("netboot");
        write(
            &folder,
            &[
                (
                    "version.info",
                    "Debian version:  12 (bookworm)\nInstaller build: 20230607+deb12u15\n",
                ),
                ("debian-installer/amd64/linux", "the kernel"),
                ("debian-installer/amd64/initrd.gz", "the initramfs"),
            ],
        );
        // As in Debian's: links beside the files.
        symlink("debian-installer/amd64/linux", folder.join("linux"))?;
        let tarball = place.join("netboot.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&folder).arg("-czf").arg(&tarball).arg(".");
        ensure!(tar.status()?.success());
        refused(street, &tarball, &[], "nobody vouches for it")?;
        refused(street, &folder, &[], "nobody can vouch for a folder")?;
        import(street, &tarball, &["--sha256", &sha256(&tarball)])?;
        let id = held(street)?[0].id.clone();
        ensure!(fetch(street, &id, "linux")? == b"the kernel");
        import(street, &folder, &["--unverified"])?;
        let all = held(street)?;
        ensure!(all.len() == 1 && all[0].verified == Verified::Nothing, "{all:?}");
        let list = street.server.cli(&["os", "list"])?;
        ensure!(list.contains("NOT VERIFIED") && list.contains("debian-12"), "{list}");
        // One whose maker says nothing.
        fs::remove_file(folder.join("version.info"))?;
        fs::write(folder.join("debian-installer/amd64/linux"), "another kernel")?;
        refused(street, &folder, &["--unverified"], "--os, one of debian-12, debian-13")?;
        import(street, &folder, &["--unverified", "--os", "debian-13"])?;
        ensure!(held(street)?.iter().any(|medium| medium.os == "debian-13"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_disc_that_was_made_to_do_harm_is_refused() {
    let xorriso = peer::xorriso().unwrap();
    let mut yard = yard();
    let place = yard.lab.folder().to_owned();
    yard.tell(|street| {
        let ubuntu = &MAKERS[0];
        let folder = place.join("links");
        write(&folder, ubuntu.files);
        fs::remove_file(folder.join("casper/initrd"))?;
        symlink("../../../../etc/shadow", folder.join("casper/initrd"))?;
        refused(
            street,
            &disc(&xorriso, &folder, "x"),
            &["--unverified"],
            "its casper/initrd is a link",
        )?;
        let folder = place.join("folder");
        write(&folder, &[("linux", "kernel")]);
        symlink("/etc/shadow", folder.join("initrd.gz"))?;
        refused(
            street,
            &folder,
            &["--unverified", "--os", "debian-12"],
            "a link out of it",
        )?;
        let climbing = place.join("climbing.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(&folder)
            .args(["-P", "--transform", "s,linux,../../linux,", "-cf"]);
        ensure!(tar.arg(&climbing).arg("linux").status()?.success());
        refused(street, &climbing, &["--unverified"], "outside of itself")?;
        let other = place.join("other");
        write(&other, &[("readme", "nothing to see")]);
        refused(
            street,
            &disc(&xorriso, &other, "x"),
            &["--unverified"],
            "no kernel and initramfs",
        )?;
        refused(street, Path::new("/etc/passwd"), &["--unverified"], "no ISO")
    })
    .unwrap();
}

#[test]
fn a_ready_made_disk_is_no_medium_and_it_is_said_what_to_make_of_it() {
    let mut yard = yard();
    let place = yard.lab.folder().to_owned();
    yard.tell(|street| {
        let mut raw = vec![0; 1 << 20];
        raw[512..520].copy_from_slice(b"EFI PART");
        for (name, bytes) in [("debian.raw", raw.as_slice()), ("debian.qcow2", b"QFI\xfb\0\0\0\x03")] {
            let disk = place.join(name);
            fs::write(&disk, bytes)?;
            let command = format!("images build cloud {} --name NAME", disk.display());
            refused(street, &disk, &["--unverified"], &command)?;
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_disc_of_which_the_end_is_missing_is_refused_although_all_that_boots_is_there() {
    let xorriso = peer::xorriso().unwrap();
    let mut yard = yard();
    let place = yard.lab.folder().to_owned();
    yard.tell(|street| {
        let ubuntu = &MAKERS[0];
        let folder = place.join("whole");
        write(&folder, ubuntu.files);
        fs::write(folder.join("casper/z.squashfs"), vec![7; 4 << 20])?;
        let disc = disc(&xorriso, &folder, ubuntu.label);
        let size = fs::metadata(&disc)?.len();
        let file = fs::OpenOptions::new().write(true).open(&disc)?;
        for left in [size / 2, size - 1] {
            file.set_len(left)?;
            refused(street, &disc, &["--unverified"], "it is cut short")?;
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn two_imports_at_once_are_one_after_the_other_or_one_is_told_to_wait() {
    let mut yard = yard();
    let folder = yard.lab.folder().join("folder");
    write(
        &folder,
        &[
            ("linux", "kernel"),
            ("version.info", "Debian version:  12 (bookworm)\n"),
        ],
    );
    fs::write(folder.join("initrd.gz"), vec![7; 60 << 20]).unwrap();
    yard.tell(|street| {
        let said: Vec<_> = std::thread::scope(|scope| {
            let both = [0, 1].map(|_| scope.spawn(|| import(street, &folder, &["--unverified"])));
            both.map(|import| import.join().expect("an import's thread")).into()
        });
        ensure!(said.iter().any(Result::is_ok), "{said:?}");
        for error in said.iter().filter_map(|said| said.as_ref().err()) {
            ensure!(format!("{error:#}").contains("another import is running"), "{error:#}");
        }
        let held = held(street)?;
        ensure!(held.len() == 1 && held[0].problem.is_none(), "{held:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_server_that_is_killed_in_an_import_has_all_of_the_medium_or_nothing() {
    let mut yard = yard();
    let folder = yard.lab.folder().join("large");
    write(
        &folder,
        &[
            ("linux", "kernel"),
            ("version.info", "Debian version:  12 (bookworm)\n"),
        ],
    );
    fs::write(folder.join("initrd.gz"), vec![7; 120 << 20]).unwrap();
    yard.tell(|street| {
        for moment in [0, 5, 20, 60, 150] {
            let pid = Pid::from_raw(i32::try_from(street.server.pid().context("it does not run")?)?);
            let state = street.server.state();
            std::thread::scope(|scope| {
                let server = &*street;
                let import = scope.spawn(|| import(server, &folder, &["--unverified"]));
                while !import.is_finished() && !state.join("media/.unfinished-import").exists() {}
                std::thread::sleep(Duration::from_millis(moment));
                kill(pid, Signal::SIGKILL).context("killing the provisioner")?;
                // An error: the server is gone. No error: it had answered already.
                let _ = import.join().expect("the import's thread");
                Ok::<_, anyhow::Error>(())
            })?;
            street.server.kill();
            street.start_server()?;
            let all = held(street)?;
            ensure!(all.iter().all(|medium| medium.problem.is_none()), "{all:?}");
            let files = listing(&state);
            let expected = if all.is_empty() { 1 } else { 5 };
            ensure!(files.len() == expected, "{files:?}");
            street.server.cli(&["os", "prune", "--yes"])?;
        }
        import(street, &folder, &["--unverified"])?;
        ensure!(held(street)?.len() == 1);
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_does_not_fit_on_the_disk_is_refused_before_it_is_unpacked() {
    let mut yard = Yard::dark(24, ALONE).unwrap();
    let (state, folder) = (yard.server().state(), yard.lab.folder().join("large"));
    write(&folder, &[("linux", "kernel"), ("initrd.gz", "initramfs")]);
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs"])
        .arg(&state);
    yard.lab.space().run_program(&mut mount).unwrap();
    yard.lab.start_server().unwrap();
    let mut import = Command::new(yard.server().program());
    import.arg("--config").arg(yard.server().config_file());
    import
        .args(["os", "import", "--unverified", "--os", "debian-12"])
        .arg(&folder);
    let why = yard.lab.space().run_program(&mut import).unwrap_err();
    let why = format!("{why:#}");
    assert!(why.contains("may be used: make room (provisioner os prune)"), "{why}");
}
