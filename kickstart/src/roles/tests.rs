// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn folder(files: &[(&str, &str)]) -> Folder {
    let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    files.iter().map(own).collect()
}

fn with(name: &str, files: &[(&str, &str)]) -> Result<Roles, Vec<Broken>> {
    Roles::with(&BTreeMap::from([(name.to_owned(), folder(files))]))
}

fn refused(files: &[(&str, &str)]) -> String {
    let broken = with("web", files).unwrap_err();
    broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const WEB: &str = r#"
description = "serves pages"
values = { port = 8080 }
capsule = ["/var/lib/web/id"]

[apt]
packages = ["nginx-light", "smartmontools"]
units = ["nginx.service"]

[[files]]
path = "/etc/nginx/conf.d/web.conf"
from = "web.ini"
only = ["apt"]

[[files]]
path = "/usr/libexec/web-check"
from = "check.sh"
executable = true

[[checks]]
name = "web"
command = "/usr/libexec/web-check"
within = 10
"#;

const INI: &str = "listen {{ values.port }};\n";
const SH: &str = "#!/bin/sh\ncurl -fsS http://localhost:{{ values.port }}/ # {{ role }} by {{ packages }}\n";

#[test]
fn the_roles_that_are_built_in_can_be_had_wherever_packages_are_installed() {
    let roles = Roles::built_in().unwrap();
    let names: Vec<&str> = roles.all().map(|role| role.name.as_str()).collect();
    assert_eq!(names, [DEFAULT, PLAIN]);
    for packages in Packages::ALL {
        let (plain, libvirt) = (roles.named(PLAIN).unwrap(), roles.named(DEFAULT).unwrap());
        let (plain, libvirt) = (plain.on(packages).unwrap(), libvirt.on(packages).unwrap());
        assert!(
            plain.packages.iter().all(|package| libvirt.packages.contains(package)),
            "{packages:?}"
        );
        assert!(
            plain.units.iter().all(|unit| libvirt.units.contains(unit)),
            "{packages:?}"
        );
        assert!(!libvirt.units.is_empty());
    }
    assert_eq!(roles.named(DEFAULT).unwrap().guests, Some(Guests::Libvirt));
    assert_eq!(roles.named(PLAIN).unwrap().guests, None);
}

#[test]
fn a_role_of_a_site_says_what_it_adds_to_every_node() {
    let roles = with("web", &[(FILE, WEB), ("web.ini", INI), ("check.sh", SH)]).unwrap();
    let web = roles.named("web").unwrap();
    let on = web.on(Packages::Apt).unwrap();
    let words: Vec<&str> = on.packages.iter().map(crate::words::PackageName::as_str).collect();
    assert_eq!(words, ["openssh-server", "smartmontools", "nginx-light"]);
    let files: Vec<(&str, &str)> = on
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.contents.as_str()))
        .collect();
    assert_eq!(
        files,
        [
            ("/etc/nginx/conf.d/web.conf", "listen 8080;\n"),
            ("/etc/node-init/capsule.d/web.conf", "/var/lib/web/id\n"),
            (
                "/usr/libexec/web-check",
                "#!/bin/sh\ncurl -fsS http://localhost:8080/ # web by apt\n"
            ),
        ]
    );
    assert!(on.files[2].executable);
    assert_eq!(web.checks[0].within, 10);
    let elsewhere = web.on(Packages::Dnf).unwrap_err().to_string();
    assert_eq!(
        elsewhere,
        "the role web says nothing for dnf; give its role.toml a section [dnf]"
    );
    let unknown = roles.named("wbe").unwrap_err().to_string();
    assert_eq!(unknown, "there is no role wbe; there are libvirt, plain, web");
}

#[test]
fn what_a_site_wants_of_every_node_it_says_in_a_role_plain_of_its_own() {
    let plain =
        "description = \"ours\"\n[apt]\npackages = [\"openssh-server\", \"auditd\"]\nunits = [\"ssh.service\"]\n";
    let roles = with(PLAIN, &[(FILE, plain)]).unwrap();
    let libvirt = roles.named(DEFAULT).unwrap();
    let packages = &libvirt.on(Packages::Apt).unwrap().packages;
    assert!(packages.iter().any(|package| package.as_str() == "auditd"));
    assert!(
        libvirt.on(Packages::Zypper).is_err(),
        "what the plain role cannot be, no role can"
    );
}

