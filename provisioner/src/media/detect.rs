// SPDX-License-Identifier: Apache-2.0
//! Which system a medium installs, by what it says of itself. Knows texts, no file and no archive.

use std::collections::BTreeMap;

use kickstart::{Family, Os, families};

/// Files in which media say what they are; each is a few lines.
pub(super) const MARKERS: [&str; 5] = [DISK_INFO, DEBIAN_BUILD, TREE_INFO, DISC_INFO, PRODUCTS];

/// Debian and Ubuntu: one line on every disc.
const DISK_INFO: &str = ".disk/info";
/// Debian: in the netboot tarball and in the package.
const DEBIAN_BUILD: &str = "version.info";
/// Fedora and its kin: productmd's description of an installation tree.
const TREE_INFO: &str = ".treeinfo";
/// The same on discs without a tree: a time, a version, an architecture, a line each.
const DISC_INFO: &str = ".discinfo";
/// SUSE: the products of a medium, a line each.
const PRODUCTS: &str = "media.1/products";

/// What is known of a medium before it is unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// What [`MARKERS`] say, of those that are there.
    pub(super) markers: BTreeMap<String, String>,
    /// The control file, of a Debian package.
    pub(super) control: Option<String>,
    /// The volume label, of a disc.
    pub(super) label: Option<String>,
    /// Whether it has the kernel and initramfs of a family.
    pub(super) starts: Vec<Family>,
}

/// What a medium is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Its installer.
    pub(super) family: Family,
    /// What it installs, where it says so.
    pub(super) os: Option<&'static Os>,
    /// Its release, as its makers say; empty where it says nothing.
    pub(super) release: String,
}

/// What a medium is, or why it is none of ours.
pub(super) fn detect(known: &Known) -> Result<Told, String> {
    let marker = |name: &str| known.markers.get(name).map(String::as_str);
    if let Some(control) = &known.control {
        return package(control);
    }
    if let Some(line) = marker(DISK_INFO) {
        return disc(line, known);
    }
    if let Some(text) = marker(DEBIAN_BUILD) {
        return debian_build(text);
    }
    if known.starts.contains(&Family::Agama) {
        return Ok(agama(known.label.as_deref().unwrap_or_default()));
    }
    if let Some(text) = marker(TREE_INFO) {
        return tree(text);
    }
    if let Some(text) = marker(PRODUCTS) {
        return products(text);
    }
    if known.starts.contains(&Family::RedHat) {
        return Ok(red_hat_disc(known.label.as_deref(), marker(DISC_INFO)));
    }
    match known.starts.first() {
        Some(family) => Ok(Told {
            family: *family,
            os: None,
            release: String::new(),
        }),
        None => Err("it has no kernel and initramfs of an installer at any of the usual places".into()),
    }
}

/// What the medium is taken for, and its release, where the operator may have said what it is.
pub(super) fn settle(told: Told, asked: Option<&str>) -> Result<(&'static Os, String), String> {
    let asked = match asked {
        Some(name) => Some(families::named(name).ok_or_else(|| {
            format!(
                "{name:?} is no system that can be installed: {}",
                names(|os| os.family != Family::Cloud)
            )
        })?),
        None => None,
    };
    let release = if told.release.is_empty() {
        "not told".to_owned()
    } else {
        told.release
    };
    match (told.os, asked) {
        (Some(is), Some(asked)) if is != asked => Err(format!(
            "it is a medium of {} ({release}), not of {}",
            is.name, asked.name
        )),
        (None, Some(asked)) if asked.family != told.family => Err(format!(
            "it is a medium of {}, not of {}",
            names(|os| os.family == told.family),
            asked.name
        )),
        (Some(os), _) | (None, Some(os)) => Ok((os, release)),
        (None, None) => Err(format!(
            "it does not say which system it installs; say it: --os, one of {}",
            names(|os| os.family == told.family)
        )),
    }
}

/// The names of some systems, for people.
fn names(which: impl Fn(&Os) -> bool) -> String {
    let names: Vec<&str> = families::all().filter(|os| which(os)).map(|os| os.name).collect();
    names.join(", ")
}

/// A system by its name, or why there is none.
fn supported(family: Family, name: &str, release: &str) -> Result<Told, String> {
    match families::named(name) {
        Some(os) => Ok(Told {
            family,
            os: Some(os),
            release: release.to_owned(),
        }),
        None => Err(format!(
            "it installs {release}, and of its kind only these can be installed: {}",
            names(|os| os.family == family)
        )),
    }
}

/// `debian-installer-12-netboot-amd64`.
fn package(control: &str) -> Result<Told, String> {
    let field = |name: &str| {
        let line = control
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    };
    let package = field("Package");
    let release = package
        .strip_prefix("debian-installer-")
        .and_then(|rest| rest.strip_suffix("-netboot-amd64"))
        .ok_or_else(|| {
            format!("the package {package} is no installer; one is called debian-installer-12-netboot-amd64")
        })?;
    let build = format!("{release}, build {}", field("Version"));
    supported(Family::Debian, &format!("debian-{release}"), &build)
}

