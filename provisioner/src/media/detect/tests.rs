// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// A medium with one marker and the boot files of a family.
fn marked(family: Family, marker: &str, text: &str) -> Known {
    Known {
        markers: [(marker.to_owned(), text.to_owned())].into(),
        starts: vec![family],
        ..Known::default()
    }
}

fn name(known: &Known) -> &'static str {
    detect(known).unwrap().os.unwrap().name
}

const TREE: &str = "[general]\n; WARNING.0 = This section is for old readers\narch = x86_64\nfamily = Rocky Linux\n\
    name = Rocky Linux 9.4\nversion = 9.4\n\n[header]\ntype = productmd.treeinfo\nversion = 1.2\n\n\
    [release]\nname = Rocky Linux\nshort = Rocky\nversion = 9.4\n\n[tree]\narch = x86_64\n";

#[test]
fn every_makers_medium_is_known_by_what_it_says_of_itself() {
    let ubuntu = "Ubuntu-Server 24.04.3 LTS \"Noble Numbat\" - Release amd64 (20250805.1)\n";
    let leap = "/ openSUSE-Leap 15.6-1\n";
    let build = "Debian version:  12 (bookworm)\nInstaller build: 20230607+deb12u15\n";
    let mini = "Debian GNU/Linux 13.1.0 \"Trixie\" - Official amd64 NETBOOT 20250906\n";
    let cases = [
        (marked(Family::Ubuntu, DISK_INFO, ubuntu), "ubuntu-24.04"),
        (marked(Family::Debian, DEBIAN_BUILD, build), "debian-12"),
        (marked(Family::Debian, DISK_INFO, mini), "debian-13"),
        (marked(Family::RedHat, TREE_INFO, TREE), "rocky-9"),
        (marked(Family::AutoYast, PRODUCTS, leap), "opensuse-leap-15"),
        (marked(Family::AutoYast, PRODUCTS, "/ SLES15-SP6 15.6-0\n"), "sles-15"),
    ];
    for (known, expected) in cases {
        assert_eq!(name(&known), expected);
    }
    for (family, version, expected) in [
        ("Fedora", "43", "fedora-43"),
        ("CentOS Stream", "10", "centos-stream-10"),
        ("AlmaLinux", "9", "alma-9"),
    ] {
        let old = format!("[general]\nfamily = {family}\nversion = {version}\narch = x86_64\n");
        assert_eq!(name(&marked(Family::RedHat, TREE_INFO, &old)), expected);
    }
    let package = Known {
        control: Some("Package: debian-installer-13-netboot-amd64\nVersion: 20250803+deb13u2\n".into()),
        ..Known::default()
    };
    let told = detect(&package).unwrap();
    assert_eq!(
        (told.os.unwrap().name, told.release.as_str()),
        ("debian-13", "13, build 20250803+deb13u2")
    );
}

#[test]
fn a_disc_without_a_description_is_known_by_its_label() {
    let disc = |family, label: &str| Known {
        label: Some(label.into()),
        starts: vec![family],
        ..Known::default()
    };
    for (label, expected) in [
        ("Rocky-9-4-x86_64-dvd", "rocky-9"),
        ("Fedora-E-dvd-x86_64-43", "fedora-43"),
        ("CentOS-Stream-10-BaseOS-x86_64", "centos-stream-10"),
        ("AlmaLinux-10-0-x86_64-dvd", "alma-10"),
    ] {
        assert_eq!(name(&disc(Family::RedHat, label)), expected);
    }
    for (label, expected) in [
        ("Install-Leap-16.0-x86_64", "opensuse-leap-16"),
        ("SLES-16.0-Online-x86_64", "sles-16"),
        ("Install-Tumbleweed-x86_64", "opensuse-tumbleweed"),
    ] {
        assert_eq!(name(&disc(Family::Agama, label)), expected);
    }
    assert_eq!(detect(&disc(Family::Agama, "agama")).unwrap().os, None);
    assert_eq!(detect(&disc(Family::RedHat, "")).unwrap().os, None);
}

#[test]
fn what_cannot_be_installed_is_refused_with_what_can() {
    let refused = |known: &Known, word: &str| {
        let why = detect(known).unwrap_err();
        assert!(why.contains(word), "{why}");
    };
    let netinst = "Debian GNU/Linux 12.5.0 \"Bookworm\" - Official amd64 NETINST with firmware 20240210-11:27";
    let without_netboot = Known {
        starts: Vec::new(),
        ..marked(Family::Debian, DISK_INFO, netinst)
    };
    refused(&without_netboot, "debian-installer-12-netboot-amd64");
    refused(
        &marked(
            Family::Ubuntu,
            DISK_INFO,
            "Ubuntu-Server 22.04 LTS \"Jammy\" - Release amd64 (1)",
        ),
        "ubuntu-24.04",
    );
    refused(
        &marked(Family::Ubuntu, DISK_INFO, "Ubuntu-Server 24.04 LTS - Release arm64 (1)"),
        "64-bit PCs",
    );
    refused(
        &marked(Family::RedHat, TREE_INFO, &TREE.replace("x86_64", "aarch64")),
        "64-bit PCs",
    );
    let rhel = TREE.replace("Rocky Linux", "Red Hat Enterprise Linux");
    refused(&marked(Family::RedHat, TREE_INFO, &rhel), "rocky-9");
    refused(
        &marked(Family::AutoYast, PRODUCTS, "/ openSUSE 20240101-0"),
        "opensuse-leap-15",
    );
    let other = Known {
        control: Some("Package: hello\nVersion: 2.10\n".into()),
        ..Known::default()
    };
    refused(&other, "hello is no installer");
    refused(&Known::default(), "no kernel");
}

#[test]
fn what_the_operator_says_settles_what_the_medium_leaves_open_and_nothing_else() {
    let leap = || Told {
        family: Family::Agama,
        os: families::named("opensuse-leap-16"),
        release: "16.0".into(),
    };
    let open = || Told {
        os: None,
        release: String::new(),
        ..leap()
    };
    assert_eq!(settle(leap(), None).unwrap().0.name, "opensuse-leap-16");
    assert_eq!(settle(leap(), Some("opensuse-leap-16")).unwrap().1, "16.0");
    assert_eq!(
        settle(open(), Some("sles-16")).unwrap(),
        (families::named("sles-16").unwrap(), "not told".into())
    );
    for (told, asked, why) in [
        (
            leap(),
            Some("sles-16"),
            "it is a medium of opensuse-leap-16 (16.0), not of sles-16",
        ),
        (open(), Some("debian-12"), "not of debian-12"),
        (
            open(),
            None,
            "--os, one of opensuse-leap-16, opensuse-tumbleweed, sles-16",
        ),
        (leap(), Some("plan-9"), "no system that can be installed"),
    ] {
        let refused = settle(told, asked).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,80}(\n\\PC{0,40}){0,4}", label in "\\PC{0,32}", which in 0usize..6) {
        let families = [Family::Debian, Family::Ubuntu, Family::RedHat, Family::AutoYast, Family::Agama];
        let mut known = Known { label: Some(label), ..Known::default() };
        match MARKERS.get(which) {
            Some(marker) => { known.markers.insert((*marker).to_owned(), text); }
            None => known.control = Some(text),
        }
        for family in families {
            known.starts = vec![family];
            let _ = detect(&known);
        }
    }
}
