// SPDX-License-Identifier: Apache-2.0
//! An installer for virtual PCs in the place of those that cannot be fetched here: an initramfs that fetches, reads and
//! obeys a real answer file. The scripts in it run as they are, on the machine and in the installed system.
//!
//! What it does not do: partition by the file's layout. It puts a ready system on the disk that the scripts have chosen,
//! our own node image from the file's mirror, and makes what the distribution's packages would have brought of it.

pub mod curl;
mod disk;
mod families;
pub mod install;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The initramfs of a medium: the real RAM environment's, for its drivers and its busybox, with this program in the place
/// of node-init. `program` is the built one.
pub fn initramfs(ram: &Path, program: &Path, to: &Path) -> Result<()> {
    let mut bytes = fs::read(ram.join("initrd")).context("reading the RAM environment's initramfs")?;
    // The kernel looks for another archive where a word of four bytes begins.
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let mut files: Vec<(String, PathBuf)> =
        vec![("init".into(), program.into()), ("usr/bin/curl".into(), program.into())];
    for library in libraries(program)? {
        let name = library.strip_prefix("/").unwrap_or(&library).display().to_string();
        // In the RAM environment /lib and /lib64 are links.
        let place = if name.starts_with("lib") {
            format!("usr/{name}")
        } else {
            name
        };
        files.push((place, library));
    }
    let mut archive = Vec::new();
    let folders = ["usr/lib/x86_64-linux-gnu", "target"];
    for folder in folders {
        entry(&mut archive, folder, 0o040_755, &[])?;
    }
    for (place, from) in files {
        let content = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
        entry(&mut archive, &place, 0o100_755, &content)?;
    }
    for (place, text) in install::HELPERS {
        entry(&mut archive, place, 0o100_755, text.as_bytes())?;
    }
    cpio::newc::trailer(&mut archive).context("ending the archive")?;
    bytes.extend(archive);
    let mut file = fs::File::create(to).with_context(|| format!("making {}", to.display()))?;
    file.write_all(&bytes)
        .with_context(|| format!("writing {}", to.display()))
}

fn entry(archive: &mut Vec<u8>, place: &str, mode: u32, content: &[u8]) -> Result<()> {
    let size = u32::try_from(content.len()).context("a file of that size")?;
    let mut writer = cpio::newc::Builder::new(place).mode(mode).nlink(1).write(archive, size);
    writer.write_all(content).with_context(|| format!("packing {place}"))?;
    writer.finish().with_context(|| format!("packing {place}")).map(drop)
}

/// What the program is linked with, its loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("running ldd")?;
    ensure!(output.status.success(), "ldd cannot read {}", program.display());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = text
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().find(|word| word.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}
