// SPDX-License-Identifier: Apache-2.0
//! What the boot script said, the consoles among it.

use std::path::Path;

use crate::inventory::sysfs;
use crate::network::cmdline::{CommandLine, parse};

/// The kernel's command line, read.
pub fn command_line(root: &Path) -> CommandLine {
    parse(&sysfs::text(&root.join("proc/cmdline")).unwrap_or_default())
}
