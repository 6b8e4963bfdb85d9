// SPDX-License-Identifier: Apache-2.0
//! Whose images are used: minisign public keys in a folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{PublicKey, Signature};

/// Bytes before the key in minisign's notation: two letters of algorithm and the key's id.
const KEY_ID: std::ops::Range<usize> = 2..10;

/// The keys of `*.pub` in the folder of trusted keys.
#[derive(Debug, Default)]
pub struct TrustedKeys(Vec<TrustedKey>);

/// A key whose images are used.
#[derive(Clone)]
pub struct TrustedKey {
    /// Name of its file without the ending.
    pub name: String,
    /// The base64 line, as nodes get it.
    pub line: String,
    key: PublicKey,
}

impl std::fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustedKey")
            .field("name", &self.name)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl TrustedKeys {
    /// Reads the folder; no folder means no keys. A file that is no key is an error: a key that is silently not
    /// trusted costs a person an hour.
    pub fn load(folder: &Path) -> Result<Self> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("reading the folder {}", folder.display())),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry
                .with_context(|| format!("reading the folder {}", folder.display()))?
                .path();
            if path.extension().is_some_and(|ending| ending == "pub") {
                keys.push(read(&path).with_context(|| format!("reading the trusted key {}", path.display()))?);
            }
        }
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self(keys))
    }

    /// The keys as nodes get them.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|key| key.line.clone()).collect()
    }

    /// Who of them signed `content`, or why nobody did, in words.
    pub fn signer(&self, content: &[u8], signature: &str) -> Result<&TrustedKey, String> {
        if self.0.is_empty() {
            return Err(
                "this server trusts no key yet; put the builder's .pub file into its folder trusted-keys".into(),
            );
        }
        let decoded = Signature::decode(signature).map_err(|error| format!("its signature is malformed ({error})"))?;
        let good = |key: &&TrustedKey| key.key.verify(content, &decoded, false).is_ok();
        self.0.iter().find(good).ok_or_else(|| {
            let signer = id_of_signature(signature).unwrap_or_else(|| "an unknown key".into());
            let known = self.0.iter().any(|key| key.id() == signer);
            if known {
                "it was changed after it was signed; build or copy it again".to_owned()
            } else {
                format!("it is signed by {signer}, which is not in the folder trusted-keys")
            }
        })
    }
}

impl TrustedKey {
    /// The key's id, as minisign prints it.
    pub fn id(&self) -> String {
        STANDARD
            .decode(&self.line)
            .ok()
            .and_then(|bytes| id(&bytes))
            .unwrap_or_default()
    }

    /// Name and id, for lists.
    pub fn label(&self) -> String {
        format!("{} ({})", self.name, self.id())
    }
}

fn read(path: &Path) -> Result<TrustedKey> {
    let text = fs::read_to_string(path)?;
    // With or without minisign's line of comment.
    let line = text
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
    let line = line.context("there is no key in it")?.to_owned();
    let key = PublicKey::from_base64(&line).context("decoding minisign's notation")?;
    let name = path
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(TrustedKey { name, line, key })
}

fn id_of_signature(signature: &str) -> Option<String> {
    id(&STANDARD.decode(signature.lines().nth(1)?.trim()).ok()?)
}

/// minisign prints the id as one little-endian number.
fn id(bytes: &[u8]) -> Option<String> {
    let id: Vec<u8> = bytes.get(KEY_ID)?.iter().rev().copied().collect();
    Some(hex::encode_upper(id))
}
