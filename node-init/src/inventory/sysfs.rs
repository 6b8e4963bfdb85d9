// SPDX-License-Identifier: Apache-2.0
//! Small files as the kernel shows them: one value each, missing or refused more often than one thinks.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::text;

/// The longest is `/proc/cpuinfo` of a server; a hostile device's strings end here, too.
const LONGEST: u64 = 1024 * 1024;

/// The trimmed content; `None` if it is missing, unreadable or empty.
pub(crate) fn text(path: &Path) -> Option<String> {
    let text = text::lines(&bytes(path)?);
    (!text.is_empty()).then_some(text)
}

/// What a maker wrote on a thing, for people.
pub(crate) fn label(path: &Path) -> Option<String> {
    text::label(&bytes(path)?)
}

/// A number in decimal.
pub(crate) fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// Whether the file says `1`.
pub(crate) fn flag(path: &Path) -> bool {
    number(path) == Some(1)
}

/// The content as it is, cut off at 1 MiB.
pub(crate) fn bytes(path: &Path) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut raw).ok()?;
    Some(raw)
}

/// Names in a folder, sorted as people count: `sda`, `sdb`, … `sdaa`.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    names
}

/// The last element of where a symbolic link points.
pub(crate) fn link_name(path: &Path) -> Option<String> {
    fs::read_link(path).ok()?.file_name()?.to_str().map(str::to_owned)
}

/// The folders on the way from a device up to the top of sysfs, the device first.
pub(crate) fn device_path(link: &Path) -> Vec<PathBuf> {
    let Ok(real) = fs::canonicalize(link) else {
        return Vec::new();
    };
    real.ancestors()
        .take_while(|p| p.file_name().is_some_and(|n| n != "devices"))
        .map(Path::to_path_buf)
        .collect()
}

/// The name of a folder on such a way.
pub(crate) fn base(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).unwrap_or_default()
}