#[test]
fn a_role_that_cannot_be_meant_is_refused_with_its_place() {
    let file = "[[files]]\npath = \"/etc/a\"\nfrom = \"a.ini\"\n";
    let head = "description = \"x\"\n[apt]\n";
    for (role, more, expected) in [
        (
            "description = \"x\"\n[apt]\npackges = []\n",
            None,
            "web/role.toml:3: unknown field `packges`",
        ),
        (
            "description = \"x\"\n[apt]\npackages = [\"rm -rf\"]\n",
            None,
            "web/role.toml:3: \"rm -rf\" is not a package name",
        ),
        ("[apt]\n", None, "web/role.toml:1: missing field `description`"),
        (
            "description = \"x\"\n",
            None,
            "web/role.toml:0: it can be installed nowhere",
        ),
        (
            &format!("{head}{file}"),
            None,
            "web/a.ini:0: there is no such file, and /etc/a is made from it",
        ),
        (
            &format!("{head}{file}"),
            Some("x\n{{ valeus.a }}\n"),
            "web/a.ini:2: undefined value",
        ),
        (
            &format!("{head}{file}"),
            Some("{% if %}\n"),
            "web/a.ini:1: syntax error",
        ),
        (
            &format!("{head}{file}"),
            Some("{% for x in range(9999) %}{% for y in range(9999) %}{% endfor %}{% endfor %}"),
            "out of fuel",
        ),
        (
            head,
            Some("x"),
            "web/a.ini:0: no [[files]] of role.toml is made from it",
        ),
        (
            &format!("{head}[[checks]]\nname = \"ssh\"\ncommand = \"true\"\n"),
            None,
            "checks, ssh: every node has a check of this name",
        ),
        (
            &format!("{head}[[checks]]\nname = \"a\"\ncommand = \"true\"\nwithin = 0\n"),
            None,
            "checks, a: within: 1 to 120 seconds",
        ),
        (
            &format!("{head}[[checks]]\nname = \"a\"\ncommand = \"a\\nb\"\n"),
            None,
            "is not a command",
        ),
    ] {
        let files: Vec<(&str, &str)> = [(FILE, role)]
            .into_iter()
            .chain(more.map(|text| ("a.ini", text)))
            .collect();
        let said = refused(&files);
        assert!(said.contains(expected), "{said}\nis not\n{expected}");
    }
    assert!(refused(&[("a.ini", "")]).contains("without it the folder is no role"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let empty = folder(&[(FILE, "")]);
    let broken = Roles::with(&BTreeMap::from([
        ("a".to_owned(), empty.clone()),
        ("b".to_owned(), empty),
    ]))
    .unwrap_err();
    assert_eq!(broken.len(), 2);
}

#[test]
fn a_value_cannot_end_the_line_that_it_stands_in() {
    let role = |value: &str| {
        format!("description = \"x\"\nvalues = {{ a = {value} }}\n[apt]\n[[files]]\npath = \"/a\"\nfrom = \"a.ini\"\n")
    };
    let made = |value: &str| with("web", &[(FILE, &role(value)), ("a.ini", "a = {{ values.a }}\n")]);
    assert!(made(r#""b""#).is_ok());
    assert!(made(r#""b\nc = 1""#).is_err());
}

proptest! {
    #[test]
    fn no_folder_makes_it_panic(role in "\\PC{0,80}", text in "\\PC{0,80}", name in "\\PC{0,12}") {
        let _ = with(&name, &[(FILE, &role), ("a.ini", &text)]);
        let role = format!("description = \"x\"\n[apt]\n[[files]]\npath = \"/a\"\nfrom = \"a.ini\"\n{role}");
        let _ = with("web", &[(FILE, &role), ("a.ini", &text)]);
    }
}
