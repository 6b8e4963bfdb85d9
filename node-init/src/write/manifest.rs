// SPDX-License-Identifier: Apache-2.0
//! A manifest that somebody whom the controller trusts has signed.

use minisign_verify::{PublicKey, Signature};
use provisioner_api::{ImageRef, Manifest};

use super::Trouble;

/// Largest manifest that is read: a terabyte of chunks has about 40 MB of them, a node image some hundred kilobytes.
pub const LARGEST: u64 = 64 * 1024 * 1024;

/// Checks the signature of the manifest's exact bytes, then that it is the image that was ordered, then everything
/// that a writer relies on. Nothing inside is looked at before the signature holds.
pub fn open(bytes: &[u8], signature: &str, image: &ImageRef) -> Result<Manifest, Trouble> {
    let untrusted = |what: String| Trouble::Untrusted(what);
    let signature = Signature::decode(signature).map_err(|e| untrusted(format!("the signature is malformed: {e}")))?;
    let keys = image
        .trusted_keys
        .iter()
        .filter_map(|line| PublicKey::from_base64(line.trim()).ok());
    let mut keys = keys.peekable();
    if keys.peek().is_none() {
        return Err(untrusted("the controller trusts no key".into()));
    }
    // Pre-hashed signatures only (`false`: no legacy ones), as our builder makes them.
    if !keys.any(|key| key.verify(bytes, &signature, false).is_ok()) {
        return Err(untrusted(
            "the manifest's signature fits none of the trusted keys".into(),
        ));
    }
    let corrupt = |what: String| Trouble::Corrupt(what);
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|e| corrupt(format!("manifest: {e}")))?;
    manifest.validate().map_err(|e| corrupt(format!("manifest: {e}")))?;
    if (&manifest.name, &manifest.version) != (&image.name, &image.version) {
        return Err(corrupt(format!(
            "the manifest is that of {} {}",
            manifest.name, manifest.version
        )));
    }
    Ok(manifest)
}
