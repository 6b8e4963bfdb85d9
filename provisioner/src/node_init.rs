// SPDX-License-Identifier: Apache-2.0
//! What an installer puts on a disk so that the system there becomes a node: node-init's programs, its units, and whom
//! it calls. The files are those of a node image (`node-init/systemd`), but for what holds on Debian alone.

use kickstart::site::{NodeInit, Program};
use kickstart::spec::File;
use kickstart::words::{Contents, FilePath, Sha256, Unfit, UnitName, Url};
use provisioner_api::{NodeConfig, mark_file};

use crate::images::StoredProgram;

/// Where the programs go, in the order in which the store names them: the places that the units know.
const PLACES: [&str; 2] = ["/usr/sbin/node-init", "/usr/libexec/node-init-libvirt"];

/// The units that start it.
const UNITS: [&str; 3] = [
    "node-init.service",
    "node-init-join.service",
    "node-init-network-rollback.service",
];

macro_rules! file {
    ($path:literal) => {
        (
            concat!("/", $path),
            include_str!(concat!("../../node-init/systemd/", $path)),
        )
    };
}

/// What of a node image holds for every distribution.
const FILES: [(&str, &str); 7] = [
    file!("etc/node-init/capsule.d/README"),
    file!("etc/ssh/sshd_config.d/10-gleaner.conf"),
    file!("usr/lib/sysctl.d/60-gleaner.conf"),
    file!("usr/lib/systemd/journald.conf.d/10-gleaner.conf"),
    file!("usr/lib/systemd/system/node-init.service"),
    file!("usr/lib/systemd/system/node-init-join.service"),
    file!("usr/lib/systemd/system/node-init-network-rollback.service"),
];

/// The node that a system is to be.
#[derive(Clone, Copy, Debug)]
pub struct NodeToBe<'a> {
    /// Its name.
    pub name: &'a str,
    /// `HOST:PORT` of the API as the machine reaches it.
    pub controller: &'a str,
    /// SHA-256 of the server's key, hex.
    pub pin: &'a str,
    /// The secret by which it joins.
    pub join: &'a str,
    /// The mark of its installation.
    pub mark: Option<&'a str>,
}

/// All of it; the programs come from the server's plain HTTP at `base`, a URL without a slash at its end.
pub fn node_init(node: &NodeToBe<'_>, programs: &[StoredProgram; 2], base: &str) -> Result<NodeInit, String> {
    parts(node, programs, base).map_err(|unfit| format!("node-init: {unfit}"))
}

fn parts(node: &NodeToBe<'_>, programs: &[StoredProgram; 2], base: &str) -> Result<NodeInit, Unfit> {
    let program = |(program, place): (&StoredProgram, &str)| {
        Ok(Program {
            url: Url::new(format!("{base}/programs/{}/{}", program.sha256, program.name))?,
            sha256: Sha256::new(program.sha256.as_str())?,
            path: FilePath::new(place)?,
        })
    };
    let config = NodeConfig {
        controller: node.controller.to_owned(),
        pin: node.pin.to_owned(),
        name: node.name.to_owned(),
    };
    // Three strings: nothing that JSON could refuse.
    let config = serde_json::to_string_pretty(&config).unwrap_or_default();
    let own = [
        file(NodeConfig::FILE, &format!("{config}\n"), false),
        file(NodeConfig::JOIN_FILE, &format!("{}\n", node.join), true),
    ];
    let mark = node
        .mark
        .map(|mark| file(&format!("/{}", mark_file(mark)), &format!("{}\n", node.name), false));
    let given = FILES.iter().map(|(path, text)| file(path, text, false));
    Ok(NodeInit {
        programs: programs.iter().zip(PLACES).map(program).collect::<Result<_, _>>()?,
        files: own.into_iter().chain(mark).chain(given).collect::<Result<_, _>>()?,
        units: UNITS.into_iter().map(UnitName::new).collect::<Result<_, _>>()?,
    })
}

fn file(path: &str, text: &str, private: bool) -> Result<File, Unfit> {
    Ok(File {
        path: FilePath::new(path)?,
        executable: false,
        private,
        contents: Contents::new(text)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_installer_is_given_what_starts_node_init_and_its_secret_is_roots_alone() {
        let program = |name: &str| StoredProgram {
            name: name.into(),
            path: "/nowhere".into(),
            sha256: "0a".repeat(32),
        };
        let node = NodeToBe {
            name: "node-001",
            controller: "192.0.2.1:8443",
            pin: "ab",
            join: "5ec4e7",
            mark: Some("0a1b2c"),
        };
        let programs = [program("node-init"), program("node-init-libvirt")];
        let given = node_init(&node, &programs, "http://192.0.2.1:8080").unwrap();
        assert_eq!(
            given.programs[0].url.as_str(),
            format!("http://192.0.2.1:8080/programs/{}/node-init", "0a".repeat(32))
        );
        let find = |path: &str| given.files.iter().find(|file| file.path.as_str() == path).unwrap();
        let config: NodeConfig = serde_json::from_str(find(NodeConfig::FILE).contents.as_str()).unwrap();
        assert_eq!(
            (config.name.as_str(), config.controller.as_str()),
            ("node-001", "192.0.2.1:8443")
        );
        assert!(find(NodeConfig::JOIN_FILE).private);
        assert_eq!(find("/boot/gleaner/0a1b2c").contents.as_str(), "node-001\n");
        let public = given.files.iter().filter(|file| !file.private);
        assert!(
            public
                .into_iter()
                .all(|file| !file.contents.as_str().contains("5ec4e7"))
        );
        for unit in &given.units {
            let text = find(&format!("/usr/lib/systemd/system/{unit}")).contents.as_str();
            assert!(text.contains("\nWantedBy="), "{unit} can be enabled");
            for program in text.lines().filter_map(|line| line.strip_prefix("ExecStart=")) {
                assert!(
                    PLACES.contains(&program.split(' ').next().unwrap()),
                    "{unit} starts {program}"
                );
            }
        }
    }
}
