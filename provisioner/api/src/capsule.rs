// SPDX-License-Identifier: Apache-2.0
//! What makes a rebuilt node the same node to its cluster.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A node's identity: kept by the provisioner, put back by a rebuild. It holds private keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Capsule {
    /// Host name.
    #[cfg_attr(feature = "openapi", schema(max_length = 63))]
    pub name: String,
    /// `/etc/machine-id`, 32 hex digits.
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub machine_id: String,
    /// The key that the node's TLS certificate is made from, PKCS#8 PEM.
    #[cfg_attr(feature = "openapi", schema(max_length = 16_384))]
    pub node_key: String,
    /// Files in `/etc/ssh` by name: `ssh_host_ed25519_key`, `ssh_host_ed25519_key.pub`.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, crate::limits::KeyText>))]
    pub ssh_host_keys: BTreeMap<String, String>,
    /// Free entries of roles, by absolute path: a `compute_id`, a certificate.
    pub entries: BTreeMap<String, CapsuleFile>,
}

/// A file that a role wants to find again after a rebuild.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CapsuleFile {
    /// Content, base64.
    #[cfg_attr(feature = "openapi", schema(max_length = 262_144))]
    pub content: String,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

/// Private keys must not reach a log by way of `{:?}`.
impl fmt::Debug for Capsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capsule")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CapsuleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapsuleFile")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
