// SPDX-License-Identifier: Apache-2.0
//! The site's own roles: a folder with a folder for each, read when the configuration is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kickstart::roles::{Folder, Roles};

/// Bytes of a role's file at most: answer files carry them.
const LARGEST: u64 = 256 * 1024;
/// Folders inside of each other in a role's folder at most: a loop of links ends here.
const DEEPEST: usize = 8;

/// The roles that are built in, and those in `folder`, where there is one: beside them, or in the place of one.
pub fn load(folder: &Path) -> Result<Roles> {
    let mut folders = BTreeMap::new();
    let there = folder
        .try_exists()
        .with_context(|| format!("looking for the folder {}", folder.display()))?;
    let own = if there { entries(folder)? } else { BTreeMap::new() };
    for (name, path) in own {
        // A page that explains them may lie beside them.
        if path.is_dir() {
            let mut role = Folder::new();
            read(&path, "", 0, &mut role)?;
            folders.insert(name, role);
        }
    }
    Roles::with(&folders).map_err(|broken| {
        let lines = broken.iter().map(|broken| format!("{}/{broken}", folder.display()));
        anyhow::anyhow!("{}", lines.collect::<Vec<_>>().join("\n"))
    })
}

fn read(folder: &Path, below: &str, depth: usize, role: &mut Folder) -> Result<()> {
    ensure!(depth < DEEPEST, "{}: folders go too deep", folder.display());
    for (name, path) in entries(folder)? {
        if path.is_dir() {
            read(&path, &format!("{below}{name}/"), depth + 1, role)?;
            continue;
        }
        let about = fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?;
        // A pipe would be waited for, and a device has no end.
        ensure!(about.is_file(), "{} is no file", path.display());
        let size = about.len();
        if size > LARGEST {
            bail!(
                "{} has {size} bytes; {LARGEST} are the most that a role's file may have",
                path.display()
            );
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {} as text", path.display()))?;
        role.insert(format!("{below}{name}"), text);
    }
    Ok(())
}

/// What lies in a folder, by name, but for what is hidden and for editors' copies.
fn entries(folder: &Path) -> Result<BTreeMap<String, std::path::PathBuf>> {
    let about = || format!("reading the folder {}", folder.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(about)? {
        let entry = entry.with_context(about)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !name.ends_with('~') {
            found.insert(name, entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
                .contains("the most that a role's file may have")
        );
        let binary = site(&[("web/role.toml", ROLE)]);
        fs::create_dir(binary.path().join("web/etc")).unwrap();
        fs::write(binary.path().join("web/etc/a.ini"), [0xFF, 0xFE]).unwrap();
        assert!(load(binary.path()).is_err());
        for device in ["/dev/zero", "/dev/tty"] {
            let endless = site(&[("web/role.toml", ROLE)]);
            std::os::unix::fs::symlink(device, endless.path().join("web/a.ini")).unwrap();
            let why = load(endless.path()).unwrap_err().to_string();
            assert!(why.ends_with("web/a.ini is no file"), "{why}");
        }
    }
}