/// `Ubuntu-Server 24.04.3 LTS "Noble Numbat" - Release amd64 (20250805.1)`,
/// `Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27`.
fn disc(line: &str, known: &Known) -> Result<Told, String> {
    let line = line.lines().next().unwrap_or_default().trim();
    let version = line
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let version = version.unwrap_or_default();
    let mut numbers = version.split('.');
    let (first, second) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if !line.contains("amd64") {
        return Err(format!("it is not for 64-bit PCs (amd64): {line}"));
    }
    if line.starts_with("Ubuntu") {
        if !known.starts.contains(&Family::Ubuntu) {
            return Err(format!(
                "it is Ubuntu's, but has no live installer ({line}); import the server's ISO"
            ));
        }
        return supported(
            Family::Ubuntu,
            &format!("ubuntu-{first}.{second}"),
            &format!("Ubuntu {version}"),
        );
    }
    if line.starts_with("Debian") {
        if !known.starts.contains(&Family::Debian) {
            return Err(format!(
                "this disc's installer looks for the disc ({line}); import netboot.tar.gz, mini.iso, or the package \
                 debian-installer-{first}-netboot-amd64"
            ));
        }
        return supported(Family::Debian, &format!("debian-{first}"), &format!("Debian {version}"));
    }
    Err(format!("it is a disc of no system that can be installed: {line}"))
}

/// `Debian version:  12 (bookworm)`, and which build of the installer.
fn debian_build(text: &str) -> Result<Told, String> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    };
    let version = field("Debian version");
    let release = version.split_whitespace().next().unwrap_or_default();
    let build = format!("{version}, build {}", field("Installer build"));
    supported(Family::Debian, &format!("debian-{release}"), &build)
}

/// productmd's `.treeinfo`, in either of its ages.
fn tree(text: &str) -> Result<Told, String> {
    let value = |sections: &[&str], key: &str| {
        let mut section = "";
        let mut found = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            } else if let Some((name, value)) = line.split_once('=')
                && sections.contains(&section)
                && name.trim() == key
            {
                found = value.trim();
            }
        }
        found
    };
    let name = match value(&["release"], "name") {
        "" => value(&["general"], "family"),
        name => name,
    };
    let version = match value(&["release"], "version") {
        "" => value(&["general"], "version"),
        version => version,
    };
    let arch = value(&["general", "tree"], "arch");
    if arch != "x86_64" {
        return Err(format!("it is not for 64-bit PCs (x86_64): {name} {version} {arch}"));
    }
    red_hat(name, version)
}

/// Who makes what, by its name.
fn red_hat(name: &str, version: &str) -> Result<Told, String> {
    const MAKERS: [(&str, &str); 4] = [
        ("Fedora", "fedora"),
        ("CentOS", "centos-stream"),
        ("Rocky", "rocky"),
        ("Alma", "alma"),
    ];
    let release = format!("{name} {version}");
    let maker = MAKERS.iter().find(|(maker, _)| name.starts_with(maker));
    let major = version.split('.').next().unwrap_or_default();
    let name = maker.map_or_else(String::new, |(_, stem)| format!("{stem}-{major}"));
    supported(Family::RedHat, &name, &release)
}

/// A disc without a tree's description: `Rocky-9-4-x86_64-dvd`, `Fedora-E-dvd-x86_64-43`, `CentOS-Stream-9-BaseOS-x86_64`.
fn red_hat_disc(label: Option<&str>, disc_info: Option<&str>) -> Told {
    let label = label.unwrap_or_default();
    let words: Vec<&str> = label.split('-').collect();
    let number = |word: &&&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let version = words.iter().find(number).copied().unwrap_or_default();
    let told = red_hat(words.first().copied().unwrap_or_default(), version);
    told.unwrap_or_else(|_| Told {
        family: Family::RedHat,
        os: None,
        release: disc_info
            .and_then(|text| text.lines().nth(1))
            .unwrap_or(label)
            .trim()
            .to_owned(),
    })
}

/// `/ openSUSE-Leap 15.6-1`, `/ SLES15-SP6 15.6-0`.
fn products(text: &str) -> Result<Told, String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or_default().trim_start_matches('/').trim();
    let (name, version) = line.rsplit_once(' ').unwrap_or((line, ""));
    let major = version.split(['.', '-']).next().unwrap_or_default();
    let release = format!("{name} {}", version.split('-').next().unwrap_or_default());
    let stem = match name {
        name if name.contains("Leap") => "opensuse-leap",
        name if name.starts_with("SLE") => "sles",
        _ => "",
    };
    supported(Family::AutoYast, &format!("{stem}-{major}"), &release)
}

/// Agama's discs are built alike for all; some say in their label whose they are.
fn agama(label: &str) -> Told {
    let lower = label.to_lowercase();
    let says = |word: &str| lower.contains(word);
    let name = if says("leap") && says("16") {
        Some("opensuse-leap-16")
    } else if says("sles") && says("16") {
        Some("sles-16")
    } else if says("tumbleweed") {
        Some("opensuse-tumbleweed")
    } else {
        None
    };
    Told {
        family: Family::Agama,
        os: name.and_then(families::named),
        release: label.to_owned(),
    }
}

#[cfg(test)]
mod tests;
