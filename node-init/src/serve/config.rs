// SPDX-License-Identifier: Apache-2.0
//! What the life in RAM left for the installed one: who it is and whom it belongs to.

use std::path::Path;

use anyhow::Context;
use provisioner_api::NodeConfig;

use crate::client::Pin;
use crate::key::NodeKey;

/// Path of the settings below the root.
pub const CONFIG: &str = "etc/node-init/config.json";
/// Path of the node's key below the root.
pub const KEY: &str = "var/lib/node-init/node.key";

/// Who this node is.
pub struct Identity {
    /// `HOST:PORT` of the controller's API.
    pub controller: String,
    /// The controller's key.
    pub pin: Pin,
    /// Host name.
    pub name: String,
    /// Our key.
    pub key: NodeKey,
}

impl Identity {
    /// Reads it from the system below `root`.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let read = |path: &str| std::fs::read_to_string(root.join(path)).with_context(|| format!("reading /{path}"));
        let config: NodeConfig =
            serde_json::from_str(&read(CONFIG)?).with_context(|| format!("reading /{CONFIG} as settings"))?;
        let pin = config
            .pin
            .parse()
            .with_context(|| format!("reading the pin in /{CONFIG}"))?;
        let key = NodeKey::from_pem(&read(KEY)?).with_context(|| format!("reading /{KEY} as a key"))?;
        Ok(Self {
            controller: config.controller,
            pin,
            name: config.name,
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_node_knows_itself_by_what_was_written_at_installation() {
        let root = tempfile::tempdir().unwrap();
        let key = NodeKey::generate().unwrap();
        for path in [CONFIG, KEY] {
            std::fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
        }
        std::fs::write(root.path().join(KEY), key.to_pem()).unwrap();
        let text = format!(
            r#"{{"controller":"10.77.0.1:8443","pin":"{}","name":"pc-1"}}"#,
            "0a".repeat(32)
        );
        std::fs::write(root.path().join(CONFIG), text).unwrap();
        let identity = Identity::read(root.path()).unwrap();
        assert_eq!(
            (identity.name.as_str(), identity.key.fingerprint()),
            ("pc-1", key.fingerprint())
        );
        std::fs::write(root.path().join(CONFIG), "{}").unwrap();
        assert!(Identity::read(root.path()).is_err());
    }
}
