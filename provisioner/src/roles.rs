// SPDX-License-Identifier: Apache-2.0
//! The site's own roles: a folder with a folder for each, read when the configuration is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use kickstart::families::Packages;
use kickstart::roles::{CAPSULES, FILE, Role, Roles};
use provisioner_api::words;

use crate::texts::{self, Wrong};

/// Bytes of a role's file at most: answer files carry them.
const LARGEST: u64 = 256 * 1024;

/// The roles that are built in, and those in `folder`, where there is one: beside them, or in the place of one.
pub fn load(folder: &Path) -> Result<Roles> {
    let mut folders = BTreeMap::new();
    let there = folder
        .try_exists()
        .with_context(|| format!("looking for the folder {}", folder.display()))?;
    let reading = || format!("reading the folder {}", folder.display());
    let own = if there {
        texts::entries(folder).with_context(reading)?
    } else {
        BTreeMap::new()
    };
    for (name, path) in own {
        // A page that explains them may lie beside them.
        if path.is_dir() {
            let role = texts::read(&path, LARGEST).map_err(|wrong| cannot_be_taken(&path, &wrong))?;
            folders.insert(name, role);
        }
    }
    let roles = Roles::with(&folders).map_err(|broken| {
        let lines = broken.iter().map(|broken| format!("{}/{broken}", folder.display()));
        anyhow::anyhow!("{}", lines.collect::<Vec<_>>().join("\n"))
    })?;
    for role in roles.all() {
        can_be_kept(role).with_context(|| format!("{}/{}/{FILE}: capsule", folder.display(), role.name))?;
    }
    Ok(roles)
}

/// Whether the identity capsule can keep what a role wants: node-init would leave it out, and a rebuild would lose it.
fn can_be_kept(role: &Role) -> Result<()> {
    let of_any = Packages::ALL.into_iter().filter_map(|packages| role.on(packages).ok());
    let lists = of_any
        .flat_map(|role| role.files.iter())
        .filter(|file| file.path.as_str().starts_with(CAPSULES));
    for path in lists.flat_map(|list| list.contents.as_str().lines()) {
        words::kept_file(path)?;
    }
    Ok(())
}

fn cannot_be_taken(folder: &Path, wrong: &[Wrong]) -> anyhow::Error {
    let lines = wrong
        .iter()
        .map(|wrong| format!("{}: {}", folder.join(&wrong.place).display(), wrong.why));
    anyhow::anyhow!("{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn site(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    const ROLE: &str = "description = \"x\"\n[apt]\n[[files]]\npath = \"/etc/a\"\nfrom = \"etc/a.ini\"\n";

    #[test]
    fn a_role_is_a_folder_with_folders_in_it() {
        let site = site(&[
            ("web/role.toml", ROLE),
            ("web/etc/a.ini", "a = {{ role }}\n"),
            ("web/etc/a.ini~", "{{ broken"),
            ("web/.git/config", "x"),
            ("README.md", "what these are"),
        ]);
        let roles = load(site.path()).unwrap();
        let web = roles
            .named("web")
            .unwrap()
            .on(kickstart::families::Packages::Apt)
            .unwrap();
        assert_eq!(web.files[0].contents.as_str(), "a = web\n");
        assert!(roles.named("plain").is_ok());
    }

    #[test]
    fn what_no_capsule_can_keep_is_refused_before_a_rebuild_loses_it() {
        let keeps = |path: &str| {
            load(
                site(&[(
                    "web/role.toml",
                    &format!("description = \"x\"\ncapsule = [\"{path}\"]\n[apt]\n"),
                )])
                .path(),
            )
        };
        keeps("/var/lib/web/id").unwrap();
        for path in [concat!("/ho", "me/web/id"), "/etc/hostname", "/etc/ssh/x"] {
            let why = format!("{:#}", keeps(path).unwrap_err());
            assert!(why.contains("web/role.toml: capsule") && why.contains(path), "{why}");
        }
    }

    #[test]
    fn a_broken_role_is_told_with_its_place_on_this_machine() {
        let site = site(&[("web/role.toml", ROLE), ("web/etc/a.ini", "\n{{ nobody }}\n")]);
        let why = load(site.path()).unwrap_err().to_string();
        assert!(
            why.starts_with(&format!("{}/web/etc/a.ini:2: ", site.path().display())),
            "{why}"
        );
    }

    #[test]
    fn a_site_without_roles_of_its_own_has_those_that_are_built_in() {
        let site = site(&[]);
        assert_eq!(load(&site.path().join("nowhere")).unwrap(), Roles::built_in().unwrap());
    }

    #[test]
    fn what_is_no_text_or_too_large_is_refused() {
        let large = site(&[("web/role.toml", ROLE), ("web/etc/a.ini", &"x".repeat(300_000))]);
        assert!(
            load(large.path())
                .unwrap_err()
                .to_string()
                .ends_with("web/etc/a.ini: it has more than 262144 bytes")
        );
        let binary = site(&[("web/role.toml", ROLE)]);
        fs::create_dir(binary.path().join("web/etc")).unwrap();
        fs::write(binary.path().join("web/etc/a.ini"), [0xFF, 0xFE]).unwrap();
        assert!(load(binary.path()).is_err());
        for device in ["/dev/zero", "/dev/tty"] {
            let endless = site(&[("web/role.toml", ROLE)]);
            std::os::unix::fs::symlink(device, endless.path().join("web/a.ini")).unwrap();
            let why = load(endless.path()).unwrap_err().to_string();
            assert!(why.contains("web/a.ini: it is no file"), "{why}");
        }
    }
}
