// SPDX-License-Identifier: Apache-2.0
//! What node-init brings along for its installed life: its units and settings, as they lie in `node-init/systemd`.

use anyhow::{Context, Result};
use rust_embed::RustEmbed;

use crate::tree::Layer;

/// Where units are, in that folder and on the node.
const UNITS: &str = "usr/lib/systemd/system/";

#[derive(RustEmbed)]
#[folder = "../node-init/systemd"]
struct Overlay;

/// Lays the files over (what lies in a folder: the page that explains them stays out), and switches the units on that say what wants them.
pub fn lay_over(layer: &mut Layer) -> Result<()> {
    for path in Overlay::iter().filter(|path| path.contains('/')) {
        // Listed a line above.
        let file = Overlay::get(&path).with_context(|| format!("reading {path}"))?;
        if let Some(unit) = path.strip_prefix(UNITS).filter(|unit| !unit.contains('/')) {
            let text = std::str::from_utf8(&file.data).with_context(|| format!("reading {path}"))?;
            for target in wanted_by(text) {
                layer.link(
                    &format!("/etc/systemd/system/{target}.wants/{unit}"),
                    &format!("/{path}"),
                );
            }
        }
        layer.file(&path, 0o644, file.data.into_owned());
    }
    Ok(())
}

/// The units of all `WantedBy=` lines, which is what `systemctl enable` reads.
pub fn wanted_by(unit: &str) -> impl Iterator<Item = &str> {
    unit.lines()
        .filter_map(|line| line.trim().strip_prefix("WantedBy="))
        .flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn node_init_starts_with_the_node() {
        let unit = Overlay::get("usr/lib/systemd/system/node-init.service").unwrap();
        let text = std::str::from_utf8(&unit.data).unwrap();
        assert!(wanted_by(text).any(|target| target == "multi-user.target"));
    }
}
