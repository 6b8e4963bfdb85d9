// SPDX-License-Identifier: Apache-2.0
//! Reading a node's identity from its disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use provisioner_api::{Capsule, CapsuleFile, words};

/// Where roles name their files, one `*.conf` a role, one absolute path a line.
const ROLES: &str = "etc/node-init/capsule.d";

/// Largest file that counts as an identity and not as data.
const FILE_LIMIT: u64 = 64 * 1024;

/// Largest sum: the capsule lives in the controller's database and crosses the wire as one piece of JSON.
const SUM_LIMIT: u64 = 512 * 1024;

/// A capsule, and what a role named but could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// The identity.
    pub capsule: Capsule,
    /// One line for each file that stays out, with the reason.
    pub left_out: Vec<String>,
}

/// Reads the identity of the system below `root`. Fails while there is none yet: SSH host keys are made at the first
/// boot, and a capsule without them would take them from the node at its next rebuild.
pub fn collect(root: &Path, name: &str) -> anyhow::Result<Collected> {
    let machine_id = text(root, "etc/machine-id")?.trim().to_owned();
    let node_key = text(root, "var/lib/node-init/node.key")?;
    let ssh_host_keys = ssh_host_keys(root)?;
    anyhow::ensure!(
        ssh_host_keys.keys().any(|n| !super::is_public_half(n)),
        "the SSH host keys have not been made yet"
    );
    let (entries, left_out) = entries(root)?;
    let capsule = Capsule {
        name: name.into(),
        machine_id,
        node_key,
        ssh_host_keys,
        entries,
    };
    super::files(&capsule).context("checking what was collected")?;
    Ok(Collected { capsule, left_out })
}

fn text(root: &Path, path: &str) -> anyhow::Result<String> {
    fs::read_to_string(root.join(path)).with_context(|| format!("reading /{path}"))
}

fn ssh_host_keys(root: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut keys = BTreeMap::new();
    for entry in fs::read_dir(root.join("etc/ssh")).context("looking into /etc/ssh")? {
        let Ok(name) = entry?.file_name().into_string() else {
            continue;
        };
        if super::is_ssh_key_name(&name) {
            keys.insert(name.clone(), text(root, &format!("etc/ssh/{name}"))?);
        }
    }
    Ok(keys)
}

fn entries(root: &Path) -> anyhow::Result<(BTreeMap<String, CapsuleFile>, Vec<String>)> {
    let (mut found, mut left_out, mut sum) = (BTreeMap::new(), Vec::new(), 0);
    for path in role_files(root)? {
        let Ok(relative) = words::kept_file(&path) else {
            left_out.push(format!("{path}: not below /{}", words::ROLE_FOLDERS.join(", /")));
            continue;
        };
        match read_entry(&root.join(relative), SUM_LIMIT - sum) {
            Ok((file, size)) => {
                sum += size;
                found.insert(path, file);
            }
            // A role names what it will have; before it ran for the first time there is nothing.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => left_out.push(format!("{path}: {e}")),
        }
    }
    Ok((found, left_out))
}

/// All paths that roles name, in the order of their files.
fn role_files(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = match fs::read_dir(root.join(ROLES)) {
        Ok(folder) => folder,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).context("looking into /etc/node-init/capsule.d"),
    };
    let mut roles: Vec<_> = folder.filter_map(|entry| Some(entry.ok()?.path())).collect();
    roles.retain(|path| path.extension().is_some_and(|e| e == "conf"));
    roles.sort();
    let mut paths = Vec::new();
    for role in roles {
        let text = fs::read_to_string(&role).with_context(|| format!("reading {}", role.display()))?;
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        paths.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(paths)
}

fn read_entry(path: &Path, room: u64) -> io::Result<(CapsuleFile, u64)> {
    // A link could point at another role's secret; a FIFO would hold us for ever.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let limit = FILE_LIMIT.min(room);
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    let size = content.len() as u64;
    if size > limit {
        return Err(io::Error::other(format!(
            "larger than {limit} bytes, which is what fits into the capsule"
        )));
    }
    let (mode, uid, gid) = (meta.mode() & 0o777, meta.uid(), meta.gid());
    Ok((
        CapsuleFile {
            content: BASE64.encode(content),
            mode,
            uid,
            gid,
        },
        size,
    ))
}
