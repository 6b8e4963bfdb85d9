// SPDX-License-Identifier: Apache-2.0
//! What the nodes of an image serve as: a built-in role, or one of a site's own folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use kickstart::families::Packages;
use kickstart::roles::{Folder, Role, Roles};
use kickstart::spec;
use kickstart::words::UnitName;

use crate::overlay;
use crate::recipe::Node;
use crate::tree::Layer;

/// The role of this name; `own` is the site's folder of roles.
pub fn find(name: &str, own: Option<&Path>) -> Result<Role> {
    let folders = own.map(folders).transpose()?.unwrap_or_default();
    let roles = Roles::with(&folders).map_err(|broken| {
        let lines = broken.iter().map(ToString::to_string);
        anyhow!("{}", lines.collect::<Vec<_>>().join("\n"))
    })?;
    Ok(roles.named(name)?.clone())
}

/// What a role is made of in an image: images are Debian's.
pub fn made(role: &Role) -> Result<&spec::Role> {
    Ok(role.on(Packages::Apt)?)
}

/// Adds what a role needs of the base system. The image is then this role's: another one has another name.
pub fn add_to(recipe: &mut Node, role: &Role) -> Result<()> {
    let made = made(role)?;
    recipe.packages.extend(made.packages.iter().map(ToString::to_string));
    let units = made.units.iter().map(UnitName::as_str);
    let units: Vec<&str> = units.filter(|unit| file_of(made, unit).is_none()).collect();
    if !units.is_empty() {
        // Names of units have no letter that a shell would read.
        recipe
            .after
            .push(format!("chroot \"$1\" systemctl enable {}", units.join(" ")));
    }
    if role.name.as_str() != recipe.role {
        recipe.name = format!("{}-{}", recipe.name, role.name);
        role.name.as_str().clone_into(&mut recipe.role);
    }
    Ok(())
}

/// Lays a role's files over.
pub fn lay_over(layer: &mut Layer, role: &spec::Role) {
    for file in &role.files {
        let mode = match (file.executable, file.private) {
            (true, true) => 0o700,
            (true, false) => 0o755,
            (false, true) => 0o600,
            (false, false) => 0o644,
        };
        layer.file(file.path.as_str(), mode, file.contents.as_str());
    }
    for unit in role.units.iter().map(UnitName::as_str) {
        let Some(file) = file_of(role, unit) else { continue };
        for target in overlay::wanted_by(file.contents.as_str()) {
            layer.link(
                &format!("/etc/systemd/system/{target}.wants/{unit}"),
                file.path.as_str(),
            );
        }
    }
}

/// The role's own file of a unit. It comes when the base system is there already: systemctl would not find it.
fn file_of<'a>(role: &'a spec::Role, unit: &str) -> Option<&'a spec::File> {
    const PLACES: [&str; 3] = [
        "/etc/systemd/system",
        "/usr/lib/systemd/system",
        "/usr/local/lib/systemd/system",
    ];
    let is = |file: &&spec::File| {
        let parts = file.path.as_str().rsplit_once('/');
        parts.is_some_and(|(folder, name)| name == unit && PLACES.contains(&folder))
    };
    role.files.iter().find(is)
}

fn folders(own: &Path) -> Result<BTreeMap<String, Folder>> {
    let mut roles: BTreeMap<String, Folder> = BTreeMap::new();
    let mut open = vec![own.to_owned()];
    while let Some(folder) = open.pop() {
        let about = || format!("reading the folder {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(about)? {
            let path = entry.with_context(about)?.path();
            let below = path.strip_prefix(own).unwrap_or(&path).to_string_lossy().into_owned();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if let Some((role, file)) = below.split_once('/') {
                // A pipe would be waited for, and a device has no end.
                ensure!(path.is_file(), "{} is no file", path.display());
                let text = fs::read_to_string(&path).with_context(|| format!("reading {} as text", path.display()))?;
                roles.entry(role.to_owned()).or_default().insert(file.to_owned(), text);
            }
        }
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_image_is_built_for_a_role_and_says_so_in_its_name() {
        let mut node = Node::load(None).unwrap();
        add_to(&mut node, &find("libvirt", None).unwrap()).unwrap();
        assert_eq!((node.name.as_str(), node.role.as_str()), ("debian-13", "libvirt"));
        assert!(node.all_packages().contains(&"libvirt-daemon-system"));
        assert!(node.after.last().unwrap().contains(" libvirtd.service"));

        let mut node = Node::load(None).unwrap();
        add_to(&mut node, &find("plain", None).unwrap()).unwrap();
        assert_eq!((node.name.as_str(), node.role.as_str()), ("debian-13-plain", "plain"));
        let packages = node.all_packages();
        assert!(packages.contains(&"openssh-server") && !packages.iter().any(|name| name.contains("qemu")));
        assert!(
            find("paint", None)
                .unwrap_err()
                .to_string()
                .contains("there is no role paint")
        );
    }

    #[test]
    fn a_role_of_the_site_is_built_from_its_folder() {
        let site = tempfile::tempdir().unwrap();
        fs::create_dir_all(site.path().join("web/etc")).unwrap();
        let role = "description = \"x\"\n[apt]\n[[files]]\npath = \"/etc/web/token\"\nfrom = \"etc/token.ini\"\nprivate = true\n";
        fs::write(site.path().join("web/role.toml"), role).unwrap();
        fs::write(site.path().join("web/etc/token.ini"), "for {{ role }}\n").unwrap();
        let role = find("web", Some(site.path())).unwrap();
        assert_eq!(made(&role).unwrap().files[0].contents.as_str(), "for web\n");
        fs::write(site.path().join("web/etc/token.ini"), "{{ nobody }}").unwrap();
        let why = find("web", Some(site.path())).unwrap_err().to_string();
        assert!(why.starts_with("web/etc/token.ini:1: "), "{why}");
    }

    #[test]
    fn a_unit_that_the_role_brings_is_switched_on_though_the_base_system_does_not_know_it() {
        let site = tempfile::tempdir().unwrap();
        fs::create_dir_all(site.path().join("web")).unwrap();
        let role = "description = \"x\"\n[apt]\nunits = [\"web.service\", \"nginx.service\"]\n\
                    [[files]]\npath = \"/etc/systemd/system/web.service\"\nfrom = \"web.ini\"\n";
        fs::write(site.path().join("web/role.toml"), role).unwrap();
        let unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
        fs::write(site.path().join("web/web.ini"), unit).unwrap();
        let role = find("web", Some(site.path())).unwrap();
        let mut node = Node::load(None).unwrap();
        add_to(&mut node, &role).unwrap();
        assert_eq!(
            node.after.last().unwrap(),
            "chroot \"$1\" systemctl enable ssh.service nginx.service"
        );
        let mut layer = Layer::default();
        lay_over(&mut layer, made(&role).unwrap());
        let text = format!("{layer:?}");
        assert!(
            text.contains("etc/systemd/system/multi-user.target.wants/web.service"),
            "{text}"
        );
    }
}
