// SPDX-License-Identifier: Apache-2.0
//! A fake installer: all that a server sees of a distribution's own. It finds its answers by its kernel's arguments, reads
//! in them whom to call, which disk to take and what to put there, and does one thing a step. A fake cloud-init is the
//! same, but that it finds all of it in its seed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use provisioner_api::{Inventory, NodeConfig, Seed};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::http::{self, Reply};
use crate::machine::Machine;
use crate::rom;
use crate::server::{PATIENCE, Street};

/// The script that every family runs in the installed system.
const TARGET: &str = "target.sh";
/// The words of the stages, in their order.
const STAGES: [&str; 5] = ["pre", "partitioning", "packages", "late", "done"];
/// The same of a ready-made image, which is on the disk when it starts.
const FIRST_START: [&str; 4] = ["pre", "packages", "late", "done"];
/// How the kernels of the families are told where their answers are: the argument, and whether a folder is named.
const ARGUMENTS: [(&str, bool); 5] = [
    ("url=", false),
    ("ds=nocloud;s=", true),
    ("inst.ks=", false),
    ("autoyast=", false),
    ("inst.auto=", false),
];
/// What a folder of answers begins with where none is named.
const SEED: &str = "user-data";

/// The systems that have an installer, one of each family, and what their media are made of: the kernel, the initramfs, and more.
pub const SYSTEMS: [(&str, &[&str]); 5] = [
    ("debian-13", &["linux", "initrd.gz"]),
    ("ubuntu-24.04", &["casper/vmlinuz", "casper/initrd", "installer.iso"]),
    (
        "rocky-9",
        &[
            "images/pxeboot/vmlinuz",
            "images/pxeboot/initrd.img",
            "images/install.img",
            ".treeinfo",
        ],
    ),
    (
        "opensuse-leap-15",
        &["boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"],
    ),
    (
        "opensuse-leap-16",
        &[
            "boot/x86_64/loader/linux",
            "boot/x86_64/loader/initrd",
            "LiveOS/squashfs.img",
        ],
    ),
];

/// An installer that runs, or the cloud-init of a ready-made image.
#[derive(Clone, Debug)]
pub struct Installer {
    /// Whether it runs from the disk.
    pub from_disk: bool,
    /// Folder of its answers, with the secret of its installation, without a slash at the end.
    pub answers: String,
    /// The address that it calls from.
    pub from: Ipv4Addr,
    progress: String,
    failure: String,
    target: Target,
    stages: std::slice::Iter<'static, &'static str>,
}

/// What the late step puts on a disk.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Files by their paths.
    pub files: BTreeMap<String, String>,
    /// URLs of programs, and the SHA-256 of what must arrive.
    pub programs: Vec<(String, String)>,
}

impl Installer {
    /// Starts with these arguments, from this address, on a machine with these disks: fetches its answers, and refuses
    /// those that name no disk of the machine.
    pub fn start(from: Ipv4Addr, arguments: &[String], inventory: &Inventory) -> Result<Self> {
        let (first, answers) = answers(arguments)?;
        let mut text = fetch(from, &first)?;
        // What a preseed file cannot do itself, the scripts do that it names.
        for script in ["early.sh", "partman.sh", "late.sh"] {
            if text.contains(&format!("{answers}/{script}")) {
                text += &fetch(from, &format!("{answers}/{script}"))?;
            }
        }
        ensure!(
            text.contains(&format!("{answers}/{TARGET}")),
            "the answers do not lead to {TARGET}:\n{text}"
        );
        let names = |serial: &Option<String>| serial.as_ref().is_some_and(|serial| text.contains(serial.as_str()));
        ensure!(
            inventory.disks.iter().any(|disk| names(&disk.serial)),
            "the answers name no disk of this machine:\n{text}"
        );
        let script = fetch(from, &format!("{answers}/{TARGET}"))?;
        Ok(Self {
            from_disk: false,
            progress: hook(&script, "/progress")?,
            failure: hook(&script, "/failure")?,
            target: Target::read(&script)?,
            answers,
            from,
            stages: STAGES.iter(),
        })
    }

    /// Starts from a disk with this seed beside it; nothing is fetched for that.
    pub fn first_start(from: Ipv4Addr, seed: &Seed) -> Result<Self> {
        let file = |name: &str| {
            let file = seed.files.iter().find(|file| file.name == name);
            file.map(|file| file.content.as_str())
                .with_context(|| format!("the seed has no {name}"))
        };
        let user_data = file("user-data")?;
        ensure!(user_data.starts_with("#cloud-config\n"), "no cloud-config: {user_data}");
        let read: Value = serde_saphyr::from_str(user_data).context("understanding user-data")?;
        let text = |place: &str| {
            let text = read.pointer(place).and_then(Value::as_str);
            text.with_context(|| format!("user-data has nothing at {place}"))
        };
        let (early, late) = (text("/bootcmd/0/2")?, text("/runcmd/0/2")?);
        let written = read["write_files"].as_array().context("user-data writes no file")?;
        let mut scripts = written.iter().filter_map(|file| {
            let runs = late.contains(&format!("sh {}", file["path"].as_str()?));
            file["content"].as_str().filter(|_| runs)
        });
        let script = scripts
            .next()
            .with_context(|| format!("no file that is written is run:\n{late}"))?;
        let progress = hook(script, "/progress")?;
        ensure!(early.contains(&progress), "the start calls nobody:\n{early}");
        let (answers, _) = progress.rsplit_once('/').context("a hook without a folder")?;
        Ok(Self {
            from_disk: true,
            answers: answers.to_owned(),
            from,
            failure: hook(script, "/failure")?,
            target: Target::read(script)?,
            progress,
            stages: FIRST_START.iter(),
        })
    }

