// SPDX-License-Identifier: Apache-2.0
//! Whether something fits on the disk, asked before it is written.

use std::path::Path;

use crate::config::size_in_words;

/// What is left to the database and the log, whatever is imported: a full disk stops installations that are under way.
const LEFT: u64 = 256 << 20;

/// It would not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it needs {} of the server's disk, and {} may be used: make room (provisioner os prune), then import it again",
    size_in_words(*.needed), size_in_words(*.free)
)]
pub struct NoRoom {
    /// Bytes that it needs.
    pub needed: u64,
    /// Bytes that there are for it.
    pub free: u64,
}

/// Whether `needed` bytes more fit on the disk of `folder` and leave what the server itself needs.
pub fn room_for(folder: &Path, needed: u64) -> Result<(), NoRoom> {
    // A disk that says nothing of itself is written to until it is full.
    let Ok(about) = nix::sys::statvfs::statvfs(folder) else {
        return Ok(());
    };
    fits(about.blocks_available() * about.fragment_size(), needed)
}

fn fits(available: u64, needed: u64) -> Result<(), NoRoom> {
    let free = available.saturating_sub(LEFT);
    if needed > free {
        return Err(NoRoom { needed, free });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_the_disk_is_left_to_the_server() {
        assert_eq!(fits(LEFT + 10, 10), Ok(()));
        assert_eq!(fits(LEFT + 10, 11), Err(NoRoom { needed: 11, free: 10 }));
        assert_eq!(fits(LEFT - 1, 1), Err(NoRoom { needed: 1, free: 0 }));
    }
}
