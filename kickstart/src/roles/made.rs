// SPDX-License-Identifier: Apache-2.0
//! From folders to roles: read, filled in and held against each other.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::Value;
use serde::Serialize;

use super::written::{self, Kind, Written};
use super::{Check, FILE, Folder, PLAIN, Role};
use crate::escape;
use crate::families::Packages;
use crate::spec;
use crate::templates::{Broken, Templates};
use crate::value;
use crate::words::{Contents, FilePath, Name};

/// Seconds that a check has where its role does not say: a program that asks another one over the network and waits.
const WITHIN: u32 = 30;
/// Seconds that a check may have: a node looks every five minutes, and a look waits for all checks.
const LONGEST: u32 = 120;
/// Names of the checks that every node has.
const TAKEN: [&str; 9] = [
    "libvirt",
    "virtualization",
    "storage",
    "network",
    "clock",
    "capsule",
    "services",
    "ssh",
    "system",
];
/// Where node-init looks for the files that a role wants to keep through a rebuild.
pub const CAPSULES: &str = "/etc/node-init/capsule.d";

/// What a role's templates know.
#[derive(Serialize)]
struct Context<'a> {
    /// The role's name.
    role: &'a str,
    /// What installs packages: `apt`, `dnf`, `zypper`.
    packages: Packages,
    /// The role's own `[values]`.
    values: &'a toml::Table,
}

/// All roles of these folders, or all that is wrong with them.
pub(super) fn make(folders: &BTreeMap<String, Folder>) -> Result<BTreeMap<String, Role>, Vec<Broken>> {
    let mut wrong = Vec::new();
    let mut written = BTreeMap::new();
    for (name, folder) in folders {
        match read(name, folder) {
            Ok(role) => _ = written.insert(name, role),
            Err(broken) => wrong.push(broken),
        }
    }
    let mut roles = BTreeMap::new();
    for (name, role) in &written {
        let below = written
            .iter()
            .find(|(other, _)| other.as_str() == PLAIN)
            .filter(|_| name.as_str() != PLAIN);
        let parts: Vec<Part> = below
            .into_iter()
            .chain([(name, role)])
            .filter_map(|(name, role)| {
                Some(Part {
                    name,
                    role,
                    folder: folders.get(*name)?,
                })
            })
            .collect();
        match join(&parts) {
            Ok(role) => _ = roles.insert((*name).clone(), role),
            // What is wrong with the role below all is said once.
            Err(broken) => wrong.extend(
                broken
                    .into_iter()
                    .filter(|broken| !wrong.contains(broken))
                    .collect::<Vec<_>>(),
            ),
        }
    }
    if wrong.is_empty() { Ok(roles) } else { Err(wrong) }
}

/// A role as it is written, or the one below it.
struct Part<'a> {
    name: &'a str,
    role: &'a Written,
    folder: &'a Folder,
}

fn read(name: &str, folder: &Folder) -> Result<Written, Broken> {
    let whole = |why: String| in_role(name, 0, why);
    Name::new(name).map_err(|unfit| whole(unfit.to_string()))?;
    let text = folder
        .get(FILE)
        .ok_or_else(|| whole("there is no such file, and without it the folder is no role".into()))?;
    let role: Written = toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        in_role(name, line, error.message().to_owned())
    })?;
    let mut seen = BTreeSet::new();
    for check in &role.checks {
        let name = check.name.as_str();
        let why = if TAKEN.contains(&name) {
            "every node has a check of this name; call it something else"
        } else if !seen.insert(name) {
            "it is there twice; give each its own name"
        } else if !(1..=LONGEST).contains(&check.within.unwrap_or(WITHIN)) {
            "within: 1 to 120 seconds"
        } else {
            continue;
        };
        return Err(whole(format!("checks, {name}: {why}")));
    }
    let named = |path: &str| role.files.iter().any(|file| file.from == path);
    let included = |path: &str| folder.values().any(|text| text.contains(&format!("\"{path}\"")));
    if let Some(stranger) = folder
        .keys()
        .find(|path| *path != FILE && !named(path) && !included(path))
    {
        return Err(Broken {
            file: format!("{name}/{stranger}"),
            line: 0,
            why: format!("no [[files]] of {FILE} is made from it, and no other file includes it"),
        });
    }
    Ok(role)
}

