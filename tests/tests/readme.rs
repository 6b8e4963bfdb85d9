// SPDX-License-Identifier: Apache-2.0
//! What the README and the guides say is there, is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::artifacts::Artifacts;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// README and guides with their text.
fn documents() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut files = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    files.extend(
        fs::read_dir(root.join("docs"))
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    files
        .into_iter()
        .map(|file| (file.clone(), fs::read_to_string(file).unwrap()))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    for (file, text) in documents() {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") {
                continue;
            }
            let target = file.parent().unwrap().join(link);
            assert!(target.exists(), "{} links to {link}", file.display());
        }
    }
}

#[test]
fn the_path_of_a_packet_names_twelve_steps_and_the_code_of_each() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let rows: Vec<&str> = (1..=12)
        .map(|step| {
            readme
                .lines()
                .find(|line| line.starts_with(&format!("| {step} |")))
                .unwrap()
        })
        .collect();
    for row in &rows {
        assert!(row.contains(".rs)"), "no code is linked in {row}");
    }
    // The four names that the whole design hangs on are where the ladder says.
    let defined = |name: &str, function: &str| {
        let row = rows
            .iter()
            .find(|row| row.contains(name))
            .unwrap_or_else(|| panic!("{name} is not on the ladder"));
        let links = row.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        let definition = format!("pub fn {function}(");
        let found = links
            .map(|link| fs::read_to_string(root().join(link)).unwrap())
            .any(|code| code.contains(&definition));
        assert!(found, "none of the files that step {row} links to has {definition}");
    };
    defined("boot::decide", "decide");
    defined("orders::for_node", "for_node");
    defined("lifecycle::step", "step");
}

#[test]
fn the_steps_that_the_server_answers_are_its_routes() {
    // The same steps as the server's own description of its paths.
    let routes = [
        ("provisioner/src/http/boot.rs", "/boot/ipxe"),
        ("provisioner/src/http/images.rs", "/ram/{version}/{file}"),
        ("provisioner/src/http/node.rs", "path::REGISTER"),
        ("provisioner/src/http/node.rs", "path::ORDERS"),
        ("provisioner/src/http/operator.rs", "/approve"),
    ];
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for (file, route) in routes {
        assert!(
            readme.contains(&format!("]({file})")),
            "the ladder does not link {file}"
        );
        assert!(
            fs::read_to_string(root().join(file)).unwrap().contains(route),
            "{file} does not serve {route}"
        );
    }
}

#[test]
fn every_command_that_the_guides_name_exists() {
    let program = Artifacts::find().unwrap().program("provisioner").unwrap();
    let mut checked = Vec::new();
    for (file, text) in documents() {
        for rest in text.split("provisioner ").skip(1) {
            let words: Vec<&str> = rest
                .split_whitespace()
                .take(2)
                .map(|word| word.trim_matches(['`', ',', '.', ':', ')']))
                .collect();
            let command: Vec<&str> = match words[..] {
                [
                    "node" | "image" | "os" | "template" | "token" | "enrol" | "packages",
                    verb,
                ] if verb.chars().all(|c| c.is_ascii_lowercase()) => words.clone(),
                [word @ ("serve" | "init" | "check-config" | "status" | "doctor"), ..] => vec![word],
                _ => continue,
            };
            if checked.contains(&command.join(" ")) {
                continue;
            }
            let help = Command::new(&program).args(&command).arg("--help").output().unwrap();
            assert!(
                help.status.success(),
                "{} names `provisioner {}`",
                file.display(),
                command.join(" ")
            );
            checked.push(command.join(" "));
        }
    }
    assert!(checked.len() >= 10, "{checked:?}");
}

#[test]
fn no_document_or_source_names_a_machine_or_an_address_that_is_somebodys() {
    let listed = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    for file in String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .filter(|file| !file.ends_with("Cargo.lock"))
    {
        let Ok(text) = fs::read_to_string(root().join(file)) else {
            continue;
        };
        for home in [concat!("/ro", "ot/."), concat!("/ho", "me/"), concat!("/wo", "rk/")] {
            assert!(!text.contains(home), "{file} contains {home}");
        }
    }
}
