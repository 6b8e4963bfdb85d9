// SPDX-License-Identifier: Apache-2.0
//! What a machine downloads before node-init runs.

use anyhow::{Context, Result};
use provisioner_api::RamManifest;

use super::process::megabytes;
use super::table::Line;
use crate::artifacts::Artifacts;

const TARGET: u64 = 48 << 20;

/// Looks at the RAM environment that `make images` built.
pub fn measure(artifacts: &Artifacts) -> Result<Vec<Line>> {
    let folder = artifacts.ram()?;
    let size = |name: &str| -> Result<u64> {
        let path = folder.join(name);
        Ok(std::fs::metadata(&path)
            .with_context(|| format!("looking at {}", path.display()))?
            .len())
    };
    let (kernel, initrd) = (size(RamManifest::KERNEL)?, size(RamManifest::INITRD)?);
    let sum = kernel + initrd;
    let line = Line::new(
        "kernel and initramfs on the wire",
        "at most 48 MB",
        megabytes(sum),
        sum <= TARGET,
    );
    Ok(vec![line.because(format!(
        "kernel {}, initramfs {}",
        megabytes(kernel),
        megabytes(initrd)
    ))])
}
