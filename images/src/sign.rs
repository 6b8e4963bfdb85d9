// SPDX-License-Identifier: Apache-2.0
//! Signatures in minisign's format: pre-hashed with BLAKE2b-512 (`ED`), so that a file of any size is signed alike.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use blake2::{Blake2b512, Digest};
use ed25519_dalek::Signer;

use crate::key::Key;

/// Signature algorithm: Ed25519 over the BLAKE2b-512 hash of the file.
const PREHASHED: &[u8] = b"ED";

/// The text of the signature of some bytes. The comment is signed too; it must be one line.
pub fn sign(key: &Key, bytes: &[u8], comment: &str) -> String {
    let signature = key.pair.sign(&Blake2b512::digest(bytes)).to_bytes();
    let over_comment = key.pair.sign(&[&signature, comment.as_bytes()].concat()).to_bytes();
    format!(
        "untrusted comment: signature from minisign secret key {}\n{}\ntrusted comment: {comment}\n{}\n",
        key.id_text(),
        BASE64.encode([PREHASHED, &key.id, &signature].concat()),
        BASE64.encode(over_comment),
    )
}

/// Signs a file; the signature lies beside it with `.minisig` behind its name.
pub fn sign_file(key: &Key, file: &Path, comment: &str) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let signature = signature_path(file);
    fs::write(&signature, sign(key, &bytes, comment)).with_context(|| format!("writing {}", signature.display()))
}

/// Checks the signature beside a file and returns the file's bytes.
pub fn verified(file: &Path, public: &minisign_verify::PublicKey) -> Result<Vec<u8>> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let signature = signature_path(file);
    let text = fs::read_to_string(&signature).with_context(|| format!("reading {}", signature.display()))?;
    let parsed =
        minisign_verify::Signature::decode(&text).with_context(|| format!("reading {}", signature.display()))?;
    // `false`: only the pre-hashed form is ours.
    public
        .verify(&bytes, &parsed, false)
        .with_context(|| format!("checking the signature of {}", file.display()))?;
    Ok(bytes)
}

/// Where the signature of a file lies.
pub fn signature_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use minisign_verify::{PublicKey, Signature};
    use proptest::prelude::*;

    use super::*;

    fn accepts(key: &Key, bytes: &[u8], signature: &str) -> bool {
        let public = PublicKey::decode(&key.public_file()).unwrap();
        Signature::decode(signature).is_ok_and(|signature| public.verify(bytes, &signature, false).is_ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_signature_is_accepted_and_none_of_other_bytes_or_of_another_key(
            random in any::<[u8; 32]>(), bytes in proptest::collection::vec(any::<u8>(), 1..500), at in any::<prop::sample::Index>(),
        ) {
            let mut seed = [0; 40];
            seed[..32].copy_from_slice(&random);
            let key = Key::from_random(seed);
            let signature = sign(&key, &bytes, "name=x version=1");
            prop_assert!(accepts(&key, &bytes, &signature));
            let mut other = bytes.clone();
            other[at.index(bytes.len())] ^= 1;
            prop_assert!(!accepts(&key, &other, &signature));
            seed[0] ^= 1;
            prop_assert!(!accepts(&Key::from_random(seed), &bytes, &signature));
        }
    }

    #[test]
    fn the_comment_is_signed_too() {
        let key = Key::from_random([3; 40]);
        let signature = sign(&key, b"bytes", "version=1");
        assert!(!accepts(&key, b"bytes", &signature.replace("version=1", "version=2")));
    }
}
