// SPDX-License-Identifier: Apache-2.0
//! The programs that judge answer files and the API: the installers' own checkers, out of Debian's and Python's packages. They are
//! unpacked into the cache and never installed; cloud-init, installed, would take this machine over at its next start.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::peer::{self, Program};

/// The checker of Anaconda's files. No release of Debian has it.
const PYKICKSTART: &str = "pykickstart==3.78";
/// The judge of servers by their API's description.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Checks preseed files: `debconf-set-selections -c`. It is part of every Debian.
pub fn debconf(file: &Path) -> Command {
    let mut command = Command::new("debconf-set-selections");
    command.arg("-c").arg(file);
    command
}

/// Checks that XML is well-formed.
pub fn xmllint(file: &Path) -> Result<Command> {
    let mut command = Program::unpack("usr/bin/xmllint", "libxml2-utils", &["libxml2"])?.command();
    command.args(["--noout", "--nonet"]).arg(file);
    Ok(command)
}

/// Checks cloud-config against the schema of cloud-init.
pub fn cloud_init(file: &Path) -> Result<Command> {
    let mut command = cloud_init_itself()?;
    command.args(["schema", "--config-file"]).arg(file);
    Ok(command)
}

/// Makes of a seed's network, below `root`, the files of a distribution that is not netplan's.
pub fn cloud_init_network(file: &Path, root: &Path, distro: &str, renderer: &str) -> Result<Command> {
    let mut command = cloud_init_itself()?;
    command
        .args(["devel", "net-convert", "--kind", "yaml", "--network-data"])
        .arg(file);
    command
        .args(["--distro", distro, "--output-kind", renderer, "--directory"])
        .arg(root);
    Ok(command)
}

fn cloud_init_itself() -> Result<Command> {
    let modules = [
        "python3-attr",
        "python3-certifi",
        "python3-chardet",
        "python3-charset-normalizer",
        "python3-configobj",
        "python3-idna",
        "python3-jinja2",
        "python3-json-pointer",
        "python3-jsonpatch",
        "python3-jsonschema",
        "python3-markupsafe",
        "python3-netifaces",
        "python3-oauthlib",
        "python3-pyrsistent",
        "python3-requests",
        "python3-serial",
        "python3-six",
        "python3-urllib3",
        "python3-yaml",
        "libyaml-0-2",
    ];
    Ok(Program::unpack("usr/bin/cloud-init", "cloud-init", &modules)?.python())
}

/// Makes of netplan's YAML, below `root`, what systemd-networkd reads; fails where netplan does not understand it.
pub fn netplan(root: &Path) -> Result<Command> {
    let program = Program::unpack(
        "usr/libexec/netplan/generate",
        "netplan.io",
        &["libnetplan0", "libglib2.0-0"],
    )?;
    let mut command = program.command();
    command.arg("--root-dir").arg(root);
    Ok(command)
}

/// Checks a kickstart file for a release: `RHEL9`, `F43`.
pub fn ksvalidator(release: &str, file: &Path) -> Result<Command> {
    let mut command = python_program(PYKICKSTART, "ksvalidator")?;
    command.args(["--version", release]).arg(file);
    Ok(command)
}

/// Asks a server everything that its description allows and forbids, and judges the answers by that description.
pub fn schemathesis() -> Result<Command> {
    python_program(SCHEMATHESIS, "schemathesis")
}

/// A program out of a package of Python's, which is kept in the cache.
fn python_program(package: &str, program: &str) -> Result<Command> {
    let folder = peer::kept(package, |folder| {
        let mut pip = Command::new("/usr/bin/python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--root-user-action=ignore",
            "--no-compile",
            "--target",
        ]);
        peer::run(pip.arg(folder).arg(package))
    })?;
    let mut command = Command::new("/usr/bin/python3");
    command.env("PYTHONPATH", &folder).arg(folder.join("bin").join(program));
    Ok(command)
}