    /// The next stage begins, and the server has heard it; which one.
    pub fn go_on(&mut self) -> Result<&'static str> {
        let mut stages = self.stages.clone();
        let stage = stages.next().context("an installer that is done")?;
        self.post(&self.progress, stage)?;
        self.stages = stages;
        Ok(stage)
    }

    /// It cannot go on.
    pub fn fail(&self, reason: &str, log: &[&str]) -> Result<()> {
        self.post(&self.failure, &format!("{reason}\n{}\n", log.join("\n")))
    }

    /// What it puts on the disk, its programs fetched and checked.
    pub fn target(&self) -> Result<&Target> {
        ensure!(!self.target.programs.is_empty(), "no node-init is put on the disk");
        for (url, sha256) in &self.target.programs {
            let reply = rom::get(self.from, url)?;
            ensure!(reply.status == 200, "{url} was answered with {}", reply.status);
            ensure!(
                hex::encode(Sha256::digest(&reply.body)) == *sha256,
                "{url} is not what was promised"
            );
        }
        Ok(&self.target)
    }

    fn post(&self, url: &str, text: &str) -> Result<()> {
        let reply = post(self.from, url, text)?;
        ensure!(
            reply.status == 204,
            "{text:?} was answered with {}: {}",
            reply.status,
            reply.text()
        );
        Ok(())
    }
}

impl Target {
    /// Reads a late step: the lines that put files (`put PATH MODE BASE64`) and those that fetch programs.
    fn read(script: &str) -> Result<Self> {
        let plain = |word: &str| word.trim_matches('\'').to_owned();
        let mut target = Self::default();
        let mut url = None;
        for line in script.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                ["put", path, _mode, contents] => {
                    let bytes = BASE64
                        .decode(plain(contents))
                        .with_context(|| format!("reading {line}"))?;
                    target
                        .files
                        .insert(plain(path), String::from_utf8_lossy(&bytes).into_owned());
                }
                ["curl", .., address] if line.contains("$program") => url = Some(plain(address)),
                ["echo", sum, ..] if line.contains("sha256sum") => {
                    let url = url.take().context("a checksum of nothing")?;
                    target.programs.push((url, plain(sum)));
                }
                _ => {}
            }
        }
        Ok(target)
    }

    /// A file that must be there.
    pub fn file(&self, path: &str) -> Result<&str> {
        let Some(text) = self.files.get(path) else {
            bail!("{path} is not put on the disk; there are {:?}", self.files.keys());
        };
        Ok(text)
    }

    /// What node-init is told.
    pub fn config(&self) -> Result<NodeConfig> {
        serde_json::from_str(self.file(NodeConfig::FILE)?).context("understanding node-init's configuration")
    }
}

/// The URL of the first answer file that a kernel's arguments name, and the folder of all, without a slash at the end.
pub fn answers(arguments: &[String]) -> Result<(String, String)> {
    let named = |(name, folder): &(&str, bool)| {
        let value = arguments.iter().find_map(|argument| argument.strip_prefix(name));
        // Ubuntu's disc has a URL too.
        value
            .filter(|value| value.contains("/install/"))
            .map(|value| (*folder, value))
    };
    let found = ARGUMENTS.iter().find_map(named);
    let (is_folder, value) = found.with_context(|| format!("no argument names any answers: {arguments:?}"))?;
    if is_folder {
        return Ok((format!("{value}{SEED}"), value.trim_end_matches('/').to_owned()));
    }
    let (folder, _) = value.rsplit_once('/').context("answers without a folder")?;
    Ok((value.to_owned(), folder.to_owned()))
}

/// The URL in a script that ends so.
fn hook(script: &str, name: &str) -> Result<String> {
    let mut words = script.split_ascii_whitespace();
    let found = words.find(|word| word.starts_with("http://") && word.ends_with(name));
    found
        .map(str::to_owned)
        .with_context(|| format!("{TARGET} calls no {name}"))
}

/// Posts text to a plain HTTP URL from an address of ours.
pub fn post(from: Ipv4Addr, url: &str, text: &str) -> Result<Reply> {
    let (host, path) = rom::parts(url)?;
    let stream = rom::connect(from, host)?;
    let headers = ["Connection: close", "Content-Type: text/plain"];
    http::ask(stream, "POST", &path, &headers, Some(text.as_bytes())).with_context(|| format!("posting to {url}"))
}

fn fetch(from: Ipv4Addr, url: &str) -> Result<String> {
    let reply = rom::get(from, url)?;
    ensure!(
        reply.status == 200,
        "{url} was answered with {}: {}",
        reply.status,
        reply.text()
    );
    Ok(reply.text())
}

/// The story of a node that is rebuilt by something that knows nothing of it: it is the same node, with a key of its own.
pub fn is_the_same_when_rebuilt(street: &Street<'_>, machine: &mut Machine) -> Result<()> {
    machine.run_until_stage(PATIENCE, "pre")?;
    let first = machine.installer()?.answers.clone();
    machine.run_until_serving(PATIENCE)?;
    let was = machine.disk.system.clone().context("no system")?;
    let node = street.summary(machine)?;
    street.command(&node.name, "rebuild")?;
    machine.run_until_stage(PATIENCE, "pre")?;
    ensure!(
        machine.installer()?.answers != first,
        "every installation has a secret of its own"
    );
    machine.run_until_serving(PATIENCE)?;
    let is = machine.disk.system.clone().context("no system")?;
    ensure!((&is.machine_id, &is.ssh_key) == (&was.machine_id, &was.ssh_key) && is.key != was.key);
    let again = street.summary(machine)?;
    ensure!((again.id, again.name, again.state.as_str()) == (node.id, node.name, "ready"));
    Ok(())
}
