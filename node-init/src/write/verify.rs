// SPDX-License-Identifier: Apache-2.0
//! Bytes are believed when their BLAKE3 hash stands in the signed manifest.

/// Whether `bytes` have the hash (64 hex digits).
pub(super) fn is(bytes: &[u8], hash: &str) -> bool {
    blake3::hash(bytes).to_hex().as_str() == hash
}