/// The role that the last of the parts is, with what is below it.
fn join(parts: &[Part]) -> Result<Role, Vec<Broken>> {
    let Some(last) = parts.last() else {
        return Err(Vec::new());
    };
    let name = Name::new(last.name).map_err(|unfit| vec![in_role(last.name, 0, unfit.to_string())])?;
    let mut wrong = Vec::new();
    let mut on = BTreeMap::new();
    for packages in Packages::ALL {
        let kinds: Option<Vec<&Kind>> = parts.iter().map(|part| part.role.kind(packages)).collect();
        let Some(kinds) = kinds else { continue };
        match files(parts, packages) {
            Ok(files) => {
                let role = spec::Role {
                    name: name.clone(),
                    packages: once(kinds.iter().flat_map(|kind| &kind.packages)),
                    files,
                    units: once(kinds.iter().flat_map(|kind| &kind.units)),
                };
                on.insert(packages, role);
            }
            Err(broken) if wrong.contains(&broken) => {}
            Err(broken) => wrong.push(broken),
        }
    }
    if on.is_empty() && wrong.is_empty() {
        wrong.push(in_role(
            last.name,
            0,
            "it can be installed nowhere; give it a section [apt], [dnf] or [zypper]".into(),
        ));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let checks = parts.iter().flat_map(|part| &part.role.checks).map(|check| Check {
        name: check.name.clone(),
        command: check.command.clone(),
        within: check.within.unwrap_or(WITHIN),
    });
    Ok(Role {
        name,
        description: last.role.description.clone(),
        guests: parts.iter().filter_map(|part| part.role.guests).next_back(),
        checks: checks.collect(),
        on,
    })
}

/// The files of all parts; the later of two at one path is meant.
fn files(parts: &[Part], packages: Packages) -> Result<Vec<spec::File>, Broken> {
    let mut files: BTreeMap<FilePath, spec::File> = BTreeMap::new();
    for part in parts {
        let texts = part.folder.iter().filter(|(path, _)| is_template(path));
        let texts = texts.map(|(path, text)| (format!("{}/{path}", part.name), text.clone()));
        let templates = Templates::alone(texts.collect())?;
        let context = value(Context {
            role: part.name,
            packages,
            values: &part.role.values,
        });
        let here = |file: &&written::File| file.only.as_ref().is_none_or(|only| only.contains(&packages));
        for file in part.role.files.iter().filter(here) {
            let made = spec::File {
                path: file.path.clone(),
                executable: file.executable,
                private: file.private,
                contents: contents(part, file, &templates, &context)?,
            };
            files.insert(made.path.clone(), made);
        }
        if let Some(list) = capsule(part)? {
            files.insert(list.path.clone(), list);
        }
    }
    Ok(files.into_values().collect())
}

fn contents(part: &Part, file: &written::File, templates: &Templates, context: &Value) -> Result<Contents, Broken> {
    let path = format!("{}/{}", part.name, file.from);
    let whole = |why: String| Broken {
        file: path.clone(),
        line: 0,
        why,
    };
    let text = part
        .folder
        .get(&file.from)
        .ok_or_else(|| whole(format!("there is no such file, and {} is made from it", file.path)))?;
    let text = if is_template(&file.from) {
        templates.render(&path, context)?
    } else {
        text.clone()
    };
    Contents::new(text).map_err(|unfit| whole(unfit.to_string()))
}

/// The list of what the capsule keeps for this role.
fn capsule(part: &Part) -> Result<Option<spec::File>, Broken> {
    if part.role.capsule.is_empty() {
        return Ok(None);
    }
    let whole = |unfit: crate::words::Unfit| in_role(part.name, 0, unfit.to_string());
    let mut lines: Vec<&str> = part.role.capsule.iter().map(FilePath::as_str).collect();
    lines.push("");
    Ok(Some(spec::File {
        path: FilePath::new(format!("{CAPSULES}/{}.conf", part.name)).map_err(whole)?,
        executable: false,
        private: false,
        contents: Contents::new(lines.join("\n")).map_err(whole)?,
    }))
}

/// The end of a name says how values are written into the file; a file of another kind is taken as it is.
fn is_template(path: &str) -> bool {
    escape::Kind::of(path).is_some()
}

fn once<'a, T: Clone + Ord + 'a>(words: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    words.filter(|word| seen.insert(*word)).cloned().collect()
}

fn in_role(name: &str, line: usize, why: String) -> Broken {
    Broken {
        file: format!("{name}/{FILE}"),
        line,
        why,
    }
}
