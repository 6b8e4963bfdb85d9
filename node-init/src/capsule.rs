// SPDX-License-Identifier: Apache-2.0
//! The identity capsule: which files make a rebuilt node the same node to its cluster.
//!
//! The installed life [collects](collect) it, the controller keeps it, the life in RAM puts [its files](files) back.
//! A capsule comes over the wire, so no path and no name in it is believed: everything lands below folders that hold
//! identities, or nowhere.

mod collect;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use provisioner_api::{Capsule, words};

pub use collect::{Collected, collect};

/// Private keys and the key of the node: readable for root alone.
const SECRET: u32 = 0o600;
/// Public halves and names.
const PUBLIC: u32 = 0o644;

/// A file that the capsule puts back.
#[derive(Clone, PartialEq, Eq)]
pub struct CapsuleEntry {
    /// Path without the leading slash: relative to the root of the installed system.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// What is in it.
    pub content: Vec<u8>,
}

/// Contents are private keys: they must not reach a log.
impl std::fmt::Debug for CapsuleEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CapsuleEntry")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// What makes a capsule unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCapsule {
    /// A path outside the folders of roles, or one that climbs.
    #[error("{0:?} is not a path that a role may keep files at")]
    Path(String),
    /// A name that is not one of an SSH host key.
    #[error("{0:?} is not the name of an SSH host key")]
    SshKey(String),
    /// A machine-id that is not 32 hex digits.
    #[error("{0:?} is not a machine-id")]
    MachineId(String),
    /// A host name that is not one.
    #[error("{0:?} is not a host name")]
    Name(String),
    /// Content that is not base64.
    #[error("the content of {0:?} is not base64")]
    Content(String),
}

/// The files of a capsule, all but those that hold the name: the caller writes `/etc/hostname` in any case.
///
/// No file is returned of a capsule that has anything wrong with it: half an identity is worse than a fresh one.
pub fn files(capsule: &Capsule) -> Result<Vec<CapsuleEntry>, BadCapsule> {
    if words::host_name(&capsule.name).is_err() {
        return Err(BadCapsule::Name(capsule.name.clone()));
    }
    if !is_machine_id(&capsule.machine_id) {
        return Err(BadCapsule::MachineId(capsule.machine_id.clone()));
    }
    let root = |path: String, mode, content: &str| CapsuleEntry {
        path,
        mode,
        uid: 0,
        gid: 0,
        content: content.as_bytes().to_vec(),
    };
    let mut files = vec![
        // machine-id(5): world-readable, a newline at the end.
        root("etc/machine-id".into(), 0o444, &format!("{}\n", capsule.machine_id)),
        root("var/lib/node-init/node.key".into(), SECRET, &capsule.node_key),
    ];
    for (name, content) in &capsule.ssh_host_keys {
        if !is_ssh_key_name(name) {
            return Err(BadCapsule::SshKey(name.clone()));
        }
        let mode = if is_public_half(name) { PUBLIC } else { SECRET };
        files.push(root(format!("etc/ssh/{name}"), mode, content));
    }
    for (path, file) in &capsule.entries {
        let relative = words::kept_file(path).map_err(|_| BadCapsule::Path(path.clone()))?;
        let content = BASE64
            .decode(&file.content)
            .map_err(|_| BadCapsule::Content(path.clone()))?;
        // Neither set-uid nor sticky bits: identities are read, not run.
        files.push(CapsuleEntry {
            path: relative.into(),
            mode: file.mode & 0o777,
            uid: file.uid,
            gid: file.gid,
            content,
        });
    }
    Ok(files)
}

/// OpenSSH's own rule: the public half has the private one's name and `.pub`, lower case.
fn is_public_half(name: &str) -> bool {
    name.strip_suffix(".pub").is_some()
}

/// `ssh_host_ed25519_key` and its `.pub`: what `ssh-keygen -A` makes.
fn is_ssh_key_name(name: &str) -> bool {
    let stem = name.strip_suffix(".pub").unwrap_or(name);
    let kind = stem
        .strip_prefix("ssh_host_")
        .and_then(|rest| rest.strip_suffix("_key"));
    kind.is_some_and(|kind| !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
